"""Regularisers against loops, and FLOPS over two processes against one with all the rows."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from spladev3_anserini.recipe.training import Regularizer
from spladev3_anserini.training.penalty import Penalty
from spladev3_anserini.training.regularizers import (
    anti_zero,
    df_factors,
    document_shares,
    flops_loss,
    idf_factors,
    l1,
    mean_nonzeros,
    ramp,
    running_shares,
)

ROWS = {"flops": (3, 5), "l1": (4, 4), "df_flops": (3, 5), "threshold": (3, 5)}  # of rank 0 and 1
PENALTIES = {"flops": flops_loss, "l1": l1,
             "df_flops": lambda weights: flops_loss(weights, df_factors(document_shares(weights))),
             "threshold": lambda weights: flops_loss(weights, threshold=5)}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 30), st.integers(0, 10**6))
def test_penalties_are_their_loops(rows: int, vocabulary: int, seed: int) -> None:
    torch.manual_seed(seed)
    weights = torch.randn(rows, vocabulary, dtype=torch.float64)
    listed = weights.tolist()
    assert float(flops_loss(weights)) == pytest.approx(
        sum((sum(abs(row[j]) for row in listed) / rows) ** 2 for j in range(vocabulary)))
    assert float(l1(weights)) == pytest.approx(sum(sum(map(abs, row)) for row in listed) / rows)
    assert mean_nonzeros(weights.relu()) == sum(x > 0 for row in listed for x in row) / rows
    weights = weights.abs()
    total = math.fsum(map(math.fsum, weights.tolist()))
    assert float(anti_zero(weights[:1]) + anti_zero(weights)) == pytest.approx(
        1 / math.fsum(weights[0].tolist()) ** 2 + 1 / total ** 2)


def test_flops_is_that_of_sentence_transformers() -> None:
    losses = pytest.importorskip("sentence_transformers.sparse_encoder.losses")
    weights = torch.randn(5, 40).relu()
    theirs = losses.FlopsLoss(model=None).compute_loss_from_embeddings(weights)
    torch.testing.assert_close(flops_loss(weights), theirs, rtol=1e-6, atol=0)


def test_flops_with_a_threshold_is_that_of_sentence_transformers() -> None:
    losses = pytest.importorskip("sentence_transformers.sparse_encoder.losses")
    torch.manual_seed(2)
    weights = torch.randn(9, 40).relu() * (torch.rand(9, 1) > 0.3)
    for threshold in (0, 15, 19, 40):
        one, two = weights.clone().requires_grad_(), weights.clone().requires_grad_()
        theirs = losses.FlopsLoss(model=None, threshold=threshold).compute_loss_from_embeddings(two)
        ours = flops_loss(one, threshold=threshold)
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
        for gradient, other in zip(torch.autograd.grad(ours, one), torch.autograd.grad(theirs, two),
                                   strict=True):
            torch.testing.assert_close(gradient, other * (weights > 0), rtol=1e-6, atol=1e-9)


def test_df_flops_is_its_formula() -> None:
    """With the paper's a = 0.1 and b = 10, number by number."""
    weights = torch.tensor([[1.0, 2.0, 0, 0.5], [3.0, 0, 0, 0.5], *[[2.0, 0, 0, 0]] * 18],
                           dtype=torch.float64)
    shares = [20 / 20, 1 / 20, 0, 2 / 20]
    factors = [1 / (1 + (x ** (math.log(2) / math.log(0.1)) - 1) ** 10) if x else 0 for x in shares]
    assert factors[3] == pytest.approx(0.5)
    assert factors[0] == 1
    assert 0 < factors[1] < 0.2
    assert df_factors(document_shares(weights)).tolist() == pytest.approx(factors, rel=1e-12)
    means = [sum(row) / 20 for row in zip(*weights.tolist(), strict=True)]
    penalty = Penalty(Regularizer(kind="df_flops", weight=1.0, steps=1))
    value, weight = penalty.of(weights, 5, 10)  # the first batch counts as it is
    assert weight == 1
    assert float(value) == pytest.approx(sum(f * m**2 for f, m in zip(factors, means, strict=True)))


