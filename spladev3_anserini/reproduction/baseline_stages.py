"""A ranker to compare with -> the stage that ranks by it."""

from __future__ import annotations

import hashlib

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.lucene.jvm import versions
from spladev3_anserini.model.weights import MODEL_FILES, folder_hash
from spladev3_anserini.rankers.dense_models import find_dense_model
from spladev3_anserini.rankers.registry import find_pair_scorer
from spladev3_anserini.recipe.baseline import Baseline, Bm25, Dense, Rerank
from spladev3_anserini.reproduction.models import converted_folder, usable_checkpoint
from spladev3_anserini.reproduction.result import read_result
from spladev3_anserini.reproduction.session import Session
from spladev3_anserini.reproduction.stage import Inputs, Stage, option
from spladev3_anserini.text import VERSION

_PROGRAM = "spladev3-anserini"
#: Keys of recipes that the command calls by another name.
_OPTIONS = {"teacher": "cross-encoder"}


def search_with(baseline: Baseline, session: Session) -> Stage:
    """One stage for all query sets, since what is searched is kept no longer than that."""
    experiment, first = session.experiment, session.experiment.first

    def inputs() -> Inputs:
        values = {name: str(value) for name, value in baseline.stated().items()} | {
            "corpus": session.note("corpus")["sha256"],
            "weights": model_of(baseline, session)[1], "package": VERSION}
        values |= versions() if isinstance(baseline, Bm25) else {"device": session.device}
        for name, query_set in session.sets.items():
            values |= {f"topics {name}": session.note(f"data.{name}")["topics"],
                       f"hits {name}": str(query_set.hits),
                       f"remove_query {name}": str(query_set.remove_query)}
            if first:
                values[f"run {name}"] = sha256_of(first.run_file(name))
        return values

    def words() -> dict[str, str]:
        name = model_name(baseline)
        return session.words() | ({_word(name, session): _usable(name, session)} if name else {})

    return Stage(
        name="search", part="search", folder=experiment.folder,
        commands=[_command(baseline, session, name) for name in session.sets], words=words,
        inputs=inputs, outputs=lambda: [experiment.run_file(name) for name in session.sets])


def model_name(baseline: Baseline) -> str | None:
    """A baseline's model as its recipe names it; BM25 has none."""
    if isinstance(baseline, Bm25):
        return None
    return baseline.model if isinstance(baseline, Dense) else baseline.teacher


def model_of(baseline: Baseline, session: Session) -> tuple[str, str]:
    """A baseline's model and a hash of the files that decide its scores, a re-ranker's with that
    of the run it begins with. Raises InputError where a model is not there."""
    first = session.experiment.first
    if session.options.model and first is None:
        raise InputError(f"`model`: {session.experiment.recipe_name} is a baseline, and has its "
                         "own")
    if isinstance(baseline, Dense):
        folder = find_dense_model(_usable(baseline.model, session), baseline.pooling,
                            baseline.similarity, baseline.query_max_length,
                            baseline.max_length).folder
        return baseline.model, folder_hash(folder, (*MODEL_FILES, "*/config.json"))
    if isinstance(baseline, Rerank):
        kind, folder = find_pair_scorer(_usable(baseline.teacher, session))
        begun = read_result(first.folder) if first else None
        both = f"{folder_hash(folder, kind.files)} {begun.model_sha256 if begun else ''}"
        return baseline.teacher, hashlib.sha256(both.encode()).hexdigest()
    return "BM25", hashlib.sha256(b"BM25").hexdigest()


def _command(baseline: Baseline, session: Session, name: str) -> list[str]:
    """The command that ranks for one query set."""
    experiment, query_set = session.experiment, session.sets[name]
    words = [_PROGRAM, baseline.kind]
    if experiment.first:
        words += option("run", experiment.first.run_file(name))
    words += option("corpus", session.sources.shown(experiment.collection.corpus))
    if not experiment.first:
        words += [*option("hits", query_set.hits), *option("remove-query", query_set.remove_query)]
    words += [*option("topics", session.sources.shown(query_set.topics)),
              *option("output", experiment.run_file(name)),
              *option("tag", experiment.recipe_name)]
    for key, value in baseline.stated().items():
        if key not in {"kind", "of"}:
            shown = _word(str(value), session) if value == model_name(baseline) else value
            words += option(_OPTIONS.get(key, key.replace("_", "-")), shown)
    machine = {"bm25": ["threads"], "dense": ["threads", "device", "batch-tokens"],
               "rerank": ["device", "batch-tokens"]}
    return words + session.options.words(*machine[baseline.kind])


def _word(name: str, session: Session) -> str:
    """A model as a command names it."""
    if not session.experiment.recipe.pickled:
        return name
    return str(converted_folder(name, session.experiment.output))


def _usable(name: str, session: Session) -> str:
    """A model's name, or the folder of its copy where its weights are a pickle."""
    if not session.experiment.recipe.pickled:
        return name
    return str(usable_checkpoint(name, session.experiment.output).folder)
