"""The folder of an index -> an open index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spladev3_anserini.api.checks import (
    StrPath,
    finite_number,
    flag,
    one_family,
    one_of,
    optional_number,
    path_text,
    query_table,
)
from spladev3_anserini.api.index import Index
from spladev3_anserini.collection.records import checked_text
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import refuse_other_values
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.lucene.check import INDEX_MANIFEST
from spladev3_anserini.model.variants import SPECIAL_TOKENS, VARIANTS


@one_family
def open_index(folder: StrPath, *, model: StrPath | None = None, variant: str = "auto",
               scale: float | None = None, special_tokens: str | None = None,
               max_length: int | None = None, batch_tokens: int | None = None, device: str = "auto",
               dtype: str = "auto", query_weights: StrPath | Mapping[str, float] | None = None,
               trust: bool = False, prebuilt: bool = False, lucene: bool = False,
               passage_delimiter: str | None = None) -> Index:
    """Open an index that `Model.index` or the command `index` built.

    Model, variant, scale and special tokens are read from the index; other values are refused.
    The model is loaded at the first query that is a text, or at once if `model` or `variant` is
    given.

    Args:
        folder: The index, or the folder with all parts of one.
        model: The folder or hub id of the model; None: the one that the index names.
        variant: As in `load`; `auto` is the variant of the index.
        scale: As in `load`; None: the scale of the index, or 100 with `prebuilt`.
        special_tokens: As in `load`; None: those of the index, or `drop` with `prebuilt`.
        max_length: Wordpieces per query, [CLS] and [SEP] included. Longer queries are cut.
        batch_tokens: As in `load`. On a CPU, queries run one at a time.
        device: As in `load`.
        dtype: As in `load`.
        query_weights: Weight each wordpiece of a query by this table, without a model, whatever
            the variant of the index: a file or {term: weight}.
        trust: Do not hash index files whose place or time changed since they were last hashed.
        prebuilt: Open an index that another program built. Nothing about it can be checked:
            give `model`, `variant`, `scale` and `special_tokens` yourself.
        lucene: Search with Lucene, also where the exact engine could. The hits are the same.
        passage_delimiter: What stands before the number of a passage in an id, for the argument
            `passages` of searches. None: `#`, and the index must hold passages of `Model.index` or
            `encode`.

    Returns:
        The index, open.

    Raises:
        InputError: There is no sound index, or it was built with other values.
        JavaError: Java is missing, or it failed.
    """
    quantizer = Quantizer() if scale is None else Quantizer.of(finite_number("scale", scale))
    tokens = None if special_tokens is None else one_of("special_tokens", special_tokens,
                                                        SPECIAL_TOKENS)
    one_of("variant", variant, ["auto", *VARIANTS])
    table = query_table(query_weights)
    length = optional_number("max_length", max_length, 3)
    batch = optional_number("batch_tokens", batch_tokens, 1)
    path, trust, prebuilt, lucene = (Path(path_text("folder", folder)), flag("trust", trust),
                                     flag("prebuilt", prebuilt), flag("lucene", lucene))

    def settings() -> EncoderSettings:
        from spladev3_anserini.model.batches import DTYPES

        return EncoderSettings(
            max_length=length, quantizer=quantizer, special_tokens=tokens or "drop",
            batch_tokens=batch, device=str(device),
            dtype=one_of("dtype", dtype, ["auto", *DTYPES]), query_weights=table)

    index = Index(path, None if model is None else path_text("model", model), variant, settings,
                  trust=trust, lucene=lucene, passage_delimiter=None if passage_delimiter is None
                  else checked_text(passage_delimiter, "`passage_delimiter`", "text"))
    try:
        if index.manifest is not None:
            refuse_other_values(scale, tokens, index.manifest)
        elif not prebuilt:
            raise InputError(f"{path}: no {INDEX_MANIFEST} in it, so its model, variant and scale "
                             "are unknown; open it with `prebuilt` and pass them yourself")
        if model is not None or variant != "auto" or table is not None:
            index.encoder()
    except BaseException:
        index.close()
        raise
    return index
