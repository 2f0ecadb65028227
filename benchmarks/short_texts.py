"""Lists of packages -> half a million real short texts, and queries of the same kind.

    python benchmarks/short_texts.py --output bench/short '/var/lib/apt/lists/*Packages*' pypi.tsv

A text is the summary of a package. A list is Debian's (lines `Description: ...`; plain, .gz or
.lz4), or a table with tabs whose last column is the summary. No text is in it twice, and the order
is that of the texts' sha256. So the same lists give the same files, and queries are held out at
random.
"""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from glob import glob
from hashlib import sha256
from pathlib import Path

import click

DOCUMENTS, QUERIES = 500_000, 500
#: Characters: the shortest text, and the longest query, which is like a title.
SHORTEST, TITLE = 20, 60


@click.command(help=(__doc__ or "").splitlines()[0])
@click.argument("lists", nargs=-1, required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True,
              help="The folder for corpus.jsonl and topics.tsv.")
def main(lists: Sequence[str], output: Path) -> None:
    """Writes the corpus and the topics, and prints how many texts they have."""
    files = [Path(name) for pattern in lists for name in sorted(glob(pattern))]
    queries, documents = divided(text for file in files for text in summaries(file))
    output.mkdir(parents=True, exist_ok=True)
    (output / "corpus.jsonl").write_text("".join(
        json.dumps({"id": f"p{number}", "contents": text}) + "\n"
        for number, text in enumerate(documents)), "utf-8")
    (output / "topics.tsv").write_text("".join(
        f"q{number}\t{text}\n" for number, text in enumerate(queries)), "utf-8")
    click.echo(f"{len(documents):,} documents and {len(queries):,} queries of {len(files)} lists")


def summaries(file: Path) -> Iterator[str]:
    """Yields the summaries of a list, with single spaces."""
    content = file.read_bytes()
    if file.suffix == ".lz4":
        content = subprocess.run(["lz4", "-dc"], input=content, capture_output=True,
                                 check=True).stdout
    lines = (gzip.decompress(content) if file.suffix == ".gz" else content).decode().split("\n")
    for line in lines:
        head, _, text = line.partition(": ") if "\t" not in line else line.rpartition("\t")
        if "\t" in line or head == "Description":
            yield " ".join(text.split())


def divided(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Returns at most QUERIES queries and DOCUMENTS documents, which have no text in common."""
    distinct = sorted((text for text in set(texts) if len(text) >= SHORTEST),
                      key=lambda text: sha256(text.encode()).digest())
    queries = [text for text in distinct if len(text) <= TITLE][:QUERIES]
    held_out = set(queries)
    return queries, [text for text in distinct if text not in held_out][:DOCUMENTS]


if __name__ == "__main__":
    main()
