"""Models and tokenizers that make a library fail: one line, before anything is written."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SPECIALS, WORDS, Result, make_tiny, save_tokenizer, write_corpus

from spladev3_anserini.errors import InputError, refusing
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.panics import without_panic_report
from spladev3_anserini.model.splade import load_splade
from spladev3_anserini.model.tokenizer import Tokenizer

Json = dict[str, Any]
BACKTRACKS = {"Regex": "(a+)+$"}
HARMLESS, FATAL = "the cat", "a" * 60 + "b"


def changed(path: Path, change: Callable[[Json], object]) -> None:
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


@pytest.fixture
def model(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


@pytest.fixture
def encode(model: Path, tmp_path: Path, refused: Callable[..., str]) -> Callable[..., str]:
    """Encodes with a model that must be refused, before a folder is made; returns the message."""

    def call(*more: object, text: str = HARMLESS) -> str:
        corpus = write_corpus(tmp_path / "corpus.jsonl", {"a": HARMLESS, "b": text})
        message = refused("encode", "--model", model, "--variant", "splade-v3", "--corpus", corpus,
                          "--max-length", 32, "--output", tmp_path / "encoded", *more)
        assert not list(tmp_path.glob("encoded/impacts/*"))
        assert text != HARMLESS or not (tmp_path / "encoded").exists()
        return message

    return call


@pytest.mark.fault(19, "a config that makes the model fail inside: no output object, chunks, heads, "
                   "dropout, activations, names of types",
                   detected="two short texts, before anything is written")
@pytest.mark.parametrize("config", [
    {"return_dict": False}, {"use_return_dict": False}, {"chunk_size_feed_forward": 3}, {"chunk_size_feed_forward": 5},
    {"num_attention_heads": -2}, {"num_attention_heads": 0}, {"num_attention_heads": 3},
    {"layer_norm_eps": "x"}, {"output_attentions": True}, {"hidden_act": "none such"},
    {"dtype": "float7"}, {"pad_token_id": 999}, {"hidden_dropout_prob": 5},
    {"intermediate_size": -32}, {"is_decoder": True, "add_cross_attention": True}],
    ids=str)
def test_a_config(config: Json, model: Path, encode: Callable[..., str]) -> None:
    changed(model / "config.json", lambda own: own.update(config))
    assert str(model) in encode()


def rule(kind: str, content: str) -> Json:
    return {"type": "Replace", "pattern": {kind: "a"}, "content": content}


def template(tokens: list[int], *single: str) -> Json:
    """A post-processor: A is the text, [X] some tokens."""
    pieces = [{"Sequence": {"id": "A", "type_id": 0}} if own == "A"
              else {"SpecialToken": {"id": own, "type_id": 0}} for own in single]
    return {"type": "TemplateProcessing", "single": pieces, "pair": [
        {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[X]": {"id": "[X]", "ids": tokens, "tokens": ["[CLS]"] * len(tokens)}}}


def without_unknown(content: Json) -> None:
    vocabulary = content["model"]["vocab"]
    vocabulary["known"] = vocabulary.pop("[UNK]")
    content["added_tokens"] = [own for own in content["added_tokens"] if own["content"] != "[UNK]"]


TOKENIZERS: dict[str, tuple[Callable[[Json], object], str]] = {
    "no [UNK]": (without_unknown, "the tokenizer fails on the text"),
    "500 tokens more": (lambda t: t.update(post_processor=template([2], "[X]", "A", *["[X]"] * 500)),
                        "--max-length 32: expected 502 to 64 tokens"),
    "500 tokens of one": (lambda t: t.update(post_processor=template([2] * 500, "[X]", "A")),
                          "--max-length 32: expected 501 to 64 tokens"),
    "the text three times": (lambda t: t.update(post_processor=template([2], "A", "A", "A")),
                             "ids of a text that is cut to"),
    "no text": (lambda t: t.update(post_processor=template([2], "[X]")), "gives no wordpiece"),
    "an unknown id": (lambda t: t.update(post_processor=template([99_999], "[X]", "A")),
                      "gives the id 99999, its vocabulary ends at"),
    "two templates": (lambda t: t.update(post_processor={
        "type": "Sequence", "processors": [template([2], "[X]", "A", "[X]")] * 2}), "fails on the text"),
    "a table of nothing": (lambda t: t.update(normalizer={
        "type": "Precompiled", "precompiled_charsmap": "AAAA"}), "cannot be loaded"),
    "a table that leads out of itself": (lambda t: t.update(normalizer={
        "type": "Precompiled", "precompiled_charsmap": "EAAAAAECAwQBAgMEAQIDBAECAwQBAgMEAQIDBA=="}),
        "fails on the text"),
    "a pattern that is none": (lambda t: t.update(normalizer={
        "type": "Replace", "pattern": {"Regex": "("}, "content": ""}), "cannot be loaded"),
    "1,000 for one": (lambda t: t.update(normalizer=rule("String", "a" * 1000)),
                      "can make 1,000 characters of one"),
    "10 for one, 9 times": (lambda t: t.update(normalizer={
        "type": "Sequence", "normalizers": [rule("Regex", "a" * 10)] * 9}),
        "can make 1,000,000,000 characters of one"),
    "bytes of bytes": (lambda t: t.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}
    ] * 30}), "can make 1,073,741,824 characters of one"),
    "a long beginning": (lambda t: t.update(normalizer={"type": "Prepend", "prepend": "a" * 9999}),
                         "can make 9,999 characters of one"),
    "merges at random": (lambda t: t.update(model={
        "type": "BPE", "dropout": 0.5, "vocab": t["model"]["vocab"], "merges": [],
        "unk_token": "[UNK]"}), "leaves out merges at random (dropout 0.5)"),
}


def with_tokenizer(model: Path, change: Callable[[Json], object]) -> None:
    """Changes tokenizer.json, and has transformers take it as it is."""
    changed(model / "tokenizer.json", change)
    (model / "vocab.txt").unlink()
    changed(model / "tokenizer_config.json", lambda own: own.update(
        tokenizer_class="PreTrainedTokenizerFast", unk_token=None))


@pytest.mark.fault(19, "a tokenizer that panics, explodes, repeats or loses the text, draws at random, "
                   "has no [UNK] or adds 500 tokens", detected="its rules, and some short texts")
@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer(name: str, model: Path, encode: Callable[..., str]) -> None:
    change, message = TOKENIZERS[name]
    with_tokenizer(model, change)
    assert message in encode()


@pytest.mark.fault(19, "a tokenizer whose pattern backtracks on one text of many",
                   detected="the library's panic; the text is shown")
@pytest.mark.parametrize("change", [
    {"normalizer": {"type": "Replace", "pattern": BACKTRACKS, "content": "x"}},
    {"pre_tokenizer": {"type": "Split", "pattern": BACKTRACKS, "behavior": "Isolated",
                       "invert": False}}], ids=lambda change: next(iter(change)))
def test_a_pattern_that_backtracks(change: Json, model: Path, encode: Callable[..., str]) -> None:
    with_tokenizer(model, lambda own: own.update(change))
    message = encode(text=FATAL)
    assert f"the tokenizer fails on the text {FATAL[:60]!r}: Onig: Regex search error" in message


def test_known_tokenizers_pass(model: Path, encode: Callable[..., str]) -> None:
    """Patterns and bytes as RoBERTa's, Llama's and XLM-R's have them."""
    with_tokenizer(model, lambda own: own.update(
        normalizer={"type": "Sequence", "normalizers": [
            {"type": "NFKD"}, {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}"}, "behavior": "Isolated",
             "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": True}]}))
    assert Tokenizer(model).ids(["the cat"], 32)


