"""An encoded directory and its corpus -> the texts that were encoded, compared by their hashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from spladev3_anserini.collection.addresses import shown_source
from spladev3_anserini.collection.corpus import CorpusDigest, hash_of, read_corpus
from spladev3_anserini.collection.corpus_file import Document, Rejects
from spladev3_anserini.collection.records import id_hash
from spladev3_anserini.encoding.passages import splitter_of
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.manifest import Manifest, Shard
from spladev3_anserini.impacts.shards import IMPACTS, read_manifest, read_shard


def texts_of_encoding(encoded: Path, corpus: str | None = None,
                      shards: Sequence[Shard] | None = None) -> Iterator[tuple[str, str]]:
    """Yields the ids and texts of an encoded directory; see `texts_of_manifest`.

    Without `corpus`, texts that `encode` wrote into the shards are read from there.
    """
    manifest = read_manifest(encoded)
    documents = None
    if manifest.fingerprint.contents and corpus is None:
        documents = _texts_in_shards(encoded, manifest)
    return texts_of_manifest(manifest, encoded, corpus, shards, documents)


def texts_of_manifest(manifest: Manifest, folder: Path, corpus: str | None = None,
                      shards: Sequence[Shard] | None = None,
                      documents: Iterator[Document] | None = None) -> Iterator[tuple[str, str]]:
    """Yields the ids and texts that were encoded, in the order of the corpus.

    Memory holds the texts of one shard, whose hash is compared before the first one is yielded. Of
    documents that were encoded as passages, the passages are yielded.

    Args:
        manifest: The manifest of the whole encoding.
        folder: The folder that has the manifest, for messages.
        corpus: Where the corpus is now; None is where it was when it was encoded.
        shards: Only yield the texts of these shards, which follow one another.
        documents: What was encoded, from its shards; None reads the corpus.

    Raises:
        InputError: There is no corpus, or its texts are not those that were encoded; and as
            `read_corpus`.
    """
    source = shown_source(corpus or manifest.input)
    divided = None if documents else splitter_of(manifest)
    texts = documents or _texts_of_corpus(manifest, folder, corpus)
    wanted = {shard.name for shard in (manifest.shards if shards is None else shards)}
    for shard in manifest.shards:
        if not wanted:
            return
        block = (_documents_of_shard(texts, shard, manifest.fingerprint.shard_size) if divided
                 else list(islice(texts, shard.documents)))
        if shard.name not in wanted:
            continue
        wanted.remove(shard.name)
        if hash_of(block) != shard.texts and not (documents and manifest.fingerprint.passages):
            raise InputError(f"{block[0].where if block else source}: the texts from here on are "
                             f"not those that {folder} was encoded from; give its own corpus as "
                             "`corpus`, or encode it again")
        if divided:
            block, _ = divided(block)
        yield from ((document.id, document.text) for document in block)
    if more := next(texts, None):
        raise InputError(f"{more.where}: is more than {folder} was encoded from; give its own "
                         "corpus as `corpus`, or encode it again")


def _documents_of_shard(texts: Iterator[Document], shard: Shard, most: int) -> list[Document]:
    """Reads the documents of a shard of passages: up to the one that completes their hash."""
    block: list[Document] = []
    digest = CorpusDigest()
    for document in islice(texts, most):
        block.append(digest.add(document))
        if digest.hexdigest() == shard.texts:
            break
    return block


def _texts_in_shards(encoded: Path, manifest: Manifest) -> Iterator[Document]:
    for shard in manifest.shards:
        path = encoded / IMPACTS / shard.name
        if manifest.fingerprint.passages and sha256_of(path) != shard.sha256:
            # the hash of the texts is that of the documents
            raise InputError(f"{path}: changed since it was written (sha256); encode it again")
        for number, document in enumerate(read_shard(path), 1):
            yield Document(document.id, document.contents, f"{path}:{number}")


def _texts_of_corpus(manifest: Manifest, folder: Path, corpus: str | None) -> Iterator[Document]:
    """Yields the documents of the corpus as they were planned.

    Bad lines and repeated ids were left out, if the manifest counts any.
    """
    texts = read_corpus(corpus or manifest.input, Rejects() if manifest.rejected else None)
    seen: set[int] = set()
    try:
        first = next(texts, None)
    except InputError as error:
        if corpus:
            raise
        raise InputError(f"{folder} names its corpus, but {error}; give its place as "
                         "`corpus`") from None
    for document in chain([] if first is None else [first], texts):
        if manifest.rejected:
            if (own := id_hash(document.id)) in seen:
                continue
            seen.add(own)
        yield document
