"""Models with something wrong in them, and the same texts in other batches, threads and orders."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import SPECIALS, WORDS, make_tiny, save_tokenizer, write_corpus
from reliability import draws, tried
from safetensors.torch import load_file, save_file

from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.variants import VARIANTS


def change(folder: Path, weight: str, how: Callable[[torch.Tensor], object]) -> None:
    """Changes the first weight whose name ends so."""
    tensors = load_file(folder / "model.safetensors")
    how(tensors[next(name for name in tensors if name.endswith(weight))])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def one(value: float) -> Callable[[torch.Tensor], object]:
    return lambda tensor: tensor.view(-1)[3].fill_(value)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "NaN": (lambda f: change(f, "layer.1.output.dense.weight", one(float("nan"))), "NaN or infinity"),
    "infinity": (lambda f: change(f, "predictions.bias", one(float("inf"))), "NaN or infinity"),
    "NaN in an embedding": (lambda f: change(f, "word_embeddings.weight", one(float("nan"))),
                            "NaN or infinity"),
    "a bias far below 0": (lambda f: change(f, "predictions.bias", lambda t: t.fill_(-1e4)),
                           "gives no term to any of the first 3 texts"),
    "a larger vocabulary": (lambda f: save_tokenizer(f, [*SPECIALS, *WORDS, "extra"]),
                            "output terms, its tokenizer"),
}


@pytest.mark.fault(8, "a model with NaN or infinity in one weight, a bias that leaves no term, a "
                   "tokenizer of more terms", detected="weights and sizes, before the first shard")
@pytest.mark.parametrize("name", FAULTS)
def test_a_model_is_refused_before_the_first_shard(name: str, tmp_path: Path,
                                                   refused: Callable[..., str]) -> None:
    model = make_tiny(tmp_path / "model")
    damage, message = FAULTS[name]
    damage(model)
    corpus = write_corpus(tmp_path / "c.jsonl", {"a": "the cat", "b": "a dog", "c": "", "d": "wing"})
    said = refused("encode", "--model", model, "--corpus", corpus, "--max-length", 64, "--output",
                   tmp_path / "out")
    assert message in said
    assert str(model) in said
    assert not list((tmp_path / "out").glob("impacts/*"))


@pytest.mark.fault(8, "weights that give NaN for one document of many", then="refused, and the "
                   "shards before it stay", detected="every batch's weights, by document")
def test_a_nan_at_one_document(tmp_path: Path, refused: Callable[..., str]) -> None:
    """A finite embedding so large that its variance is not: any text with the word is NaN."""
    model = make_tiny(tmp_path / "model")
    place = [*SPECIALS, *WORDS].index("shock")
    change(model, "word_embeddings.weight", lambda t: t[place].fill_(3e38))
    texts = {f"d{n}": "the cat sat" for n in range(25)} | {"bad": "a shock"} | {"e": "dog"}
    corpus = write_corpus(tmp_path / "c.jsonl", texts)
    said = refused("encode", "--model", model, "--corpus", corpus, "--max-length", 64,
                   "--shard-size", 10, "--output", tmp_path / "out")
    assert f"{corpus}:26: 'bad': the model gives NaN" in said
    assert sorted(path.name for path in (tmp_path / "out" / "impacts").iterdir()) == [
        "part-00000.jsonl", "part-00001.jsonl"]


@pytest.mark.fault(8, "a tokenizer of another model with as many wordpieces",
                   detected="its hash, which index and queries must share")
def test_a_tokenizer_of_the_same_size(tiny: Path, tmp_path: Path, refused: Callable[..., str],
                                      cli: Callable[..., object]) -> None:
    model = Path(shutil.copytree(tiny, tmp_path / "model"))
    save_tokenizer(model, [*SPECIALS, *reversed(WORDS)])
    corpus = write_corpus(tmp_path / "c.jsonl", {"a": "the cat", "b": "a dog"})
    command = ("encode", "--corpus", corpus, "--max-length", 64, "--output", tmp_path / "out")
    cli(*command, "--model", tiny)
    cli("index", "--encoded", tmp_path / "out", "--index", tmp_path / "index")
    (tmp_path / "t.tsv").write_text("1\tthe cat\n")
    assert "do not belong together: tokenizer " in refused(
        "search", "--index", tmp_path / "index", "--topics", tmp_path / "t.tsv", "--model", model,
        "--output", tmp_path / "run", "--max-length", 64)


@pytest.mark.fault(6, "batches of 1, 7 and 64 texts, 1 and 2 threads, texts sorted and not",
                   then="impacts within 1, at most 1 in 1,000 of them off; order the input's",
                   detected="compared text by text")
def test_batches_threads_and_orders(tiny: Path, chance: random.Random) -> None:
    def impacts(own: list[str], batch_tokens: int) -> dict[str, object]:
        made = Encoder(open_checkpoint(str(tiny)), VARIANTS["splade-v3"], "document",
                       EncoderSettings(max_length=64, batch_tokens=batch_tokens))
        matrix = made.impacts(own).toarray()
        return dict(zip(own, matrix, strict=True))

    threads = torch.get_num_threads()
    compared = off = 0
    try:
        for _ in range(draws(1, 0.1)):
            texts = list({" ".join(chance.choices(WORDS, k=chance.randint(1, 50))): None
                          for _ in range(80)})
            expected = impacts(texts, 64)
            for batch, count, order in ((1, 1, texts), (7 * 64, 2, texts), (64 * 64, 1, texts),
                                        (64 * 64, 2, sorted(texts)), (7 * 64, 1, texts[::-1])):
                torch.set_num_threads(count)
                found = impacts(order, batch)
                for text in texts:
                    difference = abs(found[text] - expected[text])  # type: ignore[operator]
                    assert difference.max() <= 1
                    compared += int((expected[text] > 0).sum())  # type: ignore[operator]
                    off += int(difference.sum())
                tried()
    finally:
        torch.set_num_threads(threads)
    assert compared > 10_000
    assert off <= compared / 1000, (off, compared)
