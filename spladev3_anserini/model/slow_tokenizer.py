"""A tokenizer that is written in Python, such as Japanese BERT's -> ids, settings, identity."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from spladev3_anserini.errors import InputError, refuse_without
from spladev3_anserini.files import read_json, sha256_of

#: Settings of transformers that change no id of a text.
_NO_IDENTITY = {"name_or_path", "is_local", "local_files_only", "backend", "model_max_length",
                "padding_side", "trust_remote_code"}
#: Dictionaries of Japanese words that the extra `japanese` installs.
_DICTIONARIES = ("ipadic", "unidic_lite")
#: MeCab splits one text at a time.
_ONE_TEXT = Lock()


class Cut(NamedTuple):
    """The ids of a text, and how many of its ids were cut off."""

    ids: list[int]
    lost: int


def cut_ids(tokenizer: Any, text: str, max_length: int) -> Cut:
    """Tokenises a text and cuts it to `max_length` ids, special tokens included."""
    with _ONE_TEXT:
        ids = tokenizer(text, truncation=False, verbose=False)["input_ids"]
        if len(ids) <= max_length:
            return Cut(ids, 0)
        cut = tokenizer(text, truncation=True, max_length=max_length, verbose=False)["input_ids"]
    return Cut(cut, len(ids) - len(cut))


def refuse_word_splitter(folder: Path) -> None:
    """Raises InputError for a tokenizer whose words are split by something that is not installed,
    by another program, or with options of its own.

    Options could make MeCab read any file. The files are those of Japanese BERT.
    """
    path = folder / "tokenizer_config.json"
    settings = read_json(path, dict) if path.exists() else {}
    kind = settings.get("word_tokenizer_type")
    if kind not in (None, "basic", "mecab"):
        raise InputError(f"{path}: word_tokenizer_type: {json.dumps(kind)[:60]} is not applied "
                         "here; expected mecab or basic")
    options = settings.get("mecab_kwargs") or {}
    if not isinstance(options, dict):
        raise InputError(f"{path}: mecab_kwargs: expected a JSON object")
    if options.get("mecab_option"):
        raise InputError(f"{path}: mecab_kwargs.mecab_option: is not applied here")
    if kind != "mecab":
        return
    what = f"{folder}: its tokenizer splits Japanese words by MeCab"
    refuse_without("fugashi", what, "japanese")
    dictionary = options.get("mecab_dic", "unidic_lite")
    if dictionary in _DICTIONARIES:
        refuse_without(dictionary, what, "japanese")


def identity(tokenizer: Any, folder: Path, lower_case: bool) -> str:
    """Returns a sha256 (hex) of what decides a text's ids: class, vocabulary, settings, files other
    than the vocabulary, and the version of the dictionary of words."""
    settings = {key: value for key, value in tokenizer.init_kwargs.items()
                if key not in _NO_IDENTITY and not key.endswith("_file")}
    names = set(tokenizer.vocab_files_names.values())
    files = {name: sha256_of(folder / name) for name in sorted(names)
             if not name.startswith("vocab.") and (folder / name).is_file()}
    dictionary = (settings.get("mecab_kwargs") or {}).get("mecab_dic", "unidic_lite")
    installed = ""
    if settings.get("word_tokenizer_type") == "mecab":
        with suppress(PackageNotFoundError):
            installed = version(dictionary)
    content = [type(tokenizer).__name__, sorted(tokenizer.get_vocab().items()), settings, files,
               installed, sorted(tokenizer.all_special_ids), tokenizer.truncation_side, lower_case]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
