"""An explanation -> lines for a terminal, or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spladev3_anserini.analysis.explanation import DocumentCost, Match, TermPosting, TextExplanation
from spladev3_anserini.text import counted, table


def text_as_json(made: TextExplanation) -> dict[str, Any]:
    """The explanation of a text, with its sums."""
    return made._asdict() | {"terms": [term._asdict() for term in made.terms],
                             "total": made.total, "expansion_share": made.expansion_share}


def match_as_json(match: Match, cost: DocumentCost) -> dict[str, Any]:
    """The explanation of a score, and what the document costs."""
    return {"match": match._asdict() | {"products": [own._asdict() for own in match.products]},
            "cost": cost._asdict() | {"postings": [own._asdict() for own in cost.postings]}}


def text_table(made: TextExplanation, limit: int) -> str:
    """The `limit` largest terms, expansion marked +, and what they sum to."""
    rows = [["", "term", "impact", "share"]]
    rows += [["" if t.own else "+", t.term, f"{t.impact}", f"{t.share:.1%}"]
             for t in made.terms[:limit]]
    own = sum(t.own for t in made.terms)
    lines = [table(rows, words=2)]
    if len(made.terms) > limit:
        lines.append(f"and {len(made.terms) - limit} more")
    lines.append(f"\n{counted(own, 'own term')} and {len(made.terms) - own} of expansion, which "
                 f"have {made.expansion_share:.1%} of {made.total:,}")
    if made.silent:
        lines.append(f"without weight: {' '.join(made.silent)}")
    if made.cut:
        lines.append(f"cut off by the length limit: {counted(made.cut, 'wordpiece')}")
    return "\n".join(lines)


def match_table(match: Match, cost: DocumentCost) -> str:
    """The products and their running sum, what did not match, and the document's postings."""
    rows = [["", "term", "query", "", "document", "", "product", "sum"]]
    rows += [["" if p.own else "+", p.term, f"{p.query}", "x", f"{p.document}", "=",
              f"{p.product:,}", f"{p.so_far:,}"] for p in match.products]
    place = f"rank {match.rank:,}" if match.rank else f"not among the best {match.hits:,}"
    lines = [table(rows, words=2) if match.products else "no term in common", "",
             f"score {match.score:,}, as Lucene has it; {place}"]
    if match.unmatched:
        missing = " ".join(f"{term} {weight}" for term, weight in match.unmatched.items())
        lines.append(f"not in the document: {missing}")
    count = len(cost.postings)
    size = f", about {count * cost.bytes_each:,.0f} bytes" if cost.bytes_each is not None else ""
    lines += ["", f"{counted(count, 'posting')} of {cost.total:,} ({count / cost.total:.4%}){size};"
              f" terms, with the documents of {cost.documents:,} that have them:",
              f"  rarest  {_some(cost.postings[:5])}",
              f"  most common  {_some(cost.postings[:-6:-1])}"]
    return "\n".join(lines)


def _some(postings: Sequence[TermPosting]) -> str:
    return "  ".join(f"{row.term} {row.documents:,}" for row in postings)
