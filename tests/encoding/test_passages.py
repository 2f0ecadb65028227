"""Passages of long documents: the rule against a slow twin, and every wordpiece is in one of them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tokenizers
import transformers
from conftest import SPECIALS, WORDS, Result, write_corpus
from encodes import content
from tokenizers import models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

from spladev3_anserini.collection.corpus_file import Document
from spladev3_anserini.encoding.passages import PassageSplitter, chosen_split
from spladev3_anserini.encoding.planning import plan_texts
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.encoding.shard_source import EncodingOutput
from spladev3_anserini.encoding.shard_worker import (
    EncodedShard,
    EncodingJob,
    ShardWorker,
    WorkerReady,
)
from spladev3_anserini.encoding.unfinished import unfinished
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.shards import read_encoded, read_manifest
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.progress import log

Cli = Callable[..., Result]

PLAIN = [word for word in WORDS if word.isascii() and word.isalpha()]


def sentences(draw: random.Random, count: int, most: int) -> str:
    return " ".join(" ".join(draw.choices(PLAIN, k=draw.randint(1, most))) + draw.choice(".!?")
                    for _ in range(count))


def divided(folder: Path, text: str, length: int, stride: int | None = None, prompt: str = "") -> list[str]:
    splitter = PassageSplitter(Tokenizer(folder), prompt, chosen_split(length, stride))
    passages, tokens = splitter([Document("d", text, "here")])
    assert [passage.id for passage in passages] == [f"d#{n}" for n in range(len(passages))]
    assert len(tokens.ids) == len(tokens.lost) == len(passages)
    assert {passage.where for passage in passages} == {"here"}
    return [passage.text for passage in passages]


def slow_passages(text: str, room: int, stride: int) -> list[str]:
    """The rule by hand, of a text in which each word and each full stop is one wordpiece."""
    pieces = re.findall(r"[a-z]+|[.!?]", text)
    begins = {n + 1 for n, piece in enumerate(pieces) if piece in ".!?"}
    passages, begin = [], 0
    while len(pieces) - begin > room:
        half = begin + room // 2
        ends = [place for place in range(half + 1, begin + room + 1) if place in begins]
        end = max(ends, default=begin + room)
        passages.append(pieces[begin:end])
        step = min(stride, room)
        following = [place for place in range(begin + step // 2 + 1, begin + step + 1)
                     if place in begins and place <= end]
        begin = max(following, default=min(begin + step, end))
    return [re.sub(r" ([.!?])", r"\1", " ".join(piece)) for piece in [*passages, pieces[begin:]]]


@pytest.mark.parametrize("seed", range(12))
def test_passages_follow_the_rule(seed: int, tiny: Path) -> None:
    draw = random.Random(seed)
    text = sentences(draw, draw.randint(1, 60), draw.choice([3, 8, 40]))
    length = draw.randint(16, 40)
    stride = draw.choice([None, draw.randint(1, length), length])
    assert divided(tiny, text, length, stride) == slow_passages(
        text, length - 2, length // 2 if stride is None else stride)


HOSTILE = ["", " \n\t ", "a", "the wing . " * 50, "x" * 3_000, "中文é" * 100, "mat. " * 100, "!" * 5_000,
           "\n" * 5_000, "cat。dog！sat？" * 40, 'the cat sat." The dog (on a mat!) ' * 30,
           "\u200b\ufeff".join(["wing flow"] * 80), "wingwingwing" * 200, "é\u0301" * 400,
           "😀👩‍👩‍👧 ㌖ﬃ" * 60, "a\r\n\r\nb\n \nthe flow " * 60, ". . . " * 200, "[SEP] [CLS] [MASK] " * 90]


@pytest.mark.parametrize("stride", [1, 7, 12, 20])
@pytest.mark.parametrize("prompt", ["", "the query: "])
def test_every_wordpiece_is_in_a_passage_that_fits(stride: int, prompt: str, tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)

    def ids(text: str, special: bool = False) -> list[int]:
        return list(tokenizer(text, add_special_tokens=special, verbose=False).input_ids)

    draw = random.Random(stride)
    texts = [*HOSTILE, *(" ".join(draw.choices([*WORDS, "catss", "。", "\n\n", "?"], k=400)) for _ in range(5))]
    for text in texts:
        covered = 0
        for passage in divided(tiny, text, 20, stride, prompt):
            assert len(ids(prompt + passage, special=True)) <= 20
            while covered < len(text) and not ids(text[covered]):  # white space, control characters
                covered += 1
            begin = text.rfind(passage, 0, covered + len(passage))
            assert 0 <= begin <= covered
            covered = begin + len(passage)
        assert not ids(text[covered:])


def trained(kind: str, folder: Path) -> Path:
    """A tokenizer of bytes or of sentence pieces, which have the space before a word in the word."""
    characters = "abcdefghijklmnopqrstuvwxyz .,!?"
    if kind == "bytes":
        own = tokenizers.Tokenizer(models.BPE(unk_token="[UNK]"))
        own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIALS,
                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    else:
        own = tokenizers.Tokenizer(models.Unigram())
        own.normalizer = normalizers.NFKC()
        own.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIALS, unk_token="[UNK]",
                                          initial_alphabet=[*characters, "中", "。"])
    own.train_from_iterator([" ".join(PLAIN), *HOSTILE] * 3, trainer)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=own, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["bytes", "sentencepiece"])
@pytest.mark.parametrize("stride", [5, 24])
def test_other_tokenizers(kind: str, stride: int, tmp_path: Path) -> None:
    tokenizer = Tokenizer(trained(kind, tmp_path / "model"))
    splitter = PassageSplitter(tokenizer, "", chosen_split(24, stride))
    draw = random.Random(stride)
    texts = [*HOSTILE, *(sentences(draw, 30, 12) for _ in range(5)), "中文" * 200 + "。" + "文中" * 90]
    for text in texts:
        passages, tokens = splitter([Document("d", text, "here")])
        assert all(len(ids) <= 24 for ids in tokens.ids)
        assert not any(tokens.lost)
        assert tokens == tokenizer.tokenized([passage.text for passage in passages], 24)
        covered = 0
        for passage in passages:
            while covered < len(text) and not text[covered].strip():
                covered += 1
            begin = text.rfind(passage.text, 0, covered + len(passage.text))
            assert 0 <= begin <= covered
            covered = begin + len(passage.text)
        assert not text[covered:].strip()


def test_a_tokenizer_without_places_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIALS, "a", "b"]) + "\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "basic",
        "subword_tokenizer_type": "character"}))
    with pytest.raises(InputError, match="`passages`: the tokenizer in .* is written in Python"):
        divided(tmp_path, "a b", 16)


def test_of_a_text_that_fits_nothing_is_changed(tiny: Path) -> None:
    assert divided(tiny, " the cat sat \n", 16) == [" the cat sat \n"]
    assert divided(tiny, "", 16) == [""]


@pytest.mark.parametrize(("text", "begins"), [
    ("cat sat on mat. " * 20, ["cat"] * 9),
    ("cat sat on mat\n \n" * 20, ["cat"] * 9),
    ('cat sat on "mat." ' * 20, ["cat"] * 13),
    ("中中中中。" * 20, ["中"] * 9)])
def test_passages_begin_with_sentences(text: str, begins: list[str], tiny: Path) -> None:
    passages = divided(tiny, text, 22, 20)
    assert all(passage.startswith(begin) for passage, begin in zip(passages, begins, strict=False))
    assert all(passage[-1] in '.。"t' for passage in passages)


def test_impossible_lengths_are_refused(tiny: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", {"a": "the cat"})
    encode = ["encode", "--model", tiny, "--corpus", corpus, "--output", tmp_path / "out"]
    assert "--passages 15: expected 16" in refused(*encode, "--passages", 15)
    assert "--stride 21: expected 1 to 20" in refused(*encode, "--passages", 20, "--stride", 21)
    assert "--stride 0: expected 1 to 20" in refused(*encode, "--passages", 20, "--stride", 0)
    assert "--stride: give --passages" in refused(*encode, "--stride", 20)
    assert "--max-length 65: expected 3 to 64" in refused(*encode, "--passages", 65)
    assert "are longer than --max-length 32" in refused(*encode, "--passages", 40, "--max-length", 32)
    assert "are of documents" in refused("encode", "--model", tiny, "--topics", corpus, "--output",
                                         tmp_path / "out", "--passages", 20)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="leave room for 0 wordpieces"):
        divided(tiny, "the cat", 16, prompt="wing " * 40)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    draw = random.Random(3)
    return write_corpus(tmp_path / "corpus.jsonl", {
        f"d{n}#x": sentences(draw, draw.randint(0, 20), 12) for n in range(17)})


def encode(cli: Cli, tiny: Path, corpus: Path, output: Path, *more: object) -> Result:
    result = cli("encode", "--model", tiny, "--corpus", corpus, "--output", output, "--passages", 24,
                 "--stride", 16, "--shard-size", 4, "--contents", *more)
    assert result.code == 0, result.err
    return result


def test_encoded_passages(cli: Cli, tiny: Path, corpus: Path, tmp_path: Path) -> None:
    result = encode(cli, tiny, corpus, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    texts = {record["id"]: record["contents"] for record in map(json.loads, corpus.open())}
    expected = {f"{name}#{number}": passage for name, text in texts.items()
                for number, passage in enumerate(slow_passages(text, 22, 16) if text else [""])}
    assert {line.id: line.contents for line in read_encoded(tmp_path / "out", manifest)} == expected
    assert manifest.documents == len(expected)
    assert manifest.fingerprint.documents == 17
    assert manifest.fingerprint.max_length == 24
    assert f"{len(expected)} passages of 17 documents" in result.out
    assert manifest.cut_texts == 0
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["fingerprint"]["passages"] == {
        "length": 24, "stride": 16}


def test_a_passage_has_the_impacts_of_its_text(cli: Cli, tiny: Path, corpus: Path, tmp_path: Path) -> None:
    encode(cli, tiny, corpus, tmp_path / "out")
    lines = list(read_encoded(tmp_path / "out", read_manifest(tmp_path / "out")))
    write_corpus(tmp_path / "passages.jsonl", {line.id: line.contents for line in lines})
    assert cli("encode", "--model", tiny, "--corpus", tmp_path / "passages.jsonl", "--output",
               tmp_path / "again", "--max-length", 24, "--batch-tokens", 1).code == 0
    again = {line.id: line.vector for line in read_encoded(tmp_path / "again",
                                                           read_manifest(tmp_path / "again"))}
    for line in lines:
        assert line.vector.keys() == again[line.id].keys()
        assert all(abs(impact - again[line.id][term]) <= 1 for term, impact in line.vector.items())


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_parts_plans_and_resumed_encodes_have_the_same_bytes(
        form: str, cli: Cli, tiny: Path, corpus: Path, tmp_path: Path) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
        more = ["--format", "parquet"]
    else:
        more = ["--gzip"]
    encode(cli, tiny, corpus, tmp_path / "whole", *more)
    for part in ("2/2", "1/2"):
        encode(cli, tiny, corpus, tmp_path / "parts", "--part", part, *more)
    assert content(tmp_path / "parts") == content(tmp_path / "whole")

    encode(cli, tiny, corpus, tmp_path / "resumed", *more)
    next((tmp_path / "resumed" / "impacts").glob("part-00002.*")).unlink()
    (tmp_path / "resumed" / "manifest.json").unlink()
    assert "1 shard written, 4 kept" in encode(cli, tiny, corpus, tmp_path / "resumed", *more).out
    assert content(tmp_path / "resumed") == content(tmp_path / "whole")

    assert cli("plan", "--corpus", corpus, "--output", tmp_path / "plan", "--shard-size", 4).code == 0
    assert cli("encode", "--model", tiny, "--plan", tmp_path / "plan", "--output", tmp_path / "planned",
               "--passages", 24, "--stride", 16, "--contents", *more).code == 0
    assert content(tmp_path / "planned") == content(tmp_path / "whole")


def test_workers_write_the_same_bytes(cli: Cli, tiny: Path, corpus: Path, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """What `--ray` starts on each node; two threads of a worker share its tokenizer."""
    encode(cli, tiny, corpus, tmp_path / "whole")
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(log, "handlers", [*log.handlers])
    monkeypatch.chdir(tmp_path)
    worker = ShardWorker(EncodingJob(
        tmp_path, str(tiny), open_checkpoint(str(tiny)).variant,
        EncoderSettings(device="cpu", passages=chosen_split(24, 16)), plan_texts(str(corpus), "document", 4),
        EncodingOutput(folder=tmp_path / "out", contents=True)))
    ready = worker.load()
    assert isinstance(ready, WorkerReady)
    manifest = read_manifest(tmp_path / "whole")
    assert ready.fingerprint == manifest.fingerprint
    with ThreadPoolExecutor(2) as pool:
        written = list(pool.map(lambda number: worker.encode(number, False), [3, 0, 4, 1, 2]))
    for answer in written:
        assert isinstance(answer, EncodedShard)
        assert answer.shard.sha256 == {shard.name: shard.sha256 for shard in manifest.shards}[answer.shard.name]


def test_another_split_is_another_encoding(cli: Cli, refused: Callable[..., str], tiny: Path, corpus: Path,
                                           tmp_path: Path) -> None:
    encode(cli, tiny, corpus, tmp_path / "out")
    (tmp_path / "out" / "manifest.json").unlink()
    next((tmp_path / "out" / "impacts").glob("part-00002.*")).unlink()
    assert "--passages=24 --stride=16" in unfinished(tmp_path / "out")
    assert "passages: length=24 stride=16 there, length=24 stride=12 now" in refused(
        "encode", "--model", tiny, "--corpus", corpus, "--output", tmp_path / "out", "--shard-size", 4,
        "--passages", 24, "--contents")
