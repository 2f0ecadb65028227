"""A folder with BERT's own tokenizer -> the tokenizer, without importing transformers and torch.

transformers takes a second to import and imports torch, which takes another; a tokenizer needs
neither. transformers builds BERT's tokenizer from the vocabulary in tokenizer.json, the settings in
tokenizer_config.json and rules of its own. Where tokenizer.json states these very rules, the
tokenizers library reads the same tokenizer from it. Any other folder is left to transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spladev3_anserini.files import read_json
from spladev3_anserini.model.batches import DTYPES
from spladev3_anserini.model.loading import refuse_pointers

_CLASSES = ("BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast")
_ARCHITECTURES = ("bert", "distilbert")
#: The keys of tokenizer_config.json that name special tokens, and the tokens.
BERT_TOKENS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]",
               "sep_token": "[SEP]", "mask_token": "[MASK]"}
#: The values of keys that would change ids; the other keys of `_PLAIN` may have any value.
_SETTINGS = {"truncation_side": "right", "never_split": None, "do_basic_tokenize": True,
             "split_special_tokens": False}
_PLAIN = {
    "tokenizer_class", "do_lower_case", "strip_accents", "tokenize_chinese_chars",
    "added_tokens_decoder", "model_max_length", "max_length", "padding_side", "pad_token_type_id",
    "pad_to_multiple_of", "stride", "truncation_strategy", "clean_up_tokenization_spaces",
    "name_or_path", "special_tokens_map_file", "is_local", "local_files_only", "backend"}
#: Far above BERT's; a larger vocabulary is left to the checks of the usual way.
_MOST_IDS = 1 << 20
_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def bert_backend(folder: Path) -> Any:
    """Returns the folder's `tokenizers.Tokenizer` if transformers would load the same from it.

    Returns None for everything else, whether it can be loaded or not.
    """
    from tokenizers import Tokenizer

    try:
        refuse_pointers(folder)
        content = read_json(folder / "tokenizer.json", dict)
        settings, model = (read_json(path, dict) if path.exists() else {}
                           for path in (folder / "tokenizer_config.json", folder / "config.json"))
        names = folder / "special_tokens_map.json"
        named = read_json(names, dict) if names.exists() else {}
        if (folder / "added_tokens.json").exists() or not _is_bert(content, settings, model, named):
            return None
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # what is wrong with the files is said by the usual way to load them
        return None


def _is_bert(content: dict[str, Any], settings: dict[str, Any], model: dict[str, Any],
             named: dict[str, Any]) -> bool:
    """Whether the four files describe BERT's tokenizer: tokenizer.json, tokenizer_config.json,
    config.json and special_tokens_map.json."""
    ids: dict[str, int] = content["model"]["vocab"]
    if len(ids) > _MOST_IDS or sorted(ids.values()) != list(range(len(ids))):
        return False
    architecture, kind = model.get("model_type"), settings.get("tokenizer_class")
    if kind not in _CLASSES and (kind is not None or architecture not in _ARCHITECTURES):
        return False
    if architecture not in (None, *_ARCHITECTURES) or "tokenizer_class" in model or model.get(
            "dtype", "float32") not in DTYPES:
        return False
    added = [{"id": ids[token], "content": token, **_FLAGS, "special": True}
             for token in sorted(BERT_TOKENS.values(), key=ids.__getitem__)]
    decoder = {str(token["id"]): {key: token[key] for key in token if key != "id"}
               for token in added}
    if not _same(settings.get("added_tokens_decoder", decoder), decoder):
        return False
    others = {key: value for key, value in settings.items()
              if key not in _PLAIN and not (key in _SETTINGS and _same(value, _SETTINGS[key]))
              and not (key.endswith("special_tokens") and not value)}
    padding, truncation = content.get("padding"), content.get("truncation")
    return (all(_names_token(key, value) for key, value in (others | named).items())
            and (not padding or (padding["pad_token"], padding["pad_id"])
                 == ("[PAD]", ids["[PAD]"]))
            and (not truncation or truncation["direction"] == "Right")
            and _same(_without_state(content), _rules(settings, ids) | {"added_tokens": added}))


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON; in Python 1 equals true."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _names_token(key: str, value: Any) -> bool:
    """Whether a setting names a special token as BERT does, by its text or with its flags."""
    if isinstance(value, Mapping):
        flags = {name: flag for name, flag in value.items()
                 if name not in ("content", "special", "__type")}
        return _same(flags, _FLAGS) and _names_token(key, value.get("content"))
    return key in BERT_TOKENS and value == BERT_TOKENS[key]


def _without_state(content: dict[str, Any]) -> dict[str, Any]:
    """The rules of a tokenizer.json, without the vocabulary."""
    rules = {key: value for key, value in content.items()
             if key not in ("version", "truncation", "padding")}
    plain = {key: value for key, value in rules["model"].items() if key != "vocab"}
    return rules | {"model": {"type": "WordPiece"} | plain}


def _rules(settings: dict[str, Any], ids: dict[str, int]) -> dict[str, Any]:
    """The rules that transformers builds for BERT."""
    def token(name: str, kind: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": kind}}

    def text(name: str, kind: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": kind}}

    single = [token("[CLS]", 0), text("A", 0), token("[SEP]", 0)]
    return {
        "normalizer": {"type": "BertNormalizer", "clean_text": True,
                       "handle_chinese_chars": settings.get("tokenize_chinese_chars", True),
                       "strip_accents": settings.get("strip_accents"),
                       "lowercase": settings.get("do_lower_case", True)},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing", "single": single,
            "pair": [*single, text("B", 1), token("[SEP]", 1)],
            "special_tokens": {name: {"id": name, "ids": [ids[name]], "tokens": [name]}
                               for name in ("[CLS]", "[SEP]")}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100}}
