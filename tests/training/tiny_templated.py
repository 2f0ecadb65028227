"""Tiny random rerankers that score one text, with tokenizers of their kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import WORDS
from training.tiny_teachers import randomise

#: What a causal reranker's text has besides words, so that its tokenizer knows whole words of it.
_PROSE = ("Judge whether the Document meets requirements based on Query and Instruct provided Note "
          "that answer can only be yes or no Given a web search query retrieve relevant passages "
          "You are Qwen created by Alibaba Cloud helpful assistant system user document relevance "
          "expert who evaluates how well documents match queries")


def make_decoder(folder: Path, family: str, head: str = "causal", labels: int = 1, seed: int = 0,
                 padding_side: str = "left", **config: Any) -> Path:
    """A Qwen2 or Qwen3 (`family`) with a `causal` head, or one for sequence classification."""
    import transformers

    tokenizer = byte_tokenizer(padding_side)
    settings = getattr(transformers, f"{family}Config")(**{
        "vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 32,
        "max_position_embeddings": 1024, "num_labels": labels,
        "pad_token_id": tokenizer.pad_token_id} | config)
    name = "ForCausalLM" if head == "causal" else "ForSequenceClassification"
    _save(getattr(transformers, family + name)(settings), folder, seed)
    tokenizer.save_pretrained(folder)
    return folder


def make_monot5(folder: Path, seed: int = 0) -> Path:
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = word_tokenizer()
    _save(T5ForConditionalGeneration(T5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)), folder, seed)
    tokenizer.save_pretrained(folder)
    return folder


def byte_tokenizer(padding_side: str = "left") -> Any:
    """A BPE of bytes with Qwen's special tokens, and its rule that joins a sign and a new line."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    words = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    bpe.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(words), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    lines = [*WORDS, *_PROSE.split(), f"{' '.join(WORDS)} {_PROSE}", "yes", "no", ">\n", ":\n"] * 9
    bpe.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=1500, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token=special[0],
                                   eos_token=special[2], padding_side=padding_side)


def word_tokenizer() -> Any:
    """Words with T5's mark of a beginning, and its end of a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["Query:", "Document:", "Relevant:", "true", "false", *WORDS]
    vocabulary = ["<pad>", "</s>", "<unk>", *(f"▁{word}" for word in dict.fromkeys(words)),
                  "<extra_id_10>"]
    level = Tokenizer(models.WordLevel({word: n for n, word in enumerate(vocabulary)}, "<unk>"))
    level.pre_tokenizer = pre_tokenizers.Metaspace()
    level.post_processor = processors.TemplateProcessing(single="$A </s>",
                                                         special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=level, pad_token="<pad>", eos_token="</s>",
                                   unk_token="<unk>")


def _save(model: Any, folder: Path, seed: int) -> None:
    randomise(model, seed)
    model.save_pretrained(folder)
