"""An experiment -> its stages: the one list that `show` prints and `run` works through."""

from __future__ import annotations

from typing import Any

from spladev3_anserini.collection.fingerprint import source_fingerprint
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.impacts.shards import MANIFEST
from spladev3_anserini.lucene.jvm import versions
from spladev3_anserini.lucene.unchanged import SOUND_NOTE
from spladev3_anserini.recipe.schema import BaselineRecipe
from spladev3_anserini.reproduction.baseline_stages import baseline_search_stage
from spladev3_anserini.reproduction.experiment import measures_of
from spladev3_anserini.reproduction.session import Session
from spladev3_anserini.reproduction.stage import Inputs, Stage, encoded_files, option
from spladev3_anserini.reproduction.training_stages import training_stages
from spladev3_anserini.text import VERSION, counted

_PROGRAM = "spladev3-anserini"


def stages_of(session: Session) -> list[Stage]:
    """Returns the stages of an experiment in the order they run; looks up and creates nothing."""
    recipe, prebuilt = session.experiment.recipe, session.experiment.prebuilt
    stages = training_stages(session) if session.trains else []
    stages += [] if prebuilt else [_survey_corpus(session)]
    stages += [_survey_set(session, name) for name in session.sets]
    if isinstance(recipe, BaselineRecipe):
        stages.append(baseline_search_stage(recipe.baseline, session))
    else:
        stages += [] if prebuilt else [_encode(session), _index(session)]
        stages.append(_check(session))
        stages += [_search(session, name) for name in session.sets]
    return stages + [_evaluate(session, name) for name in session.sets]


def _survey_corpus(session: Session) -> Stage:
    experiment = session.experiment

    def record_values(answer: dict[str, Any]) -> str:
        session.write_note("corpus", {key: answer[key] for key in ("documents", "sha256")})
        return counted(answer["documents"], "document")

    return Stage(
        name="download", part="download", folder=experiment.folder,
        commands=[[_PROGRAM, "survey",
                   *option("corpus", session.sources.argument(experiment.collection.corpus))]],
        replacements=session.replacements,
        inputs=lambda: {"corpus": source_fingerprint(session.corpus, "docs")},
        outputs=lambda: [session.note_file("corpus")], record_values=record_values)


def _survey_set(session: Session, name: str) -> Stage:
    query_set, argument = session.sets[name], session.sources.argument

    def record_values(answer: dict[str, Any]) -> str:
        session.write_note(f"data.{name}", {
            "queries": answer["queries"], "topics": answer["topics_sha256"],
            "judgments": answer["judgments"], "qrels": answer["qrels_sha256"]})
        return f"{counted(answer['queries'], 'query')}, {answer['judged']:,} of them judged"

    return Stage(
        name=f"download {name}", part="download", folder=session.experiment.folder,
        commands=[[_PROGRAM, "survey", *option("topics", argument(query_set.topics)),
                   *option("qrels", argument(query_set.qrels))]],
        replacements=session.replacements,
        inputs=lambda: {"topics": source_fingerprint(session.topics[name], "queries"),
                        "qrels": source_fingerprint(session.qrels[name], "qrels")},
        outputs=lambda: [session.note_file(f"data.{name}")], record_values=record_values)


def _encode(session: Session) -> Stage:
    experiment, settings = session.experiment, session.experiment.settings

    def inputs() -> Inputs:
        return _impact_inputs(session, "query_max_length") | {
            "corpus": session.note("corpus")["sha256"],
            "batch_tokens": str(session.options.batch_tokens or "auto")}

    return Stage(
        name="encode", part="encode", folder=experiment.folder,
        commands=[[
            _PROGRAM, "encode", *option("model", session.model),
            *option("variant", experiment.splade.variant),
            *option("corpus", session.sources.argument(experiment.collection.corpus)),
            *option("output", experiment.encoded), *option("max-length", settings.max_length),
            *option("scale", _scale(session)), *option("special-tokens", settings.special_tokens),
            *option("dtype", settings.dtype), *option("overwrite", True),
            *option("query-weights", settings.query_weights), *option("top-k", settings.top_k),
            *session.options.arguments("device", "batch-tokens")]],
        replacements=session.replacements, inputs=inputs,
        outputs=lambda: encoded_files(experiment.encoded))


