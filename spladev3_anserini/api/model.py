"""A sparse encoder: texts -> term weights, impacts, or an index of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from scipy import sparse

from spladev3_anserini import progress as reports
from spladev3_anserini.api.index import Index
from spladev3_anserini.api.run import StrPath
from spladev3_anserini.collection.corpus import Survey, document_of
from spladev3_anserini.collection.in_memory import Texts, checked_texts, texts_of
from spladev3_anserini.collection.survey import survey_texts
from spladev3_anserini.encoding.cut import Cuts
from spladev3_anserini.encoding.encoder import Encoder, TextError
from spladev3_anserini.encoding.pipeline import EncodingOutput, encode_to_directory, fingerprint
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import shown_differences
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.impacts.shards import MANIFEST
from spladev3_anserini.lucene.build import build_index
from spladev3_anserini.lucene.check import INDEX_MANIFEST, read_index_manifest
from spladev3_anserini.model.checkpoint import chosen_variant, open_checkpoint
from spladev3_anserini.text import counted

Side = Literal["document", "query"]


def load(model: StrPath = "demo", *, variant: str = "auto", scale: float = 100.0,
         max_length: int = 256, special_tokens: str = "drop", top_k: int | None = None,
         batch_tokens: int | None = None, device: str = "auto", dtype: str = "auto") -> Model:
    """Load a sparse encoder.

    Args:
        model: A folder, a hub id (`owner/name`, also `owner/name@revision`), or `"demo"`.
        variant: `auto` reads the checkpoint's files; else a variant's name, such as
            `splade-v3-doc`.
        scale: An impact is rint(scale x weight).
        max_length: Wordpieces of a text, [CLS] and [SEP] included. Longer texts are cut, and a
            warning counts them.
        special_tokens: Dimensions dropped after pooling: `drop`, `keep` or `anserini`.
        top_k: Keep only each text's largest weights.
        batch_tokens: Padded tokens of a batch of documents; None chooses by device.
        device: `cpu`, `cuda`, `cuda:1`, ...; `auto` takes a GPU if there is one.
        dtype: `float32` (what `auto` is), `bfloat16` or `float16`.

    Raises:
        InputError: There is no such model, it cannot be used, or a value is out of range.
    """
    settings = EncoderSettings(max_length=max_length, quantizer=Quantizer.of(scale),
                        special_tokens=special_tokens, top_k=top_k, batch_tokens=batch_tokens,
                        device=device, dtype=dtype)
    return Model(os.fspath(model), variant, settings)


class Model:
    """A sparse encoder: texts to term weights, impacts, or an index. Made by `load`."""

    def __init__(self, name: str, variant: str, settings: EncoderSettings) -> None:
        self._checkpoint = open_checkpoint(name)
        self._settings = settings
        self._variant = chosen_variant(variant, self._checkpoint)
        self._encoders: dict[str, Encoder] = {}
        self._encoder("document")

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.variant}>"

    @property
    def name(self) -> str:
        """The name or the folder that it was loaded by."""
        return self._checkpoint.name

    @property
    def variant(self) -> str:
        """The name of the variant, such as `splade-v3-lexical`."""
        return self._variant.name

    @property
    def terms(self) -> NDArray[Any]:
        """The vocabulary by id: the columns of `matrix`."""
        return self._encoder("document").terms

    def weights(self, texts: Iterable[str], side: Side = "document", *,
                progress: bool = False) -> list[dict[str, float]]:
        """Term weights of each text, the largest first.

        Args:
            texts: A list (or any iterable) of texts.
            side: `document`, or `query`: the same for a variant that expands queries, fewer terms
                for `splade-v3-lexical`, and 1 for each wordpiece for `splade-v3-doc`.
            progress: Draw a progress bar.

        Returns:
            One {term: weight} a text, in the order of the texts. A text without any wordpiece has
            an empty one.

        Raises:
            InputError: `texts` is one text, or an item is no text or has weights that are not
                finite.
        """
        return self._rows(self.matrix(texts, side, progress=progress))

    def impacts(self, texts: Iterable[str], side: Side = "document", *,
                progress: bool = False) -> list[dict[str, int]]:
        """Integer impacts of each text, the largest first; see `weights`.

        They are what an index holds: rint(scale x weight), zeros dropped.
        """
        return self._rows(self.matrix(texts, side, impacts=True, progress=progress))

    def matrix(self, texts: Iterable[str], side: Side = "document", *, impacts: bool = False,
               progress: bool = False) -> sparse.csr_matrix:
        """The weights (float32) or impacts (int32) as one matrix of shape (texts, vocabulary).

        `terms` are its columns. See `weights` for the arguments and errors.
        """
        plain = checked_texts(texts)
        encoder = self._encoder(side)
        tokens = encoder.tokenized(plain)
        cuts = Cuts()
        cuts.add(tokens.lost)
        cuts.warn("text", f"`max_length` {encoder.settings.max_length}")
        with (reports.shown("bars" if progress else "off"),
              reports.counter("encoding", len(plain), "text") as bar):
            try:
                return (encoder.impacts_of if impacts else encoder.weights_of)(tokens.ids,
                                                                               bar.update)
            except TextError as error:
                raise InputError(f"`texts`, item {error.position + 1}: {error}") from None

    def index(self, texts: Texts | StrPath, folder: StrPath, *, overwrite: bool = False,
              optimize: bool = False, threads: int | None = None, shard_size: int = 5000,
              skip_errors: bool = False, encoded: StrPath | None = None,
              progress: bool = False) -> Index:
        """Encode documents and build a checked Lucene index of them.

        The impact documents are written to `encoded`. After an interruption the same call goes on
        at the first missing shard. Where the index of these documents and this model is there
        already, it is checked and opened.

        Args:
            texts: The path of a corpus (JSON lines, TSV, a folder of them, a BEIR folder,
                `ir_datasets:ID`), or (id, text) pairs, {id: text}, dicts with `id` and `text` (and
                maybe `title`) or `contents`, or a data frame with such columns.
            folder: The index to build.
            overwrite: Replace an index of something else, and an encoding of something else that
                was interrupted.
            optimize: Merge the index into one segment: smaller, slower to build.
            threads: Indexing threads; None is one a core.
            shard_size: Documents of a file of impacts, the step in which encoding resumes.
            skip_errors: Skip documents that cannot be read, and all but the first of an id. Only
                for a path; `encoded` then has `rejected.jsonl` with the reasons.
            encoded: Where the impact documents stay. Without it they are in `FOLDER.encoded` until
                the index is built.
            progress: Draw progress bars.

        Raises:
            InputError: A document or its id cannot be used, an id is there twice, there is no
                document, or `folder` holds something else.
        """
        index, kept = Path(folder), encoded is not None
        output = EncodingOutput(
            folder=Path(encoded) if encoded is not None
            else index.with_name(f"{index.name}.encoded"),
            shard_size=shard_size, restart=overwrite)
        names = {"`output`": "`encoded`", "`restart`": "`overwrite`", "`index`": "`folder`"}
        with (reports.shown("bars" if progress else "off"), _called(names),
              _as_file(texts, index, skip_errors) as (source, name)):
            surveyed = survey_texts(source, "document", skip=skip_errors)
            encoder = self._encoder("document")
            output = replace(output, source_name=name)
            if self._is_there(index, surveyed, encoder, output, overwrite):
                left_over = (output.folder / MANIFEST).exists()
            else:
                outcome = encode_to_directory(source, surveyed, self._checkpoint, encoder, output)
                assert outcome.manifest is not None  # there is one part
                build_index(output.folder, index, threads=threads or os.cpu_count() or 1,
                            optimize=optimize, overwrite=overwrite)
                left_over = True
            if left_over and not kept:
                shutil.rmtree(output.folder)
        return Index(index, self._checkpoint.name, self.variant, lambda: self._settings,
                     network=encoder.network)

    def _is_there(self, index: Path, surveyed: Survey, encoder: Encoder, output: EncodingOutput,
                  overwrite: bool) -> bool:
        """Whether an index holds these documents already; raises InputError for another one."""
        if not (index / INDEX_MANIFEST).exists():
            return False
        record = read_index_manifest(index)
        assert record is not None
        there, now = record.encoded.fingerprint, fingerprint(surveyed, encoder, output)
        if there == now:
            return True
        if not overwrite:
            raise InputError(f"`folder` {index}: holds an index of something else "
                             f"({shown_differences(there, now)}); choose another name, or "
                             "`overwrite`")
        return False

    def _encoder(self, side: str) -> Encoder:
        if side not in ("document", "query"):
            raise InputError(f"`side` {side}: expected document or query")
        if side not in self._encoders:
            loaded = self._encoders.get("document")
            self._encoders[side] = Encoder(self._checkpoint, self._variant, side, self._settings,
                                           loaded.network if loaded else None)
        return self._encoders[side]

    def _rows(self, matrix: sparse.csr_matrix) -> list[dict[str, Any]]:
        terms, rows = self.terms, []
        for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
            pairs = zip(terms[matrix.indices[start:end]].tolist(), matrix.data[start:end].tolist(),
                        strict=True)
            rows.append(dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0]))))
        return rows


@contextmanager
def _as_file(texts: Texts | StrPath, index: Path, skip: bool) -> Iterator[tuple[str, str]]:
    """The path of a corpus and what a manifest calls it ("" for its path). What Python holds is
    written beside the index for as long as the block runs, since a corpus is read twice."""
    if isinstance(texts, (str, os.PathLike)):
        yield os.fspath(texts), ""
        return
    if skip:
        raise InputError("`skip_errors`: needs the path of a corpus; texts that Python holds are "
                         "all taken or refused")
    index.resolve().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{index.name}-texts-",
                                     dir=index.resolve().parent) as scratch:
        file, count = Path(scratch) / "corpus.jsonl", 0
        with file.open("w", encoding="utf-8") as stream:
            for text in texts_of(texts, "texts", document_of):
                stream.write(json.dumps({"id": text.id, "contents": text.text}) + "\n")
                count += 1
        with _called({rf"{re.escape(str(file))}:(?=\d)": "`texts`, item ",
                      re.escape(str(file)): "`texts`"}):
            yield str(file), f"{counted(count, 'document')} that Python held"


@contextmanager
def _called(names: Mapping[str, str]) -> Iterator[None]:
    """Has errors of the block call things as the caller does; `names` are {pattern: name}."""
    try:
        yield
    except InputError as error:
        message = str(error)
        for pattern, name in names.items():
            message = re.sub(pattern, name, message)
        raise type(error)(message) from error.__cause__
