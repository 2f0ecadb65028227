"""Documents that are no answers to a query: a search gives the next ones instead, to the same depth."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Result
from indexes import Corpus, index_of

import spladev3_anserini as splade
from spladev3_anserini.collection.exclusions import Exclusions, exclusions_of, read_exclusions
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.lucene.postings import open_lucene_postings

Cli = Callable[..., Result]
Refused = Callable[..., str]


def documents() -> Corpus:
    """40 documents of few terms and impacts, so that scores tie; some have a topic's id."""
    draw = random.Random(7)
    return [(f"d{n}", {term: draw.randint(1, 3) for term in draw.sample("abcd", 2)}) for n in range(40)]


QUERIES = {"d1": {"a": 2, "b": 1}, "d7": {"c": 1}, "q": {"a": 1, "d": 3}, "none": {"z": 1}}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return index_of(documents(), tmp_path_factory.mktemp("excluded"))


def expected(hits: int, gone: Callable[[str, str], bool]) -> dict[str, dict[str, int]]:
    """The same by the oracle: all documents are ranked, then filtered, then cut."""
    oracle = ExactSearcher(documents())
    found = {query: [hit for hit in oracle.search(impacts, 1000) if not gone(query, hit[0])][:hits]
             for query, impacts in QUERIES.items()}
    return {query: dict(ranking) for query, ranking in found.items()}


@pytest.mark.parametrize("lucene", [False, True])
@pytest.mark.parametrize("hits", [1, 3, 1000])
def test_the_depth_stays(hits: int, lucene: bool, index: Path) -> None:
    everything = expected(1000, lambda query, document: False)
    exclude = {"q": list(everything["q"])[:5], "d7": ["d7", *list(everything["d7"])[2:4]]}
    ways: list[tuple[dict[str, Any], Callable[[str, str], bool]]] = [
        ({"remove_query": True}, lambda query, document: query == document),
        ({"exclude": exclude}, lambda query, document: document in exclude.get(query, [])),
        ({"exclude": exclude, "remove_query": True},
         lambda query, document: query == document or document in exclude.get(query, []))]
    with splade.open_index(index, lucene=lucene) as opened:
        for options, gone in ways:
            run = opened.run(QUERIES, hits, **options)
            assert dict(run) == expected(hits, gone)
            assert [list(ranked) for ranked in run.values()] == [
                list(ranked) for ranked in expected(hits, gone).values()]
            assert all(len(run[query]) == min(hits, len(everything[query]) - sum(
                gone(query, document) for document in everything[query])) for query in QUERIES)


def write_files(folder: Path, exclude: Mapping[str, list[str]]) -> list[Path]:
    """The same exclusions in every form."""
    tsv = "".join(f"{query}\t{document}\n" for query, ids in exclude.items() for document in ids)
    lines = "".join(json.dumps({"id": query, "query": "?", "excluded_ids": ids}) + "\n"
                    for query, ids in exclude.items())
    (folder / "x.tsv").write_text(tsv)
    (folder / "x.txt.gz").write_bytes(gzip.compress(tsv.encode()))
    (folder / "x.jsonl").write_text(lines + '{"qid": "d1", "excluded_ids": ["N/A"]}\n'
                                    '{"query_id": 5, "excluded_ids": []}\n')
    (folder / "x.json.gz").write_bytes(gzip.compress(lines.encode()))
    return sorted(folder.glob("x.*"))


def test_every_form_of_a_file_is_read(tmp_path: Path) -> None:
    exclude = {"q": ["d1", "d2"], "d7": ["d7"]}
    files = write_files(tmp_path, exclude)
    assert len(files) == 4
    for file in files:
        assert read_exclusions(str(file)) == {q: frozenset(ids) for q, ids in exclude.items()}, file
        assert exclusions_of(False, str(file)).sha256() == Exclusions(False, exclude).sha256() != ""
    assert Exclusions(True, exclude).sha256() not in ("", Exclusions(False, exclude).sha256())
    assert Exclusions(False, {"q": []}).sha256() == ""


