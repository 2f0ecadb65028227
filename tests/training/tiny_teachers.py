"""Tiny random teachers of each kind, in transformers' layout, and what a plain loop scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import SPECIALS, WORDS, save_tokenizer
from numpy.typing import NDArray

PAIRS = [("cat on mat", "the cat sat on the mat"), ("cat on mat", "boundary layer of a wing"),
         ("shock wave", "heat and air flow : mach number ten " * 6), ("shock wave", ""),
         ("one", "shock wave theory test"), ("jet", "the dog runs , the dog barks"),
         ("one", "one two three four five six seven eight nine ten")]


def make_cross_encoder(folder: Path, labels: int = 1, seed: int = 0) -> Path:
    from transformers import BertConfig, BertForSequenceClassification

    model = BertForSequenceClassification(BertConfig(
        vocab_size=len(SPECIALS) + len(WORDS), hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=64,
        num_labels=labels))
    return _saved(model, folder, [*SPECIALS, *WORDS], seed)


def make_xlm_roberta(folder: Path, seed: int = 0) -> Path:
    """The layout of bge-reranker-v2-m3: `<s> q </s></s> d </s>`, and positions that begin at 2."""
    from tokenizers import processors
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    tokenizer = word_level(["<s>", "<pad>", "</s>", "<unk>"], "left")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)])
    model = XLMRobertaForSequenceClassification(XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=66, num_labels=1, pad_token_id=1,
        type_vocab_size=1))
    return _saved_with(tokenizer, model, folder, seed)


def make_modernbert(folder: Path, seed: int = 0) -> Path:
    """The layout of gte-reranker-modernbert-base: windows of attention, the pooled mean."""
    from tokenizers import processors
    from transformers import ModernBertConfig, ModernBertForSequenceClassification

    tokenizer = word_level(["<unk>", "<pad>", "[CLS]", "[SEP]"], "right")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    model = ModernBertForSequenceClassification(ModernBertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=4, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, num_labels=1, pad_token_id=1,
        local_attention=8, global_attn_every_n_layers=3, classifier_pooling="mean",
        bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3))
    return _saved_with(tokenizer, model, folder, seed)


def word_level(specials: list[str], padding_side: str) -> Any:
    """A tokenizer of whole words without token types."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate([*specials, *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", pad_token="<pad>", padding_side=padding_side,
        model_input_names=["input_ids", "attention_mask"])


def make_t5(folder: Path, seed: int = 0) -> Path:
    from transformers import T5Config, T5ForConditionalGeneration

    vocabulary = [*SPECIALS, *WORDS, "<extra_id_10>"]
    model = T5ForConditionalGeneration(T5Config(
        vocab_size=len(vocabulary), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
        pad_token_id=0, eos_token_id=3, decoder_start_token_id=0))
    return _saved(model, folder, vocabulary, seed)


def make_bi_encoder(folder: Path, seed: int = 0) -> Path:
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(
        vocab_size=len(SPECIALS) + len(WORDS), hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=64))
    _saved(model, folder, [*SPECIALS, *WORDS], seed)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    return folder


def one_by_one(folder: Path, max_length: int) -> NDArray[np.float32]:
    """Each of PAIRS alone through transformers, as a model card says."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    scores = []
    for query, document in PAIRS:
        # as lists: on its own, an empty document would be taken for none
        inputs = tokenizer([query], [document], truncation="only_second", max_length=max_length,
                           return_tensors="pt")
        with torch.inference_mode():
            logits = model(**inputs).logits[0]
        scores.append(float(logits[1] - logits[0] if len(logits) == 2 else logits[0]))
    return np.array(scores, dtype=np.float32)


def t5_one_by_one(folder: Path, max_length: int) -> NDArray[np.float32]:
    from transformers import AutoTokenizer, T5ForConditionalGeneration

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = T5ForConditionalGeneration.from_pretrained(folder).eval()
    token = tokenizer.convert_tokens_to_ids("<extra_id_10>")
    scores = []
    for query, document in PAIRS:
        inputs = tokenizer(f"Query: {query} Document: {document}", truncation=True,
                           max_length=max_length, return_tensors="pt")
        with torch.inference_mode():
            output = model(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask,
                           decoder_input_ids=torch.tensor([[0]]))
        scores.append(float(output.logits[0, 0, token]))
    return np.array(scores, dtype=np.float32)


def randomise(model: Any, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.8, generator=generator)


def _saved_with(tokenizer: Any, model: Any, folder: Path, seed: int) -> Path:
    randomise(model, seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _saved(model: Any, folder: Path, vocabulary: list[str], seed: int) -> Path:
    randomise(model, seed)
    model.save_pretrained(folder)
    save_tokenizer(folder, vocabulary)
    return folder
