"""Readers of corpora: every layout gives the same documents, every fault names its line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladev3_anserini.collection.corpus import read_corpus, survey
from spladev3_anserini.collection.corpus_file import Document, Rejects
from spladev3_anserini.collection.ir_datasets_source import text_of
from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.records import IdHashes, checked_id
from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json
from spladev3_anserini.impacts.manifest import Manifest, read_record
from spladev3_anserini.recipe.strict_yaml import read_yaml
from spladev3_anserini.training.pickled_scores import read_pickle

PAIRS = [("1", "first text"), ("b-2", "zweiter Text, größer"), ("3", ""), ("d/4:x#", "中文 \u2028 x")]


def read(source: Path) -> list[tuple[str, str]]:
    return [(document.id, document.text) for document in read_corpus(str(source))]


def write_layouts(folder: Path) -> list[Path]:
    """The same four documents in every layout that is read."""
    contents = "".join(json.dumps({"id": i, "contents": t}) + "\n" for i, t in PAIRS)
    beir = "".join(json.dumps({"_id": i, "title": "", "text": t}) + "\n" for i, t in PAIRS)
    tsv = "".join(f"{i}\t{t}\n" for i, t in PAIRS)
    (folder / "a.jsonl").write_text(contents, "utf-8")
    (folder / "bom.jsonl").write_text("\ufeff" + contents.replace("\n", "\r\n"), "utf-8")
    (folder / "blank.json").write_text("\n" + contents + "\n\n", "utf-8")
    (folder / "b.tsv").write_text(tsv, "utf-8")
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(contents.encode()))
    (folder / "d.tsv.gz").write_bytes(gzip.compress(tsv.encode()))
    (folder / "beir").mkdir()
    (folder / "beir" / "corpus.jsonl").write_text(beir, "utf-8")
    (folder / "beir" / "queries.jsonl").write_text("not read\n", "utf-8")
    (folder / "split").mkdir()
    lines = contents.splitlines(keepends=True)
    (folder / "split" / "02.jsonl").write_text("".join(lines[2:]), "utf-8")
    (folder / "split" / "01.jsonl").write_text("".join(lines[:2]), "utf-8")
    return sorted(folder.iterdir())


def test_every_layout_gives_the_same_documents_and_the_same_hash(tmp_path: Path) -> None:
    surveys = set()
    for source in write_layouts(tmp_path):
        assert read(source) == PAIRS, source
        surveys.add(survey(str(source), read_corpus(str(source))))
    assert len(surveys) == 1
    assert surveys.pop().documents == 4


def test_title_and_text_are_joined_by_a_space(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"_id": "1", "title": "A title", "text": "and text"}\n'
                    '{"_id": "2", "title": null, "text": "no title"}\n'
                    '{"id": 3, "contents": "number as id"}\n')
    assert read(path) == [("1", "A title and text"), ("2", "no title"), ("3", "number as id")]


def test_a_tsv_line_is_split_at_its_first_tab(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text("1\ta\tb\n")
    assert read(path) == [("1", "a\tb")]


@pytest.mark.parametrize("end", ["\r", "\v", "\f", "\x1e", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("kind", ["tsv", "txt.gz"])
def test_lines_that_end_otherwise_are_not_one_document(end: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    data = f"1\tfirst text{end}2\tsecond{end}3\t{end}".encode()
    path.write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    with pytest.raises(InputError, match=rf"x\.{kind}:1: the lines of this file end in"):
        read(path)
    with pytest.raises(InputError, match=rf"x\.{kind}:1: the lines of this file end in"):
        read_topics(str(path))
    path.write_bytes(b"1\ta text\r" if kind == "tsv" else gzip.compress(b"1\ta text\r\r\n"))
    assert read(path) == [("1", "a text")]


def test_line_ends_inside_a_text_are_text(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    text = "one\rtwo\u2028three \x85 four\r five\tsix"
    path.write_bytes(f"1\t{text}\n2\tx\n".encode())
    assert read(path) == [("1", text), ("2", "x")]


@pytest.mark.parametrize("name", ["x.jsonl", "x.tsv", "x.jsonl.gz"])
def test_a_pointer_of_git_lfs_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123\n")
    for reader in (read, lambda path: read_topics(str(path)), read_run_file,
                   lambda path: read_qrels(str(path)), read_json, read_yaml,
                   lambda path: list(read_pickle(path)),
                   lambda path: read_record(Manifest, path)):
        with pytest.raises(InputError, match=rf"{name}:1: is a Git LFS pointer, not the file"):
            reader(path)


FAULTS = {
    "x.jsonl:2: not a JSON object": b'{"id": "1", "contents": "a"}\n{"id": "2", "cont',
    "x.jsonl:1: not a JSON object": b'["1", "a"]\n',
    "x.jsonl:3: not UTF-8 at byte 26": b'{"id": "1", "contents": ""}\n\n{"id": "2", "contents": "\xff"}\n',
    "x.jsonl:1: no field 'id' or '_id'": b'{"contents": "a"}\n',
    "x.jsonl:1: no field 'contents' or 'text'": b'{"id": "1", "body": "a"}\n',
    "x.jsonl:1: the id is empty": b'{"id": "", "contents": "a"}\n',
    "x.jsonl:1: the id is null": b'{"id": null, "contents": "a"}\n',
    "x.jsonl:1: the id is a number": b'{"id": 1.5, "contents": "a"}\n',
    "x.jsonl:1: the id 'a b' has white space": b'{"id": "a b", "contents": "a"}\n',
    "x.jsonl:1: the id 'a\\x00' has white space": b'{"id": "a\\u0000", "contents": "a"}\n',
    "x.jsonl:1: the id 'a\\u2009b' has white space": b'{"id": "a\\u2009b", "contents": "a"}\n',
    "x.jsonl:1: the field 'contents' is a number": b'{"id": "1", "contents": 3}\n',
    "x.jsonl:1: the field 'text' has an unpaired": b'{"id": "1", "text": "\\ud800"}\n',
    "x.jsonl: no document in it": b"\n",
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_fault_names_file_and_line(message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(FAULTS[message])
    with pytest.raises(InputError) as raised:
        survey(str(path), read_corpus(str(path)))
    assert str(raised.value).startswith(f"{tmp_path}/{message}")
    assert "\n" not in str(raised.value)


def test_a_duplicate_names_both_lines_also_across_files(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_text('{"id": "x", "contents": "a"}\n{"id": "y", "contents": ""}\n')
    (tmp_path / "2.tsv").write_text("z\ta\n\nx\tb\n")
    with pytest.raises(InputError, match=r"2\.tsv:3: the id 'x' is already at .*1\.jsonl:1"):
        survey(str(tmp_path), read_corpus(str(tmp_path)))


def test_a_truncated_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b'{"id": "%d", "contents": "a"}\n' % n for n in range(9999)))
    path = tmp_path / "x.jsonl.gz"
    for size in (3, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"x\.jsonl\.gz:\d+: corrupt or truncated gzip"):
            survey(str(path), read_corpus(str(path)))


@pytest.mark.parametrize(("source", "message"), [
    ("none.jsonl", "none.jsonl: no such file"),
    ("x.xls", "x.xls: unknown kind of file"),
    ("folder", "folder: no .jsonl, .json, .tsv, .txt, .csv, .parquet or .arrow file"),
])
def test_a_source_that_is_none_is_refused(source: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.xls").write_text("1,a\n")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=message):
        list(read_corpus(str(tmp_path / source)))


def test_a_data_set_of_ir_datasets_is_read_by_its_id(tmp_path: Path) -> None:
    datasets = pytest.importorskip("ir_datasets")
    from ir_datasets.datasets.base import Dataset
    from ir_datasets.formats import TsvDocs, TsvQueries
    from ir_datasets.util import LocalDownload

    (tmp_path / "docs.tsv").write_text("1\tfirst text\n2\tsecond\n")
    (tmp_path / "queries.tsv").write_text("q1\ta query\n")
    dataset = Dataset(TsvDocs(LocalDownload(tmp_path / "docs.tsv"), namespace="t", lang="en"),
                      TsvQueries(LocalDownload(tmp_path / "queries.tsv"), namespace="t", lang="en"))
    datasets.registry.register("a-local-set", dataset)
    assert [d[:2] for d in read_corpus("ir_datasets:a-local-set")] == [
        ("1", "first text"), ("2", "second")]
    with pytest.raises(InputError, match="has no data set of that id"):
        list(read_corpus("ir_datasets:no-such-set"))


class _Plain(NamedTuple):
    """As ir_datasets' BrightQuery: a field `text`, but no default_text."""

    query_id: str
    text: str
    reasoning: str


