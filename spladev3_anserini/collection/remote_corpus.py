"""The address of a corpus -> the files to read, in order."""

from __future__ import annotations

from fnmatch import fnmatchcase

from spladev3_anserini.collection.addresses import Address, files_at
from spladev3_anserini.collection.dataset_folder import ABOUT_TABLES, NOT_DOCUMENTS, refuse_split
from spladev3_anserini.collection.records import kind_of
from spladev3_anserini.collection.tables import is_table
from spladev3_anserini.errors import InputError


def corpus_addresses(address: Address) -> list[Address]:
    """Returns the files of a corpus at an address, in the order in which they are read.

    The address is that of a file, of a folder (its files in name order, or its `corpus.*`), or a
    pattern of names such as `s3://bucket/data/train-*.parquet`.

    Raises InputError for a folder without a corpus, with several files `corpus.*`, with tables and
    other files, with several splits of tables, and for a folder that cannot be listed.
    """
    if "*" in address.name:
        path, rest = address.split()
        found = files_at(Address(f"{path.rpartition('/')[0]}/{rest}")) or []
        files = [file for file in found if fnmatchcase(file.name, address.name)]
        if not files:
            raise InputError(f"{address}: no file has such a name")
    else:
        listed = files_at(address)
        if listed is None:
            return [address]
        files = [file for file in listed if (kind_of(file) or is_table(file))
                 and file.name.partition(".")[0] not in NOT_DOCUMENTS
                 and file.name not in ABOUT_TABLES]
        if not files:
            raise InputError(f"{address}: no .jsonl, .json, .tsv, .txt, .csv or .parquet file in "
                             "this folder")
    whole = [file for file in files if file.name.lower().startswith("corpus.")]
    tables = [file for file in files if is_table(file)]
    others = [file for file in files if not is_table(file)]
    for several in (whole if len(whole) > 1 else [],
                    [tables[0], others[0]] if tables and others and not whole else []):
        if several:
            raise InputError(f"{address}: {' and '.join(file.name for file in several)} are both "
                             "there; give one of them")
    if not whole and tables:
        refuse_split(str(address).rpartition("/")[0] if "*" in address.name
                     else str(address).rstrip("/"), [file.name for file in tables])
    return whole or files