#: 40 rows of positions: how many tokens that is room for.
@pytest.mark.fault(19, "a length between the rows of RoBERTa's table of positions and the tokens that "
                   "it has room for", detected="the table's padding row")
@pytest.mark.parametrize(("architecture", "padding", "limit"), [
    ("Roberta", 1, 38), ("Roberta", 0, 39), ("Roberta", 3, 36), ("XLMRoberta", 1, 38),
    ("Camembert", 1, 38), ("Data2VecText", 1, 38), ("Bert", 1, 40)])
def test_positions(architecture: str, padding: int, limit: int, tmp_path: Path,
                   cli: Callable[..., Result], refused: Callable[..., str]) -> None:
    model = roberta_like(tmp_path / "model", architecture, padding)
    corpus = write_corpus(tmp_path / "c.jsonl", {"a": "cat " * 50})
    folders = [model]
    if padding == 1 and architecture in ("Roberta", "Bert"):
        assert cli("export", "--model", model, "--output", tmp_path / "onnx").code == 0
        folders.append(tmp_path / "onnx")
    for folder in folders:
        command = ("encode", "--model", folder, "--variant", "splade-v3", "--corpus", corpus,
                   "--output", tmp_path / f"{folder.name}-out", "--max-length")
        assert f"--max-length {limit + 1}: expected 3 to {limit} tokens" in refused(
            *command, limit + 1)
        assert not (tmp_path / f"{folder.name}-out").exists()
        assert cli(*command, limit).code == 0


