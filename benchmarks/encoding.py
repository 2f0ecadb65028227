"""Encoding a corpus: ours, as int8, and the peers, at two sizes of model."""

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
#: Model, system ("ours" against the GEMM rate), how many times as fast at least.
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
        name: {"seconds": [own["seconds"] for own in made],
               "memory": max(own["memory"] for own in made), "bytes": made[0]["bytes"],
               "gemm": [max(own["gemm"]) for own in made]} for name, made in each.items()}}


def _memory_by_length(work: Path) -> dict[str, int]:
    """Peak memory of ours at two lengths, on texts that fill both."""
    words = " ".join(json.loads(line)["contents"] for line in
                     some_texts(work, 600).read_text("utf-8").splitlines()).split()
    corpus = work / "long.jsonl"
    with corpus.open("w", encoding="utf-8") as stream:
        for number in range(64):
            own = words[number * 500 : number * 500 + 600]
            stream.write(json.dumps({"id": str(number), "contents": " ".join(own)}) + "\n")
    model = model_folder("base", work)
    return {str(length): once("ours", model, corpus, work / "encoded", length)["memory"]
            for length in (128, 256, 512)}


def once(system: str, model: Path, corpus: Path, output: Path, length: int) -> dict[str, Any]:
    """One system in a process of its own; what it printed last."""
    shutil.rmtree(output, ignore_errors=True)
    done = subprocess.run([sys.executable, str(ONCE), system, str(model), str(corpus), str(output),
                           str(length)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{system}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


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
    for size, own in measured["models"].items():
        rows: list[list[Any]] = [["", "documents/s", "tokens/s", "ours / row", "of the GEMM rate",
                                  "peak memory", "bytes written"]]
        ours = own["systems"]["ours"]["seconds"]
        for name, made in own["systems"].items():
            seconds = median(made["seconds"])
            share = median(_shares(own["flop"], made))
            rows.append([name, f"{own['texts'] / seconds:.1f}", f"{own['tokens'] / seconds:,.0f}",
                         f"{median(ratios(made['seconds'], ours)):.2f} x",
                         "" if name.endswith("int8") else f"{share:.0%}",
                         f"{made['memory'] / 2**20:,.0f} MiB", f"{made['bytes']:,}"])
        parts.append(f"### {size}: {own['texts']} texts, {own['tokens']:,} wordpieces\n\n"
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
    """Each target beside what was measured, and the runs' spread."""
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
    """Of the seconds of runs made in turn."""
    return [one / other for one, other in zip(slower, faster, strict=True)]


def _shares(flop: float, made: dict[str, Any]) -> list[float]:
    """Of the machine's rate, each run by what was measured in its own process."""
    return [flop / seconds / rate / 1e9
            for seconds, rate in zip(made["seconds"], made["gemm"], strict=True)]


def _plot(measured: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 2.6), sharey=True)
    for axis, (size, own) in zip(axes, measured["models"].items(), strict=True):
        names = list(own["systems"])
        rates = [own["texts"] / median(made["seconds"]) for made in own["systems"].values()]
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
    """The demo model, or BERT-base's shape with random weights and the same vocabulary, both with
    a `modules.json`, so that every system reads the folder as the SPLADE it is."""
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
        given = [tokenizer(text, truncation=True, max_length=LENGTH, return_tensors="pt")
                 for text in texts]
        with torch.inference_mode():
            best = torch.stack([model(**own).logits.amax(1)[0] for own in given])
        with torch.no_grad():  # as sparse as a trained one, about 150 terms a text
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
    """The same model as an int8 graph."""
    from spladev3_anserini.model.checkpoint import open_checkpoint
    from spladev3_anserini.model.onnx_export import export_onnx

    folder = model.with_name(f"{model.name}-int8")
    if not folder.exists():
        export_onnx(open_checkpoint(str(model)), folder, "int8")
    return folder


def python_texts(work: Path) -> Path:
    """The documentation of the Python that runs this, as a corpus."""
    corpus = work / "python.jsonl"
    if not corpus.exists():
        script = files("spladev3_anserini.demo").joinpath("pydocs.py")
        subprocess.run([sys.executable, "-I", "-S", "-E", str(script), str(corpus)], check=True,
                       stdout=subprocess.DEVNULL)
    return corpus


def some_texts(work: Path, count: int) -> Path:
    """A sample of them, drawn with a fixed seed."""
    path = work / f"python-{count}.jsonl"
    if not path.exists():
        lines = python_texts(work).read_text("utf-8").splitlines(keepends=True)
        path.write_text("".join(random.Random(0).sample(lines, count)), "utf-8")
    return path


def _work(model: Path, corpus: Path) -> tuple[int, float]:
    """Wordpieces of a corpus, and the multiplications and additions that a SPLADE needs for them:
    per wordpiece the encoder's 2 (4 H H + 2 H I) and attention's 4 H L a layer, the head's 2 H H,
    and the vocabulary's 2 H V."""
    from spladev3_anserini.model.tokenizer import Tokenizer

    config = json.loads((model / "config.json").read_text("utf-8"))
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    texts = [json.loads(line)["contents"] for line in corpus.read_text("utf-8").splitlines()]
    lengths = [len(own) for own in Tokenizer(model).ids(texts, LENGTH)]
    each = 2 * (config["num_hidden_layers"] * (4 * hidden * hidden + 2 * hidden * inner)
                + hidden * hidden + hidden * config["vocab_size"])
    attention = 4 * hidden * config["num_hidden_layers"]
    return sum(lengths), float(sum(own * (each + attention * own) for own in lengths))


def _bytes(output: Path) -> int:
    return sum(path.stat().st_size for path in output.rglob("*.jsonl*")
               if not path.name.startswith("progress"))
