"""Layouts as sentence-transformers saves them: equal to it, or refused by file and key."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SPECIALS, TEXTS, Result, make_tiny, write_corpus
from layouts import add_modules, peer_weights, pickled, router, sparse_encoder
from safetensors.torch import load_file, save_file

from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.model.checkpoint import chosen_variant, open_checkpoint
from spladev3_anserini.model.convert import convert_checkpoint
from spladev3_anserini.model.variants import VARIANTS, Pooling

FULL = [text for text in TEXTS.values() if text.strip()]
SETTINGS, LENGTHS = "config_sentence_transformers.json", "sentence_bert_config.json"
STATIC = "query_0_SparseStaticEmbedding"


def edit(path: Path, /, **changes: object) -> None:
    record = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(record | changes))


@pytest.fixture(scope="module")
def saved(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The layouts that are read, each saved by sentence-transformers itself."""
    folder = tmp_path_factory.mktemp("layouts")
    sparse_encoder(tiny).save_pretrained(str(folder / "plain"))
    router(tiny, folder / "doc")
    router(tiny, folder / "lexical", masked=True)
    return {name: folder / name for name in ("plain", "doc", "lexical")}


def weights(folder: Path, side: str, length: int | None = 64) -> Any:
    checkpoint = open_checkpoint(str(folder))
    encoder = Encoder(checkpoint, checkpoint.variant, side, EncoderSettings(max_length=length))
    return encoder.weights(FULL).toarray()


@pytest.mark.parametrize("name", ["plain", "doc", "lexical"])
def test_a_layout_that_is_read_has_the_weights_of_its_library(name: str,
                                                              saved: dict[str, Path]) -> None:
    assert open_checkpoint(str(saved[name])).variant.name == {
        "plain": "splade-v3", "doc": "splade-v3-doc", "lexical": "splade-v3-lexical"}[name]
    for side in ("document", "query"):
        np.testing.assert_allclose(weights(saved[name], side), peer_weights(saved[name], side, FULL), atol=1e-5)


#: Layout, file, key, value: what is not applied, and where it stands.
STATED: dict[str, tuple[str, str, str, object]] = {
    "a prompt of passages": ("plain", SETTINGS, "prompts", {"query": "", "passage": "p: "}),
    "prompts that are a list": ("plain", SETTINGS, "prompts", ["q: "]),
    "a default prompt there is not": ("plain", SETTINGS, "default_prompt_name", "query2"),
    "a cosine": ("plain", SETTINGS, "similarity_fn_name", "cosine"),
    "the largest weights alone": ("plain", SETTINGS, "max_active_dims", 64),
    "fewer dimensions": ("plain", SETTINGS, "truncate_dim", 16),
    "another kind of model": ("plain", SETTINGS, "model_type", "SentenceTransformer"),
    "a key that is not known": ("plain", SETTINGS, "normalize", True),
    "a key that is not known, off": ("plain", SETTINGS, "lower", False),
    "lower case as a number": ("plain", LENGTHS, "do_lower_case", 1),
    "another task": ("plain", LENGTHS, "transformer_task", "feature-extraction"),
    "no task": ("plain", LENGTHS, "transformer_task", None),
    "another output": ("plain", LENGTHS, "module_output_name", "scores"),
    "chat messages": ("plain", LENGTHS, "modality_config", {"message": {"method": "forward"}}),
    "arguments of the tokenizer": ("plain", LENGTHS, "tokenizer_args", {"do_lower_case": True}),
    "arguments of the processor": ("plain", LENGTHS, "processor_kwargs", {"use_fast": False}),
    "settings of the processor": ("plain", LENGTHS, "processing_kwargs",
                                  {"text": {"max_length": 8}}),
    "a tokenizer elsewhere": ("plain", LENGTHS, "tokenizer_name_or_path", "other/tokenizer"),
    "a length of queries": ("plain", LENGTHS, "query_length", 8),
    "a length that is no number": ("plain", LENGTHS, "max_seq_length", "32"),
    "a length below 1": ("plain", LENGTHS, "max_seq_length", -1),
    "routes by modality": ("doc", "router_config.json", "parameters",
                           {"route_mappings": {"('query', None)": "document"}}),
    "weights in a JSON file": ("doc", f"{STATIC}/config.json", "path", "idf.json"),
    "a query model of naver's": ("plain", "model_args.json", "model_q", "other/model"),
    "two encoders of naver's": ("plain", "model_args.json", "shared_weights", False),
}


