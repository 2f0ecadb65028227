"""Texts -> the vectors of a bi-encoder, in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from spladev3_anserini.encoding.cut import Cuts, lost_wordpieces
from spladev3_anserini.encoding.encoder import TextError
from spladev3_anserini.errors import (
    InputError,
    first_line,
    refusing,
)
from spladev3_anserini.model.batches import (
    Float32s,
    batch_budget,
    length_batches,
    padded_ids,
    refusing_large_batch,
    resolved_device,
)
from spladev3_anserini.model.loading import load_model, load_tokenizer
from spladev3_anserini.model.panics import without_panic_report
from spladev3_anserini.model.positions import position_limit
from spladev3_anserini.rankers.dense_models import HEAD, DenseModel

TextKind = Literal["query", "passage"]
#: Two texts that every model must be able to embed before any work.
_TRIAL = ("a cat", "a dog that sat on a mat")


class DenseEncoder:
    """A transformers encoder in float32, with the pooling and normalisation that its rules name.

    Attributes:
        name: The model's name.
        rules: How states become a vector, and the lengths.
        device: The device it runs on.
        batch_tokens: Padded tokens per batch.
        dimension: Numbers per vector.
        cuts: Counts the texts that were cut, by side.
    """

    def __init__(self, model: DenseModel, device: str = "auto",
                 batch_tokens: int | None = None) -> None:
        """Loads the model and tests it on two short texts.

        Raises InputError if a file is damaged or missing, a weight is missing, a length exceeds the
        model's limit, the device does not exist, or the model fails on the short texts.
        """
        self.name, self.rules = model.name, model.rules
        self.device = resolved_device(device)
        self.batch_tokens = batch_budget(batch_tokens, self.device)
        self._tokenizer, self._model = _load(model.folder)
        self._head = _head(model)
        self._check_lengths()
        self.cuts: dict[TextKind, Cuts] = {"query": Cuts(), "passage": Cuts()}
        try:
            self._model = self._model.eval().to(self.device)
            if self._head is not None:
                self._head = self._head.eval().to(self.device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"`device` {device}: {first_line(error)}") from None
        self.dimension: int = self._model.config.hidden_size
        if self._head is not None:
            self.dimension = next(self._head.parameters()).shape[0]
        try:
            self.vectors(_TRIAL, "query")
        except TextError as error:
            raise InputError(f"`model` {self.name}: {error}") from None
        self.cuts["query"] = Cuts()

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str], side: TextKind,
                done: Callable[[int], object] = lambda count: None) -> tuple[list[int], Float32s]:
        """Embeds texts, which are cut to the rules' length.

        Args:
            texts: The texts.
            side: Whether they are queries or passages, which decides prefix and length.
            done: Called with n after every n texts.

        Returns:
            The places (indices) of the texts that have a wordpiece, in their order, and their
            float32 vectors, shape (places, dimension). Vectors have length 1 if the similarity is
            cosine.

        Raises:
            TextError: A vector is not finite.
            InputError: A batch does not fit into memory.
        """
        ids, empty_length = self._ids(texts, side)
        prefix, length = self._prefix_and_length(side)
        self.cuts[side].add(lost_wordpieces(list(map(len, ids)), length, lambda places: [
            len(uncut) for uncut in self._cut([prefix + texts[place] for place in places], None)]))
        places = [place for place, text_ids in enumerate(ids) if len(text_ids) > empty_length]
        done(len(texts) - len(places))
        vectors = np.empty((len(places), self.dimension), dtype=np.float32)
        for rows in length_batches([len(ids[place]) for place in places], self.batch_tokens):
            vectors[rows] = self._batch([ids[places[row]] for row in rows])
            done(len(rows))
        if not (finite := np.isfinite(vectors).all(axis=1)).all():
            raise TextError(places[int(np.argmin(finite))],
                            "the model gives NaN or infinite numbers")
        return places, vectors

    def with_wordpieces(self, texts: Sequence[str], side: TextKind) -> list[int]:
        """Returns the places (indices) of the texts that have a wordpiece."""
        ids, empty_length = self._ids(texts, side)
        return [place for place, text_ids in enumerate(ids) if len(text_ids) > empty_length]

    def _ids(self, texts: Sequence[str], side: TextKind) -> tuple[list[list[int]], int]:
        """The ids of each text with its side's prefix, and the number of ids of an empty text."""
        prefix, length = self._prefix_and_length(side)
        ids = self._cut([prefix, *(prefix + text for text in texts)], length)
        return ids[1:], len(ids[0])

    def _prefix_and_length(self, side: TextKind) -> tuple[str, int]:
        rules = self.rules
        return (rules.query_prefix, rules.query_length) if side == "query" else (
            rules.passage_prefix, rules.passage_length)

    def _cut(self, texts: list[str], length: int | None) -> list[list[int]]:
        """The ids of each text, cut to a length; None cuts nothing."""
        with refusing(f"`model` {self.name}: its tokenizer fails"), without_panic_report():
            ids: list[list[int]] = self._tokenizer(
                texts, truncation=length is not None, max_length=length, padding=False,
                verbose=False)["input_ids"]
        return ids

    def _batch(self, ids: list[list[int]]) -> Float32s:
        """The vectors of a batch, shape (texts, dimension)."""
        padded, mask = padded_ids(ids, int(self._tokenizer.pad_token_id or 0))
        padded, mask = padded.to(self.device), mask.to(self.device)
        with (refusing_large_batch(self.batch_tokens, self.device),
              refusing(f"`model` {self.name}: fails on a batch")):
            states = self._model(input_ids=padded, attention_mask=mask).last_hidden_state
            pooled = states[:, 0] if self.rules.pooling == "cls" else (
                (states * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True))
            if self._head is not None:
                pooled = self._head(pooled)
            if self.rules.similarity == "cosine":
                pooled = torch.nn.functional.normalize(pooled)
        vectors: Float32s = pooled.float().cpu().numpy()
        return vectors

    def _check_lengths(self) -> None:
        """Raises InputError for a length below 3 or beyond the model's positions."""
        positions = position_limit(self._model)
        for option, length in (("`query_max_length`", self.rules.query_length),
                               ("`max_length`", self.rules.passage_length)):
            if length < 3 or (positions and length > positions):
                raise InputError(f"{option} {length}: {self.name} takes 3 to "
                                 f"{positions or 'any number of'} tokens")


def _load(folder: Path) -> tuple[Any, Any]:
    tokenizer = load_tokenizer(folder)
    # the weights of the pooler may be missing, as in Contriever: its output is not used
    model = load_model("AutoModel", folder, torch.float32, "vectors would be random", "pooler.")
    return tokenizer, model


def _head(model: DenseModel) -> torch.nn.Sequential | None:
    """ANCE's projection x -> LayerNorm(W x + b); None if neither rules nor checkpoint have one."""
    head: dict[str, torch.Tensor] = {}
    for path in sorted(model.folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as tensors:
                names = set(tensors.keys())
                head |= {name: tensors.get_tensor(name) for name in HEAD if name in names}
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: {first_line(error)}") from None
    if not head and not model.rules.head:
        return None
    if missing := [name for name in HEAD if name not in head]:
        raise InputError(f"{model.folder}: no {missing[0]}, which is part of ANCE's projection")
    weight = head[HEAD[0]].float()
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
    norm = torch.nn.LayerNorm(weight.shape[0])
    for parameter, name in zip((linear.weight, linear.bias, norm.weight, norm.bias), HEAD,
                               strict=True):
        parameter.data = head[name].float()
    return torch.nn.Sequential(linear, norm)
