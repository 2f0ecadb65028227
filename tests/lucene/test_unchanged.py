"""An index whose files are no longer those that were built is refused by whatever reads it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result, write_lines
from indexes import Corpus, index_of
from signed import signed

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import to_json
from spladev3_anserini.lucene import unchanged
from spladev3_anserini.lucene.check import INDEX_MANIFEST, read_index_manifest
from spladev3_anserini.lucene.opening import open_searcher
from spladev3_anserini.lucene.searcher import ImpactSearcher
from spladev3_anserini.lucene.unchanged import SOUND_NOTE, Note

Cli = Callable[..., Result]
DOCUMENTS: Corpus = [(f"d{n}", {"a": 1 + n % 7, f"t{n % 5}": 9}) for n in range(40)]
REFUSED = "changed since the index was built"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return index_of(DOCUMENTS, tmp_path_factory.mktemp("built"), shards=1)


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "index",
                                ignore=shutil.ignore_patterns(SOUND_NOTE)))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were hashed; files count as old, so that they are noted."""
    names: list[str] = []
    right = unchanged.sha256_of

    def watched(path: Path) -> str:
        names.append(path.name)
        return right(path)

    monkeypatch.setattr(unchanged, "sha256_of", watched)
    monkeypatch.setattr(unchanged, "_TICK_NS", -(10**18))
    return names


def searched(index: Path) -> list[str]:
    """The files of Lucene and of the exact engine."""
    return sorted(path.name for path in index.iterdir() if not path.name.startswith("spladev3"))


def flip(path: Path, place: int = 40) -> None:
    """Another byte in the same place, with the times as they were: a copy of other bytes."""
    data, before = path.read_bytes(), path.stat()
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_the_manifest_holds_every_file(index: Path) -> None:
    record = json.loads((index / INDEX_MANIFEST).read_text())
    assert record["files"] == [
        {"name": name, "size": len(data := (index / name).read_bytes()),
         "sha256": hashlib.sha256(data).hexdigest()} for name in searched(index)]
    assert "segments_1" in searched(index)
    assert len(searched(index)) > 10


def test_only_what_changed_is_hashed(index: Path, hashed: list[str]) -> None:
    def opened() -> list[str]:
        hashed.clear()
        open_searcher(index)[0].close()
        return sorted(hashed)

    assert opened() == searched(index)  # a copy: other inodes
    assert opened() == []
    os.utime(index / "_0.fnm")
    assert opened() == ["_0.fnm"]
    (index / "segments_1").write_bytes((index / "segments_1").read_bytes())
    assert opened() == ["segments_1"]
    assert opened() == []
    os.rename(index, index.with_name("moved"))  # same inodes and times
    index = index.with_name("moved")
    hashed.clear()
    ImpactSearcher(index).close()
    assert hashed == []
    read_index_manifest(index, every=True)
    assert sorted(hashed) == searched(index)


@pytest.mark.fault(12, "a byte of an index changed, with the file's times as they were",
                   detected="the time of its last change (ctime), then its sha256")
def test_a_changed_byte_with_old_times(index: Path, hashed: list[str]) -> None:
    read_index_manifest(index)
    for name in searched(index):
        flip(index / name, 3)
        for read in (open_searcher, ImpactSearcher, read_index_manifest):
            with pytest.raises(InputError, match=f"{name}: {REFUSED} .sha256.; build it again"):
                read(index)
        flip(index / name, 3)
    read_index_manifest(index)


def test_every_command_that_reads_an_index_refuses_a_changed_byte(
        index: Path, tmp_path: Path, refused: Callable[..., str], cli: Cli) -> None:
    topics, qrels = tmp_path / "t.tsv", tmp_path / "qrels"
    topics.write_text("1\ta\n")
    qrels.write_text("1 0 d1 1\n")
    run = write_lines(tmp_path / "run", ["1 Q0 d1 1 2 t"])
    flip(index / "_0_Lucene99_0.doc")
    for command in (
            ("search", "--topics", topics, "--output", tmp_path / "out"), ("ask", "a"),
            ("explain", "--docid", "d1", "--query", "a"), ("flops", "--topics", topics),
            ("mine", "--topics", topics, "--qrels", qrels, "--output", tmp_path / "out"),
            ("breakdown", "--topics", topics, "--qrels", qrels, "--run", f"a={run}", "--run",
             f"b={run}")):
        said = refused(command[0], "--index", index, *command[1:])
        assert f"{index}/_0_Lucene99_0.doc: {REFUSED} (sha256)" in said, command
    assert not (tmp_path / "out").exists()
    assert cli("verify", index).code == 1


def test_a_file_that_changed_a_moment_ago_is_not_noted(index: Path) -> None:
    """It may change again within one tick of the file system's clock, and look the same."""
    read_index_manifest(index)
    assert not (index / SOUND_NOTE).exists()
    for name in searched(index)[1:]:
        os.utime(index / name, (1, 1))  # its ctime is of this moment
    read_index_manifest(index)
    assert not (index / SOUND_NOTE).exists()


@pytest.mark.fault(12, "the record of verified files damaged, of another index, a folder, or not "
                   "writable", then="the files are read again",
                   detected="sha256 of its content; sha256, size, times and inode of each file")
