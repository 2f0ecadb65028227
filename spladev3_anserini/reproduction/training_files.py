"""A recipe's training section -> where the files of its stages go."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from spladev3_anserini.recipe.schema import is_path
from spladev3_anserini.recipe.training import Training
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.training.score_files import teacher_folder


@dataclass(frozen=True, kw_only=True)
class TrainingFiles:
    """Where a training's files go. The names of `first_stage` and `data` come from what decides
    the files inside, so that recipes share them; `recipe` is the recipe's own folder."""

    first_stage: Path
    data: Path
    recipe: Path
    teacher_length: int

    @property
    def encoded(self) -> Path:
        return self.first_stage / "encoded"

    @property
    def index(self) -> Path:
        return self.first_stage / "index"

    @property
    def candidates(self) -> Path:
        return self.data / "candidates.jsonl"

    @property
    def scores(self) -> Path:
        return self.data / f"scores-{self.teacher_length}"

    @property
    def ensemble(self) -> Path:
        return self.recipe / "ensemble.jsonl"

    @property
    def model(self) -> Path:
        return self.recipe / "model"

    def scores_of(self, teacher: str) -> Path:
        """The folder of one teacher's scores."""
        return teacher_folder(self.scores, teacher)


def training_files(experiment: Experiment) -> TrainingFiles:
    """Where the stages of an experiment's training leave their files."""
    section = experiment.recipe.training
    assert section is not None
    shared = experiment.output / "training-data"
    first, mined = section.candidates.first_stage, _mined_from(experiment, section)
    return TrainingFiles(
        first_stage=shared / f"first-{_key(experiment, section, first)}",
        data=shared / f"scores-{_key(experiment, section, mined)}",
        recipe=experiment.output / experiment.recipe_name / "training",
        teacher_length=section.teacher_max_length)


def first_stage_length(experiment: Experiment) -> int:
    """Wordpieces per document of the first stage's index."""
    return experiment.splade.settings.max_length or 256


def _mined_from(experiment: Experiment, section: Training) -> str:
    """What decides the candidates, as text."""
    values = section.model_dump(include={"sample", "candidates", "max_length"})
    values |= {name: _absolute(experiment, getattr(section, name)) for name in ("topics", "qrels")}
    return json.dumps(values, sort_keys=True)


def _key(experiment: Experiment, section: Training, decided_by: str) -> str:
    """A short name for what a corpus, the first stage's length and `decided_by` make."""
    parts = (_absolute(experiment, section.corpus), str(first_stage_length(experiment)),
             decided_by)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _absolute(experiment: Experiment, source: str) -> str:
    """A source by a name that does not depend on the file that names it."""
    folder = experiment.training_file.parent.resolve()
    return str(folder / source) if is_path(source) else source
