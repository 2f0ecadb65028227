"""A cell -> the ordinary commands that do what its run does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.recipe.baseline import Dense
from spladev3_anserini.recipe.library import default_folder
from spladev3_anserini.recipe.schema import QuerySet
from spladev3_anserini.reproduction.cell import Cell, measures_of
from spladev3_anserini.reproduction.models import converted_folder
from spladev3_anserini.reproduction.training_commands import training_commands, training_folders


def commands(cell: Cell, sets: Mapping[str, QuerySet] | None = None) -> list[list[str]]:
    """The ordinary commands that do what a run of these query sets (all, for None) does."""
    if cell.recipe.baseline:
        return _baseline_commands(cell, sets or cell.collection.query_sets)
    settings, model = cell.settings, cell.recipe.model_name or "MODEL"
    shown = cell.sources().shown
    program, lines = "spladev3-anserini", []
    if not cell.prebuilt:
        lines += cell.sources().commands(cell.collection.corpus)
    if cell.recipe.training and not cell.recipe.model:
        lines += training_commands(cell)
        model = str(training_folders(cell).model)
    elif cell.recipe.pickled:
        converted = str(converted_folder(model, cell.output))
        lines.append([program, "convert", model, "--output", converted])
        model = converted
    else:
        lines.append([program, "models", "fetch", model])
    scale = f"{Quantizer.parse(str(settings.quantizer)).scale:.10g}"
    policy, dtype = str(settings.special_tokens), str(settings.dtype)
    variant = cell.recipe.variant
    index = str(cell.index_folder)
    if cell.prebuilt is None:
        lines += [
            [program, "encode", "--model", model, "--variant", variant, "--corpus",
             shown(cell.collection.corpus), "--output", str(cell.encoded), "--max-length",
             str(settings.max_length), "--scale", scale, "--special-tokens", policy,
             "--dtype", dtype],
            [program, "index", "--encoded", str(cell.encoded), "--index", index, "--optimize"],
            [program, "verify", index]]
    else:
        index = f"PREBUILT/{cell.prebuilt}"
    for name, query_set in (sets or cell.collection.query_sets).items():
        own = ["--model", model, "--variant", variant, "--scale", scale, "--special-tokens",
               policy, "--prebuilt"] if cell.prebuilt else []
        run = str(cell.run_file(name))
        lines += [
            [program, "search", "--index", index, "--topics", shown(query_set.topics),
             "--output", run, "--hits", str(query_set.hits), "--max-length",
             str(settings.query_max_length), "--dtype", dtype, "--tag", cell.recipe_name,
             *(["--remove-query"] if query_set.remove_query else []), *own],
            [program, "evaluate", "--qrels", shown(query_set.qrels), "--run", run,
             "--measures", " ".join(measures_of(cell, name))]]
    return lines


#: Keys of recipes that the command calls by another name.
_OPTIONS = {"teacher": "cross-encoder"}


def _baseline_commands(cell: Cell, sets: Mapping[str, QuerySet]) -> list[list[str]]:
    program, own, shown = "spladev3-anserini", cell.recipe.baseline, cell.sources().shown
    corpus = shown(cell.collection.corpus)
    lines = commands(cell.first, sets) if cell.first else \
        cell.sources().commands(cell.collection.corpus)
    given = own.given() if own else {}
    key = "model" if isinstance(own, Dense) else "teacher"
    if cell.recipe.pickled:
        converted = str(converted_folder(given[key], cell.output))
        lines.append([program, "convert", given[key], "--output", converted])
        given[key] = converted
    options = [word for option, value in given.items() if option not in {"kind", "of"}
               for word in (f"--{_OPTIONS.get(option, option.replace('_', '-'))}", str(value))]
    for name, query_set in sets.items():
        run = str(cell.run_file(name))
        common = ["--topics", shown(query_set.topics), "--output", run, "--tag", cell.recipe_name]
        found = ["--hits", str(query_set.hits),
                 *(["--remove-query"] if query_set.remove_query else [])]
        if cell.first:
            command = ["rerank", "--run", str(cell.first.run_file(name)), "--corpus", corpus]
        elif isinstance(own, Dense):
            command = ["dense", "--corpus", corpus, *found]
        else:
            command = ["bm25", "--corpus", corpus, *found]
        lines += [[program, *command, *common, *options],
                  [program, "evaluate", "--qrels", shown(query_set.qrels), "--run", run,
                   "--measures", " ".join(measures_of(cell, name))]]
    return lines


def run_command(cell: Cell) -> list[str]:
    """The one command that runs a cell; files outside the default folder are given by path."""
    own = default_folder()
    recipe = cell.recipe_name if cell.recipe_file.is_relative_to(own) else str(cell.recipe_file)
    on = cell.collection_name if cell.collection_file.is_relative_to(own) \
        else str(cell.collection_file)
    return ["spladev3-anserini", "reproduce", "run", recipe, "--on", on,
            *(["--prebuilt"] if cell.prebuilt else [])]


def typed(command: list[str]) -> str:
    """A command as one would type it; a path that begins with a variable still has it."""
    return " ".join(map(_quoted, command))


def _quoted(word: str) -> str:
    variable, slash, rest = word.partition("/")
    if slash and re.fullmatch(r"\$[A-Z][A-Z0-9_]*", variable):
        return f'"{variable}"/{shlex.quote(rest)}'
    return shlex.quote(word)
