"""Experiment 19: checkpoints that want to run code, or to be read from elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TEXTS, Result, write_corpus
from layouts import pickled
from safetensors.torch import load_file

from spladev3_anserini.errors import InputError
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.rankers.dense_models import find_dense_model
from spladev3_anserini.rankers.registry import find_pair_scorer

Cli = Callable[..., Result]


class Payload:
    """A pickle that makes a file when it is opened without care."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def model(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


@pytest.fixture
def encode(tmp_path: Path, refused: Callable[..., str]) -> Callable[[Path], str]:
    """Encodes with a model that must be refused, nothing left behind; returns the message."""
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)

    def call(folder: Path) -> str:
        message = refused("encode", "--model", folder, "--variant", "splade-v3", "--corpus", corpus,
                          "--output", tmp_path / "encoded")
        assert not (tmp_path / "encoded").exists()
        assert not (tmp_path / "MARKER").exists()
        return message

    return call


@pytest.mark.fault(19, "a pickle that runs a command, as .bin, .pt, .pth or .ckpt",
                   detected="only safetensors are loaded")
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "pytorch_model.pth",
                                  "model.ckpt"])
def test_a_pickle_beside_the_config_is_not_opened(name: str, model: Path, tmp_path: Path,
                                                  encode: Callable[[Path], str]) -> None:
    (model / "model.safetensors").unlink()
    torch.save({"weight": Payload(tmp_path / "MARKER")}, model / name)
    assert "no model.safetensors" in encode(model)
    for find in (find_pair_scorer, find_dense_model):
        with pytest.raises(InputError, match="safetensors"):
            find(str(model))
    assert not (tmp_path / "MARKER").exists()


@pytest.mark.fault(19, "a pickle that runs a command, converted on purpose",
                   detected="weights_only=True of torch 2.10 or newer")
def test_a_pickle_that_is_converted_runs_nothing(tiny: Path, tmp_path: Path,
                                                 refused: Callable[..., str]) -> None:
    source = pickled(tiny, tmp_path / "m")
    torch.save({"weight": Payload(tmp_path / "MARKER")}, source / "pytorch_model.bin")
    assert "not a pickle of only tensors" in refused("convert", source, "--output",
                                                      tmp_path / "out")
    assert not (tmp_path / "MARKER").exists()
    assert not (tmp_path / "out").exists()


def _header(record: bytes, size: int | None = None) -> bytes:
    return struct.pack("<Q", len(record) if size is None else size) + record


def _tensors(**places: list[int]) -> bytes:
    return _header(json.dumps({name: {"dtype": "F32", "shape": [2], "data_offsets": own}
                               for name, own in places.items()}).encode()) + bytes(8)


