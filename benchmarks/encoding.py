"""Encoding speed and memory of this package (fp32 and int8) and its peers, for two model sizes."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

from bench import table

ONCE = Path(__file__).with_name("encode_once.py")
#: Texts of Python's documentation: enough that sorting by length leaves little padding (2 and 8 %;
#: 19 % of 100 texts), and no more, because Pyserini takes minutes for either.
TEXTS = {"demo": 1200, "base": 300}
LENGTH = 256
#: (model, system, target): how many times as fast as the system ours should be. For "ours" the
#: target is a share of the GEMM rate, for "ours, int8" the speed-up over fp32.
TARGETS = (("demo", "pyserini", 6.0), ("demo", "sentence-transformers", 4.0),
           ("base", "pyserini", 1.8), ("base", "sentence-transformers", 1.2),
           ("base", "ours", 0.85), ("base", "ours, int8", 2.0), ("demo", "ours, int8", 2.0))
SYSTEMS = ("ours", "ours, int8", "sentence-transformers", "pyserini")


def measure(work: Path, runs: int) -> dict[str, Any]:
    return {"models": {size: _measure_model(size, work, runs) for size in TEXTS},
            "lengths": _memory_by_length(work)}


def _measure_model(size: str, work: Path, runs: int) -> dict[str, Any]:
    model, corpus = model_folder(size, work), some_texts(work, TEXTS[size])
    tokens, flop = _work(model, corpus)
    each: dict[str, list[dict[str, Any]]] = {name: [] for name in SYSTEMS}
    for _ in range(runs):
        for name in SYSTEMS:
            folder = exported(model) if name.endswith("int8") else model
            output = work / "encoded"
            each[name].append(once(name.partition(",")[0], folder, corpus, output, LENGTH)
                              | {"bytes": _bytes(output)})
    return {"texts": TEXTS[size], "tokens": tokens, "flop": flop, "systems": {
        name: {"seconds": [run["seconds"] for run in results],
               "memory": max(run["memory"] for run in results), "bytes": results[0]["bytes"],
               "gemm": [max(run["gemm"]) for run in results]} for name, results in each.items()}}


def _memory_by_length(work: Path) -> dict[str, int]:
    """Returns {length: peak bytes} of our encoder, on texts that fill every length."""
    words = " ".join(json.loads(line)["contents"] for line in
                     some_texts(work, 600).read_text("utf-8").splitlines()).split()
    corpus = work / "long.jsonl"
    with corpus.open("w", encoding="utf-8") as stream:
        for number in range(64):
            text = " ".join(words[number * 500 : number * 500 + 600])
            stream.write(json.dumps({"id": str(number), "contents": text}) + "\n")
    model = model_folder("base", work)
    return {str(length): once("ours", model, corpus, work / "encoded", length)["memory"]
            for length in (128, 256, 512)}


def once(system: str, model: Path, corpus: Path, output: Path, length: int) -> dict[str, Any]:
    """Encodes with one system in a separate process; returns the JSON that it printed."""
    shutil.rmtree(output, ignore_errors=True)
    process = subprocess.run(
        [sys.executable, str(ONCE), system, str(model), str(corpus), str(output), str(length)],
        capture_output=True, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"{system}: {process.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return figures


def page(measured: dict[str, Any], docs: Path) -> str:
    parts = ["## Encoding\n\nThe texts are real: docstrings of Python's library, cut at "
             f"{LENGTH} wordpieces. A run is timed from the model in memory to the last line on "
             "disk, in fp32 unless the row says int8. Pyserini and sentence-transformers use their "
             "own batches.\n\n"
             "* `demo` is the SPLADE model of 4.4 million parameters.\n"
             "* `base` has BERT-base's shape with random weights.\n"
             "* The GEMM rate is that of a multiplication of 1024 x H by H x 4H, timed before and "
             "after each run in the same process. int8 uses other arithmetic, so it has no share "
             "of this rate.\n"
             "* \"ours / row\" is how many times as fast ours is as the row's system."]
    for size, model in measured["models"].items():
        rows: list[list[Any]] = [["", "documents/s", "tokens/s", "ours / row", "of the GEMM rate",
                                  "peak memory", "bytes written"]]
        ours = model["systems"]["ours"]["seconds"]
        for name, system in model["systems"].items():
            seconds = median(system["seconds"])
            share = median(_shares(model["flop"], system))
            rows.append([name, f"{model['texts'] / seconds:.1f}",
                         f"{model['tokens'] / seconds:,.0f}",
                         f"{median(ratios(system['seconds'], ours)):.2f} x",
                         "" if name.endswith("int8") else f"{share:.0%}",
                         f"{system['memory'] / 2**20:,.0f} MiB", f"{system['bytes']:,}"])
        parts.append(f"### {size}: {model['texts']} texts, {model['tokens']:,} wordpieces\n\n"
                     f"{table(rows)}")
    parts.append(_verdicts(measured["models"]))
    lengths = measured["lengths"]
    grown = ", ".join(f"{value / 2**20:,.0f} MiB at {length}" for length, value in lengths.items())
    parts.append("Peak memory of ours with `base` by length, on texts that fill it: "
                 f"{grown}. It hardly grows, because a batch has a limit of wordpieces and no "
                 "tensor has a column for every term.")
    _plot(measured, docs / "benchmarks-encoding.svg")
    parts.append("![documents per second, each system as a share of ours](benchmarks-encoding.svg)")
    return "\n\n".join(parts)


def _verdicts(models: dict[str, Any]) -> str:
    """Returns a table of the targets, the measured medians and the range of single runs."""
    rows: list[list[Any]] = [["", "median", "single runs", "target", ""]]
    for size, name, least in TARGETS:
        systems = models[size]["systems"]
        ours = systems["ours"]["seconds"]
        if name == "ours":
            what, each = "share of the GEMM rate", _shares(models[size]["flop"], systems["ours"])
        elif name == "ours, int8":
            what, each = "int8 against fp32", ratios(ours, systems[name]["seconds"])
        else:
            what, each = f"against {name}", ratios(systems[name]["seconds"], ours)
        rows.append([f"{size}: {what}", f"{median(each):.2f}",
                     f"{min(each):.2f} to {max(each):.2f}", f"{least:.2f}",
                     "met" if median(each) >= least else "missed"])
    return "**Targets**, compared with the median of runs made in turn:\n\n" + table(rows)


def ratios(slower: Sequence[float], faster: Sequence[float]) -> list[float]:
    """Returns the ratio of seconds, slower / faster, for each pair of runs made in turn."""
    return [one / other for one, other in zip(slower, faster, strict=True)]


def _shares(flop: float, system: dict[str, Any]) -> list[float]:
    """Returns each run's share of the GEMM rate that was measured in the same process."""
    return [flop / seconds / rate / 1e9
            for seconds, rate in zip(system["seconds"], system["gemm"], strict=True)]


