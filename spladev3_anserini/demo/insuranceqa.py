"""InsuranceQA as its package ships it -> a corpus, topics and qrels in this toolkit's layouts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from spladev3_anserini.demo.assets import fetch_assets
from spladev3_anserini.files import appearing

SPLITS = ("train", "valid", "test")


def write_insuranceqa(folder: Path) -> None:
    """Writes `corpus.jsonl` (27,413 answers), `topics.SPLIT.tsv` and `qrels.SPLIT.txt` of the
    English side; white space is made single, nothing else is changed."""
    source = fetch_assets("insuranceqa")
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        questions = _load(source / f"{split}.json.gz")
        with appearing(folder / f"topics.{split}.tsv") as stream:
            stream.writelines(f"{split}-{name}\t{_words(own['en'])}\n"
                              for name, own in questions.items())
        with appearing(folder / f"qrels.{split}.txt") as stream:
            stream.writelines(f"{split}-{name} 0 {answer} 1\n" for name, own in questions.items()
                              for answer in dict.fromkeys(own["answers"]))
    with appearing(folder / "corpus.jsonl") as stream:  # last: where it is, all is
        for name, answer in _load(source / "answers.json.gz").items():
            stream.write(json.dumps({"id": name, "contents": _words(answer["en"])},
                                    ensure_ascii=False) + "\n")


def _load(path: Path) -> dict[str, Any]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        record: dict[str, Any] = json.load(stream)
    return record


def _words(text: str) -> str:
    return " ".join(text.split())
