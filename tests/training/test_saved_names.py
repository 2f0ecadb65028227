"""What a training saves, whatever names and ties its start has: every library reads the same weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Result
from layout_classes import Bases
from layouts import sparse_encoder
from test_trainer import DOCUMENTS, SHORT, command, data, renamed, same, warnings_of, weights

from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.variants import VARIANTS

Cli = Callable[..., Result]
__all__ = ["data"]

#: The inner model's prefix, which files of a model without a head leave out.
PREFIXES = {"bert": "bert.", "distilbert": "distilbert.", "roberta": "roberta.", "modernbert": "model."}
#: The head's bias by the names of all these models; some have two for one, of which one is used.
HEAD_BIASES = ("decoder.bias", "cls.predictions.bias", "cls.predictions.decoder.bias", "lm_head.bias",
               "lm_head.decoder.bias", "vocab_projector.bias")


def old_norms(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def start_of(kind: str, names: str, tied: bool, bias: bool, home: Path, folder: Path) -> dict[str, Any]:
    """Builds a start; returns its weights by the names that transformers has for them now."""
    from transformers import AutoModelForMaskedLM

    shutil.rmtree(folder)
    Bases(home).copy(kind, folder)
    config = json.loads((folder / "config.json").read_text())
    if not tied or not bias:
        config |= {"tie_word_embeddings": tied} | ({} if bias else {"decoder_bias": False})
        (folder / "config.json").write_text(json.dumps(config))
        model = AutoModelForMaskedLM.from_pretrained(folder)
        with torch.no_grad():
            model.get_output_embeddings().weight.copy_(2 * model.get_input_embeddings().weight)
            for name, parameter in model.named_parameters():
                if name in HEAD_BIASES:  # both names of one bias have its values, as in real files
                    parameter.copy_(model.get_output_embeddings().bias)
        model.save_pretrained(folder)
    plain = {name: value.clone()
             for name, value in AutoModelForMaskedLM.from_pretrained(folder).state_dict().items()}
    if names == "gamma":
        renamed(folder, old_norms)
    elif names == "prefix":
        renamed(folder, lambda name: name.removeprefix(PREFIXES[kind]))
    return plain


@pytest.mark.parametrize(("kind", "names", "tied", "bias"), [
    ("bert", "gamma", True, True), ("bert", "gamma", False, True), ("bert", "prefix", True, True),
    ("bert", "now", False, True), ("distilbert", "now", True, True),
    ("distilbert", "now", False, True), ("distilbert", "prefix", True, True),
    ("roberta", "now", True, True), ("roberta", "gamma", False, True),
    ("modernbert", "now", True, True), ("modernbert", "now", False, True),
    ("modernbert", "now", False, False), ("modernbert", "now", True, False)])
def test_no_tensor_is_lost_random_or_read_otherwise(kind: str, names: str, tied: bool, bias: bool,
                                                    data: Path, tmp_path: Path, cli: Cli,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """After two steps of Adam, of at most 0.001 each, every tensor is near that of the start."""
    from transformers import AutoModelForMaskedLM

    monkeypatch.setenv("SPLADEV3_LOG", "info")
    start = start_of(kind, names, tied, bias, tmp_path / "bases", data / "start")
    folder = tmp_path / "model"
    done = cli(*command(data, folder, *SHORT, "--max-steps", 2))
    assert done.code == 0, done
    model, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report[part] for part in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    trained = model.eval().state_dict()
    assert trained.keys() == start.keys()
    checkpoint = open_checkpoint(str(folder))
    tokenizer = checkpoint.settings.load_tokenizer()
    special = sorted(tokenizer.special_ids)
    words = [number for number in range(len(tokenizer.terms)) if number not in special]
    head = model.get_output_embeddings()
    assert bias == (head.bias is not None)
    if head.bias is not None:
        assert bool((head.bias[special] == -1e4).all())
    changed = 0
    for name, value in start.items():
        of_head = name in HEAD_BIASES or (name == "decoder.weight" and not bias and not tied)
        now, before = (tensor[words] if of_head else tensor for tensor in (trained[name], value))
        assert torch.allclose(now, before, atol=0.004), name
        changed += not torch.equal(now, before)
    assert changed > len(start) / 2
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied

    texts = list(DOCUMENTS.values())
    ours = Encoder(checkpoint, VARIANTS["splade-v3"], "document", EncoderSettings(max_length=32)
                   ).weights(texts).toarray()
    assert ours.any()
    assert not ours[:, special].any()
    assert not (head.bias is None and not tied and head.weight[special].any())
    plain = []
    for text in texts:
        ids = torch.tensor([tokenizer.ids([text], 32)[0]])
        with torch.no_grad():
            plain.append(torch.log1p(torch.relu(model(input_ids=ids).logits[0])).amax(dim=0))
    known = [n for n in range(ours.shape[1]) if n not in special or bias or not tied]
    assert ours[:, known] == pytest.approx(torch.stack(plain).numpy()[:, known], abs=1e-5)
    peer = sparse_encoder(folder, max_seq_length=32).encode_document(
        texts, convert_to_sparse_tensor=False).numpy()
    assert ours[:, known] == pytest.approx(peer[:, known], abs=1e-5)
    saved = weights(folder)  # a resume of what is done loads the checkpoint, and saves it again
    again = cli(*command(data, folder, *SHORT, "--max-steps", 2, "--resume"))
    assert (again.code, "all steps are done" in again.err) == (0, True), again
    assert same(weights(folder), saved)
    told = [line for line in warnings_of(done) if "its head has no bias and shares" in line]
    assert bool(told) == (tied and not bias)
