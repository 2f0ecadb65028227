"""The index that our writer makes is the one that Anserini's IndexCollection makes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from indexes import Corpus, assert_equal, index_of

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.quantize import MAX_IMPACT
from spladev3_anserini.lucene import writer
from spladev3_anserini.lucene.check import open_reader, statistics
from spladev3_anserini.lucene.jvm import java_class
from spladev3_anserini.lucene.postings import open_lucene_postings

#: Characters that a writer's text could take for its own, and terms of the longest kind.
HARD = ["a", "##b", "\ue000", "x\ue000y", "\ue000\ue001", "\uf8ff", "|", "7", "é", "中", "😀" * 127,
        "w" * 255, "\u00a0", "\x01", "\ufffd", '"', "\\"]


def some_documents(count: int) -> Corpus:
    draw = random.Random(count)
    documents = [(f"{draw.choice(['d', 'é', '😀'])}{number}",
                  {term: draw.choice([1, 2, 3, 200])
                   for term in draw.sample(HARD, draw.randint(1, len(HARD)))})
                 for number in range(count)]
    return [*documents[:-1], ("empty", {}), ("largest", {"a": MAX_IMPACT, "w" * 255: MAX_IMPACT})]


def fields_of(index: Path) -> list[Any]:
    """All that Lucene knows of the fields, and what it stores of the first document."""
    reader = open_reader(index)
    try:
        found = java_class("org.apache.lucene.index.FieldInfos").getMergedFieldInfos(reader).iterator()
        rows: list[Any] = []
        while found.hasNext():
            field = found.next()
            rows.append((field.name, field.getIndexOptions().toString(), field.omitsNorms(),
                         field.getDocValuesType().toString(), field.hasPayloads(),
                         field.attributes().toString()))
        stored = reader.storedFields().document(0).getFields().toArray()
        return sorted(rows) + [(field.name(), field.stringValue()) for field in stored]
    finally:
        reader.close()


def test_it_is_anserinis_index(tmp_path: Path) -> None:
    documents = some_documents(300)
    ours, theirs = (index_of(documents, tmp_path / name, 1, threads, optimize=True)
                    for name, threads in (("ours", 0), ("theirs", 1)))
    assert fields_of(ours) == fields_of(theirs)
    assert statistics(ours) == statistics(theirs)
    size, expected = (sum(f.stat().st_size for f in index.glob("_*")) for index in (ours, theirs))
    assert size == pytest.approx(expected, rel=0.02)
    with open_lucene_postings(ours) as one, open_lucene_postings(theirs) as other:
        for docid, vector in documents[:40]:
            assert dict(one.vector(docid)) == dict(other.vector(docid)) == vector
    draw = random.Random(2)
    asked = [{term: draw.randint(1, 3) for term in draw.sample(HARD, 5)} for _ in range(50)]
    for index in (ours, theirs):
        assert_equal(index, documents, asked, 200)


def test_documents_of_very_many_terms(tmp_path: Path) -> None:
    documents = [("long", {f"t{n}": 1 + n % 900 for n in range(120_000)}), ("short", {"t7": 3})]
    index = index_of(documents, tmp_path, 1)
    assert statistics(index)[:3] == (2, 120_001, sum(documents[0][1].values()) + 3)
    assert_equal(index, documents, [{"t7": 2, "t119999": 1}], 5)


def test_a_document_with_every_private_character(tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one that is left is taken; if none is, one line says what to do."""
    monkeypatch.setattr(writer, "_PRIVATE", ("\ue000", "\ue001", "\ue002"))
    documents = [("one", {"\ue000": 5, "\ue001x": 6}), ("two", {"\ue002": 7})]
    index = index_of(documents, tmp_path, 1)
    with open_lucene_postings(index) as postings:
        assert [dict(postings.vector(docid)) for docid, _ in documents] == [v for _, v in documents]
    monkeypatch.setattr(writer, "_PRIVATE", ("\ue000", "\ue001"))
    with pytest.raises(InputError, match="document 'one': .* pass `anserini_threads`$"):
        index_of(documents, tmp_path / "none", 1)


def test_documents_are_numbered_in_their_order(tmp_path: Path) -> None:
    documents = [(f"d{number * 7919 % 1000}", {"a": 1}) for number in range(1000)]
    reader = open_reader(index_of(documents, tmp_path, 1))
    try:
        stored = reader.storedFields()
        assert [stored.document(n).get("id") for n in range(0, 1000, 97)] == [
            documents[n][0] for n in range(0, 1000, 97)]
    finally:
        reader.close()


@pytest.mark.fault(11, "an interrupt in the middle of writing an index", then="nothing is left",
                   detected="the writer is rolled back")
def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> Any:
        for number in range(100):
            yield writer.ImpactDocument(f"d{number}", "", {"a": 1})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writer.write_index(interrupted(), tmp_path, 200, optimize=False)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("segments")] == []
    writer.write_index([writer.ImpactDocument("d", "", {"a": 1})], tmp_path, 1, optimize=False)
    assert statistics(tmp_path).documents == 1
