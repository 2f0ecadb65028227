"""Texts that a length cuts are counted: against the same tokenizers without a length."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TEXTS, Result, write_corpus
from cuts import lost_of
from transformers import AutoTokenizer

from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.cut import cut_line
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.queries import encode_topics
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.impacts.manifest import IndexManifest, Manifest, read_record
from spladev3_anserini.impacts.shards import read_manifest
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.model.variants import VARIANTS

Cli = Callable[..., Result]

LONG = TEXTS | {f"long{n}": "shock wave xyzzy [SEP] the catss , " * n for n in (1, 2, 3, 7, 40)}
LENGTH = 16


@pytest.mark.parametrize("length", [3, 4, 16, 64])
def test_a_tokenizer_counts_every_wordpiece_it_cuts(length: int, tiny: Path) -> None:
    texts = [*LONG.values(), "a b " * 2_000]
    ids, lost = Tokenizer(tiny).tokenized(texts, length)
    assert lost == lost_of(tiny, texts, length)
    assert ids == AutoTokenizer.from_pretrained(tiny)(
        texts, truncation=True, max_length=length, verbose=False).input_ids


@pytest.mark.parametrize("length", [3, 16])
def test_a_tokenizer_may_cut_the_beginning(length: int, tiny: Path, tmp_path: Path) -> None:
    """`truncation_side` decides weights of long texts, so it is applied and in the hash."""
    left = Path(shutil.copytree(tiny, tmp_path / "left"))
    path = left / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"truncation_side": "left"}))
    texts = list(LONG.values())
    ids, lost = Tokenizer(left).tokenized(texts, length)
    assert ids == AutoTokenizer.from_pretrained(left)(
        texts, truncation=True, max_length=length, verbose=False).input_ids
    assert ids != Tokenizer(tiny).ids(texts, length)
    assert lost == lost_of(tiny, texts, length)
    assert Tokenizer(left).sha256 != Tokenizer(tiny).sha256


def test_a_line_of_one_text_and_one_wordpiece() -> None:
    assert cut_line(1, 1, "query", "X", 1) == "1 of 1 query was cut at X: 1 wordpiece was not encoded"


def test_texts_are_tokenised_in_chunks_of_characters(tiny: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    import spladev3_anserini.model.tokenizer as module

    whole = Tokenizer(tiny).tokenized(list(LONG.values()), LENGTH)
    monkeypatch.setattr(module, "_CHUNK", 30)
    assert Tokenizer(tiny).tokenized(list(LONG.values()), LENGTH) == whole
    assert Tokenizer(tiny).tokenized([], LENGTH) == ([], [])


def test_encode_counts_in_summary_warning_and_manifest_in_parts_too(tiny: Path, tmp_path: Path,
                                                                    cli: Cli) -> None:
    lost = lost_of(tiny, list(LONG.values()), LENGTH)
    cut, total = sum(own > 0 for own in lost), sum(lost)
    assert cut > 3
    said = (f"{cut} of {len(LONG)} documents were cut at --max-length {LENGTH}: {total:,} "
            "wordpieces were not encoded")
    corpus = write_corpus(tmp_path / "c.jsonl", LONG)
    command = ("encode", "--model", tiny, "--corpus", corpus, "--max-length", LENGTH,
               "--shard-size", 3, "--output")
    first = cli(*command, tmp_path / "whole")
    assert said in first.out
    warning = f"warning: {said}; --passages encodes all of them\n"
    assert warning == first.err
    again = cli(*command, tmp_path / "whole")  # nothing is left to do
    assert "0 shards written" in again.out
    assert (said in again.out, warning) == (True, again.err)
    cli(*command, tmp_path / "parts", "--part", "1/2")
    last = cli(*command, tmp_path / "parts", "--part", "2/2")
    assert said in last.out
    one, other = (read_manifest(tmp_path / name).shards for name in ("whole", "parts"))
    assert one == other
    by_shard = [lost[start : start + 3] for start in range(0, len(lost), 3)]
    assert [(s.cut_texts, s.lost_wordpieces) for s in one] == [
        (sum(n > 0 for n in some), sum(some)) for some in by_shard]
    assert not cli(*command[:-3], "--output", tmp_path / "short", "--max-length", 64, "--corpus",
                   write_corpus(tmp_path / "short.jsonl", TEXTS)).err


def test_encoded_queries_are_counted_too(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    topics = tmp_path / "t.tsv"
    topics.write_text("1\t" + "cat " * 20 + "\n2\tdog\n", "utf-8")
    for variant in ("splade-v3", "splade-v3-doc"):
        done = cli("encode", "--model", tiny, "--variant", variant, "--topics",
                   topics, "--max-length", LENGTH, "--output", tmp_path / variant)
        assert "1 of 2 queries was cut at --max-length 16: 6 wordpieces were not encoded" in done.out
        manifest = read_record(Manifest, tmp_path / variant / "manifest.json")
        assert (manifest.cut_texts, manifest.lost_wordpieces) == (1, 6)
        assert read_record(Manifest, tmp_path / variant / "manifest.json") == manifest
        IndexManifest(encoded=manifest, versions={})


def test_topics_that_are_cut_while_they_are_encoded(tiny: Path,
                                                    capfd: pytest.CaptureFixture[str]) -> None:
    """search, ask, flops, breakdown, mine and explain encode topics in this one way."""
    encoder = Encoder(open_checkpoint(str(tiny)), VARIANTS["splade-v3-doc"], "query",
                      EncoderSettings(max_length=LENGTH))
    encode_topics(encoder, [Topic("1", "cat " * 20, "t:1"), Topic("2", "cat " * 14, "t:2")])
    assert capfd.readouterr().err == (
        "warning: 1 of 2 queries was cut at --max-length 16: 6 wordpieces were not encoded\n")
    encode_topics(encoder, [Topic("2", "cat " * 14, "t:2")])
    assert not capfd.readouterr().err


def test_explain_counts_as_encode_does(tiny: Path, cli: Cli) -> None:
    text = "the cat [SEP] xyzzy " * 9
    found = json.loads(cli("explain", "--model", tiny, "--text", text, "--max-length", LENGTH,
                           "--format", "json").out)
    assert [found["cut"]] == lost_of(tiny, [text], LENGTH)


def test_training_counts_the_texts_that_it_draws(tiny: Path) -> None:
    from spladev3_anserini.training.dataset import Collator, Example

    collate = Collator(Tokenizer(tiny), LENGTH)
    batch = collate([Example("q", "cat " * 20, ["dog", "dog " * 15, "dog " * 16], [1.0, 0.0, 0.0],
                             ["dog"])])
    assert batch["lost"] == [6, 0, 1, 2]
