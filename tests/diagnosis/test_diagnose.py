"""Each failure, made on purpose, is told; a sound training has none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result, write_lines
from signed import signed

from spladev3_anserini.analysis.diagnosis import (
    Sign,
    loss_signs,
    read_curves,
    sparsity_signs,
    transfer_sign,
)
from spladev3_anserini.analysis.validation_plot import pareto_front, read_checkpoints
from spladev3_anserini.recipe.training import Loss

Cli = Callable[..., Result]

SOUND = {"step": 100, "kl": 0.8, "margin_mse": 20.0, "penalty_documents": 10.0,
         "lambda_documents": 0.02, "penalty_queries": 15.0, "lambda_queries": 0.01,
         "nonzero_documents": 120.0, "nonzero_queries": 16.0, "loss": 2.15}
LOSS = Loss(kl=1.0, margin_mse=0.05)


def curves(folder: Path, *changes: dict[str, float]) -> Path:
    """A first record, then the second with changes."""
    write_lines(folder / "curves.jsonl", [
        SOUND | {"step": 1}, *(SOUND | own for own in changes), {"train_runtime": 3.0, "step": 100}])
    return folder / "curves.jsonl"


def alarms(signs: list[Sign]) -> list[str]:
    return [own.subject for own in signs if own.alarming]


def test_a_sound_training_has_no_sign(tmp_path: Path) -> None:
    read = read_curves(curves(tmp_path, {}))
    assert [own.step for own in read] == [1, 100]
    signs = loss_signs(read, LOSS) + sparsity_signs(read)
    assert alarms(signs) == []
    # 0.8 KL against 0.05 x 20 MarginMSE; penalties 0.02 x 10 + 0.01 x 15 of 2.15
    assert signs[0].found == "margin_mse is 55.6% of the distillation"
    assert signs[1].found == "16.3% of the whole loss"
    assert signs[2].found == "120 -> 120 terms (1.00 x)"


@pytest.mark.parametrize(("change", "subject"), [
    ({"margin_mse": 2000.0}, "no loss dominates"),
    ({"lambda_documents": 0.5}, "regularisers leave room"),
    ({"nonzero_documents": 11.0}, "documents stay sparse, not empty"),
    ({"nonzero_documents": 900.0}, "documents stay sparse, not empty"),
    ({"nonzero_queries": 1.0}, "queries stay sparse, not empty")])
def test_each_failure_of_a_training_is_told(change: dict[str, float], subject: str,
                                            tmp_path: Path) -> None:
    read = read_curves(curves(tmp_path, change))
    assert alarms(loss_signs(read, LOSS) + sparsity_signs(read)) == [subject]


def test_a_fall_is_told_where_it_is_one() -> None:
    from scipy.stats import ttest_rel

    before = [0.5, 0.6, 0.7, 0.4, 0.9, 0.8]
    after = [0.4, 0.5, 0.5, 0.3, 0.9, 0.7]
    sign = transfer_sign("cranfield", before, after, "nDCG@10", unseen=True)
    assert sign.alarming
    assert f"p = {ttest_rel(after, before).pvalue:.3f}" in sign.found
    assert "0.6500 -> 0.5500 (-0.1000" in sign.found
    assert not transfer_sign("x", after, before, "nDCG@10", unseen=True).alarming
    assert not transfer_sign("x", before, before, "nDCG@10", unseen=True).alarming
    assert not transfer_sign("x", [0.5], [0.4], "nDCG@10", unseen=False).alarming


def test_falls_that_are_all_alike_are_judged_by_randomisation() -> None:
    """Three equal falls have no spread for t; of 8 sign assignments 2 are as far from 0."""
    same = transfer_sign("x", [1.0] * 3, [0.6309297535714575] * 3, "nDCG@10", unseen=True)
    assert "p = 0.250" in same.found
    assert not same.alarming
    assert transfer_sign("x", [1.0] * 9, [0.63] * 9, "nDCG@10", unseen=True).alarming


def teachers(folder: Path, spearman: float, flat: int = 0) -> Path:
    own = {"sha256": "0" * 64, "kind": "onnx", "max_length": 256}
    (folder / "ensemble.json").write_text(json.dumps(signed({
        "teachers": [own | {"name": "a", "flat_queries": flat},
                     own | {"name": "b", "flat_queries": 0}],
        "candidates": "0" * 64, "queries": 50, "pairs": 500, "filled_positives": 0,
        "constant_queries": 0, "normalisation": "min-max", "aggregation": "mean", "mean": 0.5,
        "deviation": 0.2, "rescoring": "none", "target_mean": None, "target_deviation": None,
        "target_source": "", "scale": None, "shift": None,
        "disagreement": [{"one": "a", "other": "b", "spearman": spearman, "queries": 50,
                          "negative": 20 if spearman < 0.3 else 0}],
        "spread": {"mean": 0.1, "most": 0.2, "most_query": "q"}, "package": "0"})))
    return folder


def test_the_command_tells_all_and_writes_a_page(tmp_path: Path, cli: Cli) -> None:
    curves(tmp_path, {"nonzero_documents": 2.0})
    (tmp_path / "training.json").write_text(json.dumps({"training": {"loss": LOSS.model_dump()}}))
    # the vocabulary of the tokenizer is not needed without --encoded
    from_scores = cli("diagnose", "--scores", teachers(tmp_path, 0.1, flat=3))
    assert from_scores.code == 0
    assert "look  teachers agree" in from_scores.out
    assert "flat for 3.0% of the queries" in from_scores.out  # 3 of 2 x 50
    assert "40.0% of the queries" in from_scores.out
    assert "3 of 3 signs to look at" in from_scores.out
    sound = cli("diagnose", "--scores", teachers(tmp_path, 0.9) / "ensemble.json")
    assert "0 of 3 signs to look at" in sound.out


def test_the_page_has_a_curve_of_everything_that_is_logged(tmp_path: Path, cli: Cli) -> None:
    """Losses, non-zeros, FLOPS and L1, and their weights over time, each line by its name."""
    curves(tmp_path, {"step": 50, "lambda_documents": 0.1}, {"lambda_documents": 0.4})
    (tmp_path / "training.json").write_text(json.dumps({"training": {
        "loss": LOSS.model_dump(), "documents": {"kind": "flops"}, "queries": {"kind": "l1"}}}))
    done = cli("diagnose", "--trained", tmp_path, "--html", tmp_path / "page.html")
    assert done.code == 0, done
    page = (tmp_path / "page.html").read_text()
    drawings = dict(zip(re.findall("<h2>(.*?)</h2>", page), page.split("<h2>")[1:], strict=True))
    assert list(drawings) == ["Parts of the loss, weighted", "Mean non-zero terms",
                              "Regularisers before their weights",
                              "Weights of the regularisers, λ(t)"]
    for name, lines in (("Regularisers before their weights", ["FLOPS of documents",
                                                              "L1 of queries"]),
                        ("Weights of the regularisers, λ(t)", ["λ of documents",
                                                              "λ of queries"])):
        for line in lines:
            assert line in drawings[name], (name, line)


@pytest.mark.parametrize(("reached", "arrives"), [(0.02, True), (0.0199, True), (0.0197, False)])
def test_a_ramp_that_does_not_arrive_is_a_sign(reached: float, arrives: bool, tmp_path: Path,
                                               cli: Cli) -> None:
    """By hand: 0.0197 is 98.5 % of 0.02. A weight of 0 and the kind none have no ramp."""
    curves(tmp_path, {"lambda_documents": reached})
    (tmp_path / "training.json").write_text(json.dumps({"training": {
        "loss": LOSS.model_dump(), "documents": {"kind": "flops", "weight": 0.02},
        "queries": {"kind": "none", "weight": 1.0}}}))
    done = cli("diagnose", "--trained", tmp_path, "--format", "json")
    assert done.code == 0, done
    sign, = (own for own in json.loads(done.out) if "arrives" in own["subject"])
    assert sign["subject"] == "the regulariser of documents arrives"
    assert sign["alarming"] != arrives
    assert sign["found"] == f"{reached:g} of 0.02 at step 100 ({reached / 0.02:.0%})"


#: Steps with nDCG@10, FLOPS and terms per document.
CHECKPOINTS = {0: (0.50, 9.0, 200), 10: (0.60, 8.0, 150), 20: (0.55, 3.0, 90), 30: (0.40, 2.0, 60),
               40: (0.55, 3.5, 80)}


def validated(folder: Path, kept: object = 20) -> Path:
    """A folder of a training with curves and validations."""
    curves(folder, {})
    (folder / "training.json").write_text(json.dumps({
        "training": {"loss": LOSS.model_dump()}, "validation": {"step": kept}}))
    write_lines(folder / "validation.jsonl", [{"step": step, "validation": {
        "means": {"nDCG@10": ndcg, "RR@10": ndcg + 0.1}, "by_query": {"q": ndcg}, "flops": flops,
        "query_terms": 12.0, "document_terms": terms}} for step, (ndcg, flops, terms) in CHECKPOINTS.items()])
    return folder


def test_the_pareto_front_by_its_definition(tmp_path: Path) -> None:
    """Those that no other one equals or beats in both."""
    checkpoints, kept = read_checkpoints(validated(tmp_path))
    expected = [step for step, (ndcg, flops, _) in CHECKPOINTS.items() if not any(
        other != step and a >= ndcg and b <= flops for other, (a, b, _) in CHECKPOINTS.items())]
    assert sorted(one.step for one in pareto_front(checkpoints)) == expected == [10, 20, 30]
    assert kept == 20
    twice = [*checkpoints, checkpoints[2]._replace(step=50)]
    assert [one.step for one in pareto_front(twice)] == [30, 20, 10]


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_plot_has_losses_and_validations(suffix: str, tmp_path: Path, cli: Cli) -> None:
    plot, page = tmp_path / f"plot.{suffix}", tmp_path / "page.html"
    done = cli("diagnose", "--trained", validated(tmp_path), "--plot", plot, "--html", page)
    assert done.code == 0, done
    named = ["Validation", "Terms in validation", "Effectiveness against FLOPS"]
    assert re.findall("<h2>(.*?)</h2>", page.read_text())[-3:] == named
    for text in ("nDCG@10", "RR@10", "kept", "Pareto front", "step 20", "start"):
        assert text in page.read_text(), text
    if suffix == "svg":
        assert all(text in plot.read_text() for text in (*named, "Parts of the loss, weighted"))
    else:
        assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_plot_of_nothing_or_of_a_damaged_file_is_refused(tmp_path: Path, cli: Cli) -> None:
    folder = validated(tmp_path)
    path = folder / "validation.jsonl"
    lines = path.read_text().splitlines()
    for options, says in (
            (("--plot", tmp_path / "x.svg"), "--plot: draws the curves of a training; add --trained"),
            (("--trained", folder, "--plot", tmp_path / "x.pdf"), "expected a name ending in .svg or .png")):
        done = cli("diagnose", *options)
        assert (done.code, says in done.err) == (2, True), done
    for changed, says in (
            ([*lines, "{}"], "validation.jsonl:6: not a validation"),
            ([lines[0].replace("9.0", "-9.0")], "validation.jsonl:1: not a validation"),
            ([lines[0].replace("0.5", '"0.5"')], "validation.jsonl:1: not a validation"),
            (lines[:2], "names no step of")):
        path.write_text("\n".join(changed) + "\n")
        done = cli("diagnose", "--trained", folder, "--plot", tmp_path / "x.svg")
        assert (done.code, says in done.err, len(done.err.splitlines())) == (2, True, 1), done
    path.unlink()
    (folder / "curves.jsonl").write_text(json.dumps(SOUND | {"step": 1}) + "\n")
    done = cli("diagnose", "--trained", folder, "--plot", tmp_path / "x.svg")
    assert (done.code, "fewer than two records" in done.err) == (2, True), done
    assert not (tmp_path / "x.svg").exists()


def test_terms_of_an_encoded_corpus(tmp_path: Path, tiny: Path, cli: Cli) -> None:
    from collections import Counter

    from conftest import TEXTS, write_corpus

    write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    assert cli("encode", "--model", tiny, "--corpus", tmp_path / "corpus.jsonl", "--output",
               tmp_path / "encoded", "--max-length", 32).code == 0
    frequency: Counter[str] = Counter()
    documents = empty = 0
    for shard in sorted((tmp_path / "encoded/impacts").iterdir()):
        for line in shard.read_text().splitlines():
            vector = json.loads(line)["vector"]
            documents, empty = documents + 1, empty + (not vector)
            frequency.update(vector)
    saturated = sum(count > documents / 2 for count in frequency.values())
    done = cli("diagnose", "--encoded", tmp_path / "encoded", "--format", "json")
    found = {own["subject"]: own["found"] for own in json.loads(done.out)}
    assert found["no term is in most documents"].startswith(
        f"{saturated} term{'' if saturated == 1 else 's'}")
    assert found["documents have terms"] == f"{empty} of {documents} are empty"


@pytest.mark.parametrize(("options", "says"), [
    ((), "nothing to look at"),
    (("--trained", "."), "no such file; expected what train wrote"),
    (("--scores", "none.json"), "none.json"),
    (("--encoded", "."), "manifest.json"),
    (("--zero-shot", "none.txt", "--run", "start=a", "--run", "trained=b"), "none.txt"),
    (("--zero-shot", "none.txt"), "expected start=FILE, trained=FILE"),
    (("--run", "start=a"), "--run: needs the judgments"),
    (("--in-domain", "a=q", "--zero-shot", "a=r"), "--in-domain has that name already"),
    (("--in-domain", "a=q", "--zero-shot", "b=r", "--run", "start=x", "--run", "trained=y"),
     "expected a/start=FILE, a/trained=FILE, b/start=FILE, b/trained=FILE")])
def test_what_cannot_be_read_is_one_line(options: tuple[str, ...], says: str, tmp_path: Path,
                                         cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("diagnose", *options)
    assert (done.code, says in done.err) == (2, True), done


@pytest.mark.parametrize(("line", "says"), [
    ('{"step": 3, "kl": NaN, "nonzero_documents": 1, "nonzero_queries": 1}', "kl is no finite"),
    ('{"step": 3, "kl": 1e308, "nonzero_documents": 1, "nonzero_queries": 1}', "kl is no finite"),
    ('{"step": 3, "kl": 1, "nonzero_documents": 1e400, "nonzero_queries": 1}', "nonzero_documents is no"),
    ('{"step": 3, "kl": -1, "nonzero_documents": 1, "nonzero_queries": 1}', "kl is -1; it cannot"),
    ('{"step": 3, "kl": 1, "nonzero_documents": -1, "nonzero_queries": 1}', "nonzero_documents is -1"),
    ('{"step": 3, "kl": true, "nonzero_documents": 1, "nonzero_queries": 1}', "not a record"),
    ('{"step": 3, "kl": "1", "nonzero_documents": 1, "nonzero_queries": 1}', "not a record"),
    ('{"step": 1e308, "kl": 1, "nonzero_documents": 1, "nonzero_queries": 1}', "not a record"),
    ('{"step": -1, "kl": 1, "nonzero_documents": 1, "nonzero_queries": 1}', "not a record"),
    ('{"step": 1%s, "kl": 1, "nonzero_documents": 1, "nonzero_queries": 1}' % ("0" * 400), "not a record"),
    ('{"step": Infinity, "nonzero_documents": 1, "nonzero_queries": 1}', "not a record"),
    ('{"step": 3, "kl": 1, "nonzero_documents": 1, "nonzero_queries": 1}', "other parts"),
    ("\udcff", "UTF-8")])
def test_a_curve_that_cannot_be_judged_is_refused(line: str, says: str, tmp_path: Path,
                                                  cli: Cli) -> None:
    path = curves(tmp_path, {})
    path.write_bytes(path.read_bytes() + line.encode(errors="surrogateescape") + b"\n")
    (tmp_path / "training.json").write_text(json.dumps({"training": {"loss": LOSS.model_dump()}}))
    done = cli("diagnose", "--trained", tmp_path)
    assert (done.code, f"{path}:4" in done.err, says in done.err) == (2, True, True), done


def test_a_damaged_curve_is_named_by_line(tmp_path: Path, cli: Cli) -> None:
    path = curves(tmp_path, {})
    path.write_text(path.read_text() + '{"nonzero_documents": "many"}\n')
    done = cli("diagnose", "--trained", tmp_path)
    assert (done.code, f"{path}:4: not a record" in done.err) == (2, True), done


@pytest.mark.fault(21, "an ensemble without teachers or queries, or with counts that cannot be",
                   detected="file and field")
@pytest.mark.parametrize(("change", "says"), [
    ({"teachers": []}, "teachers"), ({"queries": 0}, "queries"), ({"queries": -1}, "queries"),
    ({"queries": 10}, "counts 50 of 10 queries"),
    ({"disagreement": [{"one": "a", "other": "b", "spearman": 1e308, "queries": 5, "negative": 0}]},
     "spearman"),
    ({"disagreement": [{"one": "a", "other": "b", "spearman": 0.5, "queries": -5, "negative": 0}]},
     "disagreement.0.queries")])
def test_an_ensemble_that_cannot_be_is_refused(change: dict[str, object], says: str, tmp_path: Path,
                                               refused: Callable[..., str]) -> None:
    file = teachers(tmp_path, 0.5) / "ensemble.json"
    file.write_text(json.dumps(signed(json.loads(file.read_text()) | change)))
    line = refused("diagnose", "--scores", tmp_path)
    assert f"{file}: not a valid" in line
    assert says in line


def test_teachers_that_agree_on_no_query_are_not_judged(tmp_path: Path, cli: Cli) -> None:
    """Nothing is known of two teachers where one scores all documents of each query alike."""
    file = teachers(tmp_path, 0.5) / "ensemble.json"
    pair = {"one": "a", "other": "b", "spearman": 0.5, "queries": 0, "negative": 0}
    file.write_text(json.dumps(signed(json.loads(file.read_text()) | {"disagreement": [pair]})))
    assert "0 of 1 sign to look at" in cli("diagnose", "--scores", tmp_path).out


@pytest.mark.parametrize("weight", ["1e308", "Infinity"])
def test_weights_that_no_sum_holds_are_refused(weight: str, tmp_path: Path,
                                               refused: Callable[..., str]) -> None:
    curves(tmp_path, {})
    (tmp_path / "training.json").write_text(
        f'{{"training": {{"loss": {{"kl": 1.0, "margin_mse": {weight}}}}}}}')
    assert "no finite loss above 0" in refused("diagnose", "--trained", tmp_path)


def test_an_encoded_corpus_of_another_model_or_of_queries_is_refused(
        tmp_path: Path, tiny: Path, cli: Cli, refused: Callable[..., str]) -> None:
    """Its terms would be counted against a vocabulary that is not its own."""
    from conftest import SPECIALS, TEXTS, WORDS, save_tokenizer, write_corpus

    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    for side in ("document", "query"):
        given = corpus if side == "document" else write_lines(tmp_path / "q.tsv", ["q1\tcat"])
        assert cli("encode", "--model", tiny, "--variant", "splade-v3",
                   "--corpus" if side == "document" else "--topics", given, "--output", tmp_path / side, "--max-length", 32).code == 0
    assert "holds encoded queries" in refused("diagnose", "--encoded", tmp_path / "query")
    trained = tmp_path / "trained"
    save_tokenizer(trained, [*SPECIALS, *WORDS[:-1]])
    curves(trained, {})
    (trained / "training.json").write_text(json.dumps({"training": {"loss": LOSS.model_dump()}}))
    assert "encoded with another tokenizer" in refused(
        "diagnose", "--trained", trained, "--encoded", tmp_path / "document")