def _plot(measured: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 2.6), sharey=True)
    for axis, (size, model) in zip(axes, measured["models"].items(), strict=True):
        names = list(model["systems"])
        rates = [model["texts"] / median(system["seconds"])
                 for system in model["systems"].values()]
        bars = axis.barh(names, rates, color=["#1b5e91", "#5b9bd0", "#a0a0a0", "#c8c8c8"])
        axis.bar_label(bars, fmt="%.1f", padding=3)
        axis.set_title(size, fontsize=10)
        axis.set_xlabel("documents/s")
        axis.set_xlim(0, max(rates) * 1.18)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def model_folder(size: str, work: Path) -> Path:
    """Returns the folder of a model: `demo`, or `base`, BERT-base's shape with random weights.

    Both have the demo's vocabulary, and a `modules.json` by which every system reads the folder as
    a SPLADE.
    """
    from spladev3_anserini.demo.assets import fetch_assets

    folder = work / f"splade-{size}"
    if folder.exists():
        return folder
    demo, fresh = fetch_assets("demo"), work / f".splade-{size}"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(demo, fresh)
    if size == "base":
        import torch
        from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

        torch.manual_seed(0)
        model = BertForMaskedLM(BertConfig()).eval()
        texts = [json.loads(line)["contents"] for line in
                 some_texts(work, 60).read_text("utf-8").splitlines()[:16]]
        tokenizer = AutoTokenizer.from_pretrained(demo, trust_remote_code=False)
        batches = [tokenizer(text, truncation=True, max_length=LENGTH, return_tensors="pt")
                   for text in texts]
        with torch.inference_mode():
            best = torch.stack([model(**batch).logits.amax(1)[0] for batch in batches])
        with torch.no_grad():  # makes it as sparse as a trained model: about 150 terms per text
            model.get_output_embeddings().bias.fill_(-float(best.flatten().quantile(
                1 - 150 / best.shape[1])))
        (fresh / "model.safetensors").unlink()
        model.save_pretrained(fresh)
    (fresh / "modules.json").write_text(json.dumps([
        {"idx": 0, "name": "0", "path": "",
         "type": "sentence_transformers.sparse_encoder.models.MLMTransformer"},
        {"idx": 1, "name": "1", "path": "1_SpladePooling",
         "type": "sentence_transformers.sparse_encoder.models.SpladePooling"}]))
    (fresh / "config_sentence_transformers.json").write_text(json.dumps(
        {"model_type": "SparseEncoder", "prompts": {"query": "", "document": ""},
         "default_prompt_name": None, "similarity_fn_name": "dot"}))
    (fresh / "1_SpladePooling").mkdir(exist_ok=True)
    (fresh / "1_SpladePooling/config.json").write_text(json.dumps(
        {"pooling_strategy": "max", "activation_function": "relu"}))
    fresh.rename(folder)
    return folder


