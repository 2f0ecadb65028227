"""An exported ONNX graph as a model: wordpiece ids -> term weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from spladev3_anserini.errors import InputError, first_line, needed, refusing
from spladev3_anserini.model.checkpoint import ONNX_WEIGHTS, Checkpoint
from spladev3_anserini.model.splade import TRIAL

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
#: Named and ordered as Anserini's encoder expects the first two of them.
OUTPUTS = ("output_idx", "output_weights", "rows")
_PREFIX = "spladev3_anserini."


class Properties(NamedTuple):
    """What an exported graph says of itself, in its metadata; `source` is the hash of the
    checkpoint it was made from."""

    precision: str
    top_k: int | None
    vocabulary: int
    max_positions: int
    source: str

    def as_strings(self) -> dict[str, str]:
        return {_PREFIX + name: "" if value is None else str(value)
                for name, value in self._asdict().items()}

    @classmethod
    def parse(cls, strings: dict[str, str]) -> Properties:
        """Raises ValueError or KeyError for metadata that no export wrote."""
        own = {name: strings[_PREFIX + name] for name in cls._fields}
        return cls(own["precision"], int(own["top_k"]) if own["top_k"] else None,
                   int(own["vocabulary"]), int(own["max_positions"]), own["source"])


class OnnxSplade:
    """Ids and mask (B, L) -> term weights (B, V) in fp32 as sparse rows, on the CPU.

    No dense row is made of them: torch's threads and onnxruntime's take the cores from each other.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Raises InputError where onnxruntime is not installed, the file is damaged, or it is a
        graph that `export` did not write or that fails on a short text."""
        runtime = needed("onnxruntime", f"{checkpoint.shown}: is an ONNX graph", "onnx")
        path = checkpoint.folder / ONNX_WEIGHTS
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4
        try:
            self._session = runtime.InferenceSession(path, options,
                                                     providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own errors share no class
            raise InputError(f"{path}: cannot be loaded: {first_line(error)}") from None
        try:
            metadata = self._session.get_modelmeta().custom_metadata_map
            self.properties = Properties.parse(metadata)
        except (KeyError, ValueError):
            raise InputError(f"{path}: was not written by spladev3-anserini export, so how it "
                             "pools is not known") from None
        self._inputs = {own.name for own in self._session.get_inputs()}
        with refusing(f"{path}: the graph fails on a short text"):
            for length in TRIAL:
                ids = torch.arange(5, 5 + length)[None] % self.vocabulary
                self(ids, torch.ones_like(ids))

    @property
    def vocabulary(self) -> int:
        return self.properties.vocabulary

    @property
    def max_positions(self) -> int:
        return self.properties.max_positions

    def __call__(self, input_ids: Tensor, attention_mask: Tensor) -> sparse.csr_matrix:
        """Raises ValueError for outputs that `export` describes otherwise."""
        fed = zip(INPUTS, (input_ids, attention_mask, torch.zeros_like(input_ids)), strict=True)
        terms, values, rows = self._session.run(
            list(OUTPUTS), {name: own.numpy() for name, own in fed if name in self._inputs})
        size = (len(input_ids), self.vocabulary)
        if len(terms) and (terms.min() < 0 or terms.max() >= size[1] or rows[0] < 0
                           or rows[-1] >= size[0] or (np.diff(rows) < 0).any()
                           or values.min() < 0):
            raise ValueError("it gives terms, rows or weights that cannot be")
        ends = np.searchsorted(rows, np.arange(size[0] + 1))
        return sparse.csr_matrix((values, terms, ends), shape=size)
