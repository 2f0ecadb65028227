"""The public API: equal to plain transformers, to arithmetic by hand and to the commands; its refusals."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from conftest import TEXTS, Result, write_corpus

import spladev3_anserini as splade

QUERIES = {"q1": "the cat on the mat", "q2": "heat and air flow", "q3": "wing"}


@pytest.fixture(scope="module")
def model(tiny: Path) -> splade.Model:
    return splade.load(tiny, variant="splade-v3", max_length=32)


@pytest.fixture(scope="module")
def index(model: splade.Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[splade.Index]:
    with model.index(TEXTS, tmp_path_factory.mktemp("api") / "index") as opened:
        yield opened


def plain_weights(folder: Path, text: str) -> dict[str, float]:
    """max over positions of log(1 + relu(logit)), by transformers alone; special tokens dropped."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForMaskedLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = network(**tokenizer(text, return_tensors="pt")).logits[0]
    weights = torch.log1p(torch.relu(logits)).max(dim=0).values
    return {term: float(weights[number]) for term, number in tokenizer.get_vocab().items()
            if weights[number] > 0 and number not in tokenizer.all_special_ids}


def dot(one: dict[str, int], other: dict[str, int]) -> int:
    return sum(weight * other.get(term, 0) for term, weight in one.items())


def test_importing_loads_neither_torch_nor_java_nor_numpy() -> None:
    script = ("import sys, spladev3_anserini as splade\n"
              "assert set(splade.__all__) <= set(dir(splade))\n"
              "heavy = {'torch', 'transformers', 'jnius', 'numpy', 'click'} & sys.modules.keys()\n"
              "assert not heavy, heavy")
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_public_name_is_there_and_none_hides_a_module() -> None:
    from spladev3_anserini import __path__ as path

    for name in splade.__all__:
        assert getattr(splade, name) is not None
    runnable = {file.stem for folder in path for file in Path(folder).glob("*.py")}
    assert not runnable & set(splade.__all__)
    with pytest.raises(AttributeError, match="no attribute 'encode_everything'"):
        splade.encode_everything  # noqa: B018


def test_weights_are_those_of_plain_transformers(model: splade.Model, tiny: Path) -> None:
    texts = list(TEXTS.values())[:4]
    for text, weights in zip(texts, model.weights(texts), strict=True):
        expected = plain_weights(tiny, text)
        assert weights == pytest.approx(expected, abs=1e-5)
        assert list(weights.values()) == sorted(weights.values(), reverse=True)


def test_impacts_are_rounded_weights_and_the_matrix_has_the_same(model: splade.Model) -> None:
    texts = (text for text in list(TEXTS.values())[:5])  # any iterable
    rows = list(TEXTS.values())[:5]
    weights, impacts = model.weights(texts), model.impacts(rows)
    for row, counted in zip(weights, impacts, strict=True):
        rounded = {term: int(np.rint(np.float32(100) * np.float32(w))) for term, w in row.items()}
        assert counted == {term: impact for term, impact in rounded.items() if impact}
    matrix = model.matrix(rows, impacts=True)
    assert matrix.shape == (5, len(model.terms))
    assert matrix.sum() == sum(sum(row.values()) for row in impacts)
    first = matrix[0].tocoo()
    assert {model.terms[c]: v for c, v in zip(first.col, first.data, strict=True)} == impacts[0]


def test_a_query_of_a_query_free_variant_is_its_wordpieces(tiny: Path) -> None:
    free = splade.load(tiny, variant="splade-v3-doc", max_length=32)
    assert free.impacts(["the cat sat"], side="query") == [{"cat": 1, "sat": 1, "the": 1}]
    assert free.impacts([""], side="query") == [{}]


def test_search_is_the_dot_product_in_the_order_of_ids(index: splade.Index,
                                                       model: splade.Model) -> None:
    documents = dict(zip(TEXTS, model.impacts(TEXTS.values()), strict=True))
    for text in QUERIES.values():
        (query,) = model.impacts([text], side="query")
        scores = {name: dot(query, document) for name, document in documents.items()}
        expected = sorted(((-s, name) for name, s in scores.items() if s))[:4]
        assert [(hit.docid, hit.score) for hit in index.search(text, hits=4)] == [
            (name, -score) for score, name in expected]
        assert index.search(query, hits=4) == index.search(text, hits=4)
        assert index.impacts(text) == query


