"""CSV corpora and topics: cells are those of Python's csv on the whole text, faults name their line."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spladev3_anserini.collection.corpus import read_corpus, survey
from spladev3_anserini.collection.corpus_file import Rejects, documents_from
from spladev3_anserini.collection.places import chunks_of, texts_from, texts_of_chunk
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.errors import InputError

CORPUS = ('title,docid,text,url\r\n'
          'A,1,one line,u\r\n'
          '\r\n'
          'B,b-2,"two\r\nlines, and a ""quote""\nand a third",\r\n'
          '"",3,größer,u\r\n')
PAIRS = [("1", "A one line"), ("b-2", 'B two\r\nlines, and a "quote"\nand a third'),
         ("3", "größer")]


def read(source: Path) -> list[tuple[str, str]]:
    return [(document.id, document.text) for document in read_corpus(str(source))]


def written(folder: Path, text: str, name: str = "c.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["c.csv", "C.CSV", "c.csv.gz"])
@pytest.mark.parametrize("text", [CORPUS, "\ufeff" + CORPUS, CORPUS.removesuffix("\r\n"),
                                  "\n\n" + CORPUS])
def test_quoted_commas_quotes_and_line_ends_are_read(name: str, text: str, tmp_path: Path) -> None:
    if text.startswith("\n"):
        text = text.replace("\r\n\r\n", "\r\n")
    assert read(written(tmp_path, text, name)) == PAIRS


def test_a_csv_corpus_has_the_hash_of_the_same_texts_in_json_lines(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,contents\na,"x, y"\nb,z\n')
    (tmp_path / "c.jsonl").write_text('{"id": "a", "contents": "x, y"}\n{"id": "b", "contents": "z"}\n')
    assert survey(str(path), read_corpus(str(path))) == survey(
        str(tmp_path / "c.jsonl"), read_corpus(str(tmp_path / "c.jsonl")))


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@settings(max_examples=60)
@given(texts=st.lists(CELLS, min_size=1, max_size=8), how=st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL),
                            ("\r\n", csv.QUOTE_MINIMAL)]))  # with \n it would not quote a CR
def test_every_text_that_csv_writes_is_read_again_from_every_place(
        texts: list[str], how: tuple[str, Literal[0, 1]], tmp_path_factory: pytest.TempPathFactory) -> None:
    ending, quoting = how
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator=ending, quoting=quoting)
    writer.writerows([("id", "contents"), *((str(n), text) for n, text in enumerate(texts))])
    path = written(tmp_path_factory.mktemp("csv"), stream.getvalue())
    found = list(documents_from(path))
    assert [document.text for document, _, _ in found] == texts
    for number, (document, start, line) in enumerate(found):
        assert [own for own, _, _ in documents_from(path, None, start, line)] == [
            own for own, _, _ in found[number:]]
        assert document.where == f"{path}:{line + 1}"
        assert path.read_bytes()[:start].count(b"\n") == line


def test_a_large_file_is_one_chunk_because_a_line_end_may_be_inside_of_a_cell(tmp_path: Path) -> None:
    rows = "".join(f'{n},"a\nb, {n}"\n' for n in range(200))
    path = written(tmp_path, f"id,text\n{rows}")
    chunk, = chunks_of(str(path), "document", 100)
    located = list(texts_of_chunk(str(path), "document", chunk))
    assert [own.text.id for own in located] == [str(n) for n in range(200)]
    for own in located[::37]:
        assert list(texts_from(str(path), "document", own.place)) == located[located.index(own):]


HEAD = "id,text\n"
FAULTS = {
    "1: no row in it": "",
    "1: no column 'id' or '_id' or 'docid' (it has: 1, some text)": "1,some text\n",
    "1: no column 'contents' or 'text' (it has: id, body)": "id,body\n1,a\n",
    "1: the column 'id' is there twice": "id,id,text\n",
    "1: the header 'id;text' has no comma": "id;text\n1;a\n",
    "3: 1 cell, the header has 2 columns": HEAD + "1,a\n2\n",
    "3: 3 cells, the header has 2 columns": HEAD + "1,a\n2,b,c\n",
    "3: the id is empty": HEAD + "1,a\n,b\n",
    "2: the id 'a b' has white space": HEAD + "a b,c\n",
    "3: has a NUL byte": HEAD + "1,a\n2,b\0\n",
    "4: not UTF-8 at byte 3": HEAD.encode() + b'1,a\n2,"b\ncc\xff"\n',
    "2: the quotes of this row are wrong": HEAD + '1,"a"b\n',
    "3: a quoted cell of this row is never closed": HEAD + '1,a\n2,"b\nc\n3,d\n',
    "2: has a CR outside of quotes": HEAD + "1,a\r2,b\r",
    "1: not UTF-8 at byte 1: it is UTF-16": "id,text\n1,a\n".encode("utf-16"),
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_bad_row_names_file_and_line(message: str, tmp_path: Path) -> None:
    content, path = FAULTS[message], tmp_path / "c.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path}:{message}")
    assert "\n" not in str(raised.value)


def test_a_cell_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import spladev3_anserini.collection.csv_rows as module

    before = csv.field_size_limit(100)
    try:
        monkeypatch.setattr(module, "LONGEST_LINE", 100)
        path = written(tmp_path, HEAD + f'1,"{"a" * 60}\n{"b" * 60}"\n')
        with pytest.raises(InputError, match=r"c\.csv:2: a cell of more than 100 characters"):
            read(path)
    finally:
        csv.field_size_limit(before)
    assert len(read(written(tmp_path, HEAD + f'1,"{"a" * 200_000}"\n'))[0][1]) == 200_000


def test_bad_rows_are_skipped_and_counted_but_not_where_quotes_are_wrong(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(HEAD.encode() + b"1,a\n2\n3,\xff\nx y,c\n4,d\n")
    rejects = Rejects()
    assert [own.id for own in read_corpus(str(path), rejects)] == ["1", "4"]
    assert [(own.where, own.id) for own in rejects.lines] == [
        (f"{path}:3", "2"), (f"{path}:4", "3"), (f"{path}:5", "x y")]
    with pytest.raises(InputError, match="quotes of this row are wrong"):
        list(read_corpus(str(written(tmp_path, HEAD + '1,"a"b\n2,c\n')), Rejects()))


def test_a_folder_of_csv_files_is_read_in_name_order(tmp_path: Path) -> None:
    written(tmp_path, HEAD + "2,b\n", "2.csv.gz")
    written(tmp_path, "text,id\na,1\n", "1.csv")
    written(tmp_path, "qid,query\n", "topics.csv")
    assert read(tmp_path) == [("1", "a"), ("2", "b")]


def test_topics_may_be_csv(tmp_path: Path) -> None:
    path = written(tmp_path, 'qid,query,note\n7,"what, exactly?",x\n8,b,\n')
    assert [own[:2] for own in read_topics(str(path))] == [("7", "what, exactly?"), ("8", "b")]
    with pytest.raises(InputError, match=r"c\.csv:3: the topic '7' is already at .*c\.csv:2"):
        read_topics(str(written(tmp_path, "qid,query\n7,a\n7,b\n")))
