"""A name -> which kind of pair scorer it is, and the scorer, loaded and tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spladev3_anserini.encoding.cut import Cuts
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json
from spladev3_anserini.model.hub import model_folder
from spladev3_anserini.model.kept import loaded, state_of
from spladev3_anserini.model.layout import SETTINGS, refuse_prompts
from spladev3_anserini.model.weights import (
    external_data,
    folder_hash,
    weight_files_in,
)
from spladev3_anserini.rankers import cross_encoders as kinds
from spladev3_anserini.rankers.pair_scorer import PairError, Settings, Teacher

#: What every teacher is tried on before anything is scored.
_TRIAL = (("a cat", "sat"), ("a dog", "sat on a mat and ran"))


def find_teacher(name: str) -> tuple[type[Teacher], Path]:
    """Which kind of teacher a name is, and its folder, without loading it.

    A name is a folder, a hub id or a packaged model's. Its files say the kind: a transformers
    sequence classification (1 label: its logit; 2: the second's minus the first's), a T5 ranker,
    ONNX (`model.onnx`, there or in `onnx/`, and `tokenizer.json`), or a bi-encoder with mean
    pooling (the cosine). Raises InputError where it is none of these, or its weights are only a
    pickle.
    """
    folder = model_folder(name, option="`cross_encoder`")
    if not list(folder.glob("*.safetensors")):
        folder = model_folder(name, graphs=True, option="`cross_encoder`")
    if (folder / SETTINGS).exists():
        refuse_prompts(folder / SETTINGS, _json(folder / SETTINGS).get("prompts"))
    if weight_files_in(folder, "*.safetensors"):
        architecture = _architecture(folder)
        if architecture.endswith("T5ForConditionalGeneration"):
            return kinds.RankT5, folder
        if architecture.endswith("ForSequenceClassification"):
            return kinds.SequenceClassification, folder
        if architecture.endswith("Model") and _mean_pooled(name, folder):
            return kinds.BiEncoder, folder
        raise InputError(f"`cross_encoder` {name}: is a {architecture}; expected a model for "
                         "sequence classification, a T5ForConditionalGeneration or an ONNX model")
    if (graph := kinds.graph_of(folder)).exists() and (folder / "tokenizer.json").exists():
        for data in external_data(graph):
            if not (data.startswith(graph.name) and "/" not in data):
                raise InputError(f"{graph}: takes weights from {data[:80]!r}; expected a file "
                                 f"beside it that is called {graph.name}...")
        return kinds.OnnxCrossEncoder, folder
    raise InputError(f"`cross_encoder` {name}: neither *.safetensors nor (onnx/)model.onnx with "
                     f"tokenizer.json in {folder}; pickled weights (pytorch_model.bin) can run "
                     "code and are not loaded: load them once where you trust them and "
                     "save_pretrained them")


def open_teacher(name: str, settings: Settings) -> Teacher:
    """Loads a teacher and tries it on two short pairs; raises InputError as `find_teacher`, and
    where it cannot be loaded or fails."""
    kind, folder = find_teacher(name)
    if settings.max_length < 4:
        raise InputError(f"`max_length` {settings.max_length}: expected 4 tokens or more")
    key = ("cross-encoder", name, settings, state_of(folder.rglob("*")))
    teacher = loaded("model", key, lambda: _tried(kind(name, folder, settings)))
    teacher.cuts = Cuts()
    return teacher


def _tried(teacher: Teacher) -> Teacher:
    try:
        for pair in _TRIAL:
            if min(teacher.room([pair[0]])) > 0:
                teacher.score([pair])
    except PairError as error:
        raise InputError(f"`cross_encoder` {teacher.name}: {error}") from None
    return teacher


def _architecture(folder: Path) -> str:
    config = _json(folder / "config.json")
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures:
        raise InputError(f"{folder / 'config.json'}: names no architecture")
    return str(architectures[0])


def _mean_pooled(name: str, folder: Path) -> bool:
    pooling = folder / "1_Pooling" / "config.json"
    if not pooling.exists():
        return name == "demo-bi-encoder"
    modes = [key for key, on in _json(pooling).items() if key.startswith("pooling_mode_") and on]
    return modes == ["pooling_mode_mean_tokens"]


def _json(path: Path) -> dict[str, Any]:
    record = read_json(path)
    return record if isinstance(record, dict) else {}


def teacher_hash(name: str) -> str:
    """What `Teacher.sha256` of a name is, without loading it; raises InputError as
    `find_teacher`."""
    kind, folder = find_teacher(name)
    return folder_hash(folder, kind.files)
