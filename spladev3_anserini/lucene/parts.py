"""A folder of parts -> the parts of one index, and the manifest of the whole."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from spladev3_anserini.encoding.directory import Part
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import (
    IndexManifest,
    Manifest,
    Shard,
    differences_text,
)
from spladev3_anserini.lucene.segments import newest_segments
from spladev3_anserini.text import counted

#: The folder of parts in the folder of an index.
PARTS_FOLDER = "parts"
#: Lucene's IndexWriter.MAX_DOCS: the most documents of an index, or of several read as one.
MAX_DOCUMENTS = (1 << 31) - 129
_NAME = re.compile(r"(\d{4,6})-of-(\d{4,6})", re.ASCII)


def part_folder(index: Path, part: Part) -> Path:
    """Returns the folder of a part, such as `parts/0002-of-0004`; it may not exist."""
    return index / PARTS_FOLDER / f"{part.number:04d}-of-{part.of:04d}"


def existing_part(index: Path, part: Part) -> Path:
    """Returns the folder of a part; raises InputError if there is none."""
    folder = part_folder(index, part)
    if newest_segments(index) is not None:
        raise InputError(f"{index}: is a whole index; omit `part`")
    if not folder.is_dir():
        raise InputError(f"{folder}: missing; build it: spladev3-anserini index --part {part}")
    return folder


def part_of_folder(folder: Path) -> Part | None:
    """Returns the part that a folder's name states; None for any other name."""
    match = _NAME.fullmatch(folder.name)
    part = Part(int(match[1]), int(match[2])) if match else None
    if part is None or not 1 <= part.number <= part.of:
        return None
    return part if part_folder(Path(), part).name == folder.name else None


def begun_parts(index: Path) -> dict[Path, Part]:
    """Returns the parts in an index's folder, by folder; none for an index that is whole.

    Hidden folders are parts that are being built. Raises InputError for anything else that lies
    among parts.
    """
    folder = index / PARTS_FOLDER
    if not folder.is_dir() or newest_segments(index) is not None:
        return {}
    visible = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    parts = {path: part for path in visible if (part := part_of_folder(path)) is not None}
    if parts and len(parts) < len(visible):
        foreign = next(path for path in visible if path not in parts)
        raise InputError(f"{foreign}: is no part of an index; move it away")
    return parts


def part_folders(index: Path) -> list[Path]:
    """Returns the folders of an index's parts, in order; none for an index that is whole.

    Raises InputError if a part is missing, or if parts are of different numbers of parts.
    """
    parts = begun_parts(index)
    if not parts:
        return []
    of = {part.of for part in parts.values()}
    if len(of) > 1:
        first, second = sorted(of)[:2]
        raise InputError(f"{index / PARTS_FOLDER}: has parts of {first} and parts of {second}; "
                         "move those away that are not of this index")
    count = of.pop()
    folders = [part_folder(index, Part(number, count)) for number in range(1, count + 1)]
    if missing := [folder for folder in folders if folder not in parts]:
        more = f" (and {len(missing) - 1:,} more)" if missing[1:] else ""
        raise InputError(f"{missing[0]}: missing{more}; build it: spladev3-anserini index --part "
                         f"{part_of_folder(missing[0])}")
    return folders


def shards_hash(shards: Sequence[Shard]) -> str:
    """Returns the sha256 of the names and hashes of an encoding's shards, in their order."""
    content = [[shard.name, shard.sha256] for shard in shards]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def manifest_of_part(manifest: Manifest, part: Part) -> Manifest:
    """Returns the manifest of an encoding with only the shards of a part.

    They are the shards that the same part of `encode` writes. Raises InputError if there are fewer
    shards than parts.
    """
    if part.of > len(manifest.shards):
        raise InputError(f"`part` {part}: the encoding has only "
                         f"{counted(len(manifest.shards), 'shard')}, so that is the most parts; "
                         "encode with a smaller `shard_size` for more")
    numbers = part.shards(len(manifest.shards))
    return manifest.model_copy(update={"shards": manifest.shards[numbers.start : numbers.stop]})


def whole_manifest(index: Path, folders: Sequence[Path],
                   records: Sequence[IndexManifest | None]) -> IndexManifest:
    """Returns the manifest of the index that all parts are.

    Its encoding is that of the encoded directory, with all shards in their order. Its versions are
    those that all parts have. It names no files.

    Args:
        index: The index's folder, for messages.
        folders: The folders of all parts, in order.
        records: Their manifests.

    Raises:
        InputError: A folder holds no part, or not the part of its name; or the parts are not of
            one encoding.
    """
    present: list[IndexManifest] = []
    for folder, record in zip(folders, records, strict=True):
        if record is None or record.part != str(part_of_folder(folder)):
            is_part = f"part {record.part}" if record and record.part else "no part of an index"
            raise InputError(f"{folder}: is {is_part}; move it away, and build the part: "
                             f"spladev3-anserini index --part {part_of_folder(folder)}")
        first = present[0] if present else record
        differing = differences_text(first.encoded.fingerprint, record.encoded.fingerprint)
        if differing or (record.whole, record.encoded.query_weights) != (
                first.whole, first.encoded.query_weights):
            raise InputError(f"{folder}: is of another encoding than {folders[0]}"
                             f"{f' ({differing})' if differing else ''}; build it again: "
                             f"spladev3-anserini index --overwrite --part {record.part}")
        present.append(record)
    shards = tuple(shard for record in present for shard in record.encoded.shards)
    if shards_hash(shards) != present[0].whole:
        raise InputError(f"{index}: its parts do not add up to the encoding that they name; build "
                         "them again: spladev3-anserini index --overwrite --part 1/N")
    filled = [record for record in present if record.encoded.nonempty] or present
    versions = dict(set.intersection(*(set(record.versions.items()) for record in filled)))
    return IndexManifest(encoded=present[0].encoded.model_copy(update={"shards": shards}),
                         versions=dict(sorted(versions.items())))


def refuse_too_many(index: Path, documents: int) -> None:
    """Raises InputError for more documents than one Lucene index can have."""
    if documents > MAX_DOCUMENTS:
        raise InputError(
            f"{index}: has {documents:,} documents with terms; Lucene numbers {MAX_DOCUMENTS:,} at "
            "most in one index. Build parts, each with spladev3-anserini index --part 1/N, search "
            "each with spladev3-anserini search --part 1/N, and join the runs with "
            "spladev3-anserini merge-runs")
