"""Exported graphs against the torch model, and inside Anserini's own encoder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from breaking import Break, one_line
from conftest import TEXTS, Result, make_tiny, write_corpus

from spladev3_anserini.cli.demo import QUESTIONS
from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.lucene.jvm import java_command
from spladev3_anserini.lucene.start import environment_of_java
from spladev3_anserini.model.anserini_files import ANSERINI_FILES
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.onnx_export import export_onnx
from spladev3_anserini.model.rows import keep_top
from spladev3_anserini.model.variants import VARIANTS

SOME = [*(text for text in TEXTS.values() if text.strip()), *QUESTIONS, "what causes heart disease"]


def encoder(folder: Path, variant: str = "splade-v3", side: str = "document",
            **chosen: object) -> Encoder:
    settings = EncoderSettings(**{"max_length": 64, **chosen})  # type: ignore[arg-type]
    return Encoder(open_checkpoint(str(folder)), VARIANTS[variant], side, settings)


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_float32_weights_are_those_of_torch(architecture: str, tmp_path: Path) -> None:
    tiny = make_tiny(tmp_path / "tiny", architecture)
    export_onnx(open_checkpoint(str(tiny)), tmp_path / "onnx")
    for variant, side in (("splade-v3", "document"), ("splade-v3-lexical", "query")):
        expected = encoder(tiny, variant, side).weights(SOME)
        for budget in (1, 1024):  # each text alone, and with padding
            found = encoder(tmp_path / "onnx", variant, side, batch_tokens=budget).weights(SOME)
            np.testing.assert_allclose(found.toarray(), expected.toarray(), atol=1e-5)


def test_the_demo_models_too(demo_model: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(demo_model))
    made = export_onnx(checkpoint, tmp_path / "onnx")
    assert made.path == tmp_path / "onnx/model.onnx"
    np.testing.assert_allclose(encoder(tmp_path / "onnx").weights(SOME).toarray(),
                               encoder(demo_model).weights(SOME).toarray(), atol=1e-5)


def test_int8_weights_point_the_same_way(demo_model: Path, tmp_path: Path) -> None:
    export_onnx(open_checkpoint(str(demo_model)), tmp_path / "int8", "int8")
    small = encoder(tmp_path / "int8")
    assert small.dtype == "int8"
    found, expected = small.weights(SOME).toarray(), encoder(demo_model).weights(SOME).toarray()
    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(
        expected, axis=1)
    assert cosine.min() > 0.98
    assert not np.array_equal(found, expected)


def test_top_k_inside_the_graph_is_top_k_after_it(demo_model: Path, tmp_path: Path) -> None:
    export_onnx(open_checkpoint(str(demo_model)), tmp_path / "onnx", top_k=20)
    made = encoder(tmp_path / "onnx", batch_tokens=1)
    assert made.settings.top_k == 20
    expected = keep_top(encoder(demo_model, batch_tokens=1).weights(SOME), 20)
    found = made.weights(SOME)
    assert np.array_equal(found.indptr, expected.indptr)
    assert np.array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.data, expected.data, atol=1e-5)
    assert encoder(tmp_path / "onnx", top_k=5).weights(SOME[:1]).nnz == 5


def test_a_graph_with_top_k_is_refused_for_lexical_queries(demo_model: Path,
                                                           tmp_path: Path) -> None:
    """It would keep the largest weights of the expansion and lose the query's own wordpieces;
    torch masks first and cuts then."""
    export_onnx(open_checkpoint(str(demo_model)), tmp_path / "onnx", top_k=8)
    with pytest.raises(InputError, match="for lexical queries export without `top_k`"):
        encoder(tmp_path / "onnx", "splade-v3-lexical", "query")
    assert encoder(tmp_path / "onnx", "splade-v3-lexical").settings.top_k == 8


def test_lexical_queries_of_a_graph_are_torchs(demo_model: Path, tmp_path: Path) -> None:
    export_onnx(open_checkpoint(str(demo_model)), tmp_path / "onnx")
    found, expected = (
        encoder(folder, "splade-v3-lexical", "query", top_k=3).weights(SOME).toarray()
        for folder in (tmp_path / "onnx", demo_model))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (expected > 0).sum(axis=1).max() == 3


def test_more_terms_than_the_vocabulary_are_all_of_them(tiny: Path, tmp_path: Path) -> None:
    export_onnx(open_checkpoint(str(tiny)), tmp_path / "onnx", top_k=10**9)
    np.testing.assert_allclose(encoder(tmp_path / "onnx").weights(SOME).toarray(),
                               encoder(tiny).weights(SOME).toarray(), atol=1e-5)


def test_an_exported_model_encodes_indexes_and_searches(
        tiny: Path, tmp_path: Path, cli: Callable[..., Result],
        refused: Callable[..., str]) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    (tmp_path / "topics.tsv").write_text("q\tthe cat and the dog\n")
    for precision in ("float32", "int8"):
        onnx, folder = tmp_path / f"onnx-{precision}", tmp_path / precision
        done = cli("export", "--model", tiny, "--precision", precision, "--output", onnx)
        assert done.code == 0, done.err
        assert f"--model {onnx}" in done.out
        common = ("--model", onnx, "--corpus", corpus, "--max-length", 64)
        assert cli("encode", *common, "--output", folder / "encoded").code == 0
        assert f'"dtype": "{precision}"' in (folder / "encoded/manifest.json").read_text()
        assert "0 written" in cli("encode", *common, "--output", folder / "encoded").out.replace(
            "0 shards", "0")
        assert cli("index", "--encoded", folder / "encoded", "--index", folder / "index").code == 0
        search = ("search", "--index", folder / "index", "--topics", tmp_path / "topics.tsv",
                  "--max-length", 64, "--output", folder / "run.txt")
        assert cli(*search).code == 0
        assert len(read_run_file(folder / "run.txt")["q"]) > 3
        # another precision is another model
        assert "do not belong together: model" in refused(*search, "--model", tiny)


def test_anserinis_own_encoder_reads_the_export_and_finds_the_same(
        demo_model: Path, tmp_path: Path, cli: Callable[..., Result]) -> None:
    """Its Java encoder weighs the queries with our graph; our search with torch: the same run.

    Its encoder cuts a query at 511 wordpieces: a list that holds [CLS] already is cut to 510, then
    [SEP] is added. Some of the topics have 600 words, and of some of these the 511th counts.
    """
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    words = [word for text in TEXTS.values() for word in text.split() if word.isalpha()]
    long = [" ".join(words[(start + n) % len(words)] for n in range(600)) for start in range(6)]
    asked = [*QUESTIONS, *long]
    (tmp_path / "topics.tsv").write_text(
        "".join(f"{number}\t{text}\n" for number, text in enumerate(asked)))
    done = cli("export", "--model", demo_model, "--anserini", "--output", tmp_path / "files")
    assert done.code == 0, done.err
    cache = tmp_path / "home/.cache/pyserini/encoders"
    shutil.copytree(tmp_path / "files", cache)
    assert {path.name for path in cache.iterdir()} == set(ANSERINI_FILES)
    shared = ("--max-length", 512, "--scale", 51.2, "--special-tokens", "anserini")
    assert cli("encode", "--model", demo_model, "--corpus", corpus, *shared, "--output",
               tmp_path / "encoded").code == 0
    assert cli("index", "--encoded", tmp_path / "encoded", "--index", tmp_path / "index").code == 0
    for length in (511, 512):
        assert cli("search", "--index", tmp_path / "index", "--topics", tmp_path / "topics.tsv",
                   "--max-length", length, "--hits", 5, "--output",
                   tmp_path / f"{length}.txt").code == 0
    command = java_command(
        "io.anserini.search.SearchCollection", "-index", str(tmp_path / "index"), "-topics",
        str(tmp_path / "topics.tsv"), "-topicReader", "TsvInt", "-impact", "-pretokenized",
        "-encoder", "SpladeV3", "-hits", "5", "-output", str(tmp_path / "theirs.txt"))
    command.insert(1, f"-Duser.home={tmp_path / 'home'}")
    ran = subprocess.run(command, capture_output=True, text=True, check=False,
                         env=environment_of_java() | {"HOME": str(tmp_path / "home")})
    assert (tmp_path / "theirs.txt").exists(), ran.stdout[-2000:] + ran.stderr[-2000:]
    # Anserini takes 1e-6 steps off tied scores
    theirs = {query: [(name, round(score)) for name, score in documents.items()]
              for query, documents in read_run_file(tmp_path / "theirs.txt").items()}
    ours, longer = ({query: list(documents.items()) for query, documents
                     in read_run_file(tmp_path / f"{length}.txt").items()} for length in (511, 512))
    assert len(theirs) == len(asked)
    assert ours == theirs
    differing = [query for query in theirs if longer[query] != theirs[query]]
    assert differing
    assert all(int(query) >= len(QUESTIONS) for query in differing)


@pytest.mark.fault(3, "an export with a full disk (RLIMIT_FSIZE)",
                   detected="the system's error, with the file; nothing under a final name")
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_export_on_a_full_disk(precision: str, tiny: Path, tmp_path: Path,
                                  breaking: Break) -> None:
    broken = breaking(tmp_path, "export", "--model", tiny, "--output", tmp_path / "onnx",
                      "--precision", precision, limit=9000)
    assert broken.code == 2, broken
    assert f"{tmp_path / 'onnx/model.onnx'}: File too large" in one_line(broken.out)
    assert not list(tmp_path.glob("*onnx*"))


def test_refused(tiny: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "exists already" in refused("export", "--model", tiny, "--output", tmp_path)
    assert "only BERT's vocabulary" in refused(
        "export", "--model", tiny, "--anserini", "--output", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    onnx = tmp_path / "onnx"
    export_onnx(open_checkpoint(str(tiny)), onnx, top_k=4)
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    encode = ("encode", "--model", onnx, "--corpus", corpus, "--max-length", 64, "--output",
              tmp_path / "encoded")
    assert "omit --device" in refused(*encode, "--dtype", "bfloat16")
    assert "--special-tokens keep: this graph keeps" in refused(*encode, "--special-tokens", "keep")
    assert "use the model it was exported from" in refused(
        "export", "--model", onnx, "--output", tmp_path / "again")
    whole = (onnx / "model.onnx").read_bytes()
    (onnx / "model.onnx").write_bytes(whole[: len(whole) // 2])
    assert "model.onnx: cannot be loaded" in refused(*encode)
    import onnx as library

    plain = library.load_from_string(whole)
    del plain.metadata_props[:]
    library.save(plain, str(onnx / "model.onnx"))
    assert "was not written by spladev3-anserini export" in refused(*encode)
