"""The fused head against all logits at once with plain autograd, in values and in gradients."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint

from spladev3_anserini.model.pooling import activation, max_logits, pooled_weights
from spladev3_anserini.model.variants import Pooling
from spladev3_anserini.training import head
from spladev3_anserini.training.head import splade_head

#: Every pooling but that of SPLADE-v3, which all other tests are about.
OTHERS = [Pooling("max", "log1p_relu"), Pooling("sum", "relu"), Pooling("sum", "log1p_relu")]

Leaves = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]


def twin(hidden: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor,
         bias: torch.Tensor | None) -> torch.Tensor:
    """All logits, the maximum with indices (the first of a tie), the activation; autograd's."""
    logits = torch.nn.functional.linear(hidden, weight, bias)
    logits = logits.masked_fill(~mask.unsqueeze(-1), -torch.inf)
    return torch.log1p(torch.relu(logits.max(dim=1).values))


def other_twin(hidden: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor,
               bias: torch.Tensor | None, pooling: Pooling) -> torch.Tensor:
    """All activations, pooled over the unmasked positions, text by text; autograd's."""
    rows = []
    for states, kept in zip(hidden, mask, strict=True):
        values = torch.log1p(torch.relu(torch.nn.functional.linear(states[kept], weight, bias)))
        if pooling.activation == "log1p_relu":
            values = torch.log1p(values)
        if pooling.strategy == "sum" or not kept.any():
            rows.append(values.sum(dim=0))
        else:
            rows.append(values.max(dim=0).values)
    return torch.stack(rows)


def ragged(lengths: list[int]) -> torch.Tensor:
    return torch.arange(max([*lengths, 1])) < torch.tensor(lengths).unsqueeze(1)


def leaves(mask: torch.Tensor, vocabulary: int, bias: bool, seed: int,
           dtype: torch.dtype = torch.float64, width: int = 8, whole: bool = False) -> Leaves:
    """Random states, output weights and bias; `whole` numbers are small, so that ties abound and
    every sum is exact."""
    torch.manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        values = torch.randint(-1, 2, shape).to(dtype) if whole else torch.randn(shape, dtype=dtype)
        return values.requires_grad_()

    return draw(*mask.shape, width), draw(vocabulary, width), draw(vocabulary) if bias else None


def gradients(weights: torch.Tensor, inputs: Leaves, incoming: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(weights, [leaf for leaf in inputs if leaf is not None],
                                    incoming))


def close(actual: list[torch.Tensor], expected: list[torch.Tensor], relative: float) -> None:
    """Relative to the largest number of each gradient."""
    for gradient, other in zip(actual, expected, strict=True):
        assert gradient.dtype == other.dtype
        assert float((gradient - other).abs().max()) <= relative * float(other.abs().max())


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(1, 70),
       st.sampled_from([1, 7, 16, 64, 100]), st.booleans(), st.booleans(), st.integers(0, 10**6))
def test_values_and_gradients_are_autograds(dtype: torch.dtype, relative: float,
                                            lengths: list[int], vocabulary: int, tile: int,
                                            bias: bool, whole: bool, seed: int) -> None:
    mask = ragged(lengths)
    inputs = leaves(mask, vocabulary, bias, seed, dtype, whole=whole)
    actual = splade_head(inputs[0], mask, *inputs[1:], tile=tile)
    expected = twin(inputs[0], mask, *inputs[1:])
    torch.testing.assert_close(actual, expected)
    incoming = torch.randn_like(expected)
    incoming[torch.rand_like(incoming) < 0.3] = 0
    close(gradients(actual, inputs, incoming), gradients(expected, inputs, incoming), relative)


def test_a_tie_goes_to_the_first_position() -> None:
    """amax would give each of the two a half."""
    hidden = torch.tensor([[[1.0], [2.0], [2.0]]], requires_grad=True)
    splade_head(hidden, ragged([3]), torch.ones(1, 1), None).sum().backward()
    assert hidden.grad is not None
    torch.testing.assert_close(hidden.grad.flatten(), torch.tensor([0, 1 / 3, 0]))


def test_the_formula_of_the_gradient_by_hand() -> None:
    """h = (3, 1), w = 2, b = 1: max 7, value log 8, slope 1/8."""
    hidden = torch.tensor([[[3.0], [1.0]]], requires_grad=True)
    weight, bias = torch.tensor([[2.0]], requires_grad=True), torch.ones(1, requires_grad=True)
    value = splade_head(hidden, ragged([2]), weight, bias)
    actual = gradients(value, (hidden, weight, bias), torch.tensor([[4.0]]))
    torch.testing.assert_close(value, torch.tensor([[8.0]]).log())
    assert [g.flatten().tolist() for g in actual] == [[1.0, 0.0], [1.5], [0.5]]


