"""Wordpiece ids -> term weights: by a model in torch, by an ONNX graph, or without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError, refusing
from spladev3_anserini.impacts.query_weights import Weights
from spladev3_anserini.model.batches import batch_budget, padded_rows, resolved_device
from spladev3_anserini.model.checkpoint import Checkpoint, is_onnx, model_hash, with_settings
from spladev3_anserini.model.kept import file_states, load_cached
from spladev3_anserini.model.onnx import OnnxSplade
from spladev3_anserini.model.rows import WeightRows
from spladev3_anserini.model.variants import QueryMode
from spladev3_anserini.progress import log
from spladev3_anserini.text import counted

if TYPE_CHECKING:
    from spladev3_anserini.model.splade import Splade

    #: A loaded model: padded ids and mask -> term weights.
    Network = Splade | OnnxSplade


@dataclass(frozen=True, kw_only=True)
class Weigher:
    """Computes term weights of wordpiece ids, and states everything that decides their bits.

    Attributes:
        network: The loaded model.
        folder: The model's folder, for messages.
        padding: The id that fills short rows.
        device: The device that the model runs on.
        dtype: The model's precision.
        batch_tokens: Padded tokens of a batch.
        sha256: The hash of the model's files.
        top_k: How many weights per text an exported graph keeps; None is all.
        source: The hash, as `sha256`, of the model that a graph was made of; empty for other
            models and for a graph that leaves weights out.
    """

    network: Network
    folder: Path
    padding: int
    device: str
    dtype: str
    batch_tokens: int
    sha256: str
    top_k: int | None = None
    source: str = ""

    @property
    def in_torch(self) -> bool:
        """Whether torch runs the model, and not ONNX Runtime."""
        return not isinstance(self.network, OnnxSplade)

    def __call__(self, ids: Sequence[Sequence[int]]) -> WeightRows:
        """Computes the float32 weights of one batch of texts."""
        padded, mask = padded_rows(ids, self.padding)
        with refusing(f"{self.folder}: the model fails on {counted(len(ids), 'text')} of up to "
                      f"{padded.shape[1]} tokens"):
            return self.network.rows(padded, mask)


def model_weigher(checkpoint: Checkpoint, mode: QueryMode, settings: EncoderSettings, padding: int,
                  network: Network | None = None) -> Weigher:
    """Loads the model of a checkpoint as a weigher.

    Args:
        checkpoint: A model in safetensors or an ONNX graph.
        mode: `expand` or `lexical`; a graph with top-k supports only `expand`.
        settings: The requested device, precision and batch.
        padding: The id that fills short rows.
        network: The loaded model, if there is one of this device and precision.

    Raises:
        InputError: The model cannot be loaded, or it is an ONNX graph that contradicts a setting.
    """
    exported = is_onnx(checkpoint)
    device = "cpu" if exported and settings.device == "auto" else resolved_device(settings.device)
    dtype = "float32" if settings.dtype == "auto" else settings.dtype
    sha256, top_k, source = model_hash(checkpoint), None, ""
    if exported:
        network = _graph(checkpoint, mode, settings, device, network)
        dtype, top_k = network.properties.precision, network.properties.top_k
        source = "" if top_k else with_settings(network.properties.source, checkpoint.settings)
    budget = batch_budget(settings.batch_tokens, device)
    log.debug("%s: runs on %s in %s, batches of %d padded tokens; sha256 %s", checkpoint.folder,
              device, dtype, budget, sha256)
    network = network or load_cached("model", _key(checkpoint, dtype, device),
                                     lambda: _splade(checkpoint, dtype, device))
    return Weigher(network=network, folder=checkpoint.folder, padding=padding, device=device,
                   dtype=dtype, batch_tokens=budget, sha256=sha256, top_k=top_k, source=source)


def _key(checkpoint: Checkpoint, *settings: str) -> tuple[object, ...]:
    """Returns everything that decides a loaded model, as a key for `load_cached`."""
    return ("network", file_states(checkpoint.folder.iterdir()), checkpoint.settings.pooling,
            *settings)


def _splade(checkpoint: Checkpoint, dtype: str, device: str) -> Splade:
    import torch

    from spladev3_anserini.model.splade import load_splade

    return load_splade(checkpoint, getattr(torch, dtype), device)


def _graph(checkpoint: Checkpoint, mode: QueryMode, settings: EncoderSettings, device: str,
           network: Network | None) -> OnnxSplade:
    """Loads an ONNX graph; raises InputError for a setting that its precision or top-k excludes."""
    if device != "cpu" or settings.dtype != "auto":
        raise InputError(f"{checkpoint.label}: an ONNX graph runs on the CPU in the "
                         "precision it was exported in; omit `device` and `dtype`")
    graph = network if isinstance(network, OnnxSplade) else load_cached(
        "model", _key(checkpoint), lambda: OnnxSplade(checkpoint))
    top_k = graph.properties.top_k
    if top_k and settings.special_tokens != "drop":
        raise InputError(f"`special_tokens` {settings.special_tokens}: this graph keeps the "
                         f"{top_k} largest weights, special tokens dropped")
    if top_k and mode == "lexical":
        raise InputError(f"{checkpoint.label}: this graph keeps the {top_k} largest "
                         "weights of a query's expansion, which may lack its own "
                         "wordpieces; for lexical queries export without `top_k`")
    return graph


def bags_of_words(ids: Sequence[Sequence[int]], weights: Weights | None = None) -> WeightRows:
    """Returns the weight of each distinct wordpiece of each text.

    `weights` has shape (vocabulary,); None is 1 for all. Weights of 0 are explicit.
    """
    bags = [sorted(set(text)) for text in ids]
    columns = np.fromiter(chain.from_iterable(bags), np.int64)
    values = np.ones(len(columns), np.float32) if weights is None else weights[columns]
    starts = np.fromiter(accumulate(map(len, bags), initial=0), np.int64)
    return WeightRows(starts, columns, values)


def own_wordpieces(rows: WeightRows, ids: Sequence[Sequence[int]],
                   weights: Weights | None) -> WeightRows:
    """Keeps only the weights of each text's own wordpieces, times `weights` if there are any."""
    spans = zip(rows.starts, rows.starts[1:], ids, strict=False)
    rows = rows.where(np.concatenate([np.isin(rows.columns[start:end], text)
                                      for start, end, text in spans]))
    return rows if weights is None else rows._replace(values=rows.values * weights[rows.columns])
