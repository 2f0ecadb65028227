"""A file beside an index -> its bytes or its array, mapped into memory."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.errors import InputError, first_line


def mapped_file(file: Path) -> NDArray[Any]:
    """Maps a file for reading: the array of a `.npy` file, the bytes of any other.

    Raises InputError, naming the file, for one that is empty or not an array.
    """
    try:
        return np.asarray(np.lib.format.open_memmap(file, "r") if file.suffix == ".npy"
                          else np.memmap(file, np.uint8, "r"))
    except (ValueError, SyntaxError, EOFError, OverflowError, TokenError) as error:
        raise InputError(f"{file}: not an array: {first_line(error)}") from None
