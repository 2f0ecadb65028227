"""Re-ranked runs against onnxruntime and transformers called directly, one pair at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import SPECIALS, WORDS, Result, save_tokenizer, write_corpus

from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.measures import evaluate, parse_measures

TEXTS = {"d1": "the cat sat on the mat", "d2": "the dog runs", "d3": "boundary layer of a wing",
         "d4": "shock wave theory", "d5": "the dog runs", "d6": "heat and air flow"}


@pytest.fixture(scope="session")
def tiny_ranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("ranker") / "model"
    torch.manual_seed(2)
    model = BertForSequenceClassification(BertConfig(
        vocab_size=len(SPECIALS) + len(WORDS), hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=64, num_labels=1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.6)
    model.save_pretrained(folder)
    save_tokenizer(folder, [*SPECIALS, *WORDS])
    return folder


def scored_alone(folder: Path, query: str, document: str) -> float:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    inputs = AutoTokenizer.from_pretrained(folder)(query, document, return_tensors="pt")
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        return float(model(**inputs).logits[0, 0])


def write_run(path: Path, run: dict[str, list[tuple[str, float]]]) -> Path:
    path.write_text("".join(f"{query} Q0 {name} {rank} {score} x\n" for query, ranked in run.items()
                            for rank, (name, score) in enumerate(ranked, 1)))
    return path


def test_the_first_are_in_the_models_order_and_the_others_below_in_the_runs(
        tiny_ranker: Path, tmp_path: Path, cli: Callable[..., Result]) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    topics = {"q1": "cat on mat", "q2": "shock wave"}
    (tmp_path / "topics.tsv").write_text("".join(f"{q}\t{t}\n" for q, t in topics.items()))
    run = write_run(tmp_path / "run", {
        # d4 is the best though its line is the last; d6 and d3 are tied, in this order
        "q1": [("d2", 7.5), ("d1", 7.0), ("d5", 6.0), ("d6", 2.0), ("d3", 2.0), ("d4", 9.0)],
        "q2": [("d3", 0.000002), ("d1", 0.000001)]})
    result = cli("rerank", "--run", run, "--corpus", corpus, "--topics", tmp_path / "topics.tsv",
                 "--cross-encoder", tiny_ranker, "--output", tmp_path / "out", "--top", 4,
                 "--max-length", 64, "--device", "cpu")
    assert "sequence classification, 6 pairs; 2 queries, 8 lines" in result.out, result
    found = read_run_file(tmp_path / "out")
    assert list(found) == ["q1", "q2"]

    scores = {name: scored_alone(tiny_ranker, topics["q1"], TEXTS[name])
              for name in ("d4", "d2", "d1", "d5")}
    ordered = sorted(scores, key=lambda name: -scores[name])  # d2 and d5 are the same text
    assert list(found["q1"])[:4] == ordered
    lowest = min(scores.values())
    expected = {name: scores[name] for name in ordered} | {"d6": lowest - 1, "d3": lowest - 2}
    assert list(found["q1"]) == list(expected)
    assert found["q1"] == pytest.approx(expected, abs=1e-5)
    assert ordered.index("d5") == ordered.index("d2") + 1  # the run's order
    assert found["q2"] == pytest.approx({name: scored_alone(tiny_ranker, topics["q2"], TEXTS[name])
                                         for name in ("d3", "d1")}, abs=1e-5)


@pytest.fixture(scope="session")
def cross_encoder() -> Path:
    from spladev3_anserini.demo.assets import fetch_assets

    try:
        return fetch_assets("demo-cross-encoder")
    except InputError as error:
        pytest.skip(str(error))


def test_on_cranfield_it_is_onnxruntime_alone(cranfield: Path, cross_encoder: Path, tmp_path: Path,
                                              cli: Callable[..., Result]) -> None:
    import onnxruntime
    from tokenizers import Tokenizer

    texts = {own.id: own.text for own in read_corpus(str(cranfield))}
    topics = read_topics(str(cranfield))[:3]
    run = write_run(tmp_path / "run", {
        topic.id: [(str(184 + number), 9.0 - number) for number in range(6)] for topic in topics})
    cli("rerank", "--run", run, "--corpus", cranfield, "--topics", cranfield, "--cross-encoder",
        "demo-cross-encoder", "--output", tmp_path / "out", "--top", 5, "--max-length", 128)
    found = read_run_file(tmp_path / "out")

    tokenizer = Tokenizer.from_file(str(cross_encoder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128, strategy="only_second")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(cross_encoder / "model.onnx", options)
    for topic in topics:
        scores = {}
        for number in range(5):
            pair = tokenizer.encode(topic.text, texts[str(184 + number)])
            fed = {"input_ids": pair.ids, "attention_mask": pair.attention_mask,
                   "token_type_ids": pair.type_ids}
            wanted = {own.name for own in session.get_inputs()}
            output = session.run(None, {name: np.array([ids], dtype=np.int64)
                                        for name, ids in fed.items() if name in wanted})
            scores[str(184 + number)] = float(output[0].reshape(-1)[0])
        ordered = sorted(scores, key=lambda name: -scores[name])
        assert list(found[topic.id]) == [*ordered, "189"]
        assert found[topic.id] == pytest.approx(
            scores | {"189": min(scores.values()) - 1}, abs=1e-4)


def test_refused(tiny_ranker: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    (tmp_path / "topics.tsv").write_text("q1\tcat on mat\nlong\t" + "cat " * 70 + "\n")

    def call(run: dict[str, list[tuple[str, float]]], *options: object) -> str:
        message = refused("rerank", "--run", write_run(tmp_path / "run", run), "--corpus", corpus,
                          "--topics", tmp_path / "topics.tsv", "--cross-encoder", tiny_ranker,
                          "--output", tmp_path / "out", "--max-length", 64, *options)
        assert not (tmp_path / "out").exists()
        return message

    assert "no query 'q9'" in call({"q9": [("d1", 1.0)]})
    assert "no document 'd99', which the run has for query 'q1'" in call(
        {"q1": [("d1", 2.0), ("d99", 1.0)]})
    assert "no line in it" in call({})
    assert "query 'long': the query leaves no room" in call({"long": [("d1", 1.0)]})
    assert "--cross-encoder nowhere" in call({"q1": [("d1", 1.0)]}, "--cross-encoder", "nowhere")
    assert "is there twice" in call({"q1": [("d1", 1.0)]}, "--corpus", doubled(tmp_path))


def test_a_run_is_not_written_over_itself(tiny_ranker: Path, tmp_path: Path,
                                          refused: Callable[..., str]) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    (tmp_path / "topics.tsv").write_text("q1\tcat on mat\n")
    run = write_run(tmp_path / "run", {"q1": [("d1", 1.0)]})
    before = run.read_bytes()
    (tmp_path / "link").symlink_to(run)
    for output in (run, tmp_path / "link"):
        assert "is an input as well (run: " in refused(
            "rerank", "--run", run, "--corpus", corpus, "--topics", tmp_path / "topics.tsv",
            "--cross-encoder", tiny_ranker, "--output", output, "--max-length", 64)
    assert run.read_bytes() == before


def doubled(folder: Path) -> Path:
    path = folder / "doubled.jsonl"
    path.write_text('{"id": "d1", "contents": "cat"}\n' * 2)
    return path


@pytest.mark.long
def test_cranfield_gains_what_was_measured_elsewhere(cranfield: Path, cross_encoder: Path,
                                                     tmp_path: Path,
                                                     cli: Callable[..., Result]) -> None:
    """BM25's top 50 for the first 52 queries: nDCG@10 .327 -> .377 (shared weights-and-data.md; by
    another BM25, to 3 digits)."""
    cli("bm25", "--corpus", cranfield, "--topics", cranfield, "--output", tmp_path / "all",
        "--hits", 100)
    first = {topic.id for topic in read_topics(str(cranfield))[:52]}
    run = tmp_path / "run"
    run.write_text("".join(line for line in (tmp_path / "all").read_text().splitlines(True)
                           if line.split()[0] in first))
    cli("rerank", "--run", run, "--corpus", cranfield, "--topics", cranfield, "--cross-encoder",
        "demo-cross-encoder", "--output", tmp_path / "out")
    qrels = {query: own for query, own in read_qrels(str(cranfield)).items() if query in first}
    before, after = (evaluate(qrels, read_run_file(path),
                              parse_measures("nDCG@10")).means["nDCG@10"]
                     for path in (run, tmp_path / "out"))
    assert before == pytest.approx(0.327, abs=0.005)
    assert after == pytest.approx(0.377, abs=0.005)
