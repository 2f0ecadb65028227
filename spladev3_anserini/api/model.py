"""Texts and a sparse encoder -> term weights, impacts, or an index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from numpy.typing import NDArray
from scipy import sparse

from spladev3_anserini import progress as reports
from spladev3_anserini.api.checks import (
    LOADING,
    StrPath,
    finite_number,
    flag,
    one_family,
    one_of,
    optional_number,
    output_folder,
    path_text,
    query_table,
    whole_number,
)
from spladev3_anserini.api.index import Index
from spladev3_anserini.api.indexing import IndexTarget, build
from spladev3_anserini.collection.in_memory import Texts, checked_texts
from spladev3_anserini.encoding.cut import Cuts
from spladev3_anserini.encoding.encoder import Encoder, TextError
from spladev3_anserini.encoding.passages import chosen_split
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.model.batches import DTYPES
from spladev3_anserini.model.checkpoint import chosen_variant, open_checkpoint
from spladev3_anserini.model.variants import SPECIAL_TOKENS, VARIANTS

SideName = Literal["document", "query"]


@one_family
def load(model: StrPath = "demo", *, variant: str = "auto", scale: float = 100.0,
         max_length: int | None = None, special_tokens: str = "drop", top_k: int | None = None,
         batch_tokens: int | None = None, device: str = "auto", dtype: str = "auto",
         query_weights: StrPath | Mapping[str, float] | None = None) -> Model:
    """Load a sparse encoder.

    Args:
        model: A folder, a hub id (`owner/name`, also `owner/name@revision`), or `"demo"`.
        variant: How queries are weighted: `splade-v3`, `splade-v3-distilbert`,
            `splade-v3-lexical`, `splade-v3-doc` or `static`; `auto` reads it from the checkpoint's
            files.
        scale: An impact is rint(scale x weight).
        max_length: Wordpieces per text, [CLS] and [SEP] included. Longer texts are cut, and a
            warning counts them. None: the length that the model's files state, else 256.
        special_tokens: Dimensions dropped after pooling. `drop`: all special tokens; `keep`:
            none; `anserini`: ids 0, 101 and 102.
        top_k: Keep only this many of each text's largest weights; None keeps all.
        batch_tokens: Padded tokens per batch of documents; None: 1,024 on a CPU, 32,768 on a GPU.
        device: `cpu`, `cuda`, `cuda:1`, ...; `auto` uses a GPU if there is one.
        dtype: `float32` (the meaning of `auto`), `bfloat16` or `float16`.
        query_weights: Weight each wordpiece of a query by a table, without a model (variant
            `static`): a file (JSON, or term TAB weight per line), {term: weight}, or `"idf"`. The
            last counts the documents that `Model.index` encodes; only an index knows it then.

    Returns:
        The model, with its weights in memory.

    Raises:
        InputError: There is no such model, it cannot be used, or a value is out of range.
    """
    settings = EncoderSettings(
        max_length=optional_number("max_length", max_length, 3),
        quantizer=Quantizer.of(finite_number("scale", scale)),
        special_tokens=one_of("special_tokens", special_tokens, SPECIAL_TOKENS),
        top_k=optional_number("top_k", top_k, 1),
        batch_tokens=optional_number("batch_tokens", batch_tokens, 1),
        device=str(device), dtype=one_of("dtype", dtype, ["auto", *DTYPES]),
        query_weights=query_table(query_weights))
    return Model(path_text("model", model), one_of("variant", variant, ["auto", *VARIANTS]),
                 settings)


class Model:
    """A sparse encoder, from `load`: it turns texts into term weights, impacts, or an index."""

    def __init__(self, name: str, variant: str, settings: EncoderSettings) -> None:
        self._checkpoint = open_checkpoint(name)
        self._settings = settings
        self._variant = chosen_variant(variant, self._checkpoint, settings.query_weights)
        self._encoders: dict[str, Encoder] = {}
        self._encoder("document")

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.variant}>"

    @property
    def name(self) -> str:
        """The hub id or folder that was given to `load`."""
        return self._checkpoint.name

    @property
    def variant(self) -> str:
        """The name of the variant, such as `splade-v3-lexical`; never `auto`."""
        return self._variant.name

    @property
    def terms(self) -> NDArray[Any]:
        """The terms of the vocabulary in the order of `matrix`'s columns: shape (vocabulary,).

        The array is read-only.
        """
        terms = self._encoder("document").terms.view()
        terms.flags.writeable = False
        return terms

    def weights(self, texts: Iterable[str], side: SideName = "document", *,
                progress: bool = False) -> list[dict[str, float]]:
        """Compute the term weights of each text, the largest first.

        Args:
            texts: A list (or any iterable) of texts.
            side: `document` or `query`. A query has the weights of a document if the variant
                expands queries, only its own wordpieces with `splade-v3-lexical`, weight 1 for
                each wordpiece with `splade-v3-doc`, and a table's weight with `static`.
            progress: Draw a progress bar.

        Returns:
            One {term: weight} per text, in the order of the texts; weights are above 0. A text
            without any wordpiece has an empty dict.

        Raises:
            InputError: `texts` is a single string, an item is not a string, or a weight is not
                finite.
        """
        return self._rows(self.matrix(texts, side, progress=progress))

    def impacts(self, texts: Iterable[str], side: SideName = "document", *,
                progress: bool = False) -> list[dict[str, int]]:
        """Integer impacts of each text, the largest first.

        An index holds these: rint(scale x weight), without zeros. The impacts of a
        `splade-v3-doc` query are 1 at every scale.

        Args:
            texts: A list (or any iterable) of texts.
            side: `document` or `query`, as in `weights`.
            progress: Draw a progress bar.

        Returns:
            One {term: impact} per text, in the order of the texts; impacts are whole numbers from
            1. A text without any wordpiece has an empty dict.

        Raises:
            InputError: As `weights` does.
        """
        return self._rows(self.matrix(texts, side, impacts=True, progress=progress))

    @one_family
    def matrix(self, texts: Iterable[str], side: SideName = "document", *, impacts: bool = False,
               progress: bool = False) -> sparse.csr_matrix:
        """The weights or impacts of all texts as one sparse matrix.

        Args:
            texts: A list (or any iterable) of texts.
            side: `document` or `query`, as in `weights`.
            impacts: Return integer impacts instead of weights.
            progress: Draw a progress bar.

        Returns:
            A CSR matrix of shape (texts, vocabulary): weights as float32, impacts as int32. Row i
            is text i, and column j is the term `terms[j]`.

        Raises:
            InputError: As `weights` does.
        """
        plain = checked_texts(texts)
        encoder = self._encoder(side)
        tokens = encoder.tokenized(plain)
        cuts = Cuts()
        cuts.add(tokens.lost)
        cuts.warn("text", f"`max_length` {encoder.max_length}")
        compute = encoder.impacts_of if flag("impacts", impacts) else encoder.weights_of
        with (reports.reporting("bars" if flag("progress", progress) else "off"),
              reports.counter("encoding", len(plain), "text") as bar):
            try:
                return compute(tokens.ids, bar.update)
            except TextError as error:
                raise InputError(f"`texts`, item {error.position + 1}: {error}") from None

    @one_family
    def index(self, texts: Texts | StrPath, folder: StrPath, *, overwrite: bool = False,
              optimize: bool = False, engine: bool = True, shard_size: int = 5000,
              skip_errors: bool = False, encoded: StrPath | None = None,
              passages: int | None = None, stride: int | None = None, store_texts: bool = False,
              progress: bool = False) -> Index:
        """Encode documents and build a checked Lucene index of them.

        After an interruption, the same call continues at the first missing shard. If `folder`
        already holds the index of these documents and this model, it is checked and opened.

        Args:
            texts: The path or address of a corpus (JSON lines, TSV, parquet, a folder of them, a
                BEIR folder, `ir_datasets:ID`), (id, text) pairs, {id: text}, dicts with an id
                (`id`, `_id`, `docid` or `docno`) and `contents` or `text` (optionally `title`), a
                data frame with such columns, or records of ir_datasets.
            folder: The index to build.
            overwrite: Replace an index of something else, and an interrupted encoding of
                something else.
            optimize: Merge the index into one segment. It is smaller, but slower to build.
            engine: Also write the arrays of the exact engine, which searches about 10 times
                faster than Lucene. They take about 4 bytes a posting.
            shard_size: Documents per file of impacts. Encoding resumes file by file.
            skip_errors: Skip documents that cannot be read, and repeated ids after the first.
                Only for a path; `encoded` then holds `rejected.jsonl` with the reasons.
            encoded: A folder that keeps the impact documents. If it is None, they are in
                `FOLDER.encoded` until the index is built.
            passages: Index passages of at most this many wordpieces, [CLS] and [SEP] included,
                instead of cutting long documents. Their ids are `DOCID#N`, from 0.
            stride: The most wordpieces between the beginnings of two passages; None: half of
                `passages`.
            store_texts: Also keep the texts, compressed, for `Index.text` and hits with texts.
            progress: Draw progress bars.

        Returns:
            The index, open. It uses this model for its queries.

        Raises:
            InputError: A document or its id cannot be used, an id occurs twice, there is no
                document, or `folder` holds something else.
            JavaError: Java is missing, or it failed.
        """
        target = IndexTarget(
            output_folder("folder", folder),
            None if encoded is None else output_folder("encoded", encoded),
            whole_number("shard_size", shard_size, 1, 10_000_000),
            flag("optimize", optimize), flag("engine", engine), flag("overwrite", overwrite),
            flag("skip_errors", skip_errors), flag("store_texts", store_texts))
        encoder = self._passage_encoder(passages, stride)
        with reports.reporting("bars" if flag("progress", progress) else "off"):
            build(texts, self._checkpoint, encoder, target)
        settings = replace(self._settings, query_weights=None)  # the index holds the table
        return Index(target.folder, self._checkpoint.name, self.variant, lambda: settings,
                     network=encoder.network)

    def _passage_encoder(self, passages: int | None, stride: int | None) -> Encoder:
        """Returns the encoder of documents, or of their passages."""
        documents = self._encoder("document")
        if passages is None:
            if stride is not None:
                raise InputError("`stride`: give `passages` too")
            return documents
        split = chosen_split(whole_number("passages", passages, 1),
                             optional_number("stride", stride, 1))
        return Encoder(self._checkpoint, self._variant, "document",
                       replace(self._settings, passages=split), documents.network)

    def _encoder(self, side: str) -> Encoder:
        one_of("side", side, ("document", "query"))
        with LOADING:
            if side not in self._encoders:
                first = self._encoders.get("document")
                self._encoders[side] = Encoder(self._checkpoint, self._variant, side,
                                               self._settings, first.network if first else None)
            return self._encoders[side]

    def _rows(self, matrix: sparse.csr_matrix) -> list[dict[str, Any]]:
        """Returns {term: value} per row, by value descending, ties by term ascending."""
        terms, rows = self.terms, []
        for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
            pairs = zip(terms[matrix.indices[start:end]].tolist(), matrix.data[start:end].tolist(),
                        strict=True)
            rows.append(dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0]))))
        return rows
