"""The files of the InsuranceQA package -> a corpus, topics and qrels that the readers take."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from spladev3_anserini.demo.assets import fetch_assets
from spladev3_anserini.files import appearing

SPLITS = ("train", "valid", "test")


def write_insuranceqa(folder: Path) -> None:
    """Downloads InsuranceQA and writes its English part as a collection.

    The files are `corpus.jsonl` (27,413 answers), and `topics.SPLIT.tsv` and `qrels.SPLIT.txt` for
    each of SPLITS. Runs of white space become one space; nothing else is changed.

    Raises:
        InputError: The package cannot be fetched.
    """
    source = fetch_assets("insuranceqa")
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        questions = _load(source / f"{split}.json.gz")
        with appearing(folder / f"topics.{split}.tsv") as stream:
            stream.writelines(f"{split}-{name}\t{_single_spaced(question['en'])}\n"
                              for name, question in questions.items())
        with appearing(folder / f"qrels.{split}.txt") as stream:
            stream.writelines(f"{split}-{name} 0 {answer} 1\n"
                              for name, question in questions.items()
                              for answer in dict.fromkeys(question["answers"]))
    with appearing(folder / "corpus.jsonl") as stream:  # last: if it exists, all files do
        for name, answer in _load(source / "answers.json.gz").items():
            stream.write(json.dumps({"id": name, "contents": _single_spaced(answer["en"])},
                                    ensure_ascii=False) + "\n")


def _load(path: Path) -> dict[str, Any]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        record: dict[str, Any] = json.load(stream)
    return record


def _single_spaced(text: str) -> str:
    return " ".join(text.split())
