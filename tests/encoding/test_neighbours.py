"""A query's impacts are the same alone and among others, whatever runs the model."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import WORDS, Result

from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.variants import VARIANTS


def encoder(folder: Path, variant: str, dtype: str = "auto") -> Encoder:
    return Encoder(open_checkpoint(str(folder)), VARIANTS[variant], "query",
                   EncoderSettings(max_length=64, dtype=dtype, device="cpu"))


def queries(count: int) -> list[str]:
    draw = random.Random(5)
    return ["", *(" ".join(draw.choices(WORDS, k=draw.randint(1, 40))) for _ in range(count))]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_of_a_graph(precision: str, tiny: Path, tmp_path: Path) -> None:
    """Dynamic quantisation scales activations by the whole batch: a long neighbour moved impacts
    of the demo model by up to 24."""
    pytest.importorskip("onnxruntime")
    from spladev3_anserini.model.onnx_export import export_onnx

    export_onnx(open_checkpoint(str(tiny)), tmp_path / "onnx", precision)  # type: ignore[arg-type]
    made = encoder(tmp_path / "onnx", "splade-v3")
    texts = queries(8)
    together = made.impacts(texts).toarray()
    alone = np.concatenate([made.impacts([text]).toarray() for text in texts])
    assert np.array_equal(together, alone)
    assert np.array_equal(made.impacts(texts[::-1]).toarray()[::-1], alone)
    made.batch_tokens = 1024  # what would be if they shared a batch
    assert precision == "float32" or not np.array_equal(made.impacts(texts).toarray(), alone)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("variant", ["splade-v3", "splade-v3-lexical"])
def test_of_torch(variant: str, dtype: str, tiny: Path) -> None:
    made = encoder(tiny, variant, dtype)
    texts = queries(30)
    together = made.weights(texts).toarray()
    assert np.array_equal(together, np.concatenate(
        [made.weights([text]).toarray() for text in texts]))
    assert together.any()


def test_batches_of_queries_are_no_setting_of_theirs(tiny: Path, tmp_path: Path,
                                                     cli: Callable[..., Result]) -> None:
    """Another --batch-tokens continues an encode of queries, for it decides nothing."""
    (tmp_path / "t.tsv").write_text("1\tthe cat\n2\ta dog on a mat\n")
    command = ("encode", "--model", tiny, "--topics", tmp_path / "t.tsv",
               "--device", "cpu", "--max-length", 64, "--output", tmp_path / "q")
    assert cli(*command).code == 0
    assert "0 shards written" in cli(*command, "--batch-tokens", 7).out
