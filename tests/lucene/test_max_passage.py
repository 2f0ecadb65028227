"""Documents of passages: against brute force over the scores of all passages, and PyTerrier's."""

from __future__ import annotations

import json
import random
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import WORDS, Result, write_corpus, write_lines
from indexes import Corpus, index_of
from reliability import draws

import spladev3_anserini as splade
from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.collection.corpus_file import Document
from spladev3_anserini.collection.passages import (
    PASSAGE_SCORES,
    PassageScoring,
    PassageSplit,
    documents_of_run,
)
from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.encoding.corpus_texts import texts_of_encoding
from spladev3_anserini.encoding.passages import PassageSplitter
from spladev3_anserini.engine import arrays, build, postings, searcher
from spladev3_anserini.engine.arrays import open_arrays
from spladev3_anserini.engine.build import ArrayBuilder
from spladev3_anserini.engine.searcher import EngineSearcher
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.shards import ImpactDocument, read_manifest
from spladev3_anserini.lucene.opening import open_searcher
from spladev3_anserini.lucene.passage_searcher import PassageSearcher
from spladev3_anserini.model.tokenizer import Tokenizer

Cli = Callable[..., Result]
Refused = Callable[..., str]

def engine_of(passages: Corpus, folder: Path) -> EngineSearcher:
    """The exact engine on passages given as impacts."""
    (folder / "arrays").mkdir()
    with ArrayBuilder(folder / "arrays") as builder:
        deque(builder.passing(ImpactDocument(name, "", vector) for name, vector in passages), maxlen=0)
        builder.write(folder / "arrays", folder / "arrays")
    return EngineSearcher(open_arrays(folder / "arrays"))


def random_query(draw: random.Random, top: int) -> dict[str, int]:
    """Known and unknown terms, some of weight 0, and now and then a term of many passages."""
    query = {f"t{term}": draw.randint(0, top) for term in draw.sample(range(33), draw.randint(0, 12))}
    return query | ({"all": draw.randint(1, top)} if draw.random() < 0.3 else {})


def queries_in(folder: Path, queries: Mapping[str, Mapping[str, int]]) -> Path:
    return write_lines(folder / "queries.jsonl", [
        {"id": name, "contents": "", "vector": {term: impact for term, impact in query.items() if impact}} for name, query in queries.items()])


SPLIT = PassageSplit(length=64, stride=32)


def passage_corpus(draw: random.Random, documents: int, delimiter: str = "#") -> Corpus:
    """Passages with few different scores, so that nearly all tie; ids that sort unlike their documents."""
    passages: Corpus = []
    for number in range(documents):
        document = f"{draw.choice(['d', 'D#', 'd!', 'é', '😀#'])}{number % 50}{'!' * (number // 50)}"
        for place in range(draw.choice([1, 1, 2, 5, 40])):
            vector = {f"t{term}": draw.randint(1, 2) for term in draw.sample(range(30), draw.randint(0, 5))}
            passages.append((f"{document}{delimiter}{place}", vector | draw.choice([{}, {"all": 1}])))
    return passages


def brute_force(passages: Corpus, query: Mapping[str, int], how: str, delimiter: str = "#") -> Ranking:
    """All documents that a query finds, from the integer dot product of each passage."""
    found: dict[str, dict[str, int | None]] = defaultdict(dict)
    for name, vector in passages:
        document, _, number = name.rpartition(delimiter)
        shared = [weight * vector[term] for term, weight in query.items() if weight and term in vector]
        found[document][number] = sum(shared) if shared else None
    scores: dict[str, Fraction] = {}
    for document, of_passages in found.items():
        matching = [score for score in of_passages.values() if score is not None]
        if matching and how == "first":
            matching = [score for score in [of_passages["0"]] if score is not None]
        if matching:
            scores[document] = Fraction(max(matching) if how in ("max", "first") else sum(matching))
            if how == "mean":
                scores[document] /= len(of_passages)
    return [(document, float(score) if how == "mean" else int(score))
            for document, score in sorted(scores.items(), key=lambda hit: (-hit[1], hit[0]))]


@pytest.mark.fault(13, "random collections of passages, nearly all with equal scores, whose documents are"
                   " ordered unlike them", then="the documents of brute force over all passages",
                   detected="exact scores of all passages")
