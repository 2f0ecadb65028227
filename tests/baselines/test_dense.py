"""Vectors against sentence-transformers, Pyserini's ANCE and transformers; search against numpy."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SPECIALS, TEXTS, WORDS, Result, save_tokenizer, write_corpus
from cuts import lost_of

from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.errors import InputError
from spladev3_anserini.rankers.dense_encoder import DenseEncoder
from spladev3_anserini.rankers.dense_index import DenseIndex, DenseSearch, best_hits, dense_index
from spladev3_anserini.rankers.dense_models import DenseModel, DenseRules, find_dense_model

KINDS = "sentence_transformers.models."
FULL = {name: text for name, text in TEXTS.items() if text.strip()}


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT without pooler, as Contriever's checkpoint is, of 64 positions."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert") / "model"
    torch.manual_seed(1)
    model = BertModel(BertConfig(
        vocab_size=len(SPECIALS) + len(WORDS), hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=64),
        add_pooling_layer=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.6)
    model.save_pretrained(folder)
    save_tokenizer(folder, [*SPECIALS, *WORDS])
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    from spladev3_anserini.demo.assets import fetch_assets

    try:
        return fetch_assets("demo-bi-encoder")
    except InputError as error:
        pytest.skip(str(error))


def as_sentence_transformer(source: Path, folder: Path, pooling: str, normalize: bool,
                            length: int, **options: Any) -> Any:
    """The model with sentence-transformers' own modules, saved to a folder too."""
    import sentence_transformers as st

    try:
        from sentence_transformers.sentence_transformer import modules
    except ImportError:  # before version 6
        from sentence_transformers import models as modules  # type: ignore[no-redef]
    body = modules.Transformer(str(source), max_seq_length=length)
    parts = [body, modules.Pooling(body.auto_model.config.hidden_size, pooling_mode=pooling)]
    model = st.SentenceTransformer(modules=[*parts, *([modules.Normalize()] if normalize else [])],
                                   device="cpu", **options)
    model.save(str(folder))
    return model


def encoder(*asked: Any, batch_tokens: int | None = None) -> DenseEncoder:
    return DenseEncoder(find_dense_model(*asked), "cpu", batch_tokens)


def test_texts_that_are_cut_are_counted_on_both_sides(tiny_bert: Path) -> None:
    rules = DenseRules("mean", "cosine", 8, 16, query_prefix="one two ")
    encoder = DenseEncoder(DenseModel("m", tiny_bert, rules), "cpu")
    texts = [*TEXTS.values(), "shock wave xyzzy the catss , " * 9]
    encoder.vectors(texts, "passage")
    encoder.vectors(texts, "query")
    passages, queries = (lost_of(tiny_bert, [prefix + text for text in texts], length)
                         for prefix, length in (("", 16), ("one two ", 8)))
    for lost, cuts in ((passages, encoder.cuts["passage"]), (queries, encoder.cuts["query"])):
        assert (cuts.cut, cuts.lost) == (sum(n > 0 for n in lost), sum(lost))
    assert passages != queries


def test_minilm_is_sentence_transformers(minilm: Path, cranfield: Path, tmp_path: Path) -> None:
    peer = as_sentence_transformer(minilm, tmp_path / "st", "mean", True, 256)
    texts = [document.text for _, document in zip(range(3), read_corpus(str(cranfield)), strict=False)]
    texts += [" ".join(texts), "wing"]  # one far beyond 256 tokens
    expected = peer.encode(texts)
    for name in ("minilm", str(minilm), str(tmp_path / "st")):
        asked = (name, "mean", "cosine", 256, 256) if name == str(minilm) else (name,)
        for side in ("query", "passage"):
            places, vectors = encoder(*asked).vectors(texts, side)
            assert places == list(range(len(texts)))
            np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [True, False])
def test_what_sentence_transformers_files_say_is_done(
        pooling: str, normalize: bool, tiny_bert: Path, tmp_path: Path) -> None:
    peer = as_sentence_transformer(
        tiny_bert, tmp_path / "st", pooling, normalize, 12, similarity_fn_name="dot",
        prompts={"query": "the cat ", "document": "heat of the "})
    bi_encoder, texts = encoder(str(tmp_path / "st")), list(FULL.values())
    assert bi_encoder.rules.similarity == ("cosine" if normalize else "dot")
    np.testing.assert_allclose(bi_encoder.vectors(texts, "query")[1], peer.encode_query(texts), atol=1e-5)
    np.testing.assert_allclose(bi_encoder.vectors(texts, "passage")[1], peer.encode_document(texts),
                               atol=1e-5)


