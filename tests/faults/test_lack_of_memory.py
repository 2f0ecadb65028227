"""A command that gets no memory ends in one line that says so, and leaves nothing half-written."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from conftest import TEXTS, write_corpus

from spladev3_anserini.cli.app import run
from spladev3_anserini.lucene.jvm import java_class

#: What libraries raise, as they word it.
SHORT = [
    (MemoryError(), "out of memory"), (MemoryError("std::bad_alloc"), "out of memory"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate "
                  "memory: you tried to allocate 4000 bytes. Error code 12 (Cannot allocate memory)"),
     "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000 bytes"),
    (RuntimeError("can't start new thread"), "can't start new thread"),
    (RuntimeError("std::bad_alloc"), "std::bad_alloc"),
    (SystemError("error return without exception set"), "out of memory"),
    (SystemError("<function _find_and_load at 0x7f> returned NULL without setting an exception"),
     "out of memory"),
    (ImportError("\n\nIMPORTANT: PLEASE READ THIS\n\nlibstdc++.so.6: failed to map segment from shared "
                 "object\n"), "(libstdc++.so.6: failed to map segment from shared object)")]


@pytest.mark.parametrize(("error", "says"), SHORT, ids=lambda own: str(own)[:30])
def test_whatever_says_that_memory_is_short_is_one_line(error: Exception, says: str,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise error

    with pytest.raises(SystemExit) as stop:
        run(click.Command("x", callback=fails), [])
    said = capsys.readouterr().err
    assert (stop.value.code, said.count("\n")) == (2, 1), said
    assert said.startswith("spladev3-anserini: there is not enough memory (")
    assert says in said


def library() -> None:
    raise ImportError("libtorch_cpu.so: failed to map segment from shared object")


def caused() -> None:
    try:
        library()
    except ImportError as error:
        raise ValueError("the model cannot be used") from error


@pytest.mark.fault(3, "an array or a library that needs more memory than there is",
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


@pytest.mark.parametrize("error", [RuntimeError("no kernel"), ZeroDivisionError(), SystemError("bad argument"), KeyError("a")])
def test_a_defect_stays_a_traceback(error: Exception) -> None:
    def fails() -> None:
        raise error

    with pytest.raises(type(error)):
        run(click.Command("x", callback=fails), [])


@pytest.mark.fault(3, "no memory for torch's libraries (RLIMIT_AS of 300 MB)",
                   detected="whatever the library raises")
def test_an_encode_without_memory(tiny: Path, tmp_path: Path) -> None:
    """In a process of its own, because a limit is for all of it."""
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))

    done = subprocess.run(
        [sys.executable, "-P", "-m", "spladev3_anserini", "encode", "--model", str(tiny), "--corpus",
         str(write_corpus(tmp_path / "c.jsonl", TEXTS)), "--output", str(tmp_path / "encoded")],
        preexec_fn=limited, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, ""), done
    assert "there is not enough memory (" in done.stderr
    assert not (tmp_path / "encoded").exists()
