"""A finished run -> an Anserini regression and a Pyserini 2CR condition with the same values."""

from __future__ import annotations

import html
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from spladev3_anserini.collection.corpus import hash_of
from spladev3_anserini.collection.qrels import Qrels, hash_of_qrels, read_qrels
from spladev3_anserini.collection.topics import Topic, read_topics
from spladev3_anserini.encoding.queries import encode_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, sha256_of
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.impacts.shards import IMPACTS, read_manifest, verify_shards
from spladev3_anserini.recipe.schema import QuerySet, SpladeRecipe
from spladev3_anserini.reproduction.commands import command_text, run_command
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.reproduction.result import IndexCounts, Result, read_result
from spladev3_anserini.reproduction.session import Options, Session
from spladev3_anserini.reproduction.verdict import same_recipe, verdicts
from spladev3_anserini.text import counted

#: Where Anserini's runner looks on its class path; its jar has the same folder.
CONFIGS = Path("src/main/resources/reproduce/from-document-collection/configs")
#: Where it looks for topics and judgments (Anserini up to 2.2.0).
TOPICS = Path("tools/topics-and-qrels")
PYSERINI = Path("pyserini/2cr")
#: The most terms per query that Anserini's and Pyserini's own commands search. It is Lucene's
#: default limit of clauses, a constant that no option and no system property changes. For a longer
#: query Anserini prints a stack trace, writes no hit, continues, and exits with 0.
_MOST_TERMS = 1024
_PYSERINI_NAMES = {"RR@10": "MRR@10", "R@1000": "R@1K", "AP": "MAP"}


def regression_name(experiment: Experiment) -> str:
    """Returns the name of an experiment in Anserini: `COLLECTION.RECIPE`."""
    return f"{experiment.collection_name}.{experiment.recipe_name}"


def export_run(experiment: Experiment, sets: Mapping[str, QuerySet], folder: Path,
               model: str | None) -> str:
    """Exports a finished run for Anserini and Pyserini.

    Args:
        experiment: The recipe on the collection.
        sets: The query sets to export.
        folder: The folder to write.
        model: The model, if the recipe names none.

    Returns:
        A line for people: what was written, and what was not exported.

    Raises:
        InputError: The recipe is a baseline, the run is not finished, it fails a declared value,
            its files have changed since, or a query has more terms than Anserini searches.
    """
    if not isinstance(experiment.recipe, SpladeRecipe):
        raise InputError(f"{experiment.recipe_name}: is a baseline; only runs of impacts are "
                         "exported")
    result = read_result(experiment.folder)
    if result is None or not sets.keys() <= result.query_sets.keys():
        raise InputError(f"{experiment.folder}: no finished run of {', '.join(sets)} there; first: "
                         f"{command_text(run_command(experiment))}")
    result = result.model_copy(update={"query_sets": {s: result.query_sets[s] for s in sets}})
    if any(verdict.status == "FAIL" for verdict in verdicts(experiment, result, list(sets))):
        raise InputError(f"{experiment.folder}: this run fails its declared values; nothing is "
                         "exported")
    session = Session(experiment, sets, Options(model=model))
    topics = {name: read_topics(session.topics[name]) for name in sets}
    qrels = {name: read_qrels(session.qrels[name]) for name in sets}
    _refuse_stale(experiment, result, session, topics, qrels)
    queries = {name: encode_topics(session.query_encoder(), set_topics)
               for name, set_topics in topics.items()}
    for name, set_queries in queries.items():
        _refuse_long(name, set_queries)
    skipped = export(experiment, result, queries, qrels, folder)
    return (f"{folder}: {regression_name(experiment)}; how to run it is in {folder / 'README.md'}"
            + (f"; not exported, because trec_eval has no such measure: {', '.join(skipped)}"
               if skipped else ""))


def _refuse_long(name: str, topics: Iterable[EncodedTopic]) -> None:
    """Raises InputError if a query has more terms than Anserini searches."""
    long = [topic for topic in topics if len(topic.query) > _MOST_TERMS]
    if long:
        raise InputError(f"{name}: {counted(len(long), 'query')} of more than {_MOST_TERMS:,} "
                         f"terms (first {long[0].id}: {len(long[0].query):,}), which Anserini and "
                         "Pyserini do not search; nothing is exported")


