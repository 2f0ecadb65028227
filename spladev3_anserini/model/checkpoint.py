"""A model folder -> which files hold what, and which variant it is."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from spladev3_anserini.errors import InputError
from spladev3_anserini.model.hub import model_folder
from spladev3_anserini.model.layout import ROUTER, read_layout, stated_length
from spladev3_anserini.model.variants import VARIANTS, QueryMode, Variant, variant_named
from spladev3_anserini.model.weights import (
    INDEX,
    external_data,
    files_hash,
    read_as,
    weight_files_in,
)

#: Written by `convert` beside the weights, because files of -lexical and v3 do not differ.
VARIANT_NOTE = "spladev3.json"
#: What `export` writes in place of safetensors.
ONNX_WEIGHTS = "model.onnx"
#: naver's record of a training, which tells what the weights were trained for.
ARGUMENTS = "model_args.json"


class Checkpoint(NamedTuple):
    """A model on disk: `folder` holds the MLM's config and weights, `tokenizer` its vocabulary.

    `variant` is what the checkpoint's own files say it is, `routed` where a Router of
    sentence-transformers says it. `shown` is how errors call the model, with its option.
    """

    name: str
    folder: Path
    tokenizer: Path
    variant: Variant
    routed: bool
    shown: str

    @property
    def absolute_name(self) -> str:
        """The name as it is known from any working directory."""
        path = Path(self.name)
        inside = path.is_dir() and self.folder.resolve().is_relative_to(path.resolve())
        return str(path.resolve()) if inside else self.name

    def other_length(self, used: int) -> str | None:
        """A warning where the model's own files state another length than the one in use."""
        if (own := stated_length(self.folder, self.tokenizer, used)) is None:
            return None
        return (f"{own.path}: {own.key}: the model's own length is {own.tokens} tokens; texts are "
                f"cut at {used} here, so longer ones get other weights (`max_length`)")


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

    Raises InputError where files are missing or say something else than they should, or state
    what is not applied here. `option` is what errors call the name.
    """
    root = model_folder(name, pickles=pickles, option=option)
    layout = read_layout(root)
    variant = _stated_variant(name, root, layout.folder, layout.query)
    return Checkpoint(name, layout.folder, layout.tokenizer, variant, layout.query is not None,
                      f"{option} {name}")


def note_variant(checkpoint: Checkpoint, folder: Path) -> None:
    """Writes what a checkpoint's variant is beside a copy of it."""
    note = f'{{"variant": "{checkpoint.variant.name}"}}\n'
    (folder / VARIANT_NOTE).write_text(note, "utf-8")


def is_onnx(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint is an exported ONNX graph, without weights for torch."""
    return ((checkpoint.folder / ONNX_WEIGHTS).exists()
            and not any(checkpoint.folder.glob("model*.safetensors")))


def weight_files(checkpoint: Checkpoint) -> list[Path]:
    """The safetensors files of a checkpoint, which are all that its weights are loaded from, or
    its ONNX graph.

    Raises InputError where there are none, and says how to convert a pickle; for a graph with
    weights in other files, which no export writes; and as `weight_files_in`.
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
        f"{checkpoint.shown}: no model.safetensors in {checkpoint.folder}; if its "
        "weights are a pickle (pytorch_model.bin), which is never loaded silently, convert it "
        f"once: spladev3-anserini convert {checkpoint.name} --output "
        f"models/{Path(checkpoint.name.partition('@')[0]).name}")


def model_hash(checkpoint: Checkpoint) -> str:
    """sha256 over all files that decide weights, in hex: the config, the weights, and the index
    of weights in several files."""
    files = [checkpoint.folder / "config.json", *weight_files(checkpoint)]
    index = checkpoint.folder / INDEX
    return files_hash([*files, index] if index.exists() else files)


def chosen_variant(option: str, checkpoint: Checkpoint) -> Variant:
    """The variant an option names; `auto` is what the checkpoint's own files say.

    Raises InputError where a Router says otherwise than the option.
    """
    if option == "auto":
        return checkpoint.variant
    chosen = variant_named(option)
    if checkpoint.routed and chosen.query != checkpoint.variant.query:
        raise InputError(f"`variant` {option}: the {ROUTER} of {checkpoint.name} states the query "
                         f"side of {checkpoint.variant.name}; leave out `variant`")
    return chosen


def _stated_variant(name: str, root: Path, folder: Path, routed: QueryMode | None) -> Variant:
    """In this order: our own note, naver's training arguments, the name of naver's model (its
    -lexical and v3 hold alike files), the query side of a Router, the architecture."""
    distilled = read_as(_Config, folder / "config.json").model_type == "distilbert"
    expand = "splade-v3-distilbert" if distilled else "splade-v3"
    by_router = {"bow": "splade-v3-doc", "lexical": "splade-v3-lexical"}.get(routed or "")
    where, stated = _named_variant(name, root)
    if by_router and stated and VARIANTS[stated].query != VARIANTS[by_router].query:
        raise InputError(f"{root / ROUTER}: states the query side of {by_router}, but {where} "
                         f"says {stated}")
    return VARIANTS[stated or by_router or expand]


def _named_variant(name: str, root: Path) -> tuple[str, str | None]:
    """The variant that a note, training arguments or a name say, and which of them."""
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
                         "queries have a model of their own, which is not applied here")
    if trained.lexical_type == "query" or known == "splade-v3-lexical":
        return str(arguments if trained.lexical_type else name), "splade-v3-lexical"
    return "", None


def _known_name(name: str, root: Path) -> str:
    """The last part of a hub id or path, or the model of a snapshot in the hub's cache."""
    for part in root.parts:
        if part.startswith("models--naver--"):
            return part.removeprefix("models--naver--")
    return Path(name.partition("@")[0]).name
