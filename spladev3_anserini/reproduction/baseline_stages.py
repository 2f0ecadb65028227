"""A ranker to compare with -> the stage that ranks with it."""

from __future__ import annotations

import hashlib

from spladev3_anserini.files import sha256_of
from spladev3_anserini.lucene.jvm import versions
from spladev3_anserini.model.weights import MODEL_FILES, folder_hash
from spladev3_anserini.rankers.dense_models import find_dense_model
from spladev3_anserini.rankers.registry import find_pair_scorer
from spladev3_anserini.recipe.baseline import Baseline, Bm25, Dense, Fuse, Rerank
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.reproduction.models import converted_folder, usable_checkpoint
from spladev3_anserini.reproduction.result import read_result
from spladev3_anserini.reproduction.session import Session
from spladev3_anserini.reproduction.stage import Inputs, Stage, option
from spladev3_anserini.text import VERSION

_PROGRAM = "spladev3-anserini"
#: {key of a recipe: option of the command}, where the names differ.
_OPTIONS = {"teacher": "cross-encoder"}


def baseline_search_stage(baseline: Baseline, session: Session) -> Stage:
    """Returns the stage that ranks with a baseline.

    It is one stage for all query sets, because its index is not kept after the stage.
    """
    experiment = session.experiment

    def inputs() -> Inputs:
        values = {name: str(value) for name, value in baseline.stated_values().items()} | {
            "corpus": session.note("corpus")["sha256"],
            "weights": model_of(baseline, session)[1], "package": VERSION}
        values |= versions() if isinstance(baseline, Bm25) else {"device": session.device}
        for name in session.sets:
            values[f"topics {name}"] = session.note(f"data.{name}")["topics"]
            values |= {f"{key} {name}": value
                       for key, value in session.search_inputs(name).items()}
            for first in experiment.firsts:
                of = f" of {first.recipe_name}" if len(experiment.firsts) > 1 else ""
                values[f"run {name}{of}"] = sha256_of(first.run_file(name))
        return values

    def replacements() -> dict[str, str]:
        words = session.replacements()
        if name := model_name(baseline):
            words[_model_argument(name, session)] = _readable_model(name, session)
        return words

    return Stage(
        name="search", part="search", folder=experiment.folder,
        commands=[_command(baseline, session, name) for name in session.sets],
        replacements=replacements, inputs=inputs,
        outputs=lambda: [experiment.run_file(name) for name in session.sets])


def model_name(baseline: Baseline) -> str | None:
    """Returns a baseline's model as its recipe names it; None for BM25 and fused runs."""
    if isinstance(baseline, Bm25 | Fuse):
        return None
    return baseline.model if isinstance(baseline, Dense) else baseline.teacher


def model_of(baseline: Baseline, session: Session) -> tuple[str, str]:
    """Returns the names of a baseline's models and a hash of everything that decides its scores.

    The hash has nothing of the runs that it re-ranks or fuses. Raises InputError if a model is not
    available.
    """
    if isinstance(baseline, Dense):
        folder = find_dense_model(_readable_model(baseline.model, session), baseline.pooling,
                                  baseline.similarity, baseline.query_max_length,
                                  baseline.max_length).folder
        return baseline.model, folder_hash(folder, (*MODEL_FILES, "*/config.json"))
    if isinstance(baseline, Rerank):
        kind, folder = find_pair_scorer(_readable_model(baseline.teacher, session),
                                        baseline.template)
        return baseline.teacher, folder_hash(folder, kind.files)
    if isinstance(baseline, Fuse):  # its weights too are in the hash
        settings = repr(baseline.stated_values())
        return " + ".join(baseline.of), hashlib.sha256(settings.encode()).hexdigest()
    return "BM25", hashlib.sha256(b"BM25").hexdigest()


def whole_hash(digest: str, experiment: Experiment) -> str:
    """Returns a baseline's hash with those of the results that it re-ranks or fuses."""
    if not experiment.firsts:
        return digest
    for first in experiment.firsts:
        result = read_result(first.folder)
        digest += f" {result.settings} {result.model_sha256}" if result else ""
    return hashlib.sha256(digest.encode()).hexdigest()


def _command(baseline: Baseline, session: Session, name: str) -> list[str]:
    """Returns the command line that ranks for one query set."""
    experiment, query_set = session.experiment, session.sets[name]
    runs = [first.run_file(name) for first in experiment.firsts]
    words = [_PROGRAM, baseline.kind]
    if isinstance(baseline, Fuse):
        words += [*map(str, runs), *option("hits", query_set.hits)]
    else:
        words += option("run", runs[0]) if runs else []
        words += option("corpus", session.sources.argument(experiment.collection.corpus))
        words += [] if runs else session.search_words(name)
        words += option("topics", session.sources.argument(query_set.topics))
    words += [*option("output", experiment.run_file(name)),
              *option("tag", experiment.recipe_name)]
    for key, value in baseline.stated_values().items():
        if key not in {"kind", "of"}:
            if value == model_name(baseline):
                value = _model_argument(str(value), session)
            elif isinstance(value, list):
                value = ",".join(map(str, value))
            words += option(_OPTIONS.get(key, key.replace("_", "-")), value)
    machine_options = {"bm25": ["threads"], "dense": ["threads", "device", "batch-tokens"],
                       "rerank": ["device", "batch-tokens"], "fuse": []}
    return words + session.options.arguments(*machine_options[baseline.kind])


def _model_argument(name: str, session: Session) -> str:
    """Returns a model as an argument of a command: its name, or its converted copy's folder."""
    if not session.experiment.recipe.pickled:
        return name
    return str(converted_folder(name, session.experiment.output))


def _readable_model(name: str, session: Session) -> str:
    """Returns a model that can be read: its name or, for a pickle, the folder of a converted copy.

    A pickle without a copy is converted.
    """
    if not session.experiment.recipe.pickled:
        return name
    return str(usable_checkpoint(name, session.experiment.output).folder)
