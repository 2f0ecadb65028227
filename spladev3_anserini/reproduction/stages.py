"""A cell -> its result: download, encode, index, check, search, evaluate, each resumable."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from spladev3_anserini import __version__
from spladev3_anserini.collection.corpus import Survey, hash_of
from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.survey import survey_texts
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.pipeline import environment
from spladev3_anserini.encoding.queries import encode_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.judged import evaluate_run
from spladev3_anserini.evaluation.measures import parse_measures
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.shards import IMPACTS, MANIFEST, read_manifest
from spladev3_anserini.lucene.build import build_index
from spladev3_anserini.lucene.check import check_index, compare_with_manifest, statistics
from spladev3_anserini.lucene.jvm import lucene_version, versions
from spladev3_anserini.lucene.ranking import rank, warn_of_limits, write_run
from spladev3_anserini.lucene.searcher import ImpactSearcher
from spladev3_anserini.lucene.unchanged import SOUND_NOTE
from spladev3_anserini.model.variants import variant_named
from spladev3_anserini.recipe.schema import QuerySet
from spladev3_anserini.reproduction.baseline import model_of, search_baseline
from spladev3_anserini.reproduction.cell import STAGES, Cell, measures_of
from spladev3_anserini.reproduction.data import mark
from spladev3_anserini.reproduction.journal import Inputs, Journal, say
from spladev3_anserini.reproduction.models import encode_afresh_or_on
from spladev3_anserini.reproduction.result import (
    IndexCounts,
    Result,
    SetResult,
    read_result,
    write_result,
)
from spladev3_anserini.reproduction.session import Options, Run, hash_of_qrels
from spladev3_anserini.reproduction.verdict import same_set
from spladev3_anserini.text import counted

Stage = Callable[[str, Inputs, Callable[[bool], str], Iterable[Path]], None]


def reproduce(cell: Cell, sets: Mapping[str, QuerySet], options: Options) -> Result | None:
    """Runs the stages asked for and returns the result, None where evaluate was not asked for.

    A re-ranker's first recipe runs before it. Raises InputError as the stages' commands do, and for
    a stage left out that is not done.
    """
    if cell.first:
        say("first", f"{cell.recipe_name} begins with {cell.first.recipe_name}")
        reproduce(cell.first, sets, options)
    run = Run(cell, sets, options)
    last = max(map(STAGES.index, options.stages))
    with Journal(cell.folder) as journal:
        def stage(name: str, inputs: Inputs, work: Callable[[bool], str],
                  outputs: Iterable[Path]) -> None:
            if name.partition(" ")[0] in options.stages:
                journal.run(name, inputs, work, outputs)
            else:
                journal.require(name, inputs)

        steps: dict[str, Callable[[Run, Stage], None]] = dict(zip(STAGES, (
            _prepare, _download, _encode, _index, _check, _search, _evaluate), strict=True))
        if cell.recipe.baseline:
            steps = {"train": _prepare, "download": _download, "search": search_baseline,
                     "evaluate": _evaluate}
        for name, step in steps.items():
            if STAGES.index(name) <= last:
                step(run, stage)
        return _result(run) if "evaluate" in options.stages else None


def _prepare(run: Run, stage: Stage) -> None:
    """What cannot be had is told before a long download; a recipe without a model trains its."""
    _ = model_of(run) if run.cell.recipe.baseline else (run.model_sha256, run.index)


def _download(run: Run, stage: Stage) -> None:
    cell = run.cell

    def survey(_: bool) -> str:
        surveyed = survey_texts(run.corpus, "document")
        run.write_note("corpus", {"documents": surveyed.documents, "sha256": surveyed.sha256})
        return counted(surveyed.documents, "document")

    def topics_and_qrels(name: str, _: bool) -> str:
        topics, qrels = read_topics(run.topics[name]), read_qrels(run.qrels[name])
        judged = sum(topic.id in qrels for topic in topics)
        if not judged:
            raise InputError(f"{run.qrels[name]}: judges no query of {run.topics[name]} (it has "
                             f"{next(iter(qrels))!r}, not {topics[0].id!r})")
        run.write_note(f"data.{name}", {
            "queries": len(topics), "topics": hash_of(topics),
            "judgments": sum(map(len, qrels.values())), "qrels": hash_of_qrels(qrels)})
        return f"{counted(len(topics), 'query')}, {judged:,} of them judged"

    if not cell.prebuilt:
        stage("download", {"corpus": mark(run.corpus, "docs")}, survey,
              [run.note_file("corpus")])
    for name in run.sets:
        stage(f"download {name}",
              {"topics": mark(run.topics[name], "queries"),
               "qrels": mark(run.qrels[name], "qrels")},
              partial(topics_and_qrels, name), [run.note_file(f"data.{name}")])


def _encode(run: Run, stage: Stage) -> None:
    cell = run.cell
    if cell.prebuilt:
        return
    surveyed = Survey(**run.note("corpus"))
    settings = run.settings(cell.settings.max_length)
    inputs = _model_inputs(run, "query_max_length") | {
        "corpus": surveyed.sha256, "batch_tokens": str(run.options.batch_tokens or "auto")}

    def work(fresh: bool) -> str:
        encoder = Encoder(run.checkpoint, variant_named(cell.recipe.variant), "document", settings)
        manifest = encode_afresh_or_on(run.corpus, surveyed, run.checkpoint, encoder,
                                       cell.encoded, fresh)
        return (f"{counted(manifest.documents, 'document')}, "
                f"{manifest.postings / manifest.documents:.1f} terms each")

    def outputs() -> Iterator[Path]:
        yield cell.encoded / MANIFEST
        for shard in read_manifest(cell.encoded).shards:
            yield cell.encoded / IMPACTS / shard.name

    stage("encode", inputs, work, outputs())


def _index(run: Run, stage: Stage) -> None:
    cell = run.cell
    if cell.prebuilt:
        return

    def work(_: bool) -> str:
        record, _built = build_index(cell.encoded, cell.index_folder, threads=run.options.threads,
                                     optimize=True, overwrite=True)
        return (f"{counted(record.encoded.nonempty, 'document')}, "
                f"{counted(record.encoded.postings, 'posting')}, "
                f"{counted(record.encoded.impacts, 'total term')}")

    def outputs() -> Iterator[Path]:
        yield from sorted(path for path in cell.index_folder.iterdir()
                          if path.is_file() and path.name != SOUND_NOTE)

    stage("index", {"encoded": sha256_of(cell.encoded / MANIFEST), **versions()}, work, outputs())


def _check(run: Run, stage: Stage) -> None:
    def work(_: bool) -> str:
        check_index(run.index)
        found = statistics(run.index)
        if not run.cell.prebuilt:
            compare_with_manifest(found, run.index_record().encoded, run.index)
        run.write_note("check", {"documents": found.documents, "postings": found.postings,
                                 "total_terms": found.impacts})
        return (f"every byte is sound: {counted(found.documents, 'document')}, "
                f"{counted(found.impacts, 'total term')}")

    stage("check", {"index": run.index_identity}, work, [run.note_file("check")])


def _search(run: Run, stage: Stage) -> None:
    cell = run.cell

    def work(name: str, _: bool) -> str:
        topics = encode_topics(run.query_encoder, read_topics(run.topics[name]))
        warn_of_limits(topics, None if cell.prebuilt else run.index_record())
        searcher = ImpactSearcher(run.index)
        ranked = rank(searcher, topics, run.sets[name].hits, run.options.threads,
                      remove_query=run.sets[name].remove_query)
        found, lines = write_run(cell.run_file(name), ranked, cell.recipe_name)
        searcher.close()
        return f"{counted(len(topics), 'query')}, {found:,} with hits, {counted(lines, 'line')}"

    for name, query_set in run.sets.items():
        inputs = _model_inputs(run, "max_length") | {
            "index": run.index_identity, "topics": run.note(f"data.{name}")["topics"],
            "hits": str(query_set.hits), "remove_query": str(query_set.remove_query)}
        stage(f"search {name}", inputs, partial(work, name), [cell.run_file(name)])


def _evaluate(run: Run, stage: Stage) -> None:
    cell = run.cell

    def work(name: str, wanted: str, _: bool) -> str:
        found = evaluate_run(cell.run_file(name), read_qrels(run.qrels[name]), run.qrels[name],
                             parse_measures(wanted))
        run.write_note(f"measures.{name}", {"means": found.means, "missing": len(found.missing)})
        without = f"; {len(found.missing)} of {counted(found.queries, 'judged query')} without a " \
            "result, counted as 0" if found.missing else ""
        return "  ".join(f"{name} {value:.4f}" for name, value in found.means.items()) + without

    for name in run.sets:
        wanted = " ".join(measures_of(cell, name))
        inputs = {"run": sha256_of(cell.run_file(name)), "measures": wanted,
                  "qrels": run.note(f"data.{name}")["qrels"]}
        stage(f"evaluate {name}", inputs, partial(work, name, wanted),
              [run.note_file(f"measures.{name}")])


def _model_inputs(run: Run, other_length: str) -> dict[str, str]:
    """What decides the impacts of one side, whose length is not `other_length`."""
    settings = {key: str(value) for key, value in run.cell.settings.given().items()
                if key != other_length}
    return settings | {"weights": run.model_sha256, "tokenizer": run.tokenizer_sha256,
                       "variant": run.cell.recipe.variant, "device": run.device,
                       "package": __version__}


def _result(run: Run) -> Result:
    """Gathers what the stages left; query sets of an earlier run stay if all else is the same."""
    cell, baseline = run.cell, run.cell.recipe.baseline
    index = None if baseline else run.note("check")
    corpus = None if cell.prebuilt else run.note("corpus")
    model, digest = model_of(run) if baseline else (run.checkpoint.name, run.model_sha256)
    sets = {}
    for name in run.sets:
        data, found = run.note(f"data.{name}"), run.note(f"measures.{name}")
        query_set = run.sets[name]
        sets[name] = SetResult(
            hits=query_set.hits, remove_query=query_set.remove_query,
            topics_sha256=data["topics"], qrels_sha256=data["qrels"], queries=data["queries"],
            judgments=data["judgments"], missing=found["missing"],
            run_sha256=sha256_of(cell.run_file(name)), measures=found["means"])
    result = Result(
        recipe=cell.recipe_name, recipe_file=str(cell.recipe_file.resolve()),
        collection=cell.collection_name, collection_file=str(cell.collection_file.resolve()),
        prebuilt=cell.prebuilt, variant=baseline.kind if baseline else cell.recipe.variant,
        settings=cell.given(), model=model, model_sha256=digest,
        documents=(corpus or index or {})["documents"],
        corpus_sha256=corpus["sha256"] if corpus else None,
        index=IndexCounts(**index) if index else None,
        query_sets=sets,
        environment=environment(run.device) | versions() | {
            "spladev3_anserini": __version__, "lucene": lucene_version(),
            "machine": platform.machine(), "system": platform.system()},
        finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
    try:
        before = read_result(cell.folder)
    except InputError:  # damaged: this one takes its place
        before = None
    if before is not None and before.same_run(result):
        known = {n: s for n, s in before.query_sets.items()
                 if n in cell.collection.query_sets and same_set(cell.collection.query_sets[n], s)}
        if before.query_sets == known | sets:
            return before
        result = result.model_copy(update={"query_sets": known | sets})
    write_result(result, cell.folder)
    return result
