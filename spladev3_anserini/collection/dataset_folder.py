"""A folder of tables, as the hub and `save_to_disk` lay it out -> its files in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spladev3_anserini.collection.tables import is_table
from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.files import existing_file, read_bytes, read_json

#: What `datasets` writes beside the .arrow files of one split, and above the folders of several.
_STATE, _SPLITS = "state.json", "dataset_dict.json"
#: Names, without their ends, of files that lie beside the documents of a corpus.
NOT_DOCUMENTS = {"queries", "topics", "qrels"}
#: JSON files that describe tables and hold no documents.
ABOUT_TABLES = (_STATE, _SPLITS, "dataset_info.json", "dataset_infos.json")
#: The hub's names of the files of a split, such as train-00000-of-00002.parquet.
_NUMBERED = re.compile(r"(.+)-(\d{1,7})-of-(\d{1,7})(-[0-9a-f]{16})?\.(parquet|arrow)")


def tables_of_folder(folder: Path) -> list[Path]:
    """Returns the tables that are a folder's corpus, in the order in which they are read.

    Three layouts are known: a folder that `datasets` saved (`state.json` names its .arrow files),
    a copy of a data set of the hub (its README.md names the files, or they lie in `data/` or in
    the folder itself), and any folder of tables, which are read in name order.

    Args:
        folder: A folder.

    Returns:
        The files; none if the folder is of no such layout.

    Raises:
        InputError: The folder has several splits or configurations, so that a corpus must be
            chosen; or a file is missing.
    """
    if (folder / _SPLITS).exists():
        splits = read_json(folder / _SPLITS, dict).get("splits")
        if not isinstance(splits, list) or not all(map(_is_name, splits)) or not splits:
            raise InputError(f"{folder / _SPLITS}: names no splits")
        if len(splits) > 1:
            raise _several(str(folder), "splits", [str(folder / split) for split in splits])
        return tables_of_folder(folder / splits[0])
    if (folder / _STATE).exists():
        return _saved_tables(folder)
    if described := _described_tables(folder):
        return described
    for place in (folder, folder / "data"):
        if place.is_dir() and (found := sorted(filter(is_table, place.iterdir()))):
            return _one_split(place, found)
    return []


def tables_of_pattern(pattern: Path) -> list[Path] | None:
    """Returns the tables that a pattern such as `data/train-*.parquet` names, in name order.

    None is for a path that is there, has no `*`, or does not end as a table's name. Raises
    InputError if no file has such a name, or if a file of a numbered split is missing.
    """
    if "*" not in pattern.name or pattern.exists() or not is_table(pattern):
        return None
    found = sorted(pattern.parent.glob(pattern.name)) if pattern.parent.is_dir() else []
    if not found:
        raise InputError(f"{pattern}: no file has such a name")
    return _one_split(pattern.parent, found)


def _saved_tables(folder: Path) -> list[Path]:
    """The .arrow files of a split that `datasets` saved, in the order of its state."""
    state = read_json(folder / _STATE, dict)
    listed = state.get("_data_files")
    if not isinstance(listed, list) or not all(
            isinstance(own, dict) and _is_name(own.get("filename")) for own in listed):
        raise InputError(f"{folder / _STATE}: names no files in '_data_files'")
    if state.get("_indices_data_files"):
        raise InputError(f"{folder / _STATE}: has '_indices_data_files', an order of the rows of "
                         "its own, which is not read; save the data set again with a newer "
                         "`datasets`")
    return [existing_file(folder / own["filename"]) for own in listed]


def _described_tables(folder: Path) -> list[Path]:
    """The tables that the README.md of a data set names, as the hub reads it; none if it names
    none, or only files of other kinds."""
    found: dict[str, list[Path]] = {}
    for configuration in _configurations(folder / "README.md"):
        name = str(configuration.get("config_name", "default"))
        files = configuration.get("data_files")
        splits = files if isinstance(files, list) else [files]
        for split in splits:
            inner = split if isinstance(split, dict) else {"split": "train", "path": split}
            paths = inner.get("path")
            patterns = paths if isinstance(paths, list) else [paths]
            tables = [path for pattern in patterns if isinstance(pattern, str)
                      for path in _inside(folder, pattern) if is_table(path)]
            if tables:
                found.setdefault(f"{name}, {inner.get('split')}", []).extend(tables)
    if len(found) > 1:
        raise _several(str(folder), "splits or configurations", (
            _pattern_of([str(path) for path in files]) for files in found.values()))
    return _one_split(folder, next(iter(found.values()))) if found else []


def _configurations(readme: Path) -> list[dict[str, Any]]:
    """The `configs` in the YAML at the head of a README.md; none without them."""
    if not readme.exists():
        return []
    match = re.match(rb"---\r?\n(.*?)\r?\n---\s", read_bytes(readme), re.DOTALL)
    if not match:
        return []
    import yaml

    try:
        head = yaml.safe_load(match[1].decode("utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{readme}: its head is not YAML: {first_line(error)}") from None
    configurations = head.get("configs") if isinstance(head, dict) else None
    if not isinstance(configurations, list):
        return []
    return [own for own in configurations if isinstance(own, dict)]


def _inside(folder: Path, pattern: str) -> list[Path]:
    """The files of a pattern inside a folder; one that leads out of it names none."""
    if pattern.startswith("/") or ".." in pattern.split("/"):
        raise InputError(f"{folder / 'README.md'}: the path {pattern[:80]!r} leads out of its "
                         "folder")
    try:
        return sorted(folder.glob(pattern))
    except (ValueError, NotImplementedError, IndexError):
        return []


def _one_split(folder: Path, files: list[Path]) -> list[Path]:
    """Returns files of a folder after `refuse_split`."""
    refuse_split(str(folder), [path.relative_to(folder).as_posix() for path in files])
    return files


def refuse_split(place: str, names: Sequence[str]) -> None:
    """Raises InputError if the names of tables are of several splits, or if a number is missing.

    The hub numbers the files of a split: train-00000-of-00002.parquet. Other names are of one.

    Args:
        place: The folder, for messages.
        names: The files' names in it.
    """
    splits: dict[str, list[str]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        splits.setdefault(match[1] if match else "", []).append(name)
    if len(splits) > 1:
        raise _several(place, "splits", (f"{place}/{_pattern_of(own)}" for own in splits.values()))
    for split, own in splits.items():
        matches = [match for name in own if (match := _NUMBERED.fullmatch(name))]
        numbers = {int(match[2]) for match in matches}
        most = max((int(match[3]) for match in matches), default=0)
        missing = next((number for number in range(most) if number not in numbers), None)
        if missing is not None:
            raise InputError(f"{place}/{split}-{missing:05d}-of-{most:05d}.{matches[0][5]}: "
                             "missing; its name says how many files the corpus has")


def _several(place: str, what: str, choices: Iterable[str]) -> InputError:
    return InputError(f"{place}: has several {what}; give one of {', '.join(sorted(choices))}")


def _pattern_of(names: Sequence[str]) -> str:
    """A pattern that names the files of a split, for a message."""
    match = _NUMBERED.fullmatch(names[0])
    return f"{match[1]}-*.{match[5]}" if match else names[0]


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"\w[\w.-]*", value))
