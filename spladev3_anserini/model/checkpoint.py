"""A model's folder -> its files and its variant."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query_weights import QueryTable, Terms, Weights, weights_of
from spladev3_anserini.model.hub import model_folder
from spladev3_anserini.model.layout import ROUTER, VARIANT_NOTE, Layout, Side, read_layout
from spladev3_anserini.model.query_tables import read_weight_table
from spladev3_anserini.model.stated import POSITIONS, tokenizer_length
from spladev3_anserini.model.variants import (
    MAX_RELU,
    VARIANTS,
    QueryMode,
    Variant,
    variant_named,
)
from spladev3_anserini.model.weights import (
    INDEX,
    external_data,
    files_hash,
    read_as,
    weight_files_in,
)

#: The file that `export` writes in place of safetensors.
ONNX_WEIGHTS = "model.onnx"
#: naver's record of a training, which states what the weights were trained for.
ARGUMENTS = "model_args.json"


class Checkpoint(NamedTuple):
    """A model on disk.

    Attributes:
        name: The name that the user gave: a folder, a hub id or `demo`.
        folder: The folder with the MLM's config and weights.
        tokenizer: The folder with the vocabulary.
        variant: The variant that the checkpoint's files state.
        layout: What the files state about both sides; `folder` and `tokenizer` are those of the
            documents, or of `side`.
        label: The model in error messages: the option and the name.
        side: `document`, or `query` (see `of`).
    """

    name: str
    folder: Path
    tokenizer: Path
    variant: Variant
    layout: Layout
    label: str
    side: str = "document"

    def of(self, side: str) -> Checkpoint:
        """The same checkpoint, seen from one side, whose model may be another."""
        chosen = self.layout.query if side == "query" else self.layout.document
        return self._replace(folder=chosen.folder, tokenizer=chosen.tokenizer, side=side)

    @property
    def settings(self) -> Side:
        """What the files state about this side."""
        return self.layout.query if self.side == "query" else self.layout.document

    @property
    def shares_model(self) -> bool:
        """Whether queries and documents have the same model and pooling."""
        query, document = self.layout.query, self.layout.document
        return (query.folder, query.pooling) == (document.folder, document.pooling)

    @property
    def routed(self) -> bool:
        """Whether the files of sentence-transformers or a table state the query side."""
        return self.layout.mode is not None

    @property
    def absolute_name(self) -> str:
        """The name, as an absolute path if it is a folder; it holds in any working directory."""
        path = Path(self.name)
        inside = path.is_dir() and self.folder.resolve().is_relative_to(path.resolve())
        return str(path.resolve()) if inside else self.name

    def length_warning(self, used: int) -> str | None:
        """Returns a warning if the model's files state another length than `used` tokens."""
        stated = self.settings.length
        if stated is None and (limit := tokenizer_length(self.tokenizer)) and limit.tokens < used:
            stated = limit  # the most that fits, so it counts only if it is below
        if stated is None or stated.tokens == used or (
                stated.key == POSITIONS and stated.tokens > used):
            return None
        return (f"{stated.path}: {stated.key}: the model's own length is {stated.tokens} tokens; "
                f"texts are cut at {used} here, so longer ones get other weights (`max_length`)")


class _Config(BaseModel):
    model_type: str


class _Arguments(BaseModel):
    splade_doc: bool = False
    lexical_type: str | None = None
    model_q: str | None = None
    shared_weights: bool = True


class _Note(BaseModel):
    model_config = ConfigDict(extra="forbid")
    variant: str


def open_checkpoint(name: str, *, pickles: bool = False, option: str = "`model`") -> Checkpoint:
    """Finds a model and reads its layout (see `read_layout`).

    Args:
        name: A folder, a hub id or `demo`, as `model_folder` takes it.
        pickles: Also download pickled weights, and accept a pickled table of query weights.
        option: The parameter that error messages name.

    Raises:
        InputError: A file is missing or invalid, or states a setting that is not applied here.
    """
    root = model_folder(name, pickles=pickles, option=option)
    layout = read_layout(root, pickles=pickles)
    variant = _stated_variant(name, root, layout)
    return Checkpoint(name, layout.document.folder, layout.document.tokenizer, variant, layout,
                      f"{option} {name}")


def note_variant(checkpoint: Checkpoint, folder: Path) -> None:
    """Writes a checkpoint's variant into `folder`, which holds a copy of the checkpoint."""
    note = f'{{"variant": "{checkpoint.variant.name}"}}\n'
    (folder / VARIANT_NOTE).write_text(note, "utf-8")


