"""Layouts of checkpoints, the variant each one tells, and checkpoints that are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import make_tiny
from layouts import add_modules, pickled, router
from safetensors.torch import load_file, save_file

from spladev3_anserini.errors import InputError
from spladev3_anserini.model.checkpoint import (
    model_hash,
    open_checkpoint,
    weight_files,
)
from spladev3_anserini.model.convert import convert_checkpoint
from spladev3_anserini.model.splade import load_splade
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.model.variants import VARIANTS


def copy(tiny: Path, folder: Path) -> Path:
    return Path(shutil.copytree(tiny, folder))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def stated(folder: Path) -> str | None:
    variant = open_checkpoint(str(folder)).variant
    return variant.name if variant else None


def test_the_four_variants_and_static_weights() -> None:
    assert {v.name: v.query for v in VARIANTS.values()} == {
        "splade-v3": "expand", "splade-v3-distilbert": "expand",
        "splade-v3-lexical": "lexical", "splade-v3-doc": "bow",
        "static": "static"}


def test_auto_reads_the_checkpoints_own_files(tiny: Path, tmp_path: Path) -> None:
    assert stated(tiny) == "splade-v3"
    assert stated(make_tiny(tmp_path / "distil", "distilbert")) == "splade-v3-distilbert"
    assert stated(add_modules(copy(tiny, tmp_path / "st"))) == "splade-v3"
    assert stated(router(tiny, tmp_path / "router")) == "splade-v3-doc"
    assert stated(copy(tiny, tmp_path / "splade-v3-lexical")) == "splade-v3-lexical"
    assert stated(copy(tiny, tmp_path / "splade-v3-doc")) == "splade-v3-doc"
    cached = tmp_path / "models--naver--splade-v3-doc" / "snapshots" / "0123"
    assert stated(copy(tiny, cached)) == "splade-v3-doc"
    assert stated(copy(tiny, tmp_path / "splade-v3-docs" / "mine")) == "splade-v3"
    arguments = copy(tiny, tmp_path / "arguments")
    (arguments / "model_args.json").write_text('{"splade_doc": true, "max_length": 128}')
    assert stated(arguments) == "splade-v3-doc"
    (arguments / "spladev3.json").write_text('{"variant": "splade-v3-lexical"}')
    assert stated(arguments) == "splade-v3-lexical"


def test_a_routers_document_side_is_what_encodes(tiny: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(router(tiny, tmp_path / "router")))
    assert checkpoint.folder.name == "document_0_MLMTransformer"
    ids, mask = torch.tensor([[2, 7, 9, 3]]), torch.ones(1, 4, dtype=torch.long)
    one = load_splade(checkpoint, torch.float32, "cpu")(ids, mask)
    other = load_splade(open_checkpoint(str(tiny)), torch.float32, "cpu")(ids, mask)
    assert torch.equal(one, other)


def test_a_module_splade_does_not_have_is_refused(tiny: Path, tmp_path: Path) -> None:
    folder = add_modules(copy(tiny, tmp_path / "m"))
    modules = json.loads((folder / "modules.json").read_text())
    normalize = {"idx": 2, "name": "2", "path": "2_Normalize",
                 "type": "sentence_transformers.models.Normalize"}
    (folder / "modules.json").write_text(json.dumps([*modules, normalize]))
    with pytest.raises(InputError, match="has a module 'Normalize'"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize(("file", "content"), [
    ("modules.json", "[1]"), ("modules.json", '[{"path": 3, "type": "x"}]'),
    ("modules.json", "{}"), ("modules.json", '[{"path": "../x", "type": "Transformer"}]'),
    ("router_config.json", "[]"), ("router_config.json", '{"types": {}, "structure": {"a": "b"}}'),
    ("config.json", "3"), ("config.json", '{"model_type": 3}'), ("spladev3.json", "{}"),
    ("spladev3.json", '{"variant": "x"}'), ("model_args.json", "[]"),
    ("model_args.json", '{"splade_doc": "perhaps"}')])
def test_a_file_that_says_something_else_is_refused(file: str, content: str, tiny: Path,
                                                    tmp_path: Path) -> None:
    folder = copy(tiny, tmp_path / "m")
    (folder / file).write_text(content)
    with pytest.raises(InputError) as raised:
        open_checkpoint(str(folder))
    assert "\n" not in str(raised.value)


def test_a_pickle_is_never_loaded_silently(tiny: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(pickled(tiny, tmp_path / "splade-v3")))
    for use in (weight_files, model_hash, lambda c: load_splade(c, torch.float32, "cpu")):
        with pytest.raises(InputError, match="spladev3-anserini convert .*splade-v3 --output "
                                             "models/splade-v3"):
            use(checkpoint)


def test_a_converted_checkpoint_has_the_same_weights(tiny: Path, tmp_path: Path) -> None:
    source = pickled(tiny, tmp_path / "splade-v3-lexical")
    done = convert_checkpoint(str(source), tmp_path / "out" / "m", None)
    before, after = load_file(tiny / "model.safetensors"), load_file(
        tmp_path / "out" / "m" / "model.safetensors")
    assert before.keys() == after.keys()
    assert done.tensors == len(before)
    assert all(torch.equal(before[name], after[name]) for name in before)
    converted = open_checkpoint(str(tmp_path / "out" / "m"))
    assert converted.variant == VARIANTS["splade-v3-lexical"]  # its new name does not tell it
    assert Tokenizer(converted.tokenizer).sha256 == Tokenizer(tiny).sha256
    assert not list((tmp_path / "out" / "m").glob("*.bin"))


def test_a_conversion_is_refused_with_another_hash_or_existing_output(tiny: Path,
                                                                      tmp_path: Path) -> None:
    source = pickled(tiny, tmp_path / "m")
    with pytest.raises(InputError, match="sha256 is [0-9a-f]{64}, expected abc"):
        convert_checkpoint(str(source), tmp_path / "out", "abc")
    with pytest.raises(InputError, match="exists already"):
        convert_checkpoint(str(source), source, None)
    assert not (tmp_path / "out").exists()


class Payload:
    """A pickle that would touch a file when it is opened without care."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return (Path.touch, (self.marker,))  # type: ignore[return-value]