def test_a_row_of_padding_alone_is_empty_and_takes_no_gradient() -> None:
    mask = ragged([2, 0])
    inputs = leaves(mask, 9, True, 0)
    with torch.no_grad():
        inputs[0][~mask] = torch.nan  # what attention over nothing may leave there
    value = splade_head(inputs[0], mask, *inputs[1:])
    assert torch.equal(value[1], torch.zeros(9, dtype=torch.float64))
    actual = gradients(value, inputs, torch.ones_like(value))
    assert not actual[0][~mask].any()
    assert all(bool(g.isfinite().all()) for g in actual)


@pytest.mark.parametrize("dead", ["gradient", "logits"])
def test_nothing_active_gives_zeros(dead: str) -> None:
    mask = ragged([3, 2])
    inputs = leaves(mask, 5, True, 1)
    if dead == "logits":
        inputs = (inputs[0], inputs[1], torch.full((5,), -1e3, dtype=torch.float64,
                                                   requires_grad=True))
    value = splade_head(inputs[0], mask, *inputs[1:])
    incoming = torch.zeros_like(value) if dead == "gradient" else torch.ones_like(value)
    assert not any(g.any() for g in gradients(value, inputs, incoming))


def test_a_nan_reaches_value_and_gradients() -> None:
    mask = ragged([3, 3])
    inputs = leaves(mask, 5, False, 1)
    with torch.no_grad():
        inputs[0][1, 2, 0] = torch.nan
    value = splade_head(inputs[0], mask, *inputs[1:])
    assert value[1].isnan().all()
    assert not value[0].isnan().any()
    assert all(bool(g.isnan().any()) for g in gradients(value, inputs, torch.ones_like(value)))


@pytest.mark.parametrize("bias", [True, False])
def test_gradcheck(bias: bool) -> None:
    mask = ragged([4, 1, 3])
    inputs = leaves(mask, 7, bias, 5, width=3)
    assert torch.autograd.gradcheck(
        lambda hidden, weight, bias: splade_head(hidden, mask, weight, bias, tile=3), inputs)


def test_only_wanted_gradients_are_made() -> None:
    mask = ragged([3, 2])
    hidden, weight, _ = leaves(mask, 5, False, 1)
    frozen = weight.detach()
    with patch.object(head, "_summed", wraps=head._summed) as summed:
        splade_head(hidden, mask, frozen, None).sum().backward()
    assert summed.call_count == 1
    assert hidden.grad is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_multiplies_in_its_dtype_and_keeps_the_rest_in_fp32(dtype: torch.dtype) -> None:
    mask = ragged([6, 3])
    inputs = leaves(mask, 40, True, 2, torch.float32, width=16)
    with torch.autocast("cpu", dtype=dtype):
        value = splade_head(inputs[0], mask, *inputs[1:])
    assert value.dtype == torch.float32
    # the same rounding by hand: inputs and products in dtype, then fp32
    rounded = torch.nn.functional.linear(inputs[0].to(dtype), inputs[1].to(dtype))
    rounded = rounded.masked_fill(~mask.unsqueeze(-1), -torch.inf)
    assert torch.equal(value, activation(rounded.max(1).values.float() + inputs[2]))
    actual = gradients(value, inputs, torch.ones_like(value))
    assert [g.dtype for g in actual] == [torch.float32] * 3
    expected = gradients(twin(inputs[0], mask, *inputs[1:]), inputs, torch.ones_like(value))
    close(actual, expected, 0.05)
    with torch.autocast("cpu", dtype=dtype):  # fp64 stays itself, as autocast leaves it
        assert splade_head(inputs[0].double(), mask, *inputs[1:]).dtype == torch.float64


def test_a_half_model_without_autocast() -> None:
    mask = ragged([4, 2])
    inputs = leaves(mask, 12, True, 2, torch.bfloat16)
    value = splade_head(inputs[0], mask, *inputs[1:])
    assert value.dtype == torch.float32
    actual = gradients(value, inputs, torch.ones_like(value))
    assert {g.dtype for g in actual} == {torch.bfloat16}


def test_it_is_the_encoders_head_and_goes_with_checkpointing() -> None:
    """Many tokens and terms, as an encoder has, in fp32."""
    mask = ragged([128, 60, 1, 127])
    inputs = leaves(mask, 2000, True, 3, torch.float32, width=64)
    value = splade_head(inputs[0], mask, *inputs[1:])
    torch.testing.assert_close(value, activation(max_logits(inputs[0], mask, *inputs[1:])))
    incoming = torch.randn_like(value)
    plain = gradients(value, inputs, incoming)
    close(plain, gradients(twin(inputs[0], mask, *inputs[1:]), inputs, incoming), 1e-5)
    states = checkpoint(lambda x: x * 1.0, inputs[0], use_reentrant=False)
    again = gradients(splade_head(states, mask, *inputs[1:]), inputs, incoming)
    assert all(map(torch.equal, again, plain))


