"""A recipe's training section -> the stages that train its model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path

from spladev3_anserini.collection.fingerprint import source_fingerprint
from spladev3_anserini.errors import InputError, refuse_without
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.shards import IMPACTS, MANIFEST, read_manifest
from spladev3_anserini.lucene.check import INDEX_MANIFEST
from spladev3_anserini.model.checkpoint import Checkpoint, model_hash
from spladev3_anserini.rankers.registry import find_pair_scorer, pair_scorer_hash
from spladev3_anserini.recipe.library import default_folder
from spladev3_anserini.recipe.training import flatten
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.reproduction.models import usable_checkpoint
from spladev3_anserini.reproduction.session import Session
from spladev3_anserini.reproduction.sources import Sources
from spladev3_anserini.reproduction.stage import Inputs, Stage, option
from spladev3_anserini.reproduction.training_files import first_stage_length, training_files
from spladev3_anserini.training.checkpoints import ranks_of
from spladev3_anserini.training.launch import torchrun_words, world_size
from spladev3_anserini.training.mining import NegativeSampling
from spladev3_anserini.training.score_files import SCORE_MANIFEST

_PROGRAM = "spladev3-anserini"


def training_stages(session: Session) -> list[Stage]:
    """Returns the stages of a training: first-stage index, mining, scoring, combining, training."""
    training = _Training(session)
    return [training.first_encode(), training.first_index(), training.mine(),
            *map(training.score, training.section.teachers), training.combine(), training.train()]


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
    usable_checkpoint(section.start, experiment.output)
    for name in section.teachers:
        find_pair_scorer(name, section.teacher_templates.get(name))


def refuse_other_ranks(experiment: Experiment, ranks: int) -> None:
    """Raises InputError if the model was trained, or begun, by another number of ranks.

    Their number decides the weights. A training that took days is not replaced for a forgotten
    option.
    """
    model = training_files(experiment).model
    begun = ranks_of(model)
    if begun not in (None, ranks):
        raise InputError(f"`ranks` {ranks}: {model} was begun with {begun}; ask for as many, or "
                         "remove that folder to train it anew")


def encoded_files(folder: Path) -> Iterator[Path]:
    """Yields the files of an encoded directory that a stage records: the manifest and shards."""
    yield folder / MANIFEST
    for shard in read_manifest(folder).shards:
        yield folder / IMPACTS / shard.name


class _Training:
    """Builds the stages of one training, which share its sources and models."""

    def __init__(self, session: Session) -> None:
        self.session, self.experiment, self.options = session, session.experiment, session.options
        section = self.experiment.recipe.training
        assert section is not None
        self.section, self.files = section, training_files(self.experiment)
        self.sources = training_sources(self.experiment)
        folders = [self.files.scores_of(name) for name in section.teachers]
        if len(set(folders)) < len(folders):
            raise InputError(f"{self.experiment.recipe_file}: teachers: two of them have the same "
                             "name, and so the same folder of scores; rename one")

    @cached_property
    def first_model(self) -> Checkpoint:
        return usable_checkpoint(self.section.candidates.first_stage, self.experiment.output)

    @cached_property
    def start(self) -> Checkpoint:
        return usable_checkpoint(self.section.start, self.experiment.output)

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
                 for source in (section.corpus, section.topics, section.qrels)}
        if self.session.query_weights:
            words[str(self.experiment.settings.query_weights)] = self.session.query_weights
        return words | {section.candidates.first_stage: self.first_model.name,
                        section.start: self.start.name}

    def first_encode(self) -> Stage:
        """Returns the stage that encodes the corpus for mining.

        The first stage's model is of the variant `splade-v3`: it expands queries and documents.
        """
        length = first_stage_length(self.experiment)
        return self._stage(
            "first encode", self.files.first_stage, [
                _PROGRAM, "encode", *option("model", self.section.candidates.first_stage),
                *option("variant", "splade-v3"), *option("corpus", self.corpus),
                *option("output", self.files.encoded), *option("max-length", length),
                *option("overwrite", True), *self.options.arguments("device")],
            lambda: {"weights": model_hash(self.first_model), **self._source_fingerprints("corpus"),
                     "max_length": str(length)},
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
                _PROGRAM, "mine", *option("index", self.files.index),
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
        return self._stage(
            f"score {teacher}", self.files.data, [
                _PROGRAM, "score", *self._input_arguments(), *option("cross-encoder", teacher),
                *option("output", self.files.scores), *option("max-length", length),
                *option("template", template), *option("dtype", dtype),
                *option("no-ensemble", True), *option("overwrite", True),
                *self.options.arguments("device")],
            lambda: {"candidates": sha256_of(self.files.candidates),
                     "teacher": pair_scorer_hash(teacher, template), "max_length": str(length),
                     **{key: value for key, value in chosen.items() if value},
                     **self._source_fingerprints("corpus", "topics")},
            lambda: [self.files.scores_of(teacher) / SCORE_MANIFEST])

    def combine(self) -> Stage:
        folders = [self.files.scores_of(name) for name in self.section.teachers]
        rescore: list[str] = []
        if isinstance(self.section.rescore, list):
            rescore = [f"--rescore={','.join(map(str, self.section.rescore))}"]
        elif self.section.rescore:  # True: like the first teacher's raw scores
            rescore = option("rescore-like", folders[0])
        return self._stage(
            "combine", self.files.recipe, [
                _PROGRAM, "combine", *option("candidates", self.files.candidates),
                *(word for folder in folders for word in option("scores", folder)),
                *option("output", self.files.ensemble), *rescore],
            lambda: {f"scores {folder.name}": sha256_of(folder / SCORE_MANIFEST)
                     for folder in folders}
            | {"rescore": str(self.section.rescore)},
            lambda: [self.files.ensemble])

    def train(self) -> Stage:
        section, library = self.section, self.experiment.library.folder
        file, variant = self.experiment.recipe_file, self.experiment.splade.variant

        def inputs() -> Inputs:
            # what templates and precision of teachers decide is in the ensemble
            values = flatten(section.model_dump(exclude={
                "sources", "corpus", "start", "teacher_templates", "teacher_dtype"}))
            if self.options.ranks > 1:
                values["ranks"] = self.options.ranks
            if table := self.session.query_weights_hash:
                values["query_weights"] = table
            return {"start": model_hash(self.start),
                    "tokenizer": self.start.settings.load_tokenizer().sha256, "variant": variant,
                    "candidates": sha256_of(self.files.candidates),
                    "ensemble": sha256_of(self.files.ensemble),
                    **self._source_fingerprints("corpus", "topics"),
                    **{key: json.dumps(value) for key, value in values.items()}}

        return self._stage(
            "train", self.files.recipe, [
                *self._train_words(),
                *option("recipe", self.experiment.recipe_name if file.is_relative_to(library)
                        else file),
                *([] if library == default_folder() else option("recipes", library)),
                *self._input_arguments(), *option("scores", self.files.ensemble),
                *option("start-from", section.start),
                *option("query-weights", self.experiment.settings.query_weights),
                *option("output", self.files.model),
                *option("overwrite", True), *self.options.arguments("device")],
            inputs,
            lambda: [self.files.model / name for name in ("model.safetensors", "config.json")])

    def _train_words(self) -> list[str]:
        """Returns the words that begin the command; under torchrun this process is a rank."""
        ranks = self.options.ranks
        return torchrun_words(ranks) if ranks > world_size() else [_PROGRAM, "train"]

    def _stage(self, name: str, folder: Path, command: list[str],
               inputs: Callable[[], Inputs], outputs: Callable[[], Iterable[Path]]) -> Stage:
        return Stage(name=name, part="train", folder=folder, commands=[command],
                     replacements=self.replacements, inputs=inputs, outputs=outputs)

    def _input_arguments(self) -> list[str]:
        return [*option("candidates", self.files.candidates), *option("corpus", self.corpus),
                *option("topics", self.topics)]

    def _source_fingerprints(self, *names: str) -> dict[str, str]:
        """Returns the fingerprints of the section's sources `names`, by name."""
        parts = {"corpus": "docs", "topics": "queries", "qrels": "qrels"}
        return {name: source_fingerprint(self.sources.resolve(getattr(self.section, name)),
                                         parts[name]) for name in names}
