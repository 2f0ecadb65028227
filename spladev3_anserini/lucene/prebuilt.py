"""The name of Pyserini's prebuilt index -> its folder, downloaded on first use."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.files import block_tar_path_traversal
from spladev3_anserini.lucene.jvm import start_jvm


def prebuilt_index(name: str) -> Path:
    """Returns the folder of a prebuilt impact index in Pyserini's cache.

    The cache is `$PYSERINI_CACHE`, else `~/.cache/pyserini`. If the index is not there, Pyserini
    downloads it and compares its md5.

    Raises InputError for a name that Pyserini does not know, and for a failed download.
    """
    start_jvm()
    block_tar_path_traversal()
    os.environ.setdefault("OPENAI_API_KEY", "unused")  # Pyserini 1.6 reads it at its import
    from pyserini.prebuilt_index_info import IMPACT_INDEX_INFO
    from pyserini.util import download_prebuilt_index

    if name not in IMPACT_INDEX_INFO:
        raise InputError(f"`prebuilt`: Pyserini has no impact index called {name!r}")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return Path(download_prebuilt_index(name, verbose=False))
    except Exception as error:  # downloader, tar and checksum raise many kinds
        raise InputError(f"`prebuilt`: {name} cannot be downloaded: {first_line(error)}") from None
