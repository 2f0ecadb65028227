"""Impact documents, or several indexes -> a Lucene index, by an IndexWriter in this process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.shards import ImpactDocument
from spladev3_anserini.impacts.terms import MAX_TERM_LENGTH
from spladev3_anserini.lucene.check import open_folder
from spladev3_anserini.lucene.jvm import java_class, java_errors
from spladev3_anserini.progress import counter

_LUCENE = "org.apache.lucene"
#: Megabytes of postings that are collected before Lucene writes them as a segment, but at most a
#: quarter of Java's memory.
_BUFFER = 512
#: Documents that are indexed before another thread may call Java.
_BATCH = 64
#: Characters between a term and its impact: the first that is in no term of a document is taken.
#: Unicode gives these no meaning, so the first nearly always is.
_PRIVATE = tuple(map(chr, range(0xE000, 0xF900)))


def write_index(documents: Iterable[ImpactDocument], index: Path, total: int, *,
                optimize: bool) -> None:
    """Writes the Lucene index that Anserini's IndexCollection would write, several times faster.

    Anserini repeats each term as often as its impact says. Here Lucene reads the impact as the
    frequency of the term. Fields and statistics are the same. Documents without a term are left
    out, the others are numbered in their order.

    Args:
        documents: The impact documents.
        index: The index's folder, which exists.
        total: The number of documents with a term, for the progress bar.
        optimize: Merge the index into one segment.

    Raises:
        InputError: Lucene refuses a document, or the disk is full.
        JavaError: Java failed.
    """
    what = f"{index}: Lucene cannot write it"
    with java_errors(what):
        writer = _open_writer(index)
    try:
        with counter("indexing", total) as bar:
            some = (document for document in documents if document.vector)
            while batch := list(islice(some, _BATCH)):
                with java_errors(what):
                    for identifier, _, vector in batch:
                        writer.addDocument(_filled(identifier, vector))
                bar.update(len(batch))
        with java_errors(what):
            if optimize:
                writer.forceMerge(1)
            writer.close()
    except BaseException:
        with java_errors(what):
            writer.rollback()
        raise


def join_indexes(parts: Sequence[Path], index: Path, *, optimize: bool) -> None:
    """Writes the documents of several Lucene indexes as one, by copying their segments.

    Args:
        parts: The folders of the indexes.
        index: The new index's folder, which exists.
        optimize: Merge the index into one segment.

    Raises:
        InputError: Lucene refuses an index, or the disk is full.
        JavaError: Java failed.
    """
    what = f"{index}: Lucene cannot write it"
    with java_errors(what):
        writer = _open_writer(index)
        folders: list[Any] = []
        try:
            folders.extend(map(open_folder, parts))
            writer.addIndexes(*folders)
            if optimize:
                writer.forceMerge(1)
            writer.close()
        except BaseException:
            writer.rollback()
            raise
        finally:
            for folder in folders:
                folder.close()


def _open_writer(index: Path) -> Any:
    """Opens the writer of a new index, configured as Anserini configures it."""
    settings = java_class(f"{_LUCENE}.index.IndexWriterConfig")()
    settings.setSimilarity(java_class("io.anserini.search.similarity.ImpactSimilarity")())
    settings.setUseCompoundFile(False)
    memory = int(java_class("java.lang.Runtime").getRuntime().maxMemory()) >> 20
    settings.setRAMBufferSizeMB(float(max(1, min(_BUFFER, memory // 4))))
    return java_class(f"{_LUCENE}.index.IndexWriter")(open_folder(index), settings)


class _Fields(NamedTuple):
    """Java's objects for a document, which are filled anew for each."""

    identifier: Any
    identifier_value: Any
    tokenizer: Any
    reader: Any
    document: Any


def _filled(identifier: str, vector: Mapping[str, int]) -> Any:
    """Returns a document of Lucene, valid until the next call."""
    between = _PRIVATE[0]
    joined = "".join(vector)
    if between in joined:
        between = next((character for character in _PRIVATE if character not in joined), "")
        if not between:
            raise InputError(f"the document {identifier!r}: its terms have all characters of "
                             "Unicode's private use, and Lucene needs one of them; pass "
                             "`anserini_threads`")
    fields = _fields(between)
    fields.identifier.setStringValue(identifier)
    fields.identifier_value.setBytesValue(fields.identifier.binaryValue())
    text = " ".join([f"{term}{between}{impact}" for term, impact in vector.items()])
    fields.tokenizer.setReader(fields.reader(text))
    return fields.document


@cache
def _fields(between: str) -> _Fields:
    """Returns the fields that Anserini makes, with `between` between a term and its impact."""
    from jnius import cast

    identifier = java_class(f"{_LUCENE}.document.StringField")(
        "id", "", java_class(f"{_LUCENE}.document.Field$Store").YES)
    value = java_class(f"{_LUCENE}.document.BinaryDocValuesField")(
        "id", java_class(f"{_LUCENE}.util.BytesRef")(b""))
    # the longest token is a term, a character and an impact of five digits
    tokenizer = java_class(f"{_LUCENE}.analysis.core.WhitespaceTokenizer")(MAX_TERM_LENGTH + 6)
    tokens = java_class(f"{_LUCENE}.analysis.miscellaneous.DelimitedTermFrequencyTokenFilter")(
        tokenizer, between)
    kind = java_class(f"{_LUCENE}.document.FieldType")()
    kind.setIndexOptions(java_class(f"{_LUCENE}.index.IndexOptions").DOCS_AND_FREQS)
    # without the cast, pyjnius would choose another constructor
    contents = java_class(f"{_LUCENE}.document.Field")(
        "contents", cast(f"{_LUCENE}.analysis.TokenStream", tokens), kind)
    document = java_class("java.util.ArrayList")()
    for field in (identifier, value, contents):
        document.add(field)
    return _Fields(identifier, value, tokenizer, java_class("java.io.StringReader"), document)
