"""`push`: a clean folder goes to a hub on this machine, and comes back as the same model."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
from conftest import Result
from forked import program
from hub import COMMIT, TOKEN, hub
from layouts import add_modules

from spladev3_anserini.model.checkpoint import model_hash, open_checkpoint


@pytest.fixture
def trained(tiny: Path, tmp_path: Path) -> Path:
    """A model's folder with what a training leaves beside the model."""
    folder = add_modules(Path(shutil.copytree(tiny, tmp_path / "trained")))
    (folder / "README.md").write_text("---\nlibrary_name: sentence-transformers\n---\n# A model\n")
    for name in ("checkpoints/checkpoint-9/optimizer.pt", "checkpoints/checkpoint-9/config.json",
                 "checkpoints/checkpoint-9/model.safetensors", "begun.json", "training.json",
                 "curves.jsonl", "pytorch_model.bin", "runs/events.out", ".lock", ".cache/x.json",
                 "optimizer.pt", "candidates.txt.gz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


@pytest.fixture
def served(tmp_path: Path, tiny: Path) -> Iterator[tuple[str, dict[str, Path], set[str]]]:
    models, private = {"someone/theirs": tiny, "me/public": tmp_path / "public"}, set[str]()
    (tmp_path / "public").mkdir()
    with hub(models, pushed=tmp_path / "repositories", private=private) as address:
        yield address, models, private


def push(address: str, home: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, because hub settings are read once, at import."""
    settings = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings |= {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1",
                 "HF_TOKEN": TOKEN} | environment
    return subprocess.run([*program(), *map(str, arguments)], env=settings, capture_output=True, text=True,
                          check=False, timeout=120)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_pushed_is_the_same_model_by_its_id(
        trained: Path, tmp_path: Path, served: tuple[str, dict[str, Path], set[str]]) -> None:
    address, models, private = served
    done = push(address, tmp_path / "home", "push", trained, "me/splade", "--private")
    assert done.returncode == 0, done.stderr
    digest = model_hash(open_checkpoint(str(trained)))
    size = sum(len(content) for name, content in files_of(models["me/splade"]).items()
               if name != ".gitattributes")
    assert done.stdout == (f"me/splade: 9 files, {size:,} bytes, model {digest[:12]}, "
                           f"commit {'f' * 40}\n")
    assert private == {"me/splade"}
    expected = {"README.md", "config.json", "model.safetensors", "modules.json", "tokenizer.json",
                "config_sentence_transformers.json",
                "tokenizer_config.json", "vocab.txt", "1_SpladePooling/config.json",
                "generation_config.json", "special_tokens_map.json"} & files_of(trained).keys()
    stored = files_of(models["me/splade"])
    assert stored.keys() == expected | {".gitattributes"}
    assert all(stored[name] == files_of(trained)[name] for name in expected)
    fetched = push(address, tmp_path / "home", "models", "fetch", "me/splade")
    assert fetched.returncode == 0, fetched.stderr
    snapshot = next(tmp_path.glob(f"home/hub/models--me--splade/snapshots/{COMMIT}"))
    assert model_hash(open_checkpoint(str(snapshot))) == digest
    again = push(address, tmp_path / "home", "push", trained, "me/splade")
    assert again.returncode == 0, again.stderr


def test_a_dry_run_lists_the_files_and_asks_no_hub(trained: Path, cli: Callable[..., Result],
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.HfApi", None)
    done = cli("push", trained, "me/splade", "--dry-run")
    assert done.code == 0, done.err
    assert f"{(trained / 'model.safetensors').stat().st_size:>14,}  model.safetensors\n" in done.out
    left_out = next(line for line in done.out.splitlines() if line.startswith("left out: "))
    assert set(left_out.removeprefix("left out: ").split(", ")) == {
        "checkpoints/checkpoint-9/optimizer.pt", "checkpoints/checkpoint-9/config.json",
        "checkpoints/checkpoint-9/model.safetensors", "begun.json", "training.json", "curves.jsonl",
        "pytorch_model.bin", "runs/events.out", ".lock", ".cache/x.json", "optimizer.pt",
        "candidates.txt.gz"}
    assert done.out.endswith("nothing was uploaded\n")


def assert_one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "hf_" not in done.stdout + done.stderr
    for part in parts:
        assert part in done.stderr


@pytest.mark.fault(20, "a model is pushed without a token, with a refused one, or to the repository of "
                   "somebody else", detected="the hub's status")
def test_a_token_that_is_missing_or_refused(trained: Path, tmp_path: Path,
                                            served: tuple[str, dict[str, Path], set[str]]) -> None:
    address, models, _ = served
    assert_one_line(push(address, tmp_path, "push", trained, "me/new", HF_TOKEN=""),
                    "me/new: the hub needs a token that may write: run 'hf auth login'")
    assert_one_line(push(address, tmp_path, "push", trained, "me/new", HF_TOKEN="hf_other"),
                    "the hub refuses the token (HTTP 401)")
    assert_one_line(push(address, tmp_path, "push", trained, "nobody/new"), "refuses the token (HTTP 403)")
    assert "me/new" not in models


@pytest.mark.fault(20, "a model is pushed where its files would mix with those of another, or be public "
                   "despite --private", detected="the repository's record")
def test_a_repository_that_holds_something_else(trained: Path, tmp_path: Path,
                                                served: tuple[str, dict[str, Path], set[str]]) -> None:
    address, models, _ = served
    assert_one_line(push(address, tmp_path, "push", trained, "me/public", "--private"),
                    "exists and is public", "omit --private")
    (models["me/public"] / "model-00001-of-00002.safetensors").write_text("old")
    (models["me/public"] / "picture.png").write_text("stays")
    assert_one_line(push(address, tmp_path, "push", trained, "me/public"),
                    "has 1 file of another model, which would be loaded with this one: "
                    "model-00001-of-00002.safetensors")
    assert sorted(files_of(models["me/public"])) == ["model-00001-of-00002.safetensors", "picture.png"]


@pytest.mark.fault(20, "the hub cannot be reached while a model is pushed",
                   detected="whatever the hub's libraries raise")
def test_a_hub_out_of_reach(trained: Path, tmp_path: Path) -> None:
    assert_one_line(push("http://127.0.0.1:9", tmp_path, "push", trained, "me/splade"),
                    "me/splade: cannot be pushed: ", "the same command tries again")
    assert_one_line(push("http://127.0.0.1:9", tmp_path, "push", trained, "me/splade", HF_HUB_OFFLINE="1"),
                    "cannot be pushed")


def test_an_upload_that_the_hub_refuses_commits_nothing(
        trained: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise RuntimeError("Error while uploading 'model.safetensors' to the Hub.\nmore")

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", fails)
    assert refused("push", trained, "me/splade").endswith(
        "Error while uploading 'model.safetensors' to the Hub.; the same command tries again")


def test_a_folder_that_cannot_be_pushed(trained: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    for name in ("splade", "a/b/c", "me/splade@v1", "../x/y"):
        assert f"{name}: is no name on the hub; expected owner/name" in refused("push", trained, name, "--dry-run")
    (trained / "README.md").unlink()
    assert f"{trained}: no README.md in it; a model on the hub needs a card" in refused(
        "push", trained, "me/splade", "--dry-run")
    assert "no such folder" in refused("push", tmp_path / "none", "me/splade")
    (tmp_path / "empty").mkdir()
    assert "config.json" in refused("push", tmp_path / "empty", "me/splade")
