"""Vocabularies that differ from the model's outputs, have holes, odd terms, or no fast form."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SPECIALS, TEXTS, WORDS, make_tiny, write_corpus
from matrix_rows import vector_of
from safetensors.torch import load_file, save_file

from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.query_weights import read_query_weights
from spladev3_anserini.lucene.searcher import ImpactSearcher
from spladev3_anserini.model.batches import largest_batch, length_batches
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.onnx_export import export_onnx
from spladev3_anserini.model.tokenizer import Tokenizer

SOME = [text for text in TEXTS.values() if text.strip()]
FUGASHI = all(map(importlib.util.find_spec, ("fugashi", "ipadic")))


def encoder(folder: Path, **chosen: Any) -> Encoder:
    checkpoint = open_checkpoint(str(folder))
    settings = EncoderSettings(**({"max_length": 32} | chosen))
    return Encoder(checkpoint, checkpoint.variant, "document", settings)


def peers(folder: Path, texts: list[str]) -> Any:
    """sentence-transformers' weights, shape (texts, outputs)."""
    from sentence_transformers import SparseEncoder

    model = SparseEncoder(str(folder), device="cpu")
    model.max_seq_length = 32
    return model.encode_document(texts, convert_to_sparse_tensor=False).numpy()


def assert_as_peers(folder: Path, texts: list[str]) -> Encoder:
    """Asserts that all weights but those without a name are the library's; returns the encoder."""
    made = encoder(folder, special_tokens="keep")
    expected = peers(folder, texts)[:, : len(made.terms)]
    expected[:, sorted(made.tokenizer.nameless)] = 0
    np.testing.assert_allclose(made.weights(texts).toarray(), expected, atol=1e-5)
    return made


def widened(folder: Path, outputs: int) -> Path:
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(folder)
    model.resize_token_embeddings(len(SPECIALS + WORDS) + outputs)
    model.get_output_embeddings().bias.data[-outputs:] = 50  # a weight in every text
    model.save_pretrained(folder)
    return folder


