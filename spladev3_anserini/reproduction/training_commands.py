"""A recipe's training section -> where its files go, and the commands that make them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.recipe.library import default_folder
from spladev3_anserini.recipe.schema import is_path
from spladev3_anserini.recipe.training import Training
from spladev3_anserini.reproduction.cell import Cell
from spladev3_anserini.reproduction.data import Sources
from spladev3_anserini.training.score_files import teacher_folder


class Folders(NamedTuple):
    """`first` and `data` are named by what decides their files, so that recipes share them."""

    first: Path
    data: Path
    own: Path
    teacher_length: int

    @property
    def candidates(self) -> Path:
        return self.data / "candidates.jsonl"

    @property
    def scores(self) -> Path:
        return self.data / f"scores-{self.teacher_length}"

    @property
    def model(self) -> Path:
        return self.own / "model"

    def teacher(self, name: str) -> Path:
        return teacher_folder(self.scores, name)


def training_folders(cell: Cell) -> Folders:
    """Where the stages of a cell's training leave their files."""
    section = cell.recipe.training
    assert section is not None
    shared = cell.output / "training-data"
    return Folders(shared / f"first-{_key(cell, section, section.candidates.first_stage)}",
                   shared / f"scores-{_key(cell, section, _mined_from(cell, section))}",
                   cell.output / cell.recipe_name / "training", section.teacher_max_length)


def training_sources(cell: Cell) -> Sources:
    """What resolves the sources a training section names."""
    return Sources(cell.training_file, None, cell.output / "collections")


def first_stage_length(cell: Cell) -> int:
    """Wordpieces per document of the first stage's index."""
    return cell.recipe.settings.max_length or 256


def training_commands(cell: Cell) -> list[list[str]]:
    """From the first stage's index to the trained model."""
    section, program, own = cell.recipe.training, "spladev3-anserini", training_folders(cell)
    assert section is not None
    sources, drawn = training_sources(cell), section.candidates
    corpus, topics, qrels = map(sources.shown, (section.corpus, section.topics, section.qrels))
    encoded, index, scores = own.first / "encoded", own.first / "index", own.scores
    data = ["--candidates", str(own.candidates), "--corpus", corpus, "--topics", topics]
    score = [program, "score", *data, "--output", str(scores), "--max-length",
             str(section.teacher_max_length), "--cross-encoder", section.teachers[0]]
    others = [word for name in section.teachers[1:] for word in ("--cross-encoder", name)]
    first = str(own.teacher(section.teachers[0]))
    recipe = cell.recipe_name if cell.recipe_file.is_relative_to(default_folder()) \
        else str(cell.recipe_file)
    if isinstance(section.rescore, list):
        scored = [[*score, *others, f"--rescore={','.join(map(str, section.rescore))}"]]
    elif section.rescore:  # to the first teacher's own scores
        scored = [score, [*score, *others, "--rescore-like", first]]
    else:
        scored = [[*score, *others]]
    return [
        *sources.commands(section.corpus),
        [program, "encode", "--model", drawn.first_stage, "--variant", "splade-v3", "--corpus",
         corpus, "--output", str(encoded), "--max-length", str(first_stage_length(cell))],
        [program, "index", "--encoded", str(encoded), "--index", str(index)],
        ["mkdir", "-p", str(own.data)],
        [program, "mine", "--index", str(index), "--topics", topics, "--qrels", qrels, "--output",
         str(own.candidates), "--top", str(drawn.top), "--random", str(drawn.random), "--depth",
         str(drawn.depth), "--seed", str(drawn.seed), "--max-length", str(section.max_length),
         *(["--sample", str(section.sample)] if section.sample else [])],
        *scored,
        [program, "train", "--recipe", recipe, *data, "--scores", str(scores / "ensemble.jsonl"),
         "--output", str(own.model)]]


def _mined_from(cell: Cell, section: Training) -> str:
    """What decides the candidates, as text."""
    own = section.model_dump(include={"sample", "candidates", "max_length"})
    own |= {name: _placed(cell, getattr(section, name)) for name in ("topics", "qrels")}
    return json.dumps(own, sort_keys=True)


def _key(cell: Cell, section: Training, decided_by: str) -> str:
    """A short name for what a corpus, the first stage's length and `decided_by` make."""
    parts = (_placed(cell, section.corpus), str(first_stage_length(cell)), decided_by)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _placed(cell: Cell, source: str) -> str:
    """A source as it is known whatever file names it."""
    return str(cell.training_file.parent.resolve() / source) if is_path(source) else source
