"""Search: the exact engine beside Lucene and others, on two sets; from a question to its hits."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from bench import table
from real_vectors import ours, pyserini, real_vectors, run_command
from timing import spread, timed
from ways import WAYS, Question, Source, Way, built

from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.engine.arrays import open_arrays, term_columns
from spladev3_anserini.impacts.encoded_queries import read_encoded_queries
from spladev3_anserini.impacts.manifest import IndexManifest, read_record, write_record
from spladev3_anserini.lucene.check import INDEX_MANIFEST

HITS = (10, 1000)
#: Queries of a set, and rounds before the timed ones.
QUERIES, WARM = 500, 3
#: The ways that are also timed with several threads.
FIT = ("the exact engine", "Lucene", "Pyserini")
ENGINE, LUCENE = FIT[:2]
#: Targets: how many times faster than Lucene, at 10 and 1,000 hits.
TARGETS = {"10": 10, "1000": 8}
VARIANTS = ("splade-v3", "splade-v3-doc")


def measure(work: Path, runs: int) -> dict[str, Any]:
    real, short = real_vectors(work), work / "short"
    places = {"InsuranceQA": (real.encoded, real.queries, real.topics)}
    if (short / "corpus.jsonl").exists():
        _encode_short_texts(short, work / "demo-int8")
        places["short texts"] = short / "encoded", short / "queries", short / "topics.tsv"
    else:
        print(f"{short}: no short texts; benchmarks/short_texts.py makes them", file=sys.stderr)
    sets, questions = {}, {}
    for name, (encoded, encoded_topics, topics) in places.items():
        queries = [topic.query for topic in read_encoded_queries(encoded_topics, encoded, None)]
        folder = work / "search" / name.replace(" ", "-")
        sets[name] = measured_set(Source(encoded), folder, WAYS, queries, QUERIES, runs)
        questions[name] = _asked(encoded, folder, [topic.text for topic in read_topics(
            str(topics))], runs)
    return {"sets": sets, "questions": questions,
            "start": _start(work / "search/InsuranceQA/splade-v3", real.queries, work, runs)}


def _encode_short_texts(short: Path, model: Path) -> None:
    """Encodes the short texts and their queries by the demo model's int8 graph."""
    if not model.exists():
        ours("export", "--model", "demo", "--precision", "int8", "--output", model)
    for texts, output in ((("--topics", short / "topics.tsv"), short / "queries"),
                          (("--corpus", short / "corpus.jsonl"), short / "encoded")):
        ours("encode", "--model", model, *texts, "--output", output)


def measured_set(source: Source, folder: Path, names: Iterable[str],
              queries: Sequence[Mapping[str, int]], count: int, runs: int) -> dict[str, Any]:
    """Builds and compares ways to search documents, with `count` evenly spaced queries."""
    queries = _spaced(queries, count)
    known = [name for name in names if find_spec(WAYS[name].package)]
    builds = {what: built(what, source, folder / what)
              for what in dict.fromkeys(WAYS[name].built for name in known)}
    ways = {name: Way(WAYS[name].opened, folder / WAYS[name].built, *WAYS[name].settings)
            for name in known}
    arrays = open_arrays(folder / "engine")
    columns, starts = term_columns(arrays), arrays.starts
    frequency = starts[-1] - starts[0]
    figures = {"documents": arrays.size, "postings": len(arrays.documents), "builds": builds,
               "lists": sum(array.nbytes for array in (arrays.documents, arrays.impacts, starts,
                                                       arrays.largest)),
               "read": [int(sum(frequency[columns[term]] for term in query if term in columns))
                        for query in queries],
               "terms": mean(map(len, queries)),
               "ways": _compared(ways, queries, runs),
               "rates": {name: {str(threads): median(ways[name].rate(queries, HITS[-1], threads)
                                                     for _ in range(runs))
                                for threads in (1, 2)} for name in FIT}}
    for way in ways.values():
        way.close()
    return figures


