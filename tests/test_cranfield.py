"""A real collection, the real small model, all query modes: encode, index, search, evaluate."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from conftest import Result
from forked import program
from layouts import add_modules
from scipy import stats
from signed import signed

from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.collection.survey import survey_corpus
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.shards import read_encoded, read_manifest
from spladev3_anserini.lucene.check import statistics
from spladev3_anserini.recipe.library import Library, default_folder

COLLECTION = Library(default_folder()).collection("cranfield")
EXPECTED = COLLECTION.expected[0]
RECIPES = {"splade-v3": "demo", "splade-v3-lexical": "demo-lexical", "splade-v3-doc": "demo-doc"}
LENGTH = 256
Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def compared(cranfield: Path, demo_model: Path, tmp_path_factory: pytest.TempPathFactory
             ) -> tuple[Path, Result]:
    """BM25 and the demo's recipe, from nothing to their comparison, in one command."""
    folder = tmp_path_factory.mktemp("cranfield")
    done = subprocess.run(
        [*program(), "compare", "--recipe", "bm25", "--recipe", "demo", "--on", "cranfield",
         "--output", str(folder), "--measures", " ".join(EXPECTED.values["demo"]["test"]),
         "--moved", "3", "--format", "json"], capture_output=True, text=True, check=False)
    return folder, Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("variant", ["splade-v3-lexical", "splade-v3-doc"])
def test_query_modes_by_hand(variant: str, compared: tuple[Path, Result], cranfield: Path,
                             tmp_path: Path, cli: Cli) -> None:
    """A variant's documents differ in its name alone, so they are encoded once."""
    encoded, index, run = tmp_path / "encoded", tmp_path / "index", tmp_path / "run"
    shutil.copytree(compared[0] / "demo/cranfield/encoded", encoded)
    manifest = json.loads((encoded / "manifest.json").read_text())
    manifest["fingerprint"]["variant"] = variant
    (encoded / "manifest.json").write_text(json.dumps(signed(manifest)))
    for words in (
            ("index", "--encoded", encoded, "--index", index),
            ("search", "--index", index, "--topics", cranfield, "--output", run, "--max-length",
             LENGTH)):
        result = cli(*words)
        assert result.code == 0, result
    assert_as_declared(variant, encoded, index, run, cranfield, tmp_path, cli)


def test_the_whole_chain_in_one_command(compared: tuple[Path, Result], cranfield: Path,
                                        tmp_path: Path, cli: Cli) -> None:
    """compare runs BM25 and the demo's recipe, which is the third query mode; what it says of
    the demo are the values declared, which were measured by another route as well."""
    measures = EXPECTED.values["demo"]["test"]
    folder, result = compared
    assert result.code == 0, result
    assert "demo on cranfield" in result.err
    made = json.loads(result.out)
    means = {own["measure"]: own["systems"] for own in made["means"]}
    assert {name: own["demo"] for name, own in means.items()} == pytest.approx(
        measures, abs=EXPECTED.tolerance.measures)
    assert {own["queries"] for own in made["means"]} == {
        COLLECTION.query_sets["test"].queries} == {225}

    bm25 = folder / "bm25" / "cranfield" / "run.test.txt"
    demo = folder / "demo" / "cranfield"
    assert {name: own["bm25"] for name, own in means.items()} == pytest.approx(
        evaluated(bm25, cranfield, measures, cli))
    differences = {name: trec_eval(demo / "run.test.txt", cranfield, name)
                   - trec_eval(bm25, cranfield, name) for name in ("nDCG@10", "R@100")}
    for own in made["comparisons"]:
        assert (own["baseline"], own["system"]) == ("bm25", "demo")
        assert own["wins"] + own["ties"] + own["losses"] == 225
        if own["measure"] in differences:
            d = differences[own["measure"]]
            assert own["mean"] == pytest.approx(d.mean(), abs=1e-9)
            assert own["t_test"] == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=1e-9)
            assert (own["wins"], own["losses"]) == ((d > 0).sum(), (d < 0).sum())
    assert_as_declared("splade-v3", demo / "encoded", demo / "index", demo / "run.test.txt",
                       cranfield, tmp_path, cli)


def trec_eval(run: Path, cranfield: Path, measure: str) -> np.ndarray:
    """A measure of each judged query, in the judgments' order; 0 for one without results."""
    import pytrec_eval

    name = {"nDCG@10": "ndcg_cut_10", "R@100": "recall_100"}[measure]
    qrels = read_qrels(str(cranfield))
    found = pytrec_eval.RelevanceEvaluator(qrels, {name}).evaluate(read_run_file(run))
    return np.array([found[query][name] if query in found else 0.0 for query in qrels])


