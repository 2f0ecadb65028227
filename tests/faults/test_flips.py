"""One flipped bit in any file that a command reads: refused in one line, or the same result."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from breaking import Encoding, one_line
from conftest import Result
from reliability import draws, tried

from spladev3_anserini.lucene.check import INDEX_MANIFEST
from spladev3_anserini.lucene.unchanged import SOUND_NOTE

Cli = Callable[..., Result]
Flip = Callable[[list[Path], tuple[object, ...], int], int]


class World(NamedTuple):
    """Files of every kind, all of one model."""

    model: Path
    encoded: Path
    index: Path
    queries: Path
    topics: Path


@pytest.fixture(scope="module")
def world(encoding: Encoding, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    from spladev3_anserini.cli.commands import commands

    root = tmp_path_factory.mktemp("flips")
    made = World(root / "model", root / "encoded", root / "index", root / "queries",
                 root / "topics.tsv")
    shutil.copytree(tiny, made.model)
    shutil.copytree(encoding.folder, made.encoded)
    made.topics.write_text("1\tthe cat on the mat\n2\twing boundary layer\n3\theat and one two\n")
    for command in (("index", "--encoded", made.encoded, "--index", made.index, "--store-texts"),
                    ("encode", "--model", made.model, "--topics", made.topics, "--max-length", 64, "--output", made.queries)):
        commands.main([str(word) for word in command], standalone_mode=False)
    return made


@contextmanager
def changed(path: Path, data: bytes) -> Iterator[None]:
    """A file that holds other bytes for the block."""
    sound = path.read_bytes()
    path.write_bytes(data)
    yield
    path.write_bytes(sound)


def flipped(data: bytes, chance: random.Random, end: int | None = None) -> bytes:
    """The bytes with one bit of them (of those before `end`) flipped."""
    place = chance.randrange(len(data) if end is None else end)
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


@pytest.fixture
def flip(tmp_path: Path, cli: Cli, chance: random.Random) -> Flip:
    """Flips one bit of one of some files, so many times, and runs a command that reads them and
    writes `tmp_path / "out"`. It must be refused in one line and leave nothing, or leave the bytes
    that it leaves of the sound files. Returns how often it was refused."""
    out = tmp_path / "out"

    def result_of(command: tuple[object, ...]) -> tuple[Result, bytes]:
        shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        result = cli(*command)
        left = out.read_bytes() if out.is_file() else b""
        return result, left or result.out.encode()

    def run(files: list[Path], command: tuple[object, ...], times: int) -> int:
        refused = 0
        sound, expected = result_of(command)
        assert (sound.code, bool(expected)) == (0, True), sound
        for _ in range(times):
            path = chance.choice(files)
            with changed(path, data := flipped(path.read_bytes(), chance)):
                result, left = result_of(command)
            where = (path.name, data, result)
            if result.code == 0:
                assert left == expected, where
            else:
                assert result.code == 2, where
                one_line(result.err)
                assert not out.exists(), where
                refused += 1
            tried()
        assert result_of(command)[1] == expected
        return refused

    return run


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def search(world: World, tmp_path: Path, *queries: object) -> tuple[object, ...]:
    return ("search", "--index", world.index, "--hits", 20, "--output", tmp_path / "out",
            *(queries or ("--model", world.model, "--topics", world.topics, "--max-length", 64)))


@pytest.mark.fault(12, "one bit of any file of an index flipped", then="refused by search",
                   detected="sha256 in the index's manifest")
def test_a_bit_of_an_index(world: World, tmp_path: Path, flip: Flip) -> None:
    files = [path for path in files_of(world.index) if not path.name.startswith("spladev3")]
    times = draws(4)
    command = search(world, tmp_path, "--queries", world.queries)
    assert flip(files, command, times) == times


@pytest.mark.fault(12, "one bit of an index's manifest flipped",
                   then="refused by search, or the same run (white space)",
                   detected="sha256 of the manifest's content")
def test_a_bit_of_an_indexs_manifest(world: World, tmp_path: Path, flip: Flip) -> None:
    flip([world.index / INDEX_MANIFEST], search(world, tmp_path, "--queries", world.queries),
         draws(2, 0.5))


@pytest.mark.fault(12, "one bit flipped in the record of when an index's files were last verified",
                   then="the same run", detected="sha256 of the note's content; the files are read "
                   "again")
def test_a_bit_of_the_note(world: World, tmp_path: Path, flip: Flip,
                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spladev3_anserini.lucene.unchanged._TICK_NS", -(10**18))  # noted at once
    command = search(world, tmp_path, "--queries", world.queries)
    flip(files_of(world.index), command, 1)  # writes the note
    assert flip([world.index / SOUND_NOTE], command, draws(2, 0.5)) == 0


@pytest.mark.fault(10, "one bit of any shard, or of its manifest, flipped",
                   then="refused by index and by flops, or the same result (white space)",
                   detected="sha256 in the manifest, of the manifest's content")
def test_a_bit_of_the_shards(world: World, tmp_path: Path, flip: Flip, chance: random.Random,
                             refused: Callable[..., str]) -> None:
    shards, manifest = files_of(world.encoded / "impacts"), world.encoded / "manifest.json"
    times = draws(3, 0.5)
    flops = ("flops", "--encoded", world.encoded, "--queries", world.queries)
    assert flip(shards, flops, times) == times
    flip([manifest], flops, draws(1, 0.25))
    for _ in range(draws(2, 0.25)):
        shard = chance.choice(shards)
        with changed(shard, flipped(shard.read_bytes(), chance)):
            assert f"{shard}: changed since it was written" in refused(
                "index", "--encoded", world.encoded, "--index", tmp_path / "index")
        tried()


@pytest.mark.fault(14, "one bit of encoded queries, or of their manifest, flipped",
                   then="refused by search, or the same run (white space)",
                   detected="sha256 in the manifest, of the manifest's content")
def test_a_bit_of_encoded_queries(world: World, tmp_path: Path, flip: Flip) -> None:
    command = search(world, tmp_path, "--queries", world.queries)
    times = draws(2, 0.5)
    assert flip(files_of(world.queries / "impacts"), command, times) == times
    flip([world.queries / "manifest.json"], command, draws(2, 0.25))


@pytest.mark.fault(14, "one bit of a model's weights, config or tokenizer files flipped after its "
                   "documents were indexed (at a fresh encode there is nothing to compare with)",
                   then="refused by search, or the same run",
                   detected="fingerprint of weights, config and the tokenizer's content")
def test_a_bit_of_a_model(world: World, tmp_path: Path, flip: Flip) -> None:
    command = search(world, tmp_path)
    weights = [world.model / "model.safetensors", world.model / "config.json"]
    times = draws(2, 0.5)
    assert flip(weights, command, times) == times
    flip(files_of(world.model), command, draws(2, 0.5))


@pytest.mark.fault(19, "one bit of the header of a model's weights flipped",
                   then="refused, or read as other tensors that fit the model",
                   detected="safetensors' own checks, names and shapes of the model's tensors")
def test_a_bit_of_a_header(world: World, tmp_path: Path, cli: Cli, chance: random.Random) -> None:
    weights = world.model / "model.safetensors"
    sound = weights.read_bytes()
    header = 8 + int.from_bytes(sound[:8], "little")
    for end in (*range(1, 9), *[header] * draws(3, 0.5)):
        data = flipped(sound, chance, end)
        with changed(weights, data):
            result = cli("encode", "--model", world.model, "--topics", world.topics, "--max-length", 64, "--output", tmp_path / "out")
        if result.code:
            assert result.code == 2, (data[:header], result)
            one_line(result.err)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        tried()
