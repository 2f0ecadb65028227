"""A padded batch of pairs -> scores, for each kind of pair scorer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spladev3_anserini.encoding.cut import lost_wordpieces
from spladev3_anserini.errors import InputError, first_line, needed, refusing
from spladev3_anserini.model.batches import DTYPES, Float32s, length_batches
from spladev3_anserini.model.loading import load_model, load_tokenizer, refuse_content
from spladev3_anserini.model.panics import without_panic_report
from spladev3_anserini.model.positions import position_limit
from spladev3_anserini.rankers.pair_scorer import (
    Ids,
    Pair,
    PairScorer,
    PairSettings,
    Tokens,
    all_finite,
    chunks,
)


class _Transformer(PairScorer):
    """What the kinds that run in transformers share: loading, and tensors on a device."""

    loader = "AutoModelForSequenceClassification"

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Raises InputError where a file is damaged or a weight is missing (transformers would
        make it up)."""
        super().__init__(name, folder, settings)
        self.tokenizer = load_tokenizer(folder, truncation_side="right")
        self.padding_id = int(self.tokenizer.pad_token_id or 0)
        self.model = _model(self.loader, folder, DTYPES[self.dtype], self.device)
        limit = self.longest()
        if limit and settings.max_length > limit:
            raise InputError(f"`max_length` {settings.max_length}: {name} takes {limit} at most")

    def longest(self) -> int | None:
        """How many tokens the model takes, where its files tell."""
        limits = (position_limit(self.model), self.tokenizer.model_max_length)
        return min((int(own) for own in limits if own and 0 < own < 1_000_000), default=None)

    def _query_lengths(self, queries: Sequence[str]) -> list[int]:
        empty = [""] * len(queries)
        return [len(ids) for ids in self.tokenizer(list(queries), empty, verbose=False).input_ids]

    def _tokens(self, pairs: Sequence[Pair]) -> list[Tokens]:
        return self._cut([q for q, _ in pairs], [d for _, d in pairs])

    def _cut(self, texts: list[str], seconds: list[str] | None = None) -> list[Tokens]:
        """Texts cut to the length, or pairs whose second text is cut."""
        limit = self.settings.max_length
        encoded = self.tokenizer(texts, seconds, truncation="only_second" if seconds else True,
                                 max_length=limit)

        def whole(places: list[int]) -> list[int]:
            some = [texts[place] for place in places]
            others = seconds and [seconds[place] for place in places]
            return [len(ids) for ids in self.tokenizer(some, others, verbose=False).input_ids]

        ids = encoded["input_ids"]
        return _arrays(ids, encoded.get("token_type_ids") if seconds else None,
                       lost_wordpieces(list(map(len, ids)), limit, whole))

    @torch.inference_mode()
    def _outputs(self, ids: Ids, mask: Ids, types: Ids | None) -> Float32s:
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        outputs: Float32s = self._forward(
            {name: torch.from_numpy(own).to(self.device) for name, own in inputs.items()
             if own is not None}).float().cpu().numpy()
        return outputs

    def _forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        raise NotImplementedError