def test_running_shares_weight_batches_by_their_age() -> None:
    torch.manual_seed(3)
    batches = [torch.randn(4, 6).relu() for _ in range(30)]
    shares = torch.zeros(6)
    for step, batch in enumerate(batches, 1):
        shares = running_shares(shares, batch, step)
        ages = [0.99 ** (step - 1 - i) for i in range(step)]
        expected = sum(age * (b > 0).double().mean(dim=0) for age, b in
                       zip(ages, batches[:step], strict=True)) / sum(ages)
        assert shares.tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_idf_flops_is_flops_of_weights_without_idf() -> None:
    torch.manual_seed(4)
    weights, idf = torch.randn(5, 7).relu(), torch.rand(7) * 5 + 0.1
    idf[3] = 0  # a term that no text has: as rare as the rarest
    known = [value or max(idf.tolist()) for value in idf.tolist()]
    unit = sum(value for value in idf.tolist() if value) / 6
    expected = flops_loss(weights / torch.tensor(known) * unit)
    torch.testing.assert_close(flops_loss(weights, idf_factors(idf)), expected)
    value, _ = Penalty(Regularizer(kind="idf_flops", weight=0.1, steps=9), idf).of(weights, 1, 1)
    torch.testing.assert_close(value, expected)


def test_anti_zero_of_nothing_is_infinite() -> None:
    assert float(anti_zero(torch.zeros(2, 3))) == math.inf


def test_the_ramp_is_quadratic_and_ends() -> None:
    assert ramp(0.02, 1, 3) == pytest.approx(0.02 / 16)
    assert [ramp(1.0, step, 3) for step in (0, 2, 3, 4, 5, 10**6)] == [0, 0.25, 0.5625, 1, 1, 1]
    assert ramp(0.0, 5, 3) == 0
    half = Regularizer(kind="flops", weight=1.0, steps=0.5)
    assert [half.ramp_steps(planned) for planned in (1, 7, 100)] == [1, 4, 50]
    # naver's setting: 30,000 steps to 0.02, half of the weight at step 21,214
    assert ramp(0.02, 21214, 30000) == pytest.approx(0.01, rel=1e-4)


def data(penalty: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Weights of a layer and the inputs of each rank; rank 1's are larger, so that a mean per
    rank is not the mean over all rows."""
    torch.manual_seed(7)
    layer = torch.randn(11, 6, dtype=torch.float64)
    return layer, [torch.randn(rows, 6, dtype=torch.float64) * (1 + rank)
                   for rank, rows in enumerate(ROWS[penalty])]


def model(layer: torch.Tensor) -> nn.Module:
    linear = nn.Linear(6, 11, bias=False, dtype=torch.float64)
    linear.load_state_dict({"weight": layer})
    return nn.Sequential(linear, nn.ReLU())


def on_rank(rank: int, folder: str, world: int) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank,
                                   world_size=world)
    for name, penalty in PENALTIES.items():
        layer, inputs = data(name)
        wrapped = DistributedDataParallel(model(layer))
        value = penalty(wrapped(inputs[rank]))
        value.backward()
        gradient = next(wrapped.parameters()).grad
        torch.save({"value": value.detach(), "gradient": gradient}, f"{folder}/{name}-{rank}.pt")
    distributed.barrier()
    # without the interpreter's teardown: under load gloo's threads were once seen to abort in it
    os._exit(0)


@pytest.mark.skipif(not distributed.is_available() or sys.platform == "win32",
                    reason="no gloo processes here")
def test_two_ranks_are_one_with_all_the_rows(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(on_rank, args=(str(tmp_path), 2), nprocs=2)
    for name, penalty in PENALTIES.items():
        layer, inputs = data(name)
        one = model(layer)
        value = penalty(one(torch.cat(inputs)))
        gradient, = torch.autograd.grad(value, list(one.parameters()))
        value = value.detach()
        found = [torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1)]
        for rank in found:
            torch.testing.assert_close(rank["gradient"], gradient, rtol=1e-10, atol=1e-12)
        values = [rank["value"] for rank in found]
        if name == "flops":  # each rank has the value of all; an l1 is the rank's own
            assert [float(v) for v in values] == pytest.approx([float(value)] * 2, rel=1e-12)
        else:
            assert float(sum(values)) / 2 == pytest.approx(float(value), rel=1e-12)


def test_a_mean_per_rank_would_be_seen() -> None:
    """The data of the test above tells FLOPS per rank, which naver's code has, from the right."""
    layer, inputs = data("flops")
    one = model(layer)
    whole, = torch.autograd.grad(flops_loss(one(torch.cat(inputs))), list(one.parameters()))
    local = [torch.autograd.grad(flops_loss(one(own)), list(one.parameters()))[0] for own in inputs]
    assert float((sum(local) / 2 - whole).norm() / whole.norm()) > 0.05