@pytest.mark.fault(8, "a checkpoint that states prompts, another similarity, length, pooling, task, "
                   "tokenizer or query side than is applied", then="refused by file and key",
                   detected="every key of its files that is neither empty nor applied")
@pytest.mark.parametrize("what", STATED)
def test_what_is_not_applied_is_refused_by_file_and_key(what: str, saved: dict[str, Path],
                                                        tmp_path: Path) -> None:
    layout, file, key, value = STATED[what]
    folder = Path(shutil.copytree(saved[layout], tmp_path / "model"))
    edit(folder / file, **{key: value})
    with pytest.raises(InputError) as raised:
        open_checkpoint(str(folder))
    said = str(raised.value)
    assert said.startswith(f"{folder / file}: ")
    assert key.partition(".")[0] in said or (what == "routes by modality"
                                             and "route_mappings" in said)
    assert "--variant" not in said


def test_a_cosine_is_refused_with_the_reason(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["plain"], tmp_path / "model"))
    edit(folder / SETTINGS, similarity_fn_name="cosine")
    with pytest.raises(InputError) as raised:
        open_checkpoint(str(folder))
    assert str(raised.value) == (
        f'{folder / SETTINGS}: similarity_fn_name: "cosine" is not applied here: scores of integer '
        "impacts cannot be divided by a query's and a document's norm")


def test_what_is_refused_would_have_been_other_weights(saved: dict[str, Path],
                                                       tmp_path: Path) -> None:
    """The library's own weights move by far more than rounding could."""
    folder = Path(shutil.copytree(saved["plain"], tmp_path / "prompts"))
    edit(folder / SETTINGS, prompts={"query": "wing test "})
    assert abs(peer_weights(folder, "query", FULL) - peer_weights(saved["plain"], "query", FULL)).max() > 0.1
    idf = router(saved["plain"], tmp_path / "idf", weight=3.5)
    assert peer_weights(idf, "query", FULL).max() == 3.5


@pytest.mark.parametrize("empty", [
    {"prompts": {"query": "", "document": "", "other": None}, "default_prompt_name": "query"},
    {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "dot", "truncate_dim": None},
    {"prompts": None, "similarity_fn_name": None, "requirements": {"transformers": ">=4"}}])
def test_settings_that_change_nothing_pass(empty: dict[str, object], saved: dict[str, Path],
                                           tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["plain"], tmp_path / "model"))
    edit(folder / SETTINGS, **empty)
    assert open_checkpoint(str(folder)).variant == VARIANTS["splade-v3"]


def _two_encoders(folder: Path) -> None:
    config = json.loads((folder / "router_config.json").read_text())
    shutil.copytree(folder / "document_0_MLMTransformer", folder / "query_0_MLMTransformer")
    config["types"]["query_0_MLMTransformer"] = config["types"]["document_0_MLMTransformer"]
    config["structure"]["query"] = ["query_0_MLMTransformer", "document_1_SpladePooling"]
    (folder / "router_config.json").write_text(json.dumps(config))


def _route(folder: Path) -> None:
    config = json.loads((folder / "router_config.json").read_text())
    config["structure"]["title"] = config["structure"]["document"]
    (folder / "router_config.json").write_text(json.dumps(config))


def _pickled_table(folder: Path) -> None:
    tensors = load_file(folder / STATIC / "model.safetensors")
    torch.save(tensors, folder / STATIC / "pytorch_model.bin")
    (folder / STATIC / "model.safetensors").unlink()


def _weight(value: float, place: int = 20) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / STATIC / "model.safetensors"
        weight = load_file(path)["weight"]
        weight[place] = value
        save_file({"weight": weight}, path)

    return change


def _other_tokenizer(folder: Path) -> None:
    path = folder / STATIC / "tokenizer.json"
    path.write_text(path.read_text().replace('"lowercase":true', '"lowercase":false').replace(
        '"lowercase": true', '"lowercase": false'))
    edit(folder / STATIC / "tokenizer_config.json", do_lower_case=False)


ROUTERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "NaN in a table": (_weight(float("nan")), "model.safetensors: the weight of term 20 is nan"),
    "a negative weight": (_weight(-0.5), "model.safetensors: the weight of term 20 is -0.5"),
    "a pickled table": (_pickled_table, "no model.safetensors with the weights"),
    "a table beside the model": (lambda f: (f / "idf.json").write_text('{"cat": 2.0}'),
                                 "idf.json: weights the terms of queries"),
    "a table beside the document side's weights": (
        lambda f: (f / "document_0_MLMTransformer" / "idf.json").write_text('{"cat": 2.0}'),
        "document_0_MLMTransformer/idf.json: weights the terms of queries"),
    "a table of query_token_weights.txt": (
        lambda f: (f / "query_token_weights.txt").write_text("cat\t2.0\n"),
        "query_token_weights.txt: weights the terms of queries"),
    "a third route": (_route, "router_config.json: structure: has routes"),
    "another tokenizer": (_other_tokenizer, "another tokenizer than documents"),
    "no Router in modules.json": (lambda f: (f / "modules.json").unlink(), "names no Router"),
    "a note of another query side": (
        lambda f: (f / "spladev3.json").write_text('{"variant": "splade-v3-lexical"}'),
        "spladev3.json says splade-v3-lexical"),
}


@pytest.mark.parametrize("subfolder", [False, True])
def test_pooling_is_read_from_the_top_of_the_folder_too(subfolder: bool, tiny: Path,
                                                        tmp_path: Path) -> None:
    """modules.json may name no folder for SpladePooling."""
    folder = tmp_path / "model"
    part = "0_MLMTransformer" if subfolder else ""
    shutil.copytree(tiny, folder / part)
    add_modules(folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"], modules[1]["path"] = part, ""
    (folder / "modules.json").write_text(json.dumps(modules))
    for strategy in ("max", "sum"):
        edit(folder / "config.json", pooling_strategy=strategy)
        assert open_checkpoint(str(folder)).settings.pooling == Pooling(strategy, "relu")
    edit(folder / "config.json", pooling_strategy="mean")
    with pytest.raises(InputError, match=r"config.json: pooling_strategy: \"mean\" is not applied"):
        open_checkpoint(str(folder))


@pytest.mark.fault(8, "a Router whose queries have an unusable table, another tokenizer, or two "
                   "query sides", detected="the table's values and the Router's structure")
@pytest.mark.parametrize("what", ROUTERS)
def test_a_router_with_another_query_side_is_refused_whatever_the_variant(
        what: str, saved: dict[str, Path], tmp_path: Path, refused: Callable[..., str]) -> None:
    folder = Path(shutil.copytree(saved["doc"], tmp_path / "splade-v3-doc"))
    change, message = ROUTERS[what]
    change(folder)
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    for variant in ("auto", "splade-v3-doc", "splade-v3"):
        said = refused("encode", "--model", folder, "--variant", variant, "--max-length", 64,
                       "--topics", corpus, "--output", tmp_path / "out")
        assert message in said
        assert str(folder) in said
        assert "--variant" not in said
    assert not (tmp_path / "out").exists()


def test_a_table_without_weight_for_special_tokens_is_a_bag_of_words(saved: dict[str, Path],
                                                                     tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["doc"], tmp_path / "model"))
    for place in range(len(SPECIALS)):
        _weight(0, place)(folder)
    np.testing.assert_array_equal(weights(folder, "query"), peer_weights(folder, "query", FULL))


def test_a_variant_that_a_router_contradicts_is_refused(saved: dict[str, Path]) -> None:
    checkpoint = open_checkpoint(str(saved["doc"]))
    assert chosen_variant("splade-v3-doc", checkpoint).query == "bow"
    with pytest.raises(InputError, match="state the query side of splade-v3-doc"):
        chosen_variant("splade-v3", checkpoint)
    plain = open_checkpoint(str(saved["plain"]))
    assert chosen_variant("splade-v3-doc", plain).query == "bow"


MODULES: dict[str, tuple[list[str], str]] = {
    "no pooling": (["MLMTransformer"], "encodes documents by MLMTransformer"),
    "two transformers": (["MLMTransformer", "MLMTransformer", "SpladePooling"], "encodes documents"),
    "pooling first": (["SpladePooling", "MLMTransformer"], "encodes documents by SpladePooling"),
    "an autoencoder": (["MLMTransformer", "SpladePooling", "SparseAutoEncoder"],
                       "has a module 'SparseAutoEncoder'"),
    "normalised": (["MLMTransformer", "SpladePooling", "Normalize"], "has a module 'Normalize'"),
    "after a Router": (["Router", "Normalize"], "expected the Router only"),
    "before a Router": (["Normalize", "Router"], "expected the Router only"),
    "code of its own": (["MLMTransformer", "mine.SpladePooling"],
                        "has a module 'mine.SpladePooling'"),
    "a Router that is not there": (["Router"], "names a Router, but there is no"),
}


