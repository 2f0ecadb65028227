"""An exported ONNX graph as a model: wordpiece ids -> term weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.errors import InputError, first_line, import_optional, refusing
from spladev3_anserini.model.batches import TRIAL_LENGTHS, cpu_threads
from spladev3_anserini.model.checkpoint import ONNX_WEIGHTS, Checkpoint
from spladev3_anserini.model.rows import WeightRows
from spladev3_anserini.model.variants import MAX_RELU, POOLINGS, Pooling

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
#: Anserini's encoder expects the first two, by these names and in this order.
OUTPUTS = ("output_idx", "output_weights", "rows")
_PREFIX = "spladev3_anserini."


class Properties(NamedTuple):
    """The metadata of an exported graph.

    `source` is the hash of the files of the exported model (`model_files_hash`). `pooling` is what
    the graph does; it is only written if it is not the usual.
    """

    precision: str
    top_k: int | None
    vocabulary: int
    max_positions: int
    source: str
    pooling: Pooling = MAX_RELU

    def as_strings(self) -> dict[str, str]:
        """Returns the properties as the keys and values of ONNX metadata; None is empty."""
        values = self._asdict() | {"pooling": " ".join(self.pooling)}
        if self.pooling == MAX_RELU:
            del values["pooling"]
        return {_PREFIX + name: "" if value is None else str(value)
                for name, value in values.items()}

    @classmethod
    def parse(cls, strings: dict[str, str]) -> Properties:
        """Reads the metadata of a graph; raises ValueError or KeyError if no export wrote it."""
        values = {name: strings[_PREFIX + name] for name in cls._fields if name != "pooling"}
        pooling = strings.get(_PREFIX + "pooling", " ".join(MAX_RELU))
        return cls(values["precision"], int(values["top_k"]) if values["top_k"] else None,
                   int(values["vocabulary"]), int(values["max_positions"]), values["source"],
                   POOLINGS[pooling])


class OnnxSplade:
    """An exported graph: ids and mask (B, L) -> term weights in fp32, on the CPU."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Loads the graph of a checkpoint and tries it on two short texts.

        Raises InputError if onnxruntime is not installed, the file is damaged, `export` did not
        write the graph, the graph has another pooling than the model's files state, or it fails on
        a short text.
        """
        runtime = import_optional("onnxruntime", f"{checkpoint.label}: is an ONNX graph", "onnx")
        path = checkpoint.folder / ONNX_WEIGHTS
        options = runtime.SessionOptions()
        options.intra_op_num_threads = cpu_threads()
        options.log_severity_level = 4
        try:
            self._session = runtime.InferenceSession(path, options,
                                                     providers=["CPUExecutionProvider"])
        except Exception as error:  # the errors of onnxruntime share no class
            raise InputError(f"{path}: cannot be loaded: {first_line(error)}") from None
        try:
            metadata = self._session.get_modelmeta().custom_metadata_map
            self.properties = Properties.parse(metadata)
        except (KeyError, ValueError):
            raise InputError(f"{path}: was not written by spladev3-anserini export, so its "
                             "pooling is unknown") from None
        pooling, stated = self.properties.pooling, checkpoint.settings.pooling
        if pooling != stated:
            raise InputError(f"{path}: the graph pools with {pooling.strategy} and "
                             f"{pooling.activation}, but the files of the model say "
                             f"{stated.strategy} and {stated.activation}")
        self._inputs = {node.name for node in self._session.get_inputs()}
        with refusing(f"{path}: the graph fails on a short text"):
            for length in TRIAL_LENGTHS:
                ids = np.arange(5, 5 + length)[None] % self.vocabulary
                self.rows(ids, np.ones_like(ids))

    @property
    def vocabulary(self) -> int:
        """The number of output terms, V."""
        return self.properties.vocabulary

    @property
    def max_positions(self) -> int:
        """The most tokens that a text may have."""
        return self.properties.max_positions

    def rows(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> WeightRows:
        """Computes the term weights above 0 of texts, from ids and mask, each (B, L).

        Raises ValueError for outputs outside the shape of `export`.
        """
        arrays = zip(INPUTS, (input_ids, attention_mask, np.zeros_like(input_ids)), strict=True)
        terms, values, rows = self._session.run(
            list(OUTPUTS), {name: array for name, array in arrays if name in self._inputs})
        size = (len(input_ids), self.vocabulary)
        if len(terms) and (terms.min() < 0 or terms.max() >= size[1] or rows[0] < 0
                           or rows[-1] >= size[0] or (np.diff(rows) < 0).any()
                           or values.min() < 0):
            raise ValueError("it returns terms, rows or weights that are impossible")
        return WeightRows(np.searchsorted(rows, np.arange(size[0] + 1)), terms, values)
