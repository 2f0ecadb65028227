"""An index in parts gives what one index gives: ids, scores, order, bytes."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from breaking import one_line
from conftest import TEXTS, Result, write_corpus, write_lines
from indexes import Corpus, index_of
from reliability import draws, tried
from signed import signed

import spladev3_anserini as splade
from spladev3_anserini.encoding.directory import Part
from spladev3_anserini.engine.arrays import ENGINE_PREFIX
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.shards import read_manifest
from spladev3_anserini.lucene.build import build_index
from spladev3_anserini.lucene.check import INDEX_MANIFEST, read_index_manifest, statistics
from spladev3_anserini.lucene.jvm import java_class
from spladev3_anserini.lucene.opening import open_postings, open_searcher
from spladev3_anserini.lucene.parts import MAX_DOCUMENTS, PARTS_FOLDER, part_folders
from spladev3_anserini.lucene.postings import index_bytes, open_lucene_postings
from spladev3_anserini.lucene.publish import scratch_beside
from spladev3_anserini.lucene.unchanged import SOUND_NOTE

Cli = Callable[..., Result]
Refused = Callable[..., str]


PREFIXES = ["d", "é", "\U0001f600", "\uffee", "-"]


def random_documents(seed: int, count: int) -> Corpus:
    """Documents with many ties, ids whose order in UTF-8 and UTF-16 differs, some without a term."""
    draw = random.Random(seed)
    documents: Corpus = [(f"{draw.choice(PREFIXES)}{number}", {
        f"t{term}": draw.randint(1, 3) for term in draw.sample(range(20), draw.randint(1, 5))}
        | {"all": draw.randint(1, 2)}) for number in range(count)]
    draw.shuffle(documents)
    return [*documents[:50], ("empty", {}), *documents[50:], ("none", {})]


def random_queries(seed: int) -> dict[str, dict[str, int]]:
    """Queries of known and unknown terms, one without a term, one that some parts do not match."""
    draw = random.Random(seed)
    queries = {f"q{number}": {f"t{term}": draw.randint(1, 3) for term in
                              draw.sample(range(22), draw.randint(1, 6))} for number in range(25)}
    return {"rare": {"only": 2}, **queries, "nothing": {}, "all": {"all": 7}}


def in_parts(encoded: Path, index: Path, of: int, **how: bool) -> Path:
    """Builds all parts of an index, the last one first."""
    for number in range(of, 0, -1):
        record, built = build_index(encoded, index, part=Part(number, of), **how)
        assert (record.part, built) == (f"{number}/{of}", True)
    return index


@pytest.fixture(scope="module")
def documents() -> Corpus:
    return [*random_documents(1, 1500), ("last", {"only": 3})]


@pytest.fixture(scope="module")
def whole(documents: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One index of 7 shards, and `encoded` beside it."""
    return index_of(documents, tmp_path_factory.mktemp("whole"), shards=7)


