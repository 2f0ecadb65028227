"""The tiny checkpoint in the layouts of the hub's SPLADE-v3 models."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conftest import SPECIALS


def pickled(tiny: Path, folder: Path, modules: bool = True) -> Path:
    """As naver/splade-v3: pytorch_model.bin alone, with sentence-transformers' modules.json."""
    import torch
    from safetensors.torch import load_file

    shutil.copytree(tiny, folder)
    state = load_file(folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    if modules:
        add_modules(folder)
    return folder


def add_modules(folder: Path, pooling: str = "max", function: str = "relu") -> Path:
    """sentence-transformers' files around a plain transformers folder."""
    (folder / "modules.json").write_text(json.dumps([
        {"idx": 0, "name": "0", "path": "",
         "type": "sentence_transformers.sparse_encoder.models.MLMTransformer"},
        {"idx": 1, "name": "1", "path": "1_SpladePooling",
         "type": "sentence_transformers.sparse_encoder.models.SpladePooling"}]))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(
        {"model_type": "SparseEncoder", "prompts": {"query": "", "document": ""},
         "default_prompt_name": None, "similarity_fn_name": "dot"}))
    (folder / "1_SpladePooling").mkdir(exist_ok=True)
    (folder / "1_SpladePooling" / "config.json").write_text(json.dumps(
        {"pooling_strategy": pooling, "activation_function": function,
         "word_embedding_dimension": None}))
    return folder


def sparse_encoder(folder: Path, **options: int) -> Any:
    """A folder as sentence-transformers' SparseEncoder, with attributes such as max_seq_length."""
    from sentence_transformers import SparseEncoder

    model = SparseEncoder(str(folder), device="cpu")
    for name, value in options.items():
        setattr(model, name, value)
    return model


def peer_weights(folder: Path, side: str, texts: list[str]) -> Any:
    """sentence-transformers' weights of texts; special tokens have no dimension here."""
    model = sparse_encoder(folder)
    encode = model.encode_query if side == "query" else model.encode_document
    found = encode(texts, convert_to_sparse_tensor=False).numpy()
    found[:, : len(SPECIALS)] = 0
    return found


def router(tiny: Path, folder: Path, masked: bool = False, weight: float = 1) -> Path:
    """As sentence-transformers itself saves an inference-free model (a Router), whose queries have
    one weight for each term; or, `masked`, one that weighs a query's own terms."""
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sparse_encoder.modules import (
        MLMTransformer,
        SparseStaticEmbedding,
        SpladePooling,
    )

    document = [MLMTransformer(str(tiny)), SpladePooling("max")]
    static = SparseStaticEmbedding(
        tokenizer=document[0].tokenizer, frozen=True,
        weight=torch.full([document[0].tokenizer.vocab_size], float(weight)))
    model = SparseEncoder(modules=[Router.for_query_document(
        query_modules=[*(document if masked else ()), static], document_modules=document)])
    model.save_pretrained(str(folder))
    return folder


def irds_beir(home: Path, name: str, texts: Mapping[str, str]) -> None:
    """A BEIR data set's own archive where ir_datasets keeps it, of a few texts and two queries."""
    path = home / "beir" / name / "source.zip"
    path.parent.mkdir(parents=True)
    corpus = "".join(json.dumps({"_id": str(i), "title": "", "text": text, "metadata": {}}) + "\n"
                     for i, text in enumerate(filter(str.strip, texts.values()), 1))
    queries = "".join(json.dumps({"_id": i, "text": text, "metadata": {}}) + "\n"
                      for i, text in QUERIES.items())
    qrels = "query-id\tcorpus-id\tscore\n1\t1\t1\n3\t4\t1\n"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in (("corpus.jsonl", corpus), ("queries.jsonl", queries),
                                ("qrels/test.tsv", qrels), ("qrels/train.tsv", qrels)):
            archive.writestr(f"{name}/{member}", content)


QUERIES = {"1": "the cat on the mat", "3": "wing boundary layer"}
