"""The vectors of questions against the same arithmetic on dense rows, text by text, for every variant."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SPECIALS, TEXTS, WORDS, make_tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import add_modules, router
from matrix_rows import vector_of

from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.encoder import Encoder, TextError
from spladev3_anserini.encoding.queries import encode_topics
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.onnx_export import export_onnx
from spladev3_anserini.model.rows import WeightRows, in_order
from spladev3_anserini.model.variants import VARIANTS

#: Folder, variant, settings of a query encoder.
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "expand": ("tiny", "splade-v3", {}),
    "distilbert": ("distilbert", "splade-v3-distilbert", {}),
    "special tokens": ("tiny", "splade-v3", {"special_tokens": "keep"}),
    "Anserini's ids": ("demo", "splade-v3", {"special_tokens": "anserini"}),
    "top-k": ("tiny", "splade-v3", {"top_k": 3}),
    "zeros": ("tiny", "splade-v3", {"quantizer": Quantizer(0.3)}),
    "sum": ("sum", "splade-v3", {}),
    "wide": ("wide", "splade-v3", {}),
    "lexical": ("tiny", "splade-v3-lexical", {}),
    "lexical with a table": ("lexical", "splade-v3-lexical", {}),
    "bag of words": ("tiny", "splade-v3-doc", {}),
    "bag with special tokens": ("tiny", "splade-v3-doc", {"special_tokens": "keep"}),
    "static": ("tiny", "static", {"query_weights": {"cat": 1.5, "wing": 0.001, "the": 0.5}}),
    "graph": ("graph", "splade-v3", {}),
    "int8 graph": ("int8", "splade-v3", {}),
    "lexical graph": ("graph", "splade-v3-lexical", {}),
}
SOME = [*TEXTS.values(), "cat", "the", " ".join(WORDS) * 3, "xyzzy xyzzy"]


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory,
         request: pytest.FixtureRequest) -> dict[str, Encoder]:
    from transformers import AutoModelForMaskedLM

    home = tmp_path_factory.mktemp("models")
    make_tiny(home / "distilbert", "distilbert")
    add_modules(Path(shutil.copytree(tiny, home / "sum")), "sum")
    router(tiny, home / "lexical", masked=True, weight=0.7)
    wide = AutoModelForMaskedLM.from_pretrained(tiny)
    wide.resize_token_embeddings(len(SPECIALS + WORDS) + 8)
    wide.save_pretrained(shutil.copytree(tiny, home / "wide"))
    export_onnx(open_checkpoint(str(tiny)), home / "graph")
    export_onnx(open_checkpoint(str(tiny)), home / "int8", "int8")
    folders = {"tiny": tiny} | {path.name: path for path in home.iterdir()}
    encoders = {}
    for name, (folder, variant, chosen) in CASES.items():
        if folder == "demo":
            folders["demo"] = request.getfixturevalue("demo_model")
        encoders[name] = Encoder(open_checkpoint(str(folders[folder])), VARIANTS[variant], "query",
                                 EncoderSettings(**{"max_length": 32, **chosen}))
    return encoders


def slow(encoder: Encoder, text: str) -> dict[str, int]:
    """A question's impacts by its dense weights (V)."""
    (ids,) = encoder.tokenized([text]).ids
    terms, chosen = encoder.terms.tolist(), encoder.settings
    own = np.isin(np.arange(len(terms)), ids)
    if len(ids) <= encoder.tokenizer.added:
        return {}
    if encoder.network is None:
        weights = own.astype(np.float32)
    else:
        rows = encoder.network.rows(np.array([ids]), np.ones((1, len(ids)), np.int64))
        weights = rows.matrix(encoder.network.vocabulary).toarray()[0, :len(terms)]
        if encoder.mode == "lexical":
            weights *= own
    if encoder.query_weights is not None:
        weights = weights * encoder.query_weights
    dropped = {"drop": encoder.tokenizer.special_ids, "keep": (), "anserini": (0, 101, 102)}
    weights[list(dropped[chosen.special_tokens])] = 0
    if chosen.top_k:
        weights[np.argsort(-weights, kind="stable")[chosen.top_k:]] = 0
    impacts = (weights > 0) if encoder.mode == "bow" else np.rint(
        weights * np.float32(chosen.quantizer.scale))
    return {terms[place]: int(impacts[place]) for place in np.flatnonzero(impacts)}


