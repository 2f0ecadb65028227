"""Functions that sections share: timing of a call, a summary of latencies, figures as JSON."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any

import numpy as np


def timed(call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Calls a function; returns the seconds it took and its result."""
    started = time.perf_counter()
    result = call(*arguments)
    return time.perf_counter() - started, result


def spread(milliseconds: Sequence[float]) -> list[str]:
    """Returns mean, median and 99th percentile of latencies, as text."""
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return [f"{number:.{3 if number < 1 else 2}f}" for number in (mean(milliseconds), p50, p99)]


def as_json(figures: Any) -> str:
    """Returns figures as indented JSON, with the numbers of a list on one line."""
    # the line break after the bracket keeps strings unchanged: JSON strings contain none
    return re.sub(r"\[\n([-+.\deE,\s]*)\]",
                  lambda numbers: f"[{' '.join(numbers[1].split())}]",
                  json.dumps(figures, indent=1)) + "\n"
