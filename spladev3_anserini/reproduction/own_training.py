"""A data file, as people have it -> the stages that train on it, from reading to training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from spladev3_anserini.errors import InputError, refuse_without
from spladev3_anserini.files import appearing, read_json, sha256_of
from spladev3_anserini.impacts.shards import MANIFEST
from spladev3_anserini.lucene.check import INDEX_MANIFEST
from spladev3_anserini.model.checkpoint import Checkpoint, model_hash, open_checkpoint
from spladev3_anserini.model.kept import caching
from spladev3_anserini.model.splade import load_splade
from spladev3_anserini.progress import warn
from spladev3_anserini.recipe.schema import SpladeRecipe
from spladev3_anserini.recipe.strict_yaml import read_yaml
from spladev3_anserini.recipe.training import flatten
from spladev3_anserini.recipe.validation import changed_training, validate_source
from spladev3_anserini.reproduction.commands import command_text
from spladev3_anserini.reproduction.journal import JOURNAL, Journal, report_stage
from spladev3_anserini.reproduction.run import Invoke, run_commands
from spladev3_anserini.reproduction.stage import Stage, encoded_files, option
from spladev3_anserini.text import VERSION
from spladev3_anserini.training.checkpoints import BEGUN
from spladev3_anserini.training.own_data import (
    CANDIDATES,
    CORPUS,
    QRELS,
    SCORES,
    TOPICS,
    OwnData,
    write_own_data,
)
from spladev3_anserini.training.own_rows import data_files
from spladev3_anserini.training.quick import held_out_count, quick_recipe

_PROGRAM = "spladev3-anserini"
#: Scores within 0 to 1 are nearly equal to a softmax.
_LEAST_SPREAD = 2.0
_RECIPE, _DATA = "recipe.yaml", "data.json"


class OwnTraining(NamedTuple):
    """What is trained, and on what.

    Attributes:
        data: The data file, a folder or a pattern of tables.
        output: The folder of the trained model; `OUTPUT.data` beside it holds all that is prepared.
        recipe: The recipe; None takes the defaults of `quick_recipe`.
        start: The model to start from; None is the recipe's.
        changes: Changed values of the training section, KEY=VALUE.
        validates: Whether `options` say what is validated on.
        options: Further words of the `train` command.
        device: The device, as commands take it.
        replace: Replace another training in `output`.
    """

    data: str
    output: Path
    recipe: SpladeRecipe | None
    start: str | None
    changes: Sequence[str]
    validates: bool
    options: Sequence[str]
    device: str
    replace: bool

    @property
    def folder(self) -> Path:
        """The folder of all that is prepared."""
        return self.output.with_name(f"{self.output.name}.data")

    def file(self, name: str) -> Path:
        """Returns a file of that folder."""
        return self.folder / name


def train_on_own_data(training: OwnTraining, invoke: Invoke) -> str:
    """Reads a data file, mines negatives if it has none, and trains; done stages are skipped.

    The recipe with every value, and the commands that do the same, are printed.

    Args:
        training: What is trained.
        invoke: Runs a command line and returns what it printed.

    Returns:
        What `train` printed.

    Raises:
        InputError: The data cannot be used (see `write_own_data`), the recipe takes scores that the
            data lacks or the reverse, a folder holds something else, or a command fails.
    """
    refuse_without("accelerate", "training", "train")
    name = training.start or (training.recipe.training.start
                              if training.recipe and training.recipe.training else None)
    if name is None:
        raise InputError("`quick`: needs the model to begin with; add `start_from`, such as "
                         "naver/splade-v3")
    start = open_checkpoint(name, option="`start_from`")
    inputs = {"data": _hash_of(data_files(training.data)), "start": model_hash(start),
              "recipe": training.recipe.model_dump_json() if training.recipe else "",
              "changes": json.dumps(list(training.changes)), "package": VERSION}
    _refuse_other(training, inputs)
    with Journal(training.folder) as journal, caching():
        read = Stage(name="read", part="train", folder=training.folder, commands=[],
                     replacements=dict, inputs=lambda: inputs,
                     outputs=partial(_read_files, training))
        journal.run(read, partial(_read, training, start, inputs))
        recipe = validate_source(SpladeRecipe, read_yaml(training.file(_RECIPE)), "recipe")
        data = OwnData(**read_json(training.file(_DATA), dict)["holds"])
        stages = [] if data.negatives else _mining_stages(training, start, recipe)
        last = _train_words(training, start, data)
        for line in _explained(training, recipe, [*(own.commands[0] for own in stages), last]):
            report_stage(*line)
        for stage in stages:
            journal.run(stage, partial(run_commands, stage, invoke))
        return invoke([*last, *option("resume", (training.output / BEGUN).exists())])


def _refuse_other(training: OwnTraining, inputs: dict[str, str]) -> None:
    """Raises InputError if the folders hold another training, or files that none wrote."""
    folder, record = training.folder, training.file(_DATA)
    if folder.exists() and not training.file(JOURNAL).exists() and any(
            path.name != ".lock" for path in folder.iterdir()):
        raise InputError(f"{folder}: has files in it that no training wrote; choose another "
                         "`output`")
    if training.replace or not (training.output / BEGUN).exists():
        return
    if not record.exists():
        raise InputError(f"{training.output}: holds a training that was not begun with `data`; "
                         "choose another `output`, or `overwrite`")
    before = read_json(record, dict).get("inputs", {})
    if differing := [key for key, value in inputs.items() if before.get(key) != value]:
        raise InputError(f"{training.output}: holds another training (other "
                         f"{', '.join(differing)}); choose another `output`, or `overwrite`")


def _read(training: OwnTraining, start: Checkpoint, inputs: dict[str, str]) -> str:
    """Writes the files of the data and the recipe; returns a line for people."""
    for name in (CANDIDATES, SCORES):  # of other data
        training.file(name).unlink(missing_ok=True)
    data = write_own_data(training.data, training.folder)
    recipe = _recipe(training, start, data)
    section = recipe.training
    assert section is not None
    if bool(section.teachers) != data.scored:
        has, says = ("has", "has no teachers") if data.scored else ("has no", "has teachers")
        raise InputError(f"`data` {training.data}: {has} scores, but the recipe {says}; "
                         "`quick` chooses a recipe that fits")
    if section.sample and data.negatives:
        raise InputError(f"sample {section.sample}: of questions whose negatives are mined, but "
                         "the data has its own; leave it out")
    with appearing(training.file(_RECIPE)) as stream:
        yaml.safe_dump(recipe.model_dump(exclude_none=True, exclude={"expected"}), stream,
                       sort_keys=False, allow_unicode=True, width=100)
    with appearing(training.file(_DATA)) as stream:
        stream.write(json.dumps({"inputs": inputs, "source": training.data,
                                 "holds": data._asdict()}, indent=1) + "\n")
    if data.scored and data.spread < _LEAST_SPREAD:
        warn(f"{training.data}: the highest and the lowest score of a question differ by "
             f"{data.spread:.2g} on average; KL and MarginMSE take scores as they are, in units of "
             "dot products, and learn little from such ones: multiply them, to some 10")
    kind = "no negatives" if data.negatives is None else "{:,} to {:,} negatives".format(
        *data.negatives)
    return (f"{data.queries:,} questions, {data.documents:,} texts, {kind} each, "
            f"{'with' if data.scored else 'without'} scores")


def _recipe(training: OwnTraining, start: Checkpoint, data: OwnData) -> SpladeRecipe:
    """The recipe with the user's changes, and the sources of what they leave."""
    recipe = training.recipe
    if recipe is None:
        splade = load_splade(start, torch.float32, "cpu")
        parameters = sum(own.numel() for own in splade.parameters())
        held_out = 0 if training.validates else held_out_count(data.queries)
        recipe = SpladeRecipe.model_validate(quick_recipe(
            start, data, splade.max_positions, parameters, held_out))
    section = recipe.training
    if section is None:
        raise InputError("`recipe`: has no training section")
    changed = changed_training(section, training.changes)
    values = flatten(changed.model_dump(exclude={"sources"}))
    sources = {key: why for key, why in section.sources.items()
               if values.get(key) == flatten(section.model_dump()).get(key)}
    changed = changed.model_copy(update={"start": start.name, "corpus": CORPUS, "topics": TOPICS,
                                         "qrels": QRELS, "sources": sources})
    return recipe.model_copy(update={"training": changed})


