"""The committed page holds the suite's own faults, all of them, and none that failed."""

from __future__ import annotations

from reliability import BEGIN, END, PAGE, PARTS, registered


def test_the_page_is_of_these_faults() -> None:
    table = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()
             if line.startswith("| ") and not line.startswith("| |")]
    rows = sorted((int(number), what, then, detected) for number, what, _, then, detected in lines)
    assert rows == registered(), "make faults writes the page anew"
    assert all(int(times.replace(",", "")) for _, _, times, _, _ in lines)


def test_every_experiment_is_there() -> None:
    expected = {number for numbers in PARTS.values() for number in numbers}
    assert {fault.experiment for fault in registered()} == expected
