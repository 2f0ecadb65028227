"""YAML text -> maps, lists and scalars, with the line of each; anything else is refused."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from spladev3_anserini.collection.records import checked_text
from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.files import existing_file, read_bytes

#: Bytes: ten times the largest recipe. PyYAML takes seconds for a file of this size.
_LARGEST = 1 << 17
_DEEPEST = 20
_CORE = "tag:yaml.org,2002:"
_SCALARS = {f"{_CORE}{kind}" for kind in ("null", "bool", "int", "float", "str", "timestamp")}

#: Plain decimal numbers. YAML 1.1 also reads 1_000.5 and 1:30.5 (ninety and a half) as floats.
_FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)

Place = tuple[str | int, ...]


class Source(NamedTuple):
    """The data of a YAML file, and the line of each key and list entry in it."""

    path: Path
    data: Any
    lines: dict[Place, int]

    def where(self, place: Place) -> str:
        """Returns `file:line` of a key; for a missing key, that of the nearest enclosing one."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.path}:{self.lines.get(place, 1)}"


def read_yaml(path: Path) -> Source:
    """Reads one YAML document of maps, lists and scalars.

    Raises InputError, with file and line, for anything else: duplicate keys, keys that are not
    text, aliases, tags, NaN and infinity, several documents, more than 128 KiB.
    """
    if (size := existing_file(path).stat().st_size) > _LARGEST:
        raise InputError(f"{path}: {size:,} bytes; a recipe has no more than {_LARGEST:,}")
    lines: dict[Place, int] = {}
    try:
        loader = _Loader(read_bytes(path), path)
        node = loader.get_single_node()
        data = loader.to_data(node, (), lines) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        raise InputError(f"{path}: not YAML: {error.reason} at character "
                         f"{error.position + 1}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start + 1}") from None
    except (ValueError, OverflowError) as error:  # a version or an escape of too many digits
        raise InputError(f"{path}: not YAML: {first_line(error)}") from None
    return Source(path, data, lines)


def parse_scalar(text: str, what: str) -> Any:
    """Reads one value as YAML reads it.

    Raises InputError, whose message begins with `what`, if the text is no YAML value.
    """
    try:
        loader = _Loader(text.encode(), Path(what))
        node = loader.get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError):
        node = None
    if node is None:
        raise InputError(f"{what}: {text!r} is no value")
    return loader.to_data(node, (), {})


class _Loader(yaml.SafeLoader):
    def __init__(self, content: bytes, path: Path) -> None:
        self._path = path
        self._depth = 0
        super().__init__(content.decode("utf-8-sig"))

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self._refuse(event, "aliases and anchors are not allowed; write the value out")
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse(event, "nested too deeply")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def to_data(self, node: yaml.Node, place: Place, lines: dict[Place, int]) -> Any:
        """Returns the data of a node at `place`, and adds the lines of its parts to `lines`."""
        lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_CORE}map":
            return self._mapping(node, place, lines)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_CORE}seq":
            return [self.to_data(item, (*place, number), lines)
                    for number, item in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALARS:
            self._refuse(node, f"the tag {node.tag.replace(_CORE, '!!')} is not allowed")
        if not node.value.isascii():
            checked_text(node.value, f"{self._path}:{node.start_mark.line + 1}", "value")
        if node.tag == f"{_CORE}float" and not _FLOAT.fullmatch(node.value):
            self._refuse(node, f"{node.value[:40]!r} is not a finite number in plain digits")
        if node.tag == f"{_CORE}int" and not re.fullmatch(r"[-+]?(0|[1-9]\d{0,17})", node.value):
            self._refuse(node, f"{node.value[:40]!r} is no plain whole number of up to 18 digits")
        try:
            value = self.construct_object(node)
        except (ValueError, OverflowError) as error:
            self._refuse(node, f"{node.value[:40]!r} is no value: {error}")
        if isinstance(value, float) and not math.isfinite(value):
            self._refuse(node, f"{node.value!r} is not a finite number")
        return value

    def _mapping(self, node: yaml.MappingNode, place: Place,
                 lines: dict[Place, int]) -> dict[str, Any]:
        record: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag != f"{_CORE}str":
                shown = key_node.value if isinstance(key_node, yaml.ScalarNode) else "this key"
                self._refuse(key_node, f"{shown!r} is read as {key_node.tag.rpartition(':')[2]}; "
                             "a key is text, quote it")
            key = key_node.value
            if key in record:
                self._refuse(key_node, f"the key {key!r} is there twice")
            lines[(*place, key)] = key_node.start_mark.line + 1
            record[key] = self.to_data(value_node, (*place, key), lines)
        return record

    def _refuse(self, node_or_event: Any, message: str) -> Any:
        raise InputError(f"{self._path}:{node_or_event.start_mark.line + 1}: {message}")


# YAML 1.1 reads 2e-5 as text; people and YAML 1.2 read it as a number
_Loader.add_implicit_resolver(
    f"{_CORE}float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))