def roberta_like(folder: Path, architecture: str, padding: int) -> Path:
    import transformers

    config = getattr(transformers, f"{architecture}Config")(
        vocab_size=len(SPECIALS + WORDS), hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=40,
        pad_token_id=padding)
    torch.manual_seed(0)
    model = getattr(transformers, f"{architecture}ForMaskedLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.6)
    model.save_pretrained(folder)
    save_tokenizer(folder, [*SPECIALS, *WORDS])
    changed(folder / "tokenizer_config.json", lambda own: own.update(
        tokenizer_class="PreTrainedTokenizerFast"))
    (folder / "vocab.txt").unlink()
    return folder


@pytest.mark.fault(8, "an architecture whose logits are not its output layer's",
                   detected="the model's own logits of two short texts")
def test_an_architecture_with_something_behind_its_output_layer(
        tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import BertForMaskedLM

    plain = BertForMaskedLM.forward

    def scaled(self: Any, **inputs: Any) -> Any:
        outputs = plain(self, **inputs)
        size = self.config.vocab_size
        outputs.logits = outputs.logits / (2 if outputs.logits.shape[-1] == size else 1)
        return outputs

    monkeypatch.setattr(BertForMaskedLM, "forward", scaled)
    with pytest.raises(InputError, match="logits are not what its output layer gives"):
        load_splade(open_checkpoint(str(tiny)), torch.float32, "cpu")


@pytest.mark.fault(8, "a model that returns thousands of terms per text (random, or never trained as a "
                   "SPLADE)", detected="the first shard's mean", then="a warning")
def test_a_random_model_is_told(tmp_path: Path, cli: Callable[..., Result]) -> None:
    words = [*WORDS, *(f"w{number}" for number in range(4000))]
    model = make_tiny(tmp_path / "model", vocabulary=[*SPECIALS, *words])
    corpus = write_corpus(tmp_path / "c.jsonl", {"a": "the cat sat", "b": "", "c": "a dog"})
    command = ("encode", "--model", model, "--corpus", corpus, "--max-length", 64, "--output")
    done = cli(*command, tmp_path / "out")
    assert done.code == 0
    assert "was this model trained as a SPLADE?" in done.err
    assert f"of its vocabulary's {len(SPECIALS + words):,} terms" in done.err
    quiet = cli(*command, tmp_path / "few", "--top-k", 100)  # as dense as a SPLADE is
    assert (quiet.code, quiet.err) == (0, "")


@pytest.mark.fault(8, "an export whose graph does not fit into an ONNX file", detected="its size")
def test_a_graph_above_2_gib(tiny: Path, tmp_path: Path, refused: Callable[..., str],
                             monkeypatch: pytest.MonkeyPatch) -> None:
    import spladev3_anserini.model.onnx_export as module

    assert 2**31 - 2**25 < module.LARGEST_GRAPH < 2**31
    monkeypatch.setattr(module, "LARGEST_GRAPH", 1000)
    for precision in ("float32", "int8"):
        assert "an ONNX file holds 2" in refused("export", "--model", tiny, "--precision",
                                                 precision, "--output", tmp_path / "onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.fault(8, "an architecture that cannot be exported, or whose graph gives other weights",
                   detected="the exporter; the graph against the model at other lengths")
def test_a_graph_that_fails_or_differs(tiny: Path, tmp_path: Path, refused: Callable[..., str],
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    import spladev3_anserini.model.onnx_export as module

    export = ("export", "--model", tiny, "--output", tmp_path / "onnx")
    plain = module._Graph.forward

    def of_this_length(self: Any, ids: torch.Tensor, *others: torch.Tensor) -> Any:
        terms, weights, rows = plain(self, ids, *others)
        return terms, weights * int(ids.shape[1]), rows  # a trace keeps the number

    monkeypatch.setattr(module._Graph, "forward", of_this_length)
    assert "gives other weights than the model" in refused(*export)

    def unknown(*given: Any, **more: Any) -> None:
        raise KeyError("no such operator\nand a second line")

    monkeypatch.setattr(torch.onnx, "export", unknown)
    assert f"--model {tiny}: cannot be exported: it knows no" in refused(*export)
    assert not list(tmp_path.iterdir())


def test_memory_that_is_short_names_the_options(tiny: Path, tmp_path: Path,
                                                refused: Callable[..., str],
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    from spladev3_anserini.model import splade

    corpus = write_corpus(tmp_path / "c.jsonl", {"a": "the cat sat on"})
    plain = splade.Splade.forward
    for error in (MemoryError(), RuntimeError("can't allocate memory: you tried 9 bytes"),
                  NotImplementedError("an operator\nis missing")):
        def short(self: Any, ids: torch.Tensor, mask: torch.Tensor,
                  error: Exception = error) -> torch.Tensor:
            if ids.shape[1] == 6:  # the corpus, and not what a model is tried on
                raise error
            return plain(self, ids, mask)

        monkeypatch.setattr(splade.Splade, "forward", short)
        expected = "fails on 1 text of up to 6 tokens: an operator" if isinstance(
            error, NotImplementedError) else "does not fit into the memory of cpu; choose fewer"
        assert expected in refused("encode", "--model", tiny, "--corpus", corpus, "--max-length",
                                   64, "--output", tmp_path / "out")


def test_the_cause_of_a_refusal_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """With SPLADEV3_TRACEBACK what a library raised is a traceback; one's own refusals are not."""
    import click

    from spladev3_anserini.cli.app import run

    @click.command()
    @click.option("--own", is_flag=True)
    def command(own: bool) -> None:
        if own:
            raise InputError("a bad option")
        with refusing("model m: fails"):
            raise KeyError("inside")

    for arguments in ([], ["--own"]):
        with pytest.raises(SystemExit):
            run(command, arguments)
    monkeypatch.setenv("SPLADEV3_TRACEBACK", "1")
    with pytest.raises(InputError) as error:
        run(command, [])
    assert isinstance(error.value.__cause__, KeyError)
    with pytest.raises(SystemExit):
        run(command, ["--own"])


def test_what_ends_a_program_passes() -> None:
    for error in (KeyboardInterrupt, SystemExit, InputError("own")):
        with pytest.raises(type(error) if isinstance(error, InputError) else error) as raised, \
                refusing("a library"):
            raise error
        assert "a library" not in str(raised.value)
    with pytest.raises(OSError, match="full"), refusing("a library", OSError):
        raise OSError("full")


def test_stderr_is_only_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    """Warnings of other threads come out afterwards; only the report of a panic does not."""
    with without_panic_report():
        print("python", file=sys.stderr)
        os.write(2, b"library\n")
    assert sorted(capfd.readouterr().err.splitlines()) == ["library", "python"]
    panic = type("PanicException", (BaseException,), {})

    def panics() -> None:
        with refusing("it"), without_panic_report():
            os.write(2, b"thread panicked, and 40 lines\n")
            raise panic("out of range")

    with pytest.raises(InputError, match="^it: out of range$"):
        panics()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
