"""A checkpoint -> an ONNX graph from wordpiece ids to term weights, pooling and top-k inside it."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spladev3_anserini.errors import InputError, import_optional, refusing
from spladev3_anserini.files import naming, sha256_of
from spladev3_anserini.model.anserini_files import ANSERINI_FILES, anserini_vocabulary
from spladev3_anserini.model.batches import TRIAL_LENGTHS
from spladev3_anserini.model.checkpoint import ONNX_WEIGHTS, Checkpoint, model_files_hash
from spladev3_anserini.model.copies import (
    copy_files,
    copy_settings,
    note_unstated_variant,
    place_in,
)
from spladev3_anserini.model.onnx import INPUTS, OUTPUTS, Properties
from spladev3_anserini.model.pooling import activation
from spladev3_anserini.model.splade import Splade, load_splade

Precision = Literal["float32", "int8"]

#: Columns of the vocabulary per product, so that no tensor of tokens x vocabulary exists. Measured
#: on 2 CPU cores in int8: 256 is the fastest of 256 to 4096 (a fifth of the demo model's time).
_TILE = 256
_OPSET = 17
#: The most bytes of weights: protobuf's limit for one file, less room for the rest of the graph.
LARGEST_GRAPH = (1 << 31) - (16 << 20)


class Exported(NamedTuple):
    """An exported file, its sha256, and its size in bytes.

    `query` is the graph of the queries' own model, if they have one.
    """

    path: Path
    sha256: str
    size: int
    query: Exported | None = None


def export_onnx(checkpoint: Checkpoint, output: Path, precision: Precision = "float32",
                top_k: int | None = None, *, anserini: bool = False) -> Exported:
    """Exports a checkpoint to ONNX, as a model folder or as the files of Anserini's encoder.

    Args:
        checkpoint: A model with safetensors.
        output: The new folder. It holds the settings and tokenizers of all modules, with
            `model.onnx` in the place of the weights, and `encode` takes it like any other model.
        precision: int8 is ONNX Runtime's dynamic quantisation: weights per output channel,
            activations per tensor at run time. A weight therefore depends slightly on the other
            texts of its batch.
        top_k: Keep only each text's largest weights, inside the graph. It also drops the
            dimensions of special tokens.
        anserini: Write the two files that Anserini's encoder reads instead of a model folder.

    Returns:
        The graph's file, its sha256 and its size in bytes.

    Raises:
        InputError: `output` exists, a package is missing, the graph does not fit into a file or
            returns other weights than the model, or (for Anserini) the tokenizer is not BERT's or
            the model has a setting that Anserini's encoder does not apply.
    """
    if output.exists():
        raise InputError(f"`output` {output}: exists already")
    for package in ("onnx", "onnxruntime"):
        import_optional(package, "export", "onnx")
    vocabulary = anserini_vocabulary(checkpoint) if anserini else ""
    sides = _encoders(checkpoint)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as scratch:
        fresh = Path(scratch) / "model"
        fresh.mkdir()
        done = []
        for side in sides:
            place = fresh if anserini else place_in(checkpoint.layout, side.folder, fresh)
            path = place / (ANSERINI_FILES[0] if anserini else ONNX_WEIGHTS)
            final = output / path.relative_to(fresh)
            place.mkdir(parents=True, exist_ok=True)
            _export_side(side, path, final, precision, top_k)
            done.append(Exported(final, sha256_of(path), path.stat().st_size))
        with naming(output):
            if anserini:
                (fresh / ANSERINI_FILES[1]).write_text(vocabulary, "utf-8")
            else:
                _copy_others(checkpoint, fresh)
        fresh.replace(output)
    return done[0]._replace(query=done[1] if len(done) > 1 else None)


def _encoders(checkpoint: Checkpoint) -> list[Checkpoint]:
    """The sides with a model of their own: documents, and queries if theirs is another one."""
    query = checkpoint.of("query")
    if not checkpoint.variant.learns_queries or checkpoint.shares_model:
        return [checkpoint]
    if query.folder == checkpoint.folder:
        raise InputError(f"`model` {checkpoint.name}: its queries and documents have one model but "
                         "other poolings, and a graph has one pooling; encode with the model "
                         "itself")
    return [checkpoint, query]


def _export_side(checkpoint: Checkpoint, path: Path, final: Path, precision: Precision,
                 top_k: int | None) -> None:
    """Writes one encoder's graph to `path`, which errors call `final`."""
    splade = load_splade(checkpoint, torch.float32, "cpu", attention="eager")
    top_k = top_k and min(top_k, splade.vocabulary)
    if not splade.takes_padding:
        raise InputError(f"`model` {checkpoint.name}: padding changes the weights of its "
                         "architecture, and a graph computes batches with padding; encode with "
                         "the model itself")
    tokenizer = checkpoint.settings.load_tokenizer()
    dropped = {*tokenizer.special_ids, *tokenizer.nameless,
               *range(len(tokenizer.terms), splade.vocabulary)}
    graph = _Graph(splade, sorted(dropped) if top_k else [], top_k).eval()
    size = sum(tensor.numel() * tensor.element_size()
               for tensor in (*graph.parameters(), *graph.buffers()))
    if size > LARGEST_GRAPH:
        raise InputError(f"`model` {checkpoint.name}: its graph has {size / 2**30:.1f} GiB of "
                         "weights, and an ONNX file holds 2; encode with the model itself")
    properties = Properties(precision, top_k, splade.vocabulary, splade.max_positions,
                            model_files_hash(checkpoint), splade.pooling)
    with naming(final), refusing(f"`model` {checkpoint.name}: cannot be exported", OSError), \
            tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        _write_graph(graph, Path(scratch) / "plain.onnx", path, precision, properties)
        _compare_weights(graph, path, precision)


