"""A document of an index -> its text and its terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.analysis.explanation import distinct_wordpieces
from spladev3_anserini.collection.stored_texts import open_texts
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import IndexManifest
from spladev3_anserini.impacts.query import by_impact, term_rows
from spladev3_anserini.lucene.check import has_texts, read_index_manifest, refusing_replacement
from spladev3_anserini.lucene.opening import open_postings
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.progress import warn
from spladev3_anserini.text import counted, table


class IndexedDocument(NamedTuple):
    """A document of an index.

    `text` is None if the index keeps no texts. `impacts` are by impact descending. `own` are those
    of its terms that are wordpieces of the text, all others are expansion; None if it is not known.
    """

    docid: str
    text: str | None
    impacts: dict[str, int]
    own: frozenset[str] | None


def read_document(index: Path, docid: str, *, trust: bool = False) -> IndexedDocument:
    """Reads a document of an index; no model runs, only its tokenizer.

    Args:
        index: The index's folder.
        docid: The document's id.
        trust: Do not compare the sha256 of the index's files.

    Raises:
        InputError: There is no such index or document, or as `read_index_manifest`.
    """
    with refusing_replacement(index):
        record = read_index_manifest(index, trust=trust)
        with open_postings(index) as postings:
            impacts = dict(by_impact(postings.vector(docid)))
        texts = open_texts(index) if has_texts(record) else None
        text = texts.text(docid) if texts else None
    own = None if text is None or record is None else _own_terms(record, text)
    return IndexedDocument(docid, text, impacts, None if own is None else own & impacts.keys())


def _own_terms(record: IndexManifest, text: str) -> frozenset[str] | None:
    """The wordpieces of a text by the index's own tokenizer; None, with a warning, without it."""
    encoding = record.encoded.fingerprint
    try:
        checkpoint = open_checkpoint(record.encoded.model_name)
        tokenizer = checkpoint.of("document").settings.load_tokenizer()
        if tokenizer.sha256 != encoding.tokenizer:
            raise InputError(f"{record.encoded.model_name}: has another tokenizer now")
    except InputError as error:
        warn(f"expansion is not marked: {error}")
        return None
    return frozenset(distinct_wordpieces(tokenizer, text, encoding.max_length))


def document_as_json(document: IndexedDocument) -> dict[str, Any]:
    """Returns a document for JSON."""
    return {"docid": document.docid, "text": document.text,
            "impacts": term_rows(document.impacts, document.own)}


def document_text(document: IndexedDocument, limit: int) -> str:
    """Formats a document's text and the `limit` largest of its terms, where + marks expansion."""
    own = document.own
    rows = [["" if own is None or term in own else "+", term, f"{impact}"]
            for term, impact in list(document.impacts.items())[:limit]]
    lines = [] if document.text is None else [document.text, ""]
    count = len(document.impacts)
    new = "" if own is None else f", {count - len(own):,} of them of expansion"
    lines += [f"{document.docid}: {counted(count, 'term')}{new}"]
    lines += [table([["", "term", "impact"], *rows], words=2)] if rows else []
    if count > limit:
        lines.append(f"and {count - limit:,} more")
    return "\n".join(lines)
