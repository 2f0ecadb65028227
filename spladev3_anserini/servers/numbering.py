"""Terms -> the numbers that stand for them in an engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, read_bytes
from spladev3_anserini.impacts.manifest import Manifest
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.progress import warn

#: The term of each number, a line each, from number 0.
TERMS = "terms.txt"


class TermNumbers:
    """The numbers of terms: those of a vocabulary, or numbers in the order of first occurrence."""

    def __init__(self, vocabulary: list[str] | None) -> None:
        """Takes the vocabulary by id; None numbers each term when it occurs first."""
        self._numbers = {term: number for number, term in enumerate(vocabulary or ())}
        self._grows = vocabulary is None

    def number(self, vector: Mapping[str, int], where: str) -> dict[int, int]:
        """Returns {number: impact} of {term: impact}.

        Raises InputError, beginning with `where`, for a term that the vocabulary lacks.
        """
        numbers = self._numbers
        try:
            return {numbers[term]: impact for term, impact in vector.items()}
        except KeyError as missing:
            if not self._grows:
                raise InputError(f"{where}: the term {missing.args[0][:40]!r} is not in the "
                                 "model's vocabulary") from None
            return {numbers.setdefault(term, len(numbers)): impact
                    for term, impact in vector.items()}

    def write(self, folder: Path) -> None:
        """Writes the terms by number."""
        with appearing(folder / TERMS) as stream:
            stream.writelines(f"{term}\n" for term in self._numbers)


def model_vocabulary(documents: Manifest, model: str | None) -> list[str] | None:
    """Returns the names of a vocabulary's terms by id, from the model that encoded documents.

    Args:
        documents: The manifest of the documents, which names the model.
        model: The model, if it lies elsewhere.

    Returns:
        The names; None, with a warning, if the model that the manifest names is not there.

    Raises:
        InputError: `model` cannot be opened, or the tokenizer is not that of the documents.
    """
    try:
        tokenizer = open_checkpoint(model or documents.model_name).settings.load_tokenizer()
    except InputError as error:
        if model:
            raise
        warn(f"terms are numbered in the order of their first occurrence, not by the model's ids: "
             f"{error}")
        return None
    if tokenizer.sha256 != documents.fingerprint.tokenizer:
        raise InputError(f"`model` {model or documents.model_name}: its tokenizer is not the one "
                         "of the documents (sha256)")
    return [str(term) for term in tokenizer.terms]


def read_terms(folder: Path) -> dict[str, int]:
    """Returns {term: number} of an export."""
    lines = read_bytes(folder / TERMS).decode("utf-8").split("\n")
    return {term: number for number, term in enumerate(lines[:-1])}
