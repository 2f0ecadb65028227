"""Command: an encoded directory, an index or a folder of scores -> whether it is intact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo, fail
from spladev3_anserini.cli.options import format_option
from spladev3_anserini.errors import InputError, JavaError
from spladev3_anserini.text import counted

#: The counts of a folder's contents, by plural nouns, and a remark for people.
Checked = tuple[dict[str, int], str]

_MODEL = ("is a model: search compares it with the sha256 that an index holds, and `models "
          "fetch` prints it")
#: Folders that another command checks: a file that only they have, and the message about them.
_ELSEWHERE = (
    ("stages.json", "is a reproduction: `reproduce run` compares its files with their hashes and "
     "does again what changed"),
    ("whole.json", "is a checkpoint of a training: `train --resume` compares its files with their "
     "hashes"),
    ("begun.json", "is a training: `train --resume` compares the hashes of its checkpoints, "
     "`diagnose --trained` reads its curves"),
    ("ensemble.json", "is an ensemble of scores: train compares it with the sha256 in "
     "ensemble.json"),
    ("config.json", _MODEL),
    ("modules.json", _MODEL),
    (".progress-*-of-*.jsonl", "holds scores that are not finished: the same score continues "
     "them"),
)


@click.command("verify", context_settings=SETTINGS)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@format_option()
def main(folder: Path, form: str) -> None:
    """Check an encoded directory, an index or a folder of scores.

    The files in FOLDER are compared with their hashes. Everything that the manifest counts is
    counted again.

    Exit 0: the folder is sound. Exit 1: it is damaged; the message names the file and the damage.
    Exit 2: it is not finished, it has another version of Lucene, or another command checks it; the
    message says which.

    \b
    Example:
      spladev3-anserini verify index
    """
    from spladev3_anserini.lucene.check import OtherLuceneError
    from spladev3_anserini.lucene.jvm import java_path
    from spladev3_anserini.lucene.parts import part_folders

    check = _choose_check(folder)
    if check is None:
        raise InputError(_describe_folder(folder))
    if check is _check_index:
        java_path(folder)  # a name that Java cannot open says nothing of the index
        part_folders(folder)  # nor does a part that is not built yet
    try:
        counts, remark = check(folder)
        echo(counts if form == "json" else f"{folder}: sound; {_counts_text(counts)}{remark}")
    except (JavaError, OtherLuceneError):  # says nothing of the folder's bytes
        raise
    except InputError as error:
        fail(1, str(error))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        fail(1, f"{error.filename}: {error.strerror}")


def _counts_text(counts: Mapping[str, int]) -> str:
    """Returns counts as text, such as `8 documents, 512 total terms`."""
    singular = {"queries": "query"}
    return ", ".join(counted(count, singular.get(noun, noun.removesuffix("s")).replace("_", " "))
                     for noun, count in counts.items())


def _choose_check(folder: Path) -> Callable[[Path], Checked] | None:
    """Returns the function that checks a folder, chosen by its files; None if there is none."""
    from spladev3_anserini.impacts.shards import IMPACTS, MANIFEST
    from spladev3_anserini.lucene.check import INDEX_MANIFEST
    from spladev3_anserini.lucene.parts import PARTS_FOLDER

    if any(any(folder.glob(pattern)) for pattern in (
            "segments_*", "_*.si", INDEX_MANIFEST, f"{PARTS_FOLDER}/*-of-*/{INDEX_MANIFEST}")):
        return _check_index
    if not (folder / MANIFEST).exists():
        return None
    scores = any(folder.glob(".progress-*-of-*.jsonl")) or any(folder.glob("part-*.jsonl*"))
    return _check_scores if scores and not (folder / IMPACTS).exists() else _check_encoded


def _check_encoded(folder: Path) -> Checked:
    from spladev3_anserini.impacts.shards import read_manifest, recount, verify_shards

    manifest = read_manifest(folder)
    verify_shards(folder, manifest)
    recount(folder, manifest)
    side = "queries" if manifest.fingerprint.side == "query" else "documents"
    return {"shards": len(manifest.shards), side: manifest.documents,
            "total_terms": manifest.impacts}, ""


def _check_index(folder: Path) -> Checked:
    from spladev3_anserini.lucene.agreement import compare_engine
    from spladev3_anserini.lucene.check import (
        check_index,
        compare_with_manifest,
        read_index_manifest,
        statistics,
    )
    from spladev3_anserini.lucene.texts import check_texts

    counts = statistics(folder)  # first, because it detects an index of another Lucene
    record = read_index_manifest(folder, every=True)
    check_index(folder)
    remark = "; built elsewhere, so only its bytes were checked"
    if record is not None:
        compare_with_manifest(counts, record.encoded, folder)
        remark = f"; {compare_engine(folder, record)}"
        if texts := check_texts(folder, record):
            remark += f"; {counted(texts, 'text')}"
    return ({"documents": counts.documents, "total_terms": counts.impacts,
             "segments": counts.segments, "postings": counts.postings},
            remark)


def _check_scores(folder: Path) -> Checked:
    from spladev3_anserini.impacts.manifest import read_record
    from spladev3_anserini.training.score_files import SCORE_MANIFEST, ScoreManifest, read_scores

    manifest = read_record(ScoreManifest, folder / SCORE_MANIFEST)
    counts = [len(record.scores) for record in read_scores(folder)]
    if (len(counts), sum(counts)) != (manifest.queries, manifest.pairs):
        raise InputError(f"{folder / SCORE_MANIFEST}: says {counted(manifest.pairs, 'score')} of "
                         f"{counted(manifest.queries, 'query')}, its files hold {sum(counts):,} of "
                         f"{len(counts):,}")
    return {"queries": len(counts), "scores": sum(counts)}, ""


def _describe_folder(folder: Path) -> str:
    """Returns what a folder is that this command cannot check, and which command can."""
    from spladev3_anserini.encoding.journal import JOURNALS
    from spladev3_anserini.encoding.unfinished import unfinished

    for pattern, message in _ELSEWHERE:
        if any(folder.glob(pattern)):
            return f"{folder}: {message}"
    if any(folder.glob(JOURNALS)) or any(folder.glob(".lock-*-of-*")):
        return unfinished(folder)
    if ".building-" in folder.name:
        return f"{folder}: an index that is being built, or was left by a build that was killed"
    if folder.name == "impacts" and _choose_check(folder.parent):
        return f"{folder}: holds the shards of {folder.parent}; verify that folder"
    below = (path for pattern in ("*", "*/*", "*/*/*") for path in folder.glob(pattern))
    inside = sorted(path for path in islice(below, 10_000) if path.is_dir() and _choose_check(path))
    if inside:
        return (f"{folder}: holds folders that can be checked, each by itself: "
                f"{', '.join(map(str, inside[:5]))}{' ...' if inside[5:] else ''}")
    return f"{folder}: neither an encoded directory, an index nor a folder of scores"