def _refuse_stale(experiment: Experiment, result: Result, session: Session,
                  topics: dict[str, list[Topic]], qrels: dict[str, Qrels]) -> None:
    """Raises InputError if a file to export is not the one that the result was computed from."""
    record = session.index_record().encoded
    verify_shards(experiment.encoded, read_manifest(experiment.encoded))
    if not same_recipe(experiment, result) or session.model_sha256 != result.model_sha256 \
            or read_manifest(experiment.encoded).shards != record.shards \
            or result.index != IndexCounts(documents=record.nonempty, postings=record.postings,
                                           total_terms=record.impacts):
        raise InputError(f"{experiment.folder}: its recipe, model or index has changed since it "
                         f"ran; run it again first: {command_text(run_command(experiment))}")
    for name, recorded in result.query_sets.items():
        file = experiment.run_file(name)
        if (hash_of(topics[name]) != recorded.topics_sha256
                or hash_of_qrels(qrels[name]) != recorded.qrels_sha256
                or not file.is_file() or sha256_of(file) != recorded.run_sha256):
            raise InputError(f"{experiment.folder}: the topics, judgments or run of {name} have "
                             "changed since it ran; run it again first: "
                             f"{command_text(run_command(experiment))}")


def export(experiment: Experiment, result: Result, queries: dict[str, list[EncodedTopic]],
           qrels: dict[str, Qrels], folder: Path) -> list[str]:
    """Writes impacts, encoded queries, judgments, and the YAML files of Anserini and Pyserini.

    Impacts are hard links if the disk allows, or copies. A query's terms are repeated as often as
    their impact says, which is the only form that both toolkits read. Expected values are those
    of `result`, rounded to four digits.

    Args:
        experiment: The recipe on the collection, with its encoded documents.
        result: The result of the run.
        queries: The encoded queries of each query set.
        qrels: The judgments of each query set.
        folder: The folder to write.

    Returns:
        The measures that are not exported because trec_eval has none of that name.
    """
    name = regression_name(experiment)
    impacts = folder / "collections" / name
    if impacts.exists():
        shutil.rmtree(impacts)
    for part in (impacts, folder / TOPICS, folder / CONFIGS, folder / PYSERINI):
        part.mkdir(parents=True, exist_ok=True)
    for shard in sorted((experiment.encoded / IMPACTS).iterdir()):
        _link_or_copy(shard, impacts / shard.name)
    for set_name in result.query_sets:
        _write_queries(folder / TOPICS / _topics_name(name, set_name), queries[set_name])
        _write_qrels(folder / TOPICS / _qrels_name(name, set_name), qrels[set_name])
    _write_yaml(folder / CONFIGS / f"{name}.yaml", _anserini_regression(experiment, result, qrels))
    _write_yaml(folder / PYSERINI / f"{name}.yaml", _pyserini_conditions(experiment, result, qrels))
    with appearing(folder / "README.md") as stream:
        stream.write(_readme(name))
    return sorted({measure for set_name, recorded in result.query_sets.items()
                   for measure in recorded.measures
                   if trec_eval_flags(measure, qrels[set_name]) is None})


def trec_eval_flags(measure: str, qrels: Qrels) -> str | None:
    """Returns trec_eval's flags for a measure named as in ir-measures; None if it has no such one.

    `-J` is added for nDCG* if a grade is 0 or below.
    """
    starred = re.fullmatch(r"nDCG\*@(\d+)", measure)
    if starred:
        negative = any(grade <= 0 for judged in qrels.values() for grade in judged.values())
        return f"-c {'-J ' if negative else ''}-m ndcg_cut.{starred[1]}"
    for pattern, flags in ((r"nDCG@(\d+)", "-c -m ndcg_cut.{}"), (r"R@(\d+)", "-c -m recall.{}"),
                           (r"P@(\d+)", "-c -m P.{}"), (r"Success@(\d+)", "-c -m success.{}"),
                           (r"R\(rel=(\d)\)@(\d+)", "-c -l {} -m recall.{}"),
                           (r"AP\(rel=(\d)\)", "-c -l {} -m map"),
                           (r"RR@(\d+)", "-c -M {} -m recip_rank"), (r"RR()", "-c -m recip_rank"),
                           (r"AP@(\d+)", "-c -M {} -m map"), (r"AP()", "-c -m map")):
        if match := re.fullmatch(pattern, measure):
            return flags.format(*match.groups())
    return None


