"""Every layout class, tiny and random: equal to sentence-transformers on both sides, or refused by
file and key; and one Lucene search over all that are served."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import Result, write_corpus
from indexes import assert_equal, index_of
from layout_classes import TEXTS, Bases
from layout_rows import REFUSED, SERVED, Row, routed
from matrix_rows import vector_of

from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.query import MAX_EXACT_SCORE
from spladev3_anserini.impacts.shards import read_encoded, read_manifest
from spladev3_anserini.model.checkpoint import open_checkpoint


def parameters(rows: list[Row]) -> list[Any]:
    return [pytest.param(row, id=row.name, marks=pytest.mark.skipif(
        not all(map(find_spec, row.needs)), reason=f"needs {' and '.join(row.needs)}"))
        for row in rows]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return Bases(tmp_path_factory.mktemp("bases"))


def encoder(folder: Path, side: str) -> Encoder:
    checkpoint = open_checkpoint(str(folder))
    return Encoder(checkpoint, checkpoint.variant, side, EncoderSettings())


def peer(folder: Path) -> Any:
    """sentence-transformers' own model. It computes in float32, as this package does by default."""
    from sentence_transformers import SparseEncoder

    return SparseEncoder(str(folder), device="cpu", model_kwargs={"dtype": "float32"})


def peers(model: Any, side: str, special: frozenset[int], terms: int) -> Any:
    """The peer's weights of TEXTS without special tokens and without columns that have no term. Of a
    text without wordpieces, [CLS] and [SEP] make terms there and none here."""
    encode = model.encode_query if side == "query" else model.encode_document
    found = encode(TEXTS, convert_to_sparse_tensor=False).numpy()[:, :terms]
    found[:, sorted(special)] = 0
    if not model.prompts[side]:
        found[TEXTS.index("")] = 0
    return found


class Served(NamedTuple):
    """The impacts of a layout's documents and queries, kept for the search."""

    documents: list[dict[str, int]]
    queries: list[dict[str, int]]


@pytest.fixture(scope="module")
def served() -> dict[str, Served]:
    return {}


@pytest.mark.parametrize("row", parameters(SERVED))
def test_a_served_layout_equals_its_library(row: Row, bases: Bases, tmp_path: Path,
                                            served: dict[str, Served]) -> None:
    row.build(bases, tmp_path / "model")
    if row.twin:
        row.twin(bases, tmp_path / "twin")
    model = peer(tmp_path / ("twin" if row.twin else "model"))
    assert open_checkpoint(str(tmp_path / "model")).variant.name == row.variant
    impacts = {}
    for side in ("document", "query"):
        own = encoder(tmp_path / "model", side)
        weights = own.weights(TEXTS).toarray()
        expected = peers(model, side, own.tokenizer.special_ids, weights.shape[1])
        assert expected.any()
        np.testing.assert_allclose(weights, expected, atol=1e-5, err_msg=side)
        matrix = own.impacts(TEXTS)
        impacts[side] = [vector_of(own, matrix, place) for place in range(len(TEXTS))]
        alone = [own.vectors_of(own.tokenized([text]).ids)[0] for text in TEXTS]
        assert side == "document" or alone == impacts[side]  # one question, without a matrix
    served[row.name] = Served(impacts["document"], impacts["query"])


def test_lucene_finds_of_all_layouts_what_the_oracle_finds(served: dict[str, Served],
                                                           tmp_path: Path) -> None:
    """One index over all vocabularies: wordpieces, byte-level BPE, Unigram."""
    if not served:
        pytest.skip("runs after the layouts of this file")
    documents = [(f"{name.replace(' ', '-')}-{place}", vector) for name, row in served.items()
                 for place, vector in enumerate(row.documents)]
    queries = [vector for row in served.values() for vector in row.queries]
    # impacts of sum pooling are so large that scores pass what Lucene adds exactly
    documents = [(name, vector) for name, vector in documents if max(vector.values(), default=0) < 999]
    oracle = ExactSearcher(documents)
    queries = [vector for vector in queries
               if not vector or oracle.search(vector, 1)[0][1] < MAX_EXACT_SCORE]
    assert len(queries) > 5 * len(served)
    assert_equal(index_of(documents, tmp_path), documents, queries, 1000)


@pytest.mark.parametrize("row", parameters(REFUSED))
def test_any_other_layout_is_refused_by_file_and_key(row: Row, bases: Bases,
                                                     tmp_path: Path) -> None:
    row.build(bases, tmp_path / "model")
    with pytest.raises(InputError) as raised:
        [encoder(tmp_path / "model", side) for side in ("document", "query")]
    said = str(raised.value)
    assert "\n" not in said
    assert str(tmp_path / "model") in said
    for part in row.refused:
        assert part in said, said


def test_an_index_of_a_pair_of_encoders_refuses_another_query_encoder(
        bases: Bases, tmp_path: Path, cli: Callable[..., Result],
        refused: Callable[..., str]) -> None:
    """Both encoders of efficient-splade count, and so do their prompts."""
    pairs = {"pair": routed(query=("encoder",)), "other": routed(query=("encoder",), other="third"),
             "prompt": routed(query=("encoder",), settings={"prompts": {"query": "cat "}})}
    for name, build in pairs.items():
        build(bases, tmp_path / name)
    corpus = write_corpus(tmp_path / "corpus.jsonl", {str(n): text for n, text in enumerate(TEXTS)})
    topics = tmp_path / "topics.tsv"
    topics.write_text("1\tthe cat on a mat\n2\tshock wave\n")
    for command in (("encode", "--model", tmp_path / "pair", "--corpus", corpus, "--output",
                     tmp_path / "encoded"),
                    ("index", "--encoded", tmp_path / "encoded", "--index", tmp_path / "index")):
        assert cli(*command).code == 0
    search = ("search", "--index", tmp_path / "index", "--topics", topics, "--output")
    assert cli(*search, tmp_path / "run.txt").code == 0
    for name in ("other", "prompt"):
        said = refused(*search, tmp_path / "none.txt", "--model", tmp_path / name)
        assert "model" in said
        queries = tmp_path / f"{name}-queries"
        assert cli("encode", "--model", tmp_path / name, "--topics", topics, "--output",
                   queries).code == 0
        refused("search", "--index", tmp_path / "index", "--queries", queries, "--output",
                tmp_path / "none.txt")
    assert not (tmp_path / "none.txt").exists()
    oracle = ExactSearcher((document.id, document.vector) for document in read_encoded(
        tmp_path / "encoded", read_manifest(tmp_path / "encoded")))
    asked = encoder(tmp_path / "pair", "query")
    vector = vector_of(asked, asked.impacts(["the cat on a mat"]), 0)
    found = list(read_run_file(tmp_path / "run.txt")["1"].items())
    assert found == oracle.search(vector, 1000)