@pytest.fixture(scope="module")
def three(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in 3 parts, of 2, 2 and 3 shards."""
    return in_parts(whole.parent / "encoded", tmp_path_factory.mktemp("parts") / "index", 3)


@pytest.fixture
def copied(three: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(three, tmp_path / "index"))


def queries_in(folder: Path, queries: dict[str, dict[str, int]]) -> Path:
    return write_lines(folder / "queries.jsonl", [
        {"id": name, "contents": "", "vector": query} for name, query in queries.items()])


def run_of_oracle(documents: Corpus, queries: dict[str, dict[str, int]], hits: int) -> str:
    """The run that the integer dot products give, in TREC's format."""
    oracle = ExactSearcher(documents)
    return "".join(f"{name} Q0 {docid} {rank} {score} t\n" for name, query in queries.items()
                   for rank, (docid, score) in enumerate(oracle.search(query, hits), 1))


@pytest.mark.fault(13, "random collections indexed in parts: ties, parts without a hit, 1,000 hits",
                   then="the bytes of the run of one index", detected="impacts/exact.py")
@pytest.mark.parametrize("hits", [10, 1000])
def test_all_ways_to_search_give_the_same_bytes(documents: Corpus, whole: Path, three: Path,
                                                hits: int, tmp_path: Path, cli: Cli) -> None:
    queries = random_queries(hits)
    expected = run_of_oracle(documents, queries, hits).encode()
    assert len(expected.splitlines()) > 20 * hits * (hits == 10) + 5000 * (hits == 1000)
    source, merged = queries_in(tmp_path, queries), tmp_path / "merged"
    assert cli("merge-index", "--parts", three, "--index", merged).code == 0

    def search(index: Path, *more: object) -> bytes:
        output = tmp_path / "run.txt"
        done = cli("search", "--index", index, "--queries", source, "--hits", hits, "--tag", "t",
                   "--output", output, *more)
        assert done.code == 0, done
        assert ("by Lucene" if "--lucene" in more else "by the exact engine") in done.out
        return output.read_bytes()

    for engine in ((), ("--lucene",)):
        for index in (whole, three, merged):
            assert search(index, *engine) == expected, (index, engine)
        runs = []
        for number in (2, 3, 1):
            own = search(three, "--part", f"{number}/3", *engine)
            assert own not in (b"", expected)
            runs.append(Path(shutil.copy(tmp_path / "run.txt", tmp_path / f"run{number}.txt")))
            shutil.copy(tmp_path / "run.txt.part.json", f"{runs[-1]}.part.json")
        done = cli("merge-runs", *runs, "--hits", hits, "--output", tmp_path / "joined.txt")
        assert done.code == 0, done
        assert (tmp_path / "joined.txt").read_bytes() == expected


@pytest.mark.parametrize("seed", range(draws(2, 0.01)))
def test_random_parts_one_query_at_a_time(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    documents = random_documents(seed, 200)
    shards = draw.randint(2, 6)
    encoded = index_of(documents, tmp_path, shards=shards).parent / "encoded"
    index, oracle = in_parts(encoded, tmp_path / "p", draw.randint(1, shards)), ExactSearcher(documents)
    for lucene in (False, True):
        searcher, _ = open_searcher(index, lucene=lucene)
        for hits in (1, 7, 1000):
            for query in random_queries(seed).values():
                assert searcher.search(query, hits) == oracle.search(query, hits)
        assert searcher.search({"all": 1}, 0) == []
        searcher.close()


def test_the_merged_index_is_the_one_of_a_single_build(documents: Corpus, whole: Path, three: Path,
                                                       tmp_path: Path, cli: Cli) -> None:
    merged = tmp_path / "merged"
    cli("merge-index", "--parts", three, "--index", merged)
    assert statistics(merged)[-1] > 1
    done = cli("merge-index", "--parts", three, "--index", merged, "--optimize")
    single, record = read_index_manifest(whole), read_index_manifest(merged)
    assert single is not None
    assert record is not None
    assert (record.encoded, record.versions, record.part) == (single.encoded, single.versions, "")
    assert record.encoded == read_manifest(whole.parent / "encoded")
    for path in whole.glob(f"{ENGINE_PREFIX}*"):
        assert (merged / path.name).read_bytes() == path.read_bytes()
    counts = statistics(merged)
    assert counts == (1501, sum(len(vector) for _, vector in documents),
                      sum(sum(vector.values()) for _, vector in documents), 1)
    assert f"{merged}: 1,501 documents, {counts.postings:,} postings" in done.out
    assert cli("verify", merged).code == 0
    for more in ((), ("--optimize",)):
        again = cli("merge-index", "--parts", three, "--index", merged, *more)
        assert "was there already" in again.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged"]


def test_a_merged_index_replaces_only_on_demand(whole: Path, three: Path, tmp_path: Path, cli: Cli,
                                                refused: Refused) -> None:
    other = index_of([("x", {"a": 1})], tmp_path / "o", shards=1)
    command = ("merge-index", "--parts", three, "--index", other)
    assert "holds an index of something else" in refused(*command)
    assert cli(*command, "--overwrite").code == 0
    assert statistics(other).documents == 1501
    for index, message in ((three, "holds an index in parts; choose another name"),
                           (three / PARTS_FOLDER / "x", "is inside --parts"),
                           (tmp_path, "exists and is no index")):
        assert message in refused("merge-index", "--parts", three, "--index", index, "--overwrite")
    assert "holds no parts of an index" in refused("merge-index", "--parts", whole, "--index",
                                                   tmp_path / "m")


def test_every_reader_takes_the_folder_of_parts(documents: Corpus, whole: Path, three: Path,
                                                cli: Cli) -> None:
    known = dict(documents)
    with open_postings(three) as engine, open_lucene_postings(three) as lucene:
        for found in (engine, lucene):
            assert (found.documents, found.total) == (1501, sum(map(len, known.values())))
            assert found.frequencies(["all", "only", "absent"]) == {
                "all": 1500, "only": 1, "absent": 0}
            for docid in (documents[0][0], documents[700][0], "last"):
                assert list(found.vector(docid).items()) == sorted(known[docid].items())
                assert found.score({"all": 5, "only": 2}, docid) == (
                    5 * known[docid].get("all", 0) + 2 * known[docid].get("only", 0))
            with pytest.raises(InputError, match=f"`docid` empty: not in {three} "):
                found.vector("empty")
    assert index_bytes(three)[0] == sum(index_bytes(folder)[0] for folder in part_folders(three))
    with splade.open_index(three) as one, splade.open_index(whole) as other:
        assert one.manifest is not None
        assert other.manifest is not None
        assert one.manifest.encoded == other.manifest.encoded
        assert one.search({"all": 3, "t4": 2}, 20) == other.search({"all": 3, "t4": 2}, 20)
    checked = cli("verify", three)
    assert f"{three}: sound; 1,501 documents" in checked.out
    assert "the exact engine and Lucene agree on 50 sampled queries" in checked.out
    assert cli("verify", three / PARTS_FOLDER / "0001-of-0003").code == 0


def test_a_part_verifies_only_its_own_shards(documents: Corpus, whole: Path, tmp_path: Path, cli: Cli,
                                             refused: Refused) -> None:
    encoded = Path(shutil.copytree(whole.parent / "encoded", tmp_path / "encoded"))
    (encoded / "impacts" / "part-00002.jsonl").write_text("changed")
    command = ("index", "--encoded", encoded, "--index", tmp_path / "i", "--part")
    done = cli(*command, "1/3")  # the first two of seven shards
    count = sum(bool(vector) for shard in (0, 1) for _, vector in documents[shard::7])
    assert f"{tmp_path / 'i' / PARTS_FOLDER / '0001-of-0003'}: {count} documents" in done.out
    assert "part-00002.jsonl: changed since it was written" in refused(*command, "2/3")
    assert [path.name for path in (tmp_path / "i" / PARTS_FOLDER).iterdir()] == ["0001-of-0003"]
    assert "was there already" in cli(*command, "1/3").out
    (encoded / "impacts" / "notes").write_text("")
    assert "notes: not in the manifest" in refused(*command, "3/3")


def test_what_a_part_is_refused_for(whole: Path, three: Path, copied: Path, tmp_path: Path,
                                    cli: Cli, refused: Refused) -> None:
    encoded = whole.parent / "encoded"
    command = ("index", "--encoded", encoded, "--index")
    for part, message in (("4/3", "--part 4/3: expected I/N"), ("x", "--part x: expected I/N"),
                          ("1/8", "--part 1/8: the encoding has only 7 shards"),
                          ("1/4", f"--part 1/4: {copied / PARTS_FOLDER} has parts of 3")):
        assert message in refused(*command, copied, "--part", part)
    assert "--anserini-threads: Anserini indexes all shards" in refused(
        *command, copied, "--part", "1/3", "--anserini-threads", 1)
    assert "holds an index in parts" in refused(*command, copied, "--overwrite")
    thesis = tmp_path / "thesis"
    (thesis / PARTS_FOLDER / "chapter1").mkdir(parents=True)
    assert "exists and is no index" in refused(*command, thesis)
    assert "not a Lucene index" in refused("search", "--index", thesis, "--queries", "none", "--output",
                                           tmp_path / "run")
    for index in (whole, encoded.parent, thesis):
        assert "something other than parts" in refused(*command, index, "--part", "1/3")
    index_of([(f"d{number}", {"a": 2}) for number in range(9)], tmp_path / "other", shards=3)
    other = ("index", "--encoded", tmp_path / "other" / "encoded", "--index", copied, "--part")
    assert "has parts of something else (documents: 1503 there, 9 now; shards: 7 there, 3 now)" in refused(*other, "1/3")
    assert cli(*other, "1/3", "--overwrite").code == 0
    said = refused("search", "--index", copied, "--queries", "none", "--output", tmp_path / "run")
    assert f"{copied / PARTS_FOLDER / '0002-of-0003'}: is of another encoding than" in said
    assert "(documents: 9 there, 1503 now; shards: 3 there, 7 now)" in said
    for number in (2, 3):  # until all parts are of the other encoding
        assert cli(*other, f"{number}/3", "--overwrite").code == 0
    assert statistics(copied).documents == 9


@pytest.mark.fault(12, "a part of an index missing, of another number of parts, of another encoding, "
                       "renamed, or with a file that is none of its",
                   detected="the names of the folders, and part and encoding in each manifest")
def test_missing_and_foreign_parts(whole: Path, copied: Path, tmp_path: Path, cli: Cli,
                                   refused: Refused) -> None:
    source = queries_in(tmp_path, {"q": {"all": 1}})
    commands = (("search", "--index", copied, "--queries", source, "--output", tmp_path / "run"),
                ("merge-index", "--parts", copied, "--index", tmp_path / "merged"),
                ("verify", copied))

    def refuse(message: str) -> None:
        for command in commands:
            done = cli(*command)
            assert (done.code, done.out) in ((2, ""), (1 if command[0] == "verify" else 2, ""))
            assert message in one_line(done.err)
            tried()
        assert not (tmp_path / "run").exists()
        assert not (tmp_path / "merged").exists()

    second = copied / PARTS_FOLDER / "0002-of-0003"
    away = second.rename(tmp_path / "away")
    refuse(f"{second}: missing; build it: spladev3-anserini index --part 2/3")
    shutil.copytree(copied / PARTS_FOLDER / "0001-of-0003", second)
    refuse(f"{second}: is part 1/3; move it away")
    shutil.rmtree(second)
    shutil.copytree(whole, second)
    refuse(f"{second}: is no part of an index; move it away")
    shutil.rmtree(second)
    away.rename(second)
    shutil.copytree(second, copied / PARTS_FOLDER / "0002-of-0004")
    refuse(f"{copied / PARTS_FOLDER}: has parts of 3 and parts of 4")
    shutil.rmtree(copied / PARTS_FOLDER / "0002-of-0004")
    for name in ("notes", "2-of-3", "00002-of-0003", "0004-of-0003", "0000-of-0003"):
        (copied / PARTS_FOLDER / name).mkdir()
        refuse(f"{copied / PARTS_FOLDER / name}: is no part of an index")
        (copied / PARTS_FOLDER / name).rmdir()
    manifest = second / INDEX_MANIFEST
    sound = manifest.read_text("utf-8")
    values = json.loads(sound)
    values["encoded"]["shards"][0]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(signed(values)), "utf-8")
    refuse(f"{copied}: its parts do not add up to the encoding that they name")
    manifest.write_text(sound, "utf-8")
    # other shards under the same fingerprint, as a GPU may write them
    folder = tmp_path / "other"
    index_of([(identifier, {"all": 9}) for identifier, _ in random_documents(1, 1501)], folder, shards=7)
    build_index(folder / "encoded", folder / "p", part=Part(2, 3))
    second.rename(away)  # a machine with only one part needs no other
    assert cli(*commands[0], "--part", "1/3").code == 0
    assert f"{second}: missing; build it" in refused(*commands[0], "--part", "2/3")
    (tmp_path / "run").unlink()
    (folder / "p" / PARTS_FOLDER / "0002-of-0003").rename(second)
    refuse(f"{second}: is of another encoding than {copied / PARTS_FOLDER / '0001-of-0003'}; build it again")
    shutil.rmtree(second)
    away.rename(second)
    assert cli(*commands[0]).code == 0


@pytest.mark.fault(12, "one byte of each file of a part flipped, at random offsets",
                   then="refused by search, verify and merge-index",
                   detected="sha256 of each file and of the manifest's content")
def test_a_damaged_part(copied: Path, tmp_path: Path, cli: Cli, chance: random.Random) -> None:
    source = queries_in(tmp_path, {"q": {"all": 1}})
    part = copied / PARTS_FOLDER / "0003-of-0003"
    files = [path for path in part.iterdir() if path.stat().st_size and path.name != SOUND_NOTE]
    assert len(files) > 10
    for path in files:
        sound = path.read_bytes()
        place = chance.randrange(len(sound) - 1)
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x41]) + sound[place + 1 :])
        for code, command in (
                (1, ("verify", copied)),
                (2, ("search", "--index", copied, "--queries", source, "--output", tmp_path / "r")),
                (2, ("merge-index", "--parts", copied, "--index", tmp_path / "merged"))):
            done = cli(*command)
            assert done.code == code, done
            assert str(part) in one_line(done.err)
            tried()
        path.write_bytes(sound)
    assert cli("verify", copied).code == 0


