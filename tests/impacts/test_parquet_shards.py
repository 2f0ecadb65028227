"""Shards in parquet: what JSON lines hold, for any reader of parquet, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexes import write_parquet_shard
from pyarrow import parquet

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts import parquet_shards
from spladev3_anserini.impacts.manifest import Fingerprint, Manifest, write_record
from spladev3_anserini.impacts.shards import (
    ImpactDocument,
    read_manifest,
    read_shard,
    recount,
    verify_shards,
)
from spladev3_anserini.impacts.terms import term_fault

DOCUMENTS = [ImpactDocument("d1", "", {"##s": 4, "cat": 120}),
             ImpactDocument("é", "Text \"x\"\n\u2028", {'"': 1, "\\": 2, "中": 32767}),
             ImpactDocument("none", "", {})]
FINGERPRINT = Fingerprint(
    model="m", tokenizer="t", variant="splade-v3", side="document", quantizer="x100-rint",
    special_tokens="drop", max_length=256, top_k=None, dtype="float32", device="cpu",
    batch_tokens=1024, corpus="c", documents=3, shards=1, shard_size=5000, gzip=False, contents=True,
    package="0", format="parquet")


def test_another_reader_of_parquet_finds_the_documents(tmp_path: Path) -> None:
    write_parquet_shard(tmp_path, DOCUMENTS)
    path = tmp_path / "impacts" / "part-00000.parquet"
    assert list(read_shard(path)) == DOCUMENTS
    assert parquet.read_table(path).to_pylist() == [
        {"id": d.id, "contents": d.contents, "terms": list(d.vector), "impacts": list(d.vector.values())}
        for d in DOCUMENTS]
    assert [p.name for p in tmp_path.iterdir()] == ["impacts"]
    write_parquet_shard(tmp_path / "b", [d._replace(contents="") for d in DOCUMENTS])
    assert parquet.read_schema(tmp_path / "b/impacts/part-00000.parquet").names == ["id", "terms", "impacts"]


def test_the_sums_of_a_shard_and_the_same_bytes_twice(tmp_path: Path) -> None:
    shard = write_parquet_shard(tmp_path / "a", DOCUMENTS, lost=[0, 7, 2])
    content = (tmp_path / "a" / "impacts" / "part-00000.parquet").read_bytes()
    assert shard.sha256 == hashlib.sha256(content).hexdigest()
    assert (shard.documents, shard.nonempty, shard.postings) == (3, 2, 5)
    assert (shard.impacts, shard.max_impact) == (4 + 120 + 1 + 2 + 32767, 32767)
    assert (shard.empty_ids, shard.cut_texts, shard.lost_wordpieces) == (("none",), 2, 9)
    assert write_parquet_shard(tmp_path / "b", DOCUMENTS, lost=[0, 7, 2]) == shard


terms = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5).filter(
    lambda term: term_fault(term) is None)
documents = st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=8), st.dictionaries(
    terms, st.integers(1, 32767), max_size=5)), min_size=1, max_size=9)


@settings(max_examples=40, deadline=None)
@given(documents, st.integers(1, 4), st.integers(1, 4))
def test_a_shard_reads_back_in_any_row_groups(tmp_path_factory: pytest.TempPathFactory,
                                              pairs: list[tuple[str, dict[str, int]]], group: int,
                                              rows: int) -> None:
    folder = tmp_path_factory.mktemp("shard")
    own = [ImpactDocument(f"d{n}", c, v) for n, (c, v) in enumerate(pairs)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_shards, "_GROUP", group)
        patch.setattr(parquet_shards, "_ROWS", rows)
        write_parquet_shard(folder, own)
        path = folder / "impacts" / "part-00000.parquet"
        assert list(read_shard(path)) == own
    footer = parquet.read_metadata(path)
    sizes = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
    assert sum(sizes) == len(own)
    assert max(sizes) <= group


def test_long_texts_close_a_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_shards, "_CHARACTERS", 10)
    write_parquet_shard(tmp_path, [ImpactDocument(str(n), "123456", {"a": 1}) for n in range(5)])
    footer = parquet.read_metadata(tmp_path / "impacts/part-00000.parquet")
    assert [footer.row_group(n).num_rows for n in range(footer.num_row_groups)] == [2, 2, 1]


def test_a_file_of_another_writer_is_read(tmp_path: Path) -> None:
    """Without dictionaries, with other widths and names of inner columns, and more columns."""
    path = tmp_path / "other.parquet"
    large = pa.large_list(pa.field("array", pa.large_string()))
    table = pa.table({"extra": [1, 2], "impacts": pa.array([[1, 2], []], pa.list_(pa.int64())),
                      "terms": pa.array([["b", "a"], []], large), "id": pa.array([7, 8], pa.int64())})
    parquet.write_table(table, path, use_dictionary=False, use_compliant_nested_type=False)
    assert list(read_shard(path)) == [ImpactDocument("7", "", {"b": 1, "a": 2}), ImpactDocument("8", "", {})]


def one(identifier: Any = "d", names: Any = ("a",), numbers: Any = (1,)) -> pa.Table:
    """Two documents, the second with these values."""
    return pa.table({"id": ["first", identifier], "terms": [["x"], names and list(names)],
                     "impacts": [[1], numbers and list(numbers)]})


@pytest.mark.fault(9, "an impact document in parquet that JSON's checks would refuse",
                   detected="the same checks, by the number of the row")
@pytest.mark.parametrize(("table", "message"), [
    (one(numbers=[0]), ", row 2: the impact of 'a' is 0, expected"),
    (one(numbers=[-3]), ", row 2: the impact of 'a' is -3, expected"),
    (one(numbers=[32768]), ", row 2: the impact of 'a' is 32768, expected"),
    (one(numbers=[None]), ", row 2: the impact of 'a' is None, expected"),
    (pa.table({"id": ["d"], "terms": [["a"]], "impacts": [[2.9]]}), ", row 1: the impact of 'a' is 2.9, "),
    (pa.table({"id": ["d"], "terms": [["a"]], "impacts": [[True]]}), ", row 1: the impact of 'a' is True, "),
    (one(names=["a b"]), ", row 2: the term 'a b' has white space"),
    (one(names=[None]), ", row 2: a term is null"),
    (one(names=["a", "a"], numbers=[1, 2]), ", row 2: a term is there twice"),
    (one(names=["a", "b"]), ", row 2: its lists of terms and of impacts differ in length"),
    (one(names=None), ": damaged, or of a kind that cannot be read: a list is null"),
    (one(identifier="a b"), ", row 2: the id 'a b' has white space"),
    (one(identifier=None), ", row 2: the id is null"),
    (pa.table({"id": ["d"], "terms": ["a"], "impacts": [[1]]}), ": the column 'terms' is string, expected lists"),
    (pa.table({"id": ["d"], "terms": [[1]], "impacts": [[1]]}), ": the column 'terms' has no lists of strings"),
    (pa.table({"id": ["d"], "text": ["a"]}), r": not impact documents \(id, terms, impacts\); it has the columns id"),
    (pa.table([["d"], ["e"], [["a"]], [[1]]], ["id", "id", "terms", "impacts"]), ": not impact documents"),
])
def test_what_json_lines_would_be_refused_for_is_refused(table: pa.Table, message: str,
                                                         tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet.write_table(table, path)
    with pytest.raises(InputError, match=f"^{path}{message}"):
        list(read_shard(path))


@pytest.mark.fault(4, "a shard of parquet cut short, or one bit of its pages flipped",
                   detected="sha256 in the manifest; without one, the pages' checksums")
def test_a_damaged_shard_is_refused(tmp_path: Path) -> None:
    shard = write_parquet_shard(tmp_path, DOCUMENTS)
    write_record(Manifest(fingerprint=FINGERPRINT, shards=(shard,), model_name="m", input="x",
                          environments=({},)), tmp_path / "manifest.json")
    manifest = read_manifest(tmp_path)
    verify_shards(tmp_path, manifest)
    recount(tmp_path, manifest)
    path = tmp_path / "impacts" / "part-00000.parquet"
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for place in range(4, len(whole), 41):  # the first four bytes are a name that readers ignore
        flipped = whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1:]
        for content in (whole[:place], flipped):
            path.write_bytes(content)
            with pytest.raises(InputError, match=rf"^{path}: changed"):
                verify_shards(tmp_path, manifest)
            if content is not flipped or place < footer:
                with pytest.raises(InputError, match=rf"^{path}"):
                    list(read_shard(path))
