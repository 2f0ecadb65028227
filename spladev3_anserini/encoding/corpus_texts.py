"""An encoded directory and its corpus -> the texts that were encoded, compared by their hashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from spladev3_anserini.collection.addresses import shown_source
from spladev3_anserini.collection.corpus import CorpusDigest, hash_of, read_corpus
from spladev3_anserini.collection.corpus_file import Document, Rejects
from spladev3_anserini.collection.records import id_hash
from spladev3_anserini.encoding.passages import PassageSplitter
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import Fingerprint, Manifest, Shard
from spladev3_anserini.impacts.shards import IMPACTS, read_manifest, read_shard, verify_shards
from spladev3_anserini.model.checkpoint import open_checkpoint


def texts_of_encoding(encoded: Path, corpus: str | None = None,
                      shards: Sequence[Shard] | None = None) -> Iterator[tuple[str, str]]:
    """Yields the ids and texts of an encoded directory; see `texts_of_manifest`.

    Without `corpus`, texts that `encode` wrote into the shards are read from there.
    """
    manifest = read_manifest(encoded)
    if not manifest.fingerprint.contents or corpus is not None:
        yield from texts_of_manifest(manifest, encoded, corpus, shards)
        return
    verify_shards(encoded, manifest, shards)
    for shard in manifest.shards if shards is None else shards:
        for document in read_shard(encoded / IMPACTS / shard.name):
            yield document.id, document.contents


def texts_of_manifest(manifest: Manifest, folder: Path, corpus: str | None = None,
                      shards: Sequence[Shard] | None = None) -> Iterator[tuple[str, str]]:
    """Yields the ids and texts that were encoded, in the order of the corpus.

    If passages were encoded, the documents are divided again, by the tokenizer of the model. Memory
    holds the texts of one shard, whose hash is compared before the first one is yielded.

    Args:
        manifest: The manifest of the whole encoding.
        folder: The folder that has the manifest, for messages.
        corpus: Where the corpus is now; None is where it was when it was encoded.
        shards: Only yield the texts of these shards, which follow one another.

    Raises:
        InputError: There is no corpus, or its texts are not those that were encoded; and as
            `read_corpus`.
    """
    texts, split = _texts_of_corpus(manifest, folder, corpus), _splitter(manifest)
    wanted = {shard.name for shard in (manifest.shards if shards is None else shards)}
    for shard in manifest.shards:
        if not wanted:
            return
        documents = _documents_of(texts, shard, manifest.fingerprint)
        if shard.name not in wanted:
            continue
        wanted.remove(shard.name)
        if hash_of(documents) != shard.texts:
            where = documents[0].where if documents else shown_source(corpus or manifest.input)
            raise InputError(f"{where}: the texts from here on are not those that {folder} was "
                             "encoded from; give its own corpus as `corpus`, or encode it again")
        passages = split(documents)[0] if split else documents
        yield from ((passage.id, passage.text) for passage in passages)
    if more := next(texts, None):
        raise InputError(f"{more.where}: is more than {folder} was encoded from; give its own "
                         "corpus as `corpus`, or encode it again")


def _documents_of(texts: Iterator[Document], shard: Shard, encoding: Fingerprint) -> list[Document]:
    """Reads the documents of a shard; of one of passages, up to that which completes their hash."""
    if encoding.passages is None:
        return list(islice(texts, shard.documents))
    documents: list[Document] = []
    digest = CorpusDigest()
    for document in islice(texts, encoding.shard_size):
        documents.append(digest.add(document))
        if digest.hexdigest() == shard.texts:
            break
    return documents


def _splitter(manifest: Manifest) -> PassageSplitter | None:
    """What divided the documents; raises InputError if the model's tokenizer is another one now."""
    encoding = manifest.fingerprint
    if encoding.passages is None:
        return None
    side = open_checkpoint(manifest.model_name).of("document").settings
    tokenizer = side.load_tokenizer()
    if tokenizer.sha256 != encoding.tokenizer:
        raise InputError(f"{manifest.model_name}: has another tokenizer than the one that divided "
                         "the documents into passages; encode them again")
    return PassageSplitter(tokenizer, side.prompt, encoding.passages)


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
