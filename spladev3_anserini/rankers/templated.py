"""Rerankers that score one text, made by a template: decoders and monoT5."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json
from spladev3_anserini.rankers.cross_encoders import T5, Transformer, refuse_labels
from spladev3_anserini.rankers.pair_scorer import Pair, PairScorer, PairSettings, Tokens
from spladev3_anserini.rankers.templates import TEMPLATES


class _Templated(Transformer):
    """The base class: the text of a pair, of which only the document is cut."""

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Raises InputError as the base class."""
        super().__init__(name, folder, settings)
        self.template = TEMPLATES[settings.template or ""]
        self._end: list[int] = []

    def answers(self) -> tuple[int, int]:
        """Returns the ids of the template's two tokens; raises InputError if one is missing."""
        ids = [self.token_id(token) for token in (self.template.yes, self.template.no)]
        for number, token in zip(ids, (self.template.yes, self.template.no), strict=True):
            if number is None:
                raise InputError(f"`template` {self.settings.template}: {self.name} has no token "
                                 f"{token!r}")
        return ids[0] or 0, ids[1] or 0

    def _rows(self, pairs: Sequence[Pair], pieces: Sequence[str]) -> list[list[list[int]]]:
        """The ids of each piece of each pair's text."""
        columns = []
        for piece in pieces:
            filled = "{" in piece
            texts = [piece.format(query=query, document=document) for query, document in pairs] \
                if filled else [piece]
            ids = self.tokenizer(texts, add_special_tokens=False, verbose=False).input_ids
            columns.append(ids if filled else ids * len(pairs))
        return [list(row) for row in zip(*columns, strict=True)]

    def _query_lengths(self, queries: Sequence[str]) -> list[int]:
        # a document begins with the space before it
        pieces = [piece.replace(" {document}", "") for piece in self.template.pieces]
        return [sum(map(len, row)) + len(self._end)
                for row in self._rows([(query, "") for query in queries], pieces)]

    def _tokens(self, pairs: Sequence[Pair]) -> list[Tokens]:
        pieces = self.template.pieces
        place = next(n for n, piece in enumerate(pieces) if "{document}" in piece)
        tokens = []
        for row in self._rows(pairs, pieces):
            lost = max(0, sum(map(len, row)) + len(self._end) - self.settings.max_length)
            row[place] = row[place][: len(row[place]) - lost]
            tokens.append(Tokens(np.fromiter(chain(*row, self._end), np.int32), None, lost))
        return tokens


class Decoder(_Templated):
    """A decoder: its state at the last token of the text decides.

    The score of a causal model is the logit of the template's `yes` minus that of `no`, which is
    the log-odds of the probability that its authors compute (a softmax over the two). A sequence
    classification has 1 logit, or 2 of which the second says relevant. The logits are computed in
    float32, also if the model has half precision.

    Texts are padded at their ends. A decoder never looks at what follows, and positions count from
    a text's first token, so padding changes nothing.
    """

    _direction: torch.Tensor  # (hidden size,)

    def _forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        states = self.model.base_model(**inputs, use_cache=False).last_hidden_state
        last = inputs["attention_mask"].sum(1) - 1
        scores: torch.Tensor = states[torch.arange(len(last), device=last.device), last].float() \
            @ self._direction
        return scores


class CausalReranker(Decoder):
    """A causal language model that answers with one of two tokens."""

    kind = "causal"
    loader = "AutoModelForCausalLM"

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Raises InputError as the base class, and if it lacks one of the template's tokens."""
        super().__init__(name, folder, settings)
        yes, no = self.answers()
        for stated in folder.glob("*_LogitScore/config.json"):  # of sentence-transformers
            ids = read_json(stated, dict)
            if (ids.get("true_token_id"), ids.get("false_token_id")) != (yes, no):
                raise InputError(f"{stated}: other tokens than those of `template` "
                                 f"{settings.template}, {yes} and {no}")
        weights = self.model.get_output_embeddings().weight.detach()
        self._direction = weights[yes].float() - weights[no].float()


class DecoderClassification(Decoder):
    """A decoder with a head for sequence classification, such as a converted causal reranker."""

    kind = "sequence classification"

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Raises InputError as the base class, and for more than two labels."""
        super().__init__(name, folder, settings)
        refuse_labels(name, int(self.model.config.num_labels))
        weights = self.model.score.weight.detach().float()
        self._direction = weights[1] - weights[0] if len(weights) == 2 else weights[0]


class MonoT5(_Templated, T5):
    """monoT5 (Nogueira et al. 2020, arXiv 2003.06713).

    The score of "Query: q Document: d Relevant:" is the logit of "true" minus that of "false" at
    the decoder's first step: the log-odds of the paper's probability, and in the same order.
    """

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Raises InputError as the base classes, and if it lacks a token."""
        super().__init__(name, folder, settings)
        self._yes, self._no = self.answers()
        if self.tokenizer.eos_token_id is None:
            raise InputError(f"`cross_encoder` {name}: its tokenizer has no token for the end of "
                             "a text")
        self._end = [int(self.tokenizer.eos_token_id)]

    def _forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        logits = self.first_logits(inputs).float()
        return logits[:, self._yes] - logits[:, self._no]


def templated_kind(name: str, template: str, architecture: str) -> type[PairScorer]:
    """Returns the class for a model of this architecture with this template.

    Raises InputError if there is no such template, or if it is for other models.
    """
    if template not in TEMPLATES:
        raise InputError(f"`template` {template}: expected one of {', '.join(TEMPLATES)}")
    allowed = TEMPLATES[template].architectures
    if architecture not in allowed:
        raise InputError(f"`template` {template}: {name} is a {architecture}; expected a "
                         f"{' or '.join(allowed)}")
    if architecture.endswith("ForCausalLM"):
        return CausalReranker
    return DecoderClassification if architecture.endswith("ForSequenceClassification") else MonoT5


def refuse_without_template(name: str, architecture: str, config: dict[str, Any]) -> None:
    """Raises InputError for a model that scores one text, for which there is no template.

    Decoders are told by transformers' tables: they have a causal head and none for masked words.
    monoT5 has the files of a RankT5, and only its name tells.
    """
    from transformers.models.auto import modeling_auto as tables

    kind, names = str(config.get("model_type")), ", ".join(
        template for template, row in TEMPLATES.items() if architecture in row.architectures)
    decoder = (kind in tables.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
               and kind not in tables.MODEL_FOR_MASKED_LM_MAPPING_NAMES
               and kind != "xlnet" and not config.get("is_encoder_decoder"))
    if architecture.endswith("ForCausalLM") or (
            decoder and architecture.endswith("ForSequenceClassification")):
        raise InputError(f"`cross_encoder` {name}: is a decoder ({architecture}), which scores the "
                         "text that it was trained with; " + (
                             f"name its `template`: {names}" if names else
                             f"there is no `template` for it, only {', '.join(TEMPLATES)}"))
    if architecture == "T5ForConditionalGeneration" and "monot5" in Path(name).name.lower():
        raise InputError(f"`cross_encoder` {name}: its name says monoT5, and its score would be "
                         "that of a RankT5; name its `template`: monot5")


def prompts_beside(prompts: Any, template: str | None) -> Any:
    """Returns the prompts that a model's files state, without those that are in the template."""
    if not isinstance(prompts, dict) or template not in TEMPLATES:
        return prompts
    pieces = TEMPLATES[template or ""].pieces
    return {name: text for name, text in prompts.items()
            if not (isinstance(text, str) and any(text.strip() in piece for piece in pieces))}
