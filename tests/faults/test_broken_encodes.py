"""Encodes that are killed, starved, doubled and damaged: refused in one line, or the same bytes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from breaking import Break, Encoding, content, one_line
from conftest import Result
from reliability import draws, tried

Cli = Callable[..., Result]
Refused = Callable[..., str]


def journalled(folder: Path) -> dict[Path, int]:
    """The shards that the journal names, and when they were written."""
    journal = folder / "progress-1-of-1.jsonl"
    text = journal.read_text() if journal.exists() else ""
    whole = text[: text.rfind("\n") + 1]  # a full disk may have cut the last line
    return {path: path.stat().st_mtime_ns for path in (folder / "impacts").glob("*")
            if path.name in whole}


def continued(breaking: Break, encoding: Encoding, folder: Path) -> None:
    """The same command again gives the undisturbed bytes and writes no finished shard again."""
    before = journalled(folder)
    again = breaking(folder, *encoding.command, folder)
    assert again.code == 0, again
    assert content(folder) == encoding.files
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert not list(folder.glob(".*.tmp"))


def moments(breaking: Break, encoding: Encoding, folder: Path) -> list[str]:
    """What an undisturbed encode does to its files, one after the other."""
    done = breaking(folder, *encoding.command, folder)
    assert done.code == 0, done
    shutil.rmtree(folder)
    return done.events


@pytest.mark.fault(1, "encode killed (kill -9) at a random file operation, run again",
                   then="same bytes, finished shards kept", detected="journal, sha256 of shards")
def test_killed_at_any_operation(breaking: Break, encoding: Encoding, tmp_path: Path,
                                 chance: random.Random) -> None:
    folder = tmp_path / "out"
    events = moments(breaking, encoding, folder)
    for _ in range(draws(3)):
        shutil.rmtree(folder, ignore_errors=True)
        assert breaking(folder, *encoding.command, folder, how="kill",
                        event=chance.randrange(len(events))).code == -signal.SIGKILL
        continued(breaking, encoding, folder)
        tried()


@pytest.mark.fault(1, "encode killed between a shard's rename and its line in the journal, and "
                   "between the last line and the manifest", then="same bytes",
                   detected="journal, sha256 of shards")
def test_killed_between_rename_and_manifest(breaking: Break, encoding: Encoding,
                                            tmp_path: Path) -> None:
    folder = tmp_path / "out"
    events = moments(breaking, encoding, folder)
    renamed = [n for n, event in enumerate(events) if event.startswith("os.rename .part-")]
    last = [n for n, event in enumerate(events) if "manifest" in event]
    assert len(renamed) == 6
    for event in (renamed[2] + 1, renamed[-1] + 1, *last):
        shutil.rmtree(folder, ignore_errors=True)
        breaking(folder, *encoding.command, folder, how="kill", event=event)
        assert not (folder / "manifest.json").exists()
        continued(breaking, encoding, folder)
        tried()


@pytest.mark.fault(1, "encode killed after a random time", then="same bytes",
                   detected="journal, sha256 of shards")
def test_killed_at_any_time(breaking: Break, encoding: Encoding, tmp_path: Path,
                            chance: random.Random) -> None:
    folder = tmp_path / "out"
    for _ in range(draws(1, 0.5)):
        shutil.rmtree(folder, ignore_errors=True)
        breaking(folder, *encoding.command, folder, after=chance.uniform(0.05, 1.5))
        continued(breaking, encoding, folder)
        tried()


@pytest.mark.fault(2, "a second encode on the same output", detected="lock of the folder, with "
                   "the process that holds it")
@pytest.mark.fault(2, "the lock of an encode that was killed", then="same bytes",
                   detected="the kernel frees the lock with its process")
@pytest.mark.fault(22, "two encodes on one output", detected="lock of the folder")
def test_two_encodes_and_a_stale_lock(breaking: Break, encoding: Encoding, tmp_path: Path,
                                      refused: Refused) -> None:
    folder = tmp_path / "out"
    first = breaking(folder, *encoding.command, folder, how="stop", event=20)
    assert first.stopped
    message = refused(*encoding.command, folder)
    assert f"another encode is writing here (part 1/1, process {first.stopped} on " in message
    os.kill(first.stopped, signal.SIGKILL)
    continued(breaking, encoding, folder)


@pytest.mark.fault(3, "disk full from a random file operation on", detected="the system's error, "
                   "with the file; nothing under a final name")
def test_a_full_disk(breaking: Break, encoding: Encoding, tmp_path: Path,
                     chance: random.Random) -> None:
    folder = tmp_path / "out"
    events = moments(breaking, encoding, folder)
    for _ in range(draws(2)):
        shutil.rmtree(folder, ignore_errors=True)
        broken = breaking(folder, *encoding.command, folder, how="full",
                          event=chance.randrange(len(events) - 2))
        assert broken.code == 2, broken
        assert str(folder) in one_line(broken.out)
        assert "No space left on device" in broken.out
        assert encoding.files.items() >= content(folder).items()
        continued(breaking, encoding, folder)
        tried()


@pytest.mark.fault(3, "no file may pass a random size (RLIMIT_FSIZE)", detected="the system's "
                   "error, with the file; nothing under a final name")
def test_files_that_may_not_grow(breaking: Break, encoding: Encoding, tmp_path: Path,
                                 chance: random.Random) -> None:
    folder = tmp_path / "out"
    largest = max(map(len, encoding.files.values()))
    for _ in range(draws(2)):
        shutil.rmtree(folder, ignore_errors=True)
        broken = breaking(folder, *encoding.command, folder, limit=chance.randrange(600, largest))
        assert broken.code == 2, broken
        assert str(folder) in one_line(broken.out)
        assert "File too large" in broken.out
        assert encoding.files.items() >= content(folder).items()
        continued(breaking, encoding, folder)
        tried()


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


@pytest.mark.fault(4, "one bit of a shard or of the manifest flipped", detected="sha256 in the "
                   "manifest, sha256 of the manifest's content")
@pytest.mark.fault(4, "a shard or the manifest cut short", detected="sha256 in the manifest, JSON")
def test_every_file_damaged(encoding: Encoding, tmp_path: Path, cli: Cli,
                            chance: random.Random) -> None:
    folder = Path(shutil.copytree(encoding.folder, tmp_path / "out"))
    for name, sound in encoding.files.items():
        path = folder / ("impacts" if name.startswith("part") else "") / name
        damages = [sound[: chance.randrange(len(sound) - 1)]]
        damages += [flipped(sound, chance.randrange(len(sound) - 1), chance.randrange(8))
                    for _ in range(draws(1, 0.2))]
        for damaged in damages:
            if name == "manifest.json" and damaged.split() == sound.split():
                continue  # white space between two values
            path.write_bytes(damaged)
            verified = cli("verify", folder)
            assert verified.code == 1, (name, damaged)
            assert f"{path}: " in one_line(verified.err)
            tried()
        again = cli(*encoding.command, folder)
        written = "0 shards" if name == "manifest.json" else "1 shard"
        assert f"{written} written" in again.out, (name, again)
        assert content(folder) == encoding.files


@pytest.mark.fault(4, "one bit of the journal flipped", then="same bytes",
                   detected="sha256 of each line's content")
def test_a_damaged_journal(encoding: Encoding, tmp_path: Path, cli: Cli,
                           chance: random.Random) -> None:
    folder = Path(shutil.copytree(encoding.folder, tmp_path / "out"))
    journal = folder / "progress-1-of-1.jsonl"
    sound = journal.read_bytes()
    begin = sound.index(b"\n") + 1
    for bit in (7, *(chance.randrange(8) for _ in range(draws(2, 0.5)))):
        (folder / "manifest.json").unlink()
        journal.write_bytes(flipped(sound, chance.randrange(begin, len(sound)), bit))
        assert cli(*encoding.command, folder).code == 0
        assert content(folder) == encoding.files
        tried()
    journal.write_bytes(flipped(sound, chance.randrange(begin - 1), 0))
    assert "its first line is damaged" in cli(*encoding.command, folder).err


@pytest.mark.fault(5, "resumed with another tokenizer", detected="fingerprint, both shown")
def test_another_tokenizer(encoding: Encoding, tiny: Path, tmp_path: Path,
                           refused: Refused) -> None:
    model = Path(shutil.copytree(tiny, tmp_path / "model"))
    settings = json.loads((model / "tokenizer.json").read_text("utf-8"))
    vocabulary = settings["model"]["vocab"]
    vocabulary["cat"], vocabulary["dog"] = vocabulary["dog"], vocabulary["cat"]
    (model / "tokenizer.json").write_text(json.dumps(settings), "utf-8")
    command = [model if word == tiny else word for word in encoding.command]
    message = refused(*command, encoding.folder)
    assert "tokenizer: " in message
    assert " there, " in message
    assert content(encoding.folder) == encoding.files
