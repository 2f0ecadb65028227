"""Teachers: the scores transformers gives one pair at a time, whatever the batch; what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cuts import lost_of
from forked import program
from hub import hub
from tiny_teachers import (
    PAIRS,
    make_bi_encoder,
    make_cross_encoder,
    make_modernbert,
    make_t5,
    make_xlm_roberta,
    one_by_one,
    t5_one_by_one,
)

from spladev3_anserini.errors import InputError
from spladev3_anserini.rankers.pair_scorer import PairError, PairSettings
from spladev3_anserini.rankers.registry import open_pair_scorer

CPU = PairSettings(max_length=24, device="cpu")


@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("max_length", [12, 64])
def test_a_sequence_classification_scores_as_transformers_alone(labels: int, max_length: int,
                                                                tmp_path: Path) -> None:
    folder = make_cross_encoder(tmp_path / "model", labels)
    teacher = open_pair_scorer(str(folder), replace(CPU, max_length=max_length))
    assert teacher.kind == "sequence classification"
    scores = teacher.score(PAIRS)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, one_by_one(folder, max_length), atol=1e-5)
    assert scores.std() > 0.05  # so that 1e-5 tells something


@pytest.mark.parametrize("make", [make_xlm_roberta, make_modernbert])
@pytest.mark.parametrize("max_length", [14, 64])
def test_rerankers_of_today_score_as_transformers_alone(make: Callable[[Path], Path],
                                                        max_length: int, tmp_path: Path) -> None:
    """XLM-R, whose files pad at the left, and ModernBERT, whose files pad at the right."""
    folder = make(tmp_path / "model")
    settings = replace(CPU, max_length=max_length, batch_tokens=10_000)
    teacher = open_pair_scorer(str(folder), settings)
    assert teacher.kind == "sequence classification"
    scores = teacher.score(PAIRS)
    np.testing.assert_allclose(scores, one_by_one(folder, max_length), atol=2e-5)
    assert scores.std() > 0.05  # so that 2e-5 tells something
    assert bool(teacher.cuts.cut) == (max_length == 14)
    half = open_pair_scorer(str(folder), replace(settings, dtype="bfloat16")).score(PAIRS)
    assert np.corrcoef(half, scores)[0, 1] > 0.9
    with pytest.raises(InputError, match=r"`max_length` 65: .* takes 64 at most"):
        open_pair_scorer(str(folder), replace(settings, max_length=65))


@pytest.mark.parametrize("max_length", [16, 64])
def test_a_t5_ranker_scores_as_transformers_alone(max_length: int, tmp_path: Path) -> None:
    folder = make_t5(tmp_path / "model")
    teacher = open_pair_scorer(str(folder), replace(CPU, max_length=max_length))
    assert teacher.kind == "t5"
    scores = teacher.score(PAIRS)
    np.testing.assert_allclose(scores, t5_one_by_one(folder, max_length), atol=1e-5)
    assert scores.std() > 0.05  # so that 1e-5 tells something


@pytest.mark.parametrize("make", [make_cross_encoder, make_t5, make_bi_encoder])
def test_neither_batches_nor_order_matter(make: object, tmp_path: Path) -> None:
    folder = make(tmp_path / "model")  # type: ignore[operator]
    done: list[int] = []
    whole = open_pair_scorer(str(folder), replace(CPU, batch_tokens=10_000)).score(PAIRS,
                                                                                   done.append)
    assert sum(done) == len(PAIRS)
    done.clear()
    open_pair_scorer(str(folder), replace(CPU, batch_tokens=30)).score(PAIRS, done.append)
    assert sum(done) == len(PAIRS)
    assert len(done) > 2  # on the way, so that long work is not silent
    single = open_pair_scorer(str(folder), replace(CPU, batch_tokens=1))
    np.testing.assert_allclose(single.score(PAIRS), whole, atol=1e-5)
    np.testing.assert_allclose(single.score(PAIRS[::-1])[::-1], whole, atol=1e-5)


def test_a_bi_encoder_scores_the_cosine_of_mean_states(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = make_bi_encoder(tmp_path / "model")
    teacher = open_pair_scorer(str(folder), CPU)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)

    def vector(text: str) -> torch.Tensor:
        inputs = tokenizer(text, truncation=True, max_length=24, return_tensors="pt")
        with torch.inference_mode():
            return model(**inputs).last_hidden_state[0].mean(0)

    expected = [float(torch.cosine_similarity(vector(q), vector(d), dim=0)) for q, d in PAIRS]
    assert teacher.kind == "bi-encoder"
    np.testing.assert_allclose(teacher.score(PAIRS), expected, atol=1e-5)


@pytest.mark.parametrize("make", [make_cross_encoder, make_t5])
def test_only_the_document_is_cut_and_a_query_without_room_is_refused(make: object,
                                                                      tmp_path: Path) -> None:
    folder = make(tmp_path / "model")  # type: ignore[operator]
    teacher = open_pair_scorer(str(folder), CPU)
    short, long = "cat mat", "cat mat " * 30
    assert teacher.tokens_left([short, long])[0] > 0 > teacher.tokens_left([short, long])[1]
    room = teacher.tokens_left([short])[0]
    words = "wing " * 40
    same = teacher.score([(short, words), (short, "wing " * room), (short, "wing " * (room - 1))])
    assert same[0] == pytest.approx(same[1], abs=1e-6)
    assert same[0] != pytest.approx(same[2], abs=1e-6)
    with pytest.raises(PairError, match="leaves no room for a document in 24 tokens") as refused:
        teacher.score([(short, words), (long, "wing")])
    assert refused.value.position == 1


def test_the_hash_is_that_of_weights_config_and_tokenizer(tmp_path: Path) -> None:
    one = make_cross_encoder(tmp_path / "one")
    shutil.copytree(one, tmp_path / "same")
    make_cross_encoder(tmp_path / "other", seed=1)
    shutil.copytree(one, tmp_path / "vocabulary")
    with (tmp_path / "vocabulary" / "tokenizer_config.json").open("a") as stream:
        stream.write("\n")
    (one / "README.md").write_text("nothing that decides a score")
    hashes = {name: open_pair_scorer(str(tmp_path / name), CPU).sha256
              for name in ("one", "same", "other", "vocabulary")}
    assert hashes["one"] == hashes["same"]
    assert len(set(hashes.values())) == 3


def _no_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _truncated(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:900])


def _changed(folder: Path, **fields: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


def _without_head(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _not_finite(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][:] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(("change", "message"), [
    (_no_safetensors, "can run code and are not loaded"),
    (_truncated, "the model cannot be loaded"),
    (_without_head, "missing 1 weight, classifier.weight the first"),
    (lambda f: (f / "config.json").write_text("{"), "config.json: not JSON"),
    (lambda f: (f / "config.json").unlink(), "config.json: no such file"),
    (lambda f: _changed(f, architectures=["BertForMaskedLM"]), "is a BertForMaskedLM; expected"),
    (lambda f: _changed(f, architectures=["BertModel"]), "is a BertModel; expected"),
    (lambda f: _changed(f, architectures=None), "names no architecture"),
])
def test_a_folder_that_is_no_teacher(change: object, message: str, tmp_path: Path) -> None:
    folder = make_cross_encoder(tmp_path / "model")
    change(folder)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        open_pair_scorer(str(folder), CPU)


def test_what_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`cross_encoder` /no/such: no such folder"):
        open_pair_scorer("/no/such", CPU)
    with pytest.raises(InputError, match="has 3 labels"):
        open_pair_scorer(str(make_cross_encoder(tmp_path / "three", 3)), CPU)
    folder = str(make_cross_encoder(tmp_path / "model"))
    with pytest.raises(InputError, match="`max_length` 65: .* takes 64 at most"):
        open_pair_scorer(folder, replace(CPU, max_length=65))
    with pytest.raises(InputError, match="`device` cuda:7"):
        open_pair_scorer(folder, replace(CPU, device="cuda:7"))
    with pytest.raises(InputError, match="`t5_token` <extra_id_11>: not a token"):
        open_pair_scorer(str(make_t5(tmp_path / "t5")), replace(CPU, t5_token="<extra_id_11>"))
    _not_finite(Path(folder))
    with pytest.raises(InputError, match="`cross_encoder` .*: the score is not a finite number"):
        open_pair_scorer(folder, CPU)


@pytest.mark.parametrize("kind", ["cross-encoder", "t5", "bi-encoder"])
def test_teachers_count_the_pairs_that_they_cut(kind: str, tmp_path: Path,
                                                caplog: pytest.LogCaptureFixture) -> None:
    make = {"cross-encoder": make_cross_encoder, "t5": make_t5, "bi-encoder": make_bi_encoder}
    folder = make[kind](tmp_path / "model")
    teacher = open_pair_scorer(str(folder), replace(CPU, max_length=16))
    pairs = [("the cat", "on the mat " * n) for n in (1, 3, 4, 20)] + [("cat dog", "")]
    teacher.score(pairs)
    if kind == "cross-encoder":
        lost = lost_of(folder, [q for q, _ in pairs], 16, [d for _, d in pairs])
    elif kind == "t5":
        lost = lost_of(folder, [f"Query: {q} Document: {d}" for q, d in pairs], 16)
    else:
        lost = lost_of(folder, list(dict.fromkeys(text for pair in pairs for text in pair)), 16)
    found = teacher.cuts
    assert (found.texts, found.cut, found.lost) == (len(lost), sum(n > 0 for n in lost), sum(lost))
    assert found.cut
    teacher.warn_of_cuts()
    assert f": {sum(lost):,} wordpieces were not encoded" in caplog.text


@pytest.fixture(scope="module")
def cross_encoder() -> Path:
    """ms-marco-MiniLM-L-12-v2 as int8 ONNX; skipped with a reason where it cannot be fetched."""
    pytest.importorskip("onnxruntime")
    from spladev3_anserini.demo.assets import fetch_assets

    try:
        return fetch_assets("demo-cross-encoder")
    except InputError as error:
        pytest.skip(str(error))


def test_an_onnx_cross_encoder(cross_encoder: Path) -> None:
    import onnxruntime
    from tokenizers import Tokenizer

    teacher = open_pair_scorer(str(cross_encoder), replace(CPU, max_length=32))
    pairs = [("what causes heart disease", "Smoking and high blood pressure cause heart disease."),
             ("what causes heart disease", "The cat sat on the mat. " * 20),
             ("capital of france", "Paris is the capital of France."), ("capital of france", "")]
    scores = teacher.score(pairs)
    session = onnxruntime.InferenceSession(cross_encoder / "model.onnx")
    tokenizer = Tokenizer.from_file(str(cross_encoder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(32, strategy="only_second")
    for (query, document), score in zip(pairs, scores, strict=True):
        own = tokenizer.encode(query, document)
        alone = session.run(None, {
            "input_ids": np.array([own.ids]), "attention_mask": np.array([own.attention_mask]),
            "token_type_ids": np.array([own.type_ids])})[0]
        assert score == alone[0, 0]  # though its session has other threads
    assert scores[0] > 5 > -5 > scores[1]
    # int8 activations are scaled by their batch, so pairs go one by one and company is no matter
    assert teacher.batch_tokens == 1
    assert teacher.score(pairs[2:]).tolist() == scores[2:].tolist()
    assert teacher.score([pairs[1]] * 40 + pairs).tolist() == [scores[1]] * 40 + scores.tolist()


def test_the_pairs_of_an_int8_graph_are_scored_on_one_core_each(
        cross_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at a time on two cores: each waits for the other, so one at a time would never end."""
    import torch

    teacher = open_pair_scorer(str(cross_encoder), CPU)
    assert teacher._session.get_session_options().intra_op_num_threads == 1
    both, run = threading.Barrier(2), type(teacher)._run
    threads = torch.get_num_threads()

    def meeting(self: object, batch: object) -> object:
        both.wait(timeout=60)
        return run(self, batch)

    monkeypatch.setattr(type(teacher), "_run", meeting)
    torch.set_num_threads(2)
    try:
        assert len(teacher.score([("a cat", "sat"), ("a cat", "sat on a mat")])) == 2
    finally:
        torch.set_num_threads(threads)


