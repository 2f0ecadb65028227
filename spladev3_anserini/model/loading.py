"""A folder -> its tokenizer and model, loaded by transformers from safetensors, never from code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spladev3_anserini.errors import InputError, refusing
from spladev3_anserini.files import refuse_pointer
from spladev3_anserini.model.panics import without_panic_report
from spladev3_anserini.model.slow_tokenizer import refuse_word_splitter
from spladev3_anserini.model.weights import refuse_misread

#: Each of these files can be a complete tokenizer.
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model",
                "sentencepiece.bpe.model")
#: These files may change a tokenizer.
_BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")

if TYPE_CHECKING:
    import torch

#: The most characters that a tokenizer's rules may make of one. Known tokenizers make 3, not
#: counting Unicode normalisation, which does not multiply. Ten rules in a row that each make 1,000
#: end the process.
_MOST_GROWTH = 100
#: What transformers says of an architecture without this implementation of attention.
_NO_SDPA = "does not support an attention implementation through torch.nn.functional"

#: The most ids of a vocabulary; the largest of known models has a million.
_MOST_IDS = 1 << 21


def load_tokenizer(folder: Path, **options: Any) -> Any:
    """Loads a folder's tokenizer by transformers.

    Raises InputError if it cannot be loaded, and as `refuse_content` and `refuse_word_splitter`.
    """
    from transformers import AutoTokenizer

    refuse_pointers(folder)
    refuse_word_splitter(folder)
    with refusing(f"{folder}: the tokenizer cannot be loaded"), without_panic_report(), \
            quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True,
                                                  trust_remote_code=False, **options)
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= _MOST_IDS:  # before the library goes through all of them
        raise InputError(f"{folder}: the tokenizer has the id {largest:,}; at most {_MOST_IDS:,} "
                         "ids are taken")
    with refusing(f"{folder}: the tokenizer cannot be loaded"), without_panic_report():
        content = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else None
    if content:
        refuse_content(content, folder)
    return tokenizer


def refuse_pointers(folder: Path) -> None:
    """Raises InputError if a file of a tokenizer is a Git LFS pointer."""
    for name in (*VOCABULARIES, *_BESIDE):
        if (folder / name).is_file():
            refuse_pointer(folder / name)


def load_model(loader: str, folder: Path, dtype: torch.dtype, without: str,
               unused: str = "", **options: Any) -> Any:
    """Loads a folder's model by a class of transformers, from its safetensors.

    Args:
        loader: The name of the class, such as `AutoModelForMaskedLM`.
        folder: The folder with config.json and weights.
        dtype: The precision of the loaded weights.
        without: The end of the message about a missing weight.
        unused: The prefix of weights that the caller does not use, so they may be missing.
        options: More arguments of `from_pretrained`. If the architecture has no `sdpa`, `eager`
            takes its place.

    Raises:
        InputError: The model cannot be loaded, or as `refuse_misread`.
    """
    import transformers

    try:
        with refusing(f"{folder}: the model cannot be loaded"), quiet_transformers():
            model, report = getattr(transformers, loader).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False,
                dtype=dtype, output_loading_info=True, **options)
    except InputError as error:
        if _NO_SDPA in str(error.__cause__) and options.get("attn_implementation") == "sdpa":
            return load_model(loader, folder, dtype, without, unused,
                              **options | {"attn_implementation": "eager"})
        if "mismatch" not in str(error.__cause__):
            raise
        raise InputError(f"{folder}: the model cannot be loaded: its weights have other shapes "
                         "than its config.json says") from error.__cause__
    report["missing_keys"] = {key for key in report["missing_keys"]
                              if not (unused and key.startswith(unused))}
    refuse_misread(folder, report, without, masked_lm=loader == "AutoModelForMaskedLM",
                   base=model.base_model_prefix)
    return model


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Has transformers log nothing in the block, since an error is raised as well and said once,
    and draw no bars."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        logging.set_verbosity(logging.CRITICAL)
        if bars:
            logging.disable_progress_bar()
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def refuse_content(tokenizer: str, folder: Path) -> None:
    """Raises InputError for a tokenizer.json that multiplies text, or that is random.

    A random tokenizer (dropout) splits the same text into other wordpieces each time.
    """
    content = json.loads(tokenizer)
    growth = _growth(content.get("normalizer")) * _growth(content.get("pre_tokenizer"))
    if growth > _MOST_GROWTH:
        raise InputError(f"{folder}: the tokenizer's rules can make {growth:,} characters of one; "
                         f"at most {_MOST_GROWTH} are taken")
    if dropout := content["model"].get("dropout"):
        raise InputError(f"{folder}: the tokenizer leaves out merges at random (dropout {dropout}"
                         "), so that no encoding can be repeated")


def _growth(rule: Any) -> int:
    """Returns how many characters a normalizer or pre-tokenizer can make of one.

    The factors of its steps are multiplied.
    """
    if not isinstance(rule, dict):
        return 1
    factor = 2 if rule.get("type") == "ByteLevel" else 1
    for key in ("content", "prepend"):
        factor *= max(1, len(rule.get(key) or ""))
    for steps in ("normalizers", "pretokenizers"):
        for step in rule.get(steps) or ():
            factor *= _growth(step)
    return factor
