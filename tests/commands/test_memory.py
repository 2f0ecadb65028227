"""What fails for lack of memory, or in Java outside any check: one line, and a code that says which."""

from __future__ import annotations

from collections.abc import Callable

import click
import numpy as np
import pytest
import torch

from spladev3_anserini.cli import run
from spladev3_anserini.lucene.jvm import java_class


def library() -> None:
    raise ImportError("libtorch_cpu.so: failed to map segment from shared object")


def caused() -> None:
    try:
        library()
    except ImportError as error:
        raise ValueError("the model cannot be used") from error


@pytest.mark.fault(3, "an array that no memory holds, a library that memory does not suffice for",
                   detected="the exceptions of numpy, torch and the loader")
@pytest.mark.parametrize("failing", [lambda: np.empty(2**60, np.int8),
                                     lambda: torch.empty(2**58, dtype=torch.int8), library, caused])
def test_lack_of_memory_is_one_line(failing: Callable[[], object],
                                    capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(click.Command("x", callback=failing), [])
    line, = capfd.readouterr().err.splitlines()
    assert stop.value.code == 2
    assert line.startswith("spladev3-anserini: there is not enough memory (")
    assert line.endswith("raise the limit of `ulimit -v`, or take smaller batches")


def test_an_exception_of_java_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(click.Command("x", callback=lambda: java_class("java.util.ArrayList")(-1)), [])
    assert stop.value.code == 3
    assert capfd.readouterr().err == (
        "spladev3-anserini: Java failed: JVM exception occurred: "
        "java.lang.IllegalArgumentException: Illegal Capacity: -1\n")


def test_a_defect_stays_a_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(click.Command("x", callback=lambda: 1 / 0), [])
