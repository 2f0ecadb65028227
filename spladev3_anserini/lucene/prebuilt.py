"""A prebuilt index of Pyserini's by name -> its folder, downloaded on first use."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.files import block_tar_path_traversal
from spladev3_anserini.lucene.jvm import start_jvm


def prebuilt_index(name: str) -> Path:
    """The folder of an impact index in Pyserini's cache (`$PYSERINI_CACHE`, else
    `~/.cache/pyserini`), downloaded and compared with its md5 by Pyserini where it is not there.

    Raises InputError for a name Pyserini does not know, and where it cannot be downloaded.
    """
    start_jvm()
    block_tar_path_traversal()
    os.environ.setdefault("OPENAI_API_KEY", "unused")  # Pyserini 1.6 asks for it when imported
    from pyserini.prebuilt_index_info import IMPACT_INDEX_INFO
    from pyserini.util import download_prebuilt_index

    if name not in IMPACT_INDEX_INFO:
        raise InputError(f"`prebuilt`: Pyserini has no impact index called {name!r}")
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            return Path(download_prebuilt_index(name, verbose=False))
    except Exception as error:  # whatever its downloader, tar or checksum raises
        raise InputError(f"`prebuilt`: {name} cannot be downloaded: {first_line(error)}") from None