class _Code(NamedTuple):
    """As ir_datasets' CodeSearchNetDoc: neither."""

    doc_id: str
    repo: str
    code: str


class _Broken(NamedTuple):
    """A default_text that joins what is not there."""

    doc_id: str
    title: str | None

    def default_text(self) -> str:
        return self.title + " "  # type: ignore[operator]


def test_records_of_ir_datasets_without_a_default_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """All 20 query sets of BRIGHT have the field alone; 17 sets of documents have neither."""
    records: dict[str, list[object]] = {"queries": [_Plain("q1", "a query", "because")],
                                        "docs": [_Code("1", "r", "def f(): ...")]}

    def load(dataset: str, kind: str) -> Iterator[object]:
        yield from records[kind]

    for module in ("corpus", "topics"):
        monkeypatch.setattr(f"spladev3_anserini.collection.{module}.load_irds", load)
    assert [own[:2] for own in read_topics("ir_datasets:x")] == [("q1", "a query")]
    with pytest.raises(InputError, match=r"ir_datasets:x, document 1: this data set names no text, "
                       r"and has no field 'text' \(it has: doc_id, repo, code\)"):
        list(read_corpus("ir_datasets:x"))
    rejects = Rejects()
    assert list(read_corpus("ir_datasets:x", rejects)) == []
    assert len(rejects.lines) == 1
    records["docs"] = [_Broken("1", None)]
    with pytest.raises(InputError, match="ir_datasets:x, document 1: its text cannot be read"):
        list(read_corpus("ir_datasets:x"))


