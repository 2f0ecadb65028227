"""The texts of a corpus, stored here and in Lucene -> bytes a text, and microseconds to read one.

    python benchmarks/texts.py --corpus corpus.jsonl --output bench/texts

Both are read from Python, in the same random order, by id: the id is looked up, then the text is
read. Lucene's times have its Java calls in them, which a search there has too. Each number is the
median of the rounds; the files are in the system's cache.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click
from timing import timed

from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.collection.stored_texts import open_texts, write_texts
from spladev3_anserini.lucene.check import open_folder
from spladev3_anserini.lucene.jvm import java_class, start_jvm

_LUCENE = "org.apache.lucene"
_MODES = ("BEST_SPEED", "BEST_COMPRESSION")


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--corpus", required=True, help="The documents.")
@click.option("--output", type=click.Path(path_type=Path), required=True,
              help="A new folder for the files.")
@click.option("--reads", default=2000, show_default=True, help="Texts that are read.")
@click.option("--rounds", default=5, show_default=True, help="How often they are read.")
def main(corpus: str, output: Path, reads: int, rounds: int) -> None:
    """Stores and reads the texts, and prints a line of JSON for each way."""
    texts = {document.id: document.text for document in read_corpus(corpus)}
    asked = random.Random(0).choices(list(texts), k=reads)
    size = sum(len(text.encode()) for text in texts.values())
    start_jvm()
    for name in ("here", *_MODES):
        folder = output / name
        folder.mkdir(parents=True)
        seconds, _ = timed(write_texts, folder, texts.items()) if name == "here" else timed(
            store_in_lucene, texts, folder, name)
        read = opened_here(folder) if name == "here" else opened_by_lucene(folder)
        assert all(read(identifier) == texts[identifier] for identifier in asked), name
        each = [timed(read_all, read, asked)[0] / reads * 1e6 for _ in range(rounds)]
        kept = sum(path.stat().st_size for path in folder.iterdir())
        click.echo(json.dumps({
            "way": name, "documents": len(texts), "bytes_of_text": size, "bytes": kept,
            "bytes_a_text": round(kept / len(texts), 1), "share": round(kept / size, 3),
            "seconds_to_write": round(seconds, 2), "microseconds_a_text": round(median(each), 1)}))
        shutil.rmtree(folder)


def read_all(read: Callable[[str], str], asked: Sequence[str]) -> None:
    """Reads texts one after the other."""
    for identifier in asked:
        read(identifier)


def opened_here(folder: Path) -> Callable[[str], str]:
    """Returns what reads a text that this package stored."""
    texts = open_texts(folder)
    assert texts is not None
    return texts.text


def store_in_lucene(texts: dict[str, str], folder: Path, mode: str) -> None:
    """Stores ids and texts as fields of Lucene, with one of its two compressions."""
    config = java_class(f"{_LUCENE}.index.IndexWriterConfig")()
    modes = java_class(f"{_LUCENE}.codecs.lucene99.Lucene99Codec$Mode")
    config.setCodec(java_class(f"{_LUCENE}.codecs.lucene99.Lucene99Codec")(
        getattr(modes, mode)))
    writer = java_class(f"{_LUCENE}.index.IndexWriter")(open_folder(folder), config)
    yes = java_class(f"{_LUCENE}.document.Field$Store").YES
    for identifier, text in texts.items():
        document = java_class(f"{_LUCENE}.document.Document")()
        document.add(java_class(f"{_LUCENE}.document.StringField")("id", identifier, yes))
        document.add(java_class(f"{_LUCENE}.document.StoredField")("contents", text))
        writer.addDocument(document)
    writer.forceMerge(1)
    writer.close()


def opened_by_lucene(folder: Path) -> Callable[[str], str]:
    """Returns what reads a text that Lucene stored."""
    reader: Any = java_class(f"{_LUCENE}.index.DirectoryReader").open(open_folder(folder))
    utils = java_class("io.anserini.index.IndexReaderUtils")

    def read(identifier: str) -> str:
        number = int(utils.convertDocidToLuceneDocid(reader, identifier))
        return str(reader.storedFields().document(number).get("contents"))

    return read


if __name__ == "__main__":
    main()
