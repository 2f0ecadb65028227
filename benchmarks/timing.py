"""What sections share: a clock around a call, three numbers of many latencies, figures as JSON."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any

import numpy as np


def timed(call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Seconds, and what came back."""
    begun = time.perf_counter()
    found = call(*arguments)
    return time.perf_counter() - begun, found


def spread(milliseconds: Sequence[float]) -> list[str]:
    """Mean, median and 99th percentile."""
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return [f"{number:.2f}" for number in (mean(milliseconds), p50, p99)]


def as_json(figures: Any) -> str:
    """Figures as indented JSON with the numbers of a list on one line."""
    # a line break after the bracket: no string of JSON holds one
    return re.sub(r"\[\n([-+.\deE,\s]*)\]",
                  lambda numbers: f"[{' '.join(numbers[1].split())}]",
                  json.dumps(figures, indent=1)) + "\n"
