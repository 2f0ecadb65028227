"""Term weights and impacts against the formula text by text, and how each variant weighs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SPECIALS, TEXTS, WORDS, make_tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix_rows import vector_of
from transformers import AutoModelForMaskedLM, AutoTokenizer

from spladev3_anserini.encoding.encoder import Encoder, TextError
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.model.batches import length_batches
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.rows import keep_top
from spladev3_anserini.model.variants import VARIANTS

EXPAND, LEXICAL, BOW = (VARIANTS[f"splade-v3{x}"] for x in ("", "-lexical", "-doc"))


def encoder(folder: Path, variant: object = EXPAND, side: str = "document",
            **chosen: object) -> Encoder:
    options = EncoderSettings(**({"max_length": 64} | chosen))  # type: ignore[arg-type]
    return Encoder(open_checkpoint(str(folder)), variant, side, options)  # type: ignore[arg-type]


def by_formula(folder: Path, text: str, max_length: int = 64) -> dict[str, float]:
    """One text alone through transformers' own model: the formula as it is printed."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    inputs = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    weights = torch.log(1 + torch.relu(logits)).max(dim=0).values
    return {tokenizer.convert_ids_to_tokens(j): float(w) for j, w in enumerate(weights) if w > 0}


def without_specials(weights: dict[str, float]) -> dict[str, float]:
    return {term: weight for term, weight in weights.items() if term not in SPECIALS}


def rows(made: Encoder, texts: list[str]) -> list[dict[str, float]]:
    matrix = made.weights(texts)
    return [vector_of(made, matrix, row) for row in range(len(texts))]  # type: ignore[misc]


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_weights_are_those_of_the_formula(architecture: str, tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "model", architecture)
    texts = [text for text in TEXTS.values() if text.strip()]
    for text, found in zip(texts, rows(encoder(folder), texts), strict=True):
        expected = without_specials(by_formula(folder, text))
        assert found.keys() == expected.keys()
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("policy", "dropped"), [
    ("drop", set(SPECIALS)), ("keep", set()), ("anserini", {"[PAD]"})])
def test_special_tokens_are_dropped_after_pooling(policy: str, dropped: set[str],
                                                  demo_model: Path, tiny: Path) -> None:
    text = "the cat sat on the mat"
    if policy == "anserini":  # its ids are those of BERT's vocabulary
        found = rows(encoder(demo_model, special_tokens=policy), [text])[0]
        whole = by_formula(demo_model, text)
        assert found == pytest.approx({t: w for t, w in whole.items()
                                       if t not in ("[PAD]", "[CLS]", "[SEP]")}, abs=1e-5)
        return
    found = rows(encoder(tiny, special_tokens=policy), [text])[0]
    whole = by_formula(tiny, text)
    assert found == pytest.approx({t: w for t, w in whole.items() if t not in dropped}, abs=1e-5)
    assert policy == "drop" or set(whole) & set(SPECIALS), "the test needs a special token"


def test_a_lexical_query_keeps_its_own_wordpieces(tiny: Path) -> None:
    text = "the cat runs"
    found = rows(encoder(tiny, LEXICAL, "query"), [text, "the dog sat on the mat on the cat"])[0]
    whole = by_formula(tiny, text)
    assert found == pytest.approx({t: w for t, w in whole.items()
                                   if t in {"the", "cat", "run", "##s"}}, abs=1e-5)


def test_a_bag_of_words_has_weight_one_and_runs_no_model(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer-alone"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        (folder / name).write_bytes((tiny / name).read_bytes())
    made = encoder(folder, BOW, "query", quantizer=Quantizer(51.2))
    impacts = made.impacts(["the cat the cat", "xyzzy", "", "the dog sat on a mat"])
    vectors = [vector_of(made, impacts, row) for row in range(4)]
    assert vectors == [{"the": 1, "cat": 1}, {}, {},
                       {"the": 1, "dog": 1, "sat": 1, "on": 1, "a": 1, "mat": 1}]
    assert (made.model_hash, made.quantizer_name) == ("", "binary")


def test_documents_of_every_variant_are_expanded(tiny: Path) -> None:
    text = ["the cat sat"]
    found = [rows(encoder(tiny, variant), text) for variant in (EXPAND, LEXICAL, BOW)]
    assert found[0] == found[1] == found[2]
    assert set(found[0][0]) - {"the", "cat", "sat"}, "the test needs an expansion"


@pytest.mark.fault(9, "weights that round to 0",
                   then="absent",
                   detected="compared with numpy's rint")
def test_impacts_are_the_quantized_weights(tiny: Path) -> None:
    made = encoder(tiny, quantizer=Quantizer(3))
    texts = list(TEXTS.values())
    weights, impacts = made.weights(texts).toarray(), made.impacts(texts)
    expected = np.rint(weights * np.float32(3)).astype(int)
    assert np.array_equal(impacts.toarray(), expected)
    assert (impacts.data > 0).all()
    assert (weights > 0).sum() > (expected > 0).sum(), "the test needs a weight that rounds to 0"


def test_a_text_without_characters_has_no_term(tiny: Path) -> None:
    assert rows(encoder(tiny), ["", " \t\n", "cat"])[:2] == [{}, {}]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join), min_size=1,
                max_size=8),
       st.sampled_from([1, 7, 64, 1000]))
