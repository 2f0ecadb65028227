"""The rows of the matrix of layouts: what is built, and whether it is served or refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from layout_classes import ENCODER, LENGTHS, POOLING, SETTINGS, STATIC, TOKENIZER, Bases, edit
from layouts import add_modules

MODULES, ROUTER = "modules.json", "router_config.json"
_BASE, _SPARSE = "sentence_transformers.base.modules", "sentence_transformers.sparse_encoder.modules"
TYPES = {
    "Transformer": f"{_BASE}.transformer.Transformer",
    "MLMTransformer": f"{_SPARSE}.mlm_transformer.MLMTransformer",
    "SpladePooling": f"{_SPARSE}.splade_pooling.SpladePooling",
    "SparseStaticEmbedding": f"{_SPARSE}.sparse_static_embedding.SparseStaticEmbedding",
    "SparseAutoEncoder": f"{_SPARSE}.sparse_auto_encoder.SparseAutoEncoder",
    "Normalize": f"{_BASE}.normalize.Normalize",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Router": f"{_BASE}.router.Router",
}
SPLADE = ("Transformer", "SpladePooling")
Build = Callable[[Bases, Path], object]


class Row(NamedTuple):
    """A layout.

    Attributes:
        name: What it is.
        build: Builds it in a folder.
        variant: The variant that its files state; empty if it is refused.
        refused: The file and the key that the refusal names.
        twin: Builds the layout that sentence-transformers gives the same weights, where it does
            not read this one.
        needs: Packages without which the row is skipped.
    """

    name: str
    build: Build
    variant: str = ""
    refused: tuple[str, ...] = ()
    twin: Build | None = None
    needs: tuple[str, ...] = ()


def plain(base: str, **config: object) -> Build:
    """A folder as transformers saves it; `config` changes config.json."""
    def build(bases: Bases, folder: Path) -> None:
        edit(bases.copy(base, folder) / "config.json", **config)
    return build


def plain_tokenizer(base: str, **config: object) -> Build:
    """The same; `config` changes tokenizer_config.json."""
    def build(bases: Bases, folder: Path) -> None:
        edit(bases.copy(base, folder) / TOKENIZER, **config)
    return build


def st5(base: str = "bert", pooling: str = "max", function: str = "relu",
        **files: Mapping[str, object]) -> Build:
    """The layout of sentence-transformers 5; `files` changes keys of JSON files."""
    def build(bases: Bases, folder: Path) -> None:
        add_modules(bases.copy(base, folder), pooling, function)
        for file, keys in files.items():
            edit(folder / NAMES.get(file, file), **keys)
    return build


#: Files by a word that can be a keyword.
NAMES = {"settings": SETTINGS, "lengths": LENGTHS, "pooling_file": POOLING, "modules": MODULES,
         "tokenizer": TOKENIZER, "router": ROUTER, "static": f"{STATIC}/config.json",
         "encoder": f"{ENCODER}/{LENGTHS}", "older": "sentence_roberta_config.json",
         "unread": "sentence_electra_config.json"}


def st6(**files: Mapping[str, object]) -> Build:
    """The layout as sentence-transformers 6 itself saves it."""
    def build(bases: Bases, folder: Path) -> None:
        bases.copy("st6", folder)
        for file, keys in files.items():
            edit(folder / NAMES.get(file, file), **keys)
    return build


def modules(*kinds: str, paths: Mapping[int, str] | None = None, **keys: object) -> Build:
    """ST 6 with other modules."""
    def build(bases: Bases, folder: Path) -> None:
        bases.copy("st6", folder)
        write_modules(folder, kinds, paths or {}, **keys)
    return build


def write_modules(folder: Path, kinds: tuple[str, ...], paths: Mapping[int, str],
                  **keys: object) -> None:
    folder.joinpath(MODULES).write_text(json.dumps([
        {"idx": place, "name": str(place), "type": TYPES.get(kind, kind),
         "path": paths.get(place, f"{place}_{kind}" if place else "")} | keys
        for place, kind in enumerate(kinds)]))


def weights_of_terms(folder: Path, plain_table: bool = False) -> dict[str, float]:
    """A weight for each wordpiece of a tokenizer, 0 for special tokens; or 1 for each."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    special = set(tokenizer.all_special_ids)
    return {term: 1.0 if plain_table else 0.0 if number in special else 1 + number / 8
            for term, number in tokenizer.get_vocab().items()}


