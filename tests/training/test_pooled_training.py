"""Trainings of a model with another pooling than SPLADE-v3's: weights, gradients, what is saved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import TEXTS, make_tiny
from layouts import add_modules
from transformers import AutoModelForMaskedLM, AutoTokenizer

from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.model.checkpoint import Checkpoint, open_checkpoint
from spladev3_anserini.model.variants import VARIANTS, Pooling
from spladev3_anserini.training.model import TrainedSplade
from spladev3_anserini.training.saving import save_model

FULL = [text for text in TEXTS.values() if text.strip()]
SPECIAL = [0, 1, 2, 3, 4]
POOLINGS = [("max", "log1p_relu"), ("sum", "relu"), ("sum", "log1p_relu")]


def opened(tiny: Path, folder: Path, pooling: tuple[str, str]) -> Checkpoint:
    return open_checkpoint(str(add_modules(Path(shutil.copytree(tiny, folder)), *pooling)))


@pytest.mark.parametrize("pooling", POOLINGS, ids="-".join)
def test_gradients_of_a_whole_model_are_autograds(pooling: tuple[str, str], tiny: Path,
                                                  tmp_path: Path) -> None:
    """The same model written plainly: all logits, the activation, the pooling."""
    trained = TrainedSplade(opened(tiny, tmp_path / "m", pooling), VARIANTS["splade-v3"],
                            SPECIAL).eval()
    plain = AutoModelForMaskedLM.from_pretrained(tiny).eval()
    batch = AutoTokenizer.from_pretrained(tiny)(FULL, padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    queries, documents = trained(ids, mask, ids, mask)
    assert torch.equal(queries, documents)
    values = torch.log1p(torch.relu(plain(input_ids=ids, attention_mask=mask).logits))
    if pooling[1] == "log1p_relu":
        values = torch.log1p(values)
    values = values * mask.unsqueeze(-1)
    expected = values.sum(dim=1) if pooling[0] == "sum" else values.amax(dim=1)
    expected = expected * trained.keep
    torch.testing.assert_close(documents, expected, atol=1e-5, rtol=1e-5)
    incoming = torch.rand_like(expected)
    documents.backward(incoming)
    expected.backward(incoming)
    found = dict(trained.splade.mlm.named_parameters()) | {
        f"output.{name}": value for name, value in trained.splade.output.named_parameters()}
    compared = 0
    for name, parameter in plain.named_parameters():
        if name in found and parameter.grad is not None:
            scale = float(parameter.grad.abs().max()) + 0.1  # of the key bias it is only rounding
            assert float((found[name].grad - parameter.grad).abs().max()) < 1e-4 * scale, name
            compared += 1
    assert compared > 20


@pytest.mark.parametrize("variant", ["splade-v3", "splade-v3-lexical", "splade-v3-doc"])
@pytest.mark.parametrize("pooling", POOLINGS, ids="-".join)
def test_what_is_saved_states_the_pooling(pooling: tuple[str, str], variant: str, tiny: Path,
                                          tmp_path: Path) -> None:
    from sentence_transformers import SparseEncoder

    model = TrainedSplade(opened(tiny, tmp_path / "m", pooling), VARIANTS[variant], SPECIAL)
    save_model(model, AutoTokenizer.from_pretrained(tiny), VARIANTS[variant], tmp_path / "saved")
    record = json.loads((tmp_path / "saved/1_SpladePooling/config.json").read_text())
    assert (record["pooling_strategy"], record["activation_function"]) == pooling
    saved = open_checkpoint(str(tmp_path / "saved"))
    assert saved.settings.pooling == Pooling(*pooling)  # type: ignore[arg-type]
    peer = SparseEncoder(str(tmp_path / "saved"), device="cpu")
    for side, encode in (("document", peer.encode_document), ("query", peer.encode_query)):
        ours = Encoder(saved, VARIANTS[variant], side, EncoderSettings(max_length=64))
        assert ours.weights(FULL).toarray() == pytest.approx(
            encode(FULL, convert_to_sparse_tensor=False).numpy(), abs=1e-5)


@pytest.mark.fault(21, "a model to train whose queries have a model or a pooling of their own",
                   detected="its layout, before it is loaded")
def test_what_training_does_not_learn_is_refused(tiny: Path, tmp_path: Path) -> None:
    checkpoint = opened(tiny, tmp_path / "m", ("sum", "relu"))
    layout = checkpoint.layout
    other = make_tiny(tmp_path / "other", seed=3)
    for query in (layout.query._replace(pooling=Pooling()), layout.query._replace(folder=other)):
        two = checkpoint._replace(layout=layout._replace(query=query))
        for variant in ("splade-v3", "splade-v3-lexical"):
            with pytest.raises(InputError, match="one model is trained for both sides"):
                TrainedSplade(two, VARIANTS[variant], SPECIAL)
        for variant in ("splade-v3-doc", "static"):
            TrainedSplade(two, VARIANTS[variant], SPECIAL)


@pytest.mark.fault(8, "a model to train whose files state a prompt", then="refused by name",
                   detected="the prompt of either side")
@pytest.mark.parametrize("side", ["query", "document"])
def test_a_start_with_a_prompt_is_refused(side: str, tiny: Path, tmp_path: Path) -> None:
    folder = add_modules(Path(shutil.copytree(tiny, tmp_path / "m")))
    settings = folder / "config_sentence_transformers.json"
    record = json.loads(settings.read_text())
    settings.write_text(json.dumps(record | {"prompts": {side: "search: "}}))
    with pytest.raises(InputError, match=f"the prompt 'search: ' for {side} texts"):
        TrainedSplade(open_checkpoint(str(folder)), VARIANTS["splade-v3"], SPECIAL)


@pytest.mark.parametrize("stated", [None, 20, 400])
@pytest.mark.parametrize("variant", ["splade-v3", "splade-v3-doc"])
def test_a_trained_model_cuts_texts_where_its_start_does(
        variant: str, stated: int | None, tiny: Path, tmp_path: Path) -> None:
    """By its own files, for sentence-transformers too."""
    from sentence_transformers import SparseEncoder

    start = Path(shutil.copytree(tiny, tmp_path / "start"))
    if stated is not None:
        path = start / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": stated}))
    lengths = []
    for folder in (start, tmp_path / "saved"):
        checkpoint = open_checkpoint(str(folder))
        lengths.append(Encoder(checkpoint, VARIANTS["splade-v3"], "document",
                               EncoderSettings()).max_length)
        if folder == start:
            save_model(TrainedSplade(checkpoint, VARIANTS[variant], SPECIAL),
                       AutoTokenizer.from_pretrained(start), VARIANTS[variant], tmp_path / "saved")
    assert lengths[0] == lengths[1]
    if variant == "splade-v3":
        assert SparseEncoder(str(tmp_path / "saved"), device="cpu")[0].max_seq_length == lengths[0]
