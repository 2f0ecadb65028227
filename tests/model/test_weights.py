"""Which files weights are read from, what the hash of a model covers, and weights nothing reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SPECIALS, TEXTS, WORDS, Result, make_tiny, save_tokenizer, write_corpus
from layouts import add_modules
from safetensors.torch import load_file, save_file

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json, sha256_of
from spladev3_anserini.model.checkpoint import model_hash, open_checkpoint
from spladev3_anserini.model.convert import convert_checkpoint
from spladev3_anserini.model.splade import load_splade
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.model.weights import external_data, folder_hash
from spladev3_anserini.rankers.dense_encoder import DenseEncoder
from spladev3_anserini.rankers.dense_models import find_dense_model
from spladev3_anserini.rankers.pair_scorer import PairSettings
from spladev3_anserini.rankers.registry import find_pair_scorer, open_pair_scorer, pair_scorer_hash

Tensors = dict[str, torch.Tensor]


def edit(path: Path, /, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def copy(source: Path, folder: Path) -> Path:
    return Path(shutil.copytree(source, folder))


def change(folder: Path, how: Callable[[Tensors], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    how(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def shards(folder: Path, *parts: Tensors, **named: int) -> None:
    """Weights in several files, with the index that names one for each weight (the last that has
    it, or as `named`)."""
    (folder / "model.safetensors").unlink()
    names = [f"model-0000{n}-of-0000{len(parts)}.safetensors" for n in range(1, len(parts) + 1)]
    for name, part in zip(names, parts, strict=True):
        save_file(part, folder / name, metadata={"format": "pt"})
    places = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    places |= {key: names[place] for key, place in named.items()}
    (folder / "model.safetensors.index.json").write_text(json.dumps(
        {"metadata": {}, "weight_map": places}))


def load(folder: Path) -> Any:
    return load_splade(open_checkpoint(str(folder)), torch.float32, "cpu")


LAYER = "bert.encoder.layer.0.output.dense.weight"
UNREAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "fewer layers": (lambda f: edit(f / "config.json", num_hidden_layers=1),
                     r"does not read 16 of its weights, bert\.encoder\.layer\.1"),
    "no layers": (lambda f: edit(f / "config.json", num_hidden_layers=0),
                  r"does not read 32 of its weights, bert\.encoder\.layer\.0"),
    "a weight of another kind": (lambda f: change(f, lambda t: t.update({"adapter.up": t[LAYER]
                                                                         .clone()})),
                                 r"does not read 1 of its weights, adapter\.up"),
    "a head of another task": (lambda f: change(f, lambda t: t.update({
        "classifier.weight": torch.ones(2, 16)})), r"does not read 1 .*classifier\.weight"),
    "a layer twice": (lambda f: change(f, lambda t: t.update({
        LAYER.removeprefix("bert."): t[LAYER] * 2})), "holds the weight .*twice"),
    "an old name beside the new one": (lambda f: change(f, lambda t: t.update({
        "bert.embeddings.LayerNorm.gamma": t["bert.embeddings.LayerNorm.weight"] * 2})),
        "holds the weight .*twice"),
    "more layers": (lambda f: edit(f / "config.json", num_hidden_layers=3),
                    "missing 16 weights"),
    "a weight in two files": (lambda f: shards(f, load_file(f / "model.safetensors"), {
        LAYER: torch.ones(16, 32)}), "holds the weight .*twice"),
}


@pytest.mark.fault(8,
                   "weights that the model of config.json does not read (fewer layers, or none), "
                   "weights that are there twice, and a config with more layers",
                   detected="names in the files and what transformers read")
@pytest.mark.parametrize("what", UNREAD)
def test_weights_that_are_not_the_models_are_refused(what: str, tiny: Path, tmp_path: Path) -> None:
    folder = copy(tiny, tmp_path / "model")
    damage, message = UNREAD[what]
    damage(folder)
    with pytest.raises(InputError, match=message) as raised:
        load(folder)
    assert str(folder) in str(raised.value)


def test_what_a_masked_language_model_drops_may_be_there(tiny: Path, tmp_path: Path) -> None:
    folder = copy(tiny, tmp_path / "bert")
    plain = load_file(folder / "model.safetensors")
    embeddings = plain["bert.embeddings.word_embeddings.weight"]
    change(folder, lambda t: t.update({
        "bert.pooler.dense.weight": torch.ones(16, 16), "bert.pooler.dense.bias": torch.ones(16),
        "cls.seq_relationship.weight": torch.ones(2, 16),
        "cls.seq_relationship.bias": torch.ones(2),
        "bert.embeddings.position_ids": torch.arange(64)[None],
        "bert.embeddings.token_type_ids": torch.zeros(1, 64, dtype=torch.long),
        "cls.predictions.decoder.weight": embeddings.clone(),
        "cls.predictions.decoder.bias": t["cls.predictions.bias"].clone()}))
    ids, mask = torch.tensor([[2, 7, 9, 3]]), torch.ones(1, 4, dtype=torch.long)
    assert torch.equal(load(folder)(ids, mask), load(tiny)(ids, mask))
    older = copy(tiny, tmp_path / "older")  # names before 2019
    change(older, lambda t: [t.update({name.replace(".weight", ".gamma").replace(".bias", ".beta"):
                                       t.pop(name)}) for name in list(t) if "LayerNorm" in name])
    assert torch.equal(load(older)(ids, mask), load(tiny)(ids, mask))
    in_two = copy(tiny, tmp_path / "shards")
    names = sorted(plain)
    shards(in_two, {n: plain[n] for n in names[:20]}, {n: plain[n] for n in names[20:]})
    assert torch.equal(load(in_two)(ids, mask), load(tiny)(ids, mask))


@pytest.mark.parametrize("kind", ["Albert", "DistilBert", "Electra", "Roberta", "ModernBert"])
def test_masked_language_models_saved_whole_are_read(kind: str, tmp_path: Path) -> None:
    """With every tied copy and buffer in the file, and a pooler where the model has one."""
    import transformers

    words = [*SPECIALS, *WORDS]
    shared = {"vocab_size": len(words), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
              "cls_token_id": 2, "sep_token_id": 3}
    sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32} if kind == "DistilBert" \
        else {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
              "intermediate_size": 32}
    if kind in {"Albert", "Electra"}:
        sizes["embedding_size"] = 16
    model = getattr(transformers, f"{kind}ForMaskedLM")(
        getattr(transformers, f"{kind}Config")(**shared, **sizes))
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path, words)
    state = {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    load(tmp_path)
    key = "n_layers" if kind == "DistilBert" else "num_hidden_layers"
    edit(tmp_path / "config.json", **{key: 1})
    if kind == "ModernBert":
        edit(tmp_path / "config.json", layer_types=["full_attention"])
    if kind != "Albert":  # whose layers share their weights
        with pytest.raises(InputError, match="does not read"):
            load(tmp_path)


def _bare_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')


def _parts(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors",
                folder / "shard-00000-model-00000-of-00001.safetensors")


ELSEWHERE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "transformers_weights": (lambda f: edit(f / "config.json",
                                            transformers_weights="b.safetensors"),
                             "config.json", "transformers_weights"),
    "a pickle by transformers_weights": (
        lambda f: edit(f / "config.json", transformers_weights="adapter_model.bin"),
        "config.json", "transformers_weights"),
    "configuration_files": (lambda f: edit(f / "config.json",
                                           configuration_files=["config.4.json"]),
                            "config.json", "configuration_files"),
    "code": (lambda f: edit(f / "config.json", auto_map={"AutoModel": "a.B"}), "config.json",
             "auto_map"),
    "quantised weights": (lambda f: edit(f / "config.json", quantization_config={
        "quant_method": "fp8"}), "config.json", "quantization_config"),
    "a thousand million layers": (lambda f: edit(f / "config.json", num_hidden_layers=10**9),
                                  "config.json", "num_hidden_layers: 1000000000 layers"),
    "a kernel from the hub": (lambda f: edit(f / "config.json", attn_implementation="a/kernel"),
                              "config.json", "attn_implementation"),
    "an adapter": (_bare_adapter, "adapter_config.json", "changes the weights"),
    "parts of a distributed training": (_parts, "shard-00000", "changes the weights"),
}


@pytest.mark.fault(19, "a key of config.json, an adapter or parts by which transformers would take "
                   "weights, settings or code from files that no hash covers",
                   detected="refused by file and key, for a SPLADE, a bi-encoder and a teacher")
@pytest.mark.parametrize("what", ELSEWHERE)
def test_weights_from_elsewhere_are_refused(what: str, tiny: Path, tmp_path: Path) -> None:
    how, file, key = ELSEWHERE[what]
    folder = copy(tiny, tmp_path / "model")
    how(folder)
    for find in (lambda name: open_checkpoint(name), lambda name: find_pair_scorer(name),
                 lambda name: find_dense_model(name, "mean", "dot"),
                 lambda name: convert_checkpoint(name, tmp_path / "out", None)):
        with pytest.raises(InputError) as raised:
            find(str(folder))
        assert str(raised.value).startswith(str(folder / file))
        assert key in str(raised.value)


def test_keys_that_are_empty_or_lead_nowhere_pass(tiny: Path, tmp_path: Path) -> None:
    folder = copy(tiny, tmp_path / "model")
    edit(folder / "config.json", _name_or_path="/somewhere/else", quantization_config=None,
         auto_map={}, transformers_weights=None, attn_implementation="sdpa", torch_dtype="float16")
    load(folder)


def test_every_file_that_decides_weights_is_in_the_hash(tiny: Path, tmp_path: Path) -> None:
    plain = load_file(tiny / "model.safetensors")
    folder = copy(tiny, tmp_path / "model")
    shards(folder, plain, {LAYER: plain[LAYER] * 2})
    before = model_hash(open_checkpoint(str(folder)))
    shutil.copy(tiny / "model.safetensors", folder)
    (folder / "model.safetensors.index.json").unlink()
    shards(folder, plain, {LAYER: plain[LAYER] * 2}, **{LAYER: 0})  # only the index is another
    assert model_hash(open_checkpoint(str(folder))) != before


def test_the_tokenizers_hash_covers_what_its_json_leaves_out(tiny: Path, tmp_path: Path) -> None:
    expected = Tokenizer(tiny).sha256
    for number, changes in enumerate(({"split_special_tokens": True}, {"unk_token": "dog"},
                                      {"do_lower_case": False}, {"extra_special_tokens": ["cat"]})):
        folder = copy(tiny, tmp_path / str(number))
        edit(folder / "tokenizer_config.json", **changes)
        assert Tokenizer(folder).sha256 != expected, changes
    edit(folder / "tokenizer_config.json", extra_special_tokens=[], model_max_length=9,
         padding_side="left", clean_up_tokenization_spaces=False)
    assert Tokenizer(folder).sha256 == expected


def _external(graph: Path, location: str) -> None:
    """Moves a graph's large weights into a file beside it, with the onnx package."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(graph))
    onnx.save_model(model, str(graph), save_as_external_data=True, all_tensors_to_one_file=True,
                    location=location, size_threshold=0)