def routed(base: str = "bert", query: tuple[str, ...] = ("static",), ones: bool = False,
           function: str = "relu", pooling: str = "max", other: str = "other",
           surplus: int = 0, **files: Mapping[str, object]) -> Build:
    """A Router. Its query side is a list of `document` (the document side), `static` (a table),
    `encoder` (the model `other`), `transformer` (the documents' model) and `pooling` (a sum)."""
    def build(bases: Bases, folder: Path) -> None:
        import torch
        from safetensors.torch import save_file

        folder.mkdir()
        write_modules(folder, ("Router",), {})
        edit(folder / SETTINGS, model_type="SparseEncoder", similarity_fn_name="dot")
        document = [ENCODER, "document_1_SpladePooling"]
        bases.copy(base, folder / ENCODER)
        edit(folder / ENCODER / LENGTHS, transformer_task="fill-mask")
        types = dict(zip(document, (TYPES["Transformer"], TYPES["SpladePooling"]), strict=True))
        _pooling(folder / document[1], pooling, function)
        queries: list[str] = []
        for part in query:
            if part == "document":
                queries += document
            elif part == "transformer":
                queries.append(ENCODER)
            elif part == "pooling":
                queries.append("query_1_SpladePooling")
                _pooling(folder / queries[-1], "sum", "relu")
                types[queries[-1]] = TYPES["SpladePooling"]
            elif part == "static":
                bases.copy(base, folder / STATIC)
                table = weights_of_terms(bases(base), ones)
                values = [table[term] for term in sorted(table, key=vocabulary(bases(base)).get)]
                values = values + [2.0] * surplus if surplus >= 0 else values[:surplus]
                save_file({"weight": torch.tensor(values)},
                          folder / STATIC / "model.safetensors")
                (folder / STATIC / "config.json").write_text('{"frozen": true}')
                queries.append(STATIC)
                types[STATIC] = TYPES["SparseStaticEmbedding"]
            else:
                bases.copy(other, folder / "query_0_Transformer")
                edit(folder / "query_0_Transformer" / LENGTHS, transformer_task="fill-mask",
                     max_seq_length=12)
                _pooling(folder / "query_1_SpladePooling", "max", "log1p_relu")
                queries += ["query_0_Transformer", "query_1_SpladePooling"]
                types |= dict(zip(queries, map(TYPES.__getitem__, SPLADE), strict=True))
        (folder / ROUTER).write_text(json.dumps({
            "types": types, "structure": {"query": queries, "document": document},
            "parameters": {"default_route": "document", "allow_empty_key": True}}))
        for file, keys in files.items():
            edit(folder / NAMES.get(file, file), **keys)
    return build


def _pooling(folder: Path, strategy: str, function: str) -> None:
    folder.mkdir()
    edit(folder / "config.json", pooling_strategy=strategy, activation_function=function)


def vocabulary(folder: Path) -> dict[str, int]:
    from transformers import AutoTokenizer

    return dict(AutoTokenizer.from_pretrained(folder).get_vocab())


def with_tables(build: Build, base: str = "bert", json_by: float | None = None,
                text_by: float | None = None) -> Build:
    """Tables beside a model, each the usual one times a factor."""
    def tables(bases: Bases, folder: Path) -> None:
        build(bases, folder)
        weights = {term: value for term, value in weights_of_terms(bases(base)).items() if value}
        if json_by:
            (folder / "idf.json").write_text(json.dumps(
                {term: value * json_by for term, value in weights.items()}))
        if text_by:
            (folder / "query_token_weights.txt").write_text("".join(
                f"{term}\t{value * text_by}\n" for term, value in weights.items()))
    return tables


def then(build: Build, change: Callable[[Path], object]) -> Build:
    def both(bases: Bases, folder: Path) -> None:
        build(bases, folder)
        change(folder)
    return both


