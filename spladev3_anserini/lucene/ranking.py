"""Integer queries -> a run, and warnings about queries that Lucene does not score exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from spladev3_anserini.collection.exclusions import Exclusions
from spladev3_anserini.collection.records import checked_text
from spladev3_anserini.collection.runs import Ranking, warn_of_self_retrieval, write_hits
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import is_stdout, output_file
from spladev3_anserini.impacts.manifest import IndexManifest
from spladev3_anserini.impacts.query import EncodedTopic, largest_score
from spladev3_anserini.lucene.opening import Searcher, open_postings
from spladev3_anserini.progress import counter, warn
from spladev3_anserini.text import counted

_NOTHING = Exclusions()


def rank(searcher: Searcher, topics: Sequence[EncodedTopic], hits: int,
         threads: int, excluded: Exclusions = _NOTHING) -> Iterator[tuple[str, Ranking]]:
    """Yields each topic's id and its best hits, in the topics' order.

    Args:
        searcher: The open index.
        topics: The topics with their impacts.
        hits: The most hits per topic.
        threads: Threads that search.
        excluded: Documents that are no hits. As many more are searched for, so that `hits` of
            others are left.
    """
    depth = excluded.depth(hits, (topic.id for topic in topics))
    rankings = searcher.rankings((topic.query for topic in topics), depth, threads)
    with counter("searching", len(topics), unit="query") as bar:
        ranked = zip((topic.id for topic in topics), rankings, strict=True)
        for ranking in excluded.applied(ranked, hits):
            yield ranking
            bar.update()


def warn_of_limits(topics: Sequence[EncodedTopic], record: IndexManifest | None,
                   searcher: Searcher) -> None:
    """Warns, with counts, of queries that match nothing, or whose scores may not be exact.

    `record` is the index's manifest; without it, exactness is not checked.
    """
    if empty := [topic.id for topic in topics if not topic.query]:
        warn(f"{counted(len(empty), 'query')} without a term, which will find nothing: "
             f"{', '.join(empty[:5])}")
    if record is not None and searcher.largest_exact is not None:
        most = record.encoded.max_impact
        inexact = [t.id for t in topics if largest_score(t.query, most) > searcher.largest_exact]
        if inexact:
            warn(f"{counted(len(inexact), 'query')} may pass a score of 2^24, above which Lucene's "
                 f"float32 sums are not exact: {', '.join(inexact[:5])}; use a smaller `scale`")


def write_run(path: Path, rankings: Iterator[tuple[str, Ranking]], tag: str, *,
              exact: bool = False) -> tuple[int, int]:
    """Writes a TREC run, completely or not at all.

    Warns if the first hit of many topics is the document of the same id.

    Args:
        path: Any path that `output_file` takes; its folder is created.
        rankings: (topic id, hits) in the order of the run.
        tag: The run's name in its last column, one word.
        exact: Write all digits of a score, so that different scores stay different.

    Returns:
        (topics with a hit, lines).

    Raises:
        InputError: `path` is a folder, or `tag` is not one word.
    """
    if not isinstance(tag, str) or not tag or any(map(str.isspace, tag)):
        raise InputError(f"`tag` {tag!r}: expected a word without white space")
    checked_text(tag, "`tag`", "tag")
    if not path.exists() and not is_stdout(path):
        path.resolve().parent.mkdir(parents=True, exist_ok=True)
    topics = answered = lines = 0
    self_hits: list[str] = []
    with output_file(path) as stream:
        for topic, hits in rankings:
            write_hits(stream, topic, hits, tag, exact=exact)
            topics += 1
            answered += bool(hits)
            lines += len(hits)
            if hits and hits[0][0] == topic:
                self_hits.append(topic)
    warn_of_self_retrieval(path, self_hits, topics)
    return answered, lines


def refuse_other_exclusions(excluded: Exclusions, index: Path, topics: Sequence[EncodedTopic],
                            *, of_passages: Searcher | None = None) -> None:
    """Compares the ids of exclusions with the topics and with the documents of an index.

    `of_passages` searches for documents by their passages. Raises InputError if none of the queries
    is a topic, or none of the documents is in the index.
    """
    excluded.refuse_other_queries({topic.id for topic in topics}, "the topics")
    if excluded.listed and of_passages:
        known = set(excluded.documents()).intersection(of_passages.ids())
        excluded.refuse_other_documents(known.__contains__, str(index))
    elif excluded.listed:
        with open_postings(index) as postings:
            excluded.refuse_other_documents(postings.has, str(index))
