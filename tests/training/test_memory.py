"""Peak memory of one training step at BERT-base's shapes, by the kernel's own count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "training_memory.py"
#: So many that the naive way's 6 GB fit beside other work; the share is lower with 101.
DOCUMENTS = 33


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_step_takes_a_quarter_of_the_naive_ones_memory() -> None:
    """Above weights, gradients and optimiser state; each way in a process of its own, of the same
    texts, weights and dropout, so that the losses are the same too."""
    available = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()
                     if line.startswith("MemAvailable"))
    if available < 10 << 20:
        pytest.skip(f"{available >> 20} GiB of memory are free; the naive step needs 10")

    def measured(way: str) -> dict[str, float]:
        done = subprocess.run([sys.executable, BENCHMARK, "--documents", str(DOCUMENTS), "--one",
                               way], capture_output=True, text=True, check=False,
                              env=os.environ | {"PYTHONPATH": str(BENCHMARK.parents[1]),
                                                "MALLOC_MMAP_THRESHOLD_": str(1 << 20)})
        assert done.returncode == 0, done.stderr
        found: dict[str, float] = json.loads(done.stdout)
        return found

    naive, lean = measured("naive"), measured("checkpointed")
    assert lean["loss"] == pytest.approx(naive["loss"], rel=1e-3)
    assert naive["peak"] > 2048  # so that the share tells something
    assert lean["peak"] <= naive["peak"] / 4, (lean, naive)
