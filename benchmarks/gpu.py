"""Encoding and training on one GPU: shares of its matrix rate, passages/s, and a training step.

    python benchmarks/gpu.py --model naver/splade-v3 --corpus corpus.jsonl      # or the defaults

Encoding: the GPU's matrix rate, the encoder's and the head's share of it, passages/s. Training: a
table of one step in fp32 and bf16, with workers, tiles of the head, recomputed activations and
torch.compile (gpu_training.py). Without a GPU, `--device cpu --dtype float32 --documents 200
--queries 2` shows that it runs.

Prints the figures and writes them to benchmarks/results/gpu.json. The default model has BERT-base's
shape and random weights; the arithmetic is the same. The default corpus is Python's documentation,
cut into texts of MS MARCO's mean length. Targets on one H200: 40 % of its measured matrix rate in
the encoder, and 20,000 passages/s.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import click
import gpu_training
import torch
from timing import as_json

from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.pipeline import encode_to_directory
from spladev3_anserini.encoding.planning import plan_texts
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.encoding.shard_source import EncodingOutput
from spladev3_anserini.model.batches import length_batches, padded_ids
from spladev3_anserini.model.checkpoint import Checkpoint, open_checkpoint
from spladev3_anserini.model.pooling import max_logits
from spladev3_anserini.model.splade import Splade
from spladev3_anserini.model.variants import VARIANTS

RESULTS = Path(__file__).parent / "results"


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--model", help="A folder or hub id; BERT-base's shape unless given.")
@click.option("--corpus", help="A corpus; Python's documentation, cut, unless given.")
@click.option("--documents", default=50_000, show_default=True)
@click.option("--device", default="cuda", show_default=True)
@click.option("--dtype", default="bfloat16", show_default=True,
              type=click.Choice(["bfloat16", "float16", "float32"]))
@click.option("--batch-tokens", default=[16_384, 32_768, 65_536, 131_072], multiple=True,
              show_default=True)
@click.option("--encoding-length", default=256, show_default=True)
@click.option("--queries", default=16, show_default=True, help="Queries of a training step.")
@click.option("--negatives", default=8, show_default=True, help="Negatives of each query.")
@click.option("--max-length", default=128, show_default=True, help="Wordpieces in training.")
@click.option("--steps", default=20, show_default=True, help="Training steps of each way.")
@click.option("--only", type=click.Choice(["encoding", "training"]))
def main(model: str | None, corpus: str | None, documents: int, device: str, dtype: str,
         batch_tokens: tuple[int, ...], encoding_length: int, queries: int, negatives: int,
         max_length: int, steps: int, only: str | None) -> None:
    """Measures, writes the figures and prints them."""
    import host
    from encoding import model_folder

    name = torch.cuda.get_device_name() if device.startswith("cuda") else device
    figures: dict[str, Any] = {"device": name, "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        host.DOCUMENTS = documents
        checkpoint = open_checkpoint(model or str(model_folder("base", work)))
        source = str(_first(corpus, documents, work) if corpus else host._corpus(work))
        if only != "training":
            figures |= _measure(checkpoint, source, documents, device, dtype, batch_tokens,
                                encoding_length, work)
        if only != "encoding":
            figures["training"] = gpu_training.measure(
                checkpoint, source, device, gpu_training.Step(queries, negatives, max_length),
                steps, work)
    text = as_json(figures)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "gpu.json").write_text(text, "utf-8")
    click.echo(text)
    if only != "encoding":
        click.echo(gpu_training.table(figures["training"]))


def _measure(checkpoint: Checkpoint, source: str, documents: int, device: str, dtype: str,
             budgets: tuple[int, ...], length: int, work: Path) -> dict[str, Any]:
    tensor_dtype = getattr(torch, dtype)
    peak = _matrix_rate(device, tensor_dtype)
    figures: dict[str, Any] = {"dtype": dtype, "matrix_tflops": peak, "batches": {}}
    for budget in budgets:
        encoder = Encoder(checkpoint, VARIANTS["splade-v3"], "document", EncoderSettings(
            max_length=length, device=device, dtype=dtype, batch_tokens=budget))
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()
        figures["batches"][budget] = _model_figures(encoder, source, documents, device, peak)
        del encoder  # frees its memory before the next one is measured
    best = max(figures["batches"], key=lambda size: figures["batches"][size]["passages_per_s"])
    encoder = Encoder(checkpoint, VARIANTS["splade-v3"], "document", EncoderSettings(
        max_length=length, device=device, dtype=dtype, batch_tokens=best))
    started = time.perf_counter()
    plan = plan_texts(source, "document")
    encode_to_directory(plan, checkpoint, encoder, EncodingOutput(folder=work / "encoded"))
    figures["whole_encode_passages_per_s"] = plan.documents / (time.perf_counter() - started)
    return figures


def _first(corpus: str, documents: int, work: Path) -> Path:
    """Writes the first documents of a corpus as another corpus, and returns its file."""
    path = work / "corpus.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        for document in islice(read_corpus(corpus), documents):
            stream.write(json.dumps({"id": document.id, "contents": document.text}) + "\n")
    return path


def _model_figures(encoder: Encoder, source: str, documents: int, device: str,
                 peak: float) -> dict[str, float]:
    """Measures the model on batches that are on the device, and once with its output copied back.

    Args:
        encoder: The encoder, whose model is measured.
        source: The corpus.
        documents: How many documents of it are encoded.
        device: The device of the model.
        peak: The device's matrix rate in TFLOP/s.

    Returns:
        Shares of `peak`, wordpieces and passages per second, and peak memory in bytes.
    """
    texts = [document.text for document in islice(read_corpus(source), documents)]
    ids = encoder.tokenized(texts).ids
    splade = encoder.network
    assert isinstance(splade, Splade)
    config = splade.mlm.config
    hidden, inner = config.hidden_size, config.intermediate_size
    layers = 2 * config.num_hidden_layers * (4 * hidden * hidden + 2 * hidden * inner)
    lengths = [len(row) for row in ids]
    attention = 4 * hidden * config.num_hidden_layers
    # the head's transform, 2 H H per wordpiece, runs in `mlm`, so it counts as the encoder's
    encoder_flop = sum(length * (layers + 2 * hidden * hidden + attention * length)
                       for length in lengths)
    head_flop = sum(lengths) * 2 * hidden * splade.vocabulary
    batches = []
    for rows in length_batches(lengths, encoder.batch_tokens):
        batches.append([tensor.to(device)
                        for tensor in padded_ids([ids[row] for row in rows], 0)])

    def states() -> None:
        for padded, mask in batches:
            splade.mlm(input_ids=padded, attention_mask=mask)

    def weights() -> None:
        for padded, mask in batches:
            splade(padded, mask)

    def head() -> None:
        for padded, mask in batches:
            states_of_batch = torch.randn(*padded.shape, hidden, device=device,
                                          dtype=splade.output.weight.dtype)
            max_logits(states_of_batch, mask.bool(), splade.output.weight, splade.output.bias)

    with torch.inference_mode():
        seconds = {each.__name__: _timed(each, device) for each in (states, weights, head)}
    started = time.perf_counter()
    encoder.weights_of(ids)
    seconds["back"] = time.perf_counter() - started
    memory = torch.cuda.max_memory_allocated() if device.startswith("cuda") else 0
    return {"encoder_share": encoder_flop / seconds["states"] / peak / 1e12,
            "head_share": head_flop / seconds["head"] / peak / 1e12,
            "model_share": (encoder_flop + head_flop) / seconds["weights"] / peak / 1e12,
            "tokens_per_s": sum(lengths) / seconds["weights"],
            "passages_per_s": len(ids) / seconds["back"], "peak_memory": memory}


def _matrix_rate(device: str, tensor_dtype: torch.dtype) -> float:
    """Returns TFLOP/s of one large matrix product."""
    size = 8192 if device.startswith("cuda") else 1024
    left, right = (torch.randn(size, size, device=device, dtype=tensor_dtype) for _ in range(2))
    return 10 * 2 * size**3 / _timed(lambda: [left @ right for _ in range(10)], device) / 1e12


def _timed(call: Callable[[], object], device: str) -> float:
    """Calls twice and returns the seconds of the second call."""
    for _ in range(2):
        _wait(device)
        started = time.perf_counter()
        call()
        _wait(device)
        seconds = time.perf_counter() - started
    return seconds


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
