"""The tiled maximum against the formula written out, over random shapes and lengths."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spladev3_anserini.model.pooling import (
    SHORT_TEXT,
    SHORT_TILE,
    TILE,
    activation,
    max_logits,
    pooled_weights,
    tile_for,
)
from spladev3_anserini.model.variants import Pooling

POOLINGS = [Pooling("max", "relu"), Pooling("max", "log1p_relu"), Pooling("sum", "relu"),
            Pooling("sum", "log1p_relu")]


def slow_weights(hidden: torch.Tensor, lengths: list[int], weight: torch.Tensor,
                 bias: torch.Tensor) -> torch.Tensor:
    """w_j = max_i log(1 + relu(logit_ij)), all logits at once, text by text (float64)."""
    rows = []
    for states, length in zip(hidden.double(), lengths, strict=True):
        logits = states[:length] @ weight.double().T + bias.double()
        rows.append(torch.log(1 + torch.relu(logits)).max(dim=0).values)
    return torch.stack(rows)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 70),
       st.sampled_from([1, 7, 16, 64, 100]), st.integers(0, 10**6))
def test_tiles_and_padding_change_nothing(lengths: list[int], vocabulary: int, tile: int,
                                          seed: int) -> None:
    torch.manual_seed(seed)
    hidden = torch.randn(len(lengths), max(lengths), 8)
    weight, bias = torch.randn(vocabulary, 8), torch.randn(vocabulary)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    kept = hidden.clone()
    found = activation(max_logits(hidden, mask, weight, bias, tile))
    torch.testing.assert_close(found.double(), slow_weights(hidden, lengths, weight, bias),
                               atol=1e-5, rtol=1e-5)
    assert torch.equal(hidden, kept)
    hidden[~mask] = 1e6  # what stands in the padding takes no part
    assert torch.equal(activation(max_logits(hidden, mask, weight, bias, tile)), found)


def test_a_row_of_padding_alone_is_empty() -> None:
    best = max_logits(torch.randn(1, 3, 4), torch.zeros(1, 3, dtype=torch.bool),
                      torch.randn(5, 4), None)
    assert torch.equal(activation(best), torch.zeros(1, 5))


@pytest.mark.parametrize("bias", [True, False])
def test_a_nan_is_not_lost(bias: bool) -> None:
    hidden = torch.randn(2, 3, 4)
    hidden[1, 2, 0] = torch.nan
    best = max_logits(hidden, torch.ones(2, 3, dtype=torch.bool), torch.randn(5, 4),
                      torch.randn(5) if bias else None)
    assert not activation(best)[0].isnan().any()
    assert activation(best)[1].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("pooling", POOLINGS, ids="-".join)
def test_a_short_text_has_the_same_bits_in_larger_tiles(pooling: Pooling, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    for width, vocabulary in ((16, 56), (128, 6001), (768, 6001)):
        weight, bias = (torch.randn(shape).to(dtype) for shape in ((vocabulary, width), (vocabulary,)))
        for length in (1, 2, 3, 7, 13, 16, 31, 32):
            hidden, mask = torch.randn(1, length, width).to(dtype), torch.ones(1, length).bool()
            assert tile_for(hidden) == SHORT_TILE
            one, other = (pooled_weights(hidden, mask, weight, bias, pooling, tile)
                          for tile in (SHORT_TILE, TILE))
            assert torch.equal(one, other)


def test_other_batches_have_the_tiles_of_documents() -> None:
    assert tile_for(torch.empty(2, 1, 8)) == tile_for(torch.empty(1, SHORT_TEXT + 1, 8)) == TILE


@pytest.fixture
def product_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of elements of each matrix product's result."""
    sizes: list[int] = []
    whole = torch.mm

    def watched(*args: torch.Tensor) -> torch.Tensor:
        sizes.append((out := whole(*args)).numel())
        return out

    monkeypatch.setattr(torch, "mm", watched)
    return sizes


def test_memory_is_that_of_a_tile(product_sizes: list[int]) -> None:
    """The largest tensor a matrix product makes is tokens x tile, never tokens x vocabulary."""
    max_logits(torch.randn(4, 10, 8), torch.ones(4, 10, dtype=torch.bool), torch.randn(1000, 8),
               None, tile=64)
    assert (len(product_sizes), max(product_sizes)) == (16, 40 * 64)


@pytest.mark.parametrize("pooling", POOLINGS, ids="-".join)
@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 70),
       st.sampled_from([1, 7, 64, 100]), st.booleans(), st.integers(0, 10**6))
def test_poolings_are_those_of_sentence_transformers(pooling: Pooling, lengths: list[int],
                                                     vocabulary: int, tile: int, bias: bool,
                                                     seed: int) -> None:
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    torch.manual_seed(seed)
    hidden = torch.randn(len(lengths), max(lengths), 8)
    weight, added = torch.randn(vocabulary, 8), torch.randn(vocabulary) if bias else None
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    found = pooled_weights(hidden, mask, weight, added, pooling, tile)
    logits = torch.nn.functional.linear(hidden, weight, added)
    theirs = SpladePooling(pooling.strategy, pooling.activation)(
        {"token_embeddings": logits.clone(), "attention_mask": mask.long()})["sentence_embedding"]
    torch.testing.assert_close(found, theirs, atol=1e-5, rtol=1e-5)
    for row, states, length in zip(found, logits, lengths, strict=True):  # the formula
        values = torch.log(1 + torch.relu(states[:length].double()))
        if pooling.activation == "log1p_relu":
            values = torch.log(1 + values)
        expected = values.sum(dim=0) if pooling.strategy == "sum" else values.max(dim=0).values
        torch.testing.assert_close(row.double(), expected, atol=1e-5, rtol=1e-5)
    hidden[~mask] = torch.nan  # what stands in the padding takes no part
    assert torch.equal(pooled_weights(hidden, mask, weight, added, pooling, tile), found)


@pytest.mark.parametrize("pooling", POOLINGS, ids="-".join)
def test_any_pooling_of_padding_alone_is_empty_and_hides_no_nan(pooling: Pooling) -> None:
    hidden, mask = torch.randn(2, 3, 4), torch.tensor([[False] * 3, [True] * 3])
    hidden[1, 2, 0] = torch.nan
    found = pooled_weights(hidden, mask, torch.randn(5, 4), torch.randn(5), pooling)
    assert torch.equal(found[0], torch.zeros(5))
    assert found[1].isnan().all()


@pytest.mark.parametrize("strategy", ["max", "sum"])
def test_a_bfloat16_head_adds_up_in_fp32(strategy: str) -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(1, 400, 16).bfloat16(), torch.randn(30, 16).bfloat16()
    mask = torch.ones(1, 400, dtype=torch.bool)
    pooling = Pooling(strategy, "relu")  # type: ignore[arg-type]
    found = pooled_weights(hidden, mask, weight, None, pooling)
    assert found.dtype == torch.float32
    values = torch.log1p(torch.relu((hidden[0] @ weight.T).float()))
    expected = values.sum(dim=0) if strategy == "sum" else values.amax(dim=0)
    torch.testing.assert_close(found[0], expected)


def test_a_sum_needs_the_memory_of_a_tile(product_sizes: list[int]) -> None:
    pooled_weights(torch.randn(4, 10, 8), torch.ones(4, 10, dtype=torch.bool),
                   torch.randn(1000, 8), None, Pooling("sum", "relu"), tile=64)
    assert (len(product_sizes), max(product_sizes)) == (16, 40 * 64)
