"""A plan gives each shard's texts, those of one pass over the whole corpus, and reads no others."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from itertools import islice
from os import abort
from pathlib import Path
from typing import Any

import pytest
from conftest import Result

from spladev3_anserini.collection import places
from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.encoding import pipeline, planning
from spladev3_anserini.encoding.plan import Plan, planned_texts, read_plan, write_plan
from spladev3_anserini.encoding.planning import plan_texts
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.shards import read_manifest

Cli = Callable[..., Result]


def lines(first: int, count: int) -> list[str]:
    """JSON lines of documents with texts of any script and length, and blank lines between."""
    draw = random.Random(first)
    texts = [draw.choice(["", "a", "größer ", "中文\u2028"]) * draw.randint(0, 9) for _ in range(count)]
    return [json.dumps({"id": f"d{first + n}", "contents": text}, ensure_ascii=False)
            + draw.choice(["\n", "\n", "\r\n", "\n\n"]) for n, text in enumerate(texts)]


@pytest.fixture(params=["file", "gzip", "folder", "tsv", "csv", "table", "tables"])
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """120 documents in one file, in seven files of which two are gzipped, or in tables."""
    if request.param.startswith("table"):
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        texts = [json.loads(line) for line in lines(0, 120)]
        path = tmp_path / "corpus.parquet" if request.param == "table" else tmp_path / "corpus"
        if path.suffix:
            parquet.write_table(arrow.Table.from_pylist(texts), path, row_group_size=9)
            return path
        path.mkdir()
        for number, (first, last) in enumerate([(0, 50), (50, 51), (51, 120)]):
            parquet.write_table(arrow.Table.from_pylist(texts[first:last]),
                                path / f"train-{number:05d}-of-00003.parquet", row_group_size=20)
        return path
    if request.param == "csv":
        path = tmp_path / "corpus.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("text", "id"), *(
                (own["contents"] + f'\n"{number}",\r\nx' * (number % 3), own["id"])
                for number, own in enumerate(map(json.loads, lines(0, 120))))])
        return path
    if request.param == "tsv":
        path = tmp_path / "corpus.tsv"
        path.write_text("".join(f"d{n}\ttext {n}\twith a tab\n" for n in range(120)))
        return path
    if request.param != "folder":
        path = tmp_path / ("corpus.jsonl" + ".gz" * (request.param == "gzip"))
        content = "\ufeff".encode() + "".join(lines(0, 120)).encode()
        path.write_bytes(gzip.compress(content) if request.param == "gzip" else content)
        return path
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number, (first, count) in enumerate([(0, 50), (50, 3), (53, 0), (53, 30), (83, 1), (84, 30),
                                             (114, 6)]):
        content = "".join(lines(first, count)).encode()
        path = folder / f"{number}.jsonl"
        if number in (3, 5):
            path.with_suffix(".jsonl.gz").write_bytes(gzip.compress(content))
        else:
            path.write_bytes(content)
    return folder


@pytest.fixture(params=[1 << 28, 1000, 50])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The bytes of a chunk: the whole corpus, some documents, or less than one line."""
    size: int = request.param
    monkeypatch.setattr(planning, "chunks_of",
                        lambda source, side: places.chunks_of(source, side, size))
    return size


def all_texts(plan: Plan) -> list[tuple[str, str]]:
    return [document[:2] for number in range(len(plan.shards))
            for block in planned_texts(plan, [number]) for document in block]


def test_any_shards_are_read_alone(corpus: Path, chunk: int) -> None:
    plan = plan_texts(str(corpus), "document", 7)
    expected = list(read_corpus(str(corpus)))
    assert [shard.documents for shard in plan.shards[:-1]] == [7] * 17 or chunk < 1 << 28
    shards = []
    texts = iter(expected)
    for shard in plan.shards:
        shards.append(list(islice(texts, shard.documents)))
    assert not list(texts)
    draw = random.Random(chunk)
    for _ in range(10):
        numbers = sorted(draw.sample(range(len(shards)), draw.randint(1, min(9, len(shards)))))
        # the same texts, with the same files and line numbers
        assert list(planned_texts(plan, numbers)) == [shards[number] for number in numbers]
    # the hashes by their definition
    for shard, documents in zip(plan.shards, shards, strict=True):
        content = b"".join(b"%d %d " % (len(d.id.encode()), len(d.text.encode())) + d.id.encode()
                           + d.text.encode() for d in documents)
        assert shard.texts == hashlib.sha256(content).hexdigest()
    assert plan.corpus == hashlib.sha256("".join(s.texts + "\n" for s in plan.shards).encode()).hexdigest()


