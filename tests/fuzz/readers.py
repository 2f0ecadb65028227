"""Every reader of this package as a row: a file's bytes go in, records or one line come out."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import re
import tempfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import ipc, parquet
from signed import sign

from spladev3_anserini.analysis.diagnosis import read_curves, read_loss
from spladev3_anserini.analysis.effect_files import read_effects
from spladev3_anserini.collection.corpus import read_corpus, survey
from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.runs import read_rankings, read_run_file
from spladev3_anserini.collection.stored_texts import open_texts, write_texts
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.encoding.directory import Part
from spladev3_anserini.encoding.journal import read_shard_journal
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.measures import parse_measures
from spladev3_anserini.impacts.manifest import IndexManifest, Manifest, read_record, to_json
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.impacts.shards import read_shard
from spladev3_anserini.lucene.part_runs import PartRun
from spladev3_anserini.lucene.segments import written_by
from spladev3_anserini.lucene.unchanged import SOUND_NOTE, _read_note
from spladev3_anserini.model.checkpoint import open_checkpoint, weight_files
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.model.weights import external_data
from spladev3_anserini.rankers.dense_models import find_dense_model
from spladev3_anserini.rankers.registry import find_pair_scorer
from spladev3_anserini.recipe.library import Library, default_folder
from spladev3_anserini.recipe.strict_yaml import parse_scalar, read_yaml
from spladev3_anserini.reproduction.journal import Journal
from spladev3_anserini.reproduction.result import Result, read_result
from spladev3_anserini.servers.record import read_export
from spladev3_anserini.training.checkpoints import (
    exclusive_output,
    newest_intact_checkpoint,
    read_step_counts,
)
from spladev3_anserini.training.ensemble import EnsembleRecord
from spladev3_anserini.training.mapped_data import TrainingDataRecord, map_training_data
from spladev3_anserini.training.own_rows import read_rows
from spladev3_anserini.training.pickled_scores import read_pickle
from spladev3_anserini.training.score_files import (
    ScoreManifest,
    read_candidates,
    read_scores,
)
from spladev3_anserini.training.score_journal import read_score_journal

HERE = Path(__file__).parent


class Reader(NamedTuple):
    """A row: where the bytes go, what reads them, and files it accepts.

    `again` writes what was read as bytes that must read back as equal. `lines`: a refusal names
    the line, or says something of the whole file. `around` are files beside it. `named` False: what
    is read is a text of the command line, in no file.
    """

    file: str
    read: Callable[[Path], Any]
    seeds: tuple[bytes, ...]
    again: Callable[[Any], bytes] | None = None
    lines: bool = False
    around: Mapping[str, bytes] = {}
    named: bool = True
    slow: bool = False


#: What a refusal says that is of no line.
_WHOLE = re.compile(r": (no .* in it|has no |is a Git LFS |not YAML|not UTF-8|no pickle|\d[\d,]* bytes)")


def check(reader: Reader, data: bytes, folder: Path) -> Any:
    """Reads bytes and returns what was read, None where they were refused; raises anything a
    reader must not raise, and AssertionError for a refusal or a record that is not as promised."""
    path = folder / reader.file
    for name, content in {**reader.around, reader.file: data}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    try:
        value = reader.read(path)
    except InputError as error:
        said = str(error)
        assert said.isprintable(), said
        assert not reader.named or str(folder) in said, said
        assert not reader.lines or _WHOLE.search(said) or re.search(
            rf"{re.escape(path.name)}:\d+: ", said), said
        return None
    if reader.again:
        path.write_bytes(reader.again(value))
        assert reader.read(path) == value
    return value


def _lines(*records: Any) -> bytes:
    return "".join(json.dumps(own, ensure_ascii=False) + "\n" for own in records).encode()


def _json(record: Any) -> bytes:
    return json.dumps(record).encode()


def _corpus(path: Path) -> list[tuple[str, str]]:
    documents = [own[:2] for own in read_corpus(str(path))]
    if documents and len({name for name, _ in documents}) == len(documents):
        assert survey(str(path), read_corpus(str(path))).documents == len(documents)
    return documents


def _corpus_again(documents: list[tuple[str, str]]) -> bytes:
    return _lines(*({"id": name, "contents": text} for name, text in documents))


def _topics_again(topics: list[tuple[str, str]]) -> bytes:
    return _lines(*({"id": name, "text": text} for name, text in topics))


def _tsv_again(pairs: list[tuple[str, str]]) -> bytes:
    return "".join(f"{name}\t{text}\n" for name, text in pairs).encode()


def _run_again(run: Mapping[str, Mapping[str, float]]) -> bytes:
    return "".join(f"{query} Q0 {document} 1 {score!r} t\n" for query, own in run.items()
                   for document, score in own.items()).encode()


def _qrels_again(qrels: Mapping[str, Mapping[str, int]]) -> bytes:
    return "".join(f"{query} 0 {document} {grade}\n" for query, own in qrels.items()
                   for document, grade in own.items()).encode()


def _named_lines(items: list[Any]) -> bytes:
    return _lines(*(own._asdict() for own in items))


def _summed(path: Path) -> Path:
    """A file of Lucene's with the checksum of its content at its end."""
    data = path.read_bytes()
    path.write_bytes(data + zlib.crc32(data).to_bytes(8, "big"))
    return path


