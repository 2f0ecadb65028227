"""Help is quick, complete and has an example; --version; errors of usage are one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from runpy import run_module

import pytest
from conftest import Result

import spladev3_anserini
from spladev3_anserini.cli.commands import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_shows_an_example_and_every_options_help(
        name: str, cli: Callable[..., Result]) -> None:
    result = cli(name, "--help")
    assert result.code == 0
    assert "Example" in result.out
    command = import_module(COMMANDS[name]).main
    undocumented = {"--side", "--k1", "--b", "--threads", "--format"}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in result.out
            assert parameter.help or parameter.opts[0] in undocumented, parameter.opts


@pytest.mark.parametrize("name", ["encode", "index", "search", "evaluate", "mine", "score", "train",
                                  "reproduce"])
def test_the_main_road_runs_as_modules_too(name: str, monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as stop:
        run_module(f"spladev3_anserini.{name}", run_name="__main__")
    assert stop.value.code == 0
    assert "Example:" in capsys.readouterr().out


def test_help_loads_neither_torch_nor_java() -> None:
    script = ("import sys; from spladev3_anserini.cli.commands import commands\n"
              f"for words in (['--help'], *([name, '--help'] for name in {list(COMMANDS)})):\n"
              "    commands.main(words, standalone_mode=False)\n"
              "heavy = {'torch', 'transformers', 'jnius', 'pyserini'} & sys.modules.keys()\n"
              "assert not heavy, heavy")
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_a_bare_name_shows_help_as_it_is(cli: Callable[..., Result]) -> None:
    assert cli().out == cli("--help").out
    assert cli("models").out == cli("models", "list").out
    assert "naver/splade-v3-doc" in cli("models").out


def test_the_version(cli: Callable[..., Result]) -> None:
    assert cli("--version").out == f"spladev3-anserini, version {spladev3_anserini.__version__}\n"


@pytest.mark.parametrize("words", [["nonsense"], ["encode"], ["encode", "--bogus"],
                                   ["index", "--threads", "x", "--encoded", "a", "--index", "b"]])
def test_bad_usage_is_one_line_with_the_next_step(words: list[str],
                                                  refused: Callable[..., str]) -> None:
    assert "--help)" in refused(*words)
