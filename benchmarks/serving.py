"""The server: throughput and latency with several clients, beside the API in a loop; its memory.

    python benchmarks/serving.py INDEX TOPICS SECONDS     # the API in a loop, as JSON
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

from bench import table
from real_vectors import real_vectors, run_command

from spladev3_anserini.collection.topics import read_topics

#: Clients that ask at the same time, seconds of each measurement, and requests of that of memory.
CLIENTS, SECONDS, REQUESTS = (1, 8, 64), 20, 100_000
#: Target: the part of the loop's rate that the server has with 8 clients.
TARGET, TARGET_CLIENTS = 0.9, 8

#: Asks one question after the other, each client from another place on.
_SCRIPT = """
local bodies, place = {}, 0
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
wrk.method, wrk.headers["Content-Type"] = "POST", "application/json"
function request()
  place = place % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[place])
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, ' ..
    '"failed": %d}\\n', summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
"""


def measure(work: Path, runs: int) -> dict[str, Any]:
    real = real_vectors(work)
    return measured_server(real.index, real.topics, work / "serving", runs)


def measured_server(index: Path, topics: Path, work: Path, runs: int, *, seconds: float = SECONDS,
                    clients: Sequence[int] = CLIENTS, requests: int = REQUESTS) -> dict[str, Any]:
    """Measures the loop and the server in turn, then the server's memory; `work` is scratch."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    work.mkdir(parents=True, exist_ok=True)
    texts = [topic.text for topic in read_topics(str(topics))]
    (work / "bodies").write_text("".join(
        json.dumps({"query": text, "hits": 10, "texts": False}) + "\n" for text in texts), "utf-8")
    (work / "ask.lua").write_text(_SCRIPT, "utf-8")
    loop: list[float] = []
    asked: dict[str, list[dict[str, float]]] = {str(count): [] for count in clients}
    for _ in range(runs):
        printed = run_command([sys.executable, __file__, str(index), str(topics), str(seconds)])
        loop.append(json.loads(printed.splitlines()[-1])["rate"])
        with _server(index) as (_, address):
            for count in clients:
                _wrk(address, work, count, min(seconds, 3))  # warm
                asked[str(count)].append(_wrk(address, work, count, seconds))
    with _server(index) as (process, address):
        memory, done = [], 0
        while done < requests:
            done += int(_wrk(address, work, TARGET_CLIENTS, seconds)["requests"])
            memory.append([done, _resident(process.pid)])
    return {"loop": loop, "asked": asked, "memory": memory}


def page(measured: dict[str, Any], docs: Path) -> str:
    rate = median(measured["loop"])
    rows = [["", "queries/s", "of the loop", "median, ms", "99th percentile, ms", "failed"],
            ["the API in a loop", f"{rate:,.0f}", "", f"{1000 / rate:.1f}", "", ""]]
    for count, runs in measured["asked"].items():
        own = median(run["requests"] / run["seconds"] for run in runs)
        missed = ", missed" if count == str(TARGET_CLIENTS) and own < TARGET * rate else ""
        rows.append([f"the server, {count} client{'s' if count != '1' else ''}", f"{own:,.0f}",
                     f"{own / rate:.0%}{missed}",
                     *(f"{median(run[name] for run in runs):.1f}" for name in ("p50", "p99")),
                     f"{sum(run['failed'] for run in runs):,.0f}"])
    (first, before), (last, after) = measured["memory"][0], measured["memory"][-1]
    return ("## The server\n\n"
            "wrk asks the server (`POST /search`, 10 hits, no texts) for questions of InsuranceQA, "
            "which the demo model encodes. wrk, the server and its encoder share the cores. The "
            "loop is `Index.search` in one process, which waits for each answer. Target: "
            f"{TARGET:.0%} of the loop with {TARGET_CLIENTS} clients.\n\n" + table(rows) +
            f"\n\nThe server's resident memory is {before / 1e6:,.0f} MB after {first:,} requests, "
            f"and {after / 1e6:,.0f} MB after {last:,}.\n")


@contextmanager
def _server(index: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Starts `serve` in a process of its own; yields it and its address."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "spladev3_anserini", "-q", "serve", "--index", str(index),
         "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("serving"):
            raise SystemExit(f"serve: {line}")
        yield process, line.split()[-1]
    finally:
        process.terminate()
        process.wait()


def _wrk(address: str, work: Path, clients: int, seconds: float) -> dict[str, float]:
    printed = subprocess.run(
        ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--timeout", "60s", "-s",
         str(work / "ask.lua"), f"{address}search"], capture_output=True, text=True, check=True,
        env=os.environ | {"BODIES": str(work / "bodies")}).stdout
    figures: dict[str, float] = json.loads(printed.splitlines()[-1])
    return figures


def _resident(pid: int) -> int:
    """Returns the bytes of a process that are in memory."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def _loop(index: str, topics: str, seconds: float) -> float:
    """Returns the queries per second of the API, one after the other."""
    import spladev3_anserini as splade

    texts = cycle(topic.text for topic in read_topics(topics))
    with splade.open_index(index) as opened:
        for _ in range(20):
            opened.search(next(texts))
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            opened.search(next(texts))
            count += 1
        return count / (time.perf_counter() - began)


if __name__ == "__main__":
    print(json.dumps({"rate": _loop(sys.argv[1], sys.argv[2], float(sys.argv[3]))}))
