"""Faulty lines that are left out on demand: each one written down, and in + out adds up."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from breaking import Break, content
from conftest import Result
from reliability import tried

Cli = Callable[..., Result]

#: What a faulty line is made of document n, and the id and the reason that are to be written.
FAULTS: list[tuple[Callable[[int], bytes], Callable[[int], str | None], str]] = [
    (lambda n: b'{"id": "d%d", "contents": "x' % n, lambda n: None, "not a JSON object"),
    (lambda n: b'{"id": "d%d", "contents": 3}' % n, lambda n: f"d{n}", "the field 'contents' is a"),
    (lambda n: b'{"id": "d%d"}' % n, lambda n: f"d{n}", "no field 'contents' or 'text'"),
    (lambda n: b'{"contents": "x"}', lambda n: None, "no field 'id' or '_id'"),
    (lambda n: b'{"id": "d %d", "contents": "x"}' % n, lambda n: f"d {n}", "the id 'd %d' has"),
    (lambda n: b'{"id": "", "contents": "x"}', lambda n: "", "the id is empty"),
    (lambda n: b'{"id": "d%d", "contents": "\xff"}' % n, lambda n: f"d{n}", "not UTF-8 at byte"),
    (lambda n: b'{"id": "d0", "contents": "x"}', lambda n: "d0", "the id 'd0' is already at"),
]


def write(path: Path, size: int, draw: random.Random) -> list[tuple[int, str | None, str]]:
    """A corpus of short documents of which 1 % are faulty, also the last line; returns (line,
    id, reason) of those."""
    faulty = sorted({*draw.sample(range(1, size - 1), size // 100 - 1), size - 1})
    expected = []
    lines = [b'{"id": "d%d", "contents": "cat %d"}' % (n, n % 9) for n in range(size)]
    for place, n in enumerate(faulty):
        line, own, reason = FAULTS[place % len(FAULTS)]
        lines[n] = line(n)
        expected.append((n + 1, own(n), reason.replace("%d", str(n))))
    path.write_bytes(b"\n".join(lines) + b"\n")
    return expected


@pytest.mark.fault(23, "a corpus of very short documents, 1 % of its lines faulty in eight ways, with "
                   "--on-error skip", then="each faulty line in rejected.jsonl with its place, id "
                   "and reason; documents and they are all the lines", detected="the manifest's counts")
@pytest.mark.parametrize("size", [2_000, pytest.param(200_000, marks=pytest.mark.long)])
def test_every_faulty_line_is_counted(size: int, tiny: Path, tmp_path: Path, cli: Cli,
                                      chance: random.Random) -> None:
    corpus = tmp_path / "corpus.jsonl"
    expected = write(corpus, size, chance)
    done = cli("encode", "--model", tiny, "--corpus", corpus, "--output", tmp_path / "out",
               "--max-length", 8, "--on-error", "skip")
    assert done.code == 0, done
    assert f"{size // 100:,} lines left out: {tmp_path / 'out' / 'rejected.jsonl'}" in done.out
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["rejected"] == len(expected) == size // 100
    documents = sum(shard["documents"] for shard in manifest["shards"])
    assert documents + manifest["rejected"] == size
    rejected = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").open()]
    assert [(own["where"], own["id"]) for own in rejected] == [
        (f"{corpus}:{line}", identifier) for line, identifier, _ in expected]
    for own, (_, _, reason) in zip(rejected, expected, strict=True):
        assert own["reason"].startswith(reason)
    kept = [json.loads(line)["id"] for path in sorted((tmp_path / "out" / "impacts").iterdir())
            for line in path.open()]
    bad = {line - 1 for line, _, _ in expected}
    assert kept == [f"d{n}" for n in range(size) if n not in bad]
    assert cli("verify", tmp_path / "out").code == 0
    tried(size // 100)


@pytest.mark.fault(23, "the same in parts, and killed at a random moment and resumed",
                   then="same bytes, rejected.jsonl too", detected="both passes leave out the same")
def test_parts_and_resumes_leave_out_the_same(tiny: Path, tmp_path: Path, cli: Cli, breaking: Break,
                                              chance: random.Random) -> None:
    corpus = tmp_path / "corpus.jsonl"
    write(corpus, 300, chance)
    command = ("encode", "--model", tiny, "--corpus", corpus, "--max-length", 8, "--shard-size", 30,
               "--on-error", "skip", "--output")

    def files(folder: Path) -> dict[str, bytes]:
        return content(folder) | {"rejected": (folder / "rejected.jsonl").read_bytes()}

    whole = breaking(tmp_path / "whole", *command, tmp_path / "whole")
    assert whole.code == 0, whole
    expected = files(tmp_path / "whole")
    assert len(expected["rejected"].splitlines()) == 3
    for part in ("2/2", "1/2"):
        assert cli(*command, tmp_path / "parts", "--part", part).code == 0
    assert files(tmp_path / "parts") == expected
    killed = breaking(tmp_path / "killed", *command, tmp_path / "killed", how="kill",
                      event=chance.randrange(len(whole.events)))
    assert killed.code == -signal.SIGKILL
    assert cli(*command, tmp_path / "killed").code == 0
    assert files(tmp_path / "killed") == expected
    assert not list((tmp_path / "killed").glob(".*.tmp"))


@pytest.mark.fault(23, "faulty lines without --on-error skip, faulty topics, nothing but faulty "
                   "lines", detected="readers, by file and line")
def test_stopping_is_the_default(tiny: Path, tmp_path: Path, refused: Callable[..., str],
                                 cli: Cli) -> None:
    corpus = tmp_path / "corpus.jsonl"
    write(corpus, 300, random.Random(1))
    command = ("encode", "--model", tiny, "--max-length", 8, "--output", tmp_path / "out",
               "--corpus")
    assert f"{corpus}:" in refused(*command, corpus)
    assert not (tmp_path / "out").exists()
    (tmp_path / "t.tsv").write_text("1\tcat\n2 dog\n")
    assert "--on-error skip: is for documents" in refused(
        *command[:-1], "--topics", tmp_path / "t.tsv", "--on-error", "skip")
    (tmp_path / "bad.jsonl").write_text("{\n{\n")
    assert "bad.jsonl: no document in it that could be read" in refused(
        *command, tmp_path / "bad.jsonl", "--on-error", "skip")
    # a corpus that was mended has the same texts, and nothing that says otherwise is left
    assert cli(*command, corpus, "--on-error", "skip").code == 0
    left_out = [json.loads(line)["where"] for line in (tmp_path / "out" / "rejected.jsonl").open()]
    bad = {int(where.rpartition(":")[2]) for where in left_out}
    kept = [line for n, line in enumerate(corpus.read_bytes().splitlines(), 1) if n not in bad]
    corpus.write_bytes(b"\n".join(kept) + b"\n")
    assert cli(*command, corpus).code == 0
    assert not (tmp_path / "out" / "rejected.jsonl").exists()
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["rejected"] == 0


@pytest.mark.fault(5, "a corpus that grows between the two passes over it",
                   detected="hash of the texts")
def test_a_corpus_that_grows(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                             refused: Callable[..., str]) -> None:
    import spladev3_anserini.encoding.planning as texts

    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "a", "contents": "cat"}\n')
    first_pass = texts.plan_texts

    def then_append(*given: object, **more: object) -> object:
        surveyed = first_pass(*given, **more)  # type: ignore[arg-type]
        with corpus.open("a") as stream:
            stream.write('{"id": "b", "contents": "dog"}\n')
        return surveyed

    monkeypatch.setattr(texts, "plan_texts", then_append)
    assert "changed since it was planned" in refused(
        "encode", "--model", tiny, "--corpus", corpus, "--output", tmp_path / "out", "--max-length", 8)