def test_processes_and_a_file_give_the_same_plan(corpus: Path, chunk: int, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        """Processes are imitated here; test_a_large_file_is_read_by_processes has real ones."""

        def __init__(self, *arguments: object) -> None: ...

        def submit(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(function(*arguments))
            return future

        def shutdown(self, **options: object) -> None: ...

    plan = plan_texts(str(corpus), "document", 7)
    monkeypatch.setattr(planning, "ProcessPoolExecutor", Pool)
    assert plan_texts(str(corpus), "document", 7, processes=4) == plan
    write_plan(plan, tmp_path / "plan.jsonl")
    assert read_plan(tmp_path / "plan.jsonl") == plan
    moved = corpus.rename(tmp_path / f"moved{''.join(corpus.suffixes)}")
    assert all_texts(read_plan(tmp_path / "plan.jsonl", str(moved))) == [
        document[:2] for document in read_corpus(str(moved))]


def test_a_large_file_is_read_by_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(lines(0, 400)))
    monkeypatch.setattr(planning, "chunks_of",
                        lambda source, side: places.chunks_of(source, side, 4000))
    plan = plan_texts(str(path), "document", 50, processes=2)
    assert plan == plan_texts(str(path), "document", 50)
    assert len(places.chunks_of(str(path), "document", 4000)) > 2
    broken = path.read_text().split("\n")
    broken[380] = '{"id": 1.5}'
    path.write_text("\n".join(broken))
    with pytest.raises(InputError, match=r"corpus.jsonl:381: no field "):
        plan_texts(str(path), "document", 50, processes=2)


def test_no_shard_reads_more_than_its_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(lines(0, 100)))
    plan = plan_texts(str(path), "document", 10)
    read = []

    def counted(source: str, side: str, place: places.TextPlace, rejects: object) -> Iterator[object]:
        for located in places.texts_from(source, side, place, None):
            read.append(located.text.id)
            yield located

    monkeypatch.setattr("spladev3_anserini.encoding.plan.texts_from", counted)
    list(planned_texts(plan, [3, 4, 8]))
    assert read == [f"d{n}" for n in [*range(30, 50), *range(80, 90)]]


@pytest.mark.fault(5, "a planned corpus that changed: a text, a line more or less, a file gone",
                   detected="the hash of each shard's texts")
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("change", ["text", "more", "less", "gone"])
def test_a_corpus_that_changed(change: str, skip: bool, tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    content = [json.dumps({"id": f"d{n}", "contents": f"text {n}"}) + "\n" for n in range(20)]
    path.write_text("".join(content))
    plan = plan_texts(str(path), "document", 8, skip=skip)
    if change == "text":
        path.write_text("".join(content).replace("text 19", "text 91"))
    elif change == "more":
        path.write_text("".join([*content, '{"id": "new", "contents": ""}\n']))
    elif change == "less":
        path.write_text("".join(content[:-1]))
    else:
        path.unlink()
    message = {"text": ":17: changed since it was planned", "gone": ": no such file"}.get(
        change, ": changed since it was planned")
    with pytest.raises(InputError, match=f"corpus.jsonl{message}"):
        list(planned_texts(plan, [2]))
    if change == "text":
        assert len(list(planned_texts(plan, [0, 1]))) == 2  # theirs are the same


def test_a_file_that_came_to_a_corpus_is_refused(tmp_path: Path) -> None:
    for name in ("a", "c"):
        (tmp_path / f"{name}.jsonl").write_text("".join(lines(100 * ord(name), 20)))
    plan = plan_texts(str(tmp_path), "document", 8)
    (tmp_path / "b.jsonl").write_text("".join(lines(0, 3)))
    with pytest.raises(InputError, match="b.jsonl was added since it was planned"):
        list(planned_texts(plan, [0]))


def test_topics_that_grew_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "topics.tsv"
    path.write_text("q1\ta\nq2\tb\n")
    plan = plan_texts(str(path), "query", 1)
    path.write_text("q1\ta\nq2\tb\nq3\tc\n")
    assert [topic.id for (topic,) in planned_texts(plan, [0])] == ["q1"]
    with pytest.raises(InputError, match="topics.tsv:2: changed since it was planned"):
        list(planned_texts(plan, [0, 1]))


def test_a_text_in_the_place_of_a_blank_line_is_refused(tmp_path: Path) -> None:
    """Between two shards, where the hash of neither has it."""
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"id": "a", "contents": ""}\n' + " " * 27 + '\n{"id": "b", "contents": ""}\n')
    plan = plan_texts(str(path), "document", 1)
    path.write_text(path.read_text().replace(" " * 27, '{"id": "c", "contents": ""}'))
    with pytest.raises(InputError, match="corpus.jsonl:3: changed since it was planned"):
        list(planned_texts(plan, [0, 1]))