def is_onnx(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint is an exported ONNX graph, without weights for torch."""
    return ((checkpoint.folder / ONNX_WEIGHTS).exists()
            and not any(checkpoint.folder.glob("model*.safetensors")))


def weight_files(checkpoint: Checkpoint) -> list[Path]:
    """Returns the safetensors files of a checkpoint, or its ONNX graph.

    Weights are loaded from these files only.

    Raises:
        InputError: There are none (the message says how to convert a pickle), the graph takes
            weights from other files (no export writes such a graph), or as `weight_files_in`.
    """
    if is_onnx(checkpoint):
        graph = checkpoint.folder / ONNX_WEIGHTS
        if elsewhere := external_data(graph):
            raise InputError(f"{graph}: takes weights from {elsewhere[0][:80]!r}; an exported "
                             "graph holds its own")
        return [graph]
    if files := weight_files_in(checkpoint.folder, "model*.safetensors"):
        return files
    raise InputError(
        f"{checkpoint.label}: no model.safetensors in {checkpoint.folder}; if its "
        "weights are a pickle (pytorch_model.bin), which is never loaded silently, convert it "
        f"once: spladev3-anserini convert {checkpoint.name} --output "
        f"models/{Path(checkpoint.name.partition('@')[0]).name}")


def model_hash(checkpoint: Checkpoint) -> str:
    """Returns one sha256 (hex) over all that decides weights on the checkpoint's side.

    These are the config, the weights, the index of weights that are split over files, and what
    other files state about pooling and prompts, unless it is the usual.
    """
    return with_settings(model_files_hash(checkpoint), checkpoint.settings)


def model_files_hash(checkpoint: Checkpoint) -> str:
    """Returns one sha256 (hex) over the config, the weights, and their index if there is one."""
    files = [checkpoint.folder / "config.json", *weight_files(checkpoint)]
    index = checkpoint.folder / INDEX
    return files_hash([*files, index] if index.exists() else files)


def with_settings(model: str, side: Side) -> str:
    """The hash of a model (empty for none) with what is stated about one side's pooling and prompt;
    unchanged for max pooling and no prompt, as in all variants of SPLADE-v3."""
    pooling = side.pooling if model else MAX_RELU
    if pooling == MAX_RELU and not side.prompt:
        return model
    record = json.dumps([model, *pooling, side.prompt])
    return hashlib.sha256(record.encode()).hexdigest()


def query_weights_of(checkpoint: Checkpoint, mode: QueryMode, terms: Terms,
                     table: QueryTable | None = None) -> Weights | None:
    """Returns the weight that each wordpiece of a query has by itself, None if all have 1.

    Args:
        checkpoint: A model, whose layout may name a table.
        mode: How queries are weighted; only `static` and `lexical` use a table.
        terms: The vocabulary by id.
        table: The user's table, instead of the checkpoint's.

    Raises:
        InputError: There is no table for `static`, one for another mode, or it is unreadable.
    """
    if mode in ("expand", "bow"):
        if table is not None:
            raise InputError("`query_weights`: only queries of the variant static use a table")
        return None
    if table is not None:
        return weights_of(table, terms)
    if checkpoint.layout.table is not None:
        return read_weight_table(checkpoint.layout.table, terms)
    if mode == "static":
        raise InputError(f"{checkpoint.label}: has no table of query weights; say where one is "
                         "with `query_weights`")
    return None


def query_model_hash(checkpoint: Checkpoint, variant: Variant) -> str:
    """Returns the hash of what weights queries, empty if it is what weights documents.

    A query side differs by another model, pooling or prompt, or, without a model, by a prompt.
    """
    query, document = checkpoint.of("query"), checkpoint.of("document")
    if not variant.learns_queries:
        return with_settings("", query.settings)
    if checkpoint.shares_model and query.settings.prompt == document.settings.prompt:
        return ""
    return model_hash(query)


def chosen_variant(option: str, checkpoint: Checkpoint,
                   query_weights: QueryTable | None = None) -> Variant:
    """Returns the variant that an option names; `auto` is the one that the checkpoint states, or
    `static` with query weights.

    Raises InputError if the checkpoint's files contradict the option.
    """
    if option == "auto":
        return checkpoint.variant if query_weights is None else VARIANTS["static"]
    chosen = variant_named(option)
    if query_weights is None and checkpoint.routed and chosen.query != checkpoint.variant.query:
        raise InputError(f"`variant` {option}: the files of {checkpoint.name} state the query side "
                         f"of {checkpoint.variant.name}; omit `variant`")
    return chosen


def _stated_variant(name: str, root: Path, layout: Layout) -> Variant:
    """Returns the variant from the first of these sources that states one.

    The order: the note of this package, naver's training arguments, the name of naver's model
    (the files of its -lexical and v3 do not differ), the query side of a Router, the architecture.
    """
    config = read_as(_Config, layout.document.folder / "config.json")
    expand = "splade-v3-distilbert" if config.model_type == "distilbert" else "splade-v3"
    by_router = {"bow": "splade-v3-doc", "lexical": "splade-v3-lexical", "static": "static",
                 "expand": expand if layout.query != layout.document else None,
                 None: None}[layout.mode]
    source, stated = _named_variant(name, root)
    if by_router and stated and VARIANTS[stated].query != VARIANTS[by_router].query:
        place = root / ROUTER if (root / ROUTER).exists() else layout.table
        raise InputError(f"{place}: states the query side of {by_router}, but {source} says "
                         f"{stated}")
    return VARIANTS[stated or by_router or expand]


def _named_variant(name: str, root: Path) -> tuple[str, str | None]:
    """Returns (source, variant) by a note, training arguments or the name; None: none states it."""
    note, arguments = root / VARIANT_NOTE, root / ARGUMENTS
    if note.exists():
        stated = read_as(_Note, note).variant
        if stated not in VARIANTS:
            raise InputError(f"{note}: the variant {stated[:40]!r} is none of "
                             f"{', '.join(VARIANTS)}")
        return str(note), stated
    trained = read_as(_Arguments, arguments) if arguments.exists() else _Arguments()
    known = _known_name(name, root)
    if trained.splade_doc or known == "splade-v3-doc":
        return str(arguments if trained.splade_doc else name), "splade-v3-doc"
    if trained.model_q or not trained.shared_weights:
        raise InputError(f"{arguments}: {'model_q' if trained.model_q else 'shared_weights'}: "
                         "queries have a separate model, which is not applied here")
    if trained.lexical_type == "query" or known == "splade-v3-lexical":
        return str(arguments if trained.lexical_type else name), "splade-v3-lexical"
    return "", None


def _known_name(name: str, root: Path) -> str:
    """Returns the last part of a hub id or path, or the model of a snapshot in the hub's cache."""
    for part in root.parts:
        if part.startswith("models--naver--"):
            return part.removeprefix("models--naver--")
    return Path(name.partition("@")[0]).name
