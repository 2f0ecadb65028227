"""A padded batch of pairs -> scores, with one class per kind of model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spladev3_anserini.encoding.cut import lost_wordpieces
from spladev3_anserini.errors import InputError, first_line, import_optional, refusing
from spladev3_anserini.model.batches import Float32s, length_batches
from spladev3_anserini.model.loading import load_model, load_tokenizer, refuse_content
from spladev3_anserini.model.panics import without_panic_report
from spladev3_anserini.model.positions import position_limit
from spladev3_anserini.rankers.pair_scorer import (
    Ids,
    Pair,
    PairScorer,
    PairSettings,
    Tokens,
    chunks,
    require_finite,
)


class Transformer(PairScorer):
    """The base class of pair scorers that run in transformers: loading, cutting, tensors."""

    loader = "AutoModelForSequenceClassification"

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Loads the model. `max_length` must not exceed the model's limit.

        Raises InputError if a file is damaged or a weight is missing. For a missing weight
        transformers would take random numbers.
        """
        super().__init__(name, folder, settings)
        self.tokenizer = load_tokenizer(folder, truncation_side="right")
        self.padding_id = int(self.tokenizer.pad_token_id or 0)
        self.model = _load(self.loader, folder, getattr(torch, self.dtype), self.device)
        limit = self.max_tokens()
        if limit and settings.max_length > limit:
            raise InputError(f"`max_length` {settings.max_length}: {name} takes {limit} at most")

    def max_tokens(self) -> int | None:
        """Returns how many tokens the model accepts, or None if its files do not say it."""
        limits = (position_limit(self.model), self.tokenizer.model_max_length)
        # tokenizers without a limit have a huge number
        return min((int(n) for n in limits if n and 0 < n < 1_000_000), default=None)

    def token_id(self, token: str) -> int | None:
        """Returns the id of a token that has a logit; None if there is none."""
        number = self.tokenizer.get_vocab().get(token)
        head = self.model.get_output_embeddings()
        return None if number is None or number >= head.weight.shape[0] else int(number)

    def _query_lengths(self, queries: Sequence[str]) -> list[int]:
        empty = [""] * len(queries)
        return [len(ids) for ids in self.tokenizer(list(queries), empty, verbose=False).input_ids]

    def _tokens(self, pairs: Sequence[Pair]) -> list[Tokens]:
        return self._cut([q for q, _ in pairs], [d for _, d in pairs])

    def _cut(self, texts: list[str], seconds: list[str] | None = None) -> list[Tokens]:
        """Tokenizes and cuts texts, or pairs, of which only the second text is cut."""
        limit = self.settings.max_length
        encoded = self.tokenizer(texts, seconds, truncation="only_second" if seconds else True,
                                 max_length=limit)

        def uncut_lengths(rows: list[int]) -> list[int]:
            first = [texts[row] for row in rows]
            second = seconds and [seconds[row] for row in rows]
            return [len(ids) for ids in self.tokenizer(first, second, verbose=False).input_ids]

        ids = encoded["input_ids"]
        return _arrays(ids, encoded.get("token_type_ids") if seconds else None,
                       lost_wordpieces(list(map(len, ids)), limit, uncut_lengths))

    @torch.inference_mode()
    def _outputs(self, ids: Ids, mask: Ids, types: Ids | None) -> Float32s:
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        outputs: Float32s = self._forward(
            {name: torch.from_numpy(array).to(self.device) for name, array in inputs.items()
             if array is not None}).float().cpu().numpy()
        return outputs

    def _forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The scores (B,) of a padded batch on the device."""
        raise NotImplementedError


class SequenceClassification(Transformer):
    """Scores a pair by the logit of the only label, or the log-odds of the second of two."""

    kind = "sequence classification"

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Raises InputError as the base class, and for more than two labels."""
        super().__init__(name, folder, settings)
        refuse_labels(name, int(self.model.config.num_labels))

    def _forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        logits: torch.Tensor = self.model(**inputs).logits
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits[:, 0]


