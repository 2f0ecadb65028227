"""Released models: their families in documents and commands, and their golden similarities."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Result
from layout_classes import TEXTS, Bases
from layout_rows import SERVED

from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.convert import convert_checkpoint
from spladev3_anserini.model.families import (
    FAMILIES,
    GOLDEN,
    GOLDEN_PASSAGES,
    GOLDEN_QUERY,
    GOLDEN_SOURCE,
    WEATHER,
    WEATHER_PASSAGE,
    WEATHER_QUERY,
)
from spladev3_anserini.model.variants import VARIANTS

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def similarities(folder: Path, query: str, passages: Sequence[str]) -> Any:
    """Dot products of float weights, through this package's encoders. Where a model weights
    queries, sentence-transformers has dimensions of special tokens on both sides."""
    checkpoint = open_checkpoint(str(folder))
    both = "keep" if checkpoint.variant.query == "expand" else "drop"
    weights = {side: Encoder(checkpoint, checkpoint.variant, side,
                             EncoderSettings(special_tokens=both)).weights(texts)
               for side, texts in (("query", [query]), ("document", list(passages)))}
    return (weights["query"] @ weights["document"].T).toarray()[0]


def in_cache(model: str, folder: Path) -> Path:
    """A released model on this machine, its pickle converted; skips the test if there is none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    place = Path(os.environ.get("SPLADEV3_MODELS", "none")) / model
    if not place.is_dir():
        try:
            place = Path(snapshot_download(model, local_files_only=True))
        except LocalEntryNotFoundError:
            pytest.skip(f"{model} is neither in $SPLADEV3_MODELS nor in the hub's cache")
    if list(place.rglob("*.safetensors")):
        return place
    convert_checkpoint(str(place), folder / "converted", None)
    return folder / "converted"


@pytest.mark.parametrize("model", GOLDEN)
def test_a_released_model_has_the_similarities_of_its_library(model: str, tmp_path: Path) -> None:
    """The tolerance is that of the library's own test."""
    found = similarities(in_cache(model, tmp_path), GOLDEN_QUERY, GOLDEN_PASSAGES)
    np.testing.assert_allclose(found, GOLDEN[model], atol=0.01)


@pytest.mark.parametrize("model", WEATHER)
def test_opensearch_models_have_the_similarity_of_their_cards(model: str, tmp_path: Path) -> None:
    found = similarities(in_cache(model, tmp_path), WEATHER_QUERY, [WEATHER_PASSAGE])
    np.testing.assert_allclose(found, [WEATHER[model]], atol=1e-3)


@pytest.mark.parametrize("name", ["ST 6", "sum", "Router with a table, log1p_relu, prompts",
                                  "Router of two encoders"])
def test_similarities_are_those_of_the_library(name: str, tmp_path: Path) -> None:
    """What the golden lines are compared with, on tiny models."""
    from sentence_transformers import SparseEncoder

    (row,) = (row for row in SERVED if row.name == name)
    row.build(Bases(tmp_path), tmp_path / "model")
    model = SparseEncoder(str(tmp_path / "model"), device="cpu")
    passages = [text for text in TEXTS if text]
    expected = model.similarity(model.encode_query(TEXTS[0]), model.encode_document(passages))
    np.testing.assert_allclose(similarities(tmp_path / "model", TEXTS[0], passages),
                               expected.numpy()[0], rtol=1e-5)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def rendered() -> dict[str, str]:
    """What docs/models.md has of the rows."""
    return {
        "FAMILIES": markdown([
            ("family", "released models", "layout", "variant", "applied", "refused"),
            *((family.name, ", ".join(family.models), family.layout, family.variant or "refused",
               family.applied, family.refused) for family in FAMILIES)]),
        "SOURCE": GOLDEN_SOURCE, "QUERY": GOLDEN_QUERY,
        "PASSAGES": "\n".join(f"{place}. {text}" for place, text in enumerate(GOLDEN_PASSAGES, 1)),
        "GOLDEN": markdown([("model", "1", "2", "3", "4"),
                            *((model, *map(str, values)) for model, values in GOLDEN.items())]),
        "WEATHER_QUERY": WEATHER_QUERY, "WEATHER_PASSAGE": WEATHER_PASSAGE,
        "WEATHER": markdown([("model", "similarity"), *(
            (model, str(value)) for model, value in WEATHER.items())])}


@pytest.mark.parametrize("part", rendered())
def test_the_page_of_models_has_the_rows(part: str) -> None:
    assert rendered()[part] in PAGE.read_text("utf-8")


def test_the_command_lists_every_family(cli: Callable[..., Result]) -> None:
    done = cli("models", "list", "--layouts")
    assert done.code == 0
    for family in FAMILIES:
        assert f"\n{family.name}\n" in f"\n{done.out}"
        assert all(model in done.out for model in family.models)
    assert max(map(len, done.out.splitlines())) <= 100


def test_rows_agree_with_each_other() -> None:
    assert {family.variant for family in FAMILIES} - {""} == VARIANTS.keys()
    served = {model for family in FAMILIES if family.variant for model in family.models}
    assert GOLDEN.keys() | WEATHER.keys() <= served
    assert all(family.refused for family in FAMILIES if not family.variant)
    assert all(len(values) == len(GOLDEN_PASSAGES) for values in GOLDEN.values())