class _Graph(nn.Module):
    """The graph to export: input_ids, attention_mask, token_type_ids (B, L) -> non-zero weights.

    The outputs are term ids, weights and rows, each (N), row by row with terms ascending.
    """

    def __init__(self, splade: Splade, dropped: list[int], top_k: int | None) -> None:
        super().__init__()
        self.mlm, self.top_k = splade.mlm, top_k
        weight, bias = splade.output.weight.detach(), splade.output.bias
        bias = torch.zeros(len(weight)) if bias is None else bias.detach().clone()
        bias[dropped] = -1e4  # never above 0, so never a weight
        self.tiles = nn.ModuleList()
        for start in range(0, len(weight), _TILE):
            columns = weight[start : start + _TILE]
            tile = nn.Linear(columns.shape[1], columns.shape[0])
            tile.weight.data, tile.bias.data = columns.clone(), bias[start : start + _TILE].clone()
            self.tiles.append(tile)
        self.vocabulary, self.pooling = splade.vocabulary, splade.pooling
        self.types = hasattr(splade.mlm.config, "type_vocab_size")

    def forward(self, input_ids: Tensor, attention_mask: Tensor,
                token_type_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        types = {"token_type_ids": token_type_ids} if self.types else {}
        states = self.mlm(input_ids=input_ids, attention_mask=attention_mask, **types).logits
        # padding repeats the state of [CLS], which takes part in the maximum anyway
        states = torch.where(attention_mask.unsqueeze(-1) > 0, states, states[:, :1])
        if self.pooling.strategy == "max":
            best = torch.cat([tile(states).amax(dim=1) for tile in self.tiles], dim=1)
            weights = activation(best, self.pooling)
        else:
            kept = attention_mask.unsqueeze(-1).to(states.dtype)
            weights = torch.cat([(activation(tile(states), self.pooling) * kept).sum(dim=1)
                                 for tile in self.tiles], dim=1)
        if self.top_k:
            values, terms = weights.topk(self.top_k, dim=1)
            weights = torch.zeros_like(weights).scatter(1, terms, values)
        places = torch.nonzero(weights)
        return places[:, 1], weights[places[:, 0], places[:, 1]], places[:, 0]


def _write_graph(graph: _Graph, plain: Path, path: Path, precision: Precision,
                 properties: Properties) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    example = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 0]])
    mask = (example > 0).long()
    axes = {name: {0: "batch", 1: "length"} for name in INPUTS}
    axes |= {name: {0: "weights"} for name in OUTPUTS}
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of traced shapes, and that this exporter is the old one
        torch.onnx.export(graph, (example, mask, torch.zeros_like(example)), str(plain),
                          input_names=list(INPUTS), output_names=list(OUTPUTS), dynamic_axes=axes,
                          opset_version=_OPSET, dynamo=False)
    if precision == "int8":
        with _quiet():
            quantize_dynamic(plain, path, weight_type=QuantType.QInt8, per_channel=True,
                             op_types_to_quantize=["MatMul", "Gemm"])
    else:
        plain.replace(path)
    model: Any = onnx.load(str(path))
    onnx.helper.set_model_props(model, properties.as_strings())
    onnx.save(model, str(path))


@torch.inference_mode()
def _compare_weights(graph: _Graph, path: Path, precision: Precision) -> None:
    """Runs the file on texts of other lengths than the traced one; raises ValueError if weights
    differ from the model's.

    A number that the trace took for a constant may differ at these lengths. int8 must only run.
    """
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {node.name for node in session.get_inputs()}
    for length in TRIAL_LENGTHS:
        ids = torch.arange(1, 1 + length)[None] % graph.vocabulary
        tensors = dict(zip(INPUTS, (ids, torch.ones_like(ids), torch.zeros_like(ids)),
                           strict=True))
        terms, weights, _ = session.run(
            list(OUTPUTS), {name: tensor.numpy() for name, tensor in tensors.items()
                            if name in inputs})
        expected_terms, expected_weights = (
            tensor.numpy() for tensor in graph(*tensors.values())[:2])
        exported = np.bincount(terms, weights, graph.vocabulary)
        expected = np.bincount(expected_terms, expected_weights, graph.vocabulary)
        if precision == "float32" and not np.allclose(exported, expected, rtol=1e-3, atol=1e-3):
            raise ValueError("the graph of this architecture gives other weights than the model")


def _copy_others(checkpoint: Checkpoint, folder: Path) -> None:
    """Copies what encoding reads besides graphs: settings, tokenizers, tables of query weights."""
    layout = checkpoint.layout
    copy_settings(layout, folder)
    for module in layout.folders:
        if module not in (layout.document.folder, layout.query.folder):
            copy_files(sorted(module.glob("model.safetensors")), place_in(layout, module, folder))
    note_unstated_variant(checkpoint, folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences warnings: onnxruntime's quantizer warns that shapes were not inferred."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