def test_a_part_that_is_replaced_is_noticed(copied: Path, whole: Path) -> None:
    from spladev3_anserini.lucene.check import refusing_replacement

    with (pytest.raises(InputError, match="was replaced while it was read"),
          refusing_replacement(copied)):
        build_index(whole.parent / "encoded", copied, part=Part(2, 3), overwrite=True)


def test_a_part_that_is_being_built_is_left_alone(whole: Path, copied: Path) -> None:
    """Parts are built at the same time, by processes or machines."""
    with scratch_beside(copied / PARTS_FOLDER / "0001-of-0003") as scratch:
        build_index(whole.parent / "encoded", copied, part=Part(2, 3), overwrite=True)
        assert scratch.is_dir()
        searcher, _ = open_searcher(copied)
        assert len(searcher.search({"all": 1}, 5)) == 5


def test_parts_without_a_term_and_without_arrays(tmp_path: Path, cli: Cli) -> None:
    """The documents of the last two of four shards have no term, so part 2 of 2 is empty."""
    documents = [(f"d{number}", {"a": 1 + number % 3} if number % 4 < 2 else {})
                 for number in range(12)]
    encoded = index_of(documents, tmp_path, shards=4).parent / "encoded"
    index, oracle = in_parts(encoded, tmp_path / "p", 2), ExactSearcher(documents)
    for lucene in (False, True):
        searcher, record = open_searcher(index, lucene=lucene)
        assert record is not None
        assert record.encoded.documents == 12
        assert searcher.name.startswith("Lucene" if lucene else "the exact engine")
        assert searcher.search({"a": 2}, 10) == oracle.search({"a": 2}, 10)
        searcher.close()
    assert cli("verify", index).code == 0
    assert "was there already" in cli("index", "--encoded", encoded, "--index", index, "--part", "2/2").out
    assert cli("merge-index", "--parts", index, "--index", tmp_path / "merged").code == 0
    build_index(encoded, index, part=Part(1, 2), engine=False, overwrite=True)
    searcher, _ = open_searcher(index)
    assert searcher.name.endswith("(the index has no arrays for the exact engine)")
    assert searcher.search({"a": 2}, 10) == oracle.search({"a": 2}, 10)
    searcher.close()
    assert cli("merge-index", "--parts", index, "--index", tmp_path / "plain").code == 0
    assert not list((tmp_path / "plain").glob(f"{ENGINE_PREFIX}*"))
    assert "6 documents" in cli("verify", tmp_path / "plain").out


