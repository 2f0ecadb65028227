"""A model's name -> a folder on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spladev3_anserini.demo.assets import MODELS, fetch_assets
from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.files import refuse_links_out, refuse_special
from spladev3_anserini.progress import are_bars_drawn

_CODE_FREE = ["*.json", "*.txt", "*.safetensors", "*.model"]
PICKLE = "pytorch_model.bin"
#: A graph and its external data, at the top or where the hub's models usually have it; not the
#: variants beside it (model_O3.onnx, model_quint8.onnx, ...).
_GRAPHS = ["model.onnx*", "onnx/model.onnx*"]


def model_folder(name: str, *, pickles: bool = False, graphs: bool = False,
                 option: str = "`model`") -> Path:
    """The folder of a model given as `demo` or another that a package ships (a folder of that
    name is `./demo`), as a folder, or as a hub id (`owner/name`, also `owner/name@revision`),
    which is downloaded into the usual cache on first use.

    Pickled weights are downloaded only with `pickles`, which `convert` alone sets, and ONNX only
    with `graphs`: models have both, and want one. `option` is what errors call the name. Raises
    InputError where there is no such model, or no access to it, with what to do next; and for a
    folder with links that lead out of it, or with a pipe in it.
    """
    if name in MODELS:
        return fetch_assets(name)
    path = Path(name)
    if path.is_dir():
        for folder in (path, *(own for own in path.iterdir() if own.is_dir())):
            refuse_links(path, folder)
        refuse_special(path)
        return path
    if re.fullmatch(r"(?!models/)[\w.-]+/[\w.-]+(@[\w./-]+)?", name) and not path.exists():
        return _hub_folder(name, [*_CODE_FREE, *([PICKLE, f"*/{PICKLE}"] if pickles else []),
                                  *(_GRAPHS if graphs else [])], f"{option} {name}")
    hint = "; did convert run?" if name.startswith("models/") else ""
    raise InputError(f"{option} {name}: no such folder, and no hub id (owner/name){hint}")


def refuse_links(root: Path, folder: Path) -> None:
    """Raises InputError where a folder of a model, or what lies in it, is a link out of the model:
    a model from elsewhere may bring links to files it has no business with. Those of the hub's
    cache lead from a snapshot to the blobs beside it."""
    home = root.resolve()
    if home.parent.name == "snapshots":
        home = home.parents[1]
    refuse_links_out(home, (folder, *(folder.iterdir() if folder.is_dir() else ())),
                     "the model's folder")


def _hub_folder(name: str, patterns: list[str], shown: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, _, revision = name.partition("@")
    try:
        with _quiet_hub():
            return Path(snapshot_download(repository, revision=revision or None,
                                          allow_patterns=patterns))
    except GatedRepoError:
        raise InputError(
            f"{shown}: this model is gated: accept its conditions on the model's page on "
            "the hub, then run 'hf auth login' or set HF_TOKEN, and try again") from None
    except RevisionNotFoundError:
        raise InputError(f"{shown}: the hub has no revision {revision!r} of it") from None
    except RepositoryNotFoundError:
        raise InputError(f"{shown}: no such folder here, and the hub knows no such model (a "
                         "private one needs 'hf auth login' or HF_TOKEN)") from None
    except LocalEntryNotFoundError:
        raise InputError(f"{shown}: no such folder here; as a hub id, not in the local "
                         "cache, and the hub cannot be reached") from None
    except MemoryError:
        raise
    except Exception as error:  # what the connection raises is of several libraries
        raise InputError(f"{shown}: cannot be downloaded: {first_line(error)}; the same "
                         "command continues a download that broke off") from None


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Has the hub's library log errors only in the block, and draw bars only where we do. Its own
    environment variables have the last word."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        logging,
    )

    verbosity = logging.get_verbosity()
    silenced = not (are_bars_drawn() or are_progress_bars_disabled()
                    or "HF_HUB_DISABLE_PROGRESS_BARS" in os.environ)
    try:
        if "HF_HUB_VERBOSITY" not in os.environ:
            logging.set_verbosity_error()  # it logs each try of a download
        if silenced:
            disable_progress_bars()
        yield
    finally:
        logging.set_verbosity(verbosity)
        if silenced:
            enable_progress_bars()
