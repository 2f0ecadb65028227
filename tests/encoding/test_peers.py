"""Our term weights against sentence-transformers' SparseEncoder and Pyserini's SPLADE encoder on
the same checkpoint and texts, in fp32 and before quantisation: equal to 1e-5."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SPECIALS, TEXTS
from layouts import add_modules, router
from matrix_rows import vector_of

from spladev3_anserini.cli.demo import QUESTIONS
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.variants import VARIANTS

SOME = [*(text for text in TEXTS.values() if text.strip()), *QUESTIONS, "what causes heart disease"]


def ours(folder: Path, side: str, variant: str = "splade-v3", **chosen: object) -> Encoder:
    options = EncoderSettings(**chosen)  # type: ignore[arg-type]
    return Encoder(open_checkpoint(str(folder)), VARIANTS[variant], side, options)


def test_the_demo_models_expansions_are_those_of_its_reference(demo_model: Path) -> None:
    """Values noted when the weights were first opened, with another program."""
    made = ours(demo_model, "query")
    weights = vector_of(made, made.weights(["what causes heart disease"]), 0)
    best = dict(sorted(weights.items(), key=lambda item: -item[1])[:6])
    assert best == pytest.approx({"heart": 2.55, "causes": 2.31, "cause": 2.04, "disease": 2.01,
                                  "pulse": 1.32, "cancer": 1.17}, abs=0.005)


def test_sentence_transformers_dense_rows_are_equal(demo_model: Path, tmp_path: Path) -> None:
    from sentence_transformers import SparseEncoder

    folder = tmp_path / "st"
    folder.mkdir()
    for path in demo_model.iterdir():
        shutil.copy(path, folder)
    add_modules(folder)
    peer = SparseEncoder(str(folder), device="cpu")
    peer.max_seq_length = 256
    # it keeps the dimensions of special tokens
    made = ours(folder, "document", special_tokens="keep", max_length=256)
    expected = peer.encode(SOME, convert_to_sparse_tensor=False).float().numpy()
    np.testing.assert_allclose(made.weights(SOME).toarray(), expected, atol=1e-5)


def test_sentence_transformers_router_is_equal_on_both_sides(tiny: Path, tmp_path: Path) -> None:
    from sentence_transformers import SparseEncoder

    folder = router(tiny, tmp_path / "router")
    peer = SparseEncoder(str(folder), device="cpu")
    texts = [text for text in TEXTS.values() if text.strip()]
    documents = ours(folder, "document", special_tokens="keep", max_length=64)
    np.testing.assert_allclose(
        documents.weights(texts).toarray(),
        peer.encode_document(texts, convert_to_sparse_tensor=False).numpy(), atol=1e-5)
    # its static query embedding leaves [CLS] and [SEP] out but keeps [UNK]
    queries = ours(folder, "query", "splade-v3-doc", max_length=64)
    expected = peer.encode_query(texts, convert_to_sparse_tensor=False).numpy()
    expected[:, [queries.terms.tolist().index(term) for term in SPECIALS]] = 0
    np.testing.assert_array_equal(queries.weights(texts).toarray(), expected)


@pytest.fixture(scope="module")
def pyserini_model(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model with a pytorch_model.bin too, which Pyserini 2.x insists on."""
    from safetensors.torch import load_file

    folder = tmp_path_factory.mktemp("pyserini") / "splade-demo"
    folder.mkdir()
    for path in demo_model.iterdir():
        shutil.copy(path, folder)
    torch.save(load_file(demo_model / "model.safetensors"), folder / "pytorch_model.bin")
    return folder


def test_pyserinis_encoders_are_equal(pyserini_model: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    os.environ.setdefault("OPENAI_API_KEY", "unused")  # pyserini 1.6 makes a client at import
    from spladev3_anserini.lucene.jvm import start_jvm

    start_jvm()
    from pyserini.encode import SpladeDocumentEncoder, SpladeQueryEncoder

    # its raw weights, before round(w / 5 * 256)
    for peer in (SpladeDocumentEncoder, SpladeQueryEncoder):
        monkeypatch.setattr(peer, "_get_encoded_query_token_wight_dicts", lambda self, raw: raw)
    made = ours(pyserini_model, "document", special_tokens="keep", max_length=256)
    matrix = made.weights(SOME)
    documents = SpladeDocumentEncoder(str(pyserini_model), device="cpu").encode(SOME, max_length=256)
    queries = SpladeQueryEncoder(str(pyserini_model), device="cpu")
    for row, text in enumerate(SOME):
        found = vector_of(made, matrix, row)
        for peer in (documents[row], queries.encode(text, max_length=256)):
            assert found == pytest.approx({t: w for t, w in peer.items() if w > 0}, abs=1e-5)


def test_pyserinis_quantisation_is_our_scale_51_2(pyserini_model: Path) -> None:
    os.environ.setdefault("OPENAI_API_KEY", "unused")
    from spladev3_anserini.lucene.jvm import start_jvm

    start_jvm()
    from pyserini.encode import SpladeQueryEncoder

    peer = SpladeQueryEncoder(str(pyserini_model), device="cpu")
    made = ours(pyserini_model, "query", special_tokens="keep", quantizer=Quantizer(51.2))
    matrix = made.impacts(SOME)
    for row, text in enumerate(SOME):
        expected = {t: w for t, w in peer.encode(text).items() if w > 0}
        assert vector_of(made, matrix, row) == expected, json.dumps(expected)
