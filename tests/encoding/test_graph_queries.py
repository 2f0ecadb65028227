"""Queries by an ONNX graph of the index's model: accepted with one warning; any other is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TEXTS, Result, make_tiny, write_corpus
from layouts import add_modules, router

import spladev3_anserini as splade
from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.queries import encode_topics, encoder_for_index
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.manifest import IndexManifest
from spladev3_anserini.impacts.shards import read_encoded, read_manifest
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.onnx_export import export_onnx
from spladev3_anserini.model.variants import VARIANTS

Cli = Callable[..., Result]
PROMPTS = "config_sentence_transformers.json"
TOPIC = Topic("q", "the cat on a mat", "t")


@pytest.fixture(scope="module")
def encoded(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Encodes documents by a model; its index is not needed to open the encoder of its queries."""
    from spladev3_anserini.cli.commands import commands

    corpus = write_corpus(tmp_path_factory.mktemp("corpus") / "c.jsonl", TEXTS)

    def encode(model: Path) -> IndexManifest:
        output = tmp_path_factory.mktemp("encoded") / "e"
        commands.main(["encode", "--model", str(model), "--corpus", str(corpus), "--max-length", "64",
                       "--output", str(output)], standalone_mode=False)
        return output

    return encode


@pytest.fixture(scope="module")
def graph(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    export_onnx(open_checkpoint(str(tiny)), folder := tmp_path_factory.mktemp("graph") / "int8", "int8")
    return folder


def opened(documents: Path, model: Path) -> Encoder:
    record = IndexManifest(encoded=read_manifest(documents), versions={})
    return encoder_for_index(documents, record, str(model), "auto", EncoderSettings(max_length=64))


def with_source(graph: Path, folder: Path, source: str | None) -> Path:
    """A copy whose metadata names another source, or none."""
    import onnx

    shutil.copytree(graph, folder)
    content = onnx.load(str(folder / "model.onnx"))
    for entry in list(content.metadata_props):
        if entry.key.endswith(".source"):
            entry.value = source or ""
            if source is None:
                content.metadata_props.remove(entry)
    onnx.save(content, str(folder / "model.onnx"))
    return folder


def test_every_command_takes_the_int8_graph_of_the_indexs_model(
        tiny: Path, graph: Path, tmp_path: Path, cli: Cli) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", TEXTS)
    (tmp_path / "t.tsv").write_text(f"{TOPIC.id}\t{TOPIC.text}\n")
    (tmp_path / "qrels").write_text("q 0 d1 1\n")
    cli("encode", "--model", tiny, "--corpus", corpus, "--max-length", 64, "--output", tmp_path / "e")
    assert cli("index", "--encoded", tmp_path / "e", "--index", tmp_path / "i").code == 0
    said = (f"warning: {graph}: queries are encoded by the int8 ONNX graph of the index's model; their "
            "impacts differ slightly from the model's own (measured with the demo model on 2,000 "
            "questions: nDCG@10 .3359 instead of .3360)\n")
    common = ("--index", tmp_path / "i", "--model", graph, "--max-length", 64)
    for command in (("search", "--topics", tmp_path / "t.tsv", "--output", tmp_path / "run"),
                    ("ask", TOPIC.text), ("explain", "--docid", "d1", "--query", TOPIC.text),
                    ("mine", "--topics", tmp_path / "t.tsv", "--qrels", tmp_path / "qrels", "--output",
                     tmp_path / "mined", "--depth", 5, "--top", 1, "--random", 0)):
        done = cli(*command, *common)
        assert (done.code, done.err.count(said)) == (0, 1), done
    oracle = ExactSearcher((d.id, d.vector)
                           for d in read_encoded(tmp_path / "e", read_manifest(tmp_path / "e")))
    by_graph = Encoder(open_checkpoint(str(graph)), VARIANTS["splade-v3"], "query",
                       EncoderSettings(max_length=64))
    (query,) = encode_topics(by_graph, [TOPIC])
    expected = dict(oracle.search(query.query, 1000))
    assert read_run_file(tmp_path / "run") == {"q": expected}
    with splade.open_index(tmp_path / "i", model=graph, max_length=64) as index:
        assert index.impacts(TOPIC.text) == query.query
        assert {hit.docid: hit.score for hit in index.search(TOPIC.text, 1000)} == expected
    # queries in a folder name only the graph
    cli("encode", "--model", graph, "--topics", tmp_path / "t.tsv", "--max-length", 64, "--output",
        tmp_path / "queries")
    done = cli("search", "--index", tmp_path / "i", "--queries", tmp_path / "queries", "--output",
               tmp_path / "other")
    assert (done.code, "do not belong together: model " in done.err) == (2, True)


def test_another_precision_variant_or_pooling(tiny: Path, tmp_path: Path,
                                              encoded: Callable[[Path], Path],
                                              caplog: pytest.LogCaptureFixture) -> None:
    sums = add_modules(Path(shutil.copytree(tiny, tmp_path / "sum")), "sum")
    doc = router(tiny, tmp_path / "lexical", masked=True, weight=0.7)
    for model in (tiny, sums, doc):
        export_onnx(open_checkpoint(str(model)), tmp_path / f"{model.name}-graph")
        own, by_graph = (encode_topics(opened(encoded(model), folder), [TOPIC])[0].query
                         for folder in (model, tmp_path / f"{model.name}-graph"))
        assert own.keys() == by_graph.keys()
        assert all(abs(own[term] - by_graph[term]) <= 1 for term in own)
        assert caplog.messages[-1].endswith("by the float32 ONNX graph of the index's model; their "
                                            "impacts differ slightly from the model's own")


def test_a_prompt_is_part_of_what_must_match(tiny: Path, tmp_path: Path,
                                             encoded: Callable[[Path], Path]) -> None:
    model = add_modules(Path(shutil.copytree(tiny, tmp_path / "model")))
    stated = json.loads((model / PROMPTS).read_text())
    (model / PROMPTS).write_text(json.dumps(stated | {"prompts": {"query": "cat ", "document": ""}}))
    export_onnx(open_checkpoint(str(model)), tmp_path / "graph")
    documents = encoded(model)
    assert opened(documents, tmp_path / "graph").prompt == "cat "
    for prompts in ({"query": "dog ", "document": ""}, {"query": "", "document": ""}):
        (tmp_path / "graph" / PROMPTS).write_text(json.dumps(stated | {"prompts": prompts}))
        with pytest.raises(InputError, match="do not belong together: model "):
            opened(documents, tmp_path / "graph")


def test_a_graph_of_another_model_or_of_no_known_one_is_refused(
        tiny: Path, graph: Path, tmp_path: Path, encoded: Callable[[Path], Path],
        caplog: pytest.LogCaptureFixture) -> None:
    documents = encoded(tiny)
    export_onnx(open_checkpoint(str(make_tiny(tmp_path / "other", seed=1))), tmp_path / "others")
    export_onnx(open_checkpoint(str(tiny)), tmp_path / "cut", top_k=4)
    for name, source in (("empty", ""), ("tampered", "0" * 64), ("word", "tiny")):
        with_source(graph, tmp_path / name, source)
    for name in ("others", "cut", "empty", "tampered", "word"):
        with pytest.raises(InputError, match=f"queries of {tmp_path / name} and the index {documents} "
                                             "do not belong together: model "):
            opened(documents, tmp_path / name)
    with pytest.raises(InputError, match="was not written by spladev3-anserini export"):
        opened(documents, with_source(graph, tmp_path / "none", None))
    assert not [line for line in caplog.messages if "ONNX graph" in line]


def test_documents_by_a_graph_take_no_queries_by_its_model(
        tiny: Path, graph: Path, encoded: Callable[[Path], Path]) -> None:
    """Their manifest names the graph, and only the graph says what it was made of."""
    documents = encoded(graph)
    assert opened(documents, graph).model_hash == read_manifest(documents).fingerprint.model
    with pytest.raises(InputError, match="do not belong together: model "):
        opened(documents, tiny)
