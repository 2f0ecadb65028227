"""BERT's tokenizer as it is read without transformers: as transformers loads it, or left to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import SPECIALS, TEXTS, WORDS, make_tiny

from spladev3_anserini.errors import InputError
from spladev3_anserini.model import tokenizer as module
from spladev3_anserini.model.bert_tokenizer import bert_backend
from spladev3_anserini.model.tokenizer import Tokenizer

CONFIG, CONTENT, MODEL, NAMES = ("tokenizer_config.json", "tokenizer.json", "config.json",
                                 "special_tokens_map.json")
FLAGS = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
ADDED = {str(place): {"content": token, "special": True, **FLAGS}
         for place, token in enumerate(SPECIALS)}
SOME = [*TEXTS.values(), "The CAT é 中 [MASK] [SEP] \U000f8fff\u0301", "don't [UNK]", " ".join(WORDS) * 2]

#: What is changed: file, keys, value (`...` removes the key), and whether it is still read here.
CHANGES: dict[str, tuple[str, str, Any, bool]] = {
    "nothing": (CONFIG, "name_or_path", "x", True),
    "the class of old files": (CONFIG, "tokenizer_class", "BertTokenizerFast", True),
    "the class of DistilBERT": (CONFIG, "tokenizer_class", "DistilBertTokenizer", True),
    "no class": (CONFIG, "tokenizer_class", ..., True),
    "another class": (CONFIG, "tokenizer_class", "RobertaTokenizer", False),
    "a plain class": (CONFIG, "tokenizer_class", "PreTrainedTokenizerFast", False),
    "a class in config.json": (MODEL, "tokenizer_class", "BertTokenizer", False),
    "another model": (MODEL, "model_type", "modernbert", False),
    "added tokens": (CONFIG, "added_tokens_decoder", ADDED, True),
    "other added tokens": (CONFIG, "added_tokens_decoder",
                           ADDED | {"9": {"content": "cat", "special": False, **FLAGS}}, False),
    "a token with flags": (CONFIG, "mask_token", {"content": "[MASK]", "__type": "AddedToken", **FLAGS},
                           True),
    "a token with other flags": (CONFIG, "mask_token",
                                 {"content": "[MASK]", "__type": "AddedToken", **FLAGS, "lstrip": True},
                                 False),
    "another token": (CONFIG, "mask_token", "cat", False),
    "one more token": (CONFIG, "extra_special_tokens", ["cat"], False),
    "no more tokens": (CONFIG, "additional_special_tokens", [], True),
    "a token of its own": (CONFIG, "image_token", "cat", False),
    "a map": (NAMES, "cls_token", "[CLS]", True),
    "another map": (NAMES, "cls_token", "cat", False),
    "a longer map": (NAMES, "additional_special_tokens", ["cat"], False),
    "legacy tokens": ("added_tokens.json", "wings", 60, False),
    "upper case in both": (CONFIG, "do_lower_case", False, False),
    "lower case as a number": (CONFIG, "do_lower_case", 1, False),
    "lower case by default": (CONFIG, "do_lower_case", ..., True),
    "accents": (CONFIG, "strip_accents", False, False),
    "no Chinese": (CONFIG, "tokenize_chinese_chars", False, False),
    "cut at the left": (CONFIG, "truncation_side", "left", False),
    "cut at the right": (CONFIG, "truncation_side", "right", True),
    "split special tokens": (CONFIG, "split_special_tokens", True, False),
    "never split": (CONFIG, "never_split", ["cat"], False),
    "an unknown key": (CONFIG, "word_splitter", "x", False),
    "rules of upper case": (CONTENT, "normalizer.lowercase", False, False),
    "rules with accents": (CONTENT, "normalizer.strip_accents", False, False),
    "no rules": (CONTENT, "normalizer", None, False),
    "another splitter": (CONTENT, "pre_tokenizer", {"type": "Whitespace"}, False),
    "another end": (CONTENT, "post_processor", None, False),
    "another type of tokens": (CONTENT, "post_processor.single", [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 1}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}}], False),
    "another decoder": (CONTENT, "decoder.cleanup", False, False),
    "another prefix": (CONTENT, "model.continuing_subword_prefix", "@@", False),
    "shorter words": (CONTENT, "model.max_input_chars_per_word", 3, False),
    "no type of the model": (CONTENT, "model.type", ..., True),
    "a hole": (CONTENT, "model.vocab.cat", ..., False),
    "two of one id": (CONTENT, "model.vocab.cat", 20, False),
    "no [MASK]": (CONTENT, "model.vocab.[MASK]", ..., False),
    "an id that is text": (CONTENT, "model.vocab.cat", "27", False),
    "fewer added tokens": (CONTENT, "added_tokens", [], False),
    "cut at the left by tokenizer.json": (CONTENT, "truncation", {
        "direction": "Left", "max_length": 9, "strategy": "LongestFirst", "stride": 0}, False),
    "cut by tokenizer.json": (CONTENT, "truncation", {
        "direction": "Right", "max_length": 9, "strategy": "LongestFirst", "stride": 2}, True),
    "padded by tokenizer.json": (CONTENT, "padding", {
        "strategy": {"Fixed": 20}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "[PAD]"}, True),
    "padded by another token": (CONTENT, "padding", {
        "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 9,
        "pad_type_id": 0, "pad_token": "cat"}, False),
}


def changed(folder: Path, file: str, keys: str, value: Any) -> None:
    content = json.loads((folder / file).read_text("utf-8")) if (folder / file).exists() else {}
    *path, last = keys.split(".")
    place = content
    for key in path:
        place = place[key]
    if value is ...:
        place.pop(last, None)
    else:
        place[last] = value
    (folder / file).write_text(json.dumps(content), "utf-8")


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tokenizer]:
    """Loads a tokenizer by transformers."""

    def load(folder: Path, **options: bool) -> Tokenizer:
        with monkeypatch.context() as patch:
            patch.setattr(module, "bert_backend", lambda folder: None)
            return Tokenizer(folder, **options)

    return load


def state(tokenizer: Tokenizer) -> list[object]:
    """All that a tokenizer is, and what it does."""
    return [tokenizer.sha256, tokenizer.special_ids, tokenizer.added, tokenizer.nameless,
            tokenizer.padding_id, tokenizer.terms.tolist(), tokenizer.tokenized(SOME, 64),
            tokenizer.tokenized(SOME, 9), [tokenizer.pieces(text) for text in SOME],
            tokenizer.tokenized(SOME, 64)]


@pytest.mark.parametrize("what", CHANGES)
def test_a_tokenizer_is_read_as_transformers_loads_it_or_left_to_it(
        what: str, tiny: Path, tmp_path: Path, usual: Callable[..., Tokenizer]) -> None:
    file, keys, value, plain = CHANGES[what]
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    (folder / "vocab.txt").unlink()
    changed(folder, file, keys, value)
    assert (bert_backend(folder) is not None) == plain
    if plain:
        for options in ({}, {"lower_case": True}):
            assert state(Tokenizer(folder, **options)) == state(usual(folder, **options))


def test_cased_and_real_vocabularies(tiny: Path, demo_model: Path, tmp_path: Path,
                                     usual: Callable[..., Tokenizer]) -> None:
    cased = Path(shutil.copytree(tiny, tmp_path / "cased"))
    changed(cased, CONFIG, "do_lower_case", False)
    changed(cased, CONTENT, "normalizer.lowercase", False)
    saved = tmp_path / "saved"
    Tokenizer(cased).transformers.save_pretrained(saved)  # without a model's config.json
    for folder in (cased, saved, demo_model, make_tiny(tmp_path / "distil", "distilbert")):
        assert bert_backend(folder) is not None
        assert state(Tokenizer(folder)) == state(usual(folder))
    lowered = Tokenizer(cased, lower_case=True)
    assert lowered.ids(["THE Cat"], 9) == Tokenizer(tiny).ids(["the cat"], 9)
    assert state(lowered) == state(usual(cased, lower_case=True))
    assert lowered.transformers.backend_tokenizer.normalizer.normalize_str("CAT") == "cat"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": {"vocab": []}}', "\x00"])
def test_a_broken_file_is_refused_as_ever(content: str, tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    (folder / "vocab.txt").unlink()
    (folder / CONTENT).write_text(content, "utf-8")
    assert bert_backend(folder) is None
    with pytest.raises(InputError, match="the tokenizer cannot be loaded"):
        Tokenizer(folder)