def _anserini_regression(experiment: Experiment, result: Result,
                         qrels: dict[str, Qrels]) -> dict[str, Any]:
    name = regression_name(experiment)
    sets = list(result.query_sets)
    first = qrels[sets[0]]
    # Anserini computes a metric for all query sets of a file, so only common ones are written
    metrics = {measure: flags for measure in result.query_sets[sets[0]].measures
               if (flags := trec_eval_flags(measure, first)) is not None
               and all(measure in recorded.measures and trec_eval_flags(measure, qrels[s]) == flags
                       for s, recorded in result.query_sets.items())}
    collection = experiment.collection
    hits = {collection.query_sets[s].hits for s in sets}
    remove = {collection.query_sets[s].remove_query for s in sets}
    if len(hits) > 1 or len(remove) > 1:
        raise InputError(f"{experiment.collection_name}: its query sets differ in hits or "
                         "remove_query, but a regression has one value for all; export them one "
                         "by one with `sets`")
    if any(collection.query_sets[s].exclude for s in sets):
        raise InputError(f"{experiment.collection_name}: excludes documents of its queries, which "
                         "a regression of Anserini cannot do")
    own = remove.pop()  # neither toolkit fetches another document for one that it removes
    search = f"-impact -pretokenized -hits {hits.pop() + own}{' -removeQuery' if own else ''}"
    assert result.index is not None  # only a baseline's result has none, and it is not exported
    return {
        "corpus": name, "corpus_path": f"collections/{name}",
        "index_path": f"indexes/lucene-inverted.{name}/",
        "collection_class": "JsonVectorCollection",
        "generator_class": "DefaultLuceneDocumentGenerator", "index_threads": 16,
        "index_options": "-impact -pretokenized -optimize",
        "index_stats": {"documents": result.index.documents,
                        "documents (non-empty)": result.index.documents,
                        "total terms": result.index.total_terms},
        "metrics": [{"metric": measure, "command": "bin/trec_eval", "params": flags,
                     "separator": "\t", "parse_index": 2, "metric_precision": 4,
                     "can_combine": False} for measure, flags in metrics.items()],
        "topic_reader": "TsvString",
        "topics": [{"name": f"{collection.title}: {collection.query_sets[s].title or s}", "id": s,
                    "path": _topics_name(name, s), "qrel": _qrels_name(name, s)} for s in sets],
        "models": [{"name": experiment.recipe_name, "display": experiment.recipe.title,
                    "params": search,
                    "results": {measure: [_rounded(result.query_sets[s].measures[measure])
                                          for s in sets] for measure in metrics}}]}


def _pyserini_conditions(experiment: Experiment, result: Result,
                         qrels: dict[str, Qrels]) -> dict[str, Any]:
    name = regression_name(experiment)
    first = next(iter(result.query_sets))
    query_set = experiment.collection.query_sets[first]
    search = (f"--hits {query_set.hits + query_set.remove_query} --impact --min-idf -1"
              f"{' --remove-query' if query_set.remove_query else ''}")
    return {"conditions": [{
        "name": experiment.recipe_name, "display": experiment.recipe.title,
        "display-html": html.escape(experiment.recipe.title),
        "display-row": "",
        "command": "python -m pyserini.search.lucene --threads ${sparse_threads} --batch-size "
        f"${{sparse_batch_size}} --index indexes/lucene-inverted.{name} --topics $topics "
        f"--output $output {search}",
        "topics": [{"topic_key": f"{TOPICS}/{_topics_name(name, s)}",
                    "eval_key": f"{TOPICS}/{_qrels_name(name, s)}",
                    "scores": [{_PYSERINI_NAMES.get(measure, measure): _rounded(value)
                                for measure, value in recorded.measures.items()
                                if trec_eval_flags(measure, qrels[s]) is not None}]}
                   for s, recorded in result.query_sets.items()]}]}


def _readme(name: str) -> str:
    return f"""# {name}

Written by `spladev3-anserini reproduce export`: impact documents, encoded queries and judgments
with the values that a run of them measured. Run it from this folder with Java 21 and the jar of
Anserini 1.7.1 to 2.2.0 (Pyserini 1.6 to 2.3 has one in `pyserini/resources/jars/`):

    java -cp ANSERINI.jar:src/main/resources \\
      io.anserini.reproduce.ReproduceFromDocumentCollection \\
      --index --verify --search --config {name}

It exits with 0 even if a value differs, so look for `[FAIL]`. You can also copy the folders into a
checkout of Anserini. `pyserini/2cr/{name}.yaml` is the same run as a condition of Pyserini's
two-click reproductions. Its topics are files. `--min-idf -1` keeps terms that occur in every
document. Pyserini reads topic ids of digits as numbers: `007` becomes 7.
"""


def _topics_name(name: str, set_name: str) -> str:
    return f"topics.{name}.{set_name}.tsv"


def _qrels_name(name: str, set_name: str) -> str:
    return f"qrels.{name}.{set_name}.txt"


def _rounded(value: float) -> float:
    return round(value, 4)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_queries(path: Path, topics: Iterable[EncodedTopic]) -> None:
    with appearing(path) as stream:
        for topic in topics:
            words = " ".join(" ".join([term] * weight) for term, weight in topic.query.items())
            if words:  # neither toolkit can read a topic without words
                stream.write(f"{topic.id}\t{words}\n")


def _write_qrels(path: Path, qrels: Qrels) -> None:
    with appearing(path) as stream:
        for query, judged in qrels.items():
            for document, grade in judged.items():
                stream.write(f"{query} 0 {document} {grade}\n")


def _write_yaml(path: Path, record: dict[str, Any]) -> None:
    with appearing(path) as stream:
        stream.write("---\n")
        yaml.safe_dump(record, stream, sort_keys=False, allow_unicode=True, width=1000)
