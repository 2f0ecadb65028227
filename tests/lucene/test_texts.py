"""Texts beside an index: those that were encoded, of every kind of index, or refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TEXTS, Result, write_corpus

import spladev3_anserini as splade
from spladev3_anserini.collection.stored_texts import open_texts
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import IndexManifest, read_record, write_record
from spladev3_anserini.lucene.check import INDEX_MANIFEST

Cli = Callable[..., Result]
Refused = Callable[..., str]


def encode(cli: Cli, tiny: Path, folder: Path, *more: object) -> Path:
    """A corpus of TEXTS, encoded in shards of three."""
    result = cli("encode", "--model", tiny, "--variant", "splade-v3", "--max-length", 64, "--corpus",
                 folder / "corpus.jsonl", "--output", folder / "encoded", "--shard-size", 3, *more)
    assert result.code == 0, result
    return folder / "encoded"


@pytest.fixture
def encoded(tiny: Path, tmp_path: Path, cli: Cli) -> Path:
    write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    return encode(cli, tiny, tmp_path)


def stored(index: Path) -> dict[str, str]:
    texts = open_texts(index)
    assert texts is not None
    return dict(texts.items())


def indexed() -> dict[str, str]:
    """TEXTS without those that have no wordpiece."""
    return {identifier: text for identifier, text in TEXTS.items() if text.strip()}


def files(index: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in index.iterdir() if path.name.startswith("texts.")}


def test_an_index_keeps_the_texts_of_its_documents(encoded: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("index", "--encoded", encoded, "--index", tmp_path / "index", "--store-texts")
    assert result.code == 0, result
    assert "MB of texts" in result.out
    assert stored(tmp_path / "index") == indexed()
    record = json.loads((tmp_path / "index" / INDEX_MANIFEST).read_text())
    assert record["versions"]["texts"] == "1"
    assert {f["name"] for f in record["files"]} >= files(tmp_path / "index").keys() != set()
    assert f"; {len(indexed())} texts" in cli("verify", tmp_path / "index").out


def test_texts_are_added_to_an_index_and_nothing_else_changes(encoded: Path, tmp_path: Path, cli: Cli) -> None:
    index = tmp_path / "index"
    cli("index", "--encoded", encoded, "--index", index)
    before = {p.name: (p.stat().st_ino, p.read_bytes()) for p in index.iterdir() if p.name != INDEX_MANIFEST}
    old = read_record(IndexManifest, index / INDEX_MANIFEST)
    write_record(old.model_copy(update={"versions": old.versions | {"pyserini": "0.old"}}), index / INDEX_MANIFEST)
    added = cli("index", "--encoded", encoded, "--index", index, "--store-texts")
    versions = read_record(IndexManifest, index / INDEX_MANIFEST).versions
    assert versions == old.versions | {"pyserini": "0.old", "texts": "1"}  # those that built the index
    assert "was there already" not in added.out
    assert stored(index) == indexed()
    for name, (inode, content) in before.items():
        if not name.startswith("spladev3"):
            assert ((index / name).stat().st_ino, (index / name).read_bytes()) == (inode, content)
    for more in ((), ("--store-texts",), ("--no-engine",)):  # none of them takes the texts away
        again = cli("index", "--encoded", encoded, "--index", index, *more)
        assert "was there already" in again.out
    assert stored(index) == indexed()
    assert cli("verify", index).code == 0


def test_an_index_that_gets_arrays_keeps_its_texts(encoded: Path, tmp_path: Path, cli: Cli) -> None:
    index = tmp_path / "index"
    cli("index", "--encoded", encoded, "--index", index, "--store-texts", "--no-engine")
    (tmp_path / "corpus.jsonl").unlink()
    assert cli("index", "--encoded", encoded, "--index", index).code == 0
    assert (index / "engine.ids.txt").exists()
    assert stored(index) == indexed()


def test_the_corpus_must_be_the_one_that_was_encoded(encoded: Path, tmp_path: Path, cli: Cli, refused: Refused) -> None:
    words = ("index", "--encoded", encoded, "--index", tmp_path / "index", "--store-texts")
    corpus, other = tmp_path / "corpus.jsonl", tmp_path / "other.jsonl"
    lines = corpus.read_text("utf-8").splitlines(keepends=True)
    for name, changed in {"changed": [*lines[:4], lines[4].replace(": \"", ": \"x", 2), *lines[5:]],
                          "swapped": [*lines[:3], lines[4], lines[3], *lines[5:]], "shorter": lines[:-1]}.items():
        other.write_text("".join(changed), "utf-8")
        message = refused(*words, "--corpus", other)
        assert f"not those that {encoded} was encoded from" in message, name
        assert "other.jsonl:" in message
    other.write_text("".join([*lines, '{"id": "more", "contents": "cat"}\n']), "utf-8")
    assert f"other.jsonl:{len(lines) + 1}: is more than" in refused(*words, "--corpus", other)
    corpus.rename(other)
    assert "give its place as --corpus" in refused(*words)
    assert not (tmp_path / "index").exists()
    assert list(tmp_path.glob(".index*")) == []
    assert "--corpus is for --store-texts" in refused(*words[:-1], "--corpus", other)
    other.write_text("".join(lines), "utf-8")
    assert cli(*words, "--corpus", other).code == 0
    assert stored(tmp_path / "index") == indexed()


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_texts_in_the_shards_need_no_corpus(form: str, tiny: Path, tmp_path: Path, cli: Cli) -> None:
    write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    encode(cli, tiny, tmp_path, "--contents", "--format", form)
    (tmp_path / "corpus.jsonl").unlink()
    assert cli("index", "--encoded", tmp_path / "encoded", "--index", tmp_path / "index", "--store-texts").code == 0
    assert stored(tmp_path / "index") == indexed()


def test_lines_that_encode_left_out_are_left_out(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    lines = [json.dumps({"id": identifier, "contents": text}) for identifier, text in TEXTS.items()]
    bad = [*lines[:2], "{no json", *lines[2:], lines[0], '{"id": "a b", "contents": "x"}']
    (tmp_path / "corpus.jsonl").write_text("\n".join(bad), "utf-8")
    encode(cli, tiny, tmp_path, "--on-error", "skip")
    assert cli("index", "--encoded", tmp_path / "encoded", "--index", tmp_path / "index", "--store-texts").code == 0
    assert stored(tmp_path / "index") == indexed()


def test_passages_have_texts_of_their_own(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    """The same from the corpus and from the shards; each is a part of its document."""
    long = {f"d/{n}": " ".join(["the cat sat on the mat ."] * n) for n in (1, 9, 30)}
    write_corpus(tmp_path / "corpus.jsonl", long)
    kept = []
    for name, more in (("a", ()), ("b", ("--contents",))):
        done = cli("encode", "--model", tiny, "--variant", "splade-v3", "--corpus", tmp_path / "corpus.jsonl",
                   "--output", tmp_path / f"{name}.encoded", "--shard-size", 2, "--passages", 24, *more)
        assert done.code == 0, done
        for index in (tmp_path / name, tmp_path / f"{name}.parts"):
            parts = [()] if index.name == name else [("--part", "1/2"), ("--part", "2/2")]
            for part in parts:
                assert cli("index", "--encoded", tmp_path / f"{name}.encoded", "--index", index, "--store-texts",
                           *part).code == 0
            kept.append(stored(index))
    assert kept[0] == kept[1] == kept[2] == kept[3]
    assert len(kept[0]) > 10
    assert all(text and text in long[identifier.rpartition("#")[0]] for identifier, text in kept[0].items())


def test_parts_and_their_merged_index(encoded: Path, tmp_path: Path, cli: Cli, refused: Refused) -> None:
    parts, whole = tmp_path / "parts-of-it", tmp_path / "whole"
    cli("index", "--encoded", encoded, "--index", whole, "--store-texts")
    for part, more in (("1/2", ["--store-texts"]), ("2/2", [])):
        assert cli("index", "--encoded", encoded, "--index", parts, "--part", part, *more).code == 0
    assert open_texts(parts) is None  # part 2 has none
    assert "0002-of-0002: has no texts" in refused("merge-index", "--parts", parts, "--index", tmp_path / "merged")
    cli("index", "--encoded", encoded, "--index", parts, "--part", "2/2", "--store-texts")
    assert stored(parts) == indexed()
    assert f"; {len(indexed())} texts" in cli("verify", parts).out
    assert cli("merge-index", "--parts", parts, "--index", tmp_path / "merged").code == 0
    assert files(tmp_path / "merged") == files(whole)
    for index in (parts, tmp_path / "merged"):
        assert TEXTS["d1"] in cli("doc", "d1", "--index", index).out


def test_merging_adds_texts_to_an_index_without(encoded: Path, tmp_path: Path, cli: Cli) -> None:
    for part in ("1/2", "2/2"):
        cli("index", "--encoded", encoded, "--index", tmp_path / "parts-of-it", "--part", part)
    merge = ("merge-index", "--parts", tmp_path / "parts-of-it", "--index", tmp_path / "merged")
    cli(*merge)
    for part in ("1/2", "2/2"):
        cli("index", "--encoded", encoded, "--index", tmp_path / "parts-of-it", "--part", part, "--store-texts")
    assert "was there already" not in cli(*merge).out
    assert "was there already" in cli(*merge).out
    assert stored(tmp_path / "merged") == indexed()


@pytest.mark.fault(12, "texts of another index put beside an index, with a manifest that names them",
                   then="refused by verify", detected="the ids of the texts and of the arrays")
def test_texts_of_other_documents_are_found_by_verify(encoded: Path, tmp_path: Path, cli: Cli) -> None:
    from spladev3_anserini.collection.stored_texts import write_texts
    from spladev3_anserini.lucene.unchanged import hashed_files

    index = tmp_path / "index"
    cli("index", "--encoded", encoded, "--index", index, "--store-texts")
    record = read_record(IndexManifest, index / INDEX_MANIFEST)
    for changed in ({**indexed(), "other": "x"}, {f"{i}x": text for i, text in indexed().items()}):
        write_texts(index, changed.items())
        write_record(record.model_copy(update={"files": hashed_files(index)}), index / INDEX_MANIFEST)
        result = cli("verify", index)
        assert (result.code, "not those of its documents" in result.err) == (1, True), result


@pytest.mark.fault(12, "an index with texts that a text was removed from, or that has one file more",
                   then="refused by every command that reads the index", detected="names in the manifest")
def test_files_of_texts_are_those_of_the_manifest(encoded: Path, tmp_path: Path, cli: Cli, refused: Refused) -> None:
    index = tmp_path / "index"
    cli("index", "--encoded", encoded, "--index", index, "--store-texts")
    shutil.copytree(index, tmp_path / "less")
    (tmp_path / "less" / "texts.hashes.npy").unlink()
    assert "texts.hashes.npy: missing" in refused("doc", "d1", "--index", tmp_path / "less")
    (index / "texts.more").touch()
    assert "texts.more: was added" in refused("ask", "--index", index, "cat")


def test_hits_with_texts_from_python(tiny: Path, tmp_path: Path) -> None:
    model = splade.load(tiny, variant="splade-v3", max_length=64)
    plain = model.index(TEXTS, tmp_path / "index")
    with pytest.raises(InputError, match="keeps no texts; add them with `store_texts`"):
        plain.text("d1")
    with pytest.raises(InputError, match="keeps no texts"):
        plain.search("cat", texts=True)
    index = model.index(TEXTS, tmp_path / "index", store_texts=True)
    assert {docid: index.text(docid) for docid in indexed()} == indexed()
    hits = index.search("the cat", texts=True)
    assert [(hit.docid, hit.score) for hit in hits] == index.search("the cat")
    assert hits
    assert all(hit.text == TEXTS[hit.docid] for hit in hits)
    for unknown in ("none", next(i for i in TEXTS if i not in indexed())):
        with pytest.raises(InputError, match="documents without terms are never indexed"):
            index.text(unknown)
    with pytest.raises(InputError, match="expected a string"):
        index.text(3)  # type: ignore[arg-type]
    fresh = model.index(TEXTS, tmp_path / "fresh", store_texts=True, encoded=tmp_path / "kept")
    assert fresh.text("d1") == TEXTS["d1"]
    fresh.close()
    with pytest.raises(InputError, match="was closed"):
        fresh.text("d1")