@pytest.mark.fault(19, "an ONNX graph with weights in other files", then="refused, or in the hash",
                   detected="the graph's own list of them")
def test_the_weights_of_a_graph_are_its_own(tiny: Path, tmp_path: Path, cli: Callable[..., Result],
                                            refused: Callable[..., str]) -> None:
    folder = tmp_path / "onnx"
    assert cli("export", "--model", tiny, "--output", folder).code == 0
    assert external_data(folder / "model.onnx") == []
    _external(folder / "model.onnx", "other.bin")
    assert external_data(folder / "model.onnx") == ["other.bin"]
    corpus = write_corpus(tmp_path / "c.jsonl", TEXTS)
    assert "model.onnx: takes weights from 'other.bin'" in refused(
        "encode", "--model", folder, "--corpus", corpus, "--max-length", 64, "--output",
        tmp_path / "out")
    with pytest.raises(InputError, match=r"takes weights from 'other\.bin'"):
        find_pair_scorer(str(folder))
    _external(folder / "model.onnx", "model.onnx_data")
    first = pair_scorer_hash(str(folder))
    (folder / "model.onnx_data").write_bytes(b"others")
    assert pair_scorer_hash(str(folder)) != first


def test_a_location_that_is_spelt_oddly_is_seen(tmp_path: Path) -> None:
    graph = tmp_path / "model.onnx"
    for content, expected in (
            (b"\x6a\x0f\x0a\x08location\x12\x03a.b", ["a.b"]), (b"", []), (b"location", []),
            (b"\x0a\x88\x80\x00location\x12\x03a.b", ["a.b"]), (b"\x12\x03a.b\x0a\x08location",
                                                                ["?"]),
            (b"\x0a\x08location\x12\x83\x00a.b", ["?"])):
        graph.write_bytes(content)
        assert external_data(graph) == expected


