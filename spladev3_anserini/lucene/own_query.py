"""Rankings -> rankings without the document that is the query itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from spladev3_anserini.collection.runs import Hit


def without_own(rankings: Iterable[tuple[str, list[Hit]]],
                wanted: bool = True) -> Iterator[tuple[str, list[Hit]]]:
    """Takes the document whose id is the topic's out of each ranking, where `wanted`: in ArguAna
    topics are documents themselves, and each would find itself first."""
    for topic, hits in rankings:
        yield topic, [hit for hit in hits if hit.docid != topic] if wanted else hits
