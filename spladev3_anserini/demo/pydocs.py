"""Writes the docstrings of the running Python's standard library as a corpus of JSON lines.

Run it as ``python -I -S -E pydocs.py OUTPUT.jsonl``. It uses only the standard library, so these
flags keep third-party packages and site hooks out of the corpus.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import pkgutil
import re
import sys
import types
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_EASTER_EGGS = frozenset({"antigravity", "this"})
_TOOLS_AND_SAMPLES = frozenset(
    {"ensurepip", "idlelib", "lib2to3", "pydoc_data", "xxlimited", "xxlimited_35", "xxsubtype"}
)
_NOT_IN_EVERY_BUILD = frozenset({"distutils", "tkinter", "turtle", "turtledemo"})
_KNOWN_AS_OS_OR_RE = frozenset(
    {"genericpath", "nt", "ntpath", "nturl2path", "posix", "posixpath"}
    | {"sre_compile", "sre_constants", "sre_parse"}
)
_TEST_NAMES = frozenset({"test", "tests"})
_SKIPPED_MODULES = (
    _EASTER_EGGS | _TOOLS_AND_SAMPLES | _NOT_IN_EVERY_BUILD | _KNOWN_AS_OS_OR_RE | _TEST_NAMES
)
_ONE_MODULE_PER_CODEC = "encodings"

#: Generated docstrings that say nothing. The last alternative is a bare signature, as namedtuples,
#: dataclasses and AST nodes have.
_BOILERPLATE = re.compile(
    r"Alias for field number \d+|An enumeration\.|Internal function\.|"
    r"list of weak references to the object.*|"
    r"[\w.]+\([^\n]*\)( *-> *[\w.\[\], ]+)?"
)


class _Name(NamedTuple):
    """A dotted name; the smallest of an object's names is the one that people would write."""

    dots: int
    mismatches: int
    depth: int
    dotted: str


class _Entry(NamedTuple):
    """A public object with a name and a docstring; keeping it alive keeps its ``id()`` unique."""

    name: _Name
    target: object
    doc: str | None


class _Registry:
    """Collects public objects by identity, each under the smallest of its names."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}

    def add(self, key: object, entry: _Entry) -> None:
        known = self._entries.get(id(key))
        if known is None or entry.name < known.name:
            self._entries[id(key)] = entry

    def entries(self) -> list[_Entry]:
        return sorted(self._entries.values(), key=lambda entry: entry.name)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Discards warnings and everything that imports print, even from C (such as readline)."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        sink = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        for descriptor in (1, 2):
            with contextlib.suppress(OSError):  # closed: nothing to discard
                saved = os.dup(descriptor)
                stack.callback(os.close, saved)
                stack.callback(os.dup2, saved, descriptor)
                os.dup2(sink.fileno(), descriptor)
        stack.enter_context(contextlib.redirect_stdout(sink))
        stack.enter_context(contextlib.redirect_stderr(sink))
        yield


def _import(name: str) -> types.ModuleType | None:
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException:  # another platform's module, a missing library, even SystemExit
        return None


def _walk(name: str) -> Iterator[tuple[str, types.ModuleType]]:
    """Yields the module of that name and its public submodules, as far as they can be imported."""
    module = _import(name)
    if module is None:
        return
    yield name, module
    if name == _ONE_MODULE_PER_CODEC:
        return
    for info in pkgutil.iter_modules(getattr(module, "__path__", [])):
        if not info.name.startswith("_") and info.name not in _TEST_NAMES:
            yield from _walk(f"{name}.{info.name}")


def _modules() -> Iterator[tuple[str, types.ModuleType]]:
    """Yields the public modules under the names by which people import them."""
    yield "builtins", importlib.import_module("builtins")
    for name in sorted(sys.stdlib_module_names - _SKIPPED_MODULES):
        if not name.startswith("_") and name != "builtins":
            yield from _walk(name)
    yield "os.path", os.path


def _attribute(owner: object, name: str) -> object:
    try:
        return getattr(owner, name)
    except Exception:
        return None


def _docstring(target: object, name: str) -> str | None:
    """Returns the cleaned docstring, or None if it is inherited, missing or says nothing."""
    if isinstance(target, type):
        doc = vars(target).get("__doc__")
        constructor = vars(target).get("__init__")
        if doc is None and isinstance(constructor, types.FunctionType):
            doc = constructor.__doc__  # ThreadPoolExecutor, for example, documents its class there
    else:
        doc = _attribute(target, "__doc__")
        if doc == type(target).__doc__:
            return None
    if not isinstance(doc, str):
        return None
    doc = inspect.cleandoc(doc).strip()
    says_nothing = not doc or doc.casefold() == name.casefold() or _BOILERPLATE.fullmatch(doc)
    return None if says_nothing else doc


def _is_private(cls: type) -> bool:
    return any(part.startswith("_") for part in [*cls.__module__.split("."), cls.__name__])


def _members(module_name: str, module: types.ModuleType) -> Iterator[tuple[str, object]]:
    """Yields the module's public classes and callables, without those that it only imports."""
    exported = getattr(module, "__all__", None)
    names = [name for name in (vars(module) if exported is None else exported) if name[:1] != "_"]
    for name in names:
        target = _attribute(module, name)
        if not callable(target):
            continue
        if exported is None and module_name != "builtins":
            home = str(_attribute(target, "__module__"))
            # objects of private modules (C accelerators, frozen modules) are public here
            if home != module_name and not home.startswith("_"):
                continue
        yield name, target