POINTER = (b"version https://git-lfs.github.com/spec/v1\n"
           b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n")


@pytest.mark.fault(8, "a Git LFS pointer in the place of weights, a config, a tokenizer, a corpus, "
                   "topics, judgments or a run", detected="how the file begins")
def test_a_git_lfs_pointer_is_called_by_its_name(tiny: Path, tmp_path: Path,
                                                 refused: Callable[..., str]) -> None:
    said = "is a Git LFS pointer, not the file itself; fetch it with git lfs pull"
    corpus, topics = write_corpus(tmp_path / "c.jsonl", TEXTS), tmp_path / "t.tsv"
    topics.write_text("1\tcat\n")
    for file in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json",
                 "vocab.txt", "modules.json"):
        folder = copy(tiny, tmp_path / f"with-{file}")
        (folder / file).write_bytes(POINTER)
        assert f"{folder / file}:1: {said}" in refused(
            "encode", "--model", folder, "--corpus", corpus, "--max-length", 64, "--output",
            tmp_path / "out")
    (tmp_path / "with-model.safetensors" / "model.safetensors").rename(
        tmp_path / "with-model.safetensors" / "pytorch_model.bin")
    assert said in refused("convert", tmp_path / "with-model.safetensors", "--output",
                           tmp_path / "out")
    for name in ("p.jsonl", "p.tsv", "p.jsonl.gz", "p.txt"):
        (tmp_path / name).write_bytes(POINTER)
    for source in ("p.jsonl", "p.tsv", "p.jsonl.gz"):
        assert f"{tmp_path / source}:1: {said}" in refused(
            "encode", "--model", tiny, "--corpus", tmp_path / source, "--max-length", 64,
            "--output",
            tmp_path / "out")
    assert said in refused("evaluate", "--qrels", tmp_path / "p.txt", "--run", tmp_path / "p.txt")
    with pytest.raises(InputError, match="Git LFS"):
        sha256_of(tmp_path / "p.txt")
    with pytest.raises(InputError, match="Git LFS"):
        read_json(tmp_path / "p.txt")


