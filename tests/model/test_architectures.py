"""Each architecture, tiny and random, against its own logits and against sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from conftest import SPECIALS, WORDS, make_tiny, save_tokenizer, write_corpus
from transformers import AutoModelForMaskedLM, AutoTokenizer

from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.onnx_export import export_onnx
from spladev3_anserini.model.splade import load_splade
from spladev3_anserini.model.variants import VARIANTS

VOCABULARY = [*SPECIALS, *WORDS]
#: Rows of the tables of positions.
ROWS = 40
PLAIN = {"vocab_size": len(VOCABULARY), "hidden_size": 32, "num_hidden_layers": 2,
         "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": ROWS,
         "pad_token_id": 0}
_XLM = {"emb_dim": 32, "n_layers": 2, "n_heads": 2}
_GROUPS = {f"{name}_groups": 2 for name in ("q", "k", "v", "intermediate", "output")}

#: Architecture, settings, tokens of a text that its positions have room for, whether padding
#: changes nothing. These have no `sdpa`, and take `eager` attention instead.
EAGER: dict[str, tuple[dict[str, Any], int, bool]] = {
    "Deberta": ({}, ROWS, True),
    "DebertaV2": ({"relative_attention": True, "pos_att_type": ["p2c", "c2p"],
                   "position_biased_input": False}, ROWS, True),
    "MPNet": ({"pad_token_id": 1}, ROWS - 2, True),
    "BigBird": ({}, ROWS, True),
    "Longformer": ({"attention_window": [8, 8], "pad_token_id": 1}, ROWS - 2, True),
    "RemBert": ({"input_embedding_size": 16, "output_embedding_size": 24}, ROWS, True),
    "Funnel": ({"block_sizes": [1, 1], "num_decoder_layers": 1, "d_model": 32, "n_head": 2,
                "d_head": 16, "d_inner": 64}, 512, False),
    "SqueezeBert": ({"embedding_size": 32, "post_attention_groups": 1} | _GROUPS, ROWS, True),
    "FNet": ({}, ROWS, False),
    "Nystromformer": ({}, ROWS, False),
    "RoFormer": ({"embedding_size": 32}, ROWS, True),
    "ConvBert": ({"embedding_size": 32}, ROWS, False),
    "Flaubert": (_XLM, ROWS, True),
    "XLM": (_XLM, ROWS, True),
    "MegatronBert": ({}, ROWS, True),
}
SDPA: dict[str, tuple[dict[str, Any], int, bool]] = {
    "Roberta": ({"pad_token_id": 1}, ROWS - 2, True),
    "XLMRoberta": ({"pad_token_id": 5}, ROWS - 6, True),
    "Albert": ({"embedding_size": 16}, ROWS, True),
    "ModernBert": ({}, ROWS, True),
}
TEXTS = ["the cat sat on the mat", "a wing", "flow of air", "heat and pressure on the boundary"]


def made(folder: Path, architecture: str, settings: dict[str, Any]) -> Path:
    """A random checkpoint with the tokenizer of the tiny vocabulary."""
    config = getattr(transformers, f"{architecture}Config")()
    plain = {} if architecture == "Funnel" else {
        name: value for name, value in PLAIN.items() if hasattr(config, name)}
    plain |= {name: PLAIN[name] for name in ("vocab_size", "pad_token_id")}
    if architecture in ("XLM", "Flaubert"):
        plain["max_position_embeddings"] = ROWS
    name = architecture + ("WithLMHeadModel" if architecture in ("XLM", "Flaubert")
                           else "ForMaskedLM")
    torch.manual_seed(0)
    model = getattr(transformers, name)(type(config)(**plain | settings))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4)
    model.save_pretrained(folder)
    save_tokenizer(folder, VOCABULARY)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {
        "tokenizer_class": "PreTrainedTokenizerFast"}))
    (folder / "vocab.txt").unlink()
    return folder


def encoder(folder: Path, length: int | None = None) -> Encoder:
    return Encoder(open_checkpoint(str(folder)), VARIANTS["splade-v3"], "document",
                   EncoderSettings(max_length=length, special_tokens="keep"))


@torch.inference_mode()
def by_formula(folder: Path, text: str, length: int) -> Any:
    """The formula over the logits of transformers' own model, of one text without padding."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    ids = tokenizer(text, truncation=True, max_length=length, return_tensors="pt").input_ids
    return torch.log1p(torch.relu(model(input_ids=ids).logits[0])).amax(0).numpy()


@pytest.mark.parametrize("architecture", [*EAGER, *SDPA])
def test_weights_are_those_of_the_architectures_own_logits(architecture: str,
                                                           tmp_path: Path) -> None:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling

    settings, limit, takes_padding = (EAGER | SDPA)[architecture]
    folder = made(tmp_path / "model", architecture, settings)
    ours = encoder(folder)
    found = ours.weights(TEXTS).toarray()
    expected = np.stack([by_formula(folder, text, 64) for text in TEXTS])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert (expected > 0).any(axis=1).all()
    peer = SparseEncoder(modules=[MLMTransformer(str(folder)), SpladePooling("max")], device="cpu")
    library = peer.encode(TEXTS, batch_size=1, convert_to_sparse_tensor=False)
    np.testing.assert_allclose(found, library.numpy(), rtol=1e-4, atol=1e-5)
    assert ours.network.takes_padding is takes_padding  # type: ignore[union-attr]
    assert ours.network.max_positions == limit  # type: ignore[union-attr]
    with pytest.raises(InputError, match=f"`max_length` {limit + 1}: expected 3 to {limit} tokens"):
        encoder(folder, limit + 1)
    long = "the cat sat on " * 150
    np.testing.assert_allclose(encoder(folder, limit).weights([long]).toarray()[0],
                               by_formula(folder, long, limit), rtol=1e-4, atol=1e-5)


