"""An explanation -> text for a terminal, or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spladev3_anserini.analysis.explanation import DocumentCost, Match, TermPosting, TextExplanation
from spladev3_anserini.text import counted, table


def text_as_json(explanation: TextExplanation) -> dict[str, Any]:
    """Returns the explanation of a text for JSON, with its sums."""
    return explanation._asdict() | {"terms": [term._asdict() for term in explanation.terms],
                                    "total": explanation.total,
                                    "expansion_share": explanation.expansion_share}


def match_as_json(match: Match, cost: DocumentCost) -> dict[str, Any]:
    """Returns the explanation of a score and the document's cost for JSON."""
    return {"match": match._asdict() | {
                "products": [product._asdict() for product in match.products]},
            "cost": cost._asdict() | {"postings": [posting._asdict() for posting in cost.postings]}}


def text_table(explanation: TextExplanation, limit: int) -> str:
    """Formats the `limit` largest terms, where + marks expansion, and the sums of all terms."""
    rows = [["", "term", "impact", "share"]]
    rows += [["" if t.own else "+", t.term, f"{t.impact}", f"{t.share:.1%}"]
             for t in explanation.terms[:limit]]
    wordpieces = sum(t.own for t in explanation.terms)
    lines = [table(rows, words=2)]
    if len(explanation.terms) > limit:
        lines.append(f"and {len(explanation.terms) - limit} more")
    expansion = len(explanation.terms) - wordpieces
    lines.append(f"\n{counted(wordpieces, 'own term')} and {expansion} of expansion, which have "
                 f"{explanation.expansion_share:.1%} of {explanation.total:,}")
    if explanation.silent:
        lines.append(f"without weight: {' '.join(explanation.silent)}")
    if explanation.cut:
        lines.append(f"cut off by the length limit: {counted(explanation.cut, 'wordpiece')}")
    return "\n".join(lines)


def match_table(match: Match, cost: DocumentCost) -> str:
    """Formats the products and their running sum, unmatched terms, and the document's postings."""
    rows = [["", "term", "query", "", "document", "", "product", "sum"]]
    rows += [["" if p.own else "+", p.term, f"{p.query}", "x", f"{p.document}", "=",
              f"{p.product:,}", f"{p.so_far:,}"] for p in match.products]
    rank = f"rank {match.rank:,}" if match.rank else f"not among the best {match.hits:,}"
    lines = [table(rows, words=2) if match.products else "no term in common", "",
             f"score {match.score:,}, as the index has it; {rank}"]
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