@pytest.mark.fault(19, "weights deep in a model that are a link out of it",
                   detected="every folder that a module is read from, links resolved")
def test_a_link_at_any_depth_is_refused(tiny: Path, tmp_path: Path) -> None:
    kinds = "sentence_transformers.sparse_encoder.models."
    root = tmp_path / "model"
    copy(tiny, root / "a" / "b" / "c")
    add_modules(root)
    edit_modules = [{"path": "a/b/c", "type": f"{kinds}MLMTransformer"},
                    {"path": "a/pool", "type": f"{kinds}SpladePooling"}]
    (root / "modules.json").write_text(json.dumps(edit_modules))
    assert open_checkpoint(str(root)).folder == root / "a" / "b" / "c"
    load(root)
    weights = root / "a" / "b" / "c" / "model.safetensors"
    weights.rename(tmp_path / "outside")
    weights.symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="is a link that leads out of the model's folder"):
        open_checkpoint(str(root))
    weights.unlink()
    shutil.copy(tmp_path / "outside", root / "kept")
    weights.symlink_to("../../../kept")  # inside the model
    load(root)
    (tmp_path / "pool").mkdir()
    (root / "a" / "pool").symlink_to(tmp_path / "pool")
    with pytest.raises(InputError, match="a/pool: is a link"):
        open_checkpoint(str(root))


def test_modules_in_the_hubs_cache_are_read(tiny: Path, tmp_path: Path) -> None:
    cache = tmp_path / "models--someone--splade"
    snapshot = add_modules(copy(tiny, cache / "snapshots" / "abc"))
    (cache / "blobs").mkdir()
    for number, path in enumerate(sorted(p for p in snapshot.rglob("*") if p.is_file())):
        path.rename(cache / "blobs" / str(number))
        up = "../" * (len(path.relative_to(snapshot).parts) + 1)
        path.symlink_to(f"{up}blobs/{number}")
    load(snapshot)


