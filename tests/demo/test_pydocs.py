"""Tests of the demonstration collection and of the judgments that go with it."""

from __future__ import annotations

import asyncio
import collections
import datetime
import inspect
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path

import pytest

import spladev3_anserini

DEMO = Path(spladev3_anserini.__file__).parent / "demo"

WELL_KNOWN: dict[str, object] = {
    "shutil.copy2": shutil.copy2,
    "os.path.join": os.path.join,
    "json.dumps": json.dumps,
    "sorted": sorted,
    "open": open,
    "ValueError": ValueError,
    "str.split": str.split,
    "dict.get": dict.get,
    "list.sort": list.sort,
    "re.Pattern.sub": re.Pattern.sub,
    "collections.OrderedDict": collections.OrderedDict,
    "datetime.date.strftime": datetime.date.strftime,
    "datetime.datetime.now": datetime.datetime.now,
    "pathlib.PurePath.suffix": pathlib.PurePath.suffix,
    "socket.socket.recv": socket.socket.recv,
    "asyncio.gather": asyncio.gather,
    "unittest.TestCase.assertRaises": unittest.TestCase.assertRaises,
    "json": json,
    "os.path": os.path,
}


def generate(output: Path) -> bytes:
    command = [sys.executable, "-I", "-S", "-E", str(DEMO / "pydocs.py"), str(output)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == (b"", b"")
    return output.read_bytes()


@pytest.fixture(scope="module")
def collection_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("pydocs") / "collection.jsonl"
    generate(output)
    return output


@pytest.fixture(scope="module")
def collection(collection_file: Path) -> dict[str, str]:
    lines = collection_file.read_text(encoding="utf-8").splitlines()
    documents = [json.loads(line) for line in lines]
    assert all(document.keys() == {"id", "contents"} for document in documents)
    contents = {document["id"]: document["contents"] for document in documents}
    assert len(contents) == len(documents)
    return contents


def rows(name: str, separator: str | None) -> Iterator[list[str]]:
    for line in (DEMO / name).read_text(encoding="utf-8").splitlines():
        yield line.split(separator)


@pytest.fixture(scope="module")
def topics() -> dict[str, str]:
    pairs = list(rows("topics.tsv", "\t"))
    assert all(len(pair) == 2 for pair in pairs)
    questions = dict(pairs)
    assert len(questions) == len(pairs)
    return questions


def judgments(name: str) -> list[tuple[str, str, int]]:
    return [(qid, docid, int(grade)) for qid, _, docid, grade in rows(name, None)]


def test_a_second_run_writes_the_same_bytes_and_nothing_else(
    collection_file: Path, tmp_path: Path
) -> None:
    assert generate(tmp_path / "again.jsonl") == collection_file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.jsonl"]


def test_a_path_is_required() -> None:
    command = [sys.executable, "-I", "-S", "-E", str(DEMO / "pydocs.py")]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert b"usage" in done.stderr


def test_the_collection_is_of_a_useful_size(collection: dict[str, str]) -> None:
    assert 3_000 <= len(collection) <= 12_000


def test_ids_are_sorted_and_without_white_space(collection: dict[str, str]) -> None:
    assert list(collection) == sorted(collection)
    assert not [docid for docid in collection if re.search(r"\s", docid)]


@pytest.mark.parametrize("docid", WELL_KNOWN)
def test_a_well_known_object_has_its_own_text(docid: str, collection: dict[str, str]) -> None:
    header, _, body = collection[docid].partition("\n")
    assert header == docid.replace(".", " ").replace("_", " ")
    assert body == (inspect.getdoc(WELL_KNOWN[docid]) or "").strip()


@pytest.mark.parametrize(
    "docid",
    [
        "posixpath.join",  # os.path.join
        "json.encoder.JSONEncoder",  # json.JSONEncoder
        "builtins.sorted",  # sorted
        "io.open",  # open
        "random.Random.randint",  # random.randint
        "inspect.FullArgSpec.args",  # "Alias for field number 0"
        "bool.bit_length",  # inherited from int
    ],
)
def test_repetition_and_boilerplate_are_left_out(docid: str, collection: dict[str, str]) -> None:
    assert docid not in collection


def test_nothing_private_or_with_side_effects(collection: dict[str, str]) -> None:
    parts = [docid.split(".") for docid in collection]
    assert not [path for path in parts if any(part.startswith("_") for part in path)]
    assert not {path[0] for path in parts} & {"antigravity", "this", "idlelib", "test", "tkinter"}


def test_topics_are_many_and_distinct(topics: dict[str, str]) -> None:
    assert len(topics) >= 60
    assert len({question.casefold() for question in topics.values()}) == len(topics)
    assert all(question == question.strip() != "" for question in topics.values())


@pytest.mark.parametrize("name", ["qrels.txt", "qrels-first.txt"])
def test_every_relevant_document_is_in_the_collection(
    name: str, collection: dict[str, str]
) -> None:
    assert not {docid for _, docid, grade in judgments(name) if grade} - collection.keys()


@pytest.mark.parametrize(("name", "grades"), [("qrels.txt", {0, 1, 2}),
                                              ("qrels-first.txt", {1, 2})])
def test_every_topic_has_an_answer_and_every_judgment_a_topic(
    name: str, grades: set[int], topics: dict[str, str]
) -> None:
    qrels = judgments(name)
    assert {qid for qid, _, _ in qrels} == topics.keys()
    assert {qid for qid, _, grade in qrels if grade == 2} == topics.keys()
    assert {grade for _, _, grade in qrels} == grades
    assert len({(qid, docid) for qid, docid, _ in qrels}) == len(qrels)