def _spaced(queries: Sequence[Any], count: int) -> list[Any]:
    return [queries[number * len(queries) // count] for number in range(count)]


def _compared(ways: Mapping[str, Way], queries: Sequence[Any], runs: int) -> dict[str, Any]:
    """Compares open ways, which take turns: each answers all queries, then the next one does.

    Were they to take turns at each query, the first would warm the lists of postings for the
    others.

    Returns:
        {way: {hits: milliseconds of each query (medians), those of other threads (mean), queries
        whose hits are not those of Lucene, and recall}, memory}. A hit counts for recall if its
        score is at least that of the last hit of Lucene.
    """
    figures: dict[str, Any] = {name: {} for name in ways}
    for hits in HITS:
        print(f"{len(queries)} queries, {hits} hits, {', '.join(ways)}", file=sys.stderr)
        rounds: dict[str, list[Any]] = {name: [] for name in ways}
        for number in range(WARM + runs):
            for name, way in ways.items():
                rounds[name].append(way.answers(queries, hits, keep=not number))
        exact = rounds[LUCENE][0].hits
        for name, each in rounds.items():
            pairs = list(zip(each[0].hits, exact, strict=True))
            figures[name][str(hits)] = {
                "milliseconds": [1000 * median(seconds) for seconds in zip(
                    *(answers.seconds for answers in each[WARM:]), strict=True)],
                "others": 1000 * median(a.others for a in each[WARM:]) / len(queries),
                "differ": sum(found != right for found, right in pairs),
                "recall": mean(sum(score >= right[-1][1] for _, score in found) / len(right)
                               for found, right in pairs if right)}
            figures[name]["memory"] = each[-1].memory
            print(f"{name}: {mean(figures[name][str(hits)]['milliseconds']):.3f} ms",
                  file=sys.stderr)
    return figures


def _asked(encoded: Path, folder: Path, texts: Sequence[str], runs: int) -> dict[str, Any]:
    """Measures `open_index(...).search(text)`, of either variant, by the engine and by Lucene."""
    index = folder / VARIANTS[0]
    ours("index", "--encoded", encoded, "--index", index)
    other = folder / VARIANTS[1]
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(index, other)  # all variants encode documents alike: only the record differs
    record = read_record(IndexManifest, other / INDEX_MANIFEST)
    alike = record.encoded.fingerprint.model_copy(update={"variant": VARIANTS[1]})
    write_record(record.model_copy(update={"encoded": record.encoded.model_copy(update={
        "fingerprint": alike})}), other / INDEX_MANIFEST)
    figures = {}
    for variant in VARIANTS:
        ways = {name: Way(Question, folder / variant, name == LUCENE) for name in (ENGINE, LUCENE)}
        figures[variant] = _compared(ways, _spaced(texts, QUERIES), runs)
        for way in ways.values():
            way.close()
    return figures


def _start(index: Path, queries: Path, work: Path, runs: int) -> dict[str, list[float]]:
    """Returns {way: seconds} of whole processes for one query, already encoded, 1,000 hits."""
    encoded = read_encoded_queries(queries, index, None)[0]
    query, topic = work / "one-query.jsonl", work / "one-query.tsv"
    query.write_text(json.dumps({"id": encoded.id, "contents": "question",
                                 "vector": encoded.query}) + "\n", "utf-8")
    topic.write_text(f"{encoded.id}\tquestion\n", "utf-8")
    search = [sys.executable, "-P", "-m", "spladev3_anserini.search", "--index", str(index),
              "--queries", str(query), "--threads", "1", "--output"]
    commands = {
        ENGINE: partial(run_command, [*search, str(work / "engine.txt")]),
        LUCENE: partial(run_command, [*search, str(work / "lucene.txt"), "--lucene"]),
        "Pyserini": partial(pyserini, "pyserini.search.lucene", "--index", index, "--topics", topic,
                            "--encoder", query, "--impact", "--min-idf", "-1", "--hits", HITS[-1],
                            "--output", work / "pyserini.txt")}
    return {name: [timed(command)[0] for _ in range(runs)] for name, command in commands.items()}


def page(measured: dict[str, Any], docs: Path) -> str:
    parts = [
        "## The exact engine beside Lucene",
        "Each way to search has a process of its own. A way answers all queries, then the next way "
        "does, because queries that take turns would find their lists of postings in the cache. "
        "Times are processor milliseconds of the thread that asks, from impacts in Python to ids "
        "and scores in Python: medians of rounds for each query. \"Other threads\" is the mean of "
        "what the rest of the process used meanwhile, such as Java's compiler and garbage "
        "collector. \"Differ\" counts the queries whose ids, scores or order are not those of "
        "Lucene; Seismic is approximate, and splade-index has another order of ties. A hit counts "
        "for recall if its score is at least that of Lucene's last hit.",
        f"* **InsuranceQA**: its answers, and {QUERIES} of its questions, by the demo model.\n"
        "* **Short texts**: summaries of packages, by the demo model's int8 graph. The queries are "
        f"{QUERIES} summaries of at most 60 characters that were held out "
        "(`benchmarks/short_texts.py` makes both from lists of packages)."]
    for name, figures in measured["sets"].items():
        parts += set_page(name, figures)
    return "\n\n".join([*parts, *_questions_page(measured),
                        Path(__file__).with_name("not_built.md").read_text("utf-8")])


def set_page(name: str, figures: dict[str, Any]) -> list[str]:
    rows: list[list[Any]] = [["", "k", "mean ms", "p50", "p99", "other threads", "Lucene / row",
                              "differ", "recall"]]
    ways, postings, read = figures["ways"], figures["postings"], np.array(figures["read"])
    for hits in map(str, HITS):
        lucene = mean(ways[LUCENE][hits]["milliseconds"])
        for way, each in ways.items():
            times = lucene / mean(each[hits]["milliseconds"])
            missed = way == ENGINE and times < TARGETS[hits]
            rows.append([way, hits, *spread(each[hits]["milliseconds"]),
                         f"{each[hits]['others']:.2f}",
                         f"{times:.1f}{', missed' if missed else ''}", each[hits]["differ"],
                         f"{each[hits]['recall']:.3f}"])
    sizes: list[list[Any]] = [["", "build, processor s", "its peak memory", "bytes",
                               "bytes/posting", "peak memory of a search"]]
    for way, each in ways.items():
        build = figures["builds"][WAYS[way].built]
        sizes.append([way, f"{build['seconds']:.0f}", _mib(build["memory"]),
                      f"{build['bytes']:,}", f"{build['bytes'] / postings:.2f}",
                      _mib(each["memory"])])
    slope = np.polyfit(read, ways[ENGINE][str(HITS[-1])]["milliseconds"], 1)[0]
    rates: list[list[Any]] = [[f"queries/s, k = {HITS[-1]}", "1 thread", "2 threads"]]
    rates += [[way, *(f"{rate:,.0f}" for rate in each.values())]
              for way, each in figures["rates"].items()]
    return [f"### {name[0].upper()}{name[1:]}: {figures['documents']:,} documents",
            f"{postings:,} postings; {len(read)} queries of {figures['terms']:.0f} terms, whose "
            f"lists have {read.mean():,.0f} postings on average. At k = {HITS[-1]} the engine "
            f"reads all of them; a posting more costs {1e6 * slope:.2f} ns (straight line over the "
            "queries; target: .5).",
            table(rows),
            "The engine's postings and where they begin take "
            f"{figures['lists'] / postings:.2f} bytes a posting (target: 4.1); its ids and terms "
            "are the rest:",
            table(sizes), table(rates)]


def _questions_page(measured: dict[str, Any]) -> list[str]:
    rows: list[list[Any]] = [["questions", "variant", "k", "way", "mean ms", "p50", "p99",
                              "other threads", "differ"]]
    rows += [[name, variant, hits, way, *spread(each[hits]["milliseconds"]),
              f"{each[hits]['others']:.2f}", each[hits]["differ"]]
             for name, variants in measured["questions"].items()
             for variant, ways in variants.items()
             for hits in map(str, HITS) for way, each in ways.items()]
    starts: list[list[Any]] = [["command", "seconds"]]
    starts += [[what, f"{median(measured['start'][way]):.1f}"] for way, what in (
        (ENGINE, "`python -m spladev3_anserini.search`"),
        (LUCENE, "`python -m spladev3_anserini.search --lucene`"),
        ("Pyserini", "`python -m pyserini.search.lucene`"))]
    return ["### From a question to its hits",
            "`open_index(...).search(text)` with one thread, so the query's encoding is included. "
            "`splade-v3` encodes it by the model, `splade-v3-doc` needs only the tokenizer.",
            table(rows),
            f"**Start-up.** Whole processes, with one query that is encoded already and "
            f"{HITS[-1]:,} hits, on InsuranceQA:",
            table(starts)]


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