def named(folder: Path, names: dict[str, str]) -> Path:
    """Renames terms in tokenizer.json."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    vocabulary = content["model"]["vocab"]
    for old, new in names.items():
        vocabulary[new] = vocabulary.pop(old)
    path.write_text(json.dumps(content), "utf-8")
    (folder / "vocab.txt").unlink(missing_ok=True)
    return folder


def test_surplus_outputs_get_no_weight_and_are_counted_once(
        tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = widened(Path(shutil.copytree(tiny, tmp_path / "wide")), 22)
    with caplog.at_level(logging.INFO, "spladev3_anserini"):
        made = assert_as_peers(folder, SOME)
        Encoder(open_checkpoint(str(folder)), made.variant, "query", made.settings, made.network)
    said = [line for line in caplog.messages if "output terms" in line]
    terms = len(SPECIALS + WORDS)
    assert said == [f"{folder}: the model has {terms + 22} output terms, 22 of them without a term "
                    "of the tokenizer; these get no weight"]
    assert (made.weights(SOME) != encoder(tiny, special_tokens="keep").weights(SOME)).nnz == 0


@pytest.mark.parametrize("top_k", [None, 5])
def test_a_graph_gives_surplus_outputs_no_weight(top_k: int | None, tiny: Path,
                                                 tmp_path: Path) -> None:
    folder = widened(Path(shutil.copytree(tiny, tmp_path / "wide")), 9)
    export_onnx(open_checkpoint(str(folder)), tmp_path / "graph", top_k=top_k)
    expected = encoder(tiny, top_k=top_k).weights(SOME).toarray()
    np.testing.assert_allclose(encoder(tmp_path / "graph").weights(SOME).toarray(), expected,
                               atol=1e-4)


def test_a_repeated_line_is_an_id_without_a_term(tmp_path: Path) -> None:
    """The later line counts, as in the library; the earlier column has no name."""
    folder = make_tiny(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    lines = [*SPECIALS, *WORDS]
    lines[lines.index("wing")] = "cat"
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", "utf-8")
    made = assert_as_peers(folder, ["the cat sat", "a dog", "wing"])
    assert made.tokenizer.nameless == {lines.index("cat")}
    assert made.terms[lines.index("cat")] == f"\\#{lines.index('cat')}"
    assert len(set(made.terms)) == len(lines)


def test_holes_and_two_tokens_of_one_id(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    vocabulary = content["model"]["vocab"]
    hole, shared = vocabulary.pop("shock"), vocabulary["cat"]
    vocabulary["dog"] = shared
    path.write_text(json.dumps(content), "utf-8")
    (folder / "vocab.txt").unlink()
    made = assert_as_peers(folder, ["the cat sat", "a dog in shock"])
    assert hole in made.tokenizer.nameless
    assert made.terms[shared] in {"cat", "dog"}
    assert f"\\#{hole}" not in vector_of(made, made.impacts(["shock"]), 0)


def test_an_id_far_beyond_the_vocabulary_is_refused(tiny: Path, tmp_path: Path) -> None:
    folder = named(Path(shutil.copytree(tiny, tmp_path / "model")), {})
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    content["model"]["vocab"]["cat"] = 3_000_000
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(InputError, match=r"has the id 3,000,000; at most 2,097,152 ids"):
        Tokenizer(folder)


#: A term of the tiny vocabulary, what it becomes, and its name in an index.
ODD = {"zero": (" ", r"\u0020"), "five": ("\u2028", r"\u2028"), "six": ("a b", r"a\u0020b"),
       "seven": (r"a\u0020b", r"a\u0020b"), "eight": ("x" * 256, None), "bark": ("", None),
       "shock": ("\u3000" * 3, r"\u3000\u3000\u3000")}


def test_terms_that_lucene_would_change_are_escaped_on_both_sides(
        tiny: Path, tmp_path: Path, cli: Callable[..., Any]) -> None:
    folder = named(Path(shutil.copytree(tiny, tmp_path / "model")),
                   {old: new for old, (new, _) in ODD.items()})
    made = assert_as_peers(folder, SOME)
    ids = {word: place for place, word in enumerate((*SPECIALS, *WORDS))}
    for word, (_, name) in ODD.items():
        # the name a\u0020b is that of the token without a fault
        expected = name if name and word != "six" else f"\\#{ids[word]}"
        assert made.terms[ids[word]] == expected
    corpus = write_corpus(tmp_path / "c.jsonl", {f"d{n}": text for n, text in enumerate(SOME)})
    assert cli("encode", "--model", folder, "--corpus", corpus, "--max-length", 32, "--output",
               tmp_path / "out").code == 0
    assert cli("index", "--encoded", tmp_path / "out", "--index", tmp_path / "index").code == 0
    made = encoder(folder)
    matrix = made.impacts(SOME)
    documents = [(f"d{n}", vector_of(made, matrix, n)) for n in range(len(SOME))]
    oracle, searcher = ExactSearcher(documents), ImpactSearcher(tmp_path / "index")
    matched = 0
    for word in ODD:
        query = {str(made.terms[ids[word]]): 3}
        hits = searcher.search(query, 10)
        assert hits == oracle.search(query, 10)
        matched += len(hits)
    searcher.close()
    assert matched > len(ODD)


def test_a_table_may_name_a_term_as_the_vocabulary_does(tiny: Path, tmp_path: Path) -> None:
    folder = named(Path(shutil.copytree(tiny, tmp_path / "model")), {"zero": "\u2028"})
    (tmp_path / "idf.json").write_text('{"\\u2028": 2.5, "cat": 1.5}')
    terms = Tokenizer(folder).terms
    weights = read_query_weights(tmp_path / "idf.json", terms)
    assert {str(terms[i]): float(weights[i]) for i in weights.nonzero()[0]} == {
        r"\u2028": 2.5, "cat": 1.5}


def sentencepiece_model() -> bytes:
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat", "a dog ran", "wing flow theory"] * 20),
        model_writer=written, vocab_size=40, model_type="unigram", minloglevel=3,
        user_defined_symbols=["[CLS]", "[SEP]", "[MASK]", "<pad>", "<mask>"],
        hard_vocab_limit=False)
    return written.getvalue()


@pytest.mark.parametrize(("architecture", "file"), [
    ("XLMRoberta", "sentencepiece.bpe.model"), ("Albert", "spiece.model")])
def test_a_sentencepiece_model_is_a_tokenizer(architecture: str, file: str,
                                              tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece", reason="needs sentencepiece")
    import transformers

    folder = tmp_path / "model"
    config = getattr(transformers, f"{architecture}Config")(
        vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, embedding_size=16, max_position_embeddings=64)
    randomised(getattr(transformers, f"{architecture}ForMaskedLM")(config)).save_pretrained(folder)
    (folder / file).write_bytes(sentencepiece_model())
    made = assert_as_peers(folder, ["the cat sat", "a dog ran on the mat"])
    assert "▁the" in made.tokenizer.pieces("the cat sat")
    export_onnx(open_checkpoint(str(folder)), tmp_path / "graph")
    np.testing.assert_allclose(encoder(tmp_path / "graph").weights(["the cat"]).toarray(),
                               encoder(folder).weights(["the cat"]).toarray(), atol=1e-4)


def randomised(model: Any) -> Any:
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.6)
    return model.eval()


JAPANESE = [*SPECIALS, *"猫 が 魚 を 食べ る た 犬 ##猫 the cat の 。".split()]
SENTENCES = ["猫が魚を食べた。", "犬の魚", "the cat が"]


def japanese(folder: Path, splitter: str = "basic", **options: Any) -> Path:
    """A BERT with the tokenizer class of Japanese models, which has no fast form."""
    make_tiny(folder, vocabulary=JAPANESE)
    for name in ("tokenizer.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    settings = {"tokenizer_class": "BertJapaneseTokenizer", "do_lower_case": False,
                "word_tokenizer_type": splitter, "subword_tokenizer_type": "wordpiece", **options}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def test_a_tokenizer_without_a_fast_form(tmp_path: Path) -> None:
    folder = japanese(tmp_path / "model")
    made = assert_as_peers(folder, ["the cat", "猫 が 魚 を", "犬"])
    own = made.tokenizer
    assert own.ids(["the cat 犬"], 32) == [[2, 14, 15, 12, 3]]
    assert own.tokenized(["the cat 犬 犬", "cat"], 4) == ([[2, 14, 15, 3], [2, 15, 3]], [2, 0])
    assert own.pieces("the Cat") == ["the", "[UNK]"]
    assert Tokenizer(folder, lower_case=True).ids(["THE Cat"], 32) == [[2, 14, 15, 3]]


def test_the_hash_of_a_slow_tokenizer_is_of_its_content(tmp_path: Path) -> None:
    folder = japanese(tmp_path / "model")
    first = Tokenizer(folder).sha256
    same = Path(shutil.copytree(folder, tmp_path / "same"))
    assert Tokenizer(same).sha256 == first
    Tokenizer(same).transformers.save_pretrained(tmp_path / "saved")
    assert Tokenizer(tmp_path / "saved").sha256 == first
    assert Tokenizer(folder, lower_case=True).sha256 != first
    assert Tokenizer(japanese(tmp_path / "lower", do_lower_case=True)).sha256 != first
    (same / "vocab.txt").write_text("\n".join([*JAPANESE[:-2], "。", "の"]) + "\n", "utf-8")
    assert Tokenizer(same).sha256 != first


@pytest.mark.skipif(not FUGASHI, reason="needs spladev3-anserini[japanese]: fugashi and ipadic")
def test_words_are_split_by_mecab(tmp_path: Path, cli: Callable[..., Any]) -> None:
    folder = japanese(tmp_path / "model", "mecab", mecab_kwargs={"mecab_dic": "ipadic"})
    made = assert_as_peers(folder, SENTENCES)
    assert made.tokenizer.pieces(SENTENCES[0]) == ["猫", "が", "魚", "を", "食べ", "た", "。"]
    corpus = write_corpus(tmp_path / "c.jsonl", dict(zip("abc", SENTENCES, strict=True)))
    assert cli("encode", "--model", folder, "--corpus", corpus, "--max-length", 32, "--output",
               tmp_path / "out").code == 0


@pytest.mark.parametrize(("splitter", "options", "message"), [
    ("mecab", {"mecab_kwargs": {"mecab_dic": "ipadic"}},
     "splits Japanese words by MeCab: needs fugashi, which is not installed: pip install "
     "'spladev3-anserini[japanese]'"),
    ("mecab", {"mecab_kwargs": {"mecab_option": "-r /etc/passwd"}},
     "mecab_kwargs.mecab_option: is not applied here"),
    ("mecab", {"mecab_kwargs": [1]}, "mecab_kwargs: expected a JSON object"),
    ("jumanpp", {}, 'word_tokenizer_type: "jumanpp" is not applied here')])
def test_a_word_splitter_that_cannot_be_used(splitter: str, options: Any, message: str,
                                             tmp_path: Path, refused: Callable[..., str],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    folder = japanese(tmp_path / "model", splitter, **options)
    monkeypatch.setitem(sys.modules, "fugashi", None)
    corpus = write_corpus(tmp_path / "c.jsonl", {"a": "猫"})
    assert message in refused("encode", "--model", folder, "--corpus", corpus, "--output",
                              tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_narrow_output_is_refused(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor[:-1] if tensor.shape[:1] == (len(SPECIALS + WORDS),) else tensor
               for name, tensor in tensors.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {
        "vocab_size": len(SPECIALS + WORDS) - 1}))
    with pytest.raises(InputError, match="output terms, its tokenizer"):
        encoder(folder)


def test_a_batch_of_a_large_vocabulary_has_a_bounded_size() -> None:
    """Short texts would otherwise be thousands of rows of 250,002 weights at once."""
    lengths = [5] * 9000
    for device, tokens in (("cpu", 1024), ("cuda", 32_768)):
        most = largest_batch(250_002, device)
        batches = list(length_batches(lengths, tokens, most))
        assert max(map(len, batches)) == most == {"cpu": 134, "cuda": 2147}[device]
        assert sorted(place for batch in batches for place in batch) == list(range(9000))
        # BERT's batches are those of the tokens alone
        assert list(length_batches([3] * 30_000, tokens, largest_batch(30_522, device))) == list(
            length_batches([3] * 30_000, tokens))