def test_a_note_that_is_none(index: Path, built: Path, hashed: list[str],
                             monkeypatch: pytest.MonkeyPatch) -> None:
    read_index_manifest(index)
    note = index / SOUND_NOTE
    sound, every = note.read_bytes(), searched(index)
    own = json.loads(sound)["files"]
    other = Note(files={}).model_validate({"files": own | {
        every[0]: own[every[0]] | {"sha256": "0" * 64}}})
    for data, expected in ((sound, []), (sound[:-9], every), (b"", every), (b"{}", every),
                           (b"[[" * 50_000, every), (b"\xff" * 9, every),
                           (sound.replace(b'"inode": ', b'"inode": 1'), every),
                           (to_json(other).encode(), every[:1])):
        note.write_bytes(data)
        hashed.clear()
        read_index_manifest(index)
        assert sorted(hashed) == expected, data[:80]
        assert json.loads(note.read_bytes())["files"].keys() == set(every)
    note.unlink()
    note.mkdir()
    read_index_manifest(index)
    note.rmdir()
    os.mkfifo(note)  # would be waited for
    read_index_manifest(index)
    note.unlink()

    def unwritable(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(unchanged, "write_record", unwritable)
    for _ in range(2):
        hashed.clear()
        read_index_manifest(index)
        assert sorted(hashed) == every
    assert not note.exists()


def test_verify_reads_every_byte_whatever_the_note_says(index: Path, hashed: list[str],
                                                        cli: Cli) -> None:
    """Bytes that change below the file system leave no trace in it: here a note says so."""
    read_index_manifest(index)
    flip(index / "segments_1", 60)
    found = (index / "segments_1").stat()
    record = json.loads((index / SOUND_NOTE).read_text())
    record["files"]["segments_1"] |= {"ctime_ns": found.st_ctime_ns}
    (index / SOUND_NOTE).write_text(json.dumps(signed(record)))
    read_index_manifest(index)
    assert cli("verify", index).code == 1


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda f: (f / "segments_1").unlink(), "segments_1: missing"),
    "added": (lambda f: shutil.copy(f / "segments_1", f / "segments_2"),
              "segments_2: was added since the index was built"),
    "pending": (lambda f: (f / "pending_segments_2").touch(), "pending_segments_2: was added"),
    "another segment": (lambda f: (f / "_9.doc").touch(), "_9.doc: was added"),
    "renamed": (lambda f: (f / "segments_1").rename(f / "segments_2"), "segments_1: missing"),
    "cut": (lambda f: os.truncate(f / "segments_1", 50),
            f"segments_1: {REFUSED} (50 bytes instead of "),
    "a folder": (lambda f: [(f / "segments_1").unlink(), (f / "segments_1").mkdir()],
                 "segments_1: is no plain file"),
    "a pipe": (lambda f: [(f / "segments_1").unlink(), os.mkfifo(f / "segments_1")],
               "segments_1: is no plain file"),
    "a link to nothing": (lambda f: [(f / "segments_1").unlink(),
                                     (f / "segments_1").symlink_to("nowhere")],
                          "segments_1: missing"),
}


@pytest.mark.fault(12, "a file of an index missing, added, renamed, cut, or not a file",
                   detected="names, sizes and kinds in its manifest, with --trust too")
@pytest.mark.parametrize("name", DAMAGES)
def test_other_files(name: str, index: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    damage, said = DAMAGES[name]
    queries = write_lines(tmp_path / "q.jsonl", [{"id": "1", "contents": "", "vector": {"a": 1}}])
    damage(index)
    for trust in ([], ["--trust"]):
        assert f"{index}/{said}" in refused("flops", "--index", index, "--queries",
                                            queries, *trust)


def test_what_lucene_does_not_read_may_lie_there(index: Path, cli: Cli) -> None:
    for name in ("README.md", ".DS_Store", "write.lock"):
        (index / name).write_text("x")
    assert cli("verify", index).code == 0


def test_trust_skips_the_hashes_and_says_so(index: Path, tmp_path: Path, cli: Cli,
                                            hashed: list[str]) -> None:
    queries = write_lines(tmp_path / "q.jsonl", [{"id": "1", "contents": "", "vector": {"a": 1}}])
    search = ("search", "--index", index, "--queries", queries, "--output", tmp_path / "run")
    trusted = cli(*search, "--trust")
    assert hashed == []
    assert "; index files not hashed (--trust); " in trusted.out
    assert f"{index}: the hashes of its files were not compared (--trust)" in trusted.err
    assert not (index / SOUND_NOTE).exists()
    run = (tmp_path / "run").read_bytes()
    plain = cli(*search)
    assert "--trust" not in plain.out + plain.err
    assert (tmp_path / "run").read_bytes() == run


def test_an_index_without_hashes_of_its_files(index: Path, built: Path, cli: Cli) -> None:
    """As an older version built it: a warning says what is not detected, and `index` adds them."""
    path = index / INDEX_MANIFEST
    record = json.loads(path.read_text())
    files = record.pop("files")
    path.write_text(json.dumps(signed(record)))
    queries = write_lines(index.parent / "q.jsonl", [{"id": "1", "contents": "",
                                                      "vector": {"a": 1}}])
    result = cli("flops", "--index", index, "--queries", queries)
    assert result.code == 0
    assert "kept no hashes of its files" in result.err
    assert "kept no hashes" not in cli("verify", index).err
    again = cli("index", "--encoded", built.parent / "encoded", "--index", index)
    assert (again.err, "was there already" in again.out) == ("", True)
    assert json.loads(path.read_text())["files"] == files


def test_a_link_to_an_index_is_followed(index: Path, built: Path, tmp_path: Path,
                                        cli: Cli) -> None:
    link = tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to(index)
    command = ("index", "--encoded", built.parent / "encoded", "--index", link)
    assert "was there already" in cli(*command).out
    before = (index / "segments_1").stat().st_ino
    assert cli(*command, "--overwrite").code == 0
    assert link.is_symlink()
    assert (index / "segments_1").stat().st_ino != before
    assert [path.name for path in tmp_path.iterdir() if "index" in path.name] == ["index"]
