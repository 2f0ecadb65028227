"""An index of parquet shards is the index of the same documents as lines of JSON."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from indexes import assert_equal, write_parquet_shard, write_shard

from spladev3_anserini.engine.arrays import ENGINE_PREFIX
from spladev3_anserini.impacts.manifest import Fingerprint, Manifest, Shard, write_record
from spladev3_anserini.impacts.shards import ImpactDocument
from spladev3_anserini.lucene.build import build_index
from spladev3_anserini.lucene.check import statistics

CORPUS = [(f"d{n}", {term: random.Random(f"{n} {term}").randint(1, 300)
                     for term in random.Random(n).sample([*"abcdefgh", "##s", "中", "."], n % 7)})
          for n in range(60)]
QUERIES: list[dict[str, int]] = [{"a": 3}, {"b": 1, "中": 7, ".": 2}, {"##s": 9, "h": 1, "none": 4}]


def encoded_folder(folder: Path, form: str) -> Path:
    fingerprint = Fingerprint(
        model="m", tokenizer="t", variant="splade-v3", side="document", quantizer="x100-rint",
        special_tokens="drop", max_length=256, top_k=None, dtype="float32", device="cpu",
        batch_tokens=1024, corpus="c", documents=len(CORPUS), shards=1, shard_size=30, gzip=False, contents=False,
        package="0", format=form)
    shards: list[Shard] = []
    for number in range(2):
        documents = [ImpactDocument(i, "", v) for i, v in CORPUS[30 * number : 30 * number + 30]]
        name = f"part-{number:05d}.{form}"
        folder.mkdir(parents=True, exist_ok=True)
        shards.append(write_shard(folder, name, documents, "h") if form == "jsonl"
                      else write_parquet_shard(folder, documents, name))
    write_record(Manifest(fingerprint=fingerprint, shards=tuple(shards), model_name="m", input="x",
                          environments=({},)), folder / "manifest.json")
    return folder


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indexed")
    for form in ("jsonl", "parquet"):
        build_index(encoded_folder(folder / f"{form}-encoded", form), folder / form)
    return folder


def test_statistics_and_arrays_are_those_of_json_lines(indexed: Path) -> None:
    assert statistics(indexed / "parquet") == statistics(indexed / "jsonl")
    arrays = sorted(path.name for path in (indexed / "jsonl").glob(f"{ENGINE_PREFIX}*"))
    assert len(arrays) == 7
    for name in arrays:
        assert (indexed / "parquet" / name).read_bytes() == (indexed / "jsonl" / name).read_bytes()


def test_the_hits_are_those_of_the_oracle(indexed: Path) -> None:
    assert_equal(indexed / "parquet", CORPUS, QUERIES, 20)


def test_anserini_gets_lines_of_json(indexed: Path, tmp_path: Path) -> None:
    build_index(indexed / "parquet-encoded", tmp_path / "index", anserini_threads=1)
    assert statistics(tmp_path / "index") == statistics(indexed / "jsonl")
    assert_equal(tmp_path / "index", CORPUS, QUERIES, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
