"""modules.json -> the modules of sentence-transformers that a model consists of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

from pydantic import BaseModel, ConfigDict

from spladev3_anserini.errors import InputError
from spladev3_anserini.model.hub import refuse_links
from spladev3_anserini.model.stated import ANY, refuse_unapplied
from spladev3_anserini.model.weights import read_as

MODULES = "modules.json"


class ModuleEntry(BaseModel):
    """A module: its folder, its class, and its name in the list."""

    model_config = ConfigDict(extra="allow")
    path: str
    type: str
    name: str | None = None

    @property
    def kind(self) -> str:
        """The module's class in sentence-transformers; empty for code from elsewhere."""
        first, _, last = self.type.rpartition(".")
        return last if first.partition(".")[0] == "sentence_transformers" else ""


def read_modules(root: Path) -> list[ModuleEntry]:
    """Reads a model's list of modules; empty if it has none.

    Raises InputError for an empty list, a key that is not applied here, two modules of one name,
    or a Router that is not the only module.
    """
    path = root / MODULES
    modules: list[ModuleEntry] = read_as(list[ModuleEntry], path) if path.exists() else []
    if path.exists() and not modules:
        raise InputError(f"{path}: names no module")
    for module in modules:
        refuse_unapplied(path, module.model_extra or {}, {"idx": ANY})
    names = [module.name for module in modules if module.name is not None]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: name: two modules have the same name, so sentence-transformers "
                         "takes only one of them")
    if "Router" in [module.kind for module in modules] and len(modules) > 1:
        raise InputError(f"{path}: type: names the modules {module_names(modules)}; expected the "
                         "Router only")
    return modules


def module_names(modules: Sequence[ModuleEntry]) -> str:
    """The modules' folders or classes, for messages."""
    names = ", ".join(module.path or module.kind or module.type for module in modules)
    return names[:200] or "no module"


def refuse_path_out(root: Path, path: str, source: Path) -> None:
    """Raises InputError, naming the file `source`, for a module outside the model's folder."""
    if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
        raise InputError(f"{source}: path: the module path {path[:80]!r} leads out of the folder")
    if not path.isprintable() or len(path.encode()) > 255:
        raise InputError(f"{source}: path: the module path {path[:40]!r} is no name of a folder")
    refuse_links(root, root / path)