@pytest.mark.parametrize(("stated", "tokens", "positions", "length"), [
    (1024, 512, 2048, 1024), (None, 4096, 2048, 2048), (None, 256, 2048, 256),
    (None, int(1e30), 768, 768)])
def test_a_models_own_length(stated: int | None, tokens: int, positions: int, length: int,
                             tiny_bert: Path, tmp_path: Path) -> None:
    """sentence-transformers': what its file says, else the smaller of tokenizer and positions."""
    folder = tmp_path / "st"
    as_sentence_transformer(tiny_bert, folder, "mean", True, 12)
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": stated} if stated else {}))
    for file, change in (("config.json", {"max_position_embeddings": positions}),
                         ("tokenizer_config.json", {"model_max_length": tokens})):
        old = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(old | change))
    rules = find_dense_model(str(folder)).rules
    assert (rules.query_length, rules.passage_length) == (length, length)


def test_contriever_is_transformers_alone(tiny_bert: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = tmp_path / "contriever-msmarco"  # the name that convert suggests says which it is
    folder.symlink_to(tiny_bert)
    assert find_dense_model(str(folder)).rules == DenseRules("mean", "dot", 512, 512)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    texts = list(FULL.values())
    expected = []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=12, return_tensors="pt")
        with torch.inference_mode():
            expected.append(model(**inputs).last_hidden_state[0].mean(0).numpy())
    bi_encoder = encoder(str(tiny_bert), "mean", "dot", 12, 12)
    np.testing.assert_allclose(bi_encoder.vectors(texts, "passage")[1], expected, atol=1e-5)


