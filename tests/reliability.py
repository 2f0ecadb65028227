"""The suite's faults -> docs/reliability.md: marks, random draws that can be repeated, the table."""

from __future__ import annotations

import ast
import os
import platform
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reliability.md"
SEED, DRAWS = "SPLADEV3_FAULTS_SEED", "SPLADEV3_FAULTS"
BEGIN, END = "<!-- written by make faults: begin -->", "<!-- end -->"

#: What each part of the table is about, in its order; experiments are those of the marks.
PARTS = {"Encode and shards": range(1, 10), "Index and search": range(10, 16),
         "Evaluate and report": range(16, 18), "Hostile input": range(18, 21),
         "Training": range(21, 22), "Side by side": range(22, 23), "Counted": range(23, 24)}

_tried = 0
_rows: dict[Fault, list[tuple[int, str]]] = {}


class Fault(NamedTuple):
    """One mark: which experiment, what is broken, what must happen, what detects it."""

    experiment: int
    what: str
    then: str
    detected: str


def fault_of(experiment: int, what: str, *, detected: str, then: str = "refused") -> Fault:
    """The arguments of `@pytest.mark.fault`."""
    return Fault(experiment, what, then, detected)


def tried(times: int = 1) -> None:
    """Counts how often a test broke something; one that never says so tried once."""
    global _tried
    _tried += times


def draws(few: int, share: float = 1.0) -> int:
    """How many random draws a test makes: `few` in the suite, that share of N in `make faults`."""
    return max(few, round(int(os.environ.get(DRAWS, "0")) * share))


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Draws that depend on the seed (in the header of the session) and the test alone."""
    return random.Random(f"{os.environ[SEED]} {request.node.name}")


def registered() -> list[Fault]:
    """Every `pytest.mark.fault` in the tests, read without running them, in the table's order."""
    found = []
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                found.append(fault_of(*map(ast.literal_eval, node.args),
                                      **{k.arg: ast.literal_eval(k.value) for k in node.keywords}))
    return sorted(set(found))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reliability", metavar="PAGE", help="write the table of faults into PAGE")


def pytest_configure() -> None:
    os.environ.setdefault(SEED, str(time.time_ns() % 10**6))  # workers inherit it


def pytest_report_header() -> str:
    return f"faults: {SEED}={os.environ[SEED]}"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    global _tried
    _tried = 0
    item.user_properties += [("fault", list(fault_of(*mark.args, **mark.kwargs)))
                             for mark in item.iter_markers("fault")]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield
    item.user_properties.append(("tried", max(1, _tried)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or (report.when == "setup" and not report.passed):
        times = int(dict(report.user_properties).get("tried", 0))  # type: ignore[call-overload]
        for name, value in report.user_properties:
            if name == "fault":
                _rows.setdefault(Fault(*value), []).append((times, report.outcome))


def pytest_sessionfinish(session: pytest.Session) -> None:
    page = session.config.getoption("--reliability")
    if page and not hasattr(session.config, "workerinput"):
        write_page(Path(page), _rows)


def write_page(page: Path, rows: dict[Fault, list[tuple[int, str]]]) -> None:
    """Puts the table between the page's two comments; the prose around it stays."""
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{_table(rows)}{END}{after}", "utf-8")


def _table(rows: dict[Fault, list[tuple[int, str]]]) -> str:
    total = sum(times for found in rows.values() for times, _ in found)
    lines = [f"{total:,} faults of {len(rows)} kinds; N={os.environ.get(DRAWS, '0')}, "
             f"{SEED}={os.environ[SEED]}, Python {platform.python_version()}.", ""]
    for title, experiments in PARTS.items():
        lines += [f"### {title}", "", "| | fault | tried | what happened | detected by |",
                  "|---|---|---|---|---|"]
        lines += [_row(fault, rows[fault]) for fault in sorted(rows)
                  if fault.experiment in experiments] + [""]
    return "\n".join(lines) + "\n"


def _row(fault: Fault, found: list[tuple[int, str]]) -> str:
    failed = sum(outcome == "failed" for _, outcome in found)
    then = f"**failed, {failed} of {len(found)} tests**" if failed else fault.then
    if all(outcome == "skipped" for _, outcome in found):
        then = "not tried here"
    cells = [str(fault.experiment), fault.what, f"{sum(times for times, _ in found):,}", then,
             fault.detected]
    return "| " + " | ".join(cells) + " |"
