"""What hostile callers do with the public API: threads, forks, odd values; and what stays as it was."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TEXTS, WORDS

import spladev3_anserini as splade

TOPICS = {f"q{n}": " ".join(WORDS[n:n + 3]) for n in range(25)}
JUDGED = {"q": {"d": 1, "e": 0}}


@pytest.fixture(scope="module")
def model(tiny: Path) -> splade.Model:
    return splade.load(tiny, variant="splade-v3", max_length=32)


@pytest.fixture(scope="module")
def index(model: splade.Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[splade.Index]:
    with model.index(TEXTS, tmp_path_factory.mktemp("hostile") / "index") as opened:
        yield opened


def test_threads_share_an_index(index: splade.Index) -> None:
    """Runs of several threads at once were mixed in Java: errors, and other hits."""
    expected = dict(index.run(TOPICS))
    texts = list(TOPICS.values())
    hits = [index.search(text) for text in texts]
    with ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(lambda: dict(index.run(TOPICS, threads=2))) for _ in range(6)]
        searches = [pool.submit(index.search, text) for text in texts]
        assert [run.result() for run in runs] == [expected] * 6
        assert [search.result() for search in searches] == hits


def test_threads_may_load_models_at_the_same_time(tiny: Path, index: splade.Index) -> None:
    """In a fresh process: transformers is imported, and weights are loaded, in all threads at once."""
    script = (
        "import sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "import spladev3_anserini as splade\n"
        "def first(_):\n"
        "    with splade.open_index(sys.argv[1], max_length=32) as index:\n"
        "        return index.search('the cat')\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    found = list(pool.map(first, range(4)))\n"
        "assert found[0] and found == found[:1] * 4, found\n"
        "rankings = splade.open_index(sys.argv[1]).rankings({'q': {'cat': 1}, 'r': {'dog': 1}})\n"
        "next(rankings)\n")  # the end of the process collects it
    done = subprocess.run([sys.executable, "-c", script, index.folder], capture_output=True, text=True,
                          check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def answer(call: Callable[[], object], answers: Any) -> None:
    try:
        answers.put(call())
    except BaseException as error:
        answers.put((type(error).__name__, str(error)))


def test_a_fork_of_a_process_with_java_is_refused(index: splade.Index, model: splade.Model,
                                                  tmp_path: Path) -> None:
    """Java's own threads are not copied: such a call waited for ever."""
    by_lucene = splade.open_index(index.folder, lucene=True)
    fork = multiprocessing.get_context("fork")
    for call in (lambda: by_lucene.search({"cat": 1}), lambda: by_lucene.run({"q": {"cat": 1}}),
                 lambda: splade.open_index(index.folder, lucene=True),
                 lambda: model.index(TEXTS, tmp_path / "index")):
        answers = fork.Queue()
        process = fork.Process(target=answer, args=(call, answers))
        process.start()
        kind, message = answers.get(timeout=60)
        process.join()
        assert kind == "JavaError"
        assert "use multiprocessing's 'spawn'" in message
    assert list(tmp_path.iterdir()) == []
    answers = fork.Queue()  # the exact engine runs in a fork
    process = fork.Process(target=answer, args=(lambda: index.search({"cat": 1}), answers))
    process.start()
    assert answers.get(timeout=60) == by_lucene.search({"cat": 1}) != []
    process.join()


def test_the_process_stays_as_it_was(tiny: Path, tmp_path: Path) -> None:
    script = (
        "import locale, logging, os, signal, sys\n"
        "import huggingface_hub.utils as hub, torch, transformers.utils.logging as hf\n"
        "def state():\n"
        "    return (dict(os.environ), os.getcwd(), hf.get_verbosity(), hf.is_progress_bar_enabled(),\n"
        "            hub.are_progress_bars_disabled(), hub.logging.get_verbosity(),\n"
        "            locale.setlocale(locale.LC_ALL), signal.getsignal(2), signal.getsignal(15),\n"
        "            logging.root.level, logging.root.handlers[:], logging.root.manager.disable,\n"
        "            torch.get_num_threads(), torch.initial_seed(), sys.path[:])\n"
        "import torch._inductor\n"  # sets a variable of its own
        "before = state()\n"
        "import spladev3_anserini as splade\n"
        "model = splade.load(sys.argv[1], variant='splade-v3', max_length=32)\n"
        "with model.index({'d': 'the cat'}, sys.argv[2]) as index:\n"
        "    run = index.run({'q': 'cat', 'r': 'the dog'})\n"
        "run.evaluate({'q': {'d': 1}})\n"
        "try:\n"
        "    splade.load('nobody/nothing')\n"
        "except splade.InputError:\n"
        "    pass\n"
        "after = state()\n"
        "before[0].pop('TORCHINDUCTOR_CACHE_DIR', 0), after[0].pop('TORCHINDUCTOR_CACHE_DIR', 0)\n"
        "assert before == after, [pair for pair in zip(before, after) if pair[0] != pair[1]]\n")
    subprocess.run([sys.executable, "-c", script, tiny, tmp_path / "index"], check=True,
                   env=os.environ | {"LC_ALL": "C", "HF_HUB_OFFLINE": "1"})