@pytest.mark.parametrize("seed", range(draws(10, 0.1)))
def test_documents_are_those_of_all_passages(seed: int, monkeypatch: pytest.MonkeyPatch,
                                             tmp_path: Path) -> None:
    draw = random.Random(seed)
    block = draw.choice([16, 100, 1000])
    for module in (arrays, build, postings, searcher):  # many blocks
        monkeypatch.setattr(module, "BLOCK", block)
    passages = passage_corpus(draw, draw.choice([1, 30, 300]))
    nonempty = [passage for passage in passages if passage[1]]
    engine = engine_of([*nonempty, ("only#0", {"only": 1})], tmp_path)
    passages.append(("only#0", {"only": 1}))
    empty = [name for name, vector in passages if not vector]
    queries = [random_query(draw, draw.choice([1, 2])) for _ in range(40)]
    for how in PASSAGE_SCORES:
        found = PassageSearcher(engine, PassageScoring(how), "here", empty)
        for hits in (1, 3, 10, 1000):
            expected = [brute_force(passages, query, how)[:hits] for query in queries]
            assert found.search_all(queries, hits, draw.choice([1, 3])) == expected
            assert found.search(queries[0], hits) == expected[0]
        assert found.search(queries[0], 0) == []
    assert sorted(found.ids()) == sorted({name.rpartition("#")[0] for name, _ in nonempty} | {"only"})


@pytest.mark.parametrize("how", ["max", "first"])
def test_ties_beyond_what_is_fetched_first(how: str, tmp_path: Path) -> None:
    """What is fetched first are passages of `a!`, which come before that of `a`; documents do not."""
    passages = [("z#0", {"t": 3}), ("a#0", {"t": 2})]
    passages += [(f"a!#{n}", {"t": 2}) for n in range(20)] + [(f"b{n}#0", {"t": 2}) for n in range(30)]
    found = PassageSearcher(engine_of(passages, tmp_path), PassageScoring(how), "here")
    assert found.search({"t": 1}, 2) == [("z", 3), ("a", 2)]
    assert found.search({"t": 1}, 3) == [("z", 3), ("a", 2), ("a!", 2)]
    assert found.search({"t": 1}, 1) == [("z", 3)]


@pytest.mark.parametrize("how", ["max", "first"])
def test_pyterrier_finds_the_same_documents(how: str, tmp_path: Path) -> None:
    text, frames = pytest.importorskip("pyterrier.text"), pytest.importorskip("pandas")
    draw = random.Random(7)
    passages = [passage for passage in passage_corpus(draw, 200, "%p") if passage[1]]
    query = {"all": 2, "t1": 1, "t2": 3, "t3": 1}
    ranking = ExactSearcher(passages).search(query, len(passages))
    if how == "first":  # theirs is the first passage that matches
        first = {name.removesuffix("%p0") for name, _ in ranking if name.endswith("%p0")}
        ranking = [hit for hit in ranking if hit[0].rpartition("%p")[0] in first]
    theirs = {"max": text.MaxPassage, "first": text.FirstPassage}[how]()(frames.DataFrame(
        [{"qid": "1", "query": "x", "docno": name, "score": score} for name, score in ranking]))
    found = PassageSearcher(engine_of(passages, tmp_path), PassageScoring(how, "%p"), "here")
    assert dict(found.search(query, 10_000)) == dict(zip(theirs.docno, theirs.score, strict=True))


@pytest.fixture(scope="module")
def passages() -> Corpus:
    return passage_corpus(random.Random(1), 120)


