"""The fast lines of a matrix's rows against json.dumps, one document at a time."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from spladev3_anserini.impacts.lines import ImpactLine, RowLines, impact_line

texts = st.text(st.characters(codec="utf-8"), max_size=6)


@settings(max_examples=100, deadline=None)
@given(st.lists(texts, min_size=1, max_size=8, unique=True), st.data())
def test_rows_are_what_json_makes_of_their_documents(terms: list[str], data: st.DataObject) -> None:
    impacts = st.sampled_from([0, 0, 1, 9, 10, 273, 1023, 1024, 32767])
    rows = data.draw(st.lists(st.lists(impacts, min_size=len(terms), max_size=len(terms)),
                              max_size=4))
    ids, contents = [[data.draw(texts) for _ in rows] for _ in range(2)]
    matrix = sparse.csr_matrix(np.array(rows, dtype=np.int32).reshape(len(rows), len(terms)))
    expected = []
    for identifier, content, row in zip(ids, contents, rows, strict=True):
        vector = {term: impact for term, impact in zip(terms, row, strict=True) if impact}
        line = json.dumps({"id": identifier, "contents": content, "vector": vector},
                          ensure_ascii=False, separators=(",", ":")) + "\n"
        expected.append(ImpactLine(identifier, line, len(vector), sum(vector.values()),
                                   max(vector.values(), default=0)))
        assert impact_line(identifier, content, vector) == expected[-1]
    assert list(RowLines(terms)(ids, contents, matrix)) == expected