def asked(encoder: Encoder, texts: list[str]) -> list[list[tuple[str, int]]]:
    topics = [Topic(str(place), text, f"t:{place}") for place, text in enumerate(texts)]
    return [list(topic.query.items()) for topic in encode_topics(encoder, topics)]


@pytest.mark.parametrize("name", CASES)
def test_a_question_has_the_vector_of_its_dense_weights(name: str, made: dict[str, Encoder]) -> None:
    encoder = made[name]
    expected = [list(slow(encoder, text).items()) for text in SOME]
    assert sum(map(bool, expected)) > 3
    assert asked(encoder, SOME) == expected  # terms in this order
    assert [asked(encoder, [text])[0] for text in SOME] == expected
    matrix = encoder.impacts(SOME)
    assert [list(vector_of(encoder, matrix, row).items()) for row in range(len(SOME))] == expected


@pytest.mark.parametrize("name", ["expand", "sum", "lexical with a table", "static", "int8 graph"])
@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.sampled_from([*WORDS, "xyzzy"]), max_size=50).map(" ".join), max_size=5))
def test_random_questions_too(name: str, made: dict[str, Encoder], texts: list[str]) -> None:
    expected = [list(slow(made[name], text).items()) for text in texts]
    assert asked(made[name], texts) == expected


def test_the_faults_of_one_question_are_those_of_many(made: dict[str, Encoder],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = made["expand"]
    network = type(encoder.network)
    real = network.rows

    def broken(self: Any, ids: Any, mask: Any) -> WeightRows:
        rows = real(self, ids, mask)
        rows.values[0] = np.nan if len(ids[0]) == 3 else rows.values[0]
        return rows

    monkeypatch.setattr(network, "rows", broken)
    for texts in (["cat"], ["the cat sat", "", "dog"]):
        with pytest.raises(InputError, match=f"t:{len(texts) - 1}: .* NaN or infinite weights"):
            asked(encoder, texts)
    monkeypatch.undo()
    large = Encoder(open_checkpoint(str(made["expand"]._weigher.folder)), VARIANTS["splade-v3"],
                    "query", EncoderSettings(max_length=32, quantizer=Quantizer(32_000)))
    ids = large.tokenized(["the cat"]).ids
    with pytest.raises(TextError) as one:
        large.vectors_of(ids)
    with pytest.raises(TextError) as other:
        large.impacts_of(ids)
    assert str(one.value) == str(other.value)


@given(st.lists(st.dictionaries(st.integers(0, 9), st.integers(1, 5)), max_size=7), st.randoms(),
       st.integers(1, 4), st.integers(1, 3))
def test_rows_are_those_of_a_matrix(texts: list[dict[int, int]], shuffled: Any, size: int,
                                    k: int) -> None:
    """Batches of some texts, in any order, with texts that no batch has."""
    order = [place for place, text in enumerate(texts) if text]
    shuffled.shuffle(order)
    parts = [order[start:start + size] for start in range(0, len(order), size)]
    rows = in_order([as_rows([texts[place] for place in part]) for part in parts], order, len(texts))
    dense = [[text.get(column, 0) for column in range(10)] for text in texts]
    assert rows.matrix(10).toarray().tolist() == dense
    assert rows.totals().tolist() == [sum(text.values()) for text in texts]
    assert [rows.row_of(entry) for entry in range(len(rows.columns))] == [
        place for place, text in enumerate(texts) for _ in text]
    odd = rows.where(rows.columns % 2 == 1)
    assert odd.matrix(10).toarray().tolist() == [
        [value if column % 2 else 0 for column, value in enumerate(row)] for row in dense]
    best = [dict(sorted(text.items(), key=lambda item: (-item[1], item[0]))[:k]) for text in texts]
    assert rows.largest(k).matrix(10).toarray().tolist() == [
        [text.get(column, 0) for column in range(10)] for text in best]


def as_rows(texts: list[dict[int, int]]) -> WeightRows:
    pairs = [sorted(text.items()) for text in texts]
    return WeightRows(np.cumsum([0, *map(len, pairs)]),
                      np.array([column for row in pairs for column, _ in row], np.int64),
                      np.array([value for row in pairs for _, value in row], np.float32))