def test_brights_judgments_in_ir_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    from ir_datasets.formats import TrecQrel

    import spladev3_anserini.collection.exclusions as module

    monkeypatch.setattr(module, "load_irds", lambda dataset, kind: iter([
        TrecQrel("1", "a", 1, "0"), TrecQrel("1", "b", -100, "0"), TrecQrel("2", "c", -100, "0"),
        TrecQrel("2", "d", 0, "0")]))
    assert read_exclusions("ir_datasets:bright/aops") == {"1": {"b"}, "2": {"c"}}


@pytest.mark.parametrize(("name", "content", "message"), [
    ("x.tsv", "q1 d1\n", "x.tsv:1: no tab between id and document"),
    ("x.tsv", "q1\td1\t1\n", "x.tsv:1: the id 'd1\\t1' has white space"),
    ("x.tsv", "", "x.tsv: no excluded document in it"),
    ("x.jsonl", '{"qid": "q", "excluded_ids": ["N/A"]}\n', "x.jsonl: no excluded document in it"),
    ("x.jsonl", '{"excluded_ids": ["a"]}\n', "x.jsonl:1: no field 'qid' or 'id'"),
    ("x.jsonl", '{"qid": "q", "excluded": ["a"]}\n', "x.jsonl:1: the field 'excluded_ids' is missing"),
    ("x.jsonl", '{"qid": "q", "excluded_ids": "a"}\n', "x.jsonl:1: the field 'excluded_ids' is no list"),
    ("x.jsonl", '{"qid": "q", "excluded_ids": [null]}\n', "x.jsonl:1: the id is null"),
    ("x.csv", "q,d\n", "x.csv: exclusions are TSV or JSON lines, not CSV"),
    ("x.bin", "q\td\n", "x.bin: unknown kind of file"),
])
def test_a_bad_file_is_refused(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as raised:
        read_exclusions(str(tmp_path / name))
    assert str(raised.value).startswith(f"{tmp_path}/{message}")


@pytest.fixture
def command(index: Path, tmp_path: Path) -> list[Any]:
    from test_index_parts import queries_in

    return ["search", "--index", index, "--queries", queries_in(tmp_path, QUERIES), "--hits", 4,
            "--output", tmp_path / "run.txt"]


def test_the_command_and_evaluate(command: list[Any], tmp_path: Path, cli: Cli) -> None:
    assert cli(*command).code == 0
    plain = splade.read_run(tmp_path / "run.txt")["q"]
    first, second, third, _ = sorted(plain, key=lambda own: (plain[own], own), reverse=True)  # trec_eval's
    gone = [first, second]
    write_files(tmp_path, {"q": gone})
    (tmp_path / "qrels.txt").write_text(f"q 0 {third} 1\n")
    judge = ("evaluate", "--qrels", tmp_path / "qrels.txt", "--run", tmp_path / "run.txt",
             "--measures", "RR@10", "--format", "json")
    means = [json.loads(cli(*judge, *more).out)[str(tmp_path / "run.txt")]["measures"]["RR@10"]
             for more in ((), ("--exclude", tmp_path / "x.tsv"))]
    assert means == [1 / 3, 1.0]
    run = splade.read_run(tmp_path / "run.txt")
    assert run.evaluate(tmp_path / "qrels.txt", "RR@10", exclude={"q": gone}).means == {"RR@10": 1.0}

    assert cli(*command, "--exclude", tmp_path / "x.jsonl", "--remove-query").code == 0
    wanted = expected(4, lambda query, document: query == document or (query == "q" and document in gone))
    assert dict(splade.read_run(tmp_path / "run.txt")) == {
        query: hits for query, hits in wanted.items() if hits}


def test_ids_are_compared_with_topics_and_index(command: list[Any], tmp_path: Path, cli: Cli,
                                                refused: Refused) -> None:
    file = tmp_path / "x.tsv"
    for content, message in (("Q\td1\n", "no query of it is in the topics (its first is 'Q')"),
                             ("q\tD1\n", "no document of it is in")):
        file.write_text(content)
        result = cli(*command, "--exclude", file)  # a warning is before it: queries in a file
        assert result.code == 2
        assert f"x.tsv: {message}" in result.err.splitlines()[-1]
        assert not (tmp_path / "run.txt").exists()
    with open_lucene_postings(command[2]) as postings:  # an index without arrays is asked by Lucene
        assert [postings.has(own) for own in ("d1", "D1", "")] == [True, False, False]
    file.write_text("q\td1\nq\tD2\nother\td3\n")
    said = cli(*command, "--exclude", file).err
    assert "x.tsv: 1 query of 2 not in the topics: other" in said
    assert "x.tsv: 1 document of 3 not in" in said
    assert "is an input as well" in refused(*command[:-1], file, "--exclude", file)


@pytest.mark.parametrize("value", [3, {"q": "d1"}, {"q": [1.5]}, {"q": None}, {1: ["a"], "1": ["b"]}, [("q", "d")]])
def test_the_api_refuses_other_values(value: Any, index: Path) -> None:
    with splade.open_index(index) as opened, pytest.raises(InputError, match="`exclude`"):
        opened.run(QUERIES, exclude=value)


def test_bm25_and_dense_take_the_same_options(tmp_path: Path, cli: Cli) -> None:
    texts = [f"a wing lifts {'air ' * n}" for n in range(8)]
    (tmp_path / "c.tsv").write_text("".join(f"d{n}\t{text}\n" for n, text in enumerate(texts)))
    (tmp_path / "t.tsv").write_text("d1\twing air\nq\tlifts air\n")
    (tmp_path / "x.tsv").write_text("q\td7\nq\td2\n")

    def ranked(hits: int, *more: object) -> dict[str, list[str]]:
        assert cli("bm25", "--corpus", tmp_path / "c.tsv", "--topics", tmp_path / "t.tsv", "--threads", 1,
                   "--output", tmp_path / "run.txt", "--hits", hits, *more).code == 0
        return {query: list(hits) for query, hits in splade.read_run(tmp_path / "run.txt").items()}

    everything = ranked(100)
    cut = ranked(3, "--remove-query", "--exclude", tmp_path / "x.tsv")
    assert cut == {"d1": [d for d in everything["d1"] if d != "d1"][:3],
                   "q": [d for d in everything["q"] if d not in ("d7", "d2")][:3]}


def test_documents_of_passages_are_excluded(tmp_path: Path) -> None:
    """Ids are those of documents, though the index has passages."""
    passages: Corpus = [(f"d{n}#{part}", {"a": 1 + (3 * n + part) % 7}) for n in range(9) for part in range(3)]
    best = {f"d{n}": max(1 + (3 * n + part) % 7 for part in range(3)) for n in range(9)}
    ranked = sorted(best, key=lambda own: (-best[own], own))
    index = index_of(passages, tmp_path)
    with splade.open_index(index, passage_delimiter="#") as opened:
        run = opened.run({ranked[0]: {"a": 1}}, 4, remove_query=True, exclude={ranked[0]: ranked[2:4]},
                         passages="max")
    assert list(run[ranked[0]].items()) == [
        (own, best[own]) for own in [ranked[1], *ranked[4:7]]]


def test_exclusions_of_no_document_of_passages_are_refused(tmp_path: Path) -> None:
    """The id of a passage is none of a document, as that of another collection."""
    index = index_of([("d1#0", {"a": 1}), ("d2#0", {"a": 2})], tmp_path)
    with splade.open_index(index, passage_delimiter="#") as opened, \
            pytest.raises(splade.SpladeError, match="no document of it is in"):
        opened.run({"q": {"a": 1}}, exclude={"q": ["d1#0"]}, passages="max")
