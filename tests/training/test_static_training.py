"""Training with static query weights: the table stays as it is, and other libraries read it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Result
from layouts import router
from safetensors.torch import load_file, save_file
from test_trainer import DOCUMENTS, command, data, same, weights

from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.impacts.query_weights import QUERY_WEIGHTS, read_query_weights
from spladev3_anserini.model.checkpoint import chosen_variant, open_checkpoint
from spladev3_anserini.model.query_tables import read_weight_table
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.model.variants import VARIANTS
from spladev3_anserini.training.dataset import Example, Examples
from spladev3_anserini.training.mapped_data import open_training_data
from spladev3_anserini.training.model import TrainedSplade

Cli = Callable[..., Result]
__all__ = ["data"]

SAVED = "2_SparseStaticEmbedding/model.safetensors"
SHORT = ("--max-steps", 2, "--set", "documents.steps=1")


@pytest.fixture
def table(data: Path) -> Path:
    """A weight for two of three terms, special tokens too."""
    terms = Tokenizer(data / "start").terms
    path = data / "weights.json"
    path.write_text(json.dumps({term: round(0.3 + place % 7 * 0.4, 2)
                                for place, term in enumerate(terms) if place % 3}))
    return path


def expected_table(path: Path, folder: Path) -> torch.Tensor:
    """The table's weights, with 0 for special tokens."""
    tokenizer = Tokenizer(folder)
    expected = read_query_weights(path, tokenizer.terms)
    expected[sorted(tokenizer.special_ids)] = 0
    return torch.from_numpy(expected)


def assert_equal_to_its_peer(folder: Path, variant: str) -> None:
    """Both sides, term by term, as sentence-transformers has them."""
    from sentence_transformers import SparseEncoder

    checkpoint = open_checkpoint(str(folder))
    assert chosen_variant("auto", checkpoint).name == variant
    texts, peer = list(DOCUMENTS.values()), SparseEncoder(str(folder), device="cpu")
    for side, encode in (("document", peer.encode_document), ("query", peer.encode_query)):
        ours = Encoder(checkpoint, VARIANTS[variant], side, EncoderSettings(max_length=32))
        found = ours.weights(texts).toarray()
        assert found.any()
        assert found == pytest.approx(encode(texts).to_dense().numpy(), abs=1e-5)


def test_the_table_is_saved_as_it_was_and_read_everywhere(data: Path, table: Path, tmp_path: Path,
                                                          cli: Cli) -> None:
    folder = tmp_path / "model"
    done = cli(*command(data, folder, "--query-weights", table, recipe="static"))
    assert done.code == 0, done
    assert not same(weights(folder), weights(data / "start"))
    assert torch.equal(load_file(folder / SAVED)["weight"], expected_table(table, data / "start"))
    assert_equal_to_its_peer(folder, "static")
    for side in ("corpus", "topics"):
        encoded = cli("encode", "--model", folder, f"--{side}",
                      data / f"{side}.{'jsonl' if side == 'corpus' else 'tsv'}", "--output",
                      tmp_path / side, "--max-length", 32)
        assert encoded.code == 0, encoded
        assert "static" in encoded.out
    assert expected_table(tmp_path / "corpus" / QUERY_WEIGHTS, folder).tolist() == (
        expected_table(table, folder).tolist())


@pytest.mark.parametrize("layout", ["idf.json", "Router", "lexical Router"])
def test_the_starts_own_table_is_trained_with(layout: str, data: Path, table: Path, tiny: Path,
                                              tmp_path: Path, cli: Cli) -> None:
    variant = "splade-v3-lexical" if layout == "lexical Router" else "static"
    start, weight = data / "start", expected_table(table, tiny)
    if layout == "idf.json":
        shutil.copyfile(table, start / "idf.json")
    else:
        shutil.rmtree(start)
        router(tiny, start, masked=variant != "static")
        (static,) = start.glob("*SparseStaticEmbedding/model.safetensors")
        save_file({"weight": weight}, static)
    for folder, options in ((tmp_path / "model", ()), (tmp_path / "again", ("--start-from",
                                                                            tmp_path / "model"))):
        done = cli(*command(data, folder, *SHORT, *options, recipe=variant))
        assert done.code == 0, done
        assert torch.equal(load_file(folder / SAVED)["weight"], weight)
        assert_equal_to_its_peer(folder, variant)


def test_lexical_queries_do_not_use_the_table_of_a_static_start(data: Path, table: Path,
                                                                tmp_path: Path, cli: Cli) -> None:
    for name in ("plain", "beside"):
        if name == "beside":
            shutil.copyfile(table, data / "start/idf.json")
        assert cli(*command(data, tmp_path / name, *SHORT, recipe="splade-v3-lexical")).code == 0
    assert same(weights(tmp_path / "plain"), weights(tmp_path / "beside"))


