"""Corpora in tables: the documents of the same JSON lines, every fault names its row or its file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from spladev3_anserini.collection.corpus import corpus_files, read_corpus, survey
from spladev3_anserini.collection.corpus_file import Rejects
from spladev3_anserini.collection.tables import row_groups, row_place, rows_of
from spladev3_anserini.errors import InputError

PAIRS = [("1", "first text"), ("b-2", "zweiter Text, größer"), ("3", ""), ("d/4:x#", "中文 \u2028 x"),
         ("e", "fifth")]


def contents_of(pairs: list[tuple[str, str]]) -> pa.Table:
    return pa.table({"id": [i for i, _ in pairs], "contents": [t for _, t in pairs]})


def write_parquet(path: Path, table: pa.Table, rows: int = 2, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=rows, **options)
    return path


def write_arrow(path: Path, table: pa.Table, rows: int = 2, kind: Any = ipc.new_stream) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with kind(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return path


def read(source: Path) -> list[tuple[str, str]]:
    return [(document.id, document.text) for document in read_corpus(str(source))]


def layouts(folder: Path) -> list[Path]:
    """The five documents in every layout of tables that is read."""
    table = contents_of(PAIRS)
    beir = pa.table({"_id": pa.array([i for i, _ in PAIRS]).dictionary_encode(), "title": [None] * 5,
                     "text": pa.array([t for _, t in PAIRS], pa.large_string()),
                     "embedding": [[0.5, 1.0]] * 5})
    write_parquet(folder / "beir" / "corpus.parquet", beir)
    write_parquet(folder / "beir" / "queries.parquet", table)
    for number, rows in enumerate((slice(0, 3), slice(3, 5))):
        write_parquet(folder / "hub" / "data" / f"train-{number:05d}-of-00002.parquet",
                      contents_of(PAIRS[rows]))
        write_parquet(folder / "plain" / f"{number}.parquet", contents_of(PAIRS[rows]))
    (folder / "hub" / "README.md").write_text("---\nlicense: mit\n---\n# data\n", "utf-8")
    (folder / "hub" / "dataset_infos.json").write_text("{}")
    described = folder / "described"
    write_parquet(described / "docs" / "x.parquet", table)
    write_parquet(described / "other.parquet", contents_of([("no", "part of it")]))
    (described / "README.md").write_text(
        "---\nconfigs:\n- config_name: docs\n  data_files:\n  - split: docs\n    path: docs/*\n---\n")
    return [write_parquet(folder / "a.parquet", table, compression="zstd"),
            write_parquet(folder / "b.parquet", table, write_page_checksum=True, compression="gzip"),
            write_arrow(folder / "c.arrow", table),
            write_arrow(folder / "d.arrow", table, kind=ipc.new_file),
            folder / "beir", folder / "hub", folder / "hub" / "data", folder / "plain", described,
            folder / "hub" / "data" / "train-*.parquet"]


def test_every_layout_gives_the_documents_and_the_hash_of_the_json_lines(tmp_path: Path) -> None:
    lines = tmp_path / "c.jsonl"
    lines.write_text("".join(json.dumps({"id": i, "contents": t}) + "\n" for i, t in PAIRS))
    expected = survey(str(lines), read_corpus(str(lines)))
    for source in layouts(tmp_path / "tables"):
        assert read(source) == PAIRS, source
        assert survey(str(source), read_corpus(str(source))) == expected, source


def test_a_data_set_that_hugging_face_saved_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    whole = datasets.Dataset.from_dict({"id": [i for i, _ in PAIRS], "text": [t for _, t in PAIRS]})
    whole.save_to_disk(tmp_path / "one", num_shards=2)
    assert read(tmp_path / "one") == PAIRS
    whole.select([4, 0, 2]).save_to_disk(tmp_path / "chosen")
    assert read(tmp_path / "chosen") == [PAIRS[4], PAIRS[0], PAIRS[2]]
    datasets.DatasetDict({"train": whole}).save_to_disk(tmp_path / "single")
    assert read(tmp_path / "single") == PAIRS
    datasets.DatasetDict({"train": whole, "test": whole}).save_to_disk(tmp_path / "two")
    with pytest.raises(InputError, match=r"two: has several splits; give one of \S+two/test, \S+two/train$"):
        read(tmp_path / "two")
    assert read(tmp_path / "two" / "test") == PAIRS
    (tmp_path / "one" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(InputError, match=r"data-00001-of-00002.arrow: no such file"):
        read(tmp_path / "one")


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_row_groups_are_read_alone_and_make_up_the_table(name: str, tmp_path: Path) -> None:
    write = write_parquet if name.endswith("parquet") else write_arrow
    path = write(tmp_path / name, contents_of([(f"d{n}", f"text {n}") for n in range(2600)]), rows=1100)
    assert row_groups(path) == [1100, 1100, 400]
    assert [[row["id"] for row in rows_of(path, group)] for group in (2, 0, 1)] == [
        [f"d{n}" for n in numbers] for numbers in (range(2200, 2600), range(1100), range(1100, 2200))]
    assert next(iter(rows_of(path, 1))) == {"id": "d1100", "contents": "text 1100"}
    with pytest.raises(InputError, match=rf"{name}: has no row group 3; it has 3$"):
        rows_of(path, 3)
    write(path, contents_of(PAIRS))  # a file that changed is not taken from memory
    assert row_groups(path) == [2, 2, 1]


def test_memory_does_not_hold_the_file(tmp_path: Path) -> None:
    text = pa.array([str(n) * 400 for n in range(20_000)])
    path = write_parquet(tmp_path / "a.parquet", pa.table({"id": range(20_000), "text": text}), rows=20_000,
                         compression="none", use_dictionary=False)
    size, pool = path.stat().st_size, pa.default_memory_pool()
    del text
    before = pool.bytes_allocated()
    most = max(pool.bytes_allocated() - before for _ in read_corpus(str(path)))
    assert size > 30e6
    assert 0 < most < 10e6


def test_a_table_without_rows_has_no_documents(tmp_path: Path) -> None:
    empty = contents_of(PAIRS).slice(0, 0)
    assert read(write_parquet(tmp_path / "a.parquet", empty)) == []
    assert read(write_arrow(tmp_path / "a.arrow", empty)) == []


def test_title_and_number_are_treated_as_in_json(tmp_path: Path) -> None:
    table = pa.table({"docid": pa.array([7, 8], pa.int32()), "text": ["and text", "no title"],
                      "title": ["A title", None]})
    assert read(write_parquet(tmp_path / "a.parquet", table)) == [("7", "A title and text"), ("8", "no title")]


def not_utf_8() -> pa.Table:
    raw = pa.array([b"fine", b"\xff\xfe", b"too"])
    return pa.table({"id": ["a", "b", "c"], "text": pa.Array.from_buffers(pa.string(), 3, raw.buffers())})


@pytest.mark.parametrize(("table", "message"), [
    (pa.table({"id": ["a", "b", None], "text": ["x"] * 3}), "row 3: the id is null, expected a string"),
    (pa.table({"id": ["a", "b c"], "text": ["x"] * 2}), "row 2: the id 'b c' has white space"),
    (pa.table({"id": [1.5], "text": ["x"]}), "row 1: the id is a number, expected a string"),
    (pa.table({"id": ["a", "b"], "text": ["x", None]}), "row 2: the field 'text' is null, expected"),
    (pa.table({"id": ["a"], "text": [["x"]]}), "row 1: the field 'text' is an array, expected"),
    (not_utf_8(), "row 2: the field 'text' is bytes, expected a string"),
])
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_a_bad_row_is_named_or_skipped(name: str, table: pa.Table, message: str, tmp_path: Path) -> None:
    write = write_parquet if name.endswith("parquet") else write_arrow
    path = write(tmp_path / name, table)
    with pytest.raises(InputError, match=f"^{path}, {message}"):
        read(path)
    rejects = Rejects()
    kept = list(read_corpus(str(path), rejects))
    assert (len(kept), len(rejects.lines)) == (len(table) - 1, 1)
    assert kept == [] or kept[0].where == row_place(path, 1)


def test_columns_that_make_no_document_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for table, message in [
            (pa.table({"pid": ["a"], "passage": ["x"]}), r"no column 'id' or '_id' \(it has: pid, passage\)"),
            (pa.table({"id": ["a"], "title": ["x"]}), r"no column 'contents' or 'text' \(it has: id, title\)"),
            (pa.table([["a"], ["b"], ["x"]], names=["id", "id", "text"]), "the column 'id' is there twice")]:
        write_parquet(path, table)
        with pytest.raises(InputError, match=f"^{path}: {message}$"):
            read(path)


def ipc_rows(content: bytes) -> int:
    """How many rows the library itself reads; -1 where it refuses the bytes."""
    try:
        return len(ipc.open_stream(content).read_all())
    except (pa.ArrowInvalid, OSError):
        return -1


@pytest.mark.fault(7, "a table of a corpus (parquet, arrow) that was cut or changed", detected="its end, "
                   "the library's checks, and the checksums of its pages if it has them")
def test_a_damaged_table_is_refused_by_name_even_where_lines_are_skipped(tmp_path: Path) -> None:
    table = contents_of([(f"d{n}", f"text {n} " * 9) for n in range(500)])
    whole = write_parquet(tmp_path / "a.parquet", table, rows=100, write_page_checksum=True).read_bytes()
    stream = write_arrow(tmp_path / "a.arrow", table, rows=100).read_bytes()
    between = next(size for size in range(len(stream) - 16, 0, -8)  # whole batches, no end
                   if ipc_rows(stream[:size]) == 400)
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 1
    for name, content in [("a.parquet", whole[: len(whole) // 2]), ("a.parquet", bytes(flipped)),
                          ("a.parquet", b""), ("a.parquet", b'{"id": "a", "contents": "b"}\n'),
                          ("a.arrow", stream[: len(stream) // 2]), ("a.arrow", stream[:between]),
                          ("a.arrow", b""), ("a.arrow", whole)]:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"^{path}: (damaged|not a)"):
            list(read_corpus(str(path), Rejects()))
    (tmp_path / "a.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(InputError, match=r"a.parquet:1: is a Git LFS pointer"):
        read(tmp_path / "a.parquet")


def test_a_choice_that_is_the_users_is_asked_for(tmp_path: Path) -> None:
    table = contents_of(PAIRS)
    data = tmp_path / "hub" / "data"
    for name in ("train-00000-of-00001", "test-00000-of-00001"):
        write_parquet(data / f"{name}.parquet", table)
    with pytest.raises(InputError, match=rf"has several splits; give one of {data}/test-\*.parquet, "
                                         rf"{data}/train-\*.parquet$"):
        read(tmp_path / "hub")
    assert read(data / "test-*.parquet") == PAIRS
    with pytest.raises(InputError, match=r"dev-\*.parquet: no file has such a name$"):
        read(data / "dev-*.parquet")
    write_parquet(data / "dev-00000-of-00003.parquet", table)
    write_parquet(data / "dev-00002-of-00003.parquet", table)
    with pytest.raises(InputError, match=r"dev-00001-of-00003.parquet: missing; its name says how many"):
        read(data / "dev-*.parquet")
    (tmp_path / "hub" / "README.md").write_text(
        "---\nconfigs:\n- config_name: a\n  data_files: data/train-*\n"
        "- config_name: b\n  data_files: data/test-*\n---\n")
    with pytest.raises(InputError, match=r"has several splits or configurations; give one of"):
        read(tmp_path / "hub")
    (tmp_path / "hub" / "README.md").write_text("---\nconfigs:\n- data_files: ../../*.parquet\n---\n")
    with pytest.raises(InputError, match=r"README.md: the path '../../\*.parquet' leads out of its folder"):
        read(tmp_path / "hub")
    write_parquet(tmp_path / "mixed" / "a.parquet", table)
    (tmp_path / "mixed" / "b.jsonl").write_text("")
    with pytest.raises(InputError, match=r"mixed: a.parquet and b.jsonl are both here"):
        corpus_files(tmp_path / "mixed")


def test_without_pyarrow_a_table_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "a.parquet", contents_of(PAIRS))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"a.parquet: needs pyarrow, which is not installed: pip install "
                                         r"'spladev3-anserini\[parquet\]'$"):
        read(path)
