"""Stored texts against a dict of the same texts; bytes that changed; snippets against all windows."""

from __future__ import annotations

import random
import re
import shutil
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from spladev3_anserini.collection.records import checked_id
from spladev3_anserini.collection.snippets import plain_words, snippet
from spladev3_anserini.collection.stored_texts import open_texts, write_texts
from spladev3_anserini.errors import InputError
from spladev3_anserini.model.tokenizer import Tokenizer

ALPHABET = "aé中\0\x1b\n \u202e😀"


def texts_of(seed: int, count: int = 400) -> dict[str, str]:
    """Documents with every kind of text: none, long ones, control characters, all of Unicode."""
    chance = random.Random(seed)
    texts = {}
    for number in range(count):
        identifier = checked_id(f"{chance.choice('aé中😀/%#')}/{number}", "the test")
        length = chance.choice([0, 1, 30, 300, 3_000])
        texts[identifier] = "".join(chance.choices(ALPHABET, k=length))
    texts["huge"] = "".join(chance.choices(ALPHABET, k=200_000))
    return texts


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder, texts = tmp_path_factory.mktemp("texts"), texts_of(1)
    assert write_texts(folder, texts.items()) == len(texts)
    return folder, texts


def test_each_text_is_what_was_written(stored: tuple[Path, dict[str, str]]) -> None:
    folder, texts = stored
    kept = open_texts(folder)
    assert kept is not None
    assert len(kept) == len(texts)
    assert list(kept.items()) == list(texts.items())
    asked = random.Random(2).choices(list(texts), k=300)
    assert [kept.text(identifier) for identifier in asked] == [texts[identifier] for identifier in asked]
    for unknown in ("", "nothing", "huge ", "\ud800"):
        with pytest.raises(KeyError):
            kept.text(unknown)


def test_blocks_are_of_16_kib_and_in_the_order_of_the_texts(stored: tuple[Path, dict[str, str]]) -> None:
    """Read here from the file alone: a head, then zlib's streams of lengths, ids and texts."""
    folder, texts = stored
    rest = (folder / "texts.blocks").read_bytes().split(b"\n", 1)[1]
    found, sizes = [], []
    while rest:
        unpacker = zlib.decompressobj()
        block, rest = unpacker.decompress(rest), unpacker.unused_data
        sizes.append(len(block))
        while block:
            of_id, of_text = (int.from_bytes(block[place : place + 4], "little") for place in (0, 4))
            block = block[8:]
            found.append((block[:of_id].decode(), block[of_id : of_id + of_text].decode()))
            block = block[of_id + of_text :]
    assert found == list(texts.items())
    assert sum(size > 1 << 14 for size in sizes) == sum(len(t.encode()) > 1 << 14 for t in texts.values())


def test_no_text_at_all_and_no_files(tmp_path: Path) -> None:
    assert open_texts(tmp_path) is None
    assert write_texts(tmp_path, []) == 0
    kept = open_texts(tmp_path)
    assert kept is not None
    assert (len(kept), list(kept.items())) == (0, [])
    with pytest.raises(KeyError):
        kept.text("a")


def test_ids_with_the_same_hash_keep_their_own_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spladev3_anserini.collection.stored_texts.id_hash", lambda identifier: len(identifier) % 2)
    texts = texts_of(3, 60)
    write_texts(tmp_path, texts.items())
    kept = open_texts(tmp_path)
    assert kept is not None
    assert {identifier: kept.text(identifier) for identifier in texts} == texts
    with pytest.raises(KeyError):
        kept.text("none")


def test_threads_share_them(stored: tuple[Path, dict[str, str]]) -> None:
    folder, texts = stored
    kept, wrong = open_texts(folder), []

    def read(seed: int) -> None:
        for identifier in random.Random(seed).choices(list(texts), k=200):
            if kept is None or kept.text(identifier) != texts[identifier]:
                wrong.append(identifier)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.fault(12, "one bit of any file of stored texts flipped, read without its hash (`trust`)",
                   then="refused by file, not found, or the same text",
                   detected="zlib's checksum, the bounds of the arrays, the id beside each text")