def make_ance(folder: Path) -> Any:
    """A random checkpoint as Pyserini's AnceEncoder saves it; returns that encoder."""
    import torch
    from pyserini.encode import AnceEncoder
    from tokenizers import pre_tokenizers
    from transformers import RobertaConfig

    words = ["<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet()),
             "<mask>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    torch.manual_seed(3)
    model = AnceEncoder(RobertaConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4)
    model.save_pretrained(folder)
    return model.eval()


@pytest.fixture
def pyserini_encode() -> None:
    from spladev3_anserini.lucene.jvm import start_jvm

    os.environ.setdefault("OPENAI_API_KEY", "unused")
    start_jvm()


def test_ance_is_pyserinis_own(pyserini_encode: None, tmp_path: Path) -> None:
    from pyserini.encode import AnceDocumentEncoder, AnceQueryEncoder
    from transformers import RobertaTokenizer

    folder = tmp_path / "ance-msmarco-passage"
    model = make_ance(folder)
    peers = []
    for kind in (AnceQueryEncoder, AnceDocumentEncoder):
        # their __init__ needs a transformers older than 5; encode, held here, does not
        peer = object.__new__(kind)
        peer.model, peer.device, peer.has_model = model, "cpu", True
        peer.tokenizer = RobertaTokenizer.from_pretrained(folder)
        peers.append(peer)
    texts = [*FULL.values(), "wing " * 50]  # 250 tokens: over a query's 64, below a passage's 512
    bi_encoder = encoder(str(folder))
    assert bi_encoder.dimension == 768
    assert bi_encoder.rules[:5] == ("cls", "dot", 64, 512, True)
    queries = np.stack([peers[0].encode(text) for text in texts])
    np.testing.assert_allclose(bi_encoder.vectors(texts, "query")[1], queries, atol=1e-5)
    passages = peers[1].encode(texts, max_length=512)
    np.testing.assert_allclose(bi_encoder.vectors(texts, "passage")[1], passages, atol=1e-5)
    assert np.abs(queries[-1] - passages[-1]).max() > 0.01


def test_a_text_has_one_vector_alone_and_in_any_batch(tiny_bert: Path) -> None:
    texts = list(FULL.values())
    asked = (str(tiny_bert), "mean", "cosine", 64, 64)
    whole = encoder(*asked, batch_tokens=10_000).vectors(texts, "passage")[1]
    single = encoder(*asked, batch_tokens=1)
    np.testing.assert_allclose(single.vectors(texts, "passage")[1], whole, atol=1e-5)
    np.testing.assert_allclose(single.vectors(texts[::-1], "passage")[1][::-1], whole, atol=1e-5)
    np.testing.assert_allclose((whole ** 2).sum(1), 1, atol=1e-6)


def by_numpy(ids: list[str], vectors: np.ndarray, query: np.ndarray,
             hits: int) -> list[tuple[str, float]]:
    """All products, sorted: score descending, then id ascending."""
    scored = [(name, float(score)) for name, score in zip(ids, vectors @ query, strict=True)]
    return sorted(scored, key=lambda hit: (-hit[1], hit[0]))[:hits]


@pytest.mark.parametrize("hits", [1, 7, 40, 300, 1000])
def test_exact_search_is_numpys_also_where_ties_are_cut(hits: int) -> None:
    """Small whole numbers: float32 products are exact, and most scores are tied."""
    import faiss

    random = np.random.default_rng(5)
    vectors = random.integers(-2, 3, (300, 6)).astype(np.float32)
    queries = random.integers(-2, 3, (30, 6)).astype(np.float32)
    ids = [f"d{number}" for number in random.permutation(300)]
    index = faiss.IndexFlatIP(6)
    index.add(vectors)
    retrieved = best_hits(DenseIndex(index, ids, []), queries, hits)
    assert retrieved == [by_numpy(ids, vectors, query, hits) for query in queries]


def many_texts() -> dict[str, str]:
    random = np.random.default_rng(9)
    words = [word for word in WORDS if word.isalpha()]
    return {f"t{number}": " ".join(random.choice(words, random.integers(3, 12)))
            for number in range(1500)}


def test_a_run_is_numpys_argsort(tiny_bert: Path, tmp_path: Path,
                                 cli: Callable[..., Result]) -> None:
    texts = many_texts() | {"empty": "", "blank": " \t "}
    corpus = write_corpus(tmp_path / "corpus.jsonl", texts)
    topics = {"q1": "cat on mat", "q2": "boundary layer", "none": "  "}
    (tmp_path / "topics.tsv").write_text("".join(f"{q}\t{t}\n" for q, t in topics.items()))
    common = ("dense", "--model", tiny_bert, "--pooling", "mean", "--similarity", "cosine",
              "--max-length", 64, "--query-max-length", 64, "--corpus", corpus, "--topics",
              tmp_path / "topics.tsv", "--threads", 1, "--hits", 100)
    result = cli(*common, "--output", tmp_path / "run")
    assert result.code == 0, result.err
    assert "3 queries, 2 with hits, 200 lines" in result.out
    assert "2 documents without a wordpiece, which will not be found: empty, blank" in result.out
    assert "1 query without a wordpiece, which will find nothing: none" in result.err

    bi_encoder, full = encoder(str(tiny_bert), "mean", "cosine", 64, 64), many_texts()
    vectors = bi_encoder.vectors(list(full.values()), "passage")[1]
    retrieved = read_run_file(tmp_path / "run")
    for name in ("q1", "q2"):
        query = bi_encoder.vectors([topics[name]], "query")[1][0]
        expected = dict(by_numpy(list(full), vectors, query, 101))
        assert retrieved[name] == pytest.approx({n: expected[n] for n in retrieved[name]}, abs=2e-6)
        assert min(retrieved[name].values()) >= min(expected.values()) - 2e-6
        scores = list(retrieved[name].values())
        assert scores == sorted(scores, reverse=True)

    # the graph finds nearly all of it, and the same each time
    runs = []
    for number in range(2):
        cli(*common, "--output", tmp_path / f"hnsw{number}", "--search", "hnsw")
        runs.append((tmp_path / f"hnsw{number}").read_text())
    assert runs[0] == runs[1]
    graph = read_run_file(tmp_path / "hnsw0")
    for name in ("q1", "q2"):
        assert len(graph[name].keys() & retrieved[name].keys()) > 95


@pytest.mark.long
def test_hnsw_on_the_demo_set(minilm: Path, tmp_path: Path) -> None:
    from spladev3_anserini.collection.topics import read_topics
    from spladev3_anserini.demo import pydocs

    corpus = write_corpus(tmp_path / "corpus.jsonl", dict(pydocs.documents()))
    topics = read_topics(str(Path(pydocs.__file__).with_name("topics.tsv")))
    bi_encoder = encoder("minilm")
    queries = bi_encoder.vectors([topic.text for topic in topics], "query")[1]
    retrieved = {kind: best_hits(dense_index(bi_encoder, str(corpus), DenseSearch(kind=kind), 2), queries, 100)
             for kind in ("exact", "hnsw")}
    same = sum(len(dict(a).keys() & dict(b))
               for a, b in zip(retrieved["exact"], retrieved["hnsw"], strict=True))
    assert same > 0.95 * sum(map(len, retrieved["exact"]))


def test_refused(tiny_bert: Path, tmp_path: Path, refused: Callable[..., str],
                 monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", {"d1": "cat", "empty": ""})
    (tmp_path / "topics.tsv").write_text("q1\tcat\n")
    (tmp_path / "pickle").mkdir()
    (tmp_path / "pickle" / "pytorch_model.bin").write_bytes(b"x")

    def call(*options: object) -> str:
        message = refused("dense", "--corpus", corpus, "--topics", tmp_path / "topics.tsv",
                          "--output", tmp_path / "run", *options)
        assert not (tmp_path / "run").exists()
        return message

    rules = ("--pooling", "mean", "--similarity", "dot")
    lengths = ("--max-length", 20, "--query-max-length", 20)
    assert "give --pooling and --similarity" in call("--model", tiny_bert)
    assert "give --pooling and --similarity" in call("--model", tiny_bert, *rules[:2])
    assert "takes 3 to 64 tokens" in call("--model", tiny_bert, *rules)
    assert "convert it once" in call("--model", tmp_path / "pickle", *rules)
    assert "no such folder" in call("--model", "nowhere", *rules)
    assert "--device mars" in call("--model", tiny_bert, *rules, *lengths, "--device", "mars")
    assert "--ef-search" in call("--model", tiny_bert, *rules, "--ef-search", 10**11)
    only = write_corpus(tmp_path / "only.jsonl", {"d1": " "})
    assert "no document has a wordpiece" in call("--model", tiny_bert, *rules, *lengths, "--corpus",
                                                 only)
    headless = tmp_path / "ance-msmarco-passage"
    headless.symlink_to(tiny_bert)
    assert "no embeddingHead.weight" in call("--model", headless, *lengths)
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert "pip install 'spladev3-anserini[dense]'" in call("--model", tiny_bert, *rules, *lengths)


@pytest.mark.parametrize(("file", "content", "message"), [
    ("modules.json", [{"path": "", "type": f"{KINDS}Transformer"}, {"path": "1",
                                                                    "type": f"{KINDS}Pooling"},
                      {"path": "2", "type": f"{KINDS}Dense"}], "Transformer, Pooling, Dense"),
    ("1/config.json", {"pooling_mode_max_tokens": True}, "pools by max_tokens"),
    ("1/config.json", {"pooling_mode": "mean", "include_prompt": False}, "include_prompt"),
    ("config_sentence_transformers.json", {"similarity_fn_name": "euclidean"},
     "compares vectors by euclidean"),
    ("config_sentence_transformers.json", {}, "give `similarity`")])
def test_a_layout_that_is_not_done_here_is_refused(file: str, content: object, message: str,
                                                   tiny_bert: Path, tmp_path: Path) -> None:
    files: dict[str, object] = {
        "modules.json": [{"path": "", "type": f"{KINDS}Transformer"}, {"path": "1",
                                                                       "type": f"{KINDS}Pooling"}],
        "1/config.json": {"pooling_mode_mean_tokens": True},
        "config_sentence_transformers.json": {"similarity_fn_name": "dot"}}
    folder = tmp_path / "model"
    (folder / "1").mkdir(parents=True)
    for path in tiny_bert.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for name, record in (files | {file: content}).items():
        (folder / name).write_text(json.dumps(record))
    with pytest.raises(InputError, match=message):
        find_dense_model(str(folder))
