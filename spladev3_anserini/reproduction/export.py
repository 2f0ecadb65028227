"""A finished run -> an Anserini regression and a Pyserini 2CR condition that give the same."""

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
from spladev3_anserini.collection.qrels import Qrels, read_qrels
from spladev3_anserini.collection.topics import Topic, read_topics
from spladev3_anserini.encoding.queries import encode_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, sha256_of
from spladev3_anserini.impacts.query import EncodedTopic, cut_to_clause_limit
from spladev3_anserini.impacts.shards import IMPACTS, read_manifest, verify_shards
from spladev3_anserini.recipe.schema import QuerySet
from spladev3_anserini.reproduction.cell import Cell
from spladev3_anserini.reproduction.commands import run_command, typed
from spladev3_anserini.reproduction.result import Result, read_result
from spladev3_anserini.reproduction.session import Options, Run, hash_of_qrels
from spladev3_anserini.reproduction.verdict import same_recipe, verdicts

#: Where Anserini's runner looks on its class path (its jar's own are there too).
CONFIGS = Path("src/main/resources/reproduce/from-document-collection/configs")
#: Where it looks for topics and judgments (Anserini up to 2.2.0).
TOPICS = Path("tools/topics-and-qrels")
PYSERINI = Path("pyserini/2cr")
_PYSERINI_NAMES = {"RR@10": "MRR@10", "R@1000": "R@1K", "AP": "MAP"}


def regression_name(cell: Cell) -> str:
    """The name Anserini knows a cell by: collection.recipe."""
    return f"{cell.collection_name}.{cell.recipe_name}"


def export_run(cell: Cell, sets: Mapping[str, QuerySet], folder: Path,
               model: str | None) -> str:
    """Exports a finished run of these query sets; returns what to do with it, for people.

    Raises InputError where there is no such run, or it fails what is declared for it.
    """
    if cell.recipe.baseline:
        raise InputError(f"{cell.recipe_name}: is a baseline; only runs of impacts are exported")
    result = read_result(cell.folder)
    if result is None or not sets.keys() <= result.query_sets.keys():
        raise InputError(f"{cell.folder}: no finished run of {', '.join(sets)} there; first: "
                         f"{typed(run_command(cell))}")
    result = result.model_copy(update={"query_sets": {s: result.query_sets[s] for s in sets}})
    if any(verdict.status == "FAIL" for verdict in verdicts(cell, result, list(sets))):
        raise InputError(f"{cell.folder}: this run fails its declared values; nothing is exported")
    run = Run(cell, sets, Options(model=model))
    topics = {name: read_topics(run.topics[name]) for name in sets}
    qrels = {name: read_qrels(run.qrels[name]) for name in sets}
    _refuse_stale(cell, result, run, topics, qrels)
    queries = {name: encode_topics(run.query_encoder, own) for name, own in topics.items()}
    left = export(cell, result, queries, qrels, folder)
    return (f"{folder}: {regression_name(cell)}; how to run it is in {folder / 'README.md'}"
            + (f"; trec_eval has no {', '.join(left)}, left out" if left else ""))


def _refuse_stale(cell: Cell, result: Result, run: Run, topics: dict[str, list[Topic]],
                  qrels: dict[str, Qrels]) -> None:
    """Whatever is exported must be what the result was made of."""
    record = run.index_record().encoded
    verify_shards(cell.encoded, read_manifest(cell.encoded))
    if not same_recipe(cell, result) or run.model_sha256 != result.model_sha256 \
            or read_manifest(cell.encoded).shards != record.shards \
            or record.fingerprint.corpus != result.corpus_sha256:
        raise InputError(f"{cell.folder}: its recipe, model or index has changed since it ran; "
                         f"run it again first: {typed(run_command(cell))}")
    for name, own in result.query_sets.items():
        file = cell.run_file(name)
        if (hash_of(topics[name]) != own.topics_sha256
                or hash_of_qrels(qrels[name]) != own.qrels_sha256
                or not file.is_file() or sha256_of(file) != own.run_sha256):
            raise InputError(f"{cell.folder}: the topics, judgments or run of {name} have changed "
                             f"since it ran; run it again first: {typed(run_command(cell))}")


def export(cell: Cell, result: Result, queries: dict[str, list[EncodedTopic]],
           qrels: dict[str, Qrels], folder: Path) -> list[str]:
    """Writes impacts (hard links where the disk allows), encoded queries, judgments, Anserini's
    YAML and Pyserini's; returns the measures left out because trec_eval has none of that name.

    Expected values are those of `result`, to four digits. Queries are written as terms repeated
    by their weight, the one form both toolkits read.
    """
    name = regression_name(cell)
    impacts = folder / "collections" / name
    if impacts.exists():
        shutil.rmtree(impacts)
    for part in (impacts, folder / TOPICS, folder / CONFIGS, folder / PYSERINI):
        part.mkdir(parents=True, exist_ok=True)
    for shard in sorted((cell.encoded / IMPACTS).iterdir()):
        _link(shard, impacts / shard.name)
    for set_name in result.query_sets:
        _write_queries(folder / TOPICS / _topics(name, set_name), queries[set_name])
        _write_qrels(folder / TOPICS / _qrels(name, set_name), qrels[set_name])
    _write_yaml(folder / CONFIGS / f"{name}.yaml", _regression(cell, result, qrels))
    _write_yaml(folder / PYSERINI / f"{name}.yaml", _conditions(cell, result, qrels))
    with appearing(folder / "README.md") as stream:
        stream.write(_readme(name))
    return sorted({measure for set_name, own in result.query_sets.items()
                   for measure in own.measures
                   if trec_eval_flags(measure, qrels[set_name]) is None})


