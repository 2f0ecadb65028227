"""A recipe's training section -> the paths of the files that its stages write."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from spladev3_anserini.recipe.schema import is_path
from spladev3_anserini.recipe.training import Training
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.training.score_files import teacher_folder


@dataclass(frozen=True, kw_only=True)
class TrainingFiles:
    """The paths of the files of one round of a training.

    Recipes share `first_stage` and `data` of the first round: the names of these folders are hashes
    of everything that decides the files inside. Only one recipe uses the folder `recipe`, and those
    of later rounds. `teacher_length` is the teachers' maximum length in wordpieces, `teacher_dtype`
    their precision.
    """

    first_stage: Path
    data: Path
    recipe: Path
    teacher_length: int
    teacher_dtype: str

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
        dtype = "" if self.teacher_dtype == "auto" else f"-{self.teacher_dtype}"
        return self.data / f"scores-{self.teacher_length}{dtype}"

    @property
    def ensemble(self) -> Path:
        return self.recipe / "ensemble.jsonl"

    @property
    def model(self) -> Path:
        return self.recipe / "model"

    def scores_of(self, teacher: str) -> Path:
        """Returns the folder of one teacher's scores."""
        return teacher_folder(self.scores, teacher)


def training_files(experiment: Experiment) -> TrainingFiles:
    """Returns the paths of the files of the last round, whose model is the recipe's."""
    return training_rounds(experiment)[-1]


def training_rounds(experiment: Experiment) -> list[TrainingFiles]:
    """Returns the paths of the files that an experiment's training stages write, by round.

    The last round writes its model where a recipe of one round does.
    """
    section = experiment.recipe.training
    assert section is not None
    shared = experiment.output / "training-data"
    own = experiment.output / experiment.recipe_name / "training"
    first_stage, mining = section.candidates.first_stage, _candidate_inputs(experiment, section)
    rounds = [TrainingFiles(
        first_stage=shared / f"first-{_folder_key(experiment, section, first_stage)}",
        data=shared / f"scores-{_folder_key(experiment, section, mining)}",
        recipe=own / "round-1", teacher_length=section.teacher_max_length,
        teacher_dtype=section.teacher_dtype)]
    for number in range(2, section.rounds + 1):
        folder = own / f"round-{number}"
        rounds.append(replace(rounds[0], first_stage=folder, data=folder, recipe=folder))
    return [*rounds[:-1], replace(rounds[-1], recipe=own)]


def first_stage_length(experiment: Experiment) -> int:
    """Returns the maximum number of wordpieces per document in the first stage's index."""
    return experiment.splade.settings.max_length or 256


def _candidate_inputs(experiment: Experiment, section: Training) -> str:
    """Returns everything that decides which candidates are mined, as text."""
    values = section.model_dump(include={"sample", "candidates", "max_length"},
                                exclude={"candidates": {"drop_above"}})
    values |= {name: _absolute_source(experiment, getattr(section, name))
               for name in ("topics", "qrels")}
    return json.dumps(values, sort_keys=True)


def _folder_key(experiment: Experiment, section: Training, decided_by: str) -> str:
    """Returns a short hash of the corpus, the first stage's length and `decided_by`."""
    parts = (_absolute_source(experiment, section.corpus), str(first_stage_length(experiment)),
             decided_by)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _absolute_source(experiment: Experiment, source: str) -> str:
    """Returns a source in a form that does not depend on the recipe's folder."""
    folder = experiment.training_file.parent.resolve()
    return str(folder / source) if is_path(source) else source