@pytest.mark.fault(10, "more documents than Lucene can number, by the manifests",
                   then="refused before anything is read", detected="the manifest's count")
def test_more_documents_than_lucene_numbers(copied: Path, whole: Path, tmp_path: Path,
                                            refused: Refused) -> None:
    assert int(java_class("org.apache.lucene.index.IndexWriter").MAX_DOCS) == MAX_DOCUMENTS
    encoded = Path(shutil.copytree(whole.parent / "encoded", tmp_path / "encoded"))
    changed = json.loads((encoded / "manifest.json").read_text("utf-8"))
    changed["shards"][0]["nonempty"] = MAX_DOCUMENTS
    (encoded / "manifest.json").write_text(json.dumps(signed(changed)), "utf-8")
    for more in ((), ("--part", "1/3")):
        said = refused("index", "--encoded", encoded, "--index", tmp_path / "i", *more)
        assert "documents with terms; Lucene numbers 2,147,483,519 at most" in said
        assert "spladev3-anserini index --part 1/N" in said
    assert not (tmp_path / "i").exists()
    file = copied / PARTS_FOLDER / "0001-of-0003" / INDEX_MANIFEST
    changed = json.loads(file.read_text("utf-8"))
    changed["encoded"]["shards"][0]["nonempty"] = MAX_DOCUMENTS
    file.write_text(json.dumps(signed(changed)), "utf-8")
    source = queries_in(tmp_path, {"q": {"all": 1}})
    search = ("search", "--index", copied, "--queries", source, "--output", tmp_path / "run")
    assert "spladev3-anserini merge-runs" in refused(*search, "--lucene")
    assert "2,147,483,519" in refused("merge-index", "--parts", copied, "--index", tmp_path / "m")
    searcher, _ = open_searcher(copied)  # the exact engine has no such limit
    assert len(searcher.search({"all": 1}, 5)) == 5