@pytest.mark.parametrize("what", MODULES)
def test_modules_that_give_other_weights_are_refused(what: str, saved: dict[str, Path],
                                                     tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["plain"], tmp_path / "model"))
    kinds, message = MODULES[what]
    (folder / "modules.json").write_text(json.dumps([
        {"path": f"{place}_SpladePooling" if place else "", "type": kind if "." in kind else
         f"sentence_transformers.sparse_encoder.models.{kind}"}
        for place, kind in enumerate(kinds)]))
    with pytest.raises(InputError, match=message):
        open_checkpoint(str(folder))


def test_a_stated_length_is_the_default_and_another_one_is_warned_of(saved: dict[str, Path], tmp_path: Path,
                                                     cli: Callable[..., Result]) -> None:
    long = make_tiny(tmp_path / "long", positions=300)
    sparse_encoder(long, max_seq_length=32).save_pretrained(str(tmp_path / "six"))
    older = add_modules(Path(shutil.copytree(long, tmp_path / "five")))
    (older / LENGTHS).write_text('{"max_seq_length": 32, "do_lower_case": false}')
    corpus = write_corpus(tmp_path / "c.jsonl", {"a": "the cat sat on the mat " * 40})
    for folder, file, key in ((tmp_path / "six", "tokenizer_config.json", "model_max_length"),
                              (older, LENGTHS, "max_seq_length")):
        command = ("encode", "--model", folder, "--corpus", corpus, "--output")
        own = cli(*command, tmp_path / f"{folder.name}-own")
        assert own.code == 0, own
        assert "cut at --max-length 32" in own.out
        assert key not in own.err
        other = cli(*command, tmp_path / f"{folder.name}-other", "--max-length", 64)
        assert f"warning: {folder / file}: {key}: the model's own length is 32 tokens" in other.err
        np.testing.assert_allclose(weights(folder, "document", None), peer_weights(folder, "document", FULL),
                                   atol=1e-5)
    edit(older / LENGTHS, max_seq_length=300)
    longer = cli(*command, tmp_path / "longer")
    assert "cut" not in longer.out + longer.err
    # a tokenizer that takes more than is used states no length
    assert open_checkpoint(str(long)).length_warning(256) is None


def test_convert_leaves_nothing_behind_that_decides_weights(saved: dict[str, Path], tiny: Path,
                                                            tmp_path: Path) -> None:
    pickles = {}
    for name in ("plain", "doc", "lexical"):
        pickles[name] = Path(shutil.copytree(saved[name], tmp_path / f"pickled-{name}"))
        folder = open_checkpoint(str(pickles[name])).folder
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
        convert_checkpoint(str(pickles[name]), tmp_path / name, None)
        for side in ("document", "query"):
            np.testing.assert_array_equal(weights(tmp_path / name, side), weights(saved[name], side))
    with_length = pickled(tiny, tmp_path / "length")
    (with_length / LENGTHS).write_text('{"max_seq_length": 32}')
    convert_checkpoint(str(with_length), tmp_path / "converted", None)
    assert "32 tokens" in str(open_checkpoint(str(tmp_path / "converted")).length_warning(64))


def test_convert_and_models_name_their_own_argument(tiny: Path, tmp_path: Path,
                                                    refused: Callable[..., str]) -> None:
    """Neither has an option --model."""
    for command in (("convert", "--output", tmp_path / "out"), ("models", "fetch")):
        for name in ("nothing", "models/nothing"):
            said = refused(*command, name)
            assert said.startswith(f"spladev3-anserini: MODEL {name}: no such folder")
    said = refused("convert", tiny, "--output", tmp_path / "out")
    assert "safetensors already" in said
    assert "--model" not in said
    bare = Path(shutil.copytree(tiny, tmp_path / "bare"))
    (bare / "model.safetensors").unlink()
    assert "MODEL " in refused("models", "fetch", bare)
