"""Each engine's limits: what is refused, the scale that fits, and what the files say."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Result
from exports import encode_both, encode_impacts
from hypothesis import given
from hypothesis import strategies as st
from replay import Cluster

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.impacts.query import MAX_EXACT_SCORE
from spladev3_anserini.lucene.jvm import java_class
from spladev3_anserini.servers.exactness import divisor_of, fitting_scale
from spladev3_anserini.servers.export import export_to
from spladev3_anserini.servers.record import read_export
from spladev3_anserini.servers.table import ENGINES


def test_feature_field_keeps_512_and_not_513(tmp_path: Path) -> None:
    """The limits in the table are Lucene's: the impact that is stored, and a linear query's weight."""
    engine, numbers = ENGINES["opensearch"], range(505, 520)
    (tmp_path / "index.json").write_text(json.dumps(engine.setup("rank_features", 1)))
    (tmp_path / "bulk-00000.ndjson").write_text("".join(
        engine.document(number, 0, str(number), {7: number}) for number in numbers))
    found = Cluster(tmp_path).search(engine.query("rank_feature", {7: 1}, 1, 100))
    assert len(found) == len(numbers)
    assert min(int(docid) for docid, score in found if score != int(docid)) == 513
    assert engine.storages == {"rank_features": 512}
    field = java_class("org.apache.lucene.document.FeatureField")
    field.newLinearQuery("f", "t", float(engine.forms["neural_sparse"] or 0))
    with pytest.raises(Exception, match="weight must be in"):
        field.newLinearQuery("f", "t", 64.5)


@pytest.mark.fault(13, "documents with an impact that an engine would change",
                   then="refused, with a scale that fits", detected="the largest impact in the manifest")
@pytest.mark.parametrize(("engine", "storage", "most"), [
    ("opensearch", None, 512), ("elasticsearch", None, 512), ("qdrant", "float16", 2048)])
def test_one_above_the_limit_is_refused_by_name(engine: str, storage: str | None, most: int,
                                                tmp_path: Path) -> None:
    fits = encode_impacts(tmp_path / "fits", [("d", {".": most, "x": 1})], "document")
    export_to(engine, fits, tmp_path / "export", storage=storage)
    above = encode_impacts(tmp_path / "above", [("d", {".": most + 1, "x": 1})], "document")
    with pytest.raises(InputError, match=rf"above: its largest impact is {most + 1:,}; .* up to {most:,} .* "
                                         r"spladev3-anserini encode --scale 99$"):
        export_to(engine, above, tmp_path / "other", storage=storage)
    assert not (tmp_path / "other").exists()


@given(st.floats(0.01, 9.5), st.floats(1, 3000), st.sampled_from([64, 512, 2048]))
def test_the_scale_that_is_named_fits(weight: float, scale: float, most: int) -> None:
    weights = np.array([weight], np.float32)
    (largest,) = Quantizer.of(scale)(weights)
    if largest > most:
        fits = fitting_scale(Quantizer.of(scale).scale, int(largest), most)
        assert Quantizer.of(fits)(weights)[0] <= most
        assert fits > 0.8 * scale * most / largest  # and is not far smaller than it need be


def test_queries_are_divided_by_the_smallest_power_of_two_that_fits() -> None:
    engine = ENGINES["opensearch"]
    for largest, divisor in ((0, 1), (64, 1), (65, 2), (128, 2), (129, 4), (261, 8), (32_767, 512)):
        assert divisor_of(engine, "neural_sparse", largest) == divisor
        assert divisor_of(engine, "rank_feature", largest) == 1
        assert np.float32(largest / divisor) * divisor == largest


@pytest.mark.fault(13, "a query that may score above 2^24, or has more terms than an engine takes",
                   then="refused, with a scale that fits", detected="the query's impacts")
def test_queries_that_would_not_be_exact_are_refused(tmp_path: Path) -> None:
    documents = [("d", {"a": 512})]
    bound = MAX_EXACT_SCORE // 512
    _, most = encode_both(tmp_path / "most", documents, {"q": {"a": 32_767, "b": 1}})
    encoded, above = encode_both(tmp_path / "above", documents, {"q": {"a": 32_767, "b": 2}})
    assert bound == 32_768
    export_to("opensearch", encoded, tmp_path / "out", queries=most)
    with pytest.raises(InputError, match=r"queries: the query 'q' may score above 2\^24, .* --scale 9\d$"):
        export_to("opensearch", encoded, tmp_path / "other", queries=above)
    _, long = encode_both(tmp_path / "long", documents, {"q": {f"t{n}": 1 for n in range(1025)}})
    with pytest.raises(InputError, match=r"the query 'q' has 1,025 terms; OpenSearch takes 1,024"):
        export_to("opensearch", encoded, tmp_path / "other", queries=long)
    export_to("elasticsearch", encoded, tmp_path / "other", queries=long)


def test_an_id_beyond_512_bytes_is_refused_by_line(tmp_path: Path) -> None:
    documents = [("d", {"a": 1}), ("é" * 256, {"a": 1}), ("é" * 256 + "x", {"a": 1})]
    encoded = encode_impacts(tmp_path / "encoded", documents, "document")
    with pytest.raises(InputError, match=r"part-00000.jsonl:3: the id 'é+'... has 513 bytes; OpenSearch takes 512"):
        export_to("opensearch", encoded, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export_to("qdrant", encoded, tmp_path / "out")
    export_to("opensearch", encode_impacts(tmp_path / "two", documents[:2], "document"), tmp_path / "both")


def test_every_default_that_prunes_is_off_in_mapping_and_query(tmp_path: Path) -> None:
    encoded, queries = encode_both(tmp_path, [("d", {".": 3, "a": 1})], {"q": {".": 2}})
    export_to("elasticsearch", encoded, tmp_path / "elastic", queries=queries, parts=4)
    setup = json.loads((tmp_path / "elastic/index.json").read_text())
    assert setup["mappings"]["properties"]["impacts"] == {"type": "sparse_vector", "index_options": {"prune": False}}
    assert setup["settings"]["number_of_shards"] == 4
    body = json.loads((tmp_path / "elastic/msearch.ndjson").read_text().splitlines()[1])
    assert body["query"]["sparse_vector"] == {"field": "impacts", "prune": False, "query_vector": {"0": 2.0}}
    export_to("qdrant", encoded, tmp_path / "qdrant", storage="float16")
    vectors = json.loads((tmp_path / "qdrant/index.json").read_text())["sparse_vectors"]
    assert vectors["impacts"] == {"index": {"on_disk": False, "datatype": "float16"}, "modifier": "none"}


def test_gzip_changes_nothing_but_the_bytes(tmp_path: Path) -> None:
    encoded, _ = encode_both(tmp_path, [("d", {".": 3}), ("empty", {}), ("e", {"a": 4})], {"q": {".": 2}})
    export_to("opensearch", encoded, tmp_path / "plain")
    export_to("opensearch", encoded, tmp_path / "packed", gzipped=True)
    for path in (tmp_path / "plain").glob("bulk-*"):
        assert gzip.decompress((tmp_path / f"packed/{path.name}.gz").read_bytes()) == path.read_bytes()
    text = "".join(path.read_text() for path in sorted((tmp_path / "plain").glob("bulk-*")))
    assert text == ('{"index":{"_id":"d"}}\n{"docid":"d","part":0,"impacts":{"0":3}}\n'
                    '{"index":{"_id":"e"}}\n{"docid":"e","part":2,"impacts":{"1":4}}\n')


@pytest.mark.fault(15, "a byte of an export changed, a file of it missing, or its record changed by hand",
                   detected="sha256 of each file in export.json")
def test_a_changed_export_is_refused(tmp_path: Path) -> None:
    encoded, queries = encode_both(tmp_path, [("d", {".": 3})], {"q": {".": 2}}, shards=1)
    record = export_to("opensearch", encoded, tmp_path / "out", queries=queries)
    assert {file.name for file in record.files} == {
        "bulk-00000.ndjson", "index.json", "msearch.ndjson", "query_ids.txt", "terms.txt"}
    assert all(sha256_of(tmp_path / "out" / file.name) == file.sha256 for file in record.files)
    for file in record.files:
        path = tmp_path / "out" / file.name
        content = path.read_bytes()
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        with pytest.raises(InputError, match=rf"{file.name}: changed since it was written"):
            read_export(tmp_path / "out")
        path.unlink()
        with pytest.raises(InputError, match=rf"{file.name}: missing; export again"):
            read_export(tmp_path / "out")
        path.write_bytes(content)
    assert read_export(tmp_path / "out") == record
    path = tmp_path / "out/export.json"
    path.write_text(path.read_text().replace('"divisor": 1', '"divisor": 2'))
    with pytest.raises(InputError, match=r"export.json: not a valid export record: changed since"):
        read_export(tmp_path / "out")


def test_only_an_export_is_replaced_and_only_if_asked(tmp_path: Path, refused: Callable[..., str],
                                                      cli: Callable[..., Result]) -> None:
    encoded, queries = encode_both(tmp_path, [("d", {".": 3})], {"q": {".": 2}}, shards=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    command = ["export-to", "opensearch", "--encoded", encoded, "--output"]
    assert "exists and is no export" in refused(*command, tmp_path / "mine", "--overwrite")
    assert "is inside `encoded`" in refused(*command, encoded / "out").replace("--encoded", "`encoded`")
    assert cli(*command, tmp_path / "out").code == 0
    assert "holds an export already; choose another name, or --overwrite" in refused(*command, tmp_path / "out")
    assert "1 query" in cli(*command, tmp_path / "out", "--queries", queries, "--overwrite").out
    assert "holds encoded queries; give the documents" in refused(
        "export-to", "qdrant", "--encoded", queries, "--output", tmp_path / "other")
    assert "--query-form neural: OpenSearch has rank_feature or neural_sparse" in refused(
        *command, tmp_path / "other", "--query-form", "neural")
    assert "takes 1 to 10,000" in refused(*command, tmp_path / "other", "--hits", 10_001)


def test_the_command_offers_the_engines_of_the_table() -> None:
    from spladev3_anserini.cli.export_to import main

    (argument,) = (parameter for parameter in main.params if parameter.name == "engine")
    assert list(argument.type.choices) == list(ENGINES)  # type: ignore[attr-defined]
