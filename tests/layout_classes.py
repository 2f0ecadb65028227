"""Every layout of a sparse encoder as data: how to build it tiny and random, and what it becomes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import SPECIALS, WORDS, make_tiny

SETTINGS, LENGTHS = "config_sentence_transformers.json", "sentence_bert_config.json"
TOKENIZER, POOLING = "tokenizer_config.json", "1_SpladePooling/config.json"
ENCODER, STATIC = "document_0_Transformer", "query_0_SparseStaticEmbedding"
_SENTENCES = ["the cat sat on the mat", "boundary layer of a wing", "heat and air flow :  two  spaces",
              "shock wave theory test", "one two three four five", "Lift and Drag ;    four spaces"]
_LONG = " ".join(WORDS[:40]) + " the cat sat on a wing of the dog " * 3
#: One text is longer than any length below, one is empty, one has only white space.
TEXTS = ["the cat sat on the mat", "Heat and  Air flow    : mach", "one two three", _LONG, "",
         "boundary layer é 中 test"]


def edit(path: Path, /, **changes: object) -> None:
    """Changes keys of a JSON file; None removes a key."""
    record = json.loads(path.read_text()) if path.exists() else {}
    record = {key: value for key, value in (record | changes).items() if value is not None}
    path.write_text(json.dumps(record))


class Bases:
    """The models that layouts are built around; each is made once."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, name: str) -> Path:
        folder = self.home / name
        if not folder.exists():
            BASES[name](folder)
        return folder

    def copy(self, name: str, folder: Path) -> Path:
        return Path(shutil.copytree(self(name), folder))


def _random(model: Any, folder: Path) -> None:
    import torch

    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.6)
    model.save_pretrained(folder)


def _byte_bpe(folder: Path, spaces: int = 0, **names: Any) -> int:
    """A byte-level BPE tokenizer, as RoBERTa and ModernBERT have; `spaces` adds runs of spaces."""
    from tokenizers import AddedToken, ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast, RobertaTokenizerFast

    folder.mkdir(parents=True)
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(_SENTENCES, vocab_size=330, special_tokens=[
        "<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    made.save_model(str(folder))
    tokenizer = RobertaTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), **names)
    if spaces:
        tokenizer.add_tokens([AddedToken(" " * count, normalized=False)
                              for count in range(2, 2 + spaces)])
    plain = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, **{
        key: getattr(tokenizer, key) for key in (
            "bos_token", "eos_token", "cls_token", "sep_token", "unk_token", "pad_token",
            "mask_token")})
    (plain if spaces or names else tokenizer).save_pretrained(folder)
    return len(tokenizer)


def _roberta(folder: Path) -> None:
    from transformers import RobertaConfig, RobertaForMaskedLM

    size = _byte_bpe(folder)
    _random(RobertaForMaskedLM(RobertaConfig(
        vocab_size=size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=66, pad_token_id=1)), folder)
    edit(folder / TOKENIZER, model_max_length=64)


def _modernbert(folder: Path, spaces: int = 0, surplus: int = 0) -> None:
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    size = _byte_bpe(folder, spaces, add_prefix_space=False)
    _random(ModernBertForMaskedLM(ModernBertConfig(
        vocab_size=size + surplus, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, pad_token_id=1, bos_token_id=0,
        eos_token_id=2, cls_token_id=0, sep_token_id=2)), folder)


def _xlm_roberta(folder: Path) -> None:
    from tokenizers import SentencePieceUnigramTokenizer
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM, XLMRobertaTokenizerFast

    made = SentencePieceUnigramTokenizer()
    made.train_from_iterator(_SENTENCES, vocab_size=60, show_progress=False, unk_token="<unk>",
                             special_tokens=["<s>", "<pad>", "</s>", "<unk>"])
    content = json.loads(made.to_str())["model"]
    tokenizer = XLMRobertaTokenizerFast(vocab=[tuple(pair) for pair in content["vocab"]])
    tokenizer.save_pretrained(folder)
    _random(XLMRobertaForMaskedLM(XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=66, pad_token_id=1)), folder)
    edit(folder / TOKENIZER, model_max_length=64)


def _padded(folder: Path) -> None:
    """BERT with more output columns than wordpieces, as for tensor cores."""
    from transformers import BertConfig, BertForMaskedLM

    make_tiny(folder)
    _random(BertForMaskedLM(BertConfig(
        vocab_size=len(SPECIALS) + len(WORDS) + 7, hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=64)), folder)


def _cased(folder: Path) -> None:
    """BERT whose tokenizer keeps upper case."""
    make_tiny(folder, vocabulary=[*SPECIALS, *WORDS, "Heat", "Air"])
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"lowercase": true', '"lowercase": false'))
    edit(folder / TOKENIZER, do_lower_case=False)


def _japanese(folder: Path, splitter: str, **options: object) -> None:
    """BERT with the tokenizer of Japanese models, which has no fast form."""
    make_tiny(folder)
    (folder / "tokenizer.json").unlink()
    (folder / TOKENIZER).write_text(json.dumps({
        "tokenizer_class": "BertJapaneseTokenizer", "do_lower_case": True,
        "word_tokenizer_type": splitter, "subword_tokenizer_type": "wordpiece",
        "model_max_length": 64} | options))


def _st6(folder: Path) -> None:
    from layouts import sparse_encoder

    sparse_encoder(make_tiny(folder.parent / "st6-source")).save_pretrained(str(folder))


def _causal(folder: Path) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    size = _byte_bpe(folder)
    _random(Qwen3ForCausalLM(Qwen3Config(
        vocab_size=size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, head_dim=8,
        num_key_value_heads=1, intermediate_size=32, max_position_embeddings=64)), folder)


BASES: dict[str, Callable[[Path], object]] = {
    "bert": make_tiny, "other": lambda f: make_tiny(f, seed=9),
    "third": lambda f: make_tiny(f, seed=10),
    "distilbert": lambda f: make_tiny(f, "distilbert"), "roberta": _roberta,
    "xlm-roberta": _xlm_roberta, "modernbert": _modernbert,
    "modernbert-spaces": lambda f: _modernbert(f, spaces=3),
    "modernbert-padded": lambda f: _modernbert(f, surplus=11), "padded": _padded, "cased": _cased,
    "japanese": lambda f: _japanese(f, "basic"),
    "mecab": lambda f: _japanese(f, "mecab", mecab_kwargs={"mecab_dic": "ipadic"}), "st6": _st6, "causal": _causal}
