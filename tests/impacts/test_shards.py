"""Shards: bytes by hand, sums by hand, and what verification finds."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexes import write_shard

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import (
    Fingerprint,
    Manifest,
    differences,
    read_record,
    write_record,
)
from spladev3_anserini.impacts.shards import (
    ImpactDocument,
    read_manifest,
    read_shard,
    verify_shards,
)
from spladev3_anserini.impacts.terms import term_fault

DOCUMENTS = [ImpactDocument("d1", "", {"cat": 120, "##s": 4}),
             ImpactDocument("é", "Text \"x\"\n\u2028", {'"': 1, "\\": 2, "中": 3}),
             ImpactDocument("none", "", {})]
FINGERPRINT = Fingerprint(
    model="m", tokenizer="t", variant="splade-v3", side="document", quantizer="x100-rint",
    special_tokens="drop", max_length=256, top_k=None, dtype="float32", device="cpu",
    batch_tokens=1024, corpus="c", documents=3,
    shards=2, shard_size=5000, gzip=False, contents=False, package="0")


def test_the_bytes_of_a_shard(tmp_path: Path) -> None:
    write_shard(tmp_path, "part-00000.jsonl", DOCUMENTS, "h")
    assert (tmp_path / "impacts" / "part-00000.jsonl").read_bytes().decode() == (
        '{"id":"d1","contents":"","vector":{"cat":120,"##s":4}}\n'
        '{"id":"é","contents":"Text \\"x\\"\\n\u2028","vector":{"\\"":1,"\\\\":2,"中":3}}\n'
        '{"id":"none","contents":"","vector":{}}\n')
    assert [path.name for path in tmp_path.iterdir()] == ["impacts"]


def test_the_sums_of_a_shard(tmp_path: Path) -> None:
    shard = write_shard(tmp_path, "part-00000.jsonl", DOCUMENTS, "h")
    content = (tmp_path / "impacts" / "part-00000.jsonl").read_bytes()
    assert shard.sha256 == hashlib.sha256(content).hexdigest()
    assert (shard.documents, shard.nonempty, shard.postings) == (3, 2, 5)
    assert (shard.impacts, shard.max_impact) == (120 + 4 + 1 + 2 + 3, 120)
    assert shard.empty_ids == ("none",)


def test_a_gzipped_shard_holds_the_same_and_is_the_same_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_shard(tmp_path / name, "part-00000.jsonl.gz", DOCUMENTS, "h")
    write_shard(tmp_path, "part-00000.jsonl", DOCUMENTS, "h")
    a, b = ((tmp_path / n / "impacts" / "part-00000.jsonl.gz").read_bytes() for n in "ab")
    assert a == b
    assert gzip.decompress(a) == (tmp_path / "impacts" / "part-00000.jsonl").read_bytes()


terms = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5).filter(
    lambda term: term_fault(term) is None)
vectors = st.dictionaries(terms,
                          st.integers(1, 32767), max_size=5)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=8), vectors), max_size=5))
def test_a_shard_reads_back(tmp_path_factory: pytest.TempPathFactory,
                            pairs: list[tuple[str, dict[str, int]]]) -> None:
    folder = tmp_path_factory.mktemp("shard")
    documents = [ImpactDocument(f"d{n}", c, v) for n, (c, v) in enumerate(pairs)]
    write_shard(folder, "part-00000.jsonl", documents, "h")
    path = folder / "impacts" / "part-00000.jsonl"
    assert list(read_shard(path)) == documents
    assert [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]] == [
        d._asdict() for d in documents]


@pytest.mark.parametrize("vector", ['{"a": 2.9}', '{"a": 0}', '{"a": -3}', '{"a": "7"}',
                                    '{"a": true}', '{"a": NaN}', "[]", "null", '"x"'])
def test_what_anserini_would_drop_or_change_is_refused(vector: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": "1", "vector": {"a": 1}}\n{"id": "2", "vector": ' + vector + "}\n")
    with pytest.raises(InputError, match=r"x\.jsonl:2: "):
        list(read_shard(path))


@pytest.fixture
def encoded(tmp_path: Path) -> Path:
    shards = (write_shard(tmp_path, "part-00000.jsonl", DOCUMENTS[:1], "h"),
              write_shard(tmp_path, "part-00001.jsonl", DOCUMENTS[1:], "h"))
    manifest = Manifest(fingerprint=FINGERPRINT, shards=shards, model_name="demo", input="x",
                        environments=({},))
    write_record(manifest, tmp_path / "manifest.json")
    return tmp_path


def test_a_sound_directory_passes_and_its_sums_add_up(encoded: Path) -> None:
    manifest = read_manifest(encoded)
    verify_shards(encoded, manifest)
    assert (manifest.documents, manifest.nonempty, manifest.postings) == (3, 2, 5)
    assert (manifest.impacts, manifest.max_impact, manifest.empty_ids) == (130, 120, ["none"])


def test_every_flipped_byte_is_found(encoded: Path) -> None:
    manifest, path = read_manifest(encoded), encoded / "impacts" / "part-00001.jsonl"
    sound = path.read_bytes()
    for place in range(0, len(sound), 7):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with pytest.raises(InputError, match=r"part-00001\.jsonl: changed"):
            verify_shards(encoded, manifest)


def test_a_missing_shard_and_a_stranger_are_found(encoded: Path) -> None:
    manifest = read_manifest(encoded)
    (encoded / "impacts" / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"notes\.txt: not in the manifest"):
        verify_shards(encoded, manifest)
    (encoded / "impacts" / "part-00000.jsonl").unlink()
    with pytest.raises(InputError, match=r"part-00000\.jsonl: missing"):
        verify_shards(encoded, manifest)


@pytest.mark.parametrize("damage", [lambda t: t[: len(t) // 2], lambda t: "{}", lambda t: "",
                                    lambda t: t.replace('"postings": 2', '"postings": "two"'),
                                    lambda t: t.replace('"input"', '"imput"')])
def test_a_damaged_manifest_is_refused_in_one_line(encoded: Path, damage: object) -> None:
    path = encoded / "manifest.json"
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    with pytest.raises(InputError, match=r"manifest\.json: not a valid manifest") as raised:
        read_record(Manifest, path)
    assert "\n" not in str(raised.value)


def test_an_unfinished_directory_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run the same encode again, it continues"):
        read_manifest(tmp_path)


def test_differences_name_the_fields() -> None:
    other = FINGERPRINT.model_copy(update={"quantizer": "x20-rint", "max_length": 128})
    assert differences(FINGERPRINT, other) == [("quantizer", "x100-rint", "x20-rint"),
                                               ("max_length", 256, 128)]