def test_a_run_is_the_command_s_byte_for_byte(index: splade.Index, tmp_path: Path,
                                              cli: Callable[..., Result], tiny: Path) -> None:
    topics = tmp_path / "topics.tsv"
    topics.write_text("".join(f"{name}\t{text}\n" for name, text in QUERIES.items()))
    ours = cli("search", "--index", index.folder, "--topics", topics, "--max-length", 32, "--output",
               tmp_path / "command.txt", "--hits", 5)
    assert ours.code == 0, ours.err
    for number, given in enumerate((topics, QUERIES, QUERIES.items(), str(topics),
                                    [{"id": i, "text": t} for i, t in QUERIES.items()],
                                    {i: index.impacts(t) for i, t in QUERIES.items()})):
        run = index.run(given, hits=5)
        run.save(tmp_path / f"{number}.txt")
        assert (tmp_path / f"{number}.txt").read_bytes() == (tmp_path / "command.txt").read_bytes()
    again = splade.read_run(tmp_path / "command.txt")
    assert dict(again) == dict(run)
    again.save(tmp_path / "again.txt.gz")
    assert dict(splade.read_run(tmp_path / "again.txt.gz")) == dict(run)


def test_the_encoding_is_the_command_s_byte_for_byte(model: splade.Model, tiny: Path, tmp_path: Path,
                                                     cli: Callable[..., Result]) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    assert cli("encode", "--model", tiny, "--variant", "splade-v3", "--max-length", 32, "--corpus",
               corpus, "--output", tmp_path / "command", "--shard-size", 7).code == 0
    for number, given in enumerate((corpus, TEXTS.items())):
        model.index(given, tmp_path / f"i{number}", encoded=tmp_path / f"e{number}",
                    shard_size=7).close()
        shards = sorted((tmp_path / "command/impacts").iterdir())
        assert len(shards) > 1
        for shard in shards:
            assert shard.read_bytes() == (tmp_path / f"e{number}/impacts" / shard.name).read_bytes()
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text())
                 for name in ("command", "e1")]
    assert manifests[0]["fingerprint"] == manifests[1]["fingerprint"]
    assert manifests[1]["input"] == f"{len(TEXTS)} documents that Python held"


def test_what_a_data_frame_and_records_hold_is_indexed_alike(model: splade.Model,
                                                             tmp_path: Path) -> None:
    class Frame:
        """What pandas offers of a frame, as far as it is used."""

        columns = ("id", "title", "text")

        def to_dict(self, orient: str) -> list[dict[str, Any]]:
            assert orient == "records"
            return [{"id": 7, "title": "the cat", "text": "sat"}, {"id": "x", "title": None,
                                                                  "text": "on the mat"}]

    pairs = [("7", "the cat sat"), ("x", "on the mat")]
    expected = model.index(pairs, tmp_path / "pairs").search("cat")
    assert expected[0].docid == "7"
    assert model.index(Frame(), tmp_path / "frame").search("cat") == expected
    assert model.index(Frame().to_dict("records"), tmp_path / "dicts").search("cat") == expected
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(pairs, columns=["id", "contents"])
    assert model.index(frame, tmp_path / "pandas").search("cat") == expected