def exported(model: Path) -> Path:
    """Returns the folder of a model's int8 graph, which is exported at the first call."""
    from spladev3_anserini.model.checkpoint import open_checkpoint
    from spladev3_anserini.model.onnx_export import export_onnx

    folder = model.with_name(f"{model.name}-int8")
    if not folder.exists():
        export_onnx(open_checkpoint(str(model)), folder, "int8")
    return folder


def python_texts(work: Path) -> Path:
    """Returns a corpus: the documentation of the running Python."""
    corpus = work / "python.jsonl"
    if not corpus.exists():
        script = files("spladev3_anserini.demo").joinpath("pydocs.py")
        subprocess.run([sys.executable, "-I", "-S", "-E", str(script), str(corpus)], check=True,
                       stdout=subprocess.DEVNULL)
    return corpus


def some_texts(work: Path, count: int) -> Path:
    """Returns a corpus of `count` texts, drawn from `python_texts` with a fixed seed."""
    path = work / f"python-{count}.jsonl"
    if not path.exists():
        lines = python_texts(work).read_text("utf-8").splitlines(keepends=True)
        path.write_text("".join(random.Random(0).sample(lines, count)), "utf-8")
    return path


def _work(model: Path, corpus: Path) -> tuple[int, float]:
    """Returns the wordpieces of a corpus, and the FLOP that a SPLADE needs for them.

    Per wordpiece these are, for each layer, 2 (4 H H + 2 H I) and attention's 4 H L; 2 H H for the
    head; and 2 H V for the vocabulary. H is the hidden size, I the inner size, L the length of the
    text and V the size of the vocabulary.
    """
    from spladev3_anserini.model.tokenizer import Tokenizer

    config = json.loads((model / "config.json").read_text("utf-8"))
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    texts = [json.loads(line)["contents"] for line in corpus.read_text("utf-8").splitlines()]
    lengths = [len(ids) for ids in Tokenizer(model).ids(texts, LENGTH)]
    each = 2 * (config["num_hidden_layers"] * (4 * hidden * hidden + 2 * hidden * inner)
                + hidden * hidden + hidden * config["vocab_size"])
    attention = 4 * hidden * config["num_hidden_layers"]
    return sum(lengths), float(sum(length * (each + attention * length) for length in lengths))


def _bytes(output: Path) -> int:
    return sum(path.stat().st_size for path in output.rglob("*.jsonl*")
               if not path.name.startswith("progress"))
