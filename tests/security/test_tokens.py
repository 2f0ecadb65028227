"""A token in the environment or in an address is in nothing that is printed or written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import TEXTS, write_corpus
from forked import program
from hub import hub
from layouts import add_modules

from spladev3_anserini.errors import InputError
from spladev3_anserini.text import one_line

TOKEN = "hf_" + "CanaryC4nary" * 3
PASSWORD = "pa55-w0rd-canary"


@pytest.fixture(scope="module")
def address(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("hub")
    models = {"naver/splade-v3": add_modules(Path(shutil.copytree(tiny, folder / "v3")))}
    with hub(models, gated=frozenset(models)) as endpoint:
        yield endpoint


def run(folder: Path, endpoint: str, *arguments: object, **environment: str) -> str:
    """A command in a process of its own with the token; returns all that it printed."""
    settings = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "HF_TOKEN": TOKEN,
                 "HF_HUB_DISABLE_XET": "1", "TMPDIR": str(folder)}
    done = subprocess.run([*program(), *map(str, arguments)],
                          env=settings | environment, capture_output=True, text=True, check=False,
                          timeout=120, cwd=folder)
    return f"{done.returncode} {done.stdout}{done.stderr}"


def assert_nowhere(folder: Path, printed: str) -> None:
    for secret in (TOKEN, PASSWORD):
        assert secret not in printed
        for path in folder.rglob("*"):
            assert secret not in path.name
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def test_a_token_is_in_nothing_that_commands_leave(address: str, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    (tmp_path / "topics.tsv").write_text("q1\tthe cat on the mat\n")
    steps = [("encode", "--model", "naver/splade-v3", "--corpus", "corpus.jsonl", "--output", "encoded",
              "--max-length", 64),
             ("index", "--encoded", "encoded", "--index", "index"),
             ("search", "--index", "index", "--topics", "topics.tsv", "--output", "run.txt",
              "--max-length", 64)]
    printed = [run(tmp_path, address, *step, HF_HUB_VERBOSITY="debug") for step in steps]
    assert all(own.startswith("0 ") for own in printed), printed
    assert_nowhere(tmp_path, "".join(printed))


@pytest.mark.parametrize(("name", "endpoint"), [
    ("someone/none", ""), ("naver/splade-v3@nothing", ""),
    ("naver/splade-v3", f"http://user:{PASSWORD}@127.0.0.1:9"),
    ("naver/splade-v3", f"http://{TOKEN}@no.such.host.invalid"),
    (f"https://user:{PASSWORD}@huggingface.co/naver/splade-v3", ""),
    (f"https://{TOKEN}@huggingface.co/x", "")])
def test_a_token_is_in_no_refusal(name: str, endpoint: str, address: str, tmp_path: Path) -> None:
    printed = run(tmp_path, endpoint or address, "models", "fetch", name)
    assert printed.startswith("2 spladev3-anserini: ")
    assert printed.count("\n") == 1
    assert_nowhere(tmp_path, printed)


def test_an_index_of_packages_with_a_password(tmp_path: Path) -> None:
    printed = run(tmp_path, "http://127.0.0.1:9", "models", "fetch", "demo",
                  SPLADEV3_CACHE=str(tmp_path / "cache"), PIP_RETRIES="0", PIP_FIND_LINKS="",
                  PIP_CONFIG_FILE=os.devnull, PIP_INDEX_URL=f"http://user:{PASSWORD}@127.0.0.1:9/simple")
    assert printed.startswith("2 spladev3-anserini: demo cannot be fetched"), printed
    assert_nowhere(tmp_path, printed)


@pytest.mark.parametrize(("text", "shown"), [
    ("a\n b\t c", "a b c"), ("x\x1b[31mred\x07", "x\\x1b[31mred\\x07"), ("\u202egpj.exe", "\\u202egpj.exe"),
    ("\ud800", "\\ud800"), (f"see https://user:{PASSWORD}@host/x", "see https://***@host/x"),
    (f"token {TOKEN}!", "token ***!"), ("é 中 ok", "é 中 ok"), ("hf_hub_download of hf_transfer",) * 2,
    ("owner/name@main and a@b.c",) * 2, ("y" * 3000, "y" * 2000 + " ...")])
def test_what_is_said_is_one_safe_line(text: str, shown: str) -> None:
    assert one_line(text) == shown
    assert str(InputError(text)) == shown
