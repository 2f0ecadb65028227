"""Rerankers that score one text: what transformers gives for each text alone, and refusals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_teachers import PAIRS, make_bi_encoder, make_cross_encoder, make_t5
from tiny_templated import make_decoder, make_monot5

from spladev3_anserini.errors import InputError
from spladev3_anserini.rankers.pair_scorer import PairError, PairSettings
from spladev3_anserini.rankers.registry import find_pair_scorer, open_pair_scorer
from spladev3_anserini.rankers.templates import TEMPLATES

CPU = PairSettings(max_length=512, device="cpu")

#: The whole texts, as vLLM's documentation prints them for these models.
QWEN3 = ('<|im_start|>system\nJudge whether the Document meets the requirements based on the Query '
         'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
         '<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant passages that '
         'answer the query\n<Query>: QUERY\n<Document>: DOCUMENT<|im_end|>\n<|im_start|>assistant\n'
         '<think>\n\n</think>\n\n')
MXBAI = ("<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
         "<|im_end|>\n<|im_start|>user\nquery: QUERY\ndocument: DOCUMENT\nYou are a search relevance "
         "expert who evaluates how well documents match search queries. For each query-document "
         "pair, carefully analyze the semantic relationship between them, then provide your binary "
         "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:<|im_end|>\n"
         "<|im_start|>assistant\n")


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def qwen3_ids(tokenizer: Any, query: str, document: str, max_length: int) -> list[int]:
    """As the card of Qwen3-Reranker: the middle is cut, then the ends are added."""
    before, after = QWEN3.index("<Instruct>"), QWEN3.index("DOCUMENT") + len("DOCUMENT")
    prefix, suffix = ids_of(tokenizer, QWEN3[:before]), ids_of(tokenizer, QWEN3[after:])
    middle = QWEN3[before:after].replace("QUERY", query).replace("DOCUMENT", document)
    return prefix + ids_of(tokenizer, middle)[: max_length - len(prefix) - len(suffix)] + suffix


def mxbai_ids(tokenizer: Any, query: str, document: str, max_length: int) -> list[int]:
    """As mxbai_rerank_v2.py: query, document and all else are tokenised apart."""
    first, rest = MXBAI.split("query: QUERY\ndocument: DOCUMENT\n")
    task, end = rest[: rest.index("<|im_end|>")], rest[rest.index("<|im_end|>") :]
    line = ids_of(tokenizer, "\n")
    head = ids_of(tokenizer, first) + ids_of(tokenizer, f"query: {query}") + line
    tail = line + ids_of(tokenizer, task) + ids_of(tokenizer, end)
    room = max_length - len(head) - len(tail)
    return head + ids_of(tokenizer, f"document: {document}")[:room] + tail


KINDS = {"qwen3-reranker": ("Qwen3", qwen3_ids, "yes", "no"),
         "mxbai-rerank-v2": ("Qwen2", mxbai_ids, "1", "0")}
#: A question that ends with a sign: whether the new line belongs to it decides the tokens.
TEXTS = [*PAIRS, ("wing ?", "the jet :"), ("air", "{query} of <|im_end|>")]


def alone(folder: Path, template: str, max_length: int) -> list[float]:
    """Each text by itself, without padding, through the whole causal model."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    _, make_ids, yes, no = KINDS[template]
    answers = tokenizer.convert_tokens_to_ids([yes, no])
    scores = []
    for query, document in TEXTS:
        ids = torch.tensor([make_ids(tokenizer, query, document, max_length)])
        assert ids.shape[1] <= max_length
        with torch.inference_mode():
            chances = torch.softmax(model(input_ids=ids).logits[0, -1, answers], 0).double()
        scores.append(math.log(chances[0] / chances[1]))
    return scores


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("room", [4, 300])
@pytest.mark.parametrize("template", list(KINDS))
def test_a_causal_reranker_scores_as_transformers_alone(template: str, room: int, padding_side: str,
                                                        tmp_path: Path) -> None:
    folder = make_decoder(tmp_path / "model", KINDS[template][0], padding_side=padding_side)
    settings = replace(CPU, template=template, max_length=1024, batch_tokens=5000)
    left = min(open_pair_scorer(str(folder), settings).tokens_left([q for q, _ in TEXTS]))
    settings = replace(settings, max_length=1024 - left + room)
    teacher = open_pair_scorer(str(folder), settings)
    assert teacher.kind == "causal"
    scores = teacher.score(TEXTS)
    expected = alone(folder, template, settings.max_length)
    np.testing.assert_allclose(scores, expected, atol=2e-5)
    assert scores.std() > 2e-3  # so that 2e-5 tells something
    assert bool(teacher.cuts.cut) == (room == 4)
    single = open_pair_scorer(str(folder), replace(settings, batch_tokens=1))
    np.testing.assert_allclose(single.score(TEXTS), scores, atol=2e-5)