def _read_files(training: OwnTraining) -> list[Path]:
    names = (CORPUS, TOPICS, QRELS, CANDIDATES, SCORES, _RECIPE, _DATA)
    # mined candidates are of a later stage
    has = OwnData(**read_json(training.file(_DATA), dict)["holds"])
    return [training.file(name) for name in names
            if (name != CANDIDATES or has.negatives) and (name != SCORES or has.scored)]


def _mining_stages(training: OwnTraining, start: Checkpoint, recipe: SpladeRecipe) -> list[Stage]:
    section, file = recipe.training, training.file
    assert section is not None
    draw, device = section.candidates, _device_words(training)
    first = start if draw.first_stage == start.name else open_checkpoint(draw.first_stage)
    length = recipe.settings.max_length

    def stage(name: str, words: list[str], inputs: Callable[[], dict[str, str]],
              outputs: Callable[[], Any]) -> Stage:
        return Stage(name=name, part="train", folder=training.folder, commands=[words],
                     replacements=dict, inputs=inputs, outputs=outputs)

    return [
        stage("encode", [
            _PROGRAM, "encode", *option("model", first.name), *option("corpus", file(CORPUS)),
            *option("output", file("encoded")), *option("max-length", length),
            *option("overwrite", True), *device],
            lambda: {"model": model_hash(first), "corpus": sha256_of(file(CORPUS)),
                     "max_length": str(length)},
            lambda: encoded_files(file("encoded"))),
        stage("index", [
            _PROGRAM, "index", *option("encoded", file("encoded")), *option("index", file("index")),
            *option("overwrite", True)],
            lambda: {"encoded": sha256_of(file("encoded") / MANIFEST)},
            lambda: [file("index") / INDEX_MANIFEST]),
        stage("mine", [
            _PROGRAM, "mine", *option("index", file("index")), *option("topics", file(TOPICS)),
            *option("qrels", file(QRELS)), *option("output", file(CANDIDATES)),
            *option("top", draw.top), *option("random", draw.random), *option("depth", draw.depth),
            *option("seed", draw.seed), *option("max-length", section.max_length),
            *option("sample", section.sample), *device],
            lambda: {"index": sha256_of(file("index") / INDEX_MANIFEST),
                     "topics": sha256_of(file(TOPICS)), "qrels": sha256_of(file(QRELS)),
                     "draw": draw.model_dump_json(), "sample": str(section.sample),
                     "max_length": str(section.max_length)},
            lambda: [file(CANDIDATES)])]


