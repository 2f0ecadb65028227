"""A model's name -> a folder on this machine; a model's files -> a commit on the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from spladev3_anserini.demo.assets import MODELS, fetch_assets
from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.files import refuse_links_out, refuse_special
from spladev3_anserini.progress import are_bars_drawn
from spladev3_anserini.text import counted

_CODE_FREE = ["*.json", "*.txt", "*.safetensors", "*.model"]
PICKLE = "pytorch_model.bin"
#: A model's card; it states the licence.
CARD = "README.md"
#: A graph and its external data, at the top or in the usual folder of the hub's models; not other
#: exports of the same model (model_O3.onnx, model_quint8.onnx, ...).
_GRAPHS = ["model.onnx*", "onnx/model.onnx*"]


def model_folder(name: str, *, pickles: bool = False, graphs: bool = False,
                 option: str = "`model`") -> Path:
    """Returns the folder of a model; the first use of a hub id downloads it.

    Args:
        name: `demo` or another model that a package ships (a folder of that name is `./demo`), a
            folder, or a hub id: `owner/name` or `owner/name@revision`. Downloads go to the hub's
            usual cache.
        pickles: Also download pickled weights; only `convert` needs them.
        graphs: Also download ONNX graphs. Many models have both kinds of weights.
        option: The parameter that error messages name.

    Raises:
        InputError: There is no such model or no access to it (the message says what to do next),
            or a folder has a pipe or links that lead out of it.
    """
    if name in MODELS:
        return fetch_assets(name)
    path = Path(name)
    if path.is_dir():
        for folder in (path, *(entry for entry in path.iterdir() if entry.is_dir())):
            refuse_links(path, folder)
        refuse_special(path)
        return path
    if is_hub_id(name):
        return _hub_folder(name, [*_CODE_FREE, CARD, *([PICKLE, f"*/{PICKLE}"] if pickles else []),
                                  *(_GRAPHS if graphs else [])], f"{option} {name}")
    hints = {"models/": "; did convert run?",
             "recipe:": "; this recipe's model is trained by reproduce run: give its folder"}
    hint = next((hint for begin, hint in hints.items() if name.startswith(begin)), "")
    raise InputError(f"{option} {name}: no such folder, and no hub id (owner/name){hint}")


def is_hub_id(name: str) -> bool:
    """Whether a model's name is a hub id, `owner/name` or `owner/name@revision`, and no path."""
    return bool(re.fullmatch(r"(?!models/)[\w.-]+/[\w.-]+(@[\w./-]+)?", name)
                and not Path(name).exists())


def refuse_links(root: Path, folder: Path) -> None:
    """Raises InputError if `folder`, or a file in it, is a link out of the model's folder `root`.

    A model from elsewhere could link to private files. The links of the hub's cache are allowed:
    they lead from a snapshot to the blobs beside it.
    """
    home = root.resolve()
    if home.parent.name == "snapshots":
        home = home.parents[1]
    refuse_links_out(home, (folder, *(folder.iterdir() if folder.is_dir() else ())),
                     "the model's folder")


def _hub_folder(name: str, patterns: list[str], label: str) -> Path:
    """Downloads the files of a hub id that fit `patterns`, and returns their folder."""
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
            f"{label}: this model is gated: accept its conditions on the model's page on "
            "the hub, then run 'hf auth login' or set HF_TOKEN, and try again") from None
    except RevisionNotFoundError:
        raise InputError(f"{label}: the hub has no revision {revision!r} of it") from None
    except RepositoryNotFoundError:
        raise InputError(f"{label}: no such folder here, and the hub knows no such model (a "
                         "private one needs 'hf auth login' or HF_TOKEN)") from None
    except LocalEntryNotFoundError:
        raise InputError(f"{label}: no such folder here; as a hub id, not in the local "
                         "cache, and the hub cannot be reached") from None
    except MemoryError:
        raise
    except Exception as error:  # the errors of a connection come from several libraries
        raise InputError(f"{label}: cannot be downloaded: {first_line(error)}; the same "
                         "command continues a download that broke off") from None


def push_files(files: Mapping[str, Path], repository: str, *, private: bool = False) -> str:
    """Uploads the files of a model to the hub in one commit and returns the commit's hash.

    The repository is created if it does not exist. Its other files stay, except that none may be a
    file of a model: it would be loaded with these.

    Args:
        files: The files by their names in the repository.
        repository: `owner/name`.
        private: Create a private repository.

    Raises:
        InputError: There is no token or it is refused, the repository is public despite `private`
            or has files of another model, or the hub cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    if get_token() is None:
        raise InputError(f"{repository}: the hub needs a token that may write: run 'hf auth "
                         "login' or set HF_TOKEN")
    api = HfApi()
    try:
        with _quiet_hub():
            api.create_repo(repository, private=private or None, exist_ok=True)
            known = api.model_info(repository)
            there = {file.rfilename for file in known.siblings or ()}
            _refuse_mixture(repository, bool(private and not known.private), there - files.keys())
            return str(api.create_commit(
                repository, [CommitOperationAdd(name, path) for name, path in files.items()],
                commit_message="Upload a model with spladev3-anserini",
                parent_commit=known.sha).oid)
    except (InputError, MemoryError):
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403, 404):
            raise InputError(
                f"{repository}: the hub refuses the token (HTTP {status}): it is invalid, or may "
                "not write there; run 'hf auth login' or set HF_TOKEN") from None
        raise InputError(f"{repository}: cannot be pushed: {first_line(error)}") from None
    except Exception as error:  # the errors of a connection come from several libraries
        raise InputError(f"{repository}: cannot be pushed: {first_line(error)}; the same command "
                         "tries again") from None


def _refuse_mixture(repository: str, exposed: bool, others: set[str]) -> None:
    """Raises InputError if a repository is public but should not be, or has files of a model that
    would be loaded with those to come."""
    if exposed:
        raise InputError(f"{repository}: exists and is public; make it private on its page, or "
                         "omit `private`")
    if mixed := sorted(name for name in others if is_model_file(name)):
        raise InputError(f"{repository}: has {counted(len(mixed), 'file')} of another model, which "
                         f"would be loaded with this one: {', '.join(mixed[:5])}; delete them "
                         "there, or choose another repository")


def is_model_file(name: str) -> bool:
    """Whether loading a model by its hub id downloads a file of this name."""
    return any(fnmatchcase(name, pattern)
               for pattern in (*_CODE_FREE, *_GRAPHS, PICKLE, f"*/{PICKLE}"))


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
