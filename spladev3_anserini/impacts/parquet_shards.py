"""Impact rows -> a shard as a parquet file, and back.

A row is a document: `id`, `contents` (left out if all are empty), and two lists of the same length,
`terms` and `impacts`. Terms are strings to every reader. In the file they are numbers, because each
row group holds a dictionary of its terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.collection.tables import open_parquet, refuse_lost_rows, row_place
from spladev3_anserini.errors import InputError, import_optional, refusing

if TYPE_CHECKING:
    from scipy import sparse

#: Bounds of a row group: documents, and characters of their texts.
_GROUP, _CHARACTERS = 8192, 1 << 26
#: Documents that are converted to Python at once.
_ROWS = 1024
#: Bytes of a row group's dictionary, beyond which every term would be written out. The vocabularies
#: of multilingual models have some 3 MB.
_DICTIONARY = 1 << 25
_TERMS, _IMPACTS = "terms", "impacts"


class ImpactRows(NamedTuple):
    """Documents of a shard: ids, texts, and an int32 impact matrix of shape (texts, vocabulary).

    `terms` names the columns of the matrix, whose rows are sorted by column.
    """

    ids: Sequence[str]
    contents: Sequence[str]
    matrix: sparse.csr_matrix
    terms: Sequence[str] | NDArray[Any]


def write_parquet_rows(stream: IO[bytes], rows: ImpactRows) -> None:
    """Writes documents as a parquet file; the same rows give the same bytes.

    Raises InputError if pyarrow is not installed.
    """
    parquet = import_optional("pyarrow.parquet", "`format` parquet", "parquet")
    tables = (_table(rows, start, end) for start, end in pairwise(_bounds(rows.contents)))
    first = next(tables)
    with parquet.ParquetWriter(
            stream, first.schema, compression="zstd", compression_level=9, store_schema=False,
            use_dictionary=[f"{name}.list.element" for name in (_TERMS, _IMPACTS)],
            dictionary_pagesize_limit=_DICTIONARY, write_page_checksum=True) as writer:
        for table in chain([first], tables):
            writer.write_table(table, row_group_size=_GROUP)


def _table(rows: ImpactRows, start: int, end: int) -> Any:
    """Returns some documents as a table of arrow."""
    arrow = import_optional("pyarrow", "`format` parquet", "parquet")
    part = rows.matrix[start:end]
    used, numbers = np.unique(part.indices, return_inverse=True)
    names = np.asarray(rows.terms, dtype=object)[used]
    columns = {"id": arrow.array(rows.ids[start:end], arrow.string())}
    if any(rows.contents):
        columns["contents"] = arrow.array(rows.contents[start:end], arrow.string())
    starts = arrow.array(part.indptr, arrow.int32())
    for name, values in ((_TERMS, arrow.DictionaryArray.from_arrays(
            arrow.array(numbers, arrow.int32()), arrow.array(names, arrow.string()))),
            (_IMPACTS, arrow.array(part.data, arrow.uint16()))):
        columns[name] = arrow.ListArray.from_arrays(starts, values)
    return arrow.table(columns)


def _bounds(contents: Sequence[str]) -> list[int]:
    """Where row groups begin and end, from 0 to the number of documents."""
    bounds, characters = [0], 0
    for row, text in enumerate(contents):
        if row - bounds[-1] == _GROUP or (characters > _CHARACTERS and row > bounds[-1]):
            bounds.append(row)
            characters = 0
        characters += len(text)
    return [*bounds, len(contents)]


def parquet_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, {id, contents, vector}) of the documents of a parquet file.

    The values are those of the file, unchecked: an impact may be no number.

    Raises InputError for a file that is damaged or has not these columns, for lists of different
    lengths, and for a term that is twice in a document.
    """
    file = open_parquet(path)
    schema = file.schema_arrow
    _refuse_columns(path, schema)
    batches = file.iter_batches(_ROWS, columns=[
        name for name in ("id", "contents", _TERMS, _IMPACTS) if name in schema.names])
    number = 0
    while True:
        with refusing(f"{path}: damaged, or of a kind that cannot be read"):
            batch = next(batches, None)
            if batch is None:
                break
            batch.validate(full=True)
            if batch.column(_TERMS).null_count or batch.column(_IMPACTS).null_count:
                raise ValueError("a list is null")
            ids = batch.column("id").to_pylist()
            contents = batch.column("contents").to_pylist() if "contents" in schema.names \
                else [""] * len(ids)
            terms, ends = _flat(batch.column(_TERMS))
            impacts, others = _flat(batch.column(_IMPACTS))
        for row, (start, end) in enumerate(pairwise(ends)):
            number += 1
            where = row_place(path, number)
            if (start, end) != (others[row], others[row + 1]):
                raise InputError(f"{where}: its lists of terms and of impacts differ in length")
            vector = dict(zip(terms[start:end], impacts[start:end], strict=True))
            if len(vector) != end - start:
                raise InputError(f"{where}: a term is there twice")
            if None in vector:
                raise InputError(f"{where}: a term is null, expected a string")
            yield where, {"id": ids[row], "contents": contents[row], "vector": vector}
    refuse_lost_rows(path, number, file.metadata.num_rows)


def _refuse_columns(path: Path, schema: Any) -> None:
    """Raises InputError unless a table has the columns of impact documents, each once."""
    names = list(schema.names)
    for name in ("id", _TERMS, _IMPACTS):
        if names.count(name) != 1:
            raise InputError(f"{path}: not impact documents (id, terms, impacts); it has the "
                             f"columns {', '.join(names) or 'none'}")
    for name in (_TERMS, _IMPACTS):
        kind = str(schema.field(name).type)
        if not kind.startswith(("list<", "large_list<")):
            raise InputError(f"{path}: the column {name!r} is {kind[:40]}, expected lists")
    if not str(schema.field(_TERMS).type).endswith(("string>", "string not null>")):
        raise InputError(f"{path}: the column {_TERMS!r} has no lists of strings")


def _flat(column: Any) -> tuple[list[Any], list[int]]:
    """The values of a column of lists, and where each list begins and ends in them."""
    lengths = column.value_lengths().fill_null(0).to_numpy()
    ends = np.concatenate([[0], np.cumsum(lengths)])
    values = column.flatten()
    if "string" in str(values.type) and not values.null_count:
        # a term is made a string of Python once, not once per document; arrow's own dictionaries
        # cannot be read across row groups
        values = values.dictionary_encode()
        names = np.array(values.dictionary.to_pylist(), dtype=object)
        return names[values.indices.to_numpy()].tolist(), ends.tolist()
    return values.to_pylist(), ends.tolist()