SAFETENSORS = {
    "a pickle renamed": None,
    "a header of 2^63 bytes": _header(b"{}", 1 << 63),
    "a header of 100 MB and a byte": _header(b"{}", 100_000_001),
    "overlapping offsets": _tensors(a=[0, 8], b=[0, 8]),
    "a hole between offsets": _header(json.dumps({
        "a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}).encode()) + bytes(8),
    "offsets beyond the end": _tensors(a=[8, 16]),
    "negative offsets": _header(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}'),
    "a size that overflows": _header(
        b'{"a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 0]}}'),
    "100,000 entries": _header(json.dumps({
        f"w{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        for n in range(100_000)}).encode()),
    "a nested header": _header(b'{"a":' * 100_000),
    "nothing": b"",
}


@pytest.mark.fault(19, "a safetensors file with a wrong header, or a pickle of that name",
                   detected="safetensors' own checks, and weights that are missing")
@pytest.mark.parametrize("fault", SAFETENSORS)
def test_a_wrong_safetensors_file_is_refused(fault: str, model: Path, tmp_path: Path,
                                             encode: Callable[[Path], str]) -> None:
    content = SAFETENSORS[fault]
    if content is None:
        torch.save({"weight": Payload(tmp_path / "MARKER")}, model / "model.safetensors")
    else:
        (model / "model.safetensors").write_bytes(content)
    assert str(model) in encode(model)


@pytest.mark.fault(19, "a config that asks for code of its own (auto_map)",
                   detected="trust_remote_code=False everywhere")
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_beside_a_config_is_not_run(file: str, model: Path, tmp_path: Path, cli: Cli) -> None:
    marker = tmp_path / "MARKER"
    (model / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: pass\n")
    for known in (True, False):
        record = json.loads((model / file).read_text())
        record["auto_map"] = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForMaskedLM"),
                                           "evil.Evil")
        record["auto_map"]["AutoTokenizer"] = ["evil.Evil", "evil.Evil"]
        if not known:  # a type that transformers could only take from there
            record["model_type" if file == "config.json" else "tokenizer_class"] = "evil"
        (model / file).write_text(json.dumps(record))
        done = cli("encode", "--model", model, "--variant", "splade-v3", "--corpus",
                   write_corpus(tmp_path / "corpus.jsonl", TEXTS), "--output",
                   tmp_path / f"{known}")
        assert not marker.exists()
        assert done.code == 0 or (done.code == 2 and done.err.count("\n") == 1), done
    assert file != "config.json" or done.code == 2


@pytest.mark.fault(19, "weights, a config or a module's folder that are links out of the model",
                   detected="links are resolved before anything is opened")
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt", "part"])
def test_a_link_out_of_the_model_is_refused(name: str, model: Path, tmp_path: Path,
                                            encode: Callable[[Path], str]) -> None:
    outside = tmp_path / "outside"
    if name == "part":
        outside.mkdir()
    else:
        (model / name).rename(outside)
    (model / name).symlink_to(outside)
    assert f"{model / name}: is a link that leads out of" in encode(model)


def test_links_of_the_hubs_cache_and_to_a_whole_model_are_followed(tiny: Path,
                                                                   tmp_path: Path) -> None:
    cache = tmp_path / "models--someone--splade"
    snapshot, blobs = cache / "snapshots" / "abc", cache / "blobs"
    snapshot.mkdir(parents=True)
    shutil.copytree(tiny, blobs)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
    (tmp_path / "link").symlink_to(snapshot)
    assert open_checkpoint(str(snapshot)).folder == snapshot
    assert open_checkpoint(str(tmp_path / "link")).folder == tmp_path / "link"


@pytest.mark.fault(19, "an index of shards that takes weights from elsewhere",
                   detected="only model*.safetensors beside it, all of which are hashed")
@pytest.mark.parametrize("name", ["../other.safetensors", "other.safetensors", "/etc/passwd"])
def test_shards_from_elsewhere_are_refused(name: str, model: Path, tmp_path: Path,
                                           encode: Callable[[Path], str]) -> None:
    for target in (model / "other.safetensors", tmp_path / "other.safetensors"):
        shutil.copy(model / "model.safetensors", target)
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    weights = load_file(model / "other.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps(
        {"metadata": {}, "weight_map": dict.fromkeys(weights, name)}))
    assert "takes weights from" in encode(model)


@pytest.mark.fault(19, "modules.json or a Router that lead out of the folder",
                   detected="paths are looked at before they are opened")
@pytest.mark.parametrize("path", ["../outside", "/etc", "a/../../outside", "x" * 5000])
def test_module_paths_out_of_the_model_are_refused(path: str, model: Path, tmp_path: Path,
                                                   encode: Callable[[Path], str]) -> None:
    kinds = "sentence_transformers.sparse_encoder.models."
    shutil.copytree(model, tmp_path / "outside")
    (model / "modules.json").write_text(json.dumps([
        {"path": path, "type": f"{kinds}MLMTransformer"}]))
    assert "the module path" in encode(model)
    (model / "modules.json").write_text(json.dumps([{"path": "", "type": f"{kinds}Router"}]))
    (model / "router_config.json").write_text(json.dumps({
        "types": {"": f"{kinds}MLMTransformer", path: f"{kinds}SparseStaticEmbedding"},
        "structure": {"document": [""], "query": [path]}}))
    assert "the module path" in encode(model)
