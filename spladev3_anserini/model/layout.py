"""A model's folder -> how it weights documents and how queries, as its files state it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json
from spladev3_anserini.model.hub import PICKLE
from spladev3_anserini.model.loading import VOCABULARIES
from spladev3_anserini.model.module_list import (
    MODULES,
    ModuleEntry,
    module_names,
    read_modules,
    refuse_path_out,
)
from spladev3_anserini.model.query_tables import (
    TABLES,
    is_plain,
    read_weight_table,
    static_table,
)
from spladev3_anserini.model.stated import (
    ANY,
    UNLIMITED,
    Allowed,
    Length,
    TransformerSettings,
    position_length,
    read_pooling,
    read_prompts,
    read_transformer,
    refuse_left_padding,
    refuse_unapplied,
    refuse_without_modules,
    require_model_type,
    tokenizer_length,
)
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.model.variants import Pooling, QueryMode
from spladev3_anserini.model.weights import read_as, refuse_elsewhere

ROUTER = "router_config.json"
#: This package writes it beside weights, because the files of -lexical and v3 do not differ.
VARIANT_NOTE = "spladev3.json"
_ENCODERS = ("Transformer", "MLMTransformer")
_POOLING, _STATIC = "SpladePooling", "SparseStaticEmbedding"
#: Architectures that may pad at the left: positions are relative, or count only tokens.
_ANY_PADDING = (
    "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "ibert", "xmod", "longformer",
    "roberta-prelayernorm", "data2vec-text", "modernbert", "eurobert", "roformer", "nomic_bert",
    "jina_embeddings_v3")
_ROUTE_KEYS: Allowed = {"default_route": ANY, "allow_empty_key": ANY}


class Side(NamedTuple):
    """How one side, documents or queries, is weighted.

    Attributes:
        folder: The folder with the masked language model's config and weights.
        tokenizer: The folder with the vocabulary.
        pooling: How token logits become term weights.
        length: The length in tokens that the files state, if they state one.
        lower_case: Whether the files ask for lower-case text besides the tokenizer's own rules.
        prompt: What is put before each text.
    """

    folder: Path
    tokenizer: Path
    pooling: Pooling = Pooling()
    length: Length | None = None
    lower_case: bool = False
    prompt: str = ""

    def load_tokenizer(self) -> Tokenizer:
        """Loads the tokenizer, which lower-cases texts if the files ask for it."""
        return Tokenizer(self.tokenizer, lower_case=self.lower_case)


class Layout(NamedTuple):
    """The two sides of a model.

    `mode` is how its files say that queries are weighted, None if they do not say it. `table` is
    the file with a weight per query term, if there is one. `folders` are the model's own folder,
    first, and those of its modules.
    """

    document: Side
    query: Side
    mode: QueryMode | None = None
    table: Path | None = None
    folders: tuple[Path, ...] = ()


class _Router(BaseModel):
    model_config = ConfigDict(extra="allow")
    types: dict[str, str]
    structure: dict[str, list[str]]
    parameters: dict[str, Any] = {}


def read_layout(root: Path, *, pickles: bool = False) -> Layout:
    """Reads a model's layout: that of transformers, or of sentence-transformers (`modules.json`).

    In the latter a Router may separate the document side from the query side. With `pickles` its
    table of query weights may be a pickle, which is not read, so that `mode` may stay None.

    Raises:
        InputError: A file is missing or invalid, or states a setting that is not applied here.
    """
    refuse_elsewhere(root)
    prompts = read_prompts(root)
    modules = read_modules(root)
    if "Router" in [module.kind for module in modules]:
        if modules[0].path or not (root / ROUTER).exists():
            raise InputError(f"{root / MODULES}: names a Router, but there is no {root / ROUTER}")
        router = read_as(_Router, root / ROUTER)
        layout = _routed(root, router, pickles)
        paths = [path for route in router.structure.values() for path in route]
    elif (root / ROUTER).exists():
        raise InputError(f"{root / ROUTER}: states a query side, but {MODULES} names no Router")
    else:
        layout = _unrouted(root, modules)
        paths = [module.path for module in modules]
    if modules:
        require_model_type(root)
    elif not (root / VARIANT_NOTE).exists():
        refuse_without_modules(root)
    folders = tuple(dict.fromkeys([root, *(root / path for path in paths)]))
    return layout._replace(folders=folders,
                           document=layout.document._replace(prompt=prompts.document),
                           query=layout.query._replace(prompt=prompts.query))


def _unrouted(root: Path, modules: Sequence[ModuleEntry]) -> Layout:
    """One model for both sides. A table of query weights beside plain weights is the query side,
    as in models from before sentence-transformers had a module for it."""
    side = _encoder(root, modules, root / MODULES) if modules else _plain(root)
    tables = [path for path in _tables(root, side) if path.exists()]
    if not tables:
        return Layout(side, side)
    if modules:
        raise InputError(f"{tables[0]}: weights the terms of queries by a table, but {MODULES} "
                         "says that the model expands them; take one of the two out")
    _refuse_differing(tables, side)
    return Layout(side, side, "static", tables[0])


def _routed(root: Path, router: _Router, pickles: bool) -> Layout:
    """The layout of a model with a document side and a query side.

    Queries may be encoded as documents are, by a model of their own, or by a table with a weight
    for each of their wordpieces: alone, or times the weights of the document side.
    """
    path = root / ROUTER
    refuse_unapplied(path, router.model_extra or {}, {})
    refuse_unapplied(path, router.parameters, _ROUTE_KEYS)
    if router.structure.keys() != {"query", "document"}:
        raise InputError(f"{path}: structure: has routes {', '.join(router.structure)[:60]}; "
                         "expected query and document")
    sides = {side: [ModuleEntry(path=part, type=router.types.get(part, "")) for part in parts]
             for side, parts in router.structure.items()}
    for module in sides["query"]:
        refuse_path_out(root, module.path, path)
    document, queries = _encoder(root, sides["document"], path), sides["query"]
    if queries == sides["document"]:
        return _with_tables(root, Layout(document, document, "expand"))
    if not queries or queries[-1].kind != _STATIC:
        if [module.kind for module in queries] not in ([kind, _POOLING] for kind in _ENCODERS):
            raise InputError(f"{path}: structure: queries are encoded by {module_names(queries)}, "
                             "which is not applied here")
        query = _encoder(root, queries, path)
        _refuse_other_tokenizer(query, document, path)
        return _with_tables(root, Layout(document, query, "expand"))
    if queries[:-1] not in ([], sides["document"]):
        raise InputError(f"{path}: structure: queries are encoded by {module_names(queries)}, "
                         "which is not applied here")
    static = root / queries[-1].path
    table, query = static_table(static, pickles=pickles), document
    if not queries[:-1]:
        query = Side(document.folder, static, length=tokenizer_length(static) or Length(
            UNLIMITED, static / "tokenizer_config.json", "model_max_length"))
        _refuse_other_tokenizer(query, document, path)
    if table.name == PICKLE:
        return Layout(document, query, "lexical" if queries[:-1] else None, table)
    plain = is_plain(table, query.tokenizer)
    mode: QueryMode = "lexical" if queries[:-1] else "bow" if plain else "static"
    return _with_tables(root, Layout(document, query, mode, None if plain else table))


def _encoder(root: Path, modules: Sequence[ModuleEntry], source: Path) -> Side:
    """A masked language model and its SpladePooling; raises InputError for any other modules.

    `source` is the file that names the modules.
    """
    for module in modules:
        refuse_path_out(root, module.path, source)
        if module.kind not in (*_ENCODERS, _POOLING, _STATIC):
            raise InputError(f"{source}: type: has a module {(module.kind or module.type)[:80]!r} "
                             "that is not applied here; without it the weights would differ")
    kinds = [module.kind for module in modules]
    if len(kinds) != 2 or kinds[0] not in _ENCODERS or kinds[1] != _POOLING:
        raise InputError(f"{source}: type: encodes documents by {', '.join(kinds) or 'no module'}; "
                         f"expected a masked language model and {_POOLING}")
    folder, pooling = root / modules[0].path, root / modules[1].path / "config.json"
    how = read_pooling(pooling, shared=pooling.parent == folder)
    settings = _checked(root, folder)
    if modules[0].kind == "Transformer" and not settings.task:
        raise InputError(f"{folder / 'sentence_bert_config.json'}: transformer_task: does not say "
                         "fill-mask, so the Transformer has no head for the vocabulary")
    limits = [limit for limit in (tokenizer_length(folder), position_length(folder)) if limit]
    return Side(folder, folder, how, settings.length or min(limits, default=None),
                settings.lower_case)


def _plain(root: Path) -> Side:
    """A masked language model as transformers saves it."""
    settings = _checked(root, root)
    return Side(root, root, length=settings.length, lower_case=settings.lower_case)


def _checked(root: Path, folder: Path) -> TransformerSettings:
    """Checks the small files of an encoder's folder; returns the settings that they state."""
    refuse_elsewhere(folder)
    settings = read_transformer(folder)
    config = folder / "config.json"
    kind = read_json(config, dict).get("model_type") if config.exists() else None
    if kind is None:
        raise InputError(f"{root}: no config.json of a masked language model in it")
    if not isinstance(kind, str):
        raise InputError(f"{config}: model_type: expected a name")
    _refuse_without_tokenizer(folder)
    if kind not in _ANY_PADDING:
        refuse_left_padding(folder)
    return settings


