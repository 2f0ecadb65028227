"""Encoded documents and queries -> the files that an engine loads, and their record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import output_file, sha256_of
from spladev3_anserini.impacts.encoded_queries import read_encoded_queries
from spladev3_anserini.impacts.manifest import IndexFile, Manifest, write_record
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.impacts.query_weights import QUERY_WEIGHTS
from spladev3_anserini.impacts.shards import IMPACTS, read_manifest, read_shard, verify_shards
from spladev3_anserini.lucene.publish import FRESH, publish, scratch_beside
from spladev3_anserini.progress import counter
from spladev3_anserini.servers.exactness import (
    Engine,
    chosen_form,
    chosen_storage,
    divisor_of,
    refuse_inexact_documents,
    refuse_inexact_queries,
)
from spladev3_anserini.servers.numbering import TermNumbers, model_vocabulary
from spladev3_anserini.servers.record import EXPORT, SETUP, ExportRecord, bulk_name, read_export
from spladev3_anserini.servers.table import engine_named
from spladev3_anserini.text import counted

#: The ids of the exported queries, a line each, in the order of the queries.
QUERY_IDS = "query_ids.txt"


def export_to(name: str, encoded: Path, output: Path, *, queries: Path | None = None,
              storage: str | None = None, query_form: str | None = None, hits: int = 1000,
              parts: int = 1, gzipped: bool = False, model: str | None = None,
              overwrite: bool = False) -> ExportRecord:
    """Writes the files that an engine loads; the folder appears when it is complete.

    Args:
        name: The engine; see `ENGINES`.
        encoded: The encoded directory of the documents, whose shards are verified first.
        output: The folder to write.
        queries: The encoded directory of queries to export too.
        storage: How the engine stores impacts; None is its default.
        query_form: The form of queries; None is the engine's default.
        hits: Documents per exported query.
        parts: The parts (shards) that the engine's index has.
        gzipped: Compress the bulk files.
        model: The model whose vocabulary numbers the terms; None is the one that `encoded` names.
        overwrite: Replace another export.

    Returns:
        The record of the export.

    Raises:
        InputError: The engine would not keep an impact or a score exact, does not take an id or a
            query, an input is damaged, or `output` is something else.
    """
    output = output.resolve() if output.is_symlink() else output  # never the link is replaced
    engine = engine_named(name)
    storage, form = chosen_storage(engine, storage), chosen_form(engine, query_form)
    if not 1 <= hits <= engine.most_hits:
        raise InputError(f"`hits` {hits}: {engine.title} takes 1 to {engine.most_hits:,} for one "
                         "exported query")
    documents = read_manifest(encoded)
    if documents.fingerprint.side != "document":
        raise InputError(f"{encoded}: holds encoded queries; give the documents")
    if not documents.nonempty:
        raise InputError(f"{encoded}: no document in it has any term; nothing to export")
    refuse_inexact_documents(engine, storage, documents, encoded)
    _refuse_occupied(output, encoded, queries, overwrite=overwrite)
    topics: list[EncodedTopic] = []
    asked: Manifest | None = None
    if queries is not None:
        if not queries.is_dir():
            raise InputError(f"{queries}: expected an encoded directory of topics")
        asked = read_manifest(queries)
        topics = read_encoded_queries(queries, encoded, documents)
        refuse_inexact_queries(engine, documents, topics, queries)
    verify_shards(encoded, documents)
    vocabulary = model_vocabulary(documents, model)
    largest = max((max(topic.query.values(), default=0) for topic in topics), default=0)
    divisor = divisor_of(engine, form, largest)
    with scratch_beside(output) as scratch:
        fresh = scratch / FRESH
        fresh.mkdir()  # with the user's umask; the scratch folder around it is for the user alone
        numbers = TermNumbers(vocabulary)
        with output_file(fresh / SETUP) as stream:
            stream.write(json.dumps(engine.setup(storage, parts), indent=1) + "\n")
        _write_documents(engine, encoded, documents, numbers, fresh, gzipped=gzipped)
        if topics:
            _write_queries(engine, topics, numbers, fresh, form, divisor, hits)
        numbers.write(fresh)
        files = tuple(IndexFile(name=path.name, size=path.stat().st_size, sha256=sha256_of(path))
                      for path in sorted(fresh.iterdir()))
        if documents.query_weights:
            shutil.copyfile(encoded / QUERY_WEIGHTS, fresh / QUERY_WEIGHTS)
        record = ExportRecord(
            engine=name, storage=storage, query_form=form, divisor=divisor,
            max_impact=documents.max_impact, max_query_impact=largest, hits=hits,
            model_ids=vocabulary is not None, gzip=gzipped, encoded=documents, queries=asked,
            files=files)
        write_record(record, fresh / EXPORT)
        publish(fresh, output)
    return record


def _refuse_occupied(output: Path, encoded: Path, queries: Path | None, *,
                     overwrite: bool) -> None:
    """Raises InputError if a folder may not be written: only an export is ever replaced."""
    if encoded.resolve() in output.resolve().parents:
        raise InputError(f"`output` {output}: is inside `encoded`; choose another name")
    for name, source in (("encoded", encoded), ("queries", queries)):
        if source is not None and output.resolve() in (own := source.resolve(), *own.parents):
            raise InputError(f"`{name}` {source}: is inside `output`, which would be replaced; "
                             "choose another name")
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / EXPORT).is_file():
        raise InputError(f"`output` {output}: exists and is no export; choose another name")
    known = {EXPORT, QUERY_WEIGHTS, *(file.name for file in read_export(output, only=()).files)}
    if foreign := sorted({path.name for path in output.iterdir()} - known):
        raise InputError(f"{output / foreign[0]}: is not of the export; move it away, as the "
                         "folder would be replaced")
    if not overwrite:
        raise InputError(f"`output` {output}: holds an export already; choose another name, or "
                         "`overwrite`")


def _write_documents(engine: Engine, encoded: Path, documents: Manifest, numbers: TermNumbers,
                     folder: Path, *, gzipped: bool) -> None:
    """Writes a bulk file for each shard. Documents without a term are left out; no query finds
    them. Raises InputError for an id that the engine does not take."""
    number = 0
    with counter("exporting", documents.documents) as bar:
        for part, shard in enumerate(documents.shards):
            path, before = encoded / IMPACTS / shard.name, number
            with output_file(folder / bulk_name(part, gzipped=gzipped)) as stream:
                for line, document in enumerate(read_shard(path), 1):
                    where = f"{path}:{line}"
                    if document.vector:
                        if engine.longest_id is not None:
                            _refuse_long_id(document.id, engine, where)
                        vector = numbers.number(document.vector, where)
                        stream.write(engine.document(number, part, document.id, vector))
                        number += 1
                    bar.update()
            if number - before != shard.nonempty:
                raise InputError(f"{path}: holds {counted(number - before, 'document')} with "
                                 f"terms, its manifest says {shard.nonempty:,}")


def _refuse_long_id(identifier: str, engine: Engine, where: str) -> None:
    most = engine.longest_id or 0
    if len(identifier) > most // 4 and (size := len(identifier.encode())) > most:
        raise InputError(f"{where}: the id {identifier[:40]!r}... has {size:,} bytes; "
                         f"{engine.title} takes {most}")


def _write_queries(engine: Engine, topics: list[EncodedTopic], numbers: TermNumbers, folder: Path,
                   form: str, divisor: int, hits: int) -> None:
    """Writes the queries that have a term, and their ids beside them."""
    with output_file(folder / engine.queries) as stream, \
            output_file(folder / QUERY_IDS) as names:
        for topic in topics:
            query = numbers.number({t: i for t, i in topic.query.items() if i > 0},
                                   f"the query {topic.id!r}")
            if query:
                body = engine.query(form, query, divisor, hits)
                line = json.dumps(body, separators=(",", ":"))
                stream.write(f"{engine.header}\n{line}\n" if engine.header else f"{line}\n")
                names.write(f"{topic.id}\n")
