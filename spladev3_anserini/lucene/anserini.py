"""A folder of documents -> a Lucene index, by Anserini's IndexCollection in a JVM of its own."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

from spladev3_anserini.encoding.processes import die_with_parent
from spladev3_anserini.errors import InputError, JavaError
from spladev3_anserini.lucene.jvm import java_command, java_path
from spladev3_anserini.lucene.start import STARVED, advice, environment_of_java, error_line
from spladev3_anserini.progress import counter

#: The beginning of a line that reports a failure, in Anserini's log or printed by Java. The rest of
#: a line may quote anything: a path, an id, a user's options.
_LOGGED = re.compile(r"\d{4}-\d\d-\d\d \S+ ")
_ERROR = re.compile(r"""\d{4}-\d\d-\d\d\ \S+\ ((ERROR|FATAL)\ |WARN\ .*Unexpected\ difference)|
                        (Exception|Caused\ by|Terminating\ due\ to|Unrecognized|Error:)|
                        ([a-z]\w*\.)+\w+(Exception|Error)\b""", re.VERBOSE)
_INDEXER = "io.anserini.index.IndexCollection"


def run_indexer(collection: str, source: Path, index: Path, threads: int, options: list[str],
                documents: int) -> None:
    """Runs Anserini's IndexCollection in a separate JVM.

    Args:
        collection: The class that reads the source, such as `JsonVectorCollection`.
        source: The folder of documents.
        index: The index's folder, which exists.
        threads: Anserini's indexing threads.
        options: More options of IndexCollection.
        documents: How many documents there are, for the progress bar.

    Raises:
        JavaError: Java failed; the message has its first error line.
        InputError: Anserini logged an error (its exit code is 0 even then) or wrote no index.
    """
    # the input starts with /. because Anserini replaces /path/to by the folder `collections`
    command = java_command(
        _INDEXER, "-collection", collection, "-input", f"/.{java_path(source)}",
        "-generator", "DefaultLuceneDocumentGenerator", "-index", java_path(index),
        "-threads", str(threads), *options)
    errors: list[str] = []
    printed = ""
    with (
        # in the folder of the index, because a Java that crashes writes its reports there
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         encoding="utf-8", errors="replace", env=environment_of_java(),
                         cwd=index.parent, preexec_fn=die_with_parent) as process,
        counter("indexing", documents) as bar,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if _ERROR.match(line) and len(errors) < 1000:
                    errors.append(" ".join(line.split())[:300])
                elif not _LOGGED.match(line):
                    printed = printed or error_line([line])
                elif match := re.search(r"completed, ([\d,]+) documents indexed", line):
                    bar.update(int(match[1].replace(",", "")) - bar.n)
        except BaseException:
            process.kill()
            raise
    if process.returncode in (128 + signal.SIGINT, -signal.SIGINT):
        raise KeyboardInterrupt
    if process.returncode or errors or not any(index.glob("segments_*")):
        if process.returncode and printed:
            errors.append(printed)
        starved = [line for line in errors if STARVED.search(line)]
        failed = JavaError if process.returncode or starved else InputError
        hint = (advice(bool(starved) or process.returncode == -signal.SIGKILL)
                if failed is JavaError else "")
        raise failed(f"{source}: Anserini did not index it (exit {process.returncode}): "
                     f"{[*starved, *errors, 'it built nothing'][0]}{hint}")
