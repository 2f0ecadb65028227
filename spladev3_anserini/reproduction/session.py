"""What the stages of one run share: model, sources, index, and what is at hand of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.collection.qrels import Qrels
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.queries import encoder_for_index, encoder_for_prebuilt
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, read_json, sha256_of
from spladev3_anserini.impacts.manifest import IndexManifest
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.lucene.check import INDEX_MANIFEST, read_index_manifest
from spladev3_anserini.lucene.prebuilt import prebuilt_index
from spladev3_anserini.model.batches import resolved_device
from spladev3_anserini.model.checkpoint import Checkpoint, model_hash, weight_files
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.recipe.schema import QuerySet
from spladev3_anserini.reproduction.cell import STAGES, Cell
from spladev3_anserini.reproduction.models import usable_checkpoint


class Options(NamedTuple):
    """How this machine does the work; `stages` are those to run, others must be done."""

    stages: tuple[str, ...] = STAGES
    threads: int = os.cpu_count() or 1
    device: str = "auto"
    batch_tokens: int | None = None
    model: str | None = None


class Run:
    """What the stages of one cell share; what is costly is made when first asked for."""

    def __init__(self, cell: Cell, sets: Mapping[str, QuerySet], options: Options) -> None:
        self.cell, self.sets, self.options = cell, sets, options
        sources = cell.sources()
        self.corpus = "" if cell.prebuilt else sources.resolve(cell.collection.corpus)
        self.topics = {name: sources.resolve(own.topics) for name, own in sets.items()}
        self.qrels = {name: sources.resolve(own.qrels) for name, own in sets.items()}

    @cached_property
    def checkpoint(self) -> Checkpoint:
        recipe, name = self.cell.recipe, self.options.model or self.cell.recipe.model_name
        if name is None and recipe.training is not None:
            from spladev3_anserini.reproduction.trained import trained_model

            name = str(trained_model(self.cell, self.options.threads, self.options.device,
                                     "train" in self.options.stages))
        if name is None:
            raise InputError(f"{self.cell.recipe_name}: names no model; give the folder it is in "
                             "with `model`")
        return usable_checkpoint(name, self.cell.output, recipe.pickled)

    @cached_property
    def model_sha256(self) -> str:
        weight_files(self.checkpoint)
        return model_hash(self.checkpoint)

    @cached_property
    def tokenizer_sha256(self) -> str:
        return Tokenizer(self.checkpoint.tokenizer).sha256

    @cached_property
    def index(self) -> Path:
        return prebuilt_index(self.cell.prebuilt) if self.cell.prebuilt \
            else self.cell.index_folder

    def note(self, name: str) -> dict[str, Any]:
        """What a stage wrote down: `corpus`, `data.SET`, `check`, `measures.SET`."""
        record: dict[str, Any] = read_json(self.note_file(name))
        return record

    def note_file(self, name: str) -> Path:
        return self.cell.folder / f"{name}.json"

    def write_note(self, name: str, record: Mapping[str, Any]) -> None:
        with appearing(self.note_file(name)) as stream:
            stream.write(json.dumps(record, indent=1) + "\n")

    @property
    def device(self) -> str:
        """The kind of device that encodes, which decides the last bits."""
        return resolved_device(self.options.device).partition(":")[0]

    @property
    def index_identity(self) -> str:
        """An index's own manifest, or the sizes of the files of one built elsewhere."""
        if not self.cell.prebuilt:
            manifest = self.index / INDEX_MANIFEST
            return sha256_of(manifest) if manifest.exists() else "none"
        sizes = sorted((p.name, p.stat().st_size) for p in self.index.iterdir() if p.is_file())
        return hashlib.sha256(repr((self.cell.prebuilt, sizes)).encode()).hexdigest()

    @cached_property
    def query_encoder(self) -> Encoder:
        own = self.settings(self.cell.settings.query_max_length)
        if self.cell.prebuilt:
            return encoder_for_prebuilt(self.checkpoint.name, self.cell.recipe.variant, own)
        return encoder_for_index(self.index, self.index_record(), self.checkpoint.name,
                                 self.cell.recipe.variant, own)

    def index_record(self) -> IndexManifest:
        record = read_index_manifest(self.index)
        if record is None:
            raise InputError(f"{self.index}: no {INDEX_MANIFEST} in it")
        return record

    def settings(self, length: int | None) -> EncoderSettings:
        own = self.cell.settings
        return EncoderSettings(
            max_length=length or 0, quantizer=Quantizer.parse(str(own.quantizer)),
            special_tokens=str(own.special_tokens), batch_tokens=self.options.batch_tokens,
            device=self.options.device, dtype=str(own.dtype))


def hash_of_qrels(qrels: Qrels) -> str:
    """A hash of judgments, whatever the order and layout of their file."""
    lines = sorted(f"{query} {document} {grade}\n" for query, judged in qrels.items()
                   for document, grade in judged.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()