def _train_words(training: OwnTraining, start: Checkpoint, data: OwnData) -> list[str]:
    file = training.file
    validate = None if training.validates or training.recipe else held_out_count(data.queries)
    return [_PROGRAM, "train", *option("recipe", file(_RECIPE)),
            *option("candidates", file(CANDIDATES)),
            *option("scores", file(SCORES) if data.scored else None),
            *option("corpus", file(CORPUS)), *option("topics", file(TOPICS)),
            *option("start-from", start.name), *option("output", training.output),
            *option("validate", validate),
            *(option("keep", "better") if validate and "--keep" not in training.options else []),
            *training.options,
            *option("overwrite", training.replace), *_device_words(training)]


def _device_words(training: OwnTraining) -> list[str]:
    return option("device", None if training.device == "auto" else training.device)


def _explained(training: OwnTraining, recipe: SpladeRecipe,
               commands: list[list[str]]) -> list[tuple[str, str]]:
    """(what, value) of the recipe's values, and of the commands that repeat the training."""
    section = recipe.training
    assert section is not None
    values = flatten(section.model_dump(exclude={"sources"}, exclude_none=True))
    lines = [("recipe", str(training.file(_RECIPE)))]
    lines += [(key, f"{value}{f'  ({section.sources[key]})' if key in section.sources else ''}")
              for key, value in values.items()]
    return lines + [("command", command_text(words)) for words in commands]


def _hash_of(files: Sequence[Path]) -> str:
    digests = "\n".join(map(sha256_of, files))
    return hashlib.sha256(digests.encode()).hexdigest()
