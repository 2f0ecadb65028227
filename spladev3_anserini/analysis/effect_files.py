"""A file with a table of mean differences -> the effects of query sets."""

from __future__ import annotations

import re
from math import isfinite
from pathlib import Path

from spladev3_anserini.analysis.meta_analysis import LEAST, MOST, Effect
from spladev3_anserini.collection.records import numbered_lines, refuse_inner_cr
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted

_COLUMNS = ("set", "group", "mean", "count")
#: Columns that give a mean's variance; a file has one of these kinds.
_SPREADS = (("variance",), ("error",), ("low", "high"))
_NORMAL_95 = 1.959963984540054


def read_effects(path: Path) -> list[Effect]:
    """Reads the effects of query sets from a tab-separated table with a header.

    The columns, in any order, are set, group (may be empty), mean, count (number of queries), and
    one of these:

    * variance: the variance of the mean;
    * error: its square root;
    * low and high: the ends of a 95 % normal interval. The variance is then
      ((high - low) / (2 x 1.96))^2.

    Raises InputError with file and line for other columns, an invalid number and a set that occurs
    twice. Also raises for a variance that is not above 0 and a mean outside its interval.
    """
    effects: list[Effect] = []
    names: set[str] = set()
    header: list[str] = []
    for line, text in numbered_lines(path):
        where = f"{path}:{line}"
        refuse_inner_cr(text, where)
        row = text.split("\t") if text else []
        if not header:
            header = _checked_header(row, where)
            continue
        if not row:
            continue
        if len(row) != len(header):
            raise InputError(f"{where}: {counted(len(row), 'column')}, its header has "
                             f"{len(header)}")
        effect = _effect(dict(zip(header, row, strict=True)), where)
        if effect.name in names:
            raise InputError(f"{where}: the set {effect.name} is there twice")
        names.add(effect.name)
        effects.append(effect)
    if not effects:
        raise InputError(f"{path}: has no query set")
    return effects


def _checked_header(header: list[str], where: str) -> list[str]:
    if not any(sorted(header) == sorted((*_COLUMNS, *spread)) for spread in _SPREADS):
        raise InputError(f"{where}: expected a header with the columns set, group, mean, count, "
                         "and variance, error, or low and high, with tabs between them")
    return header


def _effect(row: dict[str, str], where: str) -> Effect:
    name, count = row["set"].strip(), row["count"].strip()
    if not name:
        raise InputError(f"{where}: the set has no name")
    if not re.fullmatch(r"0*[1-9]\d{0,14}", count, re.ASCII):
        raise InputError(f"{where}: the count {row['count']!r} is no whole number above 0")
    mean = _number(row["mean"], where)
    if "low" in row:
        low, high = _number(row["low"], where), _number(row["high"], where)
        if not low <= mean <= high:
            raise InputError(f"{where}: the mean {mean:g} is not within [{low:g}, {high:g}]")
        variance = _squared((high - low) / (2 * _NORMAL_95))
    elif "error" in row:
        variance = _squared(max(0.0, _number(row["error"], where)))
    else:
        variance = _number(row["variance"], where)
    if not LEAST <= variance <= MOST or abs(mean) > MOST:
        raise InputError(f"{where}: {name} has no spread above 0 (its variance, {variance:g}, must "
                         f"be {LEAST:g} to {MOST:g}), so it cannot be weighted; remove it"
                         if abs(mean) <= MOST else
                         f"{where}: {name} has the mean {mean:g}; it cannot be beyond {MOST:g}")
    return Effect(name, row["group"].strip(), mean, variance, int(count))


def _squared(value: float) -> float:
    return value * value  # infinite for a large value; ** 2 would raise OverflowError


def _number(text: str, where: str) -> float:
    try:
        # a minus copied from a paper is often U+2212; "1_0" must not be read as 10
        value = float(text.replace("−", "-").replace("_", "?"))
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise InputError(f"{where}: {text!r} is no finite number")
    return value