def test_backward_holds_no_logits() -> None:
    """No tensor kept for it or created in it is as large as texts x tokens x vocabulary."""
    kept: list[torch.Tensor] = []
    mask = ragged([50] * 4)
    inputs = leaves(mask, 3000, True, 4, torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x), x)[1], lambda x: x):
        value = splade_head(inputs[0], mask, *inputs[1:])
    # states and weights are there anyway; a value and a two-byte position per text and term
    expected = [inputs[0].nbytes, inputs[1].nbytes, 4 * 3000 * 4, 4 * 3000 * 2]
    assert sorted(x.nbytes for x in kept) == sorted(expected)
    with torch.profiler.profile(profile_memory=True) as profile:
        value.sum().backward()
    assert max(event.cpu_memory_usage for event in profile.events()) < 4 * 50 * 3000 * 4 / 5


@pytest.mark.parametrize("pooling", OTHERS, ids="-".join)
@pytest.mark.parametrize(("dtype", "relative"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(1, 70),
       st.sampled_from([1, 7, 64, 100]), st.booleans(), st.integers(0, 10**6))
def test_other_poolings_are_autograds(pooling: Pooling, dtype: torch.dtype, relative: float,
                                      lengths: list[int], vocabulary: int, tile: int, bias: bool,
                                      seed: int) -> None:
    mask = ragged(lengths)
    inputs = leaves(mask, vocabulary, bias, seed, dtype)
    actual = splade_head(inputs[0], mask, *inputs[1:], pooling, tile)
    expected = other_twin(inputs[0], mask, *inputs[1:], pooling)
    torch.testing.assert_close(actual, expected)
    incoming = torch.randn_like(expected)
    incoming[torch.rand_like(incoming) < 0.3] = 0
    close(gradients(actual, inputs, incoming), gradients(expected, inputs, incoming), relative)


@pytest.mark.parametrize("pooling", OTHERS, ids="-".join)
def test_other_poolings_pass_gradcheck(pooling: Pooling) -> None:
    mask = ragged([4, 1, 3])
    inputs = leaves(mask, 7, True, 5, width=3)
    assert torch.autograd.gradcheck(
        lambda hidden, weight, bias: splade_head(hidden, mask, weight, bias, pooling, 3), inputs)


@pytest.mark.parametrize("pooling", OTHERS, ids="-".join)
def test_other_poolings_let_no_nan_of_the_padding_through_and_hide_none(pooling: Pooling) -> None:
    mask = ragged([2, 0])
    inputs = leaves(mask, 9, True, 0)
    with torch.no_grad():
        inputs[0][~mask] = torch.nan
    value = splade_head(inputs[0], mask, *inputs[1:], pooling)
    assert torch.equal(value[1], torch.zeros(9, dtype=torch.float64))
    actual = gradients(value, inputs, torch.ones_like(value))
    assert not actual[0][~mask].any()
    assert all(bool(g.isfinite().all()) for g in actual)
    with torch.no_grad():
        inputs[0][0, 1, 0] = torch.nan
    value = splade_head(inputs[0], mask, *inputs[1:], pooling)
    assert value[0].isnan().all()
    assert all(bool(g.isnan().any()) for g in gradients(value, inputs, torch.ones_like(value)))


@pytest.mark.parametrize("pooling", OTHERS, ids="-".join)
def test_other_poolings_in_autocast_and_in_the_encoder(pooling: Pooling) -> None:
    mask = ragged([128, 60, 1])
    inputs = leaves(mask, 700, True, 3, torch.float32, width=64)
    value = splade_head(inputs[0], mask, *inputs[1:], pooling)
    torch.testing.assert_close(value, pooled_weights(inputs[0], mask, *inputs[1:], pooling))
    # small whole numbers: their products are exact in bfloat16, and gradients fp32's own
    inputs = leaves(mask, 700, True, 3, torch.float32, width=64, whole=True)
    value = splade_head(inputs[0], mask, *inputs[1:], pooling)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = splade_head(inputs[0], mask, *inputs[1:], pooling)
        found = gradients(half, inputs, torch.ones_like(half))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, value)
    assert [g.dtype for g in found] == [torch.float32] * 3
    # the gradient of the states has their dtype in autocast
    close(found, gradients(value, inputs, torch.ones_like(value)), 0.005)


def test_a_sum_holds_no_logits_either() -> None:
    """It keeps only its inputs; both passes hold one tile of the logits."""
    kept: list[torch.Tensor] = []
    mask = ragged([50] * 4)
    inputs = leaves(mask, 6000, True, 4, torch.float32)
    with torch.profiler.profile(profile_memory=True) as profile:
        with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x), x)[1],
                                                      lambda x: x):
            value = splade_head(inputs[0], mask, *inputs[1:], Pooling("sum", "relu"), 256)
        value.sum().backward()
    assert inputs[2] is not None
    assert sorted(x.nbytes for x in kept) == sorted(
        [inputs[0].nbytes, inputs[1].nbytes, inputs[2].nbytes, mask.nbytes])
    assert max(event.cpu_memory_usage for event in profile.events()) < 4 * 50 * 6000 * 4 / 5
