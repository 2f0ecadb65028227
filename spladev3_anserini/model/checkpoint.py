"""A model's folder -> its files and its variant."""

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

#: `convert` writes this beside the weights, because the files of -lexical and v3 do not differ.
VARIANT_NOTE = "spladev3.json"
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
        routed: Whether a Router of sentence-transformers states the variant.
        label: The model in error messages: the option and the name.
    """

    name: str
    folder: Path
    tokenizer: Path
    variant: Variant
    routed: bool
    label: str

    @property
    def absolute_name(self) -> str:
        """The name, as an absolute path if it is a folder; it holds in any working directory."""
        path = Path(self.name)
        inside = path.is_dir() and self.folder.resolve().is_relative_to(path.resolve())
        return str(path.resolve()) if inside else self.name

    def length_warning(self, used: int) -> str | None:
        """Returns a warning if the model's files state another length than `used` tokens."""
        if (stated := stated_length(self.folder, self.tokenizer, used)) is None:
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
        pickles: Also download pickled weights.
        option: The parameter that error messages name.

    Raises:
        InputError: A file is missing or invalid, or states a setting that is not applied here.
    """
    root = model_folder(name, pickles=pickles, option=option)
    layout = read_layout(root)
    variant = _stated_variant(name, root, layout.folder, layout.query)
    return Checkpoint(name, layout.folder, layout.tokenizer, variant, layout.query is not None,
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
    """Returns one sha256 (hex) over all files that decide weights.

    These are the config, the weights, and the index of weights that are split over files.
    """
    files = [checkpoint.folder / "config.json", *weight_files(checkpoint)]
    index = checkpoint.folder / INDEX
    return files_hash([*files, index] if index.exists() else files)


def chosen_variant(option: str, checkpoint: Checkpoint) -> Variant:
    """Returns the variant that an option names; `auto` is the one that the checkpoint states.

    Raises InputError if a Router contradicts the option.
    """
    if option == "auto":
        return checkpoint.variant
    chosen = variant_named(option)
    if checkpoint.routed and chosen.query != checkpoint.variant.query:
        raise InputError(f"`variant` {option}: the {ROUTER} of {checkpoint.name} states the query "
                         f"side of {checkpoint.variant.name}; omit `variant`")
    return chosen


def _stated_variant(name: str, root: Path, folder: Path, routed: QueryMode | None) -> Variant:
    """Returns the variant from the first of these sources that states one.

    The order: the note of this package, naver's training arguments, the name of naver's model
    (the files of its -lexical and v3 do not differ), the query side of a Router, the architecture.
    """
    distilled = read_as(_Config, folder / "config.json").model_type == "distilbert"
    expand = "splade-v3-distilbert" if distilled else "splade-v3"
    by_router = {"bow": "splade-v3-doc", "lexical": "splade-v3-lexical"}.get(routed or "")
    source, stated = _named_variant(name, root)
    if by_router and stated and VARIANTS[stated].query != VARIANTS[by_router].query:
        raise InputError(f"{root / ROUTER}: states the query side of {by_router}, but {source} "
                         f"says {stated}")
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