@pytest.mark.fault(15, "a process of plan that is killed", then="one line", detected="the pool")
def test_a_process_of_a_plan_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(lines(0, 60)))
    monkeypatch.setattr(planning, "chunks_of",
                        lambda source, side: places.chunks_of(source, side, 1000))
    monkeypatch.setattr(planning, "die_with_parent", abort)
    with pytest.raises(InputError, match="a process that read the corpus was killed, perhaps for lack"):
        plan_texts(str(path), "document", 10, processes=2)


def test_where_a_plan_may_be_written(tmp_path: Path, cli: Cli) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.jsonl").write_text("".join(lines(0, 9)))
    refused = cli("plan", "--corpus", corpus, "--output", corpus / "plan.jsonl")
    assert refused.code == 2
    assert "is in the corpus's folder, and would be read as part of it" in refused.err
    (tmp_path / "link").symlink_to(tmp_path / "plan.jsonl.gz")
    for name in ("link", "plan.jsonl.gz", "plan.jsonl"):
        assert cli("plan", "--corpus", corpus, "--output", tmp_path / name).code == 0
        assert read_plan(tmp_path / name) == plan_texts(
            str(corpus), "document")._replace(typed=str(corpus))
    assert (tmp_path / "link").is_symlink()


def test_parts_may_begin_again_with_fewer_shards(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    corpus, output = tmp_path / "corpus.jsonl", tmp_path / "parts"
    corpus.write_text("".join(lines(0, 40)))
    options = ("encode", "--model", tiny, "--max-length", 16, "--corpus", corpus, "--output")
    assert cli(*options, output, "--shard-size", 5).code == 0
    for part in ("1/2", "2/2"):
        again = (*options, output, "--shard-size", 20, "--part", part)
        assert cli(*again, "--overwrite").code == 0
        assert "1 kept" in cli(*again).out
        assert "1 kept" in cli(*again, "--overwrite").out
    assert cli(*options, tmp_path / "whole", "--shard-size", 20).code == 0
    names = sorted(path.name for path in (output / "impacts").iterdir())
    assert names == ["part-00000.jsonl", "part-00001.jsonl"]
    for name in ("manifest.json", *(f"impacts/{name}" for name in names)):
        assert (output / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    three = (*options, output, "--shard-size", 10, "--restart", "--part")
    assert [cli(*three, f"{part}/3").code for part in (1, 2, 3)] == [0, 0, 0]
    assert [cli(*three, f"{part}/2").code for part in (1, 2)] == [0, 0]
    assert sorted(path.name for path in output.glob("progress-*")) == [
        "progress-1-of-2.jsonl", "progress-2-of-2.jsonl"]


def test_bad_lines_and_repeated_ids_are_left_out(corpus: Path, chunk: int) -> None:
    """Against a plain loop over the valid documents, of which the first of each id is kept."""
    files = sorted(corpus.iterdir()) if corpus.is_dir() else [corpus]
    if files[0].suffix == ".parquet":
        pytest.skip("a row cannot be appended to a table")
    file = files[-1]
    again = "d0\tagain\nbad\n" if file.name.endswith("tsv") else \
        "again,d0\r\nbad\r\n" if file.name.endswith("csv") else '{"id": "d0", "contents": "again"}\n{bad\n'
    content = file.read_bytes()
    file.write_bytes(content + gzip.compress(again.encode()) if file.suffix == ".gz"
                     else content + again.encode())
    first = files[0]
    if first.suffix == ".jsonl":  # also before all others
        first.write_bytes(b'no json\n' + first.read_bytes().removeprefix("\ufeff".encode()))
    plan = plan_texts(str(corpus), "document", 7, skip=True)
    known: dict[str, str] = {}
    for document in (d for d in read_corpus(str(corpus), planning.Rejects())):
        known.setdefault(document.id, document.text)
    assert all_texts(plan) == list(known.items())
    assert list(planned_texts(plan, range(len(plan.shards)))) == [
        block for n in range(len(plan.shards)) for block in planned_texts(plan, [n])]
    assert plan.rejected is not None
    reasons = [line.reason for line in plan.rejected]
    assert len(reasons) == 2 + (first.suffix == ".jsonl")
    assert reasons[-2].startswith("the id 'd0' is already at ")
    with pytest.raises(InputError):
        plan_texts(str(corpus), "document", 7)


def test_damaged_plans_are_refused(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(lines(0, 30)))
    file = tmp_path / "plan.jsonl"
    write_plan(plan_texts(str(corpus), "document", 8), file)
    sound = file.read_text().splitlines(keepends=True)
    for content, message in (
            (sound[:-1], r"plan.jsonl:5: is missing; plan again"),
            ([*sound, sound[-1]], "plan.jsonl:6: more lines than its first line says"),
            ([*sound[:2], sound[2].replace("8", "9", 1), *sound[3:]], "plan.jsonl:3: not a line of a plan"),
            ([sound[0], sound[2], sound[1], *sound[3:]], "its shards are not those of its first"),
            (["{}\n"], "plan.jsonl:1: not a line of a plan"), ([], "plan.jsonl:1: is missing")):
        file.write_text("".join(content))
        with pytest.raises(InputError, match=message):
            read_plan(file)


def test_encode_with_a_plan_gives_the_same_bytes(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(lines(0, 60)))
    options = ("encode", "--model", tiny, "--max-length", 32, "--output")
    assert cli(*options, tmp_path / "whole", "--corpus", corpus, "--shard-size", 8).code == 0
    done = cli("plan", "--corpus", corpus, "--shard-size", 8, "--output", tmp_path / "plan.jsonl")
    assert "60 documents in 8 shards" in done.out
    for part in ("3/3", "1/3", "2/3"):
        done = cli(*options, tmp_path / "parts", "--plan", tmp_path / "plan.jsonl", "--part", part)
        assert done.code == 0, done.err
    for file in ["manifest.json", *(f"impacts/part-{n:05d}.jsonl" for n in range(8))]:
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()
    refused = cli(*options, tmp_path / "x", "--plan", tmp_path / "plan.jsonl", "--shard-size", 9)
    assert refused.code == 2
    assert "--shard-size and --on-error are decided by the plan" in refused.err


@pytest.mark.fault(5, "parts of one encode with different versions of torch", then="a warning",
                   detected="the environment of each shard in the journal")
def test_every_environment_is_in_the_manifest(tiny: Path, tmp_path: Path, cli: Cli,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(lines(0, 40)))
    options = ("encode", "--model", tiny, "--max-length", 32, "--corpus", corpus, "--shard-size", 10,
               "--output", tmp_path / "parts")
    here = pipeline.environment("cpu")
    for part, version in (("2/2", "0.1"), ("1/2", here["torch"])):
        monkeypatch.setattr(pipeline, "environment", lambda device, v=version: here | {"torch": v})
        done = cli(*options, "--part", part)
        assert done.code == 0
    assert "was encoded in 2 environments (torch " in done.err
    manifest = read_manifest(tmp_path / "parts")
    assert sorted(e["torch"] for e in manifest.environments) == sorted(["0.1", here["torch"]])
    assert [manifest.environments[shard.environment]["torch"] for shard in manifest.shards] == [
        here["torch"]] * 2 + ["0.1"] * 2
    # the same again, whoever finishes last
    before = (tmp_path / "parts" / "manifest.json").read_bytes()
    assert cli(*options, "--part", "2/2").code == 0
    assert (tmp_path / "parts" / "manifest.json").read_bytes() == before
