"""What `verify` says of every kind of folder that this package writes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from breaking import Encoding, content, one_line
from conftest import Result, write_lines
from indexes import Corpus, index_of
from signed import signed

from spladev3_anserini.impacts.manifest import Record, write_record
from spladev3_anserini.lucene.check import INDEX_MANIFEST
from spladev3_anserini.lucene.segments import newest_segments, written_by
from spladev3_anserini.training.score_files import (
    ScoreFingerprint,
    ScoreManifest,
    ScorePart,
    Scores,
    write_scores,
)

Cli = Callable[..., Result]
DOCUMENTS: Corpus = [(f"d{n}", {"a": 1 + n % 7, f"t{n % 5}": 9}) for n in range(20)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return index_of(DOCUMENTS, tmp_path_factory.mktemp("built"))


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "index"))


def of_lucene(segments: Path, old: bytes, new: bytes) -> None:
    """Rewrites a segments file with its checksum right: CRC-32 of all before it, in 8 bytes."""
    data = segments.read_bytes()
    assert old in data
    data = data.replace(old, new)[:-8]
    segments.write_bytes(data + zlib.crc32(data).to_bytes(8, "big"))


def version(*numbers: int) -> tuple[bytes, bytes]:
    """Three numbers of the version that wrote an index, and the major one that began it."""
    return bytes([9, 9, 1, 9]), bytes(numbers)


@pytest.mark.fault(12,
                   "an index of a Lucene that is newer, older, or has codecs that this one lacks",
                   detected="the version in its segments file, whose checksum is right")
def test_an_index_of_another_lucene(index: Path, tmp_path: Path, cli: Cli) -> None:
    assert written_by(index / "segments_1") == (9, 9, 1)
    (index / INDEX_MANIFEST).unlink()
    sound = (index / "segments_1").read_bytes()
    queries = write_lines(tmp_path / "q.jsonl", [{"id": "1", "contents": "", "vector": {"a": 1}}])
    search = ("search", "--prebuilt", "--index", index, "--queries", queries, "--output",
              tmp_path / "run")
    for *changes, of in (
        ((b"Lucene99", b"Lucene10"), version(10, 4, 0, 9), "10.4.0"),  # a codec by name
        (version(10, 0, 0, 10), "10.0.0"),  # a major version, too new
        (version(7, 7, 3, 7), "7.7.3"),  # and too old
        ((sound[13:17], b"\x00\x00\x00\x63"), version(9, 12, 2, 9), "9.12.2"),  # a format
    ):
        (index / "segments_1").write_bytes(sound)
        for old, new in changes:
            of_lucene(index / "segments_1", old, new)
        for command in (("verify", index), search):
            result = cli(*command)
            assert result.code == 2, result
            said = result.err.splitlines()[-1]
            assert f"{index}: is an index of Lucene {of}, and this is Lucene 9.9.1, which " \
                "does not read it" in said
            assert "damaged" not in said
    assert not (tmp_path / "run").exists()
    (index / "segments_1").write_bytes(sound)
    assert cli("verify", index).out.endswith("built elsewhere, so only its bytes were checked\n")
    # what only looks as another format is damage: a wrong checksum, a header's flipped byte
    for file, old, new in (("segments_1", b"Lucene99", b"Lucene10"), ("segments_1", b"?", b"!"),
                           ("_0_Lucene99_0.doc", b"WriterDoc\0\0\0", b"WriterDoc\0\0\x63")):
        whole = (index / file).read_bytes()
        assert old in whole
        (index / file).write_bytes(whole.replace(old, new))
        result = cli("verify", index)
        assert (result.code, "is an index of Lucene" in result.err) == (1, False), result
        (index / file).write_bytes(whole)


def test_which_segments_file_lucene_opens(tmp_path: Path) -> None:
    """Numbers are base 36: z is 35, 10 is 36."""
    assert newest_segments(tmp_path) is None
    for name in ("segments_9", "segments_z", "segments_10", "segments.gen", "segments_ä"):
        (tmp_path / name).write_bytes(b"\x3f\xd7\x6c\x17\x08segments")
    assert newest_segments(tmp_path) == tmp_path / "segments_10"
    assert written_by(tmp_path / "segments_10") is None


def test_an_interrupted_encode_is_named_with_the_command_that_continues_it(
        encoding: Encoding, tmp_path: Path, cli: Cli, refused: Callable[..., str]) -> None:
    folder = Path(shutil.copytree(encoding.folder, tmp_path / "o u t"))
    (folder / "manifest.json").unlink()
    assert "6 of 6 shards are done" in refused("verify", folder)
    (folder / "impacts" / "part-00003.jsonl").unlink()
    (folder / "impacts" / "part-00001.jsonl").write_text("changed")
    said = refused("verify", folder)
    assert f"{folder}: an encode that is not finished: 4 of 6 shards are done; " in said
    words = shlex.split(said.partition("continues it: ")[2])
    assert words[:2] == ["spladev3-anserini", "encode"]
    model = encoding.command[encoding.command.index("--model") + 1]
    given = {"MODEL": model, "CORPUS": encoding.corpus}
    done = cli(*[given.get(word, word) for word in words[1:]])
    assert "2 shards written, 4 kept" in done.out
    assert content(folder) == encoding.files
    assert cli("verify", folder).code == 0


def test_parts_that_are_left_are_named(tiny: Path, encoding: Encoding, tmp_path: Path, cli: Cli,
                                       refused: Callable[..., str]) -> None:
    folder = tmp_path / "out"
    options = ("--model", tiny, "--corpus", encoding.corpus, "--output", folder, "--max-length", 32,
               "--shard-size", 25, "--scale", 51.2, "--top-k", 9, "--gzip", "--special-tokens",
               "keep")
    assert cli("encode", *options, "--part", "2/3").code == 0
    said = refused("verify", folder)
    assert "1 of 3 shards are done; left are the parts 1/3, 3/3; " in said
    words = shlex.split(said.partition("continues it: ")[2])
    assert set(words[8:]) == {
        "--variant=splade-v3", "--special-tokens=keep", "--top-k=9", "--shard-size=25",
        "--part=1/3", "--max-length=32", "--scale=51.2", "--gzip"}
    (folder / "progress-2-of-3.jsonl").write_text("no fingerprint\n")
    assert "no shard of it is known to be whole" in refused("verify", folder)


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """A folder as `score` leaves it, of two files."""
    from spladev3_anserini.files import sha256_of

    folder = tmp_path / "teacher"
    folder.mkdir()
    parts = []
    for number in range(2):
        path = folder / f"part-0000{number}.jsonl"
        write_scores(path, [Scores(f"q{number}", {"d1": 1.5, "d2": -2.0})])
        parts.append(ScorePart(name=path.name, sha256=sha256_of(path), queries=1, pairs=2))
    made = ScoreFingerprint(teacher="a", kind="onnx", max_length=8, batch_tokens=1, device="cpu",
                            dtype="float32", t5_token="", candidates="c", corpus="c", topics="t",
                            block=1, package="0")
    manifest: Record = ScoreManifest(name="t", fingerprint=made, parts=tuple(parts), queries=2,
                                     pairs=4, environment={})
    write_record(manifest, folder / "manifest.json")
    return folder


def test_scores_are_checked(scores: Path, cli: Cli, refused: Callable[..., str]) -> None:
    assert cli("verify", scores).out == f"{scores}: sound; 2 queries, 4 scores\n"
    record = json.loads((scores / "manifest.json").read_text())
    (scores / "manifest.json").write_text(json.dumps(signed(record | {"pairs": 5})))
    assert "says 5 scores of 2 queries, its files hold 4 of 2" in one_line(
        cli("verify", scores).err)
    (scores / "manifest.json").write_text(json.dumps(signed(record)))
    (scores / "part-00001.jsonl").write_text('{"query": "q1", "scores": {"d1": 1.25}}\n')
    result = cli("verify", scores)
    assert result.code == 1
    assert "part-00001.jsonl: missing, or changed since it was written" in one_line(result.err)
    (scores / "manifest.json").unlink()
    (scores / ".progress-1-of-1.jsonl").touch()
    assert "the same score continues them" in refused("verify", scores)


def test_folders_that_other_commands_check(tiny: Path, built: Path, tmp_path: Path,
                                           refused: Callable[..., str]) -> None:
    assert "is a model" in refused("verify", tiny)
    for file, said in (("stages.json", "`reproduce run` compares its files"),
                       ("begun.json", "`train --resume` compares"),
                       ("whole.json", "`train --resume` compares"),
                       ("ensemble.json", "train compares it")):
        folder = tmp_path / file.partition(".")[0]
        folder.mkdir()
        (folder / file).touch()
        assert said in refused("verify", folder)
    assert f"each by itself: {built.parent / 'encoded'}, {built}" in refused(
        "verify", built.parent)
    assert "verify that folder" in refused("verify", built.parent / "encoded" / "impacts")
    (tmp_path / "empty").mkdir()
    assert "neither an encoded directory, an index nor a folder of scores" in refused(
        "verify", tmp_path / "empty")


def test_folders_and_files_that_changed_places_are_damage(encoding: Encoding, index: Path,
                                                          tmp_path: Path, cli: Cli) -> None:
    def damaged(folder: Path, said: str) -> None:
        result = cli("verify", folder)
        assert result.code == 1, result
        assert said in one_line(result.err)

    encoded = Path(shutil.copytree(encoding.folder, tmp_path / "encoded"))
    shard = encoded / "impacts" / "part-00002.jsonl"
    shard.unlink()
    shard.mkdir()
    damaged(encoded, f"{shard}: is a folder, expected a file")
    shutil.rmtree(encoded / "impacts")
    (encoded / "impacts").touch()
    damaged(encoded, "part-00000.jsonl: missing")
    (encoded / "manifest.json").unlink()
    (encoded / "manifest.json").mkdir()
    damaged(encoded, "manifest.json: is a folder")
    (encoded / "manifest.json").rmdir()
    os.mkfifo(encoded / "manifest.json")
    damaged(encoded, "manifest.json: is no plain file")
    (index / "segments_1").unlink()
    damaged(index, "not a Lucene index (no segments file in it)")
    (index / INDEX_MANIFEST).unlink()
    damaged(index, "not a Lucene index (no segments file in it)")