def test_queries_of_parts_are_encoded_as_the_index_says(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    """The table of static queries lies in each part."""
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    (tmp_path / "topics.tsv").write_text("d1\tthe cat on the mat\nq2\theat and air flow\n")
    assert cli("encode", "--model", tiny, "--corpus", corpus, "--output", tmp_path / "encoded",
               "--query-weights", "idf", "--max-length", 64, "--shard-size", 3).code == 0
    in_parts(tmp_path / "encoded", tmp_path / "parts", 2)
    build_index(tmp_path / "encoded", tmp_path / "whole")
    topics = ("--topics", tmp_path / "topics.tsv", "--max-length", 64, "--hits", 3, "--output")
    (tmp_path / "exclude.tsv").write_text("q2\td10\nq2\td4\nd1\td2\n")
    for more in ((), ("--remove-query",), ("--exclude", tmp_path / "exclude.tsv")):
        runs = []
        for name in ("whole", "parts"):
            assert cli("search", "--index", tmp_path / name, *topics, tmp_path / name / "r.txt", *more
                       ).code == 0
            runs.append((tmp_path / name / "r.txt").read_bytes())
            (tmp_path / name / "r.txt").unlink()
        for number in (1, 2):
            assert cli("search", "--index", tmp_path / "parts", "--part", f"{number}/2", *topics,
                       tmp_path / f"{number}.txt.gz", *more).code == 0
        assert cli("merge-runs", tmp_path / "1.txt.gz", tmp_path / "2.txt.gz", "--hits", 3,
                   "--output", tmp_path / "run.txt").code == 0
        assert runs[0] == runs[1] == (tmp_path / "run.txt").read_bytes() != b""
    explained = [cli("explain", "--index", tmp_path / name, "--docid", "d10", "--query", "air flow",
                     "--max-length", 64, "--format", "json").out for name in ("whole", "parts")]
    one, other = map(json.loads, explained)
    assert one["match"]["products"] == other["match"]["products"]
    assert one["match"]["score"] == other["match"]["index_score"] > 0
    assert one["match"]["rank"] == other["match"]["rank"] is not None
    assert one["cost"]["postings"] == other["cost"]["postings"]
    for command in (("ask", "--index", tmp_path / "parts", "--max-length", 64, "cat"),
                    ("flops", "--index", tmp_path / "parts", "--topics", tmp_path / "topics.tsv",
                     "--max-length", 64)):
        assert cli(*command).code == 0


@pytest.fixture
def two_runs(tmp_path: Path, cli: Cli) -> list[Path]:
    """The runs of both parts of a small index, in `search` and its record."""
    documents = [(f"d{number}", {"a": 1 + number % 3}) for number in range(20)]
    encoded = index_of(documents, tmp_path / "i", shards=4).parent / "encoded"
    index = in_parts(encoded, tmp_path / "index", 2)
    source = queries_in(tmp_path, {"q1": {"a": 1}, "q2": {"a": 2}})
    runs = [tmp_path / f"{number}.txt" for number in (1, 2)]
    for number, run in enumerate(runs, 1):
        assert cli("search", "--index", index, "--part", f"{number}/2", "--queries", source, "--hits", 5,
                   "--output", run).code == 0
    return runs


@pytest.mark.fault(16, "runs of parts that are not of one search: one missing or twice, other queries, "
                       "another tag or encoding, fewer hits, a changed byte, no record",
                   detected="the record beside each run, and the run's sha256")
def test_runs_that_cannot_be_merged(two_runs: list[Path], tmp_path: Path, cli: Cli,
                                    refused: Refused) -> None:
    one, two = two_runs
    output = tmp_path / "out.txt"
    merge = ("--hits", 5, "--output", output)
    index = ("search", "--index", tmp_path / "index", "--part", "2/2", "--output", two)
    source = tmp_path / "queries.jsonl"
    assert cli("merge-runs", two, one, *merge).code == 0
    sound = output.read_text()
    output.unlink()

    def refuse(message: str, *runs: Path) -> None:
        assert message in refused("merge-runs", *(runs or two_runs), *merge)
        assert not output.exists()
        tried()

    refuse(f"{one}: is of part 1/2; there is no run of part 2/2", one)
    refuse(f"{one}: is of part 1/2, and so is {one}", one, one)
    refuse(f"{tmp_path / 'none'}: no such file", tmp_path / "none", two)
    text = two.read_text()
    two.write_text(text.replace(" 3 ", " 4 ", 1))
    refuse(f"{two}: changed since it was searched (sha256)")
    two.write_text(text)
    assert "fewer than --hits 6; take fewer hits" in refused("merge-runs", one, two, "--hits", 6, *merge[2:])
    for more, message in ((("--hits", 4), "was searched for 4 hits per query, fewer than --hits 5"),
                          (("--tag", "x"), f"{two}: is of another tag, x than {one}")):
        assert cli(*index, "--queries", source, "--hits", 5, *more).code == 0
        refuse(message)
    other = queries_in(tmp_path / "other", {"q1": {"a": 1}, "q2": {"a": 3}})
    assert cli(*index, "--queries", other, "--hits", 5).code == 0
    refuse(f"{two}: is of other queries than {one}")
    assert cli(*index, "--queries", source, "--hits", 5).code == 0
    record = tmp_path / "2.txt.part.json"
    values = json.loads(record.read_text())
    for change, message in (({"whole": "0" * 64}, "is of an index of another encoding"),
                            ({"part": "2/3"}, "is of part 2/3, and"),
                            ({"topics": ["q2", "q1"]}, "is of other queries"),
                            ({"excluded": "0" * 64}, "is of other excluded documents"),
                            ({"new": 1}, "not a valid part run")):
        record.write_text(json.dumps(signed(values | change)))
        refuse(message)
    record.write_text(json.dumps(values))
    assert cli("merge-runs", one, two, *merge).code == 0
    assert output.read_text() == sound
    output.unlink()
    record.unlink()
    refuse(f"{two}: has no 2.txt.part.json beside it")
    assert "--output must be a file" in refused(*index, "--queries", source, "--output", "-")
    assert "is an input as well" in refused("merge-runs", one, two, "--output", one)


def test_a_document_in_two_runs_is_refused(two_runs: list[Path], tmp_path: Path,
                                           refused: Refused) -> None:
    """Two records that say what is not so."""
    from spladev3_anserini.files import sha256_of

    one, two = two_runs
    shutil.copy(one, two)
    record = tmp_path / "2.txt.part.json"
    values = json.loads(record.read_text()) | {"run": sha256_of(two)}
    record.write_text(json.dumps(signed(values)))
    output = tmp_path / "out.txt"
    said = refused("merge-runs", one, two, "--hits", 5, "--output", output)
    assert f"{two}: has the document 'd" in said
    assert f"for query 'q1', and so has {one}; they are not of parts of one index" in said
    assert not output.exists()
