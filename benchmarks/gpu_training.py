"""One training step in each way that may make it faster: seconds, texts per second, peak memory.

Called by gpu.py. The examples are made of a corpus: a query is the first words of its positive, the
negatives are other texts, and the scores are random.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.errors import first_line
from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.model.variants import VARIANTS
from spladev3_anserini.recipe.training import Loss
from spladev3_anserini.training.dataset import Collator, Examples, Order
from spladev3_anserini.training.losses import distillation_loss
from spladev3_anserini.training.mapped_data import (
    TrainingData,
    map_training_data,
    write_training_data,
)
from spladev3_anserini.training.model import TrainedSplade
from spladev3_anserini.training.queries import TrainingQuery
from spladev3_anserini.training.regularizers import flops_loss, l1, mean_nonzeros
from spladev3_anserini.training.workers import batches, forking

_QUERY_WORDS, _WARM = 8, 2


class Way(NamedTuple):
    """How a step is made; the fields are what may be changed of the first row."""

    name: str
    bf16: bool = True
    workers: int = 0
    tile: int | None = None
    checkpointed: bool = False
    compiled: bool = False
    reads: bool = False


class Step(NamedTuple):
    """The sizes of a step: queries, negatives of each, and wordpieces of a text."""

    queries: int
    negatives: int
    max_length: int


def ways(cuda: bool) -> list[Way]:
    """Returns the rows of the table; those of compiled code and of bf16 need a GPU."""
    rows = [Way("fp32", bf16=False), Way("fp32, 2 workers", bf16=False, workers=2),
            Way("fp32, activations recomputed", bf16=False, checkpointed=True)]
    if not cuda:
        return [*rows, *(Way(f"fp32, tile {tile:,}", bf16=False, tile=tile)
                         for tile in (512, 2048))]
    return [*rows, Way("bf16"), Way("bf16, numbers read in each step", reads=True),
            *(Way(f"bf16, {workers} workers", workers=workers) for workers in (1, 2, 4)),
            *(Way(f"bf16, tile {tile:,}", tile=tile) for tile in (512, 2048, 8192, 32_768)),
            Way("bf16, activations recomputed", checkpointed=True),
            Way("bf16, encoder compiled", compiled=True)]


def measure(checkpoint: Checkpoint, source: str, device: str, step: Step, steps: int,
            work: Path) -> list[dict[str, Any]]:
    """Measures all ways, each with a model of its own; returns a record for each."""
    data = _examples(source, step, (steps + _WARM) * step.queries, work)
    records: list[dict[str, Any]] = []
    for way in ways(device.startswith("cuda")):
        try:
            records.append({"way": way.name, **_measured(way, checkpoint, data, device, step,
                                                         steps)})
        except RuntimeError as error:  # out of memory, or code that cannot be compiled there
            records.append({"way": way.name, "failed": first_line(error)})
    return records


def table(records: list[dict[str, Any]]) -> str:
    """Returns the records as a table of Markdown; the first that ran is the unit of speed-up."""
    lines = ["| step | ms | texts/s | speed-up | peak MiB | loss |", "|---|---|---|---|---|---|"]
    first = next((own["seconds"] for own in records if "failed" not in own), 0.0)
    for own in records:
        if "failed" in own:
            lines.append(f"| {own['way']} | failed: {own['failed']} | | | | |")
            continue
        lines.append(f"| {own['way']} | {1000 * own['seconds']:.1f} | {own['texts_per_s']:,.0f} | "
                     f"{first / own['seconds']:.2f} | {own['peak_memory'] / 2**20:,.0f} | "
                     f"{own['loss']:.4g} |")
    return "\n".join(lines)


def _measured(way: Way, checkpoint: Checkpoint, data: TrainingData, device: str, step: Step,
              steps: int) -> dict[str, float]:
    cuda = device.startswith("cuda")
    tokenizer = checkpoint.settings.load_tokenizer()
    torch.manual_seed(0)
    model = TrainedSplade(checkpoint, VARIANTS["splade-v3"], sorted(tokenizer.special_ids))
    model.tile = way.tile
    if way.checkpointed:
        model.checkpoint_activations()
    model.to(device)
    if way.compiled:
        model.splade.mlm.compile(dynamic=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=cuda)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    examples = Examples(data, step.negatives, seed=0)
    loader = batches(examples, Order(len(examples), 0), Collator(tokenizer, step.max_length),
                     step.queries, way.workers, cuda)
    with forking(way.workers):
        loaded: Iterator[Any] = iter(loader)
        for number, batch in enumerate(islice(loaded, steps + _WARM)):
            if number == _WARM:
                _wait(cuda)
                started = time.perf_counter()
            loss = _step(model, batch, optimizer, way, device)
        _wait(cuda)
        seconds = (time.perf_counter() - started) / steps
        del loaded
    figures = {"seconds": seconds, "loss": float(loss),
               "texts_per_s": step.queries * (2 + step.negatives) / seconds,
               "peak_memory": torch.cuda.max_memory_allocated() if cuda else 0}
    del model, optimizer, loss
    gc.collect()
    return figures


def _step(model: TrainedSplade, batch: dict[str, Any], optimizer: Any, way: Way,
          device: str) -> torch.Tensor:
    """One step as the trainer makes it: KL and MarginMSE, FLOPS and L1, clipped gradients."""
    moved = {name: value.to(device, non_blocking=True) for name, value in batch.items()
             if isinstance(value, torch.Tensor)}
    scores = moved.pop("scores")
    with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=way.bf16):
        queries, documents = model(**moved)
        loss, parts = distillation_loss(queries, documents.view(*scores.shape, -1), scores,
                                        Loss(kl=1.0, margin_mse=0.05))
        loss = loss + 0.01 * flops_loss(documents) + 0.01 * l1(queries)
    counts = [mean_nonzeros(queries), mean_nonzeros(documents)]
    if way.reads:
        for value in (loss, *parts.values(), *counts):
            float(value)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def _examples(source: str, step: Step, size: int, work: Path) -> TrainingData:
    """Makes and maps training data of a corpus."""
    texts = {document.id: document.text for document in islice(read_corpus(source), 2 * size)
             if document.text.split()}
    names, generator = list(texts), np.random.default_rng(0)
    queries = []
    for number, name in enumerate(islice(cycle(names), size)):
        drawn = generator.choice(len(names), min(len(names), step.negatives + 1), replace=False)
        negatives = [names[place] for place in drawn.tolist() if names[place] != name]
        scores = {document: float(generator.normal()) for document in [name, *negatives]}
        queries.append(TrainingQuery(f"q{number}", " ".join(texts[name].split()[:_QUERY_WORDS]),
                                     [name], negatives, scores))
    folder = work / "training-data"
    folder.mkdir()
    write_training_data(folder, queries, source, source, "benchmark", Counter())
    data = map_training_data(folder, "benchmark")
    assert data is not None
    return data


def _wait(cuda: bool) -> None:
    if cuda:
        torch.cuda.synchronize()
