"""Runs one of our commands in this process, and prints its seconds and peak memory as JSON.

    python benchmarks/command_once.py encode --model demo --corpus corpus.jsonl --output encoded
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def peak_memory() -> int:
    """Returns the peak memory of this process, in bytes."""
    # getrusage would include the process that this program replaced
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    from spladev3_anserini.cli.commands import commands

    started = time.perf_counter()
    commands.main(sys.argv[1:], standalone_mode=False)
    print(json.dumps({"seconds": time.perf_counter() - started, "memory": peak_memory()}))


if __name__ == "__main__":
    main()