@pytest.mark.parametrize(("template", "text"), [("qwen3-reranker", QWEN3),
                                                ("mxbai-rerank-v2", MXBAI)])
def test_the_texts_of_templates(template: str, text: str) -> None:
    pieces = "".join(TEMPLATES[template].pieces)
    assert pieces.format(query="QUERY", document="DOCUMENT") == text


@pytest.mark.parametrize("labels", [1, 2])
def test_a_decoder_as_sequence_classification(labels: int, tmp_path: Path) -> None:
    """The only logit, or the second minus the first, of the template's text."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = make_decoder(tmp_path / "model", "Qwen3", "classification", labels)
    teacher = open_pair_scorer(str(folder), replace(CPU, template="qwen3-reranker",
                                                    batch_tokens=5000))
    assert teacher.kind == "sequence classification"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    expected = []
    for query, document in TEXTS:
        ids = torch.tensor([qwen3_ids(tokenizer, query, document, 512)])
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0]
        expected.append(float(logits[1] - logits[0] if labels == 2 else logits[0]))
    np.testing.assert_allclose(teacher.score(TEXTS), expected, atol=2e-5)


@pytest.mark.parametrize("max_length", [12, 64])
def test_monot5_scores_as_transformers_alone(max_length: int, tmp_path: Path) -> None:
    """The log-odds of "true" against "false"; "Relevant:" and the end are never cut."""
    from transformers import AutoTokenizer, T5ForConditionalGeneration

    folder = make_monot5(tmp_path / "model")
    teacher = open_pair_scorer(str(folder), replace(CPU, template="monot5", max_length=max_length,
                                                    batch_tokens=5000))
    assert teacher.kind == "t5"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    false, true = tokenizer.convert_tokens_to_ids(["▁false", "▁true"])
    expected = []
    for query, document in PAIRS:
        ids = tokenizer(f"Query: {query} Document: {document} Relevant:").input_ids
        if len(ids) > max_length:
            ids = [*ids[: max_length - 2], *ids[-2:]]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids]),
                           decoder_input_ids=torch.tensor([[0]])).logits[0, 0]
        chances = torch.softmax(logits[[false, true]].double(), 0)
        expected.append(math.log(chances[1] / chances[0]))
    scores = teacher.score(PAIRS)
    np.testing.assert_allclose(scores, expected, atol=2e-5)
    assert scores.std() > 0.05


MAKERS: dict[str, Callable[[Path], Path]] = {
    "qwen3-reranker": lambda folder: make_decoder(folder, "Qwen3"),
    "mxbai-rerank-v2": lambda folder: make_decoder(folder, "Qwen2"), "monot5": make_monot5}


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_only_the_document_is_cut_and_a_query_without_room_is_refused(template: str,
                                                                      tmp_path: Path) -> None:
    folder = MAKERS[template](tmp_path / "model")
    whole = open_pair_scorer(str(folder), replace(CPU, template=template))
    room = 5
    length = 512 - whole.tokens_left(["cat mat"])[0] + room
    teacher = open_pair_scorer(str(folder), replace(CPU, template=template, max_length=length))
    assert teacher.tokens_left(["cat mat"]) == [room]
    same = teacher.score([("cat mat", "wing " * 40), ("cat mat", ("wing " * room).strip()),
                          ("cat mat", ("wing " * (room - 1)).strip())])
    assert same[0] == pytest.approx(same[1], abs=1e-5)
    assert same[0] != pytest.approx(same[2], abs=1e-5)
    assert (teacher.cuts.texts, teacher.cuts.cut) == (3, 1)
    with pytest.raises(PairError, match=f"leaves no room for a document in {length} tokens"):
        teacher.score([("cat mat " * 20, "wing")])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", [*TEMPLATES, "cross-encoder", "t5", "bi-encoder"])
def test_half_precision(kind: str, dtype: str, tmp_path: Path) -> None:
    """Scores of every kind of model move, and say nearly the same."""
    plain = {"cross-encoder": make_cross_encoder, "t5": make_t5, "bi-encoder": make_bi_encoder}
    folder = (MAKERS | plain)[kind](tmp_path / "model")
    settings = replace(CPU, template=None if kind in plain else kind,
                       max_length=64 if kind in plain else 512)
    whole = open_pair_scorer(str(folder), settings).score(PAIRS)
    half = open_pair_scorer(str(folder), replace(settings, dtype=dtype))
    assert half.dtype == dtype
    scores = half.score(PAIRS)
    assert scores.dtype == np.float32
    assert (scores != whole).any()
    assert np.corrcoef(scores, whole)[0, 1] > {"bfloat16": 0.9, "float16": 0.99}[dtype]


@pytest.mark.parametrize("head", ["causal", "classification"])
def test_a_decoder_without_a_template_is_refused(head: str, tmp_path: Path) -> None:
    folder = make_decoder(tmp_path / "model", "Qwen3", head)
    with pytest.raises(InputError, match="is a decoder .* name its `template`: qwen3-reranker"):
        find_pair_scorer(str(folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": []}))
    if head == "causal":
        with pytest.raises(InputError, match="is a decoder"):
            find_pair_scorer(str(folder))
    config |= {"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="there is no `template` for it, only qwen3-reranker, mx"):
        find_pair_scorer(str(folder))


def test_a_template_for_other_models_is_refused(tmp_path: Path) -> None:
    decoder = str(make_decoder(tmp_path / "decoder", "Qwen2"))
    encoder = str(make_cross_encoder(tmp_path / "encoder"))
    monot5 = str(make_monot5(tmp_path / "monot5-tiny"))
    for folder, template, message in [
            (decoder, "qwen3-reranker", "is a Qwen2ForCausalLM; expected a Qwen3ForCausalLM or"),
            (encoder, "monot5", "is a BertForSequenceClassification; expected a T5ForCond"),
            (encoder, "other", "`template` other: expected one of qwen3-reranker, mxbai"),
            (monot5, None, "its name says monoT5.* name its `template`: monot5")]:
        with pytest.raises(InputError, match=message):
            open_pair_scorer(folder, replace(CPU, template=template))


def test_what_a_folder_states_about_its_text(tmp_path: Path) -> None:
    """Files of sentence-transformers: what the template says too is taken, all else refused."""
    folder = make_decoder(tmp_path / "model", "Qwen3")
    settings = folder / "config_sentence_transformers.json"
    prompt = "Given a web search query, retrieve relevant passages that answer the query"
    settings.write_text(json.dumps({"prompts": {"web": prompt}}))
    find_pair_scorer(str(folder), "qwen3-reranker")
    settings.write_text(json.dumps({"prompts": {"web": "Find code"}}))
    with pytest.raises(InputError, match="config_sentence_transformers.json.*Find code"):
        find_pair_scorer(str(folder), "qwen3-reranker")
    settings.unlink()
    (folder / "1_LogitScore").mkdir()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    stated = folder / "1_LogitScore" / "config.json"
    stated.write_text(json.dumps({"true_token_id": tokenizer["yes"],
                                  "false_token_id": tokenizer["no"]}))
    open_pair_scorer(str(folder), replace(CPU, template="qwen3-reranker"))
    stated.write_text(json.dumps({"true_token_id": tokenizer["yes"]}))
    with pytest.raises(InputError, match="1_LogitScore.* other tokens than those of `template`"):
        open_pair_scorer(str(folder), replace(CPU, template="qwen3-reranker"))


def test_a_tokenizer_without_the_two_tokens(tmp_path: Path) -> None:
    folder = make_monot5(tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words["▁other"] = words.pop("▁false")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InputError, match="`template` monot5: .* has no token '▁false'"):
        open_pair_scorer(str(folder), replace(CPU, template="monot5"))
