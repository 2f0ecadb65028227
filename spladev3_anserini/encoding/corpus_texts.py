"""An encoded directory and its corpus -> the texts that were encoded, compared by their hashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from spladev3_anserini.collection.addresses import shown_source
from spladev3_anserini.collection.corpus import hash_of, read_corpus
from spladev3_anserini.collection.corpus_file import Document, Rejects
from spladev3_anserini.collection.records import id_hash
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import Manifest, Shard
from spladev3_anserini.impacts.shards import IMPACTS, read_manifest, read_shard


def texts_of_encoding(encoded: Path, corpus: str | None = None,
                      shards: Sequence[Shard] | None = None) -> Iterator[tuple[str, str]]:
    """Yields the ids and texts that were encoded, in the order of the corpus.

    The corpus is read, or the shards where `encode` wrote the texts into them. Memory holds the
    texts of one shard, whose hash is compared before the first of them is yielded.

    Args:
        encoded: The encoded directory.
        corpus: Where the corpus is now; None is where it was when it was encoded.
        shards: Only yield the texts of these shards, which follow one another.

    Raises:
        InputError: There is no corpus, or its texts are not those that were encoded; and as
            `read_corpus`.
    """
    manifest = read_manifest(encoded)
    wanted = {shard.name for shard in (manifest.shards if shards is None else shards)}
    if manifest.fingerprint.contents and corpus is None:
        source, texts = str(encoded), _texts_in_shards(encoded, manifest)
    else:
        source = shown_source(manifest.input if corpus is None else corpus)
        texts = _texts_of_corpus(encoded, manifest, corpus)
    left = len(wanted)
    for shard in manifest.shards:
        if not left:
            return
        block = list(islice(texts, shard.documents))
        if shard.name not in wanted:
            continue
        if hash_of(block) != shard.texts:
            raise InputError(f"{block[0].where if block else source}: the texts from here on are "
                             f"not those that {encoded} was encoded from; give its own corpus as "
                             "`corpus`, or encode it again")
        yield from ((document.id, document.text) for document in block)
        left -= 1
    if more := next(texts, None):
        raise InputError(f"{more.where}: is more than {encoded} was encoded from; give its own "
                         "corpus as `corpus`, or encode it again")


def _texts_in_shards(encoded: Path, manifest: Manifest) -> Iterator[Document]:
    for shard in manifest.shards:
        path = encoded / IMPACTS / shard.name
        for number, document in enumerate(read_shard(path), 1):
            yield Document(document.id, document.contents, f"{path}:{number}")


def _texts_of_corpus(encoded: Path, manifest: Manifest, corpus: str | None) -> Iterator[Document]:
    """Yields the documents of the corpus as they were planned: bad lines were left out only if
    the manifest counts some, and so were repeated ids."""
    texts = read_corpus(manifest.input if corpus is None else corpus,
                        Rejects() if manifest.rejected else None)
    try:
        texts = texts if corpus else chain([next(texts)], texts)
    except StopIteration:
        return
    except InputError as error:
        raise InputError(f"{encoded} names its corpus, but {error}; give its place as "
                         "`corpus`") from None
    seen: set[int] = set()
    for document in texts:
        if manifest.rejected:
            if (own := id_hash(document.id)) in seen:
                continue
            seen.add(own)
        yield document