def test_a_query_is_its_wordpieces_times_the_table(data: Path, table: Path) -> None:
    checkpoint, tokenizer = open_checkpoint(str(data / "start")), Tokenizer(data / "start")
    model = TrainedSplade(checkpoint, VARIANTS["static"], sorted(tokenizer.special_ids),
                          read_query_weights(table, tokenizer.terms))
    ids = torch.tensor(tokenizer.ids(["the cat the dog on"], 32))
    queries, documents = model(ids, torch.ones_like(ids), ids, torch.ones_like(ids))
    bag = torch.zeros_like(queries).index_fill_(1, ids[0], 1)
    assert torch.equal(queries, bag * expected_table(table, data / "start"))
    assert not queries.requires_grad
    assert documents.requires_grad


def test_weights_are_counted_from_the_corpus_as_encode_counts_them(data: Path, tmp_path: Path,
                                                                   cli: Cli) -> None:
    folder = tmp_path / "model"
    done = cli(*command(data, folder, *SHORT, "--query-weights", "idf", recipe="static"))
    assert done.code == 0, done
    encoded = cli("encode", "--model", folder, "--corpus", data / "corpus.jsonl", "--output",
                  tmp_path / "encoded", "--query-weights", "idf", "--max-length", 16)
    assert encoded.code == 0, encoded
    terms = Tokenizer(folder).terms
    np.testing.assert_array_equal(read_weight_table(folder / SAVED, terms),
                                  read_query_weights(tmp_path / "encoded" / QUERY_WEIGHTS, terms))


def test_a_training_goes_on_only_with_the_same_table(data: Path, table: Path, tmp_path: Path,
                                                     cli: Cli) -> None:
    words = command(data, tmp_path / "model", "--query-weights", table, recipe="static")
    assert cli(*words, "--max-steps", 3).code == 0
    assert cli(*words, "--resume").code == 0
    straight = command(data, tmp_path / "straight", "--query-weights", table, recipe="static")
    assert cli(*straight).code == 0
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "model"))
    table.write_text(json.dumps({"cat": 2.0}))
    done = cli(*words, "--resume")
    assert (done.code, "another training (other query_weights)" in done.err) == (2, True), done


def test_a_table_that_fits_no_static_training_is_refused(data: Path, table: Path, tmp_path: Path,
                                                         cli: Cli) -> None:
    tokenizer = Tokenizer(data / "start")
    special = sorted(tokenizer.special_ids)
    for path, content in (("ones.json", dict.fromkeys(tokenizer.terms.tolist(), 1.0)),
                          ("special.json", {str(tokenizer.terms[special[0]]): 1.0}),
                          ("unknown.json", {"no such term": 1.0})):
        (data / path).write_text(json.dumps(content))
    for recipe, given, message in (
            ("static", None, "has no table of query weights; say where one is with --query-weights"),
            ("splade-v3", table, "only queries of the variant static use a table"),
            ("splade-v3-doc", "idf", "only queries of the variant static use a table"),
            ("static", data / "ones.json", "every term has the weight 1, which is the variant "),
            ("static", data / "special.json", "no term has a weight above 0"),
            ("static", data / "unknown.json", "is not in the model's vocabulary")):
        options = () if given is None else ("--query-weights", given)
        done = cli(*command(data, tmp_path / "model", *options, recipe=recipe))
        assert (done.code, message in done.err) == (2, True), done
    assert not (tmp_path / "model").exists()


LEARNED = ("--set", "query_table.learning_rate=0.05", "--set", "query_table.begin=")


def trained_table(folder: Path) -> torch.Tensor:
    return load_file(folder / SAVED)["weight"]


def test_a_learned_table_has_its_own_learning_rate(data: Path, tmp_path: Path, cli: Cli) -> None:
    """Adam's first step moves a weight by the learning rate, whatever its gradient. One step of a
    training without warm-up; terms of no question stay."""
    tokenizer = Tokenizer(data / "start")
    special = sorted(tokenizer.special_ids)
    ones = torch.ones(len(tokenizer.terms))
    ones[special] = 0
    idf = trained_table_of_idf(data, tmp_path, cli)
    for begin, before in (("ones", ones), ("idf", idf)):
        folder = tmp_path / begin
        done = cli(*command(data, folder, *LEARNED[:3], LEARNED[3] + begin, "--max-steps", 1, "--set",
                            "warmup_ratio=0", "--set", "documents.steps=1", recipe="static"))
        assert done.code == 0, done
        moved = (trained_table(folder) - before).abs()
        learned = moved > 0
        assert 1 <= int(learned.sum()) <= 12
        assert not moved[special].any()
        assert moved[learned].tolist() == pytest.approx([0.05] * int(learned.sum()), rel=1e-3)
        assert_equal_to_its_peer(folder, "static")