def _stages(path: Path) -> None:
    with Journal(path.parent) as journal:
        journal._reason_to_run("corpus", {"a": "b"})


def _text(read: Callable[[str], Any]) -> Callable[[Path], Any]:
    return lambda path: read(path.read_bytes().decode("utf-8", "surrogateescape"))


def _quantizer_again(own: Quantizer) -> bytes:
    return str(own).encode()


_DOCUMENTS = (_lines({"id": "d1", "contents": "a b"}, {"_id": 7, "title": "t", "text": "é\u2028x"}),
              b'\xef\xbb\xbf{"id": "d", "contents": ""}\r\n\n{"docid": "e", "text": "\\u00e9"}\n')


def _parquet(columns: Mapping[str, Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.table(dict(columns)), stream, **options)
    return stream.getvalue()


def _arrow(columns: Mapping[str, Any]) -> bytes:
    stream, table = io.BytesIO(), pa.table(dict(columns))
    with ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def _stored() -> dict[str, bytes]:
    """The files of two stored texts."""
    with tempfile.TemporaryDirectory() as name:
        write_texts(Path(name), [("d1", "a b"), ("é", "")])
        return {path.name: path.read_bytes() for path in Path(name).iterdir()}


def _texts(path: Path) -> list[tuple[str, str]]:
    texts = open_texts(path.parent)
    assert texts is not None
    for identifier in ("d1", "é"):
        with suppress(KeyError):
            texts.text(identifier)
    return list(texts.items())


_STORED = _stored()
_TABLE = {"id": ["d1", "é"], "text": ["a b", "x\u2028"], "title": [None, "t"]}
_PAIRS = (b"1\twhat is lift\nq2\tan extra\ttab\n\n", "é\t中文\r\n".encode())
_RUN = (b"q1 Q0 d2 1 510 tag\nq1 Q0 d1 2 340.5 tag\n\nq2 Q0 d1 1 1e-3 tag\n",)
_SHARD = (_lines({"id": "d1", "contents": "", "vector": {"cat": 120, "##s": 4}},
                 {"id": "é", "contents": "x\n", "vector": {'"': 1, "\\": 2, "中": 32767}},
                 {"id": "none", "contents": "", "vector": {}}),)
_FINGERPRINT = {
    "model": "m" * 64, "tokenizer": "t" * 64, "variant": "splade-v3", "side": "document",
    "quantizer": "x100-rint", "special_tokens": "drop", "max_length": 256, "top_k": None,
    "dtype": "float32", "device": "cpu", "batch_tokens": 1024, "corpus": "c" * 64, "documents": 3,
    "shards": 1, "shard_size": 5000, "gzip": False, "contents": False, "package": "0"}
_SHARD_RECORD = {
    "name": "part-00000.jsonl", "sha256": "a" * 64, "texts": "b" * 64, "documents": 3,
    "nonempty": 2, "postings": 5, "impacts": 127, "max_impact": 120, "empty_ids": ["none"]}
_MANIFEST = {"fingerprint": _FINGERPRINT, "shards": [_SHARD_RECORD], "model_name": "demo",
             "input": "corpus.jsonl", "environments": [{"python": "3.11"}]}
_EXPORT = {"engine": "opensearch", "storage": "rank_features", "query_form": "neural_sparse", "divisor": 8,
           "max_impact": 272, "max_query_impact": 261, "hits": 1000, "model_ids": True, "gzip": False,
           "encoded": _MANIFEST, "queries": _MANIFEST, "files": []}
_SCORE_MANIFEST = {
    "name": "t", "fingerprint": {
        "teacher": "a", "kind": "onnx", "max_length": 256, "batch_tokens": 1, "device": "cpu",
        "dtype": "float32", "t5_token": "x", "candidates": "c", "corpus": "d", "topics": "e",
        "block": 1, "package": "0"},
    "parts": [{"name": "part-00000.jsonl", "sha256": "a", "queries": 1, "pairs": 2}],
    "queries": 1, "pairs": 2, "environment": {}}
_ENSEMBLE = {
    "teachers": [{"name": "a", "sha256": "", "kind": "onnx", "max_length": 9, "flat_queries": 1}],
    "candidates": "c", "queries": 2, "pairs": 2, "filled_positives": 0,
    "constant_queries": 0, "normalisation": "min-max", "aggregation": "mean", "mean": 0.5,
    "deviation": 0.1, "rescoring": "none", "target_mean": None, "target_deviation": 1.0,
    "target_source": "", "scale": 1.0, "shift": None, "disagreement": [
        {"one": "a", "other": "b", "spearman": 0.5, "queries": 2, "negative": 0}],
    "spread": {"mean": 0.1, "most": 0.2, "most_query": "q"}, "package": "0"}
_RESULT = {
    "recipe": "demo", "recipe_file": "a", "collection": "demo", "collection_file": "b",
    "prebuilt": None, "variant": "splade-v3", "settings": {"max_length": 64}, "model": "demo",
    "model_sha256": "m", "documents": 3, "corpus_sha256": None, "index": {
        "documents": 3, "postings": 5, "total_terms": 127},
    "query_sets": {"test": {
        "hits": 10, "remove_query": False, "topics_sha256": "a", "qrels_sha256": "b", "queries": 1,
        "judgments": 1, "missing": 0, "run_sha256": "c", "measures": {"RR@10": 0.5}}},
    "environment": {}, "finished": "2026-11-25"}
_STAGES = {"stages": {"corpus": {"inputs": {"a": "b"}, "outputs": {"x": "y"}}}}
_SCORES = (_lines({"query": "q1", "scores": {"d1": 1.5, "d2": -2}}, {"query": 2,
                                                                     "scores": {"é": 0}}),)
_CANDIDATES = (_lines({"query": "q1", "positives": ["d1"], "candidates": ["d2", 3]}),)
_PICKLES = (pickle.dumps({1: {2: 1.5, 3: 2}, "q": {"é": -1.0}}, 2),
            pickle.dumps({"1": {"2": 1.5}}, 4),
            pickle.dumps({1: {2: np.float32(1.5), 3: np.int64(2)}}, 3))
_EFFECTS = (b"set\tgroup\tmean\tcount\tvariance\na\tg\t0.1\t9\t0.5\nb\t\t\xe2\x88\x920.1\t12\t1e-3\n",
            b"mean\tset\tgroup\tcount\tlow\thigh\n1\tx\t\t3\t0.5\t1.5\n")
_CURVES = (_lines({"step": 1, "kl": 0.5, "penalty_documents": 1.0, "lambda_documents": 0.1,
                   "nonzero_documents": 30.0, "nonzero_queries": 9}, {"loss": 1}),)
_ARRAYS = {f"{name}.bin": array.tobytes() for name, array in {
    "starts": np.array([0, 2]), "positives": np.array([1], "i4"), "documents": np.array([0, 1], "i4"),
    "scores": np.array([1.5, -2.0]), "query_spans": np.array([0, 3]), "text_spans": np.array([0, 1, 2, 3]),
    "queries": np.frombuffer(b"q\ta\n", "u1"), "texts": np.frombuffer(b"b\nc\n", "u1")}.items()}
_MAPPED = to_json(TrainingDataRecord(key="key", sha256="a", skipped={"queries": 1}, arrays={
    name.removesuffix(".bin"): hashlib.sha256(content).hexdigest()
    for name, content in _ARRAYS.items()})).encode()
_TRAINING = _json({"training": {"loss": {"kl": 1.0, "margin_mse": 0.05}}, "steps": 3})

_MODEL = {"config.json": b'{"model_type": "bert"}', "vocab.txt": b"a\n", "model.safetensors": b""}
_SETTINGS = {"config_sentence_transformers.json": b'{"model_type": "SparseEncoder"}'}
_SPARSE = "sentence_transformers.sparse_encoder.models."
_MODULES = _json([{"idx": 0, "path": "", "type": f"{_SPARSE}MLMTransformer"},
                  {"idx": 1, "path": "1_SpladePooling", "type": f"{_SPARSE}SpladePooling"}])
_ROUTER = _json({"types": {"": f"{_SPARSE}MLMTransformer", "q": f"{_SPARSE}SparseStaticEmbedding"},
                 "structure": {"query": ["q"], "document": [""]}})
_SAME_SIDES = _json({
    "types": {"": f"{_SPARSE}MLMTransformer", "p": f"{_SPARSE}SpladePooling"},
    "structure": {"query": ["", "p"], "document": ["", "p"]}, "parameters": {"route_mappings": {}}})
_DENSE = {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"",
          "modules.json": _json([{"path": "", "type": "sentence_transformers.models.Transformer"},
                                 {"path": "1_Pooling",
                                  "type": "sentence_transformers.models.Pooling"}]),
          "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
          "config_sentence_transformers.json": b'{"similarity_fn_name": "dot", "prompts": {}}'}
_TEACHER = _json({"architectures": ["BertForSequenceClassification"]})
_BEGUN = {"variant": "v", "start": "s", "tokenizer": "t", "training": {}, "data": "d",
          "accumulate": 1,
          "ranks": 1}


def _model(path: Path) -> object:
    return open_checkpoint(str(path.parent)).variant


def _length(path: Path) -> object:
    return open_checkpoint(str(path.parent)).length_warning(256)


def _pooling(path: Path) -> object:
    return open_checkpoint(str(path.parents[1])).variant


def _prepare(path: Path) -> None:
    with exclusive_output(path.parent, _BEGUN, resume=True, replace=False):
        pass


def _yaml(*names: str) -> tuple[bytes, ...]:
    folder = default_folder()
    return tuple((folder / name).read_bytes() for name in names)


def _recipe(path: Path) -> object:
    return Library(default_folder()).recipe(str(path))


def _collection(path: Path) -> object:
    return Library(default_folder()).collection(str(path))


READERS: dict[str, Reader] = {
    "corpus-json": Reader("c.jsonl", _corpus, _DOCUMENTS, _corpus_again, lines=True),
    "corpus-tsv": Reader("c.tsv", _corpus, _PAIRS, None, lines=True),
    "corpus-csv": Reader("c.csv", _corpus, (b'id,title,text\n1,A,"a, ""b""\nc"\n\n2,,d\n',), None,
                         lines=True),
    "corpus-gz": Reader("c.jsonl.gz", _corpus, tuple(gzip.compress(s, mtime=0) for s in _DOCUMENTS),
                        lambda own: gzip.compress(_corpus_again(own)), lines=True),
    "corpus-beir": Reader("corpus.jsonl", lambda path: _corpus(path.parent), _DOCUMENTS,
                          _corpus_again, lines=True, around={"queries.jsonl": b"not read"}),
    "corpus-parquet": Reader("c.parquet", _corpus, (_parquet(_TABLE), _parquet(
        {"docid": [1, 2], "contents": ["", "b"]}, compression="none", write_page_checksum=True))),
    "corpus-arrow": Reader("c.arrow", _corpus, (_arrow(_TABLE),)),
    "topics-json": Reader("t.jsonl", lambda path: [own[:2] for own in read_topics(str(path))],
                          (_lines({"_id": "1", "text": "a"}, {"qid": 2, "title": "b"}),),
                          _topics_again, lines=True),
    "topics-tsv": Reader("t.tsv", lambda path: [own[:2] for own in read_topics(str(path))], _PAIRS,
                         None, lines=True),
    "qrels": Reader("q.txt", lambda path: read_qrels(str(path)),
                    (b"q1 0 d1 1\nq1 0 d2 0\nq2 Q0 d1 -2\n",
                     b"query-id\tcorpus-id\tscore\nq1\td1\t1\n",
                     b"query_id corpus_id score\nq1 d1 1.0\nq1 d1 1\n"), _qrels_again, lines=True),
    "run": Reader("r.txt", read_run_file, _RUN, _run_again, lines=True),
    "run-gz": Reader("r.txt.gz", read_run_file, tuple(map(gzip.compress, _RUN)),
                     lambda own: gzip.compress(_run_again(own)), lines=True),
    "rankings": Reader("r.txt", lambda path: list(read_rankings(path)), _RUN, lambda rankings: "".join(
        f"{query} Q0 {document} 1 {score!r} t\n" for query, ranking in rankings
        for document, score in ranking).encode(), lines=True),
    "part-run": Reader("r.txt.part.json", lambda path: read_record(PartRun, sign(path)), (_json({
        "part": "1/2", "whole": "w", "queries": "q", "run": "r", "hits": 10, "tag": "t",
        "topics": ["q1", "q2"]}),), lambda own: own.model_dump_json().encode()),
    "shard": Reader("s.jsonl", lambda path: list(read_shard(path)), _SHARD, _named_lines,
                    lines=True),
    "shard-parquet": Reader("s.parquet", lambda path: list(read_shard(path)), (_parquet(
        {"id": ["d1", "none"], "terms": [["cat", "é"], []], "impacts": [[120, 4], []]}),)),
    "candidates": Reader("c.jsonl", lambda path: list(read_candidates(path)), _CANDIDATES,
                         _named_lines, lines=True),
    "own-rows": Reader("o.jsonl", lambda path: list(read_rows(str(path))), (
        _lines({"query": "q", "positive": "a"}, {"query": "r", "positive": "b"}),
        _lines({"anchor": "q", "pos": ["a"], "neg": ["b", "c"], "score": [1, 0.5, -2]}),
        _lines({"query": "q", "docs": ["a", "b"], "scores": [1.5, 0]})), lines=True),
    "own-rows-tsv": Reader("o.tsv", lambda path: list(read_rows(str(path))), (
        b"query\tpositive\nq\ta\n", b"q\ta\tb\nr\tc\td\n"), lines=True),
    "scores": Reader("s.jsonl", lambda path: list(read_scores(path)), _SCORES, _named_lines,
                     lines=True),
    "pickle": Reader("s.pkl", lambda path: list(read_pickle(path)), _PICKLES,
                     lambda own: pickle.dumps({q: dict(s) for q, s in own})),
    "pickle-gz": Reader("s.pkl", lambda path: list(read_pickle(path)),
                        tuple(gzip.compress(own, mtime=0) for own in _PICKLES)),
    "effects": Reader("e.tsv", read_effects, _EFFECTS, None, lines=True),
    "curves": Reader("curves.jsonl", read_curves, _CURVES, None, lines=True),
    **{f"texts-{name}": Reader(name, _texts, (_STORED[name],), around=_STORED) for name in _STORED},
    "training data": Reader("data.json", lambda path: map_training_data(path.parent, "key"),
                            (_MAPPED,), around=_ARRAYS),
    "training": Reader("training.json", lambda path: read_loss(path.parent), (_TRAINING,)),
    "begun": Reader("begun.json", _prepare, (_json(_BEGUN),)),
    "whole": Reader("checkpoint-5/whole.json", lambda path: newest_intact_checkpoint(path.parents[1]),
                    (_json({"a": hashlib.sha256(b"").hexdigest()}),), around={"checkpoint-5/a": b"",
                                                                              "checkpoint-x/b": b""}),
    "state": Reader("trainer_state.json", lambda path: read_step_counts(path.parent),
                    (_json({"global_step": 2, "max_steps": 8}),)),
    "manifest": Reader("manifest.json", lambda path: read_record(Manifest, sign(path)),
                       (_json(_MANIFEST),), lambda own: own.model_dump_json().encode()),
    "index-manifest": Reader("m.json", lambda path: read_record(IndexManifest, sign(path)),
                             (_json({"encoded": _MANIFEST, "versions": {"lucene": "10"}}),
                              _json({"encoded": _MANIFEST, "versions": {}, "files": [
                                  {"name": "segments_1", "size": 9, "sha256": "a" * 64}],
                                  "part": "2/3", "whole": "w" * 64})),
                             lambda own: own.model_dump_json().encode()),
    "export": Reader("export.json", lambda path: read_export(sign(path).parent),
                     (_json(_EXPORT), _json(_EXPORT | {"queries": None, "hits": 10**15})),
                     lambda own: own.model_dump_json().encode()),
    "index-note": Reader(SOUND_NOTE, lambda path: _read_note(sign(path).parent), (_json(
        {"files": {"_0.doc": {"sha256": "a" * 64, "size": 9, "mtime_ns": 1, "ctime_ns": 2,
                              "inode": 3}}}),)),
    "segments": Reader("segments_1", lambda path: written_by(_summed(path)), (
        b"\x3f\xd7\x6c\x17\x08segments\0\0\0\x0a" + bytes(16) + b"\x01" b"1\x09\x09\x01\x09",)),
    "score-manifest": Reader("manifest.json", lambda path: list(read_scores(sign(path).parent)),
                             (_json(_SCORE_MANIFEST),)),
    "score-record": Reader("manifest.json", lambda path: read_record(ScoreManifest, sign(path)),
                           (_json(_SCORE_MANIFEST),), lambda own: own.model_dump_json().encode()),
    "score-journal": Reader("p.jsonl", lambda path: read_score_journal(sign(path)),
                            (_lines(*_SCORE_MANIFEST["parts"]),), None,
                            lines=True),
    "ensemble": Reader("e.json", lambda path: read_record(EnsembleRecord, sign(path)),
                       (_json(_ENSEMBLE),)),
    "result": Reader("result.json", lambda path: read_result(sign(path).parent), (_json(_RESULT),),
                     lambda own: Result.model_dump_json(own).encode()),
    "journal": Reader("progress-1-of-1.jsonl", lambda path: read_shard_journal(sign(path)),
                      (_lines(_FINGERPRINT, {"versions": {"python": "3.11"}}, _SHARD_RECORD),)),
    "stages": Reader("stages.json", _stages, (_json(_STAGES),)),
    "yaml": Reader("y.yaml", read_yaml, (
        b"a: 1\nb:\n  - 2e-5\n  - {c: 'no', d: 2026-11-23}\ne: 0.5\n",
        b"%YAML 1.1\n---\na: \"\\u00e9\\x41\"\nb: |\n  text\nc: [~, true, +1, .5]\n"), None,
                   lines=True),
    "recipe": Reader("r.yaml", _recipe, (
        b"title: t\nmodel: demo\nlicence: Apache-2.0\nvariant: splade-v3\nsettings: {max_length: 64, "
        b"query_max_length: 64, quantizer: x100-rint, special_tokens: drop, dtype: float32}\n",
        b"base: splade-v3\ntitle: x\ntraining: {seed: 1, loss: {kl: 1.0}}\n",
        b"title: b\nlicence: x\nbaseline: {kind: dense, model: minilm, hnsw_m: 32}\n"), None,
                     lines=True),
    "collection": Reader("c.yaml", _collection, _yaml("collections/demo.yaml"), None, lines=True),
    "value": Reader("value", _text(lambda text: parse_scalar(text, "--set x")), (b"2e-5", b"[1, no]"),
                    named=False),
    "quantizer": Reader("name", _text(Quantizer.parse), (b"x100-rint", b"x51.2-rint",
                                                         b"x1e-05-rint"),
                        _quantizer_again, named=False),
    "measures": Reader("names", _text(parse_measures), (b"nDCG@10 RR@10, R(rel=2)@100 nDCG*@10",),
                       named=False),
    "part": Reader("part", _text(Part.parse), (b"2/8",), lambda own: str(own).encode(),
                   named=False),
    "model-config": Reader("config.json", _model, (b'{"model_type": "distilbert"}',),
                           around=_MODEL),
    "model-modules": Reader("modules.json", _model, (_MODULES,), around=_MODEL | _SETTINGS),
    "model-router": Reader("router_config.json", _model, (_ROUTER, _SAME_SIDES), around=_MODEL | {
        "modules.json": _json([{"path": "", "type": f"{_SPARSE}Router"}])}),
    "model-settings": Reader("config_sentence_transformers.json", _model, (
        b'{"prompts": {"query": ""}, "default_prompt_name": "query", "similarity_fn_name": "dot"}',),
        around=_MODEL),
    "model-length": Reader("sentence_bert_config.json", _length, (
        b'{"max_seq_length": 32, "do_lower_case": false, "transformer_task": "fill-mask"}',),
        around=_MODEL | _SETTINGS | {"modules.json": _MODULES}),
    "model-graph": Reader("model.onnx", external_data, (
        b"\x6a\x0f\x0a\x08location\x12\x03a.b", b"")),
    "model-note": Reader("spladev3.json", _model, (b'{"variant": "splade-v3-doc"}',),
                         around=_MODEL),
    "model-arguments": Reader("model_args.json", _model, (b'{"splade_doc": true}',), around=_MODEL),
    "model-pooling": Reader("1_SpladePooling/config.json", _pooling,
                            (b'{"pooling_strategy": "max", "activation_function": "relu"}',),
                            around=_MODEL | _SETTINGS | {"modules.json": _MODULES}),
    "model-index": Reader("model.safetensors.index.json",
                          lambda path: weight_files(open_checkpoint(str(path.parent))),
                          (_json({"weight_map": {"a": "model.safetensors"}}),), around=_MODEL),
    "dense-modules": Reader("modules.json", lambda path: find_dense_model(str(path.parent)),
                            (_DENSE["modules.json"],), around=_DENSE),
    "dense-pooling": Reader("1_Pooling/config.json", lambda path: find_dense_model(str(path.parents[1])),
                            (_DENSE["1_Pooling/config.json"],), around=_DENSE),
    "dense-settings": Reader("config_sentence_transformers.json",
                             lambda path: find_dense_model(str(path.parent)),
                             (_DENSE["config_sentence_transformers.json"],), around=_DENSE),
    "dense-length": Reader("sentence_bert_config.json", lambda path: find_dense_model(str(path.parent)),
                           (b'{"max_seq_length": 256, "do_lower_case": false}',), around=_DENSE),
    "teacher-config": Reader("config.json", lambda path: find_pair_scorer(str(path.parent)),
                             (_TEACHER,),
                             around={"model.safetensors": b""}),
    "tokenizer": Reader("tokenizer.json", lambda path: Tokenizer(path.parent), (), slow=True,
                        around={"config.json": b'{"model_type": "bert"}',
                                "tokenizer_config.json":
                                    b'{"tokenizer_class": "PreTrainedTokenizerFast"}'}),
}
