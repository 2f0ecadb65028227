"""Ways to weight texts, as data: the four variants of SPLADE-v3, and static query weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from spladev3_anserini.errors import InputError

QueryMode = Literal["expand", "lexical", "bow", "static"]


class Pooling(NamedTuple):
    """How token logits x_ij become the weight of term j (max: SPLADE v2, arXiv 2109.10086;
    sum: SPLADE, arXiv 2107.05720; log1p_relu: arXiv 2504.14839).

    strategy: `max` or `sum` over positions i. activation: `relu` is log(1 + relu(x)); `log1p_relu`
    is log(1 + log(1 + relu(x))).
    """

    strategy: Literal["max", "sum"] = "max"
    activation: Literal["relu", "log1p_relu"] = "relu"


#: The pooling of SPLADE v2 and v3, and of a model whose files state none.
MAX_RELU = Pooling()
#: All poolings by their two words.
POOLINGS = {" ".join(pooling): pooling for pooling in (
    MAX_RELU, Pooling("max", "log1p_relu"), Pooling("sum", "relu"), Pooling("sum", "log1p_relu"))}


class Variant(NamedTuple):
    """A document encoder (always an MLM) plus a way to weight a query (paper, section 3).

    expand: the MLM with expansion and learned weights. lexical: the same weights, only on the
    query's own wordpieces. bow: no model; the set of the query's wordpieces, each with weight 1.
    static: as bow, with the weight that a table has for each wordpiece.
    """

    name: str
    query: QueryMode

    @property
    def learns_queries(self) -> bool:
        """Whether the model weights queries; otherwise each wordpiece has a fixed weight."""
        return self.query in ("expand", "lexical")


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("splade-v3", "expand"),
        Variant("splade-v3-distilbert", "expand"),
        Variant("splade-v3-lexical", "lexical"),
        Variant("splade-v3-doc", "bow"),
        Variant("static", "static"),
    )
}

#: Special-token policies: which vocabulary dimensions are dropped after pooling, on both sides.
#: `drop`: all special tokens of the tokenizer, [UNK] too. `keep`: none, as Pyserini's Python
#: encoders do. `anserini`: ids 0, 101 and 102, as its Java encoders do.
SPECIAL_TOKENS = ("drop", "keep", "anserini")
ANSERINI_IDS = (0, 101, 102)


def variant_named(name: str) -> Variant:
    """Returns the variant of a name; raises InputError, listing all names, for another name."""
    if name not in VARIANTS:
        raise InputError(f"`variant` {name}: expected auto or one of {', '.join(VARIANTS)}")
    return VARIANTS[name]


def dropped_ids(policy: str, special_ids: Iterable[int], vocabulary: int) -> list[int]:
    """Returns the vocabulary ids that a special-token policy drops, ascending.

    Raises InputError for an unknown policy, and for `anserini` with a vocabulary without its ids.
    """
    if policy == "drop":
        return sorted(set(special_ids))
    if policy == "keep":
        return []
    if policy != "anserini" or vocabulary <= max(ANSERINI_IDS):
        raise InputError(f"`special_tokens` {policy}: not for a vocabulary of {vocabulary} terms; "
                         f"expected {', '.join(SPECIAL_TOKENS)}")
    return list(ANSERINI_IDS)
