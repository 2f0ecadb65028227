"""Tables of query weights: formats, refusals, and the IDF by hand."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.impacts.query_weights import (
    QUERY_WEIGHTS,
    DocumentFrequencies,
    hash_of_weights,
    read_query_weights,
    refuse_unsearchable,
    require_query_weights,
    weights_of,
    write_query_weights,
)

TERMS = ["[PAD]", "wing", "lift", "##s", "é"]


def test_json_and_tab_separated_files_give_one_table(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text('{"wing": 2.5, "##s": 1, "é": 0.125}', "utf-8")
    (tmp_path / "table.tsv").write_text("wing\t2.5\n##s\t1\né\t.125\n", "utf-8")
    (tmp_path / "table.txt").write_text("wing\t2.5\n##s\t1.0\né\t1.25e-1\n", "utf-8")
    for name in ("table.json", "table.tsv", "table.txt"):
        weights = read_query_weights(tmp_path / name, TERMS)
        assert weights.dtype == np.float32
        assert weights.tolist() == [0, 2.5, 0, 1, 0.125]


def test_what_is_written_is_read_with_the_same_bits(tmp_path: Path) -> None:
    weights = np.random.default_rng(7).gamma(2, 2, len(TERMS)).astype(np.float32)
    weights[0] = 0
    path = tmp_path / QUERY_WEIGHTS
    write_query_weights(path, TERMS, weights)
    assert "[PAD]" not in json.loads(path.read_text("utf-8"))
    assert hash_of_weights(TERMS, weights) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_query_weights(path, TERMS).tobytes() == weights.tobytes()
    require_query_weights(tmp_path, hash_of_weights(TERMS, weights))


@pytest.mark.parametrize(("name", "text", "said"), [
    ("t.json", "{", "t.json: not JSON"),
    ("t.json", '[["wing", 1]]', "t.json: expected a JSON object"),
    ("t.json", "3", "t.json: expected a JSON object"),
    ("t.json", "{}", "t.json: no term has a weight above 0"),
    ("t.json", '{"wing": 0.0}', "no term has a weight above 0"),
    ("t.json", '{"wing": 1, "wing": 2}', "the term 'wing' is there twice"),
    ("t.json", '{"wing": "1"}', "the weight of 'wing' is 1; expected a finite number"),
    ("t.json", '{"wing": true}', "the weight of 'wing' is True"),
    ("t.json", '{"wing": NaN}', "the weight of 'wing' is nan"),
    ("t.json", '{"wing": Infinity}', "the weight of 'wing' is inf"),
    ("t.json", '{"wing": -1}', "the weight of 'wing' is -1"),
    ("t.json", '{"wing": {"lift": 1}}', "the weight of 'wing' is"),
    ("t.json", '{"boat": 1}', "the term 'boat' is not in the model's vocabulary"),
    ("t.tsv", "wing\t1\nboat\t1\n", "t.tsv:2: the term 'boat' is not in"),
    ("t.tsv", "wing\t1\nlift 2\n", "t.tsv:2: expected a term, a tab and its weight"),
    ("t.tsv", "wing\tmuch\n", "t.tsv:1: the weight of 'wing' is 'much'"),
    ("t.tsv", "wing\t1\nwing\t1\n", "t.tsv:2: the term 'wing' is there twice"),
    ("t.tsv", "wing\t1e40\n", "t.tsv:1: the weight of 'wing' is 1e+40"),
])
def test_a_bad_table_is_refused_by_file_and_line(name: str, text: str, said: str,
                                                 tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(InputError) as raised:
        read_query_weights(tmp_path / name, TERMS)
    assert str(raised.value).startswith(str(tmp_path / name))
    assert said in str(raised.value)


def test_a_mapping_is_read_as_a_file_is() -> None:
    terms = [*TERMS, "a\\u0020b"]
    assert weights_of({"wing": 2.5, "a b": 1}, terms).tolist() == [0, 2.5, 0, 0, 0, 1]
    for table, said in (({"boat": 1.0}, "`query_weights`: the term 'boat' is not in the model's"),
                        ({"a b": 1.0, "a\\u0020b": 2.0}, "is there twice"),
                        ({"wing": -1.0}, "`query_weights`: the weight of 'wing' is -1.0")):
        with pytest.raises(InputError, match=re.escape(said)):
            weights_of(table, terms)


def test_a_table_that_no_query_can_be_searched_with_is_refused() -> None:
    weights = weights_of({"wing": 300.0, "lift": 0.001}, TERMS)
    refuse_unsearchable(weights, Quantizer(), "t.json")
    with pytest.raises(InputError, match=r"t.json: a weight of 300.0 is outside .* at `scale` 200"):
        refuse_unsearchable(weights, Quantizer(200), "t.json")
    with pytest.raises(InputError, match=r"t.json: every term has an impact of 0 at `scale` 0.001"):
        refuse_unsearchable(weights, Quantizer(0.001), "t.json")


def test_a_table_that_changed_or_is_gone_is_refused(tmp_path: Path) -> None:
    require_query_weights(tmp_path, "")
    with pytest.raises(InputError, match="query_weights.json: missing"):
        require_query_weights(tmp_path, "0" * 64)
    (tmp_path / QUERY_WEIGHTS).write_text('{"wing": 2.5}')
    with pytest.raises(InputError, match="changed since it was written"):
        require_query_weights(tmp_path, "0" * 64)


def test_the_idf_is_that_of_bm25_by_hand() -> None:
    frequencies = DocumentFrequencies(5)
    frequencies.add([[1, 2, 1], [1, 3], []])
    frequencies.add([[1]])
    idf = frequencies.idf()
    assert frequencies.counts.tolist() == [0, 3, 1, 1, 0]  # repeats count once
    for term, df in enumerate([0, 3, 1, 1, 0]):
        assert idf[term] == pytest.approx(math.log(1 + (4 - df + 0.5) / (df + 0.5)), rel=1e-6)
    assert idf[0] == pytest.approx(math.log(2 * 4 + 2), rel=1e-6)
