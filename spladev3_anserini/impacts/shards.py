"""Impact vectors -> shard files that appear whole, and back."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.records import IdHashes, checked_id, checked_text, json_records
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, sha256_of
from spladev3_anserini.impacts.lines import ImpactLine
from spladev3_anserini.impacts.manifest import Manifest, Shard, read_record
from spladev3_anserini.impacts.quantize import MAX_IMPACT
from spladev3_anserini.impacts.query_weights import require_query_weights
from spladev3_anserini.impacts.terms import fault
from spladev3_anserini.text import counted

#: Holds nothing but finished shards: Anserini reads every file it finds there.
IMPACTS = "impacts"
MANIFEST = "manifest.json"


class ImpactDocument(NamedTuple):
    """One line of a shard; `contents` is empty unless it was asked for."""

    id: str
    contents: str
    vector: dict[str, int]


def shard_name(number: int, *, gzipped: bool) -> str:
    """`part-00000.jsonl`, counted from 0 over the whole corpus."""
    return f"part-{number:05d}.jsonl{'.gz' if gzipped else ''}"


def write_lines(folder: Path, name: str, lines: Iterable[ImpactLine], texts: str,
                lost: Sequence[int] = ()) -> Shard:
    """Writes one shard of an encoded directory and returns what is in it; `texts` is the hash of
    the texts it is of, `lost` the number of wordpieces that each text lost to the length.

    The file is written outside `impacts/`, synced, then renamed into it, so that a shard under
    its final name is complete. The same lines give the same bytes.
    """
    count = nonempty = postings = total = largest = 0
    empty_ids: list[str] = []
    final = folder / IMPACTS / name
    final.parent.mkdir(exist_ok=True)
    with appearing(final, "wb", folder / f".{name}.tmp") as raw:
        # without a name and a time in its header the same lines give the same gzip bytes
        packed = gzip.GzipFile("", "wb", 6, raw, mtime=0) if name.endswith(".gz") else raw
        for own in lines:
            packed.write(own.line.encode())
            count += 1
            postings += own.postings
            total += own.impacts
            largest = max(largest, own.largest)
            if own.postings:
                nonempty += 1
            else:
                empty_ids.append(own.id)
        if packed is not raw:
            packed.close()
    return Shard(name=name, sha256=sha256_of(final), texts=texts, documents=count,
                 nonempty=nonempty, postings=postings, impacts=total, max_impact=largest,
                 empty_ids=tuple(empty_ids), cut_texts=sum(n > 0 for n in lost),
                 lost_wordpieces=sum(lost))


def read_shard(path: Path) -> Iterator[ImpactDocument]:
    """The lines of a shard, or of any file of impact documents, each checked.

    Raises InputError naming file and line where Anserini would drop or change something: a
    missing or wrong field, an id with white space, a term that it would split or cut, an impact
    that is no whole number from 1 to MAX_IMPACT.
    """
    for number, record in json_records(path):
        where = f"{path}:{number}"
        vector = record.get("vector")
        if "id" not in record or not isinstance(vector, dict):
            raise InputError(f"{where}: not an impact document (id, contents, vector)")
        for term, impact in vector.items():
            if type(impact) is not int or not 0 < impact <= MAX_IMPACT:
                raise InputError(f"{where}: the impact of {term!r} is {impact!r}, expected a "
                                 f"whole number from 1 to {MAX_IMPACT}")
            if reason := fault(term):
                raise InputError(f"{where}: the term {term[:40]!r} {reason}")
        contents = checked_text(record.get("contents", ""), where, "contents")
        yield ImpactDocument(checked_id(record["id"], where), contents, vector)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished encoded directory; says what to do where there is none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if folder.name == IMPACTS and (folder.parent / MANIFEST).exists():
        raise InputError(f"{folder}: give the folder above it, {folder.parent}")
    if not (folder / MANIFEST).exists():
        raise InputError(f"{folder}: no {MANIFEST}: not an encoded directory, or one whose encode "
                         "has not finished (run the same encode again, it continues)")
    return read_record(Manifest, folder / MANIFEST)


def verify_shards(folder: Path, manifest: Manifest) -> None:
    """Checks that `impacts/` holds exactly the manifest's shards, byte for byte.

    Raises InputError naming the first file that is missing, changed, or not in the manifest.
    """
    impacts = folder / IMPACTS
    require_query_weights(folder, manifest.query_weights)
    for shard in manifest.shards:
        path = impacts / shard.name
        if not path.exists():
            raise InputError(f"{path}: missing; encode again to restore it")
        if sha256_of(path) != shard.sha256:
            raise InputError(f"{path}: changed since it was written (sha256); encode again to "
                             "restore it")
    if len({shard.name for shard in manifest.shards}) != len(manifest.shards):
        raise InputError(f"{folder / MANIFEST}: names a shard twice")
    strangers = {path.name for path in impacts.iterdir()} - {s.name for s in manifest.shards}
    if strangers:
        raise InputError(f"{impacts / min(strangers)}: not in the manifest; Anserini would index "
                         "it, move it away")


def read_encoded(folder: Path, manifest: Manifest) -> Iterator[ImpactDocument]:
    """All impact documents of an encoded directory, in the corpus's order."""
    for shard in manifest.shards:
        yield from read_shard(folder / IMPACTS / shard.name)


def recount(folder: Path, manifest: Manifest) -> None:
    """Reads every line of every shard and counts again; raises InputError where a count in the
    manifest is another, or an id is there twice."""
    hashes = IdHashes()
    for shard in manifest.shards:
        documents = nonempty = postings = impacts = 0
        for document in read_shard(folder / IMPACTS / shard.name):
            hashes.add(document.id)
            documents += 1
            nonempty += bool(document.vector)
            postings += len(document.vector)
            impacts += sum(document.vector.values())
        if (documents, nonempty, postings, impacts) != (
                shard.documents, shard.nonempty, shard.postings, shard.impacts):
            raise InputError(f"{folder / IMPACTS / shard.name}: holds "
                             f"{counted(documents, 'document')} with "
                             f"{counted(impacts, 'total term')}, its manifest says "
                             f"{shard.documents:,} and {shard.impacts:,}")
    if hashes.repeated():
        raise InputError(f"{folder / IMPACTS}: a document id is there twice")
