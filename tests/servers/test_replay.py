"""What is exported for OpenSearch and Elasticsearch, replayed into Lucene's FeatureField: the
oracle's documents, scores and order. Their servers themselves do not run here."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from exports import Queries, encode_both
from indexes import Corpus
from replay import Cluster

from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.servers.export import export_to


def hard_case() -> tuple[Corpus, Queries]:
    """Impacts at both sides of a byte and up to 512, the terms `.` and `a.b`, many ties, ids beyond
    ASCII, and query impacts far above 64."""
    draw = random.Random(18)
    terms = [".", "a.b", "..", "##s", "中", "é", *(f"t{n}" for n in range(40))]
    documents = []
    for number in range(240):
        chosen = draw.sample(terms, draw.randrange(1, 14))
        documents.append((f"{draw.choice(['d', 'é', '中', '😀', '.', 'z'])}{number}", {
            term: draw.choice([1, 2, 255, 256, 257, 511, 512, draw.randint(1, 512)]) for term in chosen}))
    documents += [(f"tie{n}", {".": 512, "t1": 7}) for n in draw.sample(range(100), 60)]
    documents.append(("empty", {}))
    queries = {f"q{n}": {term: draw.choice([1, 63, 64, 65, 261, 512, draw.randint(1, 700)])
                         for term in draw.sample([*terms, "absent"], draw.randrange(1, 12))}
               for n in range(12)} | {"dot": {".": 65}, "ties": {".": 3, "t1": 1000}}
    return documents, queries


@pytest.mark.fault(13, "the term `.`, impacts up to 512 and query impacts above 64, in the files for OpenSearch and "
                       "Elasticsearch", then="the oracle's documents, scores and order",
                   detected="a replay into Lucene's FeatureField")
@pytest.mark.parametrize(("engine", "form", "divisor"), [
    ("opensearch", "rank_feature", 1), ("opensearch", "neural_sparse", 16), ("elasticsearch", None, 1)])
def test_what_is_exported_gives_the_oracles_run(engine: str, form: str | None, divisor: int,
                                                tmp_path: Path) -> None:
    documents, queries = hard_case()
    encoded, asked = encode_both(tmp_path, documents, queries)
    folder = tmp_path / engine
    record = export_to(engine, encoded, folder, queries=asked, query_form=form, hits=100, parts=3)
    assert (record.divisor, record.max_impact) == (divisor, 512)
    cluster, oracle = Cluster(folder), ExactSearcher(documents)
    lines = (folder / "msearch.ndjson").read_text().splitlines()
    ids = (folder / "query_ids.txt").read_text().splitlines()
    assert lines[::2] == ["{}"] * len(queries)
    assert ids == list(queries)
    for name, body in zip(ids, lines[1::2], strict=True):
        found = [(docid, score * divisor) for docid, score in cluster.search(json.loads(body))]
        assert found == oracle.search(queries[name], 100), name
