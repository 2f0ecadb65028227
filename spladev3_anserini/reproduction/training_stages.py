"""A recipe's training section -> the stages that train its model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

from spladev3_anserini.collection.fingerprint import source_fingerprint
from spladev3_anserini.errors import InputError, refuse_without
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.shards import MANIFEST
from spladev3_anserini.lucene.check import INDEX_MANIFEST
from spladev3_anserini.model.checkpoint import Checkpoint, model_hash
from spladev3_anserini.rankers.registry import find_pair_scorer, pair_scorer_hash
from spladev3_anserini.recipe.library import default_folder
from spladev3_anserini.recipe.training import deciding_values, trainer_of
from spladev3_anserini.recipe.validation import changed_training
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.reproduction.models import usable_checkpoint
from spladev3_anserini.reproduction.session import Session
from spladev3_anserini.reproduction.sources import Sources
from spladev3_anserini.reproduction.stage import Inputs, Stage, encoded_files, option
from spladev3_anserini.reproduction.training_files import (
    TrainingFiles,
    first_stage_length,
    training_files,
    training_rounds,
)
from spladev3_anserini.training.checkpoints import ranks_of
from spladev3_anserini.training.launch import torchrun_words, world_size
from spladev3_anserini.training.mining import NegativeSampling
from spladev3_anserini.training.score_files import SCORE_MANIFEST

_PROGRAM = "spladev3-anserini"


def training_stages(session: Session) -> list[Stage]:
    """Returns the stages of a training: first-stage index, mining, scoring, combining, training.

    Each further round has them too.
    """
    rounds = training_rounds(session.experiment)
    return [stage for number in range(1, len(rounds) + 1)
            for stage in _Training(session, rounds[:number]).stages()]


def training_sources(experiment: Experiment) -> Sources:
    """Returns the resolver of the sources that a training section names."""
    return Sources(experiment.training_file, None, experiment.output / "collections")


def refuse_untrainable(experiment: Experiment) -> None:
    """Raises InputError if the start model, a teacher or a needed package is not available.

    It is called before hours of work that would otherwise fail at the end.
    """
    refuse_without("accelerate", "training", "train")
    section = experiment.recipe.training
    assert section is not None
    if not trainer_of(section.start):
        usable_checkpoint(section.start, experiment.output)
    for name in section.teachers:
        find_pair_scorer(name, section.teacher_templates.get(name))


def refuse_other_ranks(experiment: Experiment, ranks: int) -> None:
    """Raises InputError if the model was trained, or begun, by another number of ranks.

    Their number decides the weights. A training that took days is not replaced for a forgotten
    option.
    """
    for model in (files.model for files in training_rounds(experiment)):
        begun = ranks_of(model)
        if begun in (None, ranks):
            continue
        raise InputError(f"`ranks` {ranks}: {model} was begun with {begun}; ask for as many, or "
                         "remove that folder to train it anew")


class _Training:
    """Builds the stages of one round of a training, which share its sources and models.

    After the first round, the model of the round before takes the place of the first stage's model
    and of the start.
    """

    def __init__(self, session: Session, rounds: Sequence[TrainingFiles]) -> None:
        """Takes the files of this round, last, and of those before it."""
        self.session, self.experiment, self.options = session, session.experiment, session.options
        section = self.experiment.recipe.training
        assert section is not None
        self.earlier, self.files = rounds[:-1], rounds[-1]
        self.before = str(rounds[-2].model) if self.earlier else None
        self.of = f"round {len(rounds)} of {section.rounds}" if section.rounds > 1 else ""
        # the table of static queries goes on too, as the model before has it
        self.changes = [change for change, needed in (
            ("query_table.begin=given", section.query_table.begin != "given"),
            ("query_table.scale=false", section.query_table.scale)) if needed and self.earlier]
        self.section = changed_training(section, self.changes)
        self.first_name = self.before or section.candidates.first_stage
        self.start_name = self.before or (str(training_files(self.experiment.firsts[0]).model)
                                          if trainer_of(section.start) else section.start)
        self.query_weights = None if self.earlier else self.experiment.settings.query_weights
        self.sources = training_sources(self.experiment)
        folders = [self.files.scores_of(name) for name in section.teachers]
        if len(set(folders)) < len(folders):
            raise InputError(f"{self.experiment.recipe_file}: teachers: two of them have the same "
                             "name, and so the same folder of scores; rename one")

    def stages(self) -> list[Stage]:
        return [self.first_encode(), self.first_index(), self.mine(),
                *map(self.score, self.section.teachers),
                *([self.combine()] if self.section.teachers else []), self.train()]

    @cached_property
    def first_model(self) -> Checkpoint:
        return self._open(self.first_name)

    @cached_property
    def start(self) -> Checkpoint:
        return self._open(self.start_name)

    def _open(self, name: str) -> Checkpoint:
        return usable_checkpoint(name, self.experiment.output, pickled=not self.earlier)

    @property
    def draw(self) -> NegativeSampling:
        candidates = self.section.candidates
        return NegativeSampling(top=candidates.top, random=candidates.random,
                                depth=candidates.depth, seed=candidates.seed)

    @property
    def corpus(self) -> str:
        return self.sources.argument(self.section.corpus)

    @property
    def topics(self) -> str:
        return self.sources.argument(self.section.topics)

    def replacements(self) -> dict[str, str]:
        """Returns {word: replacement} for the words of commands that differ on this machine."""
        section = self.section
        words = {self.sources.argument(source): self.sources.resolve(source)
                 for source in (section.corpus, section.topics, section.qrels,
                                *self._validation().values())}
        if self.query_weights and self.session.query_weights:
            words[str(self.experiment.settings.query_weights)] = self.session.query_weights
        return words | {self.first_name: self.first_model.name, self.start_name: self.start.name}

    def first_encode(self) -> Stage:
        """Returns the stage that encodes the corpus for mining.

        The first stage's model is of the variant `splade-v3`: it expands queries and documents. A
        later round mines as its model will be searched, with the queries of its own variant.
        """
        variant = self.experiment.splade.variant if self.earlier else "splade-v3"
        length = first_stage_length(self.experiment)
        return self._stage(
            "first encode", self.files.first_stage, [
                _PROGRAM, "encode", *option("model", self.first_name),
                *option("variant", variant), *option("corpus", self.corpus),
                *option("output", self.files.encoded), *option("max-length", length),
                *option("overwrite", True), *self.options.arguments("device")],
            lambda: {"weights": model_hash(self.first_model), **self._source_fingerprints("corpus"),
                     "max_length": str(length), **({"variant": variant} if self.earlier else {})},
            lambda: encoded_files(self.files.encoded))

    def first_index(self) -> Stage:
        return self._stage(
            "first index", self.files.first_stage, [
                _PROGRAM, "index", *option("encoded", self.files.encoded),
                *option("index", self.files.index), *option("overwrite", True)],
            lambda: {"encoded": sha256_of(self.files.encoded / MANIFEST)},
            lambda: [self.files.index / INDEX_MANIFEST])

    def mine(self) -> Stage:
        section, draw = self.section, self.draw
        return self._stage(
            "mine", self.files.data, [
                _PROGRAM, "mine", *option("index", self.files.index), *option("model", self.before),
                *option("topics", self.topics),
                *option("qrels", self.sources.argument(section.qrels)),
                *option("output", self.files.candidates), *option("top", draw.top),
                *option("random", draw.random), *option("depth", draw.depth),
                *option("seed", draw.seed), *option("max-length", section.max_length),
                *option("sample", section.sample), *self.options.arguments("threads", "device")],
            lambda: {"index": sha256_of(self.files.index / INDEX_MANIFEST),
                     **self._source_fingerprints("topics", "qrels"), "draw": repr(draw),
                     "sample": str(section.sample)},
            lambda: [self.files.candidates])

    def score(self, teacher: str) -> Stage:
        section = self.section
        length, template = section.teacher_max_length, section.teacher_templates.get(teacher)
        dtype = None if section.teacher_dtype == "auto" else section.teacher_dtype
        chosen = {"template": template, "dtype": dtype}
        scored = {f"scored in round {number}": files
                  for number, files in enumerate(self.earlier, start=1)}
        return self._stage(
            f"score {teacher}", self.files.data, [
                _PROGRAM, "score", *self._input_arguments(), *option("cross-encoder", teacher),
                *option("output", self.files.scores), *option("max-length", length),
                *(word for files in scored.values() for word in option("scored", files.scores)),
                *option("template", template), *option("dtype", dtype),
                *option("no-ensemble", True), *option("overwrite", True),
                *self.options.arguments("device")],
            lambda: {"candidates": sha256_of(self.files.candidates),
                     "teacher": pair_scorer_hash(teacher, template), "max_length": str(length),
                     **{key: value for key, value in chosen.items() if value},
                     **self._source_fingerprints("corpus", "topics"),
                     **{name: sha256_of(files.scores_of(teacher) / SCORE_MANIFEST)
                        for name, files in scored.items()}},
            lambda: [self.files.scores_of(teacher) / SCORE_MANIFEST])

    def combine(self) -> Stage:
        folders = [self.files.scores_of(name) for name in self.section.teachers]
        rescore: list[str] = []
        if isinstance(self.section.rescore, list):
            rescore = [f"--rescore={','.join(map(str, self.section.rescore))}"]
        elif self.section.rescore:  # True: like the first teacher's raw scores
            rescore = option("rescore-like", folders[0])
        if self.section.rescore_each == "query":
            rescore += option("rescore-each", "query")
        return self._stage(
            "combine", self.files.recipe, [
                _PROGRAM, "combine", *option("candidates", self.files.candidates),
                *(word for folder in folders for word in option("scores", folder)),
                *option("output", self.files.ensemble), *rescore],
            lambda: {f"scores {folder.name}": sha256_of(folder / SCORE_MANIFEST)
                     for folder in folders}
            | {"rescore": f"like {folders[0].name}" if self.section.rescore is True
               else str(self.section.rescore), "rescore_each": self.section.rescore_each},
            lambda: [self.files.ensemble])

    def train(self) -> Stage:
        section, library = self.section, self.experiment.library.folder
        file, variant = self.experiment.recipe_file, self.experiment.splade.variant
        scores = self.files.ensemble if section.teachers else None

        def inputs() -> Inputs:
            values = deciding_values(section)
            if self.options.ranks > 1:
                values["ranks"] = self.options.ranks
            if self.query_weights and (table := self.session.query_weights_hash):
                values["query_weights"] = table
            return {"start": model_hash(self.start),
                    "tokenizer": self.start.settings.load_tokenizer().sha256, "variant": variant,
                    "candidates": sha256_of(self.files.candidates),
                    **({"ensemble": sha256_of(self.files.ensemble)} if scores else {}),
                    **self._source_fingerprints("corpus", "topics"),
                    **{f"validation {part}": self._fingerprint(part, source)
                       for part, source in self._validation().items()},
                    **{key: json.dumps(value) for key, value in values.items()}}

        return self._stage(
            "train", self.files.recipe, [
                *self._train_words(),
                *option("recipe", self.experiment.recipe_name if file.is_relative_to(library)
                        else file),
                *([] if library == default_folder() else option("recipes", library)),
                *self._input_arguments(), *option("scores", scores),
                *option("start-from", self.start_name),
                *option("query-weights", self.query_weights),
                *(word for change in self.changes for word in option("set", change)),
                *(word for part, source in self._validation().items()
                  for word in option(f"validate-{part}", self.sources.argument(source))),
                *option("output", self.files.model),
                *option("overwrite", True), *self.options.arguments("device")],
            inputs,
            lambda: [self.files.model / name for name in ("model.safetensors", "config.json")])

    def _validation(self) -> dict[str, str]:
        """Returns the sources of the section's validation: topics and qrels, if it names them."""
        stated = self.section.validation
        return {"topics": stated.topics, "qrels": stated.qrels} \
            if stated and stated.topics and stated.qrels else {}

    def _train_words(self) -> list[str]:
        """Returns the words that begin the command; under torchrun this process is a rank."""
        ranks = self.options.ranks
        return torchrun_words(ranks) if ranks > world_size() else [_PROGRAM, "train"]

    def _stage(self, name: str, folder: Path, command: list[str],
               inputs: Callable[[], Inputs], outputs: Callable[[], Iterable[Path]]) -> Stage:
        return Stage(name=name, part="train", folder=folder, commands=[command],
                     replacements=self.replacements, inputs=inputs, outputs=outputs, of=self.of)

    def _input_arguments(self) -> list[str]:
        return [*option("candidates", self.files.candidates), *option("corpus", self.corpus),
                *option("topics", self.topics)]

    def _source_fingerprints(self, *names: str) -> dict[str, str]:
        """Returns the fingerprints of the section's sources `names`, by name."""
        return {name: self._fingerprint(name, getattr(self.section, name)) for name in names}

    def _fingerprint(self, name: str, source: str) -> str:
        parts = {"corpus": "docs", "topics": "queries", "qrels": "qrels"}
        return source_fingerprint(self.sources.resolve(source), parts[name])
