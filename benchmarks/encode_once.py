"""One system encodes one corpus in this process; prints what it took as JSON.

    python benchmarks/encode_once.py ours|pyserini|sentence-transformers MODEL CORPUS OUTPUT LENGTH

Loading is not timed. Timed is all between the model in memory and the last line on disk: each
system's own way, with its own defaults for batches.
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

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def ours(model: str, corpus: str, output: Path, length: int) -> Callable[[], object]:
    from spladev3_anserini.collection.survey import survey_texts
    from spladev3_anserini.encoding.encoder import Encoder
    from spladev3_anserini.encoding.pipeline import EncodingOutput, encode_to_directory
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.model.checkpoint import open_checkpoint
    from spladev3_anserini.model.variants import VARIANTS

    checkpoint = open_checkpoint(model)
    encoder = Encoder(checkpoint, VARIANTS["splade-v3"], "document",
                      EncoderSettings(max_length=length))

    def encode() -> object:
        surveyed = survey_texts(corpus, "document")
        return encode_to_directory(corpus, surveyed, checkpoint, encoder,
                                   EncodingOutput(folder=output))

    return encode


def pyserini(model: str, corpus: str, output: Path, length: int) -> Callable[[], object]:
    """The loop of `python -m pyserini.encode`, whose batches are 64 texts."""
    from spladev3_anserini.lucene.jvm import start_jvm

    start_jvm()  # importing pyserini starts Java, which here must be ours of version 21
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
    """`SparseEncoder.encode` on all texts; it writes no impact documents, so ours are written."""
    from scipy import sparse
    from sentence_transformers import SparseEncoder

    from spladev3_anserini.impacts.lines import RowLines
    from spladev3_anserini.impacts.quantize import Quantizer

    encoder = SparseEncoder(model, device="cpu")
    encoder.max_seq_length = length
    terms = encoder.tokenizer.convert_ids_to_tokens(range(len(encoder.tokenizer)))

    def encode() -> None:
        records = [json.loads(line) for line in Path(corpus).read_text("utf-8").splitlines()]
        found: Any = encoder.encode([own["contents"] for own in records],
                                    convert_to_sparse_tensor=True).coalesce()
        rows, columns = found.indices().numpy()
        weights = sparse.csr_matrix((Quantizer()(found.values().numpy()), (rows, columns)),
                                    shape=tuple(found.shape))
        weights.eliminate_zeros()
        output.mkdir(parents=True)
        with (output / "impacts.jsonl").open("w", encoding="utf-8") as stream:
            for own in RowLines(terms)([r["id"] for r in records], [""] * len(records), weights):
                stream.write(own.line)

    return encode


def gemm_rate(width: int, seconds: float = 1.5) -> float:
    """GFLOP/s of this machine's fp32 product of BERT's feed-forward shape, 1024 x H x 4H."""
    left, right = torch.randn(1024, width), torch.randn(4 * width, width)
    for _ in range(3):
        torch.nn.functional.linear(left, right)
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        torch.nn.functional.linear(left, right)
        count += 1
    return 2 * 1024 * width * 4 * width * count / (time.perf_counter() - begun) / 1e9


def forget_peak() -> None:
    """Lets `peak_memory` start from what the process holds now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Bytes: the largest this process has been since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    system, model, corpus, output, length = sys.argv[1:]
    systems = {"ours": ours, "pyserini": pyserini, "sentence-transformers": sentence_transformers}
    encode = systems[system](model, corpus, Path(output), int(length))
    config = json.loads((Path(model) / "config.json").read_text("utf-8"))
    with torch.inference_mode():
        before = gemm_rate(config["hidden_size"])
    forget_peak()  # of loading, which would hide the encoding's own
    begun = time.perf_counter()
    encode()
    seconds = time.perf_counter() - begun
    memory = peak_memory()
    with torch.inference_mode():
        after = gemm_rate(config["hidden_size"])
    print(json.dumps({"seconds": seconds, "memory": memory, "gemm": [before, after]}))


if __name__ == "__main__":
    main()
