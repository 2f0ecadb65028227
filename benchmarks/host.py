"""The host's part of encoding, without the model: reading, tokenising, impacts, lines, writing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from bench import table
from scipy import sparse

#: Words per text. It then has about as many wordpieces as a passage of MS MARCO.
WORDS = 55
TARGET = 0.8
DOCUMENTS, SHARD = 40_000, 2_000


def measure(work: Path, runs: int) -> dict[str, Any]:
    from encoding import model_folder

    model, corpus = model_folder("demo", work), _corpus(work)
    rates: dict[str, list[dict[str, float]]] = {"1": [], str(os.cpu_count()): []}
    for _ in range(runs):
        for cores, results in rates.items():
            process = subprocess.run(
                [sys.executable, __file__, str(model), str(corpus), str(work / "host")],
                capture_output=True, text=True, check=True,
                env=os.environ | {"RAYON_NUM_THREADS": cores, "TOKENIZERS_PARALLELISM": "true"})
            results.append(json.loads(process.stdout.splitlines()[-1]))
    return {"documents": DOCUMENTS, "cores": rates}


def page(measured: dict[str, Any], docs: Path) -> str:
    rows = [["cores for the tokeniser", "tokeniser, documents/s", "`encode`, documents/s", "kept"]]
    for cores, runs in measured["cores"].items():
        kept = median(run["host"] / run["tokeniser"] for run in runs)
        rows.append([cores, *(f"{median(run[name] for run in runs):,.0f}"
                              for name in ("tokeniser", "host")),
                     f"{kept:.0%}{'' if kept >= TARGET else ', missed'}"])
    return ("## The host, with the model stubbed\n\n"
            "This section measures `encode` without the model. A stub answers every batch at once "
            "with weights from the demo model. The remaining work is checking the corpus, hashing, "
            "tokenising, padding, impacts, JSON and writing. The corpus has "
            f"{measured['documents']:,} texts of {WORDS} words (Python's documentation, cut).\n\n"
            "Reading, tokenising and writing each have a thread. If the tokeniser leaves a core "
            "free, the other threads slow it only a little. If it uses every core, they share "
            f"these cores with it. Target: {TARGET:.0%} of the tokeniser's rate.\n\n"
            + table(rows))


def _corpus(work: Path) -> Path:
    from encoding import python_texts

    path = work / f"host-{DOCUMENTS}.jsonl"
    if not path.exists():
        words = " ".join(json.loads(line)["contents"] for line in
                         python_texts(work).read_text("utf-8").splitlines()).split()
        with path.open("w", encoding="utf-8") as stream:
            for number in range(DOCUMENTS):
                start = number * WORDS % (len(words) - WORDS)
                stream.write(json.dumps({"id": f"d{number}", "contents": " ".join(
                    words[start : start + WORDS])}) + "\n")
    return path


def main() -> None:
    """Measures one run in this process: first only the tokeniser, then all but the model."""
    import shutil

    from spladev3_anserini.encoding.encoder import Encoder
    from spladev3_anserini.encoding.pipeline import encode_to_directory
    from spladev3_anserini.encoding.planning import plan_texts
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.encoding.shard_source import EncodingOutput
    from spladev3_anserini.model.batches import padded_ids
    from spladev3_anserini.model.checkpoint import open_checkpoint
    from spladev3_anserini.model.variants import VARIANTS

    model, corpus, output = sys.argv[1:]
    shutil.rmtree(output, ignore_errors=True)
    checkpoint = open_checkpoint(model)

    class Stubbed(Encoder):
        """An encoder that pads each batch as for a model, but returns rows computed before."""

        def _batch(self, ids: list[list[int]], positions: list[int]) -> sparse.csr_matrix:
            padded_ids(ids, self.tokenizer.padding_id)
            return rows[: len(ids)]

    settings = EncoderSettings(max_length=256, batch_tokens=32_768)
    encoder = Stubbed(checkpoint, VARIANTS["splade-v3"], "document", settings)
    lines = Path(corpus).read_text("utf-8").splitlines()
    contents = [json.loads(line)["contents"] for line in lines]
    real = Encoder(checkpoint, VARIANTS["splade-v3"], "document", settings).weights(contents[:256])
    rows = sparse.vstack([real] * (32_768 // 256), format="csr")
    texts = iter(contents)
    started = time.perf_counter()
    while block := list(islice(texts, SHARD)):
        encoder.tokenized(block)
    tokenising = time.perf_counter() - started
    started = time.perf_counter()
    encode_to_directory(plan_texts(corpus, "document", SHARD), checkpoint, encoder,
                        EncodingOutput(folder=Path(output)))
    encoding = time.perf_counter() - started
    print(json.dumps({"tokeniser": len(lines) / tokenising, "host": len(lines) / encoding}))


if __name__ == "__main__":
    main()
