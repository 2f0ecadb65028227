"""A cluster without servers: exported files into Lucene shards, and exported requests answered as
OpenSearch and Elasticsearch translate them (RankFeatureQueryBuilder, NeuralSparseQueryBuilder,
WeightedTokensUtils), in the tests' own JVM."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spladev3_anserini.lucene.jvm import java_class, start_jvm

LUCENE = "org.apache.lucene"


def lucene(name: str) -> Any:
    return java_class(f"{LUCENE}.{name}")


def bulk_pairs(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for path in sorted(folder.glob("bulk-*.ndjson")):
        lines = path.read_text("utf-8").split("\n")[:-1]
        assert len(lines) % 2 == 0
        for action, source in zip(lines[::2], lines[1::2], strict=True):
            yield json.loads(action), json.loads(source)


class Cluster:
    """As many Lucene indexes as index.json has shards; a document goes to one by its id's hash."""

    def __init__(self, folder: Path) -> None:
        start_jvm()
        setup = json.loads((folder / "index.json").read_text())
        self.fields = setup["mappings"]["properties"]
        assert setup["mappings"]["dynamic"] == "strict"
        directories = [lucene("store.ByteBuffersDirectory")()
                       for _ in range(setup["settings"]["number_of_shards"])]
        writers = [lucene("index.IndexWriter")(directory, lucene("index.IndexWriterConfig")())
                   for directory in directories]
        store = lucene("document.Field$Store")
        for action, source in bulk_pairs(folder):
            assert source.keys() <= self.fields.keys()  # strict
            assert action["index"]["_id"] == source["docid"]
            document = lucene("document.Document")()
            document.add(lucene("document.StringField")("_id", source["docid"], store.YES))
            # a keyword has doc values
            document.add(lucene("document.SortedDocValuesField")(
                "docid", lucene("util.BytesRef")(java_class("java.lang.String")(source["docid"]))))
            for feature, value in source["impacts"].items():
                # SparseVectorFieldMapper allows dots from a later version on, RankFeatures never
                assert "." not in feature
                document.add(lucene("document.FeatureField")("impacts", feature, float(value)))
            writers[zlib.crc32(source["docid"].encode()) % len(writers)].addDocument(document)
        for writer in writers:
            writer.close()
        self._searchers = [lucene("search.IndexSearcher")(
            lucene("index.DirectoryReader").open(directory),
            signature="(Lorg/apache/lucene/index/IndexReader;)V") for directory in directories]

    def _query(self, dsl: dict[str, Any]) -> Any:
        builder, should = lucene("search.BooleanQuery$Builder")(), lucene("search.BooleanClause$Occur").SHOULD
        for name, weight, boost in self._clauses(dsl):
            linear = lucene("document.FeatureField").newLinearQuery("impacts", name, weight)
            builder.add(lucene("search.BoostQuery")(linear, boost) if boost != 1 else linear, should)
        return builder.build()

    def _clauses(self, dsl: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
        """(feature, weight of its linear query, boost)."""
        ((kind, body),) = dsl.items()
        if kind == "bool":
            assert self.fields["impacts"]["type"] == "rank_features"
            for clause in body["should"]:
                feature = clause["rank_feature"]
                field, _, name = feature["field"].rpartition(".")  # at the last dot
                assert (field, feature["linear"]) == ("impacts", {})
                yield name, 1.0, feature["boost"]
        elif kind == "neural_sparse":
            for name, weight in body["impacts"]["query_tokens"].items():
                yield name, weight, 1.0
        else:
            assert kind == "sparse_vector"
            assert body["prune"] is False
            assert self.fields["impacts"]["index_options"] == {"prune": False}
            for name, weight in body["query_vector"].items():
                yield name, 1.0, weight

    def search(self, request: dict[str, Any]) -> list[tuple[str, float]]:
        """The hits of a request: each shard sorts by score and docid, and the best are merged."""
        assert request["sort"] == [{"_score": "desc"}, {"docid": "asc"}]
        assert request["_source"] is False
        query = self._query(request["query"])
        kinds = lucene("search.SortField$Type")
        # pyjnius passes a varargs constructor's arguments splatted
        order = lucene("search.Sort")(lucene("search.SortField").FIELD_SCORE,
                                      lucene("search.SortField")("docid", kinds.STRING))
        found = []
        for searcher in self._searchers:
            top = searcher.search(query, request["size"], order, True)
            for hit in top.scoreDocs:
                stored = searcher.storedFields().document(hit.doc)
                found.append((str(stored.get("_id")), float(hit.score)))
        found.sort(key=lambda hit: (-hit[1], hit[0].encode()))
        return found[: request["size"]]