def _pickled(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _adapter_beside(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4}')


def _adapter_only(folder: Path) -> None:
    _adapter_beside(folder)
    (folder / "config.json").unlink()


def _bfloat16(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    save_file({name: value.to(torch.bfloat16) for name, value in tensors.items()},
              folder / "model.safetensors", metadata={"format": "pt"})


def _two_files(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: f"model-0000{1 + place % 2}-of-00002.safetensors"
              for place, name in enumerate(sorted(tensors))}
    for file in {*places.values()}:
        save_file({name: tensors[name] for name in places if places[name] == file}, folder / file,
                  metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps(
        {"metadata": {"total_size": 1}, "weight_map": places}))


def _tokenizer_that_cuts(folder: Path) -> None:
    """tokenizer.json itself may cut and pad; the library's calls replace both."""
    edit(folder / "tokenizer.json",
         truncation={"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0},
         padding={"strategy": {"Fixed": 40}, "direction": "Right", "pad_to_multiple_of": None,
                  "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"})


def _table_as(dtype: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        import torch
        from safetensors.torch import load_file, save_file

        path = folder / STATIC / "model.safetensors"
        save_file({"weight": load_file(path)["weight"].to(getattr(torch, dtype))}, path)
    return change


def _without_head(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    save_file({name: value for name, value in tensors.items() if not name.startswith("cls.")},
              folder / "model.safetensors", metadata={"format": "pt"})


def _other_tokenizer(folder: Path) -> None:
    path = folder / STATIC / "tokenizer.json"
    path.write_text(path.read_text().replace('"lowercase": true', '"lowercase": false'))
    edit(folder / STATIC / TOKENIZER, do_lower_case=False)


def _third_route(folder: Path) -> None:
    record = json.loads((folder / ROUTER).read_text())
    record["structure"]["title"] = record["structure"]["document"]
    (folder / ROUTER).write_text(json.dumps(record))


def _documents_by_table(folder: Path) -> None:
    record = json.loads((folder / ROUTER).read_text())
    record["structure"]["document"] = [STATIC]
    (folder / ROUTER).write_text(json.dumps(record))


def _pads_left(folder: Path) -> None:
    _tokenizer_that_cuts(folder)
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace('"Right", "pad_to', '"Left", "pad_to'))


def _older_length(folder: Path) -> None:
    record = json.loads((folder / TOKENIZER).read_text())
    del record["model_max_length"]
    (folder / TOKENIZER).write_text(json.dumps(record | {"max_len": 12}))


def _token_types(folder: Path) -> None:
    """Kept by transformers if the class is not BERT's own, which writes the template anew."""
    record = json.loads((folder / "tokenizer.json").read_text())
    for part in record["post_processor"]["single"]:
        for token in part.values():
            token["type_id"] = 1
    (folder / "tokenizer.json").write_text(json.dumps(record))
    edit(folder / TOKENIZER, tokenizer_class="PreTrainedTokenizerFast",
         model_input_names=["input_ids", "token_type_ids", "attention_mask"])


def _tokenizer_above(folder: Path) -> None:
    for path in (*(folder / ENCODER).glob("tok*"), *(folder / ENCODER).glob("vocab*")):
        path.rename(folder / path.name)


def _one_name(folder: Path) -> None:
    write_modules(folder, ("Transformer", "SpladePooling", "SpladePooling"), {2: "1_SpladePooling"},
                  name="0")


def _route_out(folder: Path) -> None:
    shutil.copytree(folder / ENCODER, folder.parent / "elsewhere", dirs_exist_ok=True)
    text = (folder / ROUTER).read_text()
    (folder / ROUTER).write_text(text.replace(ENCODER, "../elsewhere"))


def _key(file: str, **keys: object) -> dict[str, Any]:
    return {file: keys}


V3, DISTIL, DOC, LEXICAL = ("splade-v3", "splade-v3-distilbert", "splade-v3-doc",
                            "splade-v3-lexical")
SERVED = [
    Row("BERT", plain("bert"), V3),
    Row("DistilBERT", plain("distilbert"), DISTIL),
    Row("RoBERTa, byte-level BPE", plain("roberta"), V3),
    Row("XLM-R, Unigram", plain("xlm-roberta"), V3),
    Row("ModernBERT", plain("modernbert"), V3),
    Row("ModernBERT, runs of spaces", plain("modernbert-spaces"), V3),
    Row("ModernBERT, padded", plain("modernbert-padded"), V3),
    Row("BERT, padded", plain("padded"), V3),
    Row("ST 5, padded", st5("padded"), V3),
    Row("BertJapanese, words at spaces", plain("japanese"), V3),
    Row("BertJapanese, MeCab", plain("mecab"), V3, needs=("fugashi", "ipadic")),
    Row("bfloat16", then(plain("bert", dtype="bfloat16"), _bfloat16), V3),
    Row("weights in two files", then(plain("bert"), _two_files), V3),
    Row("a tokenizer.json that cuts and pads", then(st5(), _tokenizer_that_cuts), V3),
    Row("ST 5", st5(), V3),
    Row("ST 5, RoBERTa", st5("roberta"), V3),
    Row("ST 5, ModernBERT", st5("modernbert"), V3),
    Row("ST 6", st6(), V3),
    Row("log1p_relu", st5(function="log1p_relu"), V3),
    Row("sum", st5(pooling="sum"), V3),
    Row("sum and log1p_relu", st6(pooling_file={
        "pooling_strategy": "sum", "activation_function": "log1p_relu"}), V3),
    Row("prompts", st5(settings={"prompts": {"query": "cat: ", "document": "wing "}}), V3),
    Row("a prompt of queries and a default", st6(settings={
        "prompts": {"query": "cat ", "document": ""}, "default_prompt_name": "query"}), V3),
    Row("a default prompt of another name", st6(settings={
        "prompts": {"other": "cat "}, "default_prompt_name": "other"}), V3),
    Row("max_seq_length", st5(lengths={"max_seq_length": 32, "do_lower_case": False}), V3),
    Row("max_seq_length of an older name", st5(older={"max_seq_length": 16}), V3),
    Row("max_seq_length before model_max_length", st6(
        lengths={"max_seq_length": 16}, tokenizer={"model_max_length": 24}), V3),
    Row("model_max_length", st6(tokenizer={"model_max_length": 24}), V3),
    Row("max_len, the older name of model_max_length", then(st6(), _older_length), V3),
    Row("model_max_length that the model cannot take", st5(tokenizer={"model_max_length": 512}), V3),
    Row("padding at the left, rotary positions", plain_tokenizer("modernbert", padding_side="left"),
        V3),
    Row("padding at the left, positions by the mask", plain_tokenizer(
        "roberta", padding_side="left"), V3),
    Row("cut at the left", st5(tokenizer={"model_max_length": 24, "truncation_side": "left"}), V3),
    Row("do_lower_case", st5("cased", lengths={"do_lower_case": True}), V3),
    Row("do_lower_case, byte-level BPE", st5("roberta", lengths={"do_lower_case": True}), V3),
    Row("do_lower_case, Unigram", st5("xlm-roberta", lengths={"do_lower_case": True}), V3),
    Row("upper case", st5("cased", lengths={"do_lower_case": False}), V3),
    Row("keys that change nothing", st6(
        settings={"prompts": {}, "truncate_dim": None, "similarity_fn_name": "dot"},
        pooling_file={"chunk_size": 3}, lengths={"unpad_inputs": False, "query_length": None}), V3),
    Row("Router of ones", routed(ones=True), DOC),
    Row("Router, lexical", routed(query=("document", "static"), ones=True), LEXICAL),
    Row("Router with a table", routed(), "static"),
    Row("Router with a table, log1p_relu, prompts", routed(
        function="log1p_relu", settings={"prompts": {"query": "cat ", "document": "wing "}}),
        "static"),
    Row("Router with a table, short queries", routed(**_key(f"{STATIC}/{TOKENIZER}",
                                                            model_max_length=6)), "static"),
    Row("Router with a table, DistilBERT", routed("distilbert"), "static"),
    Row("Router with a table, byte-level BPE", routed("roberta"), "static"),
    Row("Router with a table, float16", then(routed(), _table_as("float16")), "static"),
    Row("Router with a table, bfloat16", then(routed(), _table_as("bfloat16")), "static"),
    Row("Router with a table, float64", then(routed(), _table_as("float64")), "static"),
    Row("Router, lexical times a table", routed(query=("document", "static")), LEXICAL),
    Row("Router of two encoders", routed(query=("encoder",)), V3),
    Row("Router of two encoders, prompts", routed(query=("encoder",), settings={
        "prompts": {"query": "cat ", "document": "wing "}}), V3),
    Row("Router of one encoder", routed(query=("document",)), V3),
    Row("Router of one encoder, two poolings", routed(query=("transformer", "pooling")), V3),
    Row("Router, lexical, lower case", routed("cased", query=("document", "static"),
                                              encoder={"do_lower_case": True}), LEXICAL),
    Row("Router with a table, spaces", routed("modernbert-spaces"), "static"),
    Row("Router with a table, padded output", routed("padded"), "static"),
    Row("Router with a table, short documents", routed(encoder={"max_seq_length": 8}), "static"),
    Row("Router and the same idf.json", with_tables(routed(), json_by=1), "static"),
    Row("idf.json", with_tables(plain("bert"), json_by=1), "static", twin=routed()),
    Row("query_token_weights.txt", with_tables(plain("distilbert"), "distilbert", text_by=1),
        "static", twin=routed("distilbert")),
    Row("idf.json and the same query_token_weights.txt",
        with_tables(plain("bert"), json_by=1, text_by=1), "static", twin=routed()),
]
REFUSED = [
    Row("a prompt of passages", st5(settings={"prompts": {"query": "", "passage": "p: "}}),
        refused=(SETTINGS, "prompts.passage")),
    Row("cosine", st5(settings={"similarity_fn_name": "cosine"}),
        refused=(SETTINGS, "similarity_fn_name")),
    Row("euclidean", st6(settings={"similarity_fn_name": "euclidean"}),
        refused=(SETTINGS, "similarity_fn_name")),
    Row("max_active_dims", st6(settings={"max_active_dims": 8}),
        refused=(SETTINGS, "max_active_dims")),
    Row("truncate_dim", st6(settings={"truncate_dim": 16}), refused=(SETTINGS, "truncate_dim")),
    Row("another kind of model", st6(settings={"model_type": "CrossEncoder"}),
        refused=(SETTINGS, "model_type")),
    Row("no kind of model", st6(settings={"model_type": None}), refused=(SETTINGS, "model_type")),
    Row("no settings", then(st6(), lambda f: (f / SETTINGS).unlink()),
        refused=(SETTINGS, "model_type")),
    Row("a default prompt there is not", st6(settings={"default_prompt_name": "other"}),
        refused=(SETTINGS, "default_prompt_name")),
    Row("an unknown setting", st6(settings={"normalize": True}), refused=(SETTINGS, "normalize")),
    Row("an unknown key of a module", modules(*SPLADE, kwargs=["task"]),
        refused=(MODULES, "kwargs")),
    Row("an unknown key of the pooling", st6(pooling_file={"top_k": 8}),
        refused=(POOLING, "top_k")),
    Row("an unknown pooling", st6(pooling_file={"pooling_strategy": "mean"}),
        refused=(POOLING, "pooling_strategy")),
    Row("an unknown activation", st6(pooling_file={"activation_function": "gelu"}),
        refused=(POOLING, "activation_function")),
    Row("an unknown key of the transformer", st6(lengths={"scale": 2}), refused=(LENGTHS, "scale")),
    Row("a length without room", st5(lengths={"max_seq_length": 2}),
        refused=(LENGTHS, "max_seq_length 2")),
    Row("a length of queries", st6(lengths={"query_length": 8}), refused=(LENGTHS, "query_length")),
    Row("arguments of the model", st6(lengths={"model_args": {"attn_implementation": "eager"}}),
        refused=(LENGTHS, "model_args")),
    Row("a file that the library does not read", st5(unread={"max_seq_length": 8}),
        refused=("sentence_electra_config.json", "max_seq_length")),
    Row("padding at the left", plain_tokenizer("bert", padding_side="left"),
        refused=(TOKENIZER, "padding_side")),
    Row("padding at the left in tokenizer.json", then(st5(), _pads_left),
        refused=("tokenizer.json", "padding.direction")),
    Row("other token types", then(st6(), _token_types),
        refused=("tokenizer.json", "post_processor")),
    Row("no room for a token", st6(tokenizer={"model_max_length": 0}),
        refused=(TOKENIZER, "model_max_length")),
    Row("a tokenizer above the encoder's folder", then(routed(), _tokenizer_above),
        refused=(ENCODER, "no tokenizer")),
    Row("a prompt that is no UTF-8", st6(settings={"prompts": {"query": "\ud800 "}}),
        refused=(SETTINGS, "prompts.query")),
    Row("no modules", then(st6(), lambda f: (f / MODULES).write_text("[]")),
        refused=(MODULES, "no module")),
    Row("two files that differ", st5(lengths={"max_seq_length": 16}, older={"max_seq_length": 8}),
        refused=("sentence_roberta_config.json", "max_seq_length")),
    Row("an unknown key of a Router", routed(router={"weights": [1, 2]}),
        refused=(ROUTER, "weights")),
    Row("routes by modality", routed(router={"parameters": {
        "route_mappings": {"('query', None)": "document"}}}), refused=(ROUTER, "route_mappings")),
    Row("an unknown key of a table", routed(static={"scale": 2.0}),
        refused=(f"{STATIC}/config.json", "scale")),
    Row("a table in another file", routed(static={"path": "idf.json"}),
        refused=(f"{STATIC}/config.json", "path")),
    Row("a table that is too short", routed(surplus=-1),
        refused=(f"{STATIC}/model.safetensors", "weight")),
    Row("a Transformer without its task", then(st6(), lambda f: (f / LENGTHS).write_text("{}")),
        refused=(LENGTHS, "transformer_task")),
    Row("a third route", then(routed(), _third_route), refused=(ROUTER, "structure")),
    Row("two encoders, two vocabularies", routed(query=("encoder",), other="cased"),
        refused=(ROUTER, "structure")),
    Row("a table of another tokenizer", then(routed(), _other_tokenizer),
        refused=(ROUTER, "structure")),
    Row("a Router that leaves the folder", then(routed(), _route_out),
        refused=(ROUTER, "../elsewhere")),
    Row("a Router, then another module", then(routed(), lambda f: write_modules(
        f, ("Router", "Normalize"), {})), refused=(MODULES, "Normalize")),
    Row("modules that leave the folder", modules(*SPLADE, paths={1: "../pooling"}),
        refused=(MODULES, "../pooling")),
    Row("a module at an absolute path", modules(*SPLADE, paths={1: "/pooling"}),
        refused=(MODULES, "/pooling")),
    Row("an autoencoder", modules("Transformer", "Pooling", "SparseAutoEncoder"),
        refused=(MODULES, "Pooling")),
    Row("an autoencoder after SPLADE", modules(*SPLADE, "SparseAutoEncoder"),
        refused=(MODULES, "SparseAutoEncoder")),
    Row("an unknown module", modules(*SPLADE, "Normalize"), refused=(MODULES, "Normalize")),
    Row("documents by a table", then(routed(), _documents_by_table), refused=(ROUTER, "type")),
    Row("two modules of one name", then(st6(), _one_name), refused=(MODULES, "name")),
    Row("a module of its own code", modules("Transformer", "mine.SpladePooling"),
        refused=(MODULES, "mine.SpladePooling")),
    Row("custom code", plain("bert", auto_map={"AutoModelForMaskedLM": "code.Mine"}),
        refused=("config.json", "auto_map")),
    Row("a causal model", plain("causal"), refused=("config.json", "model_type")),
    Row("no head", then(plain("bert"), _without_head), refused=("cls.predictions",)),
    Row("a pickle", then(plain("bert"), _pickled), refused=("model.safetensors", "convert")),
    Row("an adapter beside the weights", then(plain("bert"), _adapter_beside),
        refused=("adapter_config.json",)),
    Row("an adapter only", then(plain("bert"), _adapter_only), refused=("adapter_config.json",)),
    Row("differing tables", with_tables(plain("bert"), json_by=1, text_by=2),
        refused=("query_token_weights.txt", "idf.json")),
    Row("a Router and a differing idf.json", with_tables(routed(), json_by=2),
        refused=("idf.json", "model.safetensors")),
    Row("ST 6 and idf.json", with_tables(st6(), json_by=1), refused=("idf.json", MODULES)),
    Row("settings without modules", then(plain("bert"), lambda f: edit(
        f / SETTINGS, prompts={"query": "cat "})), refused=(SETTINGS, "prompts")),
    Row("a length without modules", then(plain("bert"), lambda f: edit(
        f / LENGTHS, max_seq_length=16)), refused=(LENGTHS, "max_seq_length")),
]