def trec_eval_flags(measure: str, qrels: Qrels) -> str | None:
    """trec_eval's flags for a measure as ir-measures names it; None where it has none."""
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


def _regression(cell: Cell, result: Result, qrels: dict[str, Qrels]) -> dict[str, Any]:
    name = regression_name(cell)
    sets = list(result.query_sets)
    first = qrels[sets[0]]
    # a metric is for all topics of a file, so only those that every set has
    metrics = {measure: flags for measure in result.query_sets[sets[0]].measures
               if (flags := trec_eval_flags(measure, first)) is not None
               and all(measure in own.measures and trec_eval_flags(measure, qrels[s]) == flags
                       for s, own in result.query_sets.items())}
    hits = {own.hits for s, own in cell.collection.query_sets.items() if s in sets}
    remove = {own.remove_query for s, own in cell.collection.query_sets.items() if s in sets}
    if len(hits) > 1 or len(remove) > 1:
        raise InputError(f"{cell.collection_name}: its query sets differ in hits or remove_query, "
                         "which one regression cannot hold; export them one by one with `sets`")
    search = f"-impact -pretokenized -hits {hits.pop()}" + (" -removeQuery" if remove.pop() else "")
    assert result.index is not None  # a baseline's is not exported
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
        "topics": [{"name": f"{cell.collection.title}: {cell.collection.query_sets[s].title or s}",
                    "id": s, "path": _topics(name, s), "qrel": _qrels(name, s)} for s in sets],
        "models": [{"name": cell.recipe_name, "display": cell.recipe.title, "params": search,
                    "results": {measure: [_four(result.query_sets[s].measures[measure])
                                          for s in sets] for measure in metrics}}]}


def _conditions(cell: Cell, result: Result, qrels: dict[str, Qrels]) -> dict[str, Any]:
    name = regression_name(cell)
    first = next(iter(result.query_sets))
    query_set = cell.collection.query_sets[first]
    remove = " --remove-query" if query_set.remove_query else ""
    return {"conditions": [{
        "name": cell.recipe_name, "display": cell.recipe.title,
        "display-html": html.escape(cell.recipe.title),
        "display-row": "",
        "command": "python -m pyserini.search.lucene --threads ${sparse_threads} --batch-size "
        f"${{sparse_batch_size}} --index indexes/lucene-inverted.{name} --topics $topics "
        f"--output $output --hits {query_set.hits} --impact --min-idf -1{remove}",
        "topics": [{"topic_key": f"{TOPICS}/{_topics(name, s)}",
                    "eval_key": f"{TOPICS}/{_qrels(name, s)}",
                    "scores": [{_PYSERINI_NAMES.get(measure, measure): _four(value)
                                for measure, value in own.measures.items()
                                if trec_eval_flags(measure, qrels[s]) is not None}]}
                   for s, own in result.query_sets.items()]}]}


def _readme(name: str) -> str:
    return f"""# {name}

Written by `spladev3-anserini reproduce export`: impact documents, encoded queries and judgments
with the values that a run of them gave. From this folder, with Java 21 and the jar of Anserini
1.7.1 to 2.2.0 (Pyserini 1.6 to 2.3 carries one in `pyserini/resources/jars/`):

    java -cp ANSERINI.jar:src/main/resources \\
      io.anserini.reproduce.ReproduceFromDocumentCollection \\
      --index --verify --search --config {name}

It exits with 0 even where a value differs: look for `[FAIL]`. Or lay the folders over a checkout
of Anserini. `pyserini/2cr/{name}.yaml` is the same as a condition of Pyserini's two-click
reproductions; its topics are files, and `--min-idf -1` keeps terms that are in every document.
Pyserini takes topic ids that are digits for numbers: `007` becomes 7.
"""


def _topics(name: str, set_name: str) -> str:
    return f"topics.{name}.{set_name}.tsv"


def _qrels(name: str, set_name: str) -> str:
    return f"qrels.{name}.{set_name}.txt"


def _four(value: float) -> float:
    return round(value, 4)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_queries(path: Path, topics: Iterable[EncodedTopic]) -> None:
    with appearing(path) as stream:
        for topic in topics:
            words = " ".join(" ".join([term] * weight) for term, weight
                             in cut_to_clause_limit(topic.query).items())
            if words:  # neither toolkit reads a topic without words
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