def test_a_model_that_sees_padding_is_not_exported(tmp_path: Path) -> None:
    folder = made(tmp_path / "model", "ConvBert", EAGER["ConvBert"][0])
    with pytest.raises(InputError, match="padding changes the weights of its architecture"):
        export_onnx(open_checkpoint(str(folder)), tmp_path / "graph")
    assert not (tmp_path / "graph").exists()


def test_a_model_that_turns_out_to_see_padding_gets_none(tiny: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """As an architecture would that is not known to do so."""
    from transformers import BertModel

    plain = BertModel.forward

    def unmasked(self: Any, input_ids: Any, attention_mask: Any = None, **inputs: Any) -> Any:
        return plain(self, input_ids, **inputs)

    assert load_splade(open_checkpoint(str(tiny)), torch.float32, "cpu").takes_padding
    monkeypatch.setattr(BertModel, "forward", unmasked)
    splade = load_splade(open_checkpoint(str(tiny)), torch.float32, "cpu")
    assert not splade.takes_padding
    ids = torch.tensor([[2, 9, 10, 11, 3], [2, 12, 3, 0, 0], [2, 13, 14, 15, 3]])
    with torch.inference_mode():
        together = splade(ids, (ids > 0).long())
        for row, length in enumerate((5, 3, 5)):
            alone = splade(ids[row : row + 1, :length], torch.ones(1, length).long())
            torch.testing.assert_close(together[row], alone[0])


def test_bigbird_is_cut_where_its_attention_would_become_sparse(tmp_path: Path) -> None:
    """transformers switches it to full attention for good at the first short text."""
    folder = made(tmp_path / "model", "BigBird", {"block_size": 2, "num_random_blocks": 1})
    assert encoder(folder, 14).max_length == 14
    with pytest.raises(InputError, match="`max_length` 15: expected 3 to 14 tokens"):
        encoder(folder, 15)


#: A config.json, and what is said about it.
OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "a causal model": ({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]},
                       "config.json: model_type: qwen3 is a causal language model; expected a "
                       "masked language model"),
    "T5": ({"model_type": "t5"}, "config.json: model_type: t5 is an encoder-decoder; expected"),
    "BART": ({"model_type": "bart", "is_encoder_decoder": True},
             "config.json: model_type: bart is an encoder-decoder; expected"),
    "an image model": ({"model_type": "vit"}, "config.json: model_type: vit is no language model"),
    "an unknown type": ({"model_type": "nothing"},
                        "config.json: model_type: nothing is not known to transformers"),
    "custom code": ({"model_type": "new", "auto_map": {"AutoModelForMaskedLM": "modeling.New"}},
                    "config.json: auto_map: asks for custom code, which is never run"),
    "compiled kernels": ({"model_type": "yoso"}, "has an attention of compiled kernels"),
}


@pytest.mark.fault(8, "a causal model, an encoder-decoder, custom code, compiled kernels",
                   detected="config.json, before the weights are read")
@pytest.mark.parametrize("what", OTHERS)
def test_another_kind_of_model_is_named(what: str, tmp_path: Path,
                                        refused: Callable[..., str]) -> None:
    folder = make_tiny(tmp_path / "model")
    config, message = OTHERS[what]
    (folder / "config.json").write_text(json.dumps(config))
    corpus = write_corpus(tmp_path / "c.jsonl", {"a": "the cat"})
    said = refused("encode", "--model", folder, "--corpus", corpus, "--output", tmp_path / "out")
    assert message in said
    assert str(folder) in said
    assert not (tmp_path / "out").exists()


def test_a_head_that_cannot_be_taken_apart(tmp_path: Path) -> None:
    """MobileBERT's output layer is joined from two; the newer heads of DeBERTa use the embeddings."""
    for architecture, settings in (
            ("MobileBert", {"embedding_size": 16, "intra_bottleneck_size": 16,
                            "true_hidden_size": 16}),
            ("DebertaV2", {"legacy": False})):
        folder = made(tmp_path / architecture, architecture, settings)
        with pytest.raises(InputError, match="taken apart from its output layer|not what its"):
            encoder(folder)


def test_a_graph_has_the_positions_of_its_model_whatever_the_padding_id(tmp_path: Path) -> None:
    folder = made(tmp_path / "model", "XLMRoberta", SDPA["XLMRoberta"][0])
    export_onnx(open_checkpoint(str(folder)), tmp_path / "graph")
    limit = SDPA["XLMRoberta"][1]
    long = "the cat sat on " * 20
    found = encoder(tmp_path / "graph", limit).weights([long]).toarray()[0]
    np.testing.assert_allclose(found, by_formula(folder, long, limit), rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match=f"expected 3 to {limit} tokens"):
        encoder(tmp_path / "graph", limit + 1)
