"""A corpus with something wrong in it: refused by file and line, or a result that is written down."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from breaking import Encoding, content
from conftest import Result, write_corpus
from reliability import tried

Cli = Callable[..., Result]

GOOD = b'{"id": "a", "contents": "the cat"}\n'

#: File content -> what is said of it, after the folder's name.
FAULTS = {
    "id with a tab": (GOOD + b'{"id": "a\\tb", "contents": ""}\n', "c.jsonl:2: the id 'a\\tb' has"),
    "id with a line break": (b'{"id": "a\\nb", "contents": ""}\n', "c.jsonl:1: the id 'a\\nb' has"),
    "id with NUL": (b'{"id": "a\\u0000", "contents": ""}\n', "c.jsonl:1: the id 'a\\x00' has"),
    "id with a space": (GOOD + b'{"id": "a b", "contents": ""}\n', "c.jsonl:2: the id 'a b' has"),
    "empty id": (b"\n\n" + b'{"id": "", "contents": ""}\n', "c.jsonl:3: the id is empty"),
    "no id": (GOOD + b'{"contents": "x"}\n', "c.jsonl:2: no field 'id'"),
    "no text": (GOOD + b'{"id": "b"}\n', "c.jsonl:2: no field 'contents' or 'text'"),
    "text that is a list": (b'{"id": "b", "contents": ["x"]}\n', "c.jsonl:1: the field 'contents'"),
    "not UTF-8": (GOOD + b'{"id": "b", "contents": "\xff\xfe"}\n', "c.jsonl:2: not UTF-8 at byte 26"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "c.jsonl:1: not UTF-8 at byte 1: it is UTF-16"),
    "UTF-16 without a mark": (GOOD.decode().encode("utf-16-le"), "c.jsonl:1: every other byte is NUL"),
    "line ends of an old Mac": (GOOD.replace(b"\n", b"\r") * 2, "c.jsonl:1: has a CR inside"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:7\nsize 9\n",
                             "c.jsonl:1: is a Git LFS pointer, not the file itself"),
    "gzip under another name": (gzip.compress(GOOD), "c.jsonl:1: is gzipped, but its name does not"),
    "a line cut short": (GOOD + b'{"id": "b", "contents": "x', "c.jsonl:2: not a JSON object"),
    "two objects on a line": (GOOD.strip() + GOOD, "c.jsonl:1: not a JSON object"),
    "an id twice": (GOOD + b'{"id": "b", "contents": ""}\n' + GOOD, "c.jsonl:3: the id 'a' is already"),
    "nested 100,000 deep": (b'{"id": "b", "contents": ' + b"[" * 100_000 + b"\n",
                            "c.jsonl:1: not a JSON object"),
    "a byte order mark inside": (GOOD + '{"id": "\ufeffb", "contents": ""}\n'.encode(),
                                 "c.jsonl:2: the id '\\ufeffb' has a byte order mark"),
    "an id longer than Lucene takes": (GOOD + b'{"id": "' + b"x" * 32_767 + b'", "contents": ""}\n',
                                       f"c.jsonl:2: the id '{'x' * 40}'... has 32,767 bytes"),
    "an id longer in UTF-8": (('{"id": "' + "é" * 16_384 + '", "contents": ""}\n').encode(),
                              f"c.jsonl:1: the id '{'é' * 40}'... has 32,768 bytes"),
    "no line": (b"", "c.jsonl: no document in it"),
}


@pytest.mark.fault(7, "a line of the corpus with a bad id, no text, bytes that are no UTF-8, a cut or "
                   "nested object, UTF-16, a CR for a line end, a Git LFS pointer", detected="readers, by file and line, before the model is loaded")
@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_line(name: str, tiny: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    data, message = FAULTS[name]
    (tmp_path / "c.jsonl").write_bytes(data)
    assert f"{tmp_path}/{message}" in refused("encode", "--model", tiny, "--corpus",
                                              tmp_path / "c.jsonl", "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.fault(7, "a text longer than Anserini's JSON reader takes, with --contents",
                   detected="its UTF-16 units, by file and line")
def test_contents_that_anserini_does_not_read(tiny: Path, tmp_path: Path, cli: Cli,
                                              refused: Callable[..., str],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """Jackson refuses strings of more than 20,000,000 UTF-16 units."""
    from spladev3_anserini.encoding import shard_source

    assert shard_source._LONGEST_CONTENTS == 20_000_000
    monkeypatch.setattr(shard_source, "_LONGEST_CONTENTS", 22)
    command = ("encode", "--model", tiny, "--max-length", 64, "--contents", "--corpus")
    short = write_corpus(tmp_path / "short.jsonl", {"a": "x" * 22, "b": "\U0001f408" * 11})
    assert cli(*command, short, "--output", tmp_path / "short").code == 0
    for text in ("x" * 23, "\U0001f408" * 11 + "x"):
        long = write_corpus(tmp_path / "long.jsonl", {"a": "cat", "b": text})
        assert f"{long}:2: 'b': a text of 23 characters" in refused(
            *command, long, "--output", tmp_path / "long", "--restart")
        assert cli(*command[:-2], "--corpus", long, "--output", tmp_path / "plain",
                   "--restart").code == 0


@pytest.mark.fault(7, "an id in two files of a corpus",
                   detected="hashes of all ids, both lines named")
def test_an_id_in_two_files(tiny: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "corpus").mkdir()
    write_corpus(tmp_path / "corpus" / "1.jsonl", {f"d{n}": "cat" for n in range(500)})
    (tmp_path / "corpus" / "2.tsv").write_text("e1\tcat\nd77\tdog\n")
    message = refused("encode", "--model", tiny, "--corpus", tmp_path / "corpus", "--output",
                      tmp_path / "out")
    assert "2.tsv:2: the id 'd77' is already at " in message
    assert "1.jsonl:78" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.fault(7, "a byte order mark, CRLF, blank lines", then="same bytes",
                   detected="readers drop them")
def test_marks_and_line_ends(encoding: Encoding, tmp_path: Path, cli: Cli) -> None:
    text = encoding.corpus.read_text("utf-8")
    (tmp_path / "corpus.jsonl").write_bytes(
        ("\ufeff" + text.replace("\n", "\r\n\r\n")).encode("utf-8"))
    command = [tmp_path / "corpus.jsonl" if word == encoding.corpus else word
               for word in encoding.command]
    assert cli(*command, tmp_path / "out").code == 0
    found, expected = content(tmp_path / "out"), dict(encoding.files)
    records = [json.loads(files.pop("manifest.json")) for files in (found, expected)]
    assert found == expected
    assert records[0]["fingerprint"] == records[1]["fingerprint"]


@pytest.mark.fault(7, "a document of 10 MB, one of a million tokens on one line, an empty one, one "
                   "with only special tokens", then="cut to --max-length; a document without text has "
                   "no term, is counted and named", detected="manifest")
def test_documents_of_extreme_lengths(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    texts = {"large": "boundary layer pressure surface " * 330_000, "many": "dog " * 1_000_000, "empty": "",
             "blank": " \t ", "special": "[CLS] [SEP] [PAD]"}
    vectors = {}
    for name, own in (("whole", texts), ("cut", {i: text[:2000] for i, text in texts.items()})):
        corpus = write_corpus(tmp_path / f"{name}.jsonl", own)
        done = cli("encode", "--model", tiny, "--corpus", corpus, "--max-length", 64, "--output",
                   tmp_path / name)
        assert done.code == 0, done
        assert "2 documents without a term, which will not be found: empty, blank" in done.out
        vectors[name] = (tmp_path / name / "impacts" / "part-00000.jsonl").read_bytes()
        if name == "whole":
            lost = 4 * 330_000 - 62 + 1_000_000 - 62  # 64 ids, two of them special tokens
            assert f"2 of 5 documents were cut at --max-length 64: {lost:,} wordpieces" in done.out
    assert vectors["whole"] == vectors["cut"]
    lines = {own["id"]: own["vector"] for own in map(json.loads, vectors["whole"].splitlines())}
    assert (lines["empty"], lines["blank"]) == ({}, {})
    assert all(lines[name] for name in ("large", "many"))
    tried(len(texts))


@pytest.mark.fault(7, "a header of three columns", detected="its words, on the first line")
@pytest.mark.fault(7, "an empty file that should be gzipped", detected="its size")
@pytest.mark.fault(7, "a pipe in place of a file, which would block",
                   detected="what kind of file it is")
def test_files_that_are_no_corpus(tiny: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    command = ("encode", "--model", tiny, "--output", tmp_path / "out", "--corpus", corpus)
    (corpus / "a.tsv").write_text("id\ttext\ttitle\n1\tcat\tx\n")
    assert "a.tsv:1: is a header" in refused(*command)
    (corpus / "a.tsv").write_text("1\tcat\n")
    (corpus / "b.jsonl.gz").touch()
    assert "b.jsonl.gz:1: corrupt or truncated gzip" in refused(*command)
    (corpus / "b.jsonl.gz").write_bytes(GOOD)
    assert "b.jsonl.gz:1: is not gzipped, but its name ends in .gz" in refused(*command)
    (corpus / "b.jsonl.gz").unlink()
    os.mkfifo(corpus / "c.jsonl")
    assert "c.jsonl: is no plain file" in refused(*command)
    os.mkfifo(tmp_path / "topics.tsv")
    assert "topics.tsv: is no plain file" in refused(
        "encode", "--model", tiny, "--output", tmp_path / "out", "--topics",
        tmp_path / "topics.tsv")