def evaluated(run: Path, cranfield: Path, measures: Iterable[str], cli: Cli) -> dict[str, float]:
    result = cli("evaluate", "--qrels", cranfield, "--run", run, "--measures", " ".join(measures),
                 "--format", "json")
    found: dict[str, float] = json.loads(result.out)[str(run)]["measures"]
    return found


def assert_as_declared(variant: str, encoded: Path, index: Path, run: Path, cranfield: Path,
                       scratch: Path, cli: Cli) -> None:
    """Measures and sizes are those declared, and the run is the oracle's."""
    measures = EXPECTED.values[RECIPES[variant]]["test"]
    index_holds = EXPECTED.index[RECIPES[variant]]
    assert EXPECTED.settings.max_length == EXPECTED.settings.query_max_length == LENGTH
    tolerance = EXPECTED.tolerance
    assert evaluated(run, cranfield, measures, cli) == pytest.approx(
        measures, abs=tolerance.measures)

    manifest, found = read_manifest(encoded), statistics(index)
    assert survey_corpus(manifest.input).sha256 == COLLECTION.corpus_sha256
    assert manifest.empty_ids == ["471", "995"]
    assert found.documents == index_holds.documents
    assert found.postings == pytest.approx(index_holds.postings,
                                           abs=tolerance.postings)
    assert found.impacts == pytest.approx(index_holds.total_terms,
                                          abs=tolerance.total_terms)

    cli("encode", "--model", "demo", "--variant", variant, "--topics", cranfield,
        "--output", scratch / "queries", "--max-length", LENGTH)
    oracle = ExactSearcher((d.id, d.vector) for d in read_encoded(encoded, manifest))
    queries = read_encoded(scratch / "queries", read_manifest(scratch / "queries"))
    assert read_run_file(run) == {query.id: dict(oracle.search(query.vector, 1000))
                                  for query in queries}


@pytest.mark.long
def test_the_expected_values_by_another_route(cranfield: Path, demo_model: Path,
                                              tmp_path: Path) -> None:
    """sentence-transformers' weights, numpy's rounding, scipy's product, pytrec_eval."""
    import pytrec_eval
    from scipy import sparse
    from sentence_transformers import SparseEncoder

    folder = tmp_path / "model"
    folder.mkdir()
    for path in demo_model.iterdir():
        (folder / path.name).symlink_to(path)
    peer = SparseEncoder(str(add_modules(folder)), device="cpu")
    peer.max_seq_length = LENGTH
    specials = peer.tokenizer.all_special_ids

    def impacts(texts: list[str]) -> np.ndarray:
        rows = [peer.encode(texts[n : n + 100], convert_to_sparse_tensor=False).numpy()
                for n in range(0, len(texts), 100)]
        weights = np.rint(np.concatenate(rows) * np.float32(100)).astype(np.int64)
        weights[:, specials] = 0
        return weights

    documents = [d for d in read_corpus(str(cranfield)) if d.text]
    topics, qrels = read_topics(str(cranfield)), read_qrels(str(cranfield))
    matrix = sparse.csr_matrix(impacts([d.text for d in documents]))
    expanded = impacts([t.text for t in topics])
    own = np.zeros_like(expanded)
    for row, topic in enumerate(topics):
        own[row, peer.tokenizer(topic.text)["input_ids"]] = 1
    own[:, specials] = 0
    for variant, queries in (("splade-v3", expanded), ("splade-v3-lexical", expanded * own),
                             ("splade-v3-doc", own)):
        scores, run = (matrix @ queries.T).T, {}
        for row, topic in enumerate(topics):
            ranked = sorted((-int(s), d.id) for s, d in zip(scores[row], documents, strict=True)
                            if s > 0)
            run[topic.id] = {docid: float(-score) for score, docid in ranked[:1000]}
        evaluator = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10", "recip_rank",
                                                           "recall_100"})
        whole = evaluator.evaluate(run)
        first = evaluator.evaluate({
            q: dict(sorted(r.items(), key=lambda x: (x[1], x[0]), reverse=True)[:10])
            for q, r in run.items()})
        means = {"nDCG@10": [v["ndcg_cut_10"] for v in whole.values()],
                 "RR@10": [v["recip_rank"] for v in first.values()],
                 "R@100": [v["recall_100"] for v in whole.values()]}
        assert {name: sum(values) / len(qrels) for name, values in means.items()} == pytest.approx(
            EXPECTED.values[RECIPES[variant]]["test"], abs=5.1e-5)
