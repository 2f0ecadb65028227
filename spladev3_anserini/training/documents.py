"""A corpus and the ids that are needed of it -> their texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spladev3_anserini.collection.corpus import CorpusDigest, read_corpus
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import progress


def texts_of(corpus: str, needed: Mapping[str, str],
             candidates: Path | str) -> tuple[dict[str, str], str]:
    """Texts of the documents `needed`, whose values are queries that have them in `candidates`,
    and the corpus's hash, in one pass.

    Raises InputError as the reader does, for a document that is not there, and for an id that is
    there twice and needed.
    """
    texts: dict[str, str] = {}
    digest = CorpusDigest()
    with progress(read_corpus(corpus), "reading") as documents:
        for document in documents:
            digest.add(document)
            if document.id in texts:
                raise InputError(f"{document.where}: the id {document.id!r} is there twice")
            if document.id in needed:
                texts[document.id] = document.text
    for name, query in needed.items():
        if name not in texts:
            raise InputError(f"{corpus}: no document {name!r}, which {candidates} has for query "
                             f"{query!r}")
    return texts, digest.hexdigest()