class SequenceClassification(_Transformer):
    """The logit of the only label, or the second's minus the first's (log-odds of relevant)."""

    kind = "sequence classification"

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Raises InputError also for more than two labels."""
        super().__init__(name, folder, settings)
        if (labels := int(self.model.config.num_labels)) > 2:
            raise InputError(f"`cross_encoder` {name}: has {labels} labels; a cross-encoder has 1, "
                             "or 2 of which the second says relevant")

    def _forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        logits: torch.Tensor = self.model(**inputs).logits
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits[:, 0]


class RankT5(_Transformer):
    """RankT5 with a decoder (Zhuang et al. 2022, arXiv 2210.10634): of the text "Query: q
    Document: d", the logit of one token at the decoder's first step, no softmax."""

    kind = "t5"
    loader = "AutoModelForSeq2SeqLM"

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Raises InputError also where the tokenizer has no such token."""
        super().__init__(name, folder, settings)
        config = self.model.config
        first = getattr(config, "decoder_start_token_id", None)
        self._first = config.pad_token_id if first is None else first
        self._token = self.tokenizer.get_vocab().get(settings.t5_token)
        if self._token is None or self._token >= self.model.get_output_embeddings().weight.shape[0]:
            raise InputError(f"`t5_token` {settings.t5_token}: not a token of {name}")
        if self._first is None:
            raise InputError(f"`cross_encoder` {name}: its config.json has no "
                             "decoder_start_token_id")

    def longest(self) -> int | None:
        return None  # relative positions

    def _query_lengths(self, queries: Sequence[str]) -> list[int]:
        texts = [f"Query: {query} Document:" for query in queries]
        return [len(ids) for ids in self.tokenizer(texts, verbose=False).input_ids]

    def _tokens(self, pairs: Sequence[Pair]) -> list[Tokens]:
        return self._cut([f"Query: {query} Document: {document}" for query, document in pairs])

    def _forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        first = torch.full((len(inputs["input_ids"]), 1), int(self._first), device=self.device)
        logits: torch.Tensor = self.model(**inputs, decoder_input_ids=first).logits
        return logits[:, 0, self._token]


class BiEncoder(_Transformer):
    """The cosine of mean-pooled states: no cross-encoder, a stand-in where there is no second
    one. Each text is cut to `max_length` on its own and run once per call."""

    kind = "bi-encoder"
    loader = "AutoModel"

    def score(self, pairs: Sequence[Pair],
              done: Callable[[int], object] = lambda count: None) -> Float32s:
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        tokens = [own for chunk in chunks(texts)
                  for own in self._tokenized(lambda some: self._cut(list(some)), chunk)]
        self.cuts.add([own.lost for own in tokens])
        vectors = np.empty((len(texts), int(self.model.config.hidden_size)), dtype=np.float32)
        for places in length_batches([len(own.ids) for own in tokens], self.batch_tokens):
            vectors[places] = self._run([tokens[place] for place in places])
        place_of = {text: place for place, text in enumerate(texts)}
        scores: Float32s = np.einsum("ij,ij->i", vectors[[place_of[q] for q, _ in pairs]],
                                   vectors[[place_of[d] for _, d in pairs]])
        done(len(pairs))
        return all_finite(scores)

    def tokens_left(self, queries: Sequence[str]) -> list[int]:
        return [self.settings.max_length] * len(queries)

    def _forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        mask = inputs["attention_mask"].unsqueeze(2)
        states = self.model(**inputs).last_hidden_state.float()
        return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))


class OnnxCrossEncoder(PairScorer):
    """A cross-encoder as `model.onnx`, or `onnx/model.onnx`, with its `tokenizer.json`.

    A graph that quantizes activations as it runs (int8 exports) scales them by the whole batch, so
    a score would depend on its neighbours (by up to .67 with the demo's, whose scores deviate by
    3.6); it gets one pair at a time, which on a CPU is no slower.
    """

    kind = "onnx"
    files = ("model.onnx*", "onnx/model.onnx*", "tokenizer.json")

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Raises InputError where onnxruntime is not installed, has not the device, or a file is
        damaged."""
        super().__init__(name, folder, settings)
        onnxruntime = needed("onnxruntime", f"`cross_encoder` {name}: is an ONNX model", "onnx")
        from tokenizers import Tokenizer

        self.dtype = "as exported"
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            if settings.device not in {"auto", "cpu"}:
                raise InputError(f"`device` {settings.device}: this onnxruntime has no GPU")
            self.device = "cpu"
        graph = graph_of(folder)
        if b"DynamicQuantize" in graph.read_bytes():
            self.batch_tokens = 1
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4
        provider = "CPUExecutionProvider" if self.device == "cpu" else "CUDAExecutionProvider"
        with refusing(f"{folder}: cannot be loaded"), without_panic_report():
            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._session = onnxruntime.InferenceSession(graph, options, providers=[provider])
            content = self.tokenizer.to_str()
        refuse_content(content, folder)
        self.tokenizer.no_padding()
        self._inputs = {own.name: np.int32 if "int32" in own.type else np.int64
                        for own in self._session.get_inputs()}
        if not self._inputs.keys() <= {"input_ids", "attention_mask", "token_type_ids"}:
            raise InputError(f"{graph}: takes {', '.join(self._inputs)}; expected "
                             "input_ids, attention_mask and token_type_ids")

    def _query_lengths(self, queries: Sequence[str]) -> list[int]:
        self.tokenizer.no_truncation()
        return [len(own.ids) for own in self.tokenizer.encode_batch([(q, "") for q in queries])]

    def _tokens(self, pairs: Sequence[Pair]) -> list[Tokens]:
        self.tokenizer.enable_truncation(self.settings.max_length, strategy="only_second")
        encoded = self.tokenizer.encode_batch(list(pairs))
        self.tokenizer.no_truncation()
        lost = lost_wordpieces([len(own) for own in encoded], self.settings.max_length,
                               lambda places: [len(own) for own in self.tokenizer.encode_batch(
                                   [pairs[place] for place in places])])
        return _arrays([own.ids for own in encoded], [own.type_ids for own in encoded], lost)

    def _outputs(self, ids: Ids, mask: Ids, types: Ids | None) -> Float32s:
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        fed = {name: np.asarray(given[name], dtype=kind) for name, kind in self._inputs.items()}
        scores = np.asarray(self._session.run(None, fed)[0], dtype=np.float32)
        if scores.shape not in {(len(ids),), (len(ids), 1)}:
            raise ValueError(f"its output has the shape {scores.shape}, not one score a pair")
        return scores.reshape(-1)


def graph_of(folder: Path) -> Path:
    """Where a folder's ONNX graph is, or would be: at the top, or in `onnx/` as on the hub."""
    inside = folder / "onnx" / "model.onnx"
    return inside if inside.exists() and not (folder / inside.name).exists() \
        else folder / inside.name


def _arrays(ids: list[list[int]], types: list[list[int]] | None, lost: list[int]) -> list[Tokens]:
    return [Tokens(np.array(own, dtype=np.int32),
                   None if types is None else np.array(types[row], dtype=np.int32), lost[row])
            for row, own in enumerate(ids)]


def _model(loader: str, folder: Path, dtype: torch.dtype, device: str) -> Any:
    model = load_model(loader, folder, dtype, "scores would be random")
    try:
        return model.eval().to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"`device` {device}: {first_line(error)}") from None