def _dense(tiny: Path, folder: Path, **settings: object) -> Path:
    """A bi-encoder as sentence-transformers saves it, of the same weights."""
    from transformers import AutoModel

    AutoModel.from_pretrained(tiny).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny / name, folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    kinds = "sentence_transformers.models."
    (folder / "modules.json").write_text(json.dumps([
        {"path": "", "type": f"{kinds}Transformer"}, {"path": "1_Pooling",
                                                      "type": f"{kinds}Pooling"}]))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(
        {"similarity_fn_name": "dot"} | settings))
    return folder


@pytest.mark.fault(8, "a bi-encoder or a cross-encoder that states what is not applied, or fewer "
                   "layers than its weights", detected="every key; names of weights")
def test_bi_encoders_and_teachers_are_read_as_strictly(tiny: Path, tmp_path: Path) -> None:
    plain = _dense(tiny, tmp_path / "plain")
    DenseEncoder(find_dense_model(str(plain)), "cpu")
    for number, settings in enumerate(({"truncate_dim": 8}, {"default_prompt_name": "x"},
                                       {"model_type": "SparseEncoder"})):
        folder = _dense(tiny, tmp_path / str(number), **settings)
        with pytest.raises(InputError, match=f"config_sentence_transformers.json: {min(settings)}"):
            find_dense_model(str(folder))
    for file, key, value in (("sentence_bert_config.json", "tokenizer_args", {"a": 1}),
                             ("sentence_bert_config.json", "do_lower_case", True),
                             ("1_Pooling/config.json", "include_prompt", False)):
        folder = copy(plain, tmp_path / key)
        path = folder / file
        path.write_text(json.dumps((read_json(path) if path.exists() else {}) | {key: value}))
        with pytest.raises(InputError, match=f"{file}: {key}: "):
            find_dense_model(str(folder))
    custom = copy(plain, tmp_path / "custom")
    (custom / "modules.json").write_text(
        (custom / "modules.json").read_text().replace("sentence_transformers.models.T", "mine.T"))
    with pytest.raises(InputError, match=r"is made of mine\.Transformer"):
        find_dense_model(str(custom))
    fewer = copy(plain, tmp_path / "fewer")
    edit(fewer / "config.json", num_hidden_layers=1)
    with pytest.raises(InputError, match="does not read 16 of its weights"):
        DenseEncoder(find_dense_model(str(fewer)), "cpu")
    with pytest.raises(InputError, match="does not read 16 of its weights"):
        open_pair_scorer(str(fewer), PairSettings(max_length=64))
    prompts = _dense(tiny, tmp_path / "prompts", prompts={"query": "q: "})
    assert find_dense_model(str(prompts)).rules.query_prefix == "q: "  # applied by the baseline alone
    with pytest.raises(InputError, match=r"prompts\.query"):
        find_pair_scorer(str(prompts))
    both = copy(plain, tmp_path / "both")
    edit(both / "1_Pooling" / "config.json", pooling_mode="cls")  # the new key counts, not the old
    assert find_dense_model(str(both)).rules.pooling == "cls"
    left = copy(plain, tmp_path / "left")
    edit(left / "tokenizer_config.json", truncation_side="left")
    sat = [DenseEncoder(find_dense_model(str(own), passage_length=6), "cpu").vectors(
        ["the cat sat on the mat", "sat on the mat"], "passage")[1] for own in (left, plain)]
    assert np.allclose(sat[0][0], sat[0][1], atol=1e-6)  # its beginning is cut
    assert not np.allclose(sat[1][0], sat[1][1], atol=1e-2)
    first = folder_hash(plain)
    (plain / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert folder_hash(plain) != first


def test_weights_are_the_librarys_whatever_the_files_are_called(tiny: Path, tmp_path: Path) -> None:
    """A check of the refusals: what is accepted has the logits of transformers' own model."""
    from transformers import AutoModelForMaskedLM

    folder = make_tiny(tmp_path / "distil", "distilbert")
    ids, mask = torch.tensor([[2, 7, 9, 3]]), torch.ones(1, 4, dtype=torch.long)
    for source in (tiny, folder):
        with torch.inference_mode():
            logits = AutoModelForMaskedLM.from_pretrained(source).eval()(
                input_ids=ids, attention_mask=mask).logits
            expected = torch.log1p(torch.relu(logits)).amax(dim=1)
            np.testing.assert_allclose(load(source)(ids, mask), expected, atol=1e-6)
