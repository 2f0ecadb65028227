"""A run and judgments -> measures, with a warning if their ids disagree."""

from __future__ import annotations

import re
import unicodedata
from itertools import islice
from pathlib import Path
from typing import Any

from spladev3_anserini.collection.passages import PASSAGE_DELIMITER
from spladev3_anserini.collection.qrels import Qrels
from spladev3_anserini.collection.runs import RunScores, read_run_file, warn_of_self_retrieval
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.measures import Evaluation, evaluate
from spladev3_anserini.progress import warn
from spladev3_anserini.text import counted

#: How many of a topic's hits are compared with the judged ids that the run does not have.
_SEARCHED = 100


def evaluate_run(path: Path, qrels: Qrels, source: str, measures: list[Any]) -> Evaluation:
    """Reads a run file and evaluates it, as `evaluate_scores` does.

    Raises InputError as `read_run_file` and `evaluate_scores` do.
    """
    return evaluate_scores(read_run_file(path), path, qrels, source, measures)


def evaluate_scores(run: RunScores, path: Path | str, qrels: Qrels, source: str,
                    measures: list[Any]) -> Evaluation:
    """Evaluates a run, and warns if its ids and those of the judgments disagree.

    Warns about judged queries without a result, queries without a judgment, and ids that hardly
    overlap: a value near 0 then says nothing about the ranking.

    Args:
        run: {query: {document: score}}.
        path: What messages call the run.
        qrels: {query: {document: grade}}.
        source: What messages call the judgments.
        measures: Measures from `parse_measures`.

    Raises:
        InputError: The run has no query in common with the judgments; and as `evaluate` does.
    """
    run = {query: scores for query, scores in run.items() if scores}  # as a run's file has them
    if not run:
        raise InputError(f"{path}: no hit in it")
    common = [query for query in qrels if query in run]
    similar = _similar_ids([query for query in qrels if query not in run],
                           [query for query in run if query not in qrels])
    if not common:
        raise InputError(f"{path}: has no query in common with {source} (its first is "
                         f"{next(iter(run))!r}, the first judged one is {next(iter(qrels))!r}"
                         f"{'; they differ only in form' if similar else ''})")
    result = evaluate(qrels, run, measures)
    if result.missing:
        warn(f"{path}: {len(result.missing)} of {counted(result.queries, 'judged query')} without "
             f"a result, counted as 0: {', '.join(result.missing[:5])}")
    if result.unjudged:
        warn(f"{path}: {counted(len(result.unjudged), 'query')} without a judgment, counted "
             f"nowhere: {', '.join(result.unjudged[:5])}")
    if similar:
        warn(f"{path}: {similar[0][0]!r} and {similar[0][1]!r} are two queries, since ids are "
             f"compared character by character; {counted(len(similar), 'such pair')}; {source} "
             "has the first form")
    _warn_of_documents(path, qrels, source, run, common)
    return result


def _warn_of_documents(path: Path | str, qrels: Qrels, source: str, run: RunScores,
                       common: list[str]) -> None:
    if not any(grade > 0 for judged in qrels.values() for grade in judged.values()):
        warn(f"{source}: no grade in it is above 0, so no document is relevant")
    overlapping = sum(any(document in run[query] for document in qrels[query]) for query in common)
    if 20 * overlapping < len(common):
        query = next(q for q in common if not qrels[q].keys() & run[q].keys())
        few = f"only {overlapping} of {len(common)} queries have a judged document among their " \
            "results" if overlapping else "no document in it is judged"
        passages = any(document.rpartition(PASSAGE_DELIMITER)[0] in qrels[query]
                       for query in common for document in run[query])
        cause = ("its ids are of passages; give `max_passage` to search or evaluate."
                 if passages else "do the ids differ?")
        warn(f"{path}: {few}, so its values mean little; {cause} The query {query!r} "
             f"has {next(iter(run[query]))!r} here, {next(iter(qrels[query]))!r} in {source}")
    similar = [pair for query in common for pair in _similar_ids(
        [d for d in qrels[query] if d not in run[query]],
        [d for d in islice(run[query], _SEARCHED) if d not in qrels[query]])]
    if similar:
        warn(f"{path}: {similar[0][0]!r} and {similar[0][1]!r} are two documents, since ids are "
             f"compared character by character; {counted(len(similar), 'such pair')}; {source} "
             "has the first form")
    warn_of_self_retrieval(path, [q for q in common if _top_document(run[q]) == q
                                  and qrels[q].get(q, 0) <= 0], len(common))


def _top_document(scores: dict[str, float]) -> str:
    return max(scores, key=lambda document: (scores[document], document))


def _similar_ids(judged: list[str], other: list[str]) -> list[tuple[str, str]]:
    """Returns pairs of ids that differ only in case, leading zeros or Unicode form."""
    if not judged:
        return []
    by_form = {_normalized(identifier): identifier for identifier in other}
    return [(identifier, by_form[form]) for identifier in judged
            if (form := _normalized(identifier)) in by_form]


def _normalized(identifier: str) -> str:
    """Returns an id without leading zeros, case, compatibility forms and invisible characters."""
    if not identifier.isascii():
        identifier = "".join(letter for letter in unicodedata.normalize("NFKC", identifier)
                             if unicodedata.category(letter) != "Cf")
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", identifier).casefold()
