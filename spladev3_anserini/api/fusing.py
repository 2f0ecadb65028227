"""Runs of several systems -> one fused run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spladev3_anserini.api.checks import (
    StrPath,
    finite_number,
    flag,
    one_family,
    one_of,
    optional_number,
    whole_number,
)
from spladev3_anserini.api.run import Run, RunLike, opened_run
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query import MAX_HITS
from spladev3_anserini.rankers.fusion import METHODS, fuse_runs


@one_family
def fuse(runs: Mapping[str, StrPath | RunLike] | Sequence[StrPath | RunLike],
         method: str = "rrf", *, k: int | None = None,
         weights: Mapping[str, float] | Sequence[float] | None = None, raw_scores: bool = False,
         hits: int = 1000) -> Run:
    """Fuse the runs of several systems into one.

    A document's rank is that by its score. The order of the runs changes nothing. Equal scores are
    ordered by document id.

    Args:
        runs: {name: run} or a list of runs, two or more; a run is a `Run`, the path of one, or
            what `Run` takes.
        method: `rrf` (the sum of 1 / (k + rank)) or `sum` (the weighted sum of the scores).
        k: The k of `rrf`; None is 60. The larger it is, the less the first ranks count for.
        weights: The weights of `sum`, {name: weight} or a list in the order of the runs; None is 1
            for each.
        raw_scores: With `sum`, add the scores as they are. Otherwise each query's scores of each
            run are first scaled to 0 ... 1 (min-max).
        hits: Documents per query.

    Returns:
        The fused run. A query that only some of the runs have is in it, and a warning counts
        these queries.

    Raises:
        InputError: There are fewer than two runs, a run shares no query with the others, or a
            value is out of range.
    """
    if isinstance(runs, (str, bytes)) or not isinstance(runs, (Mapping, Sequence)):
        raise InputError("`runs`: expected {name: run} or a list of runs, not "
                         f"{type(runs).__name__}")
    named = dict(runs) if isinstance(runs, Mapping) else {
        f"run {number}": run for number, run in enumerate(runs, 1)}
    opened = {str(name): opened_run(run, str(name)) for name, run in named.items()}
    if isinstance(weights, Mapping):
        if weights.keys() != named.keys():
            raise InputError(f"`weights`: expected one for each of {', '.join(map(str, named))}")
        weights = [weights[name] for name in named]
    elif weights is not None and (isinstance(weights, (str, bytes))
                                  or not isinstance(weights, Sequence)):
        raise InputError(f"`weights` {weights!r}: expected a list of numbers")
    fused = Run.of_rankings(fuse_runs(
        [dict(run) for run in opened.values()], [run.name for run in opened.values()],
        one_of("method", method, METHODS), k=optional_number("k", k, 0, 1_000_000),
        weights=weights and [finite_number("weights", weight) for weight in weights],
        raw_scores=flag("raw_scores", raw_scores), hits=whole_number("hits", hits, 1, MAX_HITS)))
    fused.exact = True
    return fused
