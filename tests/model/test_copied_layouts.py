"""Every layout, as a copy that `convert` or `export` writes: it states and weights the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEXTS, Result, make_tiny
from layouts import add_modules, peer_weights, pickled
from safetensors.torch import load_file

from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.model.checkpoint import Checkpoint, model_hash, open_checkpoint
from spladev3_anserini.model.convert import convert_checkpoint
from spladev3_anserini.model.layout import Side
from spladev3_anserini.model.onnx_export import export_onnx
from spladev3_anserini.reproduction.models import usable_checkpoint

FULL = [text for text in TEXTS.values() if text.strip()]
SETTINGS = "config_sentence_transformers.json"
#: Layout: pooling of documents, pooling of queries (None: the same module, or no model).
LAYOUTS: dict[str, tuple[tuple[str, str], tuple[str, str] | None]] = {
    "plain": (("max", "relu"), None),
    "log1p_relu": (("max", "log1p_relu"), None),
    "sum": (("sum", "relu"), None),
    "sum of log1p_relu": (("sum", "log1p_relu"), None),
    "doc": (("max", "log1p_relu"), None),
    "static": (("sum", "relu"), None),
    "lexical": (("max", "log1p_relu"), None),
    "static lexical": (("max", "relu"), None),
    "two encoders": (("max", "relu"), ("sum", "log1p_relu")),
}


def saved_layout(name: str, tiny: Path, folder: Path) -> Path:
    """A layout as sentence-transformers itself saves it, with prompts and a length."""
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sparse_encoder.modules import (
        MLMTransformer,
        SparseStaticEmbedding,
        SpladePooling,
    )

    pooling, other = LAYOUTS[name]
    document = [MLMTransformer(str(tiny), max_seq_length=12), SpladePooling(*pooling)]
    prompts = {"query": "wing test ", "document": "the "}
    if "static" not in name and name not in ("doc", "lexical", "two encoders"):
        SparseEncoder(modules=document, prompts=prompts).save_pretrained(str(folder))
        return folder
    size = document[0].tokenizer.vocab_size
    weight = torch.linspace(0.5, 3, size) if "static" in name else torch.ones(size)
    queries: list[Any] = [SparseStaticEmbedding(document[0].tokenizer, weight, frozen=True)]
    if "lexical" in name:
        queries = [*document, *queries]
    if other:
        second = make_tiny(folder.parent / f"{folder.name}-second", seed=3)
        queries = [MLMTransformer(str(second), max_seq_length=9), SpladePooling(*other)]
    SparseEncoder(modules=[Router.for_query_document(query_modules=queries,
                                                     document_modules=document)],
                  prompts=prompts).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def layouts(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("layouts")
    return {name: saved_layout(name, tiny, home / name.replace(" ", "-")) for name in LAYOUTS}


def weights(folder: Path, side: str) -> Any:
    checkpoint = open_checkpoint(str(folder))
    return Encoder(checkpoint, checkpoint.variant, side, EncoderSettings()).weights(FULL).toarray()


def stated(folder: Path) -> tuple[object, ...]:
    """All that a model's files state, with paths within its folder."""
    checkpoint: Checkpoint = open_checkpoint(str(folder))
    layout = checkpoint.layout

    def within(path: Path | None) -> str | None:
        return None if path is None else str(path.relative_to(folder))

    def side(one: Side) -> tuple[object, ...]:
        length = one.length and (one.length.tokens, within(one.length.path), one.length.key)
        return (within(one.folder), within(one.tokenizer), one.pooling, length, one.lower_case,
                one.prompt)

    return (checkpoint.variant, side(layout.document), side(layout.query), layout.mode,
            within(layout.table), tuple(map(within, layout.folders)))