def test_a_flipped_bit_gives_no_other_text(stored: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    source, texts = stored
    chance, refused = random.Random(4), 0
    few = chance.sample(list(texts), 12)
    for _ in range(60):
        folder = tmp_path / "broken"
        shutil.copytree(source, folder)
        path = chance.choice(sorted(folder.iterdir()))
        data = bytearray(path.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        for identifier in few:
            found = left(folder, identifier)
            refused += found.startswith(str(folder))
            assert found in (texts[identifier], "not found") or found.startswith(f"{folder}/texts."), path
        shutil.rmtree(folder)
    assert refused > 0


def left(folder: Path, identifier: str) -> str:
    """What a reader is given: a text, or a message."""
    try:
        kept = open_texts(folder)
        assert kept is not None
        return kept.text(identifier)
    except KeyError:
        return "not found"
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("change", ["shorter", "longer", "other head", "no array"])
def test_files_that_do_not_fit_are_refused(change: str, stored: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(stored[0], folder)
    blocks = folder / "texts.blocks"
    data = blocks.read_bytes()
    blocks.write_bytes({"shorter": data[:-1], "longer": data + b"x", "other head": b"S" + data[1:]}.get(change, data))
    if change == "no array":
        (folder / "texts.hashes.npy").write_bytes(b"text")
    with pytest.raises(InputError, match="texts\\."):
        open_texts(folder)


# snippets

TEXT = ("The shutil module offers operations on files. " * 8 + "You can copy a file, or copy trees of files, "
        "with shutil. " + "Other modules do other things. " * 8)


def joined(pieces: Sequence[tuple[str, bool]]) -> str:
    return "".join(piece for piece, _ in pieces)


def marked(pieces: Sequence[tuple[str, bool]]) -> list[str]:
    return [piece for piece, is_marked in pieces if is_marked]


def test_the_part_with_the_words_is_shown_with_marks() -> None:
    found = snippet(TEXT, {"copy", "trees"}, 60)
    assert marked(found) == ["copy", "copy", "trees"]
    assert "copy a file, or copy trees of files" in joined(found)
    assert joined(found).startswith("… ")
    assert joined(found).endswith(" …")
    assert joined(snippet(TEXT, ["none"], 60)) == "The shutil module offers operations on files. The shutil …"
    assert snippet("a\n b\t c", ["B", "b"]) == [("a ", False), ("b", True), (" c", False)]
    assert snippet(" \n", ["b"]) == snippet("", ["b"]) == []


def test_an_impact_decides_between_two_parts() -> None:
    text = "heat " + "x " * 100 + "wing " + "x " * 100
    assert marked(snippet(text, {"heat": 3, "wing": 2}, 40)) == ["heat"]
    assert marked(snippet(text, {"heat": 2, "wing": 3}, 40)) == ["wing"]
    assert marked(snippet(text, ["heat", "wing"], 40)) == ["heat"]  # the first of equals


@pytest.mark.parametrize("seed", range(40))
def test_no_other_part_has_words_of_more_impact(seed: int) -> None:
    """All parts that begin at a word, by brute force; a part is cut out of the text as it is."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("abcd", k=chance.choice([1, 2, 9]))) for _ in range(chance.choice([3, 60, 200]))]
    text, impacts = "  \n".join(words), {word: chance.randrange(1, 50) for word in set(chance.sample(words, 3))}
    most = chance.choice([20, 60, 200])
    found, line = snippet(text, impacts, most), " ".join(words)
    shown = joined(found).removeprefix("… ").removesuffix(" …").strip()
    assert len(joined(found)) <= most
    assert shown in line
    assert all(piece in impacts for piece in marked(found))
    assert all(re.search(rf"\b{word}\b", joined([p for p in found if not p[1]])) is None for word in impacts)

    def value(first: int) -> int:
        end, inside = 0, set()
        for place in range(first, len(words)):
            end += len(words[place]) + (place > first)
            if end > (most if len(line) <= most else most - 4):
                break
            inside.add(words[place])
        return sum(impacts.get(word, 0) for word in inside)

    best = max(value(first) for first in range(len(words)))
    assert sum(impacts[word] for word in set(marked(found))) >= best


def test_a_word_is_cut_where_it_is_longer_than_the_part() -> None:
    assert snippet("a" * 500, ["a" * 500], 50) == [("a" * 46, True), (" …", False)]
    assert joined(snippet("中" * 500, ["none"], 50)) == "中" * 46 + " …"


def test_words_are_those_of_the_tokenizer(tiny: Path) -> None:
    """Each wordpiece once, as `pieces` has them, and lower-cased; a length that was set does not cut."""
    tokenizer = Tokenizer(tiny)
    text = "The DOGS sat, RUNNING on  mats é中. " * 30
    tokenizer.tokenized([text], 16)
    words = tokenizer.words(text)
    assert [piece for _, _, pieces in words for piece in pieces] == tokenizer.pieces(text)
    assert [text[first:last] for first, last, _ in words][:5] == ["The", "DOGS", "sat", ",", "RUNNING"]
    assert words[1] == (4, 8, ["dog", "##s"])


def test_a_word_matches_by_half_of_its_letters(tiny: Path) -> None:
    words = Tokenizer(tiny).words
    assert marked(snippet("the DOGS bark", ["dog"], words=words)) == ["DOGS"]
    assert marked(snippet("the DOGS bark", ["##s"], words=words)) == []
    assert marked(snippet("the DOGS bark", ["##s", "dog", "the"], words=words)) == ["the", "DOGS"]
    assert [pieces for *_, pieces in plain_words("Two DOGS, é_1")] == [["two"], ["dogs"], ["é_1"]]