@pytest.mark.fault(19, "a pickle that touches a file", detected="opcodes; nothing of it is run")
def test_a_malicious_pickle_runs_nothing(tiny: Path, tmp_path: Path) -> None:
    source, marker = pickled(tiny, tmp_path / "m"), tmp_path / "marker"
    torch.save({"weight": Payload(marker)}, source / "pytorch_model.bin")
    with pytest.raises(InputError, match="not a pickle of only tensors"):
        convert_checkpoint(str(source), tmp_path / "out", None)
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


def damaged(tiny: Path, tmp_path: Path, damage: Callable[[Path], object]) -> None:
    """Loads a damaged copy as an encoder would."""
    folder = copy(tiny, tmp_path / "damaged")
    damage(folder)
    checkpoint = open_checkpoint(str(folder))
    Tokenizer(checkpoint.tokenizer)
    load_splade(checkpoint, torch.float32, "cpu")


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FAULTS: dict[str, Callable[[Path], object]] = {
    "config.json: not JSON": lambda f: truncate(f / "config.json"),
    "no config.json of a masked language model": lambda f: (f / "config.json").unlink(),
    "no tokenizer": lambda f: [p.unlink() for p in (*f.glob("tok*"), *f.glob("voc*"))],
    "the tokenizer cannot be loaded": lambda f: truncate(f / "tokenizer.json"),
    "the model cannot be loaded": lambda f: truncate(f / "model.safetensors"),
    "no model.safetensors": lambda f: (f / "model.safetensors").unlink(),
    "missing 4 weights": lambda f: change_weights(f, lambda t: [
        t.pop(name) for name in list(t) if name.startswith("cls.predictions.transform")]),
    "has NaN or infinity": lambda f: change_weights(f, lambda t: t[
        "bert.encoder.layer.0.output.dense.weight"].fill_(float("nan"))),
}


@pytest.mark.fault(8, "a checkpoint cut short or without a file", detected="each file's parser")
@pytest.mark.parametrize("message", FAULTS)
def test_a_damaged_checkpoint_is_refused_in_one_line(message: str, tiny: Path,
                                                     tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as raised:
        damaged(tiny, tmp_path, FAULTS[message])
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_dense_model_has_no_head_and_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    folder = make_tiny(tmp_path / "dense")
    BertModel(BertConfig(vocab_size=60, hidden_size=16, num_hidden_layers=1,
                         num_attention_heads=2, intermediate_size=32)).save_pretrained(folder)
    with pytest.raises(InputError, match="missing [0-9]+ weight"):
        load_splade(open_checkpoint(str(folder)), torch.float32, "cpu")


def test_the_model_hash_follows_weights_and_config(tiny: Path, tmp_path: Path) -> None:
    first = model_hash(open_checkpoint(str(tiny)))
    same = copy(tiny, tmp_path / "same")
    assert model_hash(open_checkpoint(str(same))) == first
    edit(same / "config.json", layer_norm_eps=1e-6)
    assert model_hash(open_checkpoint(str(same))) != first
    other = make_tiny(tmp_path / "other", seed=1)
    assert model_hash(open_checkpoint(str(other))) != first


def test_the_tokenizer_hash_is_of_its_content(tiny: Path, tmp_path: Path) -> None:
    same = copy(tiny, tmp_path / "same")
    settings = json.loads((same / "tokenizer.json").read_text("utf-8"))
    settings["truncation"] = {"direction": "Right", "max_length": 9, "strategy": "LongestFirst",
                              "stride": 0}
    (same / "tokenizer.json").write_text(json.dumps(settings), "utf-8")
    assert Tokenizer(same).sha256 == Tokenizer(tiny).sha256
    assert len(Tokenizer(same).ids(["the cat sat on the mat and ran"], 64)[0]) > 9
    settings["model"]["vocab"]["theory"], settings["model"]["vocab"]["test"] = (
        settings["model"]["vocab"]["test"], settings["model"]["vocab"]["theory"])
    (same / "tokenizer.json").write_text(json.dumps(settings), "utf-8")
    assert Tokenizer(same).sha256 != Tokenizer(tiny).sha256