def _register_member(registry: _Registry, module_name: str, name: str, target: object) -> None:
    doc = _docstring(target, name)
    if doc is None and not isinstance(target, type):  # a class may still have documented methods
        return
    prefix = "" if module_name == "builtins" else f"{module_name}."
    mismatches = (_attribute(target, "__name__") != name) + (
        _attribute(target, "__module__") != module_name
    )
    key = target
    if isinstance(target, types.MethodType) and target.__name__ == name:
        key = target.__func__  # random.randint is Random.randint of a hidden instance
    dotted = prefix + name
    registry.add(key, _Entry(_Name(dotted.count("."), mismatches, 0, dotted), target, doc))


def _register_methods(registry: _Registry, dotted: str, cls: type) -> None:
    """Adds the methods and properties of a class and of its private bases.

    A private base has no public name of its own, so its methods are documented under the class.
    """
    public_name = dotted.rpartition(".")[2]
    seen: set[str] = set()
    for base in cls.__mro__:
        included = base is cls or _is_private(base)
        for name, raw in vars(base).items():
            if name.startswith("_") or name in seen:
                continue
            seen.add(name)
            method = inspect.isroutine(raw) or inspect.isdatadescriptor(raw)
            documented = included and method and not isinstance(raw, type)
            doc = _docstring(raw, name) if documented else None
            if doc is None:
                continue
            path = f"{dotted}.{name}"
            mismatches = (getattr(raw, "__name__", name) != name) + (
                base.__name__.lstrip("_") != public_name
            )
            full_name = _Name(path.count("."), mismatches, len(cls.__mro__), path)
            registry.add(getattr(raw, "__func__", raw), _Entry(full_name, raw, doc))


def _contents(dotted: str, doc: str) -> str:
    """Returns the document's text: the name as separate words, a newline, and the docstring.

    The name is split here because BM25's tokenizer would not split it.
    """
    return f"{re.sub('[._]+', ' ', dotted)}\n{doc}"


def _collect() -> dict[str, str]:
    modules = dict(_modules())
    registry = _Registry()
    for module_name, module in modules.items():
        for name, target in _members(module_name, module):
            _register_member(registry, module_name, name, target)
    # a method's name begins with the name chosen for its class, so classes are registered first
    for entry in registry.entries():
        if isinstance(entry.target, type):
            _register_methods(registry, entry.name.dotted, entry.target)
    contents = {
        entry.name.dotted: _contents(entry.name.dotted, entry.doc)
        for entry in registry.entries()
        if entry.doc is not None
    }
    for module_name, module in modules.items():
        doc = _docstring(module, module_name)
        if doc is not None:
            # `unittest.main`, for example, is a module and a function; users mean the function
            contents.setdefault(module_name, _contents(module_name, doc))
    return contents


def documents() -> Iterator[tuple[str, str]]:
    """Yields (id, contents) of every documented public object, sorted by id."""
    with _silence():
        collected = _collect()
    yield from sorted(collected.items())


def main(argv: Sequence[str]) -> int:
    """Writes the corpus to the only path in `argv`; an existing file is replaced when complete."""
    if len(argv) != 1:
        sys.stderr.write("usage: pydocs.py OUTPUT.jsonl\n")
        return 2
    output = Path(argv[0])
    partial = output.with_name(f"{output.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as stream:
            for docid, contents in documents():
                line = json.dumps({"id": docid, "contents": contents}, ensure_ascii=False)
                stream.write(f"{line}\n")
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
