"""Whether queries and an index belong together."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import short
from spladev3_anserini.impacts.manifest import BINARY, Fingerprint


class QueryIdentity(NamedTuple):
    """What of an encoding its queries must share with its documents; lengths may differ.

    Fields are those of `Fingerprint`; `model` is empty for queries that no model weighed.
    """

    model: str
    tokenizer: str
    variant: str
    special_tokens: str
    quantizer: str

    @classmethod
    def of(cls, fingerprint: Fingerprint) -> QueryIdentity:
        return cls(*(getattr(fingerprint, field) for field in cls._fields))


def refuse_mismatch(queries: QueryIdentity, what: str, documents: Fingerprint, index: Path) -> None:
    """Raises InputError naming every field in which queries and the index differ.

    A bag-of-words query has no model and no scale of its own, so neither is compared.
    """
    for_bow = {"model"} if not queries.model else set()
    if queries.quantizer == BINARY:
        for_bow.add("quantizer")
    other = QueryIdentity.of(documents)
    differing = [
        f"{field} {short(a)} against {short(b)}"
        for field, a, b in zip(QueryIdentity._fields, queries, other, strict=True)
        if a != b and field not in for_bow
    ]
    if differing:
        raise InputError(f"{what} and the index {index} do not belong together: "
                         f"{'; '.join(differing)}")