def test_batches_move_an_impact_by_one_at_most(tiny: Path, texts: list[str], tokens: int) -> None:
    one, other = encoder(tiny, batch_tokens=tokens), encoder(tiny, batch_tokens=100_000)
    assert abs(one.impacts(texts) - other.impacts(texts)).max() <= 1
    assert one.impacts(texts).toarray().tolist() == one.impacts(texts).toarray().tolist()


def test_long_texts_are_cut_with_their_end_token(tiny: Path) -> None:
    long = " ".join(WORDS * 5)
    for length in (3, 8, 64):
        found = rows(encoder(tiny, max_length=length), [long])[0]
        assert found == pytest.approx(without_specials(by_formula(tiny, long, length)), abs=1e-5)


def test_top_k_keeps_the_largest(tiny: Path) -> None:
    texts = [text for text in TEXTS.values() if text.strip()]
    for whole, kept in zip(rows(encoder(tiny), texts), rows(encoder(tiny, top_k=4), texts),
                           strict=True):
        best = sorted(whole.items(), key=lambda item: -item[1])[:4]
        assert kept == dict(best)


def test_top_k_breaks_ties_by_term_id() -> None:
    from scipy import sparse

    matrix = sparse.csr_matrix(np.array([[1, 3, 3, 3, 0], [0, 0, 0, 0, 0], [5, 0, 0, 0, 0]]))
    assert keep_top(matrix, 2).toarray().tolist() == [[0, 3, 3, 0, 0], [0] * 5, [5, 0, 0, 0, 0]]


def test_a_nan_names_its_text(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = encoder(tiny, batch_tokens=8)
    forward = made.network.forward

    def broken(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        weights = forward(ids, mask)
        weights[(ids == made.terms.tolist().index("shock")).any(dim=1)] = torch.nan
        return weights

    monkeypatch.setattr(made.network, "forward", broken)
    with pytest.raises(TextError) as raised:
        made.impacts(["the cat sat", "a wing", "shock wave", "a dog"])
    assert raised.value.position == 2


@pytest.mark.fault(9, "an impact beyond 32,767", detected="the quantiser, by document")
def test_an_impact_beyond_the_limit_names_its_text(tiny: Path) -> None:
    made = encoder(tiny, quantizer=Quantizer(32_000))
    texts = ["", "the cat", "the dog"]
    heaviest = int(made.weights(texts).max(axis=1).toarray().argmax())
    with pytest.raises(TextError, match="outside") as raised:
        made.impacts(texts)
    assert raised.value.position == heaviest


@pytest.mark.fault(9, "a document whose impacts sum to more words than Anserini can write",
                   detected="its sum, by document")
def test_impacts_that_sum_to_too_much_name_their_text(tiny: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    from spladev3_anserini.encoding import encoder as module

    made = encoder(tiny)
    texts = ["cat", "the cat sat on the mat", "a wing"]
    sums = made.impacts(texts).toarray().sum(axis=1)
    heaviest = int(sums.argmax())
    monkeypatch.setattr(module, "MAX_TOTAL", int(sums.max()))
    assert made.impacts(texts).nnz
    monkeypatch.setattr(module, "MAX_TOTAL", int(sums.max()) - 1)
    with pytest.raises(TextError, match=f"sum to {sums.max():,}") as raised:
        made.impacts(texts)
    assert raised.value.position == heaviest


@pytest.mark.parametrize(("chosen", "message"), [
    ({"max_length": 65}, "`max_length` 65: expected 3 to 64"),
    ({"max_length": 2}, "`max_length` 2"),
    ({"device": "nonsense"}, "`device` nonsense"),
])
def test_settings_the_model_cannot_have(chosen: dict[str, object], message: str,
                                        tiny: Path) -> None:
    with pytest.raises(InputError, match=message):
        encoder(tiny, **chosen)


def test_a_larger_vocabulary_is_refused(tiny: Path, tmp_path: Path) -> None:
    import shutil

    from conftest import save_tokenizer

    folder = Path(shutil.copytree(tiny, tmp_path / "m"))
    save_tokenizer(folder, [*SPECIALS, *WORDS, "extra"])
    with pytest.raises(InputError, match=f"the model has {len(SPECIALS + WORDS)} output terms, "
                                         f"its tokenizer {len(SPECIALS + WORDS) + 1}"):
        encoder(folder)


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 120))
def test_batches_hold_every_text_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(length_batches(lengths, budget))
    assert sorted(p for batch in batches for p in batch) == list(range(len(lengths)))
    flat = [lengths[p] for batch in batches for p in batch]
    assert flat == sorted(lengths, reverse=True)
    assert all(len(b) == 1 or len(b) * lengths[b[0]] <= budget for b in batches)


def test_impacts_of_queries_do_not_depend_on_the_number_of_cores(tmp_path: Path) -> None:
    """Threads that share a product of matrices give other last bits for 5 to 11 wordpieces."""
    folder = make_tiny(tmp_path / "model", "bert")
    queries = [" ".join(WORDS[place:place + 1 + place % 9]) for place in range(40)]
    cores = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            made = encoder(folder, side="query")
            together = made.weights(queries)
            alone = [made.weights([query]) for query in queries]
            assert torch.get_num_threads() == threads  # what documents are encoded with
            found += [together.toarray(), np.vstack([row.toarray() for row in alone])]
    finally:
        torch.set_num_threads(cores)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