def _index(session: Session) -> Stage:
    experiment = session.experiment
    return Stage(
        name="index", part="index", folder=experiment.folder,
        commands=[[_PROGRAM, "index", *option("encoded", experiment.encoded),
                   *option("index", experiment.index_folder), *option("optimize", True),
                   *option("overwrite", True)]],
        replacements=session.replacements,
        inputs=lambda: {"encoded": sha256_of(experiment.encoded / MANIFEST), **versions()},
        outputs=lambda: sorted(path for path in experiment.index_folder.iterdir()
                               if path.is_file() and path.name != SOUND_NOTE))


def _check(session: Session) -> Stage:
    def record_values(answer: dict[str, Any]) -> str:
        session.write_note("check", {key: answer[key] for key in (
            "documents", "postings", "total_terms")})
        return (f"the index is intact: {counted(answer['documents'], 'document')}, "
                f"{counted(answer['total_terms'], 'total term')}")

    return Stage(
        name="check", part="check", folder=session.experiment.folder,
        commands=[[_PROGRAM, "verify", session.index_argument]],
        replacements=session.replacements,
        inputs=lambda: {"index": session.index_identity},
        outputs=lambda: [session.note_file("check")], record_values=record_values)


def _search(session: Session, name: str) -> Stage:
    experiment, query_set = session.experiment, session.sets[name]
    settings = experiment.settings

    def inputs() -> Inputs:
        return _impact_inputs(session, "max_length") | {
            "index": session.index_identity, "topics": session.note(f"data.{name}")["topics"],
            **session.search_inputs(name)}

    # an index of ours names these in its manifest; a prebuilt one has no manifest
    prebuilt = [*option("model", session.model), *option("variant", experiment.splade.variant),
                *option("scale", _scale(session)),
                *option("special-tokens", settings.special_tokens), *option("prebuilt", True)]
    return Stage(
        name=f"search {name}", part="search", folder=experiment.folder,
        commands=[[
            _PROGRAM, "search", *option("index", session.index_argument),
            *option("topics", session.sources.argument(query_set.topics)),
            *option("output", experiment.run_file(name)), *session.search_words(name),
            *option("max-length", settings.query_max_length), *option("dtype", settings.dtype),
            *option("tag", experiment.recipe_name),
            *(prebuilt if experiment.prebuilt else []),
            *session.options.arguments("threads", "device", "batch-tokens")]],
        replacements=session.replacements, inputs=inputs,
        outputs=lambda: [experiment.run_file(name)])


def _evaluate(session: Session, name: str) -> Stage:
    experiment, run = session.experiment, session.experiment.run_file(name)
    measures = " ".join(measures_of(experiment, name))

    def record_values(answer: dict[str, Any]) -> str:
        result, = answer.values()
        means, missing = result["measures"], len(result["missing"])
        session.write_note(f"measures.{name}", {"means": means, "missing": missing})
        without = f"; {missing} of {counted(result['queries'], 'judged query')} without a " \
            "result, counted as 0" if missing else ""
        return "  ".join(f"{measure} {value:.4f}" for measure, value in means.items()) + without

    return Stage(
        name=f"evaluate {name}", part="evaluate", folder=experiment.folder,
        commands=[[_PROGRAM, "evaluate",
                   *option("qrels", session.sources.argument(session.sets[name].qrels)),
                   *option("run", run), *option("measures", measures)]],
        replacements=session.replacements,
        inputs=lambda: {"run": sha256_of(run), "measures": measures,
                        "qrels": session.note(f"data.{name}")["qrels"]},
        outputs=lambda: [session.note_file(f"measures.{name}")], record_values=record_values)


def _impact_inputs(session: Session, other_length: str) -> dict[str, str]:
    """Returns everything that decides the impacts of documents or of queries.

    `other_length` is the length setting of the other side, which is skipped.
    """
    stated = session.experiment.settings.stated_values()
    settings = {key: str(value) for key, value in stated.items() if key != other_length}
    if table := session.query_weights_hash:
        settings["query_weights"] = table
    return settings | {"weights": session.model_sha256, "tokenizer": session.tokenizer_sha256,
                       "variant": session.experiment.splade.variant, "device": session.device,
                       "package": VERSION}


def _scale(session: Session) -> str:
    """Returns the quantiser's scale as text without trailing zeros."""
    return f"{Quantizer.parse(str(session.experiment.settings.quantizer)).scale:.10g}"