def test_ctrl_c_stops_the_threads_of_an_int8_graph(
        cross_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After few pairs: they would else score all that is left, also while the process ends."""
    teacher, started = open_pair_scorer(str(cross_encoder), CPU), []

    def run(self: object, batch: object) -> object:
        started.append(batch)
        time.sleep(0.01)
        return np.zeros(1, np.float32)

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(teacher), "_run", run)
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    with pytest.raises(KeyboardInterrupt) as held:
        teacher.score([("a cat", "sat")] * 500, interrupt)
    time.sleep(0.3)
    assert len(started) < 20
    assert held.tb  # as a program that reports an interrupt keeps it


def test_a_failing_pair_of_an_int8_graph_stops_the_others(
        cross_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = open_pair_scorer(str(cross_encoder), CPU)
    monkeypatch.setattr(type(teacher), "_outputs", lambda *arrays: np.zeros((0, 0)).reshape(3))
    with pytest.raises(InputError, match="fails on a batch of 1 x"):
        teacher.score([("a cat", "sat")] * 5)


def test_an_onnx_model_in_the_hubs_layout(cross_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    shutil.copy(cross_encoder / "tokenizer.json", tmp_path)
    shutil.copy(cross_encoder / "model.onnx", tmp_path / "onnx")
    pairs = [("capital of france", "Paris is the capital of France.")]
    plain, nested = (open_pair_scorer(str(folder), CPU) for folder in (cross_encoder, tmp_path))
    assert nested.kind == "onnx"
    assert nested.score(pairs).tolist() == plain.score(pairs).tolist()
    assert nested.sha256 == plain.sha256


def test_onnx_teachers_by_hub_id(tmp_path: Path) -> None:
    """Their graph and no variant of it; no graph where there are weights. In a process of its own,
    because hub settings are read once, at import."""
    models = {"some/weights": make_cross_encoder(tmp_path / "weights")}
    for name, layout in {"some/top": ".", "some/nested": "onnx"}.items():
        models[name] = tmp_path / name
        (models[name] / layout).mkdir(parents=True)
        shutil.copy(tmp_path / "weights/tokenizer.json", models[name])
        (tmp_path / "weights" / layout).mkdir(exist_ok=True)
        for folder in (models[name], tmp_path / "weights"):
            for file in ("model.onnx", "model.onnx_data", "model_quint8.onnx"):
                (folder / layout / file).write_bytes(b"a graph")
    code = ("import json, sys; from spladev3_anserini.rankers.registry import find_pair_scorer\n"
            "for name in sys.argv[1:]:\n"
            "    kind, folder = find_pair_scorer(name)\n"
            "    graphs = [str(own.relative_to(folder)) for own in folder.rglob('*.onnx*')]\n"
            "    print(json.dumps([kind.kind, sorted(graphs)]))")
    with hub(models) as endpoint:
        done = subprocess.run(
            [*program(), "-c", code, *models], capture_output=True, text=True, check=False,
            timeout=120, env=os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"),
                                           "HF_HUB_DISABLE_XET": "1"})
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        ["sequence classification", []], ["onnx", ["model.onnx", "model.onnx_data"]],
        ["onnx", ["onnx/model.onnx", "onnx/model.onnx_data"]]], done


def test_a_damaged_onnx_model(cross_encoder: Path, tmp_path: Path) -> None:
    shutil.copy(cross_encoder / "tokenizer.json", tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(InputError, match="cannot be loaded"):
        open_pair_scorer(str(tmp_path), CPU)


def test_onnx_without_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "model.onnx").touch()
    (tmp_path / "tokenizer.json").touch()
    with pytest.raises(InputError, match=r"pip install .spladev3-anserini\[onnx\]"):
        open_pair_scorer(str(tmp_path), CPU)