def trained_table_of_idf(data: Path, tmp_path: Path, cli: Cli) -> torch.Tensor:
    """The corpus's IDF, as a training with `--query-weights idf` leaves it."""
    assert cli(*command(data, tmp_path / "frozen", "--max-steps", 1, "--query-weights", "idf", "--set",
                        "documents.steps=1", recipe="static")).code == 0
    return trained_table(tmp_path / "frozen")


def test_a_scaled_table_begins_in_the_teachers_range(data: Path, table: Path, tmp_path: Path,
                                                     cli: Cli) -> None:
    """By the package's encoder and numpy, from the texts and scores themselves; the table stays."""
    folder = tmp_path / "model"
    done = cli(*command(data, folder, *SHORT, "--query-weights", table, "--set",
                        "query_table.scale=true", recipe="static"))
    assert done.code == 0, done
    plain = expected_table(table, data / "start")
    checkpoint = open_checkpoint(str(data / "start"))
    documents = Encoder(checkpoint, VARIANTS["splade-v3"], "document", EncoderSettings(max_length=16))
    tokenizer = Tokenizer(data / "start")
    topics = dict(line.split("\t") for line in (data / "topics.tsv").read_text().splitlines())
    section = json.loads((data / "recipes/static.yaml").read_text())["training"]
    examples = drawn_examples(data, section)
    sums = np.zeros(2)
    for example in examples:
        bag = np.zeros(len(plain))
        bag[tokenizer.ids([topics[example.query_id]], 16)[0]] = 1
        scores = documents.weights(example.documents).toarray() @ (bag * plain.numpy())
        sums += np.std(example.scores), np.std(scores)
    scale = float(f"{sums[0] / sums[1]:.3g}")
    assert trained_table(folder).tolist() == pytest.approx((plain * scale).tolist(), rel=1e-6)
    assert json.loads((folder / "training.json").read_text())["query_table_scale"] == scale


def drawn_examples(data: Path, section: dict[str, Any]) -> list[Example]:
    mapped = open_training_data(data / "candidates.jsonl", data / "scores.jsonl",
                                str(data / "topics.tsv"), str(data / "corpus.jsonl"), data / "none")
    examples = Examples(mapped, section["negatives"], section["seed"])
    return [examples[number] for number in range(len(examples))]


def test_a_learned_table_goes_on_where_it_stopped(data: Path, tmp_path: Path, cli: Cli) -> None:
    words = [*LEARNED[:3], LEARNED[3] + "ones", "--set", "query_table.scale=true"]
    assert cli(*command(data, tmp_path / "straight", *words, recipe="static")).code == 0
    assert cli(*command(data, tmp_path / "model", *words, "--max-steps", 3, recipe="static")).code == 0
    assert cli(*command(data, tmp_path / "model", *words, "--resume", recipe="static")).code == 0
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "model"))
    assert torch.equal(trained_table(tmp_path / "straight"), trained_table(tmp_path / "model"))
    assert (trained_table(tmp_path / "model") >= 0).all()


def test_df_flops_goes_on_with_what_it_counted(data: Path, tmp_path: Path, cli: Cli) -> None:
    words = ["--set", "documents.kind=df_flops", "--set", "queries.kind=idf_flops", "--set",
             "documents.steps=0.3", "--set", "queries.steps=0.3", "--set", "loss.temperature=2.0"]
    assert cli(*command(data, tmp_path / "straight", *words)).code == 0
    assert cli(*command(data, tmp_path / "model", *words, "--max-steps", 3)).code == 0
    counted = tmp_path / "model/checkpoints/checkpoint-3/document_frequencies.safetensors"
    assert int(load_file(counted)["documents.batches"]) == 3
    assert cli(*command(data, tmp_path / "model", *words, "--resume")).code == 0
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "model"))


def test_a_table_is_learned_for_static_queries_alone(data: Path, table: Path, tmp_path: Path,
                                                     cli: Cli) -> None:
    done = cli(*command(data, tmp_path / "model", *LEARNED[:2]))
    assert (done.code, "query_table: splade-v3 has no table of query weights" in done.err) == (2, True)
    done = cli(*command(data, tmp_path / "model", *LEARNED[:3], LEARNED[3] + "ones", "--query-weights",
                        table, recipe="static"))
    assert (done.code, "query_table.begin ones: --query-weights gives a table" in done.err) == (2, True)
    done = cli(*command(data, tmp_path / "bow", LEARNED[2], LEARNED[3] + "ones", recipe="static"))
    assert (done.code, "every term has the same weight, which is" in done.err) == (2, True), done