def test_every_kind_of_record_of_ir_datasets_has_a_text_or_a_line() -> None:
    """Every document and query class of the data sets there are, with a letter in each field."""
    datasets = pytest.importorskip("ir_datasets")
    kinds: dict[type, str] = {}
    for name in datasets.registry:
        loaded = datasets.load(name)
        for kind in ("docs", "queries"):
            if getattr(loaded, f"has_{kind}")():
                kinds[getattr(loaded, f"{kind}_cls")()] = name
    assert len(kinds) > 50
    without = set()
    for kind, name in kinds.items():
        try:
            text_of(kind(*["a"] * len(kind._fields)), name)  # type: ignore[attr-defined]
        except InputError as error:
            if "names no text" in str(error):
                without.add(kind.__name__)
    assert without == {"ArgsMeProcessedDoc", "ClinicalTrialsDoc", "CodeSearchNetDoc",
                       "ToucheImageDoc", "TrecBackgroundLinkingQuery"}


@given(st.text(max_size=6))
def test_an_accepted_id_survives_a_run_line(identifier: str) -> None:
    try:
        accepted = checked_id(identifier, "here")
    except InputError:
        return
    line = f"q1 Q0 {accepted} 1 5 tag\n".encode().decode()
    assert line.split() == ["q1", "Q0", identifier, "1", "5", "tag"]


@given(st.lists(st.text(min_size=1, max_size=3), max_size=30))
def test_repeated_hashes_are_those_of_repeated_ids(identifiers: list[str]) -> None:
    hashes = IdHashes()
    for identifier in identifiers:
        hashes.add(identifier)
    assert len(hashes.repeated()) == len({i for i in identifiers if identifiers.count(i) > 1})


def test_the_hash_tells_texts_and_their_borders_apart(tmp_path: Path) -> None:
    def digest(*pairs: tuple[str, str]) -> str:
        return survey("x", iter([Document(i, t, "") for i, t in pairs])).sha256

    ways = [digest(("a", "bc")), digest(("ab", "c")), digest(("a", "b"), ("c", "")),
            digest(("a", "cb"))]
    assert len(set(ways)) == len(ways)
