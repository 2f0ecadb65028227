"""Texts of different lengths -> padded batches that fit a device."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.errors import InputError, out_of_memory
from spladev3_anserini.impacts.query import available_cores

if TYPE_CHECKING:
    import torch

Float32s = NDArray[np.float32]
#: Precisions, by torch's names.
DTYPES = ("float32", "bfloat16", "float16")
#: Lengths of the texts on which a new model is tested. No number divides both: a model that
#: computes in chunks (`chunk_size_feed_forward`) fails at lengths that its chunks do not divide.
TRIAL_LENGTHS = (5, 7)

#: Padded tokens per batch, by device. On a CPU small batches stay in cache (measured: 1024 is the
#: fastest of 512 to 4096 with the demo model); a GPU is faster with large ones.
_BATCH_TOKENS = {"cpu": 1024, "cuda": 32_768}
#: Weights of a batch, texts x vocabulary, by device: 128 MiB and 2 GiB, of which some copies exist
#: at a time.
_BATCH_WEIGHTS = {"cpu": 1 << 25, "cuda": 1 << 29}


def resolved_device(name: str) -> str:
    """Returns the device for a name: `auto` is a GPU if there is one, else the CPU.

    Raises InputError for a name of another form.
    """
    if name != "auto":
        if not re.fullmatch(r"cpu|mps|(cuda|xpu)(:\d+)?", name):
            raise InputError(f"`device` {name}: expected auto, cpu, cuda, cuda:N, xpu or mps")
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def cpu_threads() -> int:
    """Returns the threads of a model on the CPU: OMP_NUM_THREADS, or one for each CPU that this
    process may use."""
    if chosen := re.match(r"[1-9]\d{0,3}", os.environ.get("OMP_NUM_THREADS", "")):
        return int(chosen[0])
    return available_cores()


def largest_batch(vocabulary: int, device: str) -> int:
    """Returns the most texts of a batch, so that their weights (B, V) have a bounded size.

    It is above what the default tokens of a batch allow for BERT's vocabulary.
    """
    cells = _BATCH_WEIGHTS.get(device.partition(":")[0], _BATCH_WEIGHTS["cpu"])
    return max(1, cells // max(1, vocabulary))


def batch_budget(batch_tokens: int | None, device: str) -> int:
    """Returns the padded tokens of a batch: `batch_tokens`, or the device's default for None."""
    return batch_tokens or _BATCH_TOKENS.get(device.partition(":")[0], _BATCH_TOKENS["cpu"])


def length_batches(lengths: Sequence[int], budget: int,
                   most: int | None = None) -> Iterator[list[int]]:
    """Yields the positions of texts, longest first, in batches of at most `budget` padded tokens,
    and of at most `most` texts.

    Ties keep their order, so only the lengths decide the batches. A text longer than the budget
    is in a batch by itself.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        texts = budget // max(1, longest)
        stop = start + max(1, texts if most is None else min(texts, most))
        yield order[start:stop]
        start = stop


def padded_rows(rows: Sequence[Sequence[int] | NDArray[np.int32]],
                padding: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pads rows of numbers to one array.

    Args:
        rows: B rows; L is the length of the longest.
        padding: The number that fills short rows up, at their end.

    Returns:
        The array (B, L), and its mask (B, L): 1 for a number of a row, 0 for padding.
    """
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    mask = np.arange(lengths.max()) < lengths[:, None]
    padded = np.full(mask.shape, padding, np.int64)
    numbers: Iterable[int] = chain.from_iterable(rows)
    padded[mask] = np.fromiter(numbers, np.int64, int(lengths.sum()))
    return padded, mask.astype(np.int64)


def padded_ids(rows: Sequence[Sequence[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads rows of ids as `padded_rows` does; returns tensors of int64."""
    import torch

    padded, mask = padded_rows(rows, padding)
    return torch.from_numpy(padded), torch.from_numpy(mask)


@contextmanager
def refusing_large_batch(budget: int, device: str, alternative: str = "") -> Iterator[None]:
    """Raises InputError, with advice, if the block runs out of memory.

    Args:
        budget: The padded tokens of a batch.
        device: The device whose memory is short, for the message.
        alternative: More advice for the message, after "choose fewer".
    """
    try:
        yield
    except (InputError, MemoryError) as error:
        if not out_of_memory(error.__cause__ or error):
            raise
        raise InputError(f"`batch_tokens` {budget}: a batch does not fit into the memory of "
                         f"{device}; choose fewer{alternative}") from error