def as_pickles(source: Path, folder: Path) -> Path:
    """The same model with a pickle in the place of every safetensors file."""
    shutil.copytree(source, folder)
    for path in list(folder.rglob("model.safetensors")):
        torch.save(load_file(path), path.with_name("pytorch_model.bin"))
        path.unlink()
    return folder


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_has_the_weights_of_its_library(name: str, layouts: dict[str, Path]) -> None:
    for side in ("document", "query"):
        found = weights(layouts[name], side)
        assert found.any()
        np.testing.assert_allclose(found, peer_weights(layouts[name], side, FULL), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_converted_layout_states_and_weighs_the_same(name: str, layouts: dict[str, Path],
                                                       tmp_path: Path) -> None:
    source = as_pickles(layouts[name], tmp_path / "pickled")
    pickles = sorted(source.rglob("*.bin"))
    done = convert_checkpoint(str(source), tmp_path / "out", None)
    assert {str(source / each.name): each.pickle for each in (done, *done.others)} == {
        str(path): sha256_of(path) for path in pickles}
    assert not list((tmp_path / "out").rglob("*.bin"))
    assert stated(tmp_path / "out") == stated(layouts[name])
    for side in ("document", "query"):
        np.testing.assert_array_equal(weights(tmp_path / "out", side), weights(layouts[name], side))
        np.testing.assert_allclose(peer_weights(tmp_path / "out", side, FULL), peer_weights(layouts[name], side, FULL))
    # a note is only for what no other file states
    routed = open_checkpoint(str(layouts[name])).layout.mode is not None
    assert (tmp_path / "out" / "spladev3.json").exists() != routed


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_exported_layout_states_and_weighs_the_same(name: str, layouts: dict[str, Path],
                                                       tmp_path: Path) -> None:
    done = export_onnx(open_checkpoint(str(layouts[name])), tmp_path / "out")
    assert (done.query is not None) == (name == "two encoders")
    for graph in filter(None, (done, done.query)):
        assert (sha256_of(graph.path), graph.path.stat().st_size) == (graph.sha256, graph.size)
    assert stated(tmp_path / "out") == stated(layouts[name])
    for side in ("document", "query"):
        np.testing.assert_allclose(weights(tmp_path / "out", side), weights(layouts[name], side),
                                   atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("function", ["relu", "log1p_relu"])
def test_a_graph_that_sums_has_top_k_and_int8_too(function: str, tiny: Path,
                                                  tmp_path: Path) -> None:
    folder = add_modules(Path(shutil.copytree(tiny, tmp_path / "m")), "sum", function)
    export_onnx(open_checkpoint(str(folder)), tmp_path / "top", top_k=5)
    expected = weights(folder, "document")
    found = weights(tmp_path / "top", "document")
    assert (found > 0).sum(axis=1).max() == 5
    np.testing.assert_allclose(found[found > 0], expected[found > 0], atol=1e-5, rtol=1e-5)
    export_onnx(open_checkpoint(str(folder)), tmp_path / "int8", "int8")
    small = weights(tmp_path / "int8", "document")
    cosine = (small * expected).sum(1) / np.linalg.norm(small, axis=1) / np.linalg.norm(
        expected, axis=1)
    assert cosine.min() > 0.95


@pytest.mark.fault(8, "a graph whose pooling is not the one that the files beside it state",
                   detected="the graph's own record")
def test_a_graph_with_another_pooling_than_its_files_is_refused(layouts: dict[str, Path],
                                                                tmp_path: Path) -> None:
    export_onnx(open_checkpoint(str(layouts["sum"])), tmp_path / "out")
    path = next((tmp_path / "out").glob("*_SpladePooling")) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pooling_strategy": "max"}))
    with pytest.raises(InputError, match="the graph pools with sum and relu, but the files of the "
                                         "model say max and relu"):
        weights(tmp_path / "out", "document")


@pytest.mark.fault(8, "a setting that Anserini's own encoder does not apply, in an export for it",
                   detected="by name: prompt, pooling, table, second model")
@pytest.mark.parametrize(("name", "prompt", "message"), [
    ("plain", True, "the prompt 'wing test ' before a query"),
    ("sum", False, "the pooling, sum with relu"),
    ("log1p_relu", False, "the pooling, max with log1p_relu"),
    ("static lexical", False, "no place for a table of query weights"),
    ("two encoders", False, "queries have a model of their own")])
def test_what_anserinis_encoder_does_not_apply_is_refused(
        name: str, prompt: bool, message: str, layouts: dict[str, Path], tmp_path: Path,
        refused: Callable[..., str]) -> None:
    folder = Path(shutil.copytree(layouts[name], tmp_path / "m"))
    if not prompt:
        settings = json.loads((folder / SETTINGS).read_text())
        (folder / SETTINGS).write_text(json.dumps(settings | {"prompts": {}}))
    said = refused("export", "--model", folder, "--anserini", "--output", tmp_path / "out")
    assert "cannot be exported for Anserini's encoder" in said
    assert message in said
    assert not (tmp_path / "out").exists()


def test_a_pooling_of_queries_alone_has_no_graph(tiny: Path, tmp_path: Path) -> None:
    """One folder holds one graph, and a graph has one pooling."""
    kinds = "sentence_transformers.sparse_encoder.models."
    folder = add_modules(Path(shutil.copytree(tiny, tmp_path / "m")))
    (folder / "modules.json").write_text(json.dumps([
        {"idx": 0, "name": "0", "path": "",
         "type": "sentence_transformers.base.modules.router.Router"}]))
    (folder / "2_SpladePooling").mkdir()
    (folder / "2_SpladePooling/config.json").write_text('{"pooling_strategy": "sum"}')
    (folder / "router_config.json").write_text(json.dumps({
        "types": {"": f"{kinds}MLMTransformer", "1_SpladePooling": f"{kinds}SpladePooling",
                  "2_SpladePooling": f"{kinds}SpladePooling"},
        "structure": {"query": ["", "2_SpladePooling"], "document": ["", "1_SpladePooling"]}}))
    checkpoint = open_checkpoint(str(folder))
    assert model_hash(checkpoint.of("query")) != model_hash(checkpoint.of("document"))
    plain, summed = (weights(folder, side) for side in ("document", "query"))
    assert (summed >= plain - 1e-5).all()
    assert not np.allclose(summed, plain)
    with pytest.raises(InputError, match="a graph has one pooling"):
        export_onnx(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tables_beside_pickled_weights_come_along(tiny: Path, tmp_path: Path) -> None:
    """As OpenSearch's models before sentence-transformers had a module for the table."""
    for table, content in (("idf.json", '{"cat": 2.5, "dog": 0.5}'),
                           ("query_token_weights.txt", "cat\t2.5\ndog\t0.5\n")):
        source = pickled(tiny, tmp_path / table / "m", modules=False)
        (source / table).write_text(content)
        convert_checkpoint(str(source), tmp_path / table / "out", None)
        assert (tmp_path / table / "out" / table).read_text() == content
        assert open_checkpoint(str(tmp_path / table / "out")).variant.query == "static"
        assert set(np.unique(weights(tmp_path / table / "out", "query"))) <= {0, 0.5, 2.5}
        export_onnx(open_checkpoint(str(tmp_path / table / "out")), tmp_path / table / "onnx")
        np.testing.assert_array_equal(weights(tmp_path / table / "onnx", "query"),
                                      weights(tmp_path / table / "out", "query"))


def test_a_hash_is_that_of_the_documents_encoder(layouts: dict[str, Path], tmp_path: Path,
                                                 cli: Callable[..., Result],
                                                 refused: Callable[..., str]) -> None:
    source = as_pickles(layouts["static"], tmp_path / "pickled")
    main, table = (next(source.glob(f"*_{kind}")) / "pytorch_model.bin"
                   for kind in ("MLMTransformer", "SparseStaticEmbedding"))
    said = refused("convert", source, "--sha256", sha256_of(table), "--output", tmp_path / "out")
    assert f"{main}: sha256 is {sha256_of(main)}, expected" in said
    assert not (tmp_path / "out").exists()
    done = cli("convert", source, "--sha256", sha256_of(main), "--output", tmp_path / "out")
    assert done.code == 0, done.err
    for path in (main, table):
        assert f"read     {path.relative_to(source)}  sha256 {sha256_of(path)}" in done.out
    # without a pickle of the encoder there is nothing that the hash could be of
    half = Path(shutil.copytree(layouts["static"], tmp_path / "half"))
    static = next(half.glob("*_SparseStaticEmbedding"))
    torch.save(load_file(static / "model.safetensors"), static / "pytorch_model.bin")
    (static / "model.safetensors").unlink()
    assert "no pytorch_model.bin to convert" in refused(
        "convert", half, "--sha256", sha256_of(main), "--output", tmp_path / "half-out")
    convert_checkpoint(str(half), tmp_path / "half-out", None)
    assert stated(tmp_path / "half-out") == stated(layouts["static"])


@pytest.mark.fault(8, "a model to convert whose table of query weights cannot be used",
                   detected="the copy is read before it gets its name")
def test_a_conversion_that_could_not_be_read_is_refused(layouts: dict[str, Path],
                                                        tmp_path: Path) -> None:
    source = as_pickles(layouts["static"], tmp_path / "pickled")
    static = next(source.glob("*_SparseStaticEmbedding"))
    torch.save({"weight": torch.ones(3)}, static / "pytorch_model.bin")
    with pytest.raises(InputError, match=f"{static}.*has the shape"):
        convert_checkpoint(str(source), tmp_path / "out", None)
    torch.save({"weight": torch.nn.Linear(1, 1)}, static / "pytorch_model.bin")
    with pytest.raises(InputError, match="not a pickle of only tensors"):
        convert_checkpoint(str(source), tmp_path / "out", None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pickled"]


@pytest.mark.parametrize("name", ["static", "two encoders"])
def test_reproduce_converts_a_model_of_which_one_part_is_a_pickle(
        name: str, layouts: dict[str, Path], tmp_path: Path) -> None:
    source = as_pickles(layouts[name], tmp_path / "pickled")
    document = open_checkpoint(str(layouts[name])).folder.relative_to(layouts[name])
    (source / document / "pytorch_model.bin").unlink()
    shutil.copyfile(layouts[name] / document / "model.safetensors",
                    source / document / "model.safetensors")
    checkpoint = usable_checkpoint(str(source), tmp_path)
    assert checkpoint.folder.is_relative_to(tmp_path / "models")
    assert stated(checkpoint.layout.folders[0]) == stated(layouts[name])
    assert usable_checkpoint(str(layouts[name]), tmp_path).name == str(layouts[name])
