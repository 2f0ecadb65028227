"""The recipes of this package -> the same, with trainings on all of InsuranceQA's questions."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from spladev3_anserini.recipe.library import Library

#: The recipe that the small ones change, and the one that says what a full-size one changes.
_BASE, _FULL = "insuranceqa-mini.yaml", Path("ablations") / "mini-full.yaml"


def full_size_library(recipes: Path, folder: Path) -> Library:
    """Copies recipes to a new folder, where insuranceqa-mini trains as mini-full does.

    Its ablations follow it. Values that are declared for trained models are left out.
    """
    shutil.copytree(recipes, folder, dirs_exist_ok=True)
    base, changes = _read(folder / _BASE), _read(folder / _FULL)
    base["training"] |= changes["training"]
    base.pop("expected")
    _write(folder / _BASE, base)
    library = Library(folder)
    trained = {name for name in library.recipes() if library.recipe(name).training}
    for path in library.collections().values():
        collection = _read(path)
        for block in collection.get("expected", []):
            for kind in ("values", "index"):
                if kind in block:
                    block[kind] = {row: values for row, values in block[kind].items()
                                   if row not in trained}
        collection["expected"] = [block for block in collection.get("expected", [])
                                  if block.get("values") or block.get("index")]
        _write(path, collection)
    return library


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def _write(path: Path, data: Any) -> None:
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), "utf-8")
