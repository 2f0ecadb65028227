"""Encodes a corpus with one system in this process, and prints seconds and memory as JSON.

    python benchmarks/encode_once.py ours|pyserini|sentence-transformers MODEL CORPUS OUTPUT LENGTH

The time is measured from the model in memory to the last line on disk, so loading does not count.
Each system runs as it does by itself, with its default batches.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from command_once import peak_memory

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def ours(model: str, corpus: str, output: Path, length: int) -> Callable[[], object]:
    from spladev3_anserini.encoding.encoder import Encoder
    from spladev3_anserini.encoding.pipeline import encode_to_directory
    from spladev3_anserini.encoding.planning import plan_texts
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.encoding.shard_source import EncodingOutput
    from spladev3_anserini.model.checkpoint import open_checkpoint
    from spladev3_anserini.model.variants import VARIANTS

    checkpoint = open_checkpoint(model)
    encoder = Encoder(checkpoint, VARIANTS["splade-v3"], "document",
                      EncoderSettings(max_length=length))

    def encode() -> object:
        return encode_to_directory(plan_texts(corpus, "document"), checkpoint, encoder,
                                   EncodingOutput(folder=output))

    return encode


def pyserini(model: str, corpus: str, output: Path, length: int) -> Callable[[], object]:
    """Returns the loop of `python -m pyserini.encode`, whose batches have 64 texts."""
    from spladev3_anserini.lucene.jvm import start_jvm

    start_jvm()  # importing pyserini would start another Java; it must be our Java 21
    os.environ.setdefault("OPENAI_API_KEY", "unused")
    from pyserini.encode import JsonlCollectionIterator, JsonlRepresentationWriter
    from pyserini.encode._splade import SpladeDocumentEncoder

    encoder = SpladeDocumentEncoder(model, device="cpu")

    def encode() -> None:
        writer = JsonlRepresentationWriter(str(output))
        with writer:
            for batch in JsonlCollectionIterator(corpus, ["contents"])(64):
                batch["vector"] = encoder.encode(texts=batch["contents"], max_length=length)
                writer.write(batch, ["contents"])

    return encode


def sentence_transformers(model: str, corpus: str, output: Path,
                          length: int) -> Callable[[], object]:
    """Returns a call of `SparseEncoder.encode` on all texts.

    sentence-transformers writes no impact documents, so our code writes them.
    """
    from scipy import sparse
    from sentence_transformers import SparseEncoder

    from spladev3_anserini.impacts.lines import RowLines
    from spladev3_anserini.impacts.quantize import Quantizer

    encoder = SparseEncoder(model, device="cpu")
    encoder.max_seq_length = length
    terms = encoder.tokenizer.convert_ids_to_tokens(range(len(encoder.tokenizer)))

    def encode() -> None:
        records = [json.loads(line) for line in Path(corpus).read_text("utf-8").splitlines()]
        embeddings: Any = encoder.encode([record["contents"] for record in records],
                                    convert_to_sparse_tensor=True).coalesce()
        rows, columns = embeddings.indices().numpy()
        weights = sparse.csr_matrix((Quantizer()(embeddings.values().numpy()), (rows, columns)),
                                    shape=tuple(embeddings.shape))
        weights.eliminate_zeros()
        output.mkdir(parents=True)
        with (output / "impacts.jsonl").open("w", encoding="utf-8") as stream:
            for record in RowLines(terms)([r["id"] for r in records], [""] * len(records), weights):
                stream.write(record.line)

    return encode


def gemm_rate(width: int, seconds: float = 1.5) -> float:
    """Returns GFLOP/s of an fp32 product of BERT's feed-forward shape, 1024 x H by H x 4H."""
    left, right = torch.randn(1024, width), torch.randn(4 * width, width)
    for _ in range(3):
        torch.nn.functional.linear(left, right)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        torch.nn.functional.linear(left, right)
        count += 1
    return 2 * 1024 * width * 4 * width * count / (time.perf_counter() - started) / 1e9


def forget_peak() -> None:
    """Resets the peak that `peak_memory` returns to the process's present memory (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    system, model, corpus, output, length = sys.argv[1:]
    systems = {"ours": ours, "pyserini": pyserini, "sentence-transformers": sentence_transformers}
    encode = systems[system](model, corpus, Path(output), int(length))
    config = json.loads((Path(model) / "config.json").read_text("utf-8"))
    with torch.inference_mode():
        before = gemm_rate(config["hidden_size"])
    forget_peak()  # the peak of loading would hide that of encoding
    started = time.perf_counter()
    encode()
    seconds = time.perf_counter() - started
    memory = peak_memory()
    with torch.inference_mode():
        after = gemm_rate(config["hidden_size"])
    print(json.dumps({"seconds": seconds, "memory": memory, "gemm": [before, after]}))


if __name__ == "__main__":
    main()