@pytest.fixture(scope="module")
def index(passages: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return index_of(passages, tmp_path_factory.mktemp("passages"), passages=SPLIT)


@pytest.fixture(scope="module")
def foreign(passages: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Passages that `encode --passages` did not make."""
    return index_of(passages, tmp_path_factory.mktemp("foreign"))


def run_text(passages: Corpus, queries: Mapping[str, Mapping[str, int]], how: str, hits: int) -> str:
    def shown(score: float) -> str:
        return repr(float(score)) if how == "mean" else str(score)

    return "".join(f"{name} Q0 {document} {rank} {shown(score)} t\n" for name, query in queries.items()
                   for rank, (document, score) in enumerate(brute_force(passages, query, how)[:hits], 1))


def some_queries(seed: int) -> dict[str, dict[str, int]]:
    draw = random.Random(seed)
    return {"none": {}, "all": {"all": 1}, **{f"q{n}": random_query(draw, 2) for n in range(20)}}


@pytest.mark.parametrize("how", PASSAGE_SCORES)
def test_search_writes_documents(how: str, index: Path, passages: Corpus, tmp_path: Path, cli: Cli) -> None:
    queries = some_queries(3)
    options = ["--max-passage"] if how == "max" else ["--passages", how]
    for engine in ([], ["--lucene"]):
        done = cli("search", "--index", index, "--queries", queries_in(tmp_path, queries), "--hits", 7,
                   "--tag", "t", "--output", tmp_path / "run.txt", *options, *engine)
        assert done.code == 0, done
        assert f"{how} of passages" in done.out
        assert (tmp_path / "run.txt").read_text() == run_text(passages, queries, how, 7)


def test_both_engines_have_the_same_ids(index: Path, passages: Corpus) -> None:
    expected = sorted(name for name, vector in passages if vector)
    for lucene in (False, True):
        opened, _ = open_searcher(index, lucene=lucene)
        assert sorted(opened.ids()) == expected
        opened.close()


def test_python_finds_documents(index: Path, passages: Corpus) -> None:
    queries = some_queries(5)
    with splade.open_index(index) as opened:
        for how in PASSAGE_SCORES:
            run = opened.run(queries, hits=9, passages=how)
            for name, query in queries.items():
                expected = brute_force(passages, query, how)[:9]
                assert list(run[name].items()) == expected
                assert opened.search(query, 9, passages=how) == expected
        lazily = {name: dict(hits) for name, hits in opened.rankings(queries, 9, passages="sum")}
        assert lazily == dict(opened.run(queries, 9, passages="sum"))
        every = opened.run(queries, hits=100_000)
        for how in ("max", "first"):
            assert dict(every.documents(how)) == dict(opened.run(queries, hits=100_000, passages=how))
        with pytest.raises(InputError, match="`passages` .best"):
            opened.search({"all": 1}, passages="best")
        with pytest.raises(InputError, match="`passages` \\['max'\\]: expected one of max, first"):
            opened.search({"all": 1}, passages=["max"])  # type: ignore[call-overload]


def test_foreign_passages_need_their_delimiter(foreign: Path, passages: Corpus, tmp_path: Path, cli: Cli,
                                               refused: Refused) -> None:
    queries = some_queries(4)
    search = ["search", "--index", foreign, "--queries", queries_in(tmp_path, queries), "--hits", 5,
              "--tag", "t", "--output", tmp_path / "run.txt", "--max-passage"]
    assert "was encoded without --passages, so it has no passages" in refused(*search)
    done = cli(*search, "--passage-delimiter", ":")
    assert (done.code, "names no passage of a document (it has no ':')" in done.err) == (2, True)
    assert "--passage-delimiter: give --max-passage" in refused(*search[:-1], "--passage-delimiter", ":")
    assert not (tmp_path / "run.txt").exists()
    assert cli(*search, "--passage-delimiter", "#").code == 0
    assert (tmp_path / "run.txt").read_text() == run_text(passages, queries, "max", 5)


def test_python_takes_a_delimiter_for_foreign_passages(foreign: Path, passages: Corpus) -> None:
    with splade.open_index(foreign) as opened, pytest.raises(InputError, match="encoded without `passages`"):
        opened.search({"all": 1}, passages="max")
    with splade.open_index(foreign, passage_delimiter="#") as opened:
        assert opened.search({"all": 1}, 5, passages="sum") == brute_force(passages, {"all": 1}, "sum")[:5]


@pytest.mark.parametrize("contents", [[], ["--contents"]])
def test_texts_beside_passages_are_passages(contents: list[str], tiny: Path, tmp_path: Path, cli: Cli) -> None:
    draw = random.Random(5)
    corpus = write_corpus(tmp_path / "corpus.jsonl", {
        f"d{n}": ". ".join(" ".join(draw.choices(WORDS[:30], k=6)) for _ in range(9)) for n in range(7)})
    assert cli("encode", "--model", tiny, "--corpus", corpus, "--output", tmp_path / "encoded",
               "--passages", 32, "--shard-size", 3, *contents).code == 0
    splitter = PassageSplitter(Tokenizer(tiny), "", PassageSplit(length=32, stride=16))
    expected = {text.id: text.text for text in splitter(list(read_corpus(str(corpus))))[0]}
    assert len(expected) > 14
    assert dict(texts_of_encoding(tmp_path / "encoded")) == expected
    shards = read_manifest(tmp_path / "encoded").shards[1:]
    assert list(texts_of_encoding(tmp_path / "encoded", shards=shards)) == [
        item for item in expected.items() if item[0] >= "d3"]
    assert cli("index", "--encoded", tmp_path / "encoded", "--index", tmp_path / "index",
               "--store-texts").code == 0
    with splade.open_index(tmp_path / "index") as opened:
        assert {name: opened.text(name) for name in expected} == expected
        with pytest.raises(InputError, match="has those of passages"):
            opened.search("wing", texts=True, passages="max")
        with pytest.raises(InputError, match="divided into passages: d6#0"):
            opened.text("d6")
    for arguments in (("doc", "d6"), ("explain", "--docid", "d6", "--query", "wing")):
        assert "divided into passages: d6#0, ..." in cli(*arguments, "--index", tmp_path / "index").err
    lines = corpus.read_text().splitlines()
    corpus.write_text("\n".join([*lines[:4], lines[4].replace("the", "a"), *lines[5:]]))
    with pytest.raises(InputError, match="are not those that"):
        list(texts_of_encoding(tmp_path / "encoded", str(corpus)))


def test_python_indexes_passages(tiny: Path, tmp_path: Path) -> None:
    draw = random.Random(6)
    texts = {f"d{n}": " ".join(draw.choices(WORDS[:30], k=60)) for n in range(4)}
    model = splade.load(tiny, max_length=64)
    with model.index(texts, tmp_path / "index", passages=32, stride=20, store_texts=True) as index:
        splitter = PassageSplitter(Tokenizer(tiny), "", PassageSplit(length=32, stride=20))
        passages = splitter([Document(name, text, "") for name, text in texts.items()])[0]
        assert {name: index.text(name) for name, _, _ in passages} == {
            name: text for name, text, _ in passages}
        assert index.manifest is not None
        assert index.manifest.encoded.fingerprint.passages == PassageSplit(length=32, stride=20)
        assert {hit.docid for hit in index.search("the wing of a cat", passages="max")} == set(texts)
    with pytest.raises(InputError, match="`stride`: give `passages` too"):
        model.index(texts, tmp_path / "other", stride=20)
    with pytest.raises(InputError, match="holds an index of something else"):
        model.index(texts, tmp_path / "index")


def test_what_would_be_wrong_is_refused(index: Path, tmp_path: Path, refused: Refused) -> None:
    search = ["search", "--index", index, "--queries", queries_in(tmp_path, {"q": {"all": 1}}),
              "--output", tmp_path / "run.txt", "--max-passage"]
    assert "are named DOCID#N" in refused(*search, "--passage-delimiter", ":")
    assert "are for an --index" in refused(
        "search", "--engine", tmp_path, "--url", "http://127.0.0.1:1", *search[3:])
    from_one = index_of([("a#1", {"t": 1}), ("a#2", {"t": 1})], tmp_path / "one")
    assert "has no passage with the number 0" in refused(
        "search", "--index", from_one, *search[3:-1], "--passages", "first", "--passage-delimiter", "#")
    assert not (tmp_path / "run.txt").exists()


@pytest.fixture
def encoded(tiny: Path, tmp_path: Path, cli: Cli) -> Path:
    """Passages of documents that `encode` made, in 5 shards."""
    draw = random.Random(11)
    corpus = write_corpus(tmp_path / "corpus.jsonl", {
        f"d{n}": ". ".join(" ".join(draw.choices(WORDS[:30], k=6)) for _ in range(draw.randint(0, 20)))
        for n in range(25)})
    assert cli("encode", "--model", tiny, "--corpus", corpus, "--output", tmp_path / "encoded",
               "--passages", 32, "--stride", 16, "--shard-size", 5).code == 0
    return tmp_path / "encoded"


@pytest.mark.parametrize("how", PASSAGE_SCORES)
def test_parts_of_an_index_give_the_whole(how: str, encoded: Path, tmp_path: Path, cli: Cli,
                                          refused: Refused) -> None:
    write_lines(tmp_path / "topics.jsonl", [{"id": f"q{n}", "text": text} for n, text in enumerate(
        ["wing flow", "cat dog mat", "the shock wave of a body", ""])])
    assert cli("index", "--encoded", encoded, "--index", tmp_path / "index").code == 0
    for number in (1, 2):
        assert cli("index", "--encoded", encoded, "--index", tmp_path / "parts", "--part",
                   f"{number}/2").code == 0

    def search(folder: str, output: str, *more: object) -> Path:
        done = cli("search", "--index", tmp_path / folder, "--topics", tmp_path / "topics.jsonl",
                   "--hits", 6, "--output", tmp_path / output, "--passages", how, *more)
        assert done.code == 0, done
        return tmp_path / output

    whole = search("index", "whole.txt").read_bytes()
    assert whole.count(b"\n") == 18
    assert search("parts", "both.txt").read_bytes() == whole
    runs = [search("parts", f"run{number}.txt", "--part", f"{number}/2") for number in (1, 2)]
    assert cli("merge-runs", *runs, "--hits", 6, "--output", tmp_path / "merged.txt").code == 0
    assert (tmp_path / "merged.txt").read_bytes() == whole

    assert cli("search", "--index", tmp_path / "parts", "--part", "2/2", "--topics",
               tmp_path / "topics.jsonl", "--hits", 6, "--output", runs[1]).code == 0
    assert "is of other passage scores (none) than" in refused("merge-runs", *runs, "--hits", 6, "--output",
                                               tmp_path / "merged.txt")


def test_parts_of_foreign_passages_are_refused(foreign: Path, tmp_path: Path, cli: Cli,
                                               refused: Refused) -> None:
    assert cli("index", "--encoded", foreign.parent / "encoded", "--index", tmp_path / "parts", "--part",
               "1/2").code == 0
    assert "may have some passages of a document and not others" in refused(
        "search", "--index", tmp_path / "parts", "--part", "1/2", "--queries",
        queries_in(tmp_path, {"q": {"all": 1}}), "--output", tmp_path / "run.txt", "--max-passage",
        "--passage-delimiter", "#")


def test_evaluate_gives_the_documents_of_a_run(index: Path, passages: Corpus, tmp_path: Path, cli: Cli,
                                               refused: Refused) -> None:
    queries = {name: query for name, query in some_queries(6).items() if brute_force(passages, query, "max")}
    draw = random.Random(2)
    documents = sorted({name.rpartition("#")[0] for name, _ in passages})
    qrels = tmp_path / "qrels.txt"
    qrels.write_text("".join(f"{name} 0 {document} {draw.randint(0, 2)}\n" for name in queries
                             for document in draw.sample(documents, 30)))
    source = queries_in(tmp_path, queries)
    values = {}
    for name, options in {"passages": [], "max": ["--max-passage"], "first": ["--passages", "first"]}.items():
        assert cli("search", "--index", index, "--queries", source, "--hits", 100_000, "--output",
                   tmp_path / f"{name}.txt", *options).code == 0

    def evaluated(run: str, *options: str) -> Result:
        done = cli("evaluate", "--qrels", qrels, "--run", f"run={tmp_path / run}", "--format", "json", *options)
        assert done.code == 0, done
        return done

    for how in ("max", "first"):
        values[how] = json.loads(evaluated(f"{how}.txt").out)
        assert values[how] == json.loads(evaluated("passages.txt", "--passages", how).out)
    assert values["max"] == json.loads(evaluated("passages.txt", "--max-passage").out) != values["first"]

    warning = evaluated("passages.txt").err
    assert "no document in it is judged" in warning
    assert "its ids are of passages; give --max-passage to search or evaluate" in warning
    assert len(warning.splitlines()) == 1
    again = ["evaluate", "--qrels", qrels, "--run", tmp_path / "max.txt"]
    assert "names no passage of a document (it has no '%p')" in refused(
        *again, "--max-passage", "--passage-delimiter", "%p")
    assert "--passage-delimiter: give --max-passage" in refused(*again, "--passage-delimiter", "%p")


def test_a_run_has_no_sum_of_all_passages() -> None:
    run = {"q": {"a#1": 3.0, "a#0": 2.0, "b#1": 2.0}}
    assert documents_of_run(run, PassageScoring(), "run") == {"q": {"a": 3.0, "b": 2.0}}
    assert documents_of_run(run, PassageScoring("first"), "run") == {"q": {"a": 2.0}}
    for how in ("sum", "mean"):
        with pytest.raises(InputError, match="a run has only the best ones"):
            documents_of_run(run, PassageScoring(how), "run")
    with pytest.raises(InputError, match="has no passage with the number 0"):
        documents_of_run({"q": {"a#1": 3.0}}, PassageScoring("first"), "run")
    with pytest.raises(InputError, match="`passage_delimiter` '': expected text"):
        documents_of_run(run, PassageScoring("max", ""), "run")