def _refuse_without_tokenizer(folder: Path) -> None:
    """Raises InputError if there is no vocabulary beside a model: sentence-transformers does not
    read one above a module's folder, but makes one without words."""
    if not any((folder / name).exists() for name in VOCABULARIES):
        raise InputError(f"{folder}: no tokenizer ({', '.join(VOCABULARIES)})")


def _tables(root: Path, side: Side) -> list[Path]:
    folders: Mapping[Path, None] = dict.fromkeys([root, side.folder])
    return [folder / name for folder in folders for name in TABLES]


def _with_tables(root: Path, layout: Layout) -> Layout:
    """The layout of a Router; raises InputError for a table beside it that says otherwise."""
    for path in _tables(root, layout.document):
        if path.exists():
            if layout.table is None:
                raise InputError(f"{path}: weights the terms of queries by a table, but {ROUTER} "
                                 "does not; take one of the two out")
            _refuse_differing([layout.table, path], layout.query)
    return layout


def _refuse_differing(tables: Sequence[Path], side: Side) -> None:
    """Raises InputError if tables do not hold the same weights."""
    terms = side.load_tokenizer().terms
    first = read_weight_table(tables[0], terms)
    for other in tables[1:]:
        if not (read_weight_table(other, terms) == first).all():
            raise InputError(f"{other}: has other weights than {tables[0]}; take one of them out")


def _refuse_other_tokenizer(query: Side, document: Side, source: Path) -> None:
    if query.tokenizer == document.tokenizer:
        return
    hashes = [side.load_tokenizer().sha256
              for side in (query, document)]
    if hashes[0] != hashes[1]:
        raise InputError(f"{source}: structure: queries have another tokenizer than documents "
                         f"({query.tokenizer.name}), which is not applied here")