@pytest.mark.parametrize(("call", "message"), [
    # two keys that become one: the values of one would be lost
    (lambda m, i, t: splade.Run({1: {"d": 1}, "1": {"e": 2}}), "the run: 1 and '1' are the same id"),
    (lambda m, i, t: splade.Run({"q": {1: 1, "1": 2}}), "query 'q': 1 and '1' are the same id"),
    (lambda m, i, t: splade.Run({"q": {"d": 1}}).evaluate({"q": {1: 1, "1": 0}}), "`qrels`, query 'q': 1 and"),
    (lambda m, i, t: splade.Run({"q": {"d": 1}}).evaluate({1: {"d": 1}, "1": {"d": 0}}), "`qrels`: 1 and"),
    (lambda m, i, t: i.run({1: {"cat": 1}, "1": {"dog": 1}}), "`topics`: 1 and '1' are the same id"),
    # what is true or false only by Python's rule
    (lambda m, i, t: m.index(TEXTS, t / "x", overwrite="no"), "`overwrite` 'no': expected True or False"),
    (lambda m, i, t: m.index(TEXTS, t / "x", optimize=1), "`optimize` 1: expected True"),
    (lambda m, i, t: m.index(TEXTS, t / "x", skip_errors=None), "`skip_errors` None: expected True"),
    (lambda m, i, t: m.weights(["a"], progress="no"), "`progress` 'no': expected True"),
    (lambda m, i, t: m.matrix(["a"], impacts="no"), "`impacts` 'no': expected True"),
    (lambda m, i, t: i.run(TOPICS, remove_query="no"), "`remove_query` 'no': expected True"),
    (lambda m, i, t: splade.open_index(i.folder, trust="no"), "`trust` 'no': expected True"),
    (lambda m, i, t: splade.open_index(i.folder, prebuilt="no"), "`prebuilt` 'no': expected True"),
    (lambda m, i, t: splade.Run({"q": {"d": np.bool_(True)}}), "the score np.True_ of 'd'"),
    (lambda m, i, t: splade.load("demo", scale=np.bool_(True)), "`scale` np.True_: expected a number"),
    # arrays and frames
    (lambda m, i, t: m.weights(["a"], side=np.array(["query", "document"])), "`side` array"),
    (lambda m, i, t: m.weights(np.array("a")), "`texts`: expected a list of texts, not ndarray"),
    (lambda m, i, t: m.index({"id": "a", "text": "cat"}, t / "x"), "`texts`: is one record; expected a list"),
    (lambda m, i, t: i.run({"qid": "a", "query": "cat"}), "`topics`: is one record"),
    (lambda m, i, t: m.index(type("Frame", (), {"columns": ["id"]})(), t / "x"), "cannot read the rows of a Fra"),
    (lambda m, i, t: m.index(type("Frame", (), {"columns": ["id", "text", "text"]})(), t / "x"),
     "`texts`: two columns of the data frame are called 'text'"),
    # what the system refuses
    (lambda m, i, t: splade.load("x" * 5000), "File name too long"),
    (lambda m, i, t: splade.open_index("x" * 5000), "File name too long"),
    (lambda m, i, t: splade.read_run("x" * 300), "File name too long"),
    (lambda m, i, t: splade.read_run("/proc/self/mem"), "/proc/self/mem: Input/output error"),
    (lambda m, i, t: m.index(TEXTS, "/proc/x/y"), "No such file or directory"),
    (lambda m, i, t: m.index(TEXTS, Path(__file__) / "x"), "test_hostile.py: File exists"),
    (lambda m, i, t: m.index(TEXTS, "/"), "`folder` /: is the root folder"),
    (lambda m, i, t: m.index(TEXTS, t / "\ud800"), "not UTF-8"),
    (lambda m, i, t: splade.Run({"q": {"d": 1}}).save("/dev/full"), "/dev/full: No space left"),
    (lambda m, i, t: splade.Run({"q": {"d": 1}}).save("/proc/x/y"), "/proc/x: No such file"),
    (lambda m, i, t: splade.Run({"q": {"d": 1}}).save(t / "\ud800"), "not UTF-8"),
    (lambda m, i, t: splade.Run({"q": {"d": 1}}).save(t / "x", tag=5), "`tag` 5: expected a word"),
    (lambda m, i, t: splade.Run({"q": {"d": 1}}).save(t / "x", tag="\ud800"), "`tag`: .* surrogate"),
    # judgments and comparisons
    (lambda m, i, t: splade.Run({"q": {"d": 1}}).evaluate({"q": {"d": 2**31}}), "of up to 6 digits"),
    (lambda m, i, t: splade.Run({"q": {}}).evaluate(JUDGED), "the run: no hit in it"),
    (lambda m, i, t: splade.compare(JUDGED, {"a": {"q": {"d": 1}}, "b": {}}), "b: no hit in it"),
    (lambda m, i, t: splade.compare(JUDGED, {1: {"q": {"d": 1}}, "1": {}}), "the name 1 of a run is no text"),
    (lambda m, i, t: splade.compare(JUDGED, {" ": {"q": {"d": 1}}, "b": {}}), "the name ' ' of a run"),
    (lambda m, i, t: splade.compare(JUDGED, {k: {"q": {"d": 1}} for k in "ab"}, baseline=["a"]),
     r"`baseline` \['a'\]: is none"),
    (lambda m, i, t: splade.compare(JUDGED, {k: {"q": {"d": 1}} for k in "ab"}, pairs="no"), "`pairs` 'no'"),
    # an open index is of its process
    (lambda m, i, t: pickle.dumps(i), "an open index cannot be copied or pickled"),
    (lambda m, i, t: copy.deepcopy(i), "an open index cannot be copied or pickled"),
])
def test_what_is_refused_in_one_line(call: Callable[..., object], message: str, model: splade.Model,
                                     index: splade.Index, tmp_path: Path) -> None:
    with pytest.raises(splade.InputError, match=message) as refused:
        call(model, index, tmp_path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_a_query_without_a_hit_counts_as_in_a_file(index: splade.Index, tmp_path: Path) -> None:
    run = index.run({"q1": {"cat": 1}, "q2": {"nosuchterm": 1}})
    run.save(tmp_path / "run.txt")
    qrels = {"q1": {"d1": 1}, "q2": {"d2": 1}}
    result = run.evaluate(qrels)
    assert result == splade.read_run(tmp_path / "run.txt").evaluate(qrels)
    assert result.missing == ["q2"]
    assert "a" in splade.compare(qrels, {"a": run, "b": tmp_path / "run.txt"}).means["nDCG@10"]


def test_rankings_end_where_the_index_is_closed(index: splade.Index) -> None:
    opened = splade.open_index(index.folder)
    begun, fresh = opened.rankings({"q": {"cat": 1}, "r": {"dog": 1}}), opened.rankings({"q": {"cat": 1}})
    next(begun)
    opened.close()
    for rankings in (begun, fresh):
        with pytest.raises(splade.InputError, match="this index was closed"):
            next(rankings)


def test_ids_of_numpy_and_tables_of_pyarrow_are_texts(model: splade.Model, tmp_path: Path) -> None:
    with model.index([("5", "the cat")], tmp_path / "plain") as plain:
        expected = plain.search("cat")
    with model.index([(np.int64(5), "the cat")], tmp_path / "numpy") as numbered:
        assert numbered.search("cat") == expected
    pyarrow = pytest.importorskip("pyarrow")
    with model.index(pyarrow.table({"id": [5], "text": ["the cat"]}), tmp_path / "table") as table:
        assert table.search("cat") == expected


def test_the_vocabulary_cannot_be_written_to(model: splade.Model) -> None:
    """Every index built afterwards would have other terms."""
    with pytest.raises(ValueError, match="read-only"):
        model.terms[0] = "other"


def test_scores_that_six_digits_would_make_equal_are_written_whole(tmp_path: Path) -> None:
    small = {"q": {"a": 2e-9, "b": 1e-9}, "r": {"a": 0.5, "b": 0.5}}
    splade.Run(small).save(tmp_path / "small")
    assert dict(splade.read_run(tmp_path / "small")) == small
    splade.Run({"q": {"a": 2, "b": 2, "c": 0.25}}).save(tmp_path / "usual")
    assert [line.split()[4] for line in (tmp_path / "usual").read_text().splitlines()] == ["2", "2", "0.250000"]


def test_a_program_without_a_console_may_ask_for_bars(model: splade.Model,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert model.weights(["the cat"], progress=True)