class T5(Transformer):
    """The base class of T5 rankers, which score by logits at the decoder's first step."""

    kind = "t5"
    loader = "AutoModelForSeq2SeqLM"

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Raises InputError as the base class, and if no token begins an answer."""
        super().__init__(name, folder, settings)
        config = self.model.config
        first = getattr(config, "decoder_start_token_id", None)
        self._first = config.pad_token_id if first is None else first
        if self._first is None:
            raise InputError(f"`cross_encoder` {name}: its config.json has no "
                             "decoder_start_token_id")

    def max_tokens(self) -> int | None:
        return None  # relative positions

    def first_logits(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The logits (B, V) of the decoder's first step."""
        first = torch.full((len(inputs["input_ids"]), 1), int(self._first), device=self.device)
        logits: torch.Tensor = self.model(**inputs, decoder_input_ids=first).logits
        return logits[:, 0]


class RankT5(T5):
    """RankT5 with a decoder (Zhuang et al. 2022, arXiv 2210.10634).

    The score of the text "Query: q Document: d" is the logit of one token at the decoder's first
    step, without softmax.
    """

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Raises InputError as the base class, and if the tokenizer has no `t5_token`."""
        super().__init__(name, folder, settings)
        self._token = self.token_id(settings.t5_token)
        if self._token is None:
            raise InputError(f"`t5_token` {settings.t5_token}: not a token of {name}")

    def _query_lengths(self, queries: Sequence[str]) -> list[int]:
        texts = [f"Query: {query} Document:" for query in queries]
        return [len(ids) for ids in self.tokenizer(texts, verbose=False).input_ids]

    def _tokens(self, pairs: Sequence[Pair]) -> list[Tokens]:
        return self._cut([f"Query: {query} Document: {document}" for query, document in pairs])

    def _forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.first_logits(inputs)[:, self._token]


class BiEncoder(Transformer):
    """Scores a pair by the cosine of the mean-pooled states of its two texts.

    It is no cross-encoder, and replaces one where no second teacher is available. Each text is cut
    to `max_length` and is encoded once per call.
    """

    kind = "bi-encoder"
    loader = "AutoModel"

    def score(self, pairs: Sequence[Pair],
              done: Callable[[int], object] = lambda count: None) -> Float32s:
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        tokens = [text for chunk in chunks(texts)
                  for text in self._tokenized(lambda items: self._cut(list(items)), chunk)]
        self.cuts.add([text.lost for text in tokens])
        vectors = np.empty((len(texts), int(self.model.config.hidden_size)), dtype=np.float32)
        encoded = told = 0
        for rows in length_batches([len(text.ids) for text in tokens], self.batch_tokens):
            vectors[rows] = self._run([tokens[row] for row in rows])
            encoded += len(rows)
            share = len(pairs) * encoded // len(texts)
            done(share - told)
            told = share
        row_of = {text: row for row, text in enumerate(texts)}
        scores: Float32s = np.einsum("ij,ij->i", vectors[[row_of[q] for q, _ in pairs]],
                                     vectors[[row_of[d] for _, d in pairs]])
        return require_finite(scores)

    def tokens_left(self, queries: Sequence[str]) -> list[int]:
        return [self.settings.max_length] * len(queries)

    def _forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        mask = inputs["attention_mask"].unsqueeze(2)
        states = self.model(**inputs).last_hidden_state.float()
        return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))


class OnnxCrossEncoder(PairScorer):
    """A cross-encoder as `model.onnx`, or `onnx/model.onnx`, with its `tokenizer.json`.

    A graph with dynamic quantization (int8 exports) scales activations by the whole batch. A score
    would depend on the other pairs of its batch: by up to 0.67 with the demo's model, whose scores
    have a standard deviation of 3.6. Such a graph gets one pair at a time. On a CPU each pair has
    one core, and there are as many pairs at a time as cores: the scores are the same bit for bit.
    """

    kind = "onnx"
    files = ("model.onnx*", "onnx/model.onnx*", "tokenizer.json")

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Raises InputError if onnxruntime is missing or lacks the device, or a file is damaged."""
        super().__init__(name, folder, settings)
        onnxruntime = import_optional("onnxruntime", f"`cross_encoder` {name}: is an ONNX model",
                                      "onnx")
        from tokenizers import Tokenizer

        self.dtype = "as exported"
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            if settings.device not in {"auto", "cpu"}:
                raise InputError(f"`device` {settings.device}: this onnxruntime has no GPU")
            self.device = "cpu"
        graph = onnx_graph_path(folder)
        if b"DynamicQuantize" in graph.read_bytes():
            self.batch_tokens = 1
            self.on_one_core = self.device == "cpu"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1 if self.on_one_core else torch.get_num_threads()
        options.log_severity_level = 4
        provider = "CPUExecutionProvider" if self.device == "cpu" else "CUDAExecutionProvider"
        with refusing(f"{folder}: cannot be loaded"), without_panic_report():
            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._session = onnxruntime.InferenceSession(graph, options, providers=[provider])
            content = self.tokenizer.to_str()
        refuse_content(content, folder)
        self.tokenizer.no_padding()
        self._inputs = {entry.name: np.int32 if "int32" in entry.type else np.int64
                        for entry in self._session.get_inputs()}
        if not self._inputs.keys() <= {"input_ids", "attention_mask", "token_type_ids"}:
            raise InputError(f"{graph}: takes {', '.join(self._inputs)}; expected "
                             "input_ids, attention_mask and token_type_ids")

    def _query_lengths(self, queries: Sequence[str]) -> list[int]:
        self.tokenizer.no_truncation()
        return self._lengths([(query, "") for query in queries])

    def _lengths(self, pairs: list[Pair]) -> list[int]:
        return [len(encoding) for encoding in self.tokenizer.encode_batch(pairs)]

    def _tokens(self, pairs: Sequence[Pair]) -> list[Tokens]:
        self.tokenizer.enable_truncation(self.settings.max_length, strategy="only_second")
        encoded = self.tokenizer.encode_batch(list(pairs))
        self.tokenizer.no_truncation()
        lost = lost_wordpieces(list(map(len, encoded)), self.settings.max_length,
                               lambda rows: self._lengths([pairs[row] for row in rows]))
        return _arrays([encoding.ids for encoding in encoded],
                       [encoding.type_ids for encoding in encoded], lost)

    def _outputs(self, ids: Ids, mask: Ids, types: Ids | None) -> Float32s:
        arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        inputs = {name: np.asarray(arrays[name], dtype=kind) for name, kind in self._inputs.items()}
        scores = np.asarray(self._session.run(None, inputs)[0], dtype=np.float32)
        if scores.shape not in {(len(ids),), (len(ids), 1)}:
            raise ValueError(f"its output has the shape {scores.shape}, not one score per pair")
        return scores.reshape(-1)


def refuse_labels(name: str, labels: int) -> None:
    """Raises InputError for more than two labels."""
    if labels > 2:
        raise InputError(f"`cross_encoder` {name}: has {labels} labels; a cross-encoder has 1, or "
                         "2 of which the second says relevant")


def onnx_graph_path(folder: Path) -> Path:
    """Returns where a folder has its ONNX graph: at the top, or in `onnx/`, as on the hub.

    Without a graph it is the path at the top.
    """
    top, inside = folder / "model.onnx", folder / "onnx" / "model.onnx"
    return inside if inside.exists() and not top.exists() else top


def _arrays(ids: list[list[int]], types: list[list[int]] | None, lost: list[int]) -> list[Tokens]:
    return [Tokens(np.array(row_ids, dtype=np.int32),
                   None if types is None else np.array(types[row], dtype=np.int32), lost[row])
            for row, row_ids in enumerate(ids)]


def _load(loader: str, folder: Path, dtype: torch.dtype, device: str) -> Any:
    model = load_model(loader, folder, dtype, "scores would be random")
    try:
        return model.eval().to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"`device` {device}: {first_line(error)}") from None
