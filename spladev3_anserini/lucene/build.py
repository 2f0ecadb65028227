"""Impact shards -> a checked Lucene index that appears whole."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

from spladev3_anserini.errors import InputError, JavaError
from spladev3_anserini.impacts.manifest import (
    IndexManifest,
    Manifest,
    shown_differences,
    write_record,
)
from spladev3_anserini.impacts.query_weights import QUERY_WEIGHTS
from spladev3_anserini.impacts.shards import IMPACTS, read_manifest, verify_shards
from spladev3_anserini.lucene.check import (
    INDEX_MANIFEST,
    check_index,
    compare_with_manifest,
    read_index_manifest,
    statistics,
)
from spladev3_anserini.lucene.jvm import (
    java_command,
    java_path,
    lucene_version,
    start_jvm,
    versions,
)
from spladev3_anserini.lucene.publish import die_with_parent, publish, scratch_beside
from spladev3_anserini.lucene.start import (
    STARVED,
    advice,
    environment_of_java,
    what_java_says,
)
from spladev3_anserini.lucene.unchanged import hashed_files
from spladev3_anserini.progress import counter

#: How a line begins that says what failed, in Anserini's log or printed by Java. The rest of a line
#: may quote anything: a path, an id, a user's options.
_LOGGED = re.compile(r"\d{4}-\d\d-\d\d \S+ ")
_ERROR = re.compile(r"""\d{4}-\d\d-\d\d\ \S+\ ((ERROR|FATAL)\ |WARN\ .*Unexpected\ difference)|
                        (Exception|Caused\ by|Terminating\ due\ to|Unrecognized|Error:)|
                        ([a-z]\w*\.)+\w+(Exception|Error)\b""", re.VERBOSE)
_INDEXER = "io.anserini.index.IndexCollection"


def build_index(encoded: Path, index: Path, *, threads: int, optimize: bool = False,
                overwrite: bool = False) -> tuple[IndexManifest, bool]:
    """Indexes an encoded directory with Anserini and returns (what was built, built now?).

    Anserini's exit code says nothing, so the shards are checked before (every byte), the index
    after (CheckIndex, and documents, postings and total terms against the manifest's sums). It is
    built in a temporary folder beside `index`, which then changes places with what is there: a
    search finds the old index or the new one. An index of the same shards that is already there is
    checked and left as it is. Raises InputError for any difference, and
    for another index under that name unless `overwrite`.
    """
    java_path(encoded)
    java_path(index)
    if index.is_symlink():  # the folder it leads to is built or replaced, never the link
        index = index.resolve()
    manifest = read_manifest(encoded)
    if manifest.fingerprint.side != "document":
        raise InputError(f"{encoded}: holds encoded queries; only documents are indexed")
    if not manifest.nonempty:
        raise InputError(f"{encoded}: no document in it has any term; nothing to index")
    if encoded.resolve() in index.resolve().parents:
        raise InputError(f"`index` {index}: is inside `encoded`, which holds nothing but what was "
                         "encoded; choose another name")
    if is_occupied(index) and (record := _existing(index, manifest, overwrite)):
        return record, False
    verify_shards(encoded, manifest)
    start_jvm()
    with scratch_beside(index) as scratch:
        fresh = scratch / "index"
        fresh.mkdir()  # with the user's umask; the scratch folder around it is for the user alone
        options = ["-impact", "-pretokenized", *(["-optimize"] if optimize else [])]
        run_indexer("JsonVectorCollection", encoded / IMPACTS, fresh, threads, options,
                    manifest.nonempty)
        found = statistics(fresh)
        compare_with_manifest(found, manifest, index)
        check_index(fresh)
        (fresh / "write.lock").unlink(missing_ok=True)
        if manifest.query_weights:
            shutil.copyfile(encoded / QUERY_WEIGHTS, fresh / QUERY_WEIGHTS)
        record = _write_manifest(fresh, IndexManifest(
            encoded=manifest, versions=versions() | {"lucene": lucene_version()}))
        if not overwrite and index.exists() and any(index.iterdir()):
            raise InputError(f"`index` {index}: appeared while this was built; choose another name")
        publish(fresh, index)
    return record, True


def is_occupied(index: Path) -> bool:
    """Whether an index, maybe a damaged one, stands under a name. Raises InputError for anything
    else that does, but an empty folder: only an index is ever replaced."""
    if not index.exists() or (index.is_dir() and not any(index.iterdir())):
        return False
    ours = (index / INDEX_MANIFEST).exists()  # even where a file of it is missing
    if not index.is_dir() or not (ours or any(index.glob("segments_*"))):
        raise InputError(f"`index` {index}: exists and is no index; choose another name")
    return True


def _existing(index: Path, manifest: Manifest, overwrite: bool) -> IndexManifest | None:
    """What to keep of an index that is there already: None for one that may be replaced. Only an
    index is ever replaced, never a folder of other files."""
    if overwrite:
        return None
    record = read_index_manifest(index, every=True)
    if record is None or record.encoded.shards != manifest.shards or (
            record.encoded.query_weights != manifest.query_weights):
        built = record.encoded.fingerprint if record else manifest.fingerprint
        shown = shown_differences(built, manifest.fingerprint)
        raise InputError(f"`index` {index}: holds an index of something else"
                         f"{f' ({shown})' if shown else ''}; choose another name, or `overwrite`")
    compare_with_manifest(statistics(index), manifest, index)
    check_index(index)
    return record if record.files else _write_manifest(index, record)


def _write_manifest(index: Path, record: IndexManifest) -> IndexManifest:
    """Writes what a checked index is, with the hashes of its files."""
    record = record.model_copy(update={"files": hashed_files(index)})
    write_record(record, index / INDEX_MANIFEST)
    return record


def run_indexer(collection: str, source: Path, index: Path, threads: int, options: list[str],
                documents: int) -> None:
    """Runs Anserini's IndexCollection in a JVM of its own.

    Raises JavaError with its first error line where Java fails, InputError where Anserini logs an
    error (its exit code is 0 even then) or leaves no index. `documents` is for the progress bar.
    """
    # with /. before it: Anserini reads the folder `collections` for what begins with /path/to
    command = java_command(
        _INDEXER, "-collection", collection, "-input", f"/.{java_path(source)}",
        "-generator", "DefaultLuceneDocumentGenerator", "-index", java_path(index),
        "-threads", str(threads), *options)
    errors: list[str] = []
    printed = ""
    with (
        # beside the index, where a Java that crashes may leave its reports
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
                    printed = printed or what_java_says([line])
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
