"""A corpus, topics or qrels -> a string that changes whenever their content may have changed."""

from __future__ import annotations

from pathlib import Path

from spladev3_anserini.collection.corpus import corpus_files
from spladev3_anserini.collection.ir_datasets_source import import_irds, irds_id
from spladev3_anserini.collection.qrels import qrels_file
from spladev3_anserini.collection.topics import topics_file
from spladev3_anserini.files import sha256_of


def source_fingerprint(source: str, part: str) -> str:
    """Returns a string that changes whenever the content of a resolved source may have changed.

    For local files it holds their sha256. For ir_datasets, which checks the md5 of its downloads,
    it holds id, version and download folder. `part` is docs, queries, qrels, or exclude for a file
    that is never in a folder of others.
    """
    if dataset := irds_id(source):
        ir_datasets = import_irds(dataset)
        return f"{source} {ir_datasets.__version__} {ir_datasets.util.home_path()}"
    if part == "exclude":
        files = [Path(source)]
    elif part == "docs":
        files = corpus_files(Path(source))
    else:
        files = [(topics_file if part == "queries" else qrels_file)(source)]
    return " ".join(sha256_of(file) for file in files)