@pytest.mark.parametrize("overwrite", [False, True])
def test_indexing_goes_on_after_an_interruption_and_is_done_once(
        overwrite: bool, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spladev3_anserini.encoding.encoder import Encoder

    encoded: list[int] = []
    real = Encoder.impacts_of

    def counting(self: Encoder, ids: list[list[int]], done: Any = lambda count: None) -> Any:
        if len(encoded) == 2:
            raise KeyboardInterrupt
        encoded.append(len(ids))
        return real(self, ids, done)

    monkeypatch.setattr(Encoder, "impacts_of", counting)
    model = splade.load(tiny, variant="splade-v3", max_length=32)
    with pytest.raises(KeyboardInterrupt):
        model.index(TEXTS, tmp_path / "index", shard_size=2)
    assert not (tmp_path / "index").exists()
    monkeypatch.setattr(Encoder, "impacts_of", real)
    calls: list[int] = []
    monkeypatch.setattr(Encoder, "impacts_of", lambda self, ids, done=lambda count: None: (
        calls.append(len(ids)), real(self, ids, done))[1])
    model.index(TEXTS, tmp_path / "index", shard_size=2, overwrite=overwrite).close()
    assert 0 < sum(calls) < len(TEXTS)  # the shards that were whole are kept
    before = len(calls)
    again = model.index(TEXTS, tmp_path / "index", shard_size=2)
    assert len(calls) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index"]  # nothing else is left
    assert len(again.search("the cat", hits=100)) > 0
    with pytest.raises(splade.InputError, match="something else .*`overwrite`"):
        model.index({"other": "a cat"}, tmp_path / "index")
    replaced = model.index({"other": "a cat"}, tmp_path / "index", overwrite=True)
    assert [hit.docid for hit in replaced.search("cat")] == ["other"]


def test_an_index_says_its_own_model_and_refuses_others(index: splade.Index, tmp_path: Path,
                                                        tiny: Path) -> None:
    from conftest import make_tiny

    opened = splade.open_index(index.folder, max_length=32)
    assert opened.search("the cat") == index.search("the cat")
    assert opened.manifest is not None
    assert opened.manifest.encoded.fingerprint.variant == "splade-v3"
    for options, message in (
            ({"scale": 50}, "`scale` 50: the index was built with `scale` 100"),
            ({"special_tokens": "keep"}, "`special_tokens` keep: the index was built"),):
        with pytest.raises(splade.InputError, match=message):
            splade.open_index(index.folder, **options)  # type: ignore[arg-type]
    other = make_tiny(tmp_path / "other", seed=1)
    for options, message in (({"model": other}, "do not belong together: model"),
                             ({"variant": "splade-v3-doc"}, "do not belong together: variant")):
        with pytest.raises(splade.InputError, match=message):
            splade.open_index(index.folder, max_length=32, **options)  # type: ignore[arg-type]


def test_an_index_built_elsewhere_wants_to_be_told(index: splade.Index, tmp_path: Path,
                                                   tiny: Path) -> None:
    import shutil

    bare = Path(shutil.copytree(index.folder, tmp_path / "bare"))
    for record in bare.glob("spladev3_anserini*.json"):
        record.unlink()
    with pytest.raises(splade.InputError, match="open it with `prebuilt`"):
        splade.open_index(bare)
    with splade.open_index(bare, prebuilt=True) as opened:
        assert opened.search(index.impacts("the cat")) == index.search("the cat")
        with pytest.raises(splade.InputError, match="pass its `model`"):
            opened.search("the cat")
    with splade.open_index(bare, prebuilt=True, model=tiny, variant="splade-v3",
                           max_length=32) as opened:
        assert opened.search("the cat") == index.search("the cat")


@pytest.mark.parametrize(("call", "message"), [
    (lambda m, i, t: m.weights("the cat"), r"`texts`: is one text; expected a list"),
    (lambda m, i, t: m.impacts(b"the cat"), r"`texts`: is one text"),
    (lambda m, i, t: m.weights({"a": "b"}), r"`texts`: expected a list of texts, not dict"),
    (lambda m, i, t: m.weights({"a", "b"}), r"`texts`: expected a list of texts, not set"),
    (lambda m, i, t: m.weights(["a", 1]), r"`texts`, item 2: the field 'text' is a number"),
    (lambda m, i, t: m.weights(["\ud800"]), r"`texts`, item 1: .* surrogate"),
    (lambda m, i, t: m.weights(["a"], side="both"), r"`side` 'both': expected one of document, query"),
    (lambda m, i, t: m.index(["a"], t / "x"), r"`texts`, item 1: expected \(id, text\) or a dict"),
    (lambda m, i, t: m.index(["ab"], t / "x"), r"`texts`, item 1: expected \(id, text\)"),
    (lambda m, i, t: m.index(7, t / "x"), r"`texts`: expected \(id, text\) pairs"),
    (lambda m, i, t: m.index([], t / "x"), r"`texts`: no document in it"),
    (lambda m, i, t: m.index([("a", "x"), ("b", "y"), ("a", "z")], t / "x"),
     r"`texts`, item 3: the id 'a' is already at `texts`, item 1"),
    (lambda m, i, t: m.index([("a b", "x")], t / "x"), r"`texts`, item 1: the id 'a b' has white"),
    (lambda m, i, t: m.index([{"id": "a"}], t / "x"), r"`texts`, item 1: no field 'contents' or"),
    (lambda m, i, t: m.index([{"id": "a", "text": float("nan")}], t / "x"), r"item 1: .*'text' is"),
    (lambda m, i, t: m.index(TEXTS, t / "x", skip_errors=True), r"`skip_errors`: needs the path"),
    (lambda m, i, t: m.index(TEXTS, t / "x", shard_size=0), r"`shard_size` 0: expected"),
    (lambda m, i, t: m.index(t / "none.jsonl", t / "x"), r"none.jsonl: no such file"),
    (lambda m, i, t: i.search({"cat": 2.5}), r"`query`: the impact of 'cat' is 2.5; .* whole"),
    (lambda m, i, t: i.search({"cat": True}), r"`query`: the impact of 'cat' is True"),
    (lambda m, i, t: i.search({"cat": -1}), r"`query`: the impact of 'cat' is -1; expected 0"),
    (lambda m, i, t: i.search({1: 1}), r"`query`: the field 'term' is a number"),
    (lambda m, i, t: i.search(["cat"]), r"`query`: expected a text or"),
    (lambda m, i, t: i.search("cat", hits=0), r"`hits` 0: expected a whole number, 1 to 100,000"),
    (lambda m, i, t: i.search("cat", hits=2.5), r"`hits` 2.5: expected a whole number"),
    (lambda m, i, t: i.search("cat", hits=True), r"`hits` True: expected a whole number"),
    (lambda m, i, t: i.run(), r"give either `topics` or `queries`"),
    (lambda m, i, t: i.run(QUERIES, queries="x"), r"give either `topics` or `queries`"),
    (lambda m, i, t: i.run("a question"), r"a question: unknown kind of file"),
    (lambda m, i, t: i.run([("q", "a"), ("q", "b")]), r"`topics`, item 2: the topic 'q' is already"),
    (lambda m, i, t: i.run({}), r"`topics`: no topic"),
    (lambda m, i, t: i.run({"q": {"cat": 1.0}}), r"`topics`, 'q': the impact of 'cat' is 1.0"),
    (lambda m, i, t: i.run(QUERIES, threads=0), r"`threads` 0: expected"),
    (lambda m, i, t: splade.load("no/such/folder"), r"`model` no/such/folder: no such folder"),
    (lambda m, i, t: splade.load(7), r"`model` 7: expected a path"),
    (lambda m, i, t: splade.load("demo", scale=0), r"`scale` 0: expected"),
    (lambda m, i, t: splade.load("demo", scale="1"), r"`scale` '1': expected a number"),
    (lambda m, i, t: splade.load("demo", dtype="half"), r"`dtype` 'half': expected one of auto, fl"),
    (lambda m, i, t: splade.load("demo", max_length=2), r"`max_length` 2: expected"),
    (lambda m, i, t: splade.load("demo", max_length=9.5), r"`max_length` 9.5: expected a whole"),
    (lambda m, i, t: splade.load("demo", batch_tokens=0), r"`batch_tokens` 0: expected"),
    (lambda m, i, t: m.index({"a": "", "b": " "}, t / "x"), r"`texts`: no document in it has a term"),
    (lambda m, i, t: splade.open_index(t / "none"), r"none: no such index"),
    (lambda m, i, t: splade.Run({"q": {"d": "x"}}), r"query 'q': the score 'x' of 'd' is no"),
    (lambda m, i, t: splade.Run({"q": {"d": float("inf")}}), r"the score inf of 'd'"),
    (lambda m, i, t: splade.Run({"q": ["d"]}), r"query 'q': expected \{document: score\}, not list"),
    (lambda m, i, t: splade.Run(7), r"`scores`: expected \{query: \{document: score\}\}, a data frame .*int"),
    (lambda m, i, t: splade.Run({"q": {"d": 1}}).evaluate(None), r"`qrels`: expected \{query: .*NoneType"),
    (lambda m, i, t: splade.compare({"q": {"d": 1}}, {"a": {"q": {"d": 1}}, "b": 3}), r"`runs`, 'b'"),
    (lambda m, i, t: splade.compare({"q": {"d": 1}}, {key: {"q": {"d": 1}} for key in "ab"}, baseline="z"),
     r"`baseline` z: is none of the runs"),
    (lambda m, i, t: splade.compare({"q": {"d": 1}}, {key: {"q": {"d": 1}} for key in "ab"}, seed=-1),
     r"`seed` -1: expected a whole number"),
    (lambda m, i, t: splade.compare({"q": {"d": 1}}, {"a": splade.Run({"q": {"d": 1.0}})}),
     r"`runs`: expected \{name: run\} with two"),
    (lambda m, i, t: splade.Run({"q": {"d": 1.0}}).evaluate({"q": {"d": 1.5}}),
     r"`qrels`, query 'q': the grade of 'd' is 1.5"),
    (lambda m, i, t: splade.Run({"q": {"d": 1.0}}).evaluate({"q": {"d": 1}}, "nDGC@10"),
     r"`measures` nDGC@10: no measure of that name"),
])
def test_what_is_refused(call: Callable[[splade.Model, splade.Index, Path], object], message: str,
                         model: splade.Model, index: splade.Index, tmp_path: Path) -> None:
    with pytest.raises(splade.InputError, match=message) as refused:
        call(model, index, tmp_path)
    assert isinstance(refused.value, splade.SpladeError)
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_a_folder_of_other_files_is_refused_before_anything_is_encoded(
        model: splade.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spladev3_anserini.encoding.encoder import Encoder

    monkeypatch.setattr(Encoder, "impacts_of", lambda *_: pytest.fail("encodes"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("all of it")
    for overwrite in (False, True):
        with pytest.raises(splade.InputError, match="`folder` .*mine: exists and is no index"):
            model.index(TEXTS, tmp_path / "mine", overwrite=overwrite)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.tex"]


def test_impact_documents_that_were_there_stay(model: splade.Model, tmp_path: Path) -> None:
    """FOLDER.encoded is removed only by the call that wrote it."""
    model.index(TEXTS, tmp_path / "first", encoded=tmp_path / "index.encoded").close()
    before = (tmp_path / "index.encoded" / "manifest.json").read_bytes()
    for _ in range(2):  # built from them, then found there
        model.index(TEXTS, tmp_path / "index").close()
        assert (tmp_path / "index.encoded" / "manifest.json").read_bytes() == before
    model.index(TEXTS, tmp_path / "index", encoded=tmp_path / "kept").close()  # asked for: written
    assert (tmp_path / "kept" / "manifest.json").exists()


def test_a_damaged_index_is_refused_and_can_be_replaced(model: splade.Model, tmp_path: Path) -> None:
    model.index(TEXTS, tmp_path / "index").close()
    largest = max((tmp_path / "index").glob("_*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    with pytest.raises(splade.InputError, match=largest.name):
        model.index(TEXTS, tmp_path / "index")
    with model.index(TEXTS, tmp_path / "index", overwrite=True) as index:
        assert index.search("the cat")


def test_a_closed_index_says_so(index: splade.Index) -> None:
    with splade.open_index(index.folder, max_length=32) as opened:
        pass
    opened.close()
    for call in (lambda: opened.search({"cat": 1}), lambda: opened.run(QUERIES),
                 lambda: opened.impacts("cat")):
        with pytest.raises(splade.InputError, match="this index was closed"):
            call()


def test_encoded_queries_give_the_same_run_and_are_checked(
        index: splade.Index, tmp_path: Path, cli: Callable[..., Result], tiny: Path) -> None:
    topics = tmp_path / "topics.tsv"
    topics.write_text("".join(f"{name}\t{text}\n" for name, text in QUERIES.items()))
    encode = ("encode", "--model", tiny, "--variant", "splade-v3", "--max-length", 32, "--topics", topics)
    assert cli(*encode, "--output", tmp_path / "queries").code == 0
    assert index.run(queries=tmp_path / "queries", hits=5) == index.run(topics, hits=5)
    assert list(index.rankings(topics, hits=5)) == list(index.rankings(queries=tmp_path / "queries", hits=5))
    assert cli(*encode, "--scale", 50, "--output", tmp_path / "halves").code == 0
    with pytest.raises(splade.InputError, match="do not belong together: quantizer x50-rint against"):
        index.run(queries=tmp_path / "halves")


def test_a_run_does_not_replace_what_it_was_made_from(index: splade.Index, tmp_path: Path) -> None:
    topics = tmp_path / "topics.tsv"
    topics.write_text("q1\tthe cat\n")
    run = index.run(topics)
    for target, named in ((topics, "topics"), (next(index.folder.glob("segments_*")), "index")):
        before = target.read_bytes()
        with pytest.raises(splade.InputError, match=f"`path` .* is an input as well .{named}: "):
            run.save(target)
        assert target.read_bytes() == before


def test_documents_are_ranked_by_score_whatever_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "run.txt").write_text("q Q0 c 1 1.5 t\nq Q0 b 2 7 t\nq Q0 a 3 1.5 t\n")
    assert list(splade.read_run(tmp_path / "run.txt")["q"]) == ["b", "c", "a"]
    run = splade.Run({"q": {"x": np.float32(0.5), "y": np.int64(3)}})
    run.save(tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == ("q Q0 y 1 3 spladev3-anserini\n"
                                                  "q Q0 x 2 0.500000 spladev3-anserini\n")


def test_records_of_other_packages_are_texts(model: splade.Model, index: splade.Index,
                                             tmp_path: Path) -> None:
    class Passage(NamedTuple):
        doc_id: str
        title: str
        text: str

        def default_text(self) -> str:
            return f"{self.title} {self.text}"

    class Asked(NamedTuple):
        query_id: str
        text: str

    pairs = [("7", "the cat sat"), ("8", "a dog")]
    expected = model.index(pairs, tmp_path / "pairs").search("cat")
    assert expected
    records = [Passage("7", "the cat", "sat"), Passage("8", "a", "dog")]
    assert model.index(records, tmp_path / "ir_datasets").search("cat") == expected
    pyterrier = [{"docno": name, "text": text} for name, text in pairs]
    assert model.index(pyterrier, tmp_path / "pyterrier").search("cat") == expected
    assert index.run([Asked(*query) for query in QUERIES.items()]) == index.run(QUERIES)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"docno": [7, 8], "title": [None, float("nan")],
                              "text": ["the cat sat", "a dog"]})
    assert model.index(frame, tmp_path / "frame").search("cat") == expected


def test_values_by_hand_and_comparison(tmp_path: Path) -> None:
    """RR: ranks 2 and 1, mean .75; q3 has no hit and counts as 0, so 0.5 over three."""
    qrels = {"q1": {"a": 1}, "q2": {"b": 1}, "q3": {"c": 1}}
    run = splade.Run({"q1": {"x": 2.0, "a": 1}, "q2": {"b": 5}})
    result = run.evaluate(qrels, "RR@10 recip_rank")
    assert result.means == {"RR@10": pytest.approx(0.5), "RR": pytest.approx(0.5)}
    assert result.by_query["q1"]["RR@10"] == pytest.approx(0.5)
    assert result.missing == ["q3"]
    assert repr(result) == "<Evaluation of 3 queries: RR@10: 0.5000, RR: 0.5000>"
    import ir_measures

    for same in (["RR@10", "RR"], (ir_measures.RR @ 10, ir_measures.RR), "RR@10, RR"):
        assert run.evaluate(qrels, same).means == result.means
    (tmp_path / "b.txt").write_text("q1 Q0 a 1 3 t\nq2 Q0 b 1 3 t\nq3 Q0 c 1 1 t\n")
    compared = splade.compare(qrels, {"ours": run, "best": tmp_path / "b.txt"}, "RR@10")
    assert compared.means == {"RR@10": {"ours": pytest.approx(0.5), "best": pytest.approx(1.0)}}
    (one,) = compared.comparisons
    assert one.difference.mean == pytest.approx(0.5)
    assert "best" in str(compared)
    assert "| best" in compared.markdown()


def test_nothing_is_drawn_unless_asked_and_warnings_are_logged(
        model: splade.Model, tmp_path: Path, capfd: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "spladev3_anserini"):
        model.index(TEXTS, tmp_path / "quiet").run(QUERIES)
        model.weights(["the cat"])
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    model.weights(["the cat"], progress=True)
    assert "encoding" in capfd.readouterr().err
    with caplog.at_level(logging.WARNING, "spladev3_anserini"):
        model.weights(["the cat " * 40])
    assert "1 of 1 text was cut at `max_length` 32" in caplog.text
