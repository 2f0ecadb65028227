"""Help is quick, complete and has an example; --version; errors of usage are one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from runpy import run_module

import click
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
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in result.out
            # a phrase or a sentence of its own, that begins with a capital or with a value's name
            assert (parameter.help or "").endswith((".", "...")), parameter.opts
            assert not parameter.help.startswith(("Of ", "For ", "As ", "...")), parameter.opts


@pytest.mark.parametrize("words", [
    [], *([name] for name in COMMANDS),
    *(["reproduce", name] for name in ("list", "show", "run", "report", "export", "pages")),
    ["models", "list"], ["models", "fetch"]], ids=" ".join)
def test_help_fits_a_narrow_terminal(words: list[str], cli: Callable[..., Result],
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = cli(*words, "--help")
    assert [line for line in result.out.splitlines() if len(line) > 80] == []
    assert "..." not in result.out.partition("\nCommands:")[2]


def test_the_commands_are_grouped_each_with_its_whole_summary_on_one_line(
        cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = cli("--help").out.partition("Start here:")[2]
    for name in COMMANDS:
        summary = import_module(COMMANDS[name]).main.help.split("\n")[0]
        assert summary.endswith("."), name
        assert len(re.findall(rf"^  {name} +{re.escape(summary)}$", listed, re.M)) == 1, name


@pytest.mark.parametrize(("words", "meant"), [
    (["encod"], "encode"), (["reproduce", "shw"], "show"), (["models", "ftech"], "fetch")])
def test_a_misspelt_command_of_any_group_suggests_the_near_one(
        words: list[str], meant: str, refused: Callable[..., str]) -> None:
    assert refused(*words).count(f"Did you mean '{meant}'?") == 1


def test_it_does_so_with_a_click_that_suggests_nothing(
        refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(self: click.Group, context: click.Context, arguments: list[str]) -> None:
        raise click.UsageError(f"No such command {arguments[0]!r}.", context)

    monkeypatch.setattr(click.Group, "resolve_command", silent)
    assert "Did you mean 'encode'?" in refused("encod")


def test_a_shell_completes_commands_options_and_files() -> None:
    """Of whole processes: click answers a shell while a program starts."""
    def asked(words: str) -> list[str]:
        environment = {"_SPLADEV3_ANSERINI_COMPLETE": "bash_complete", "COMP_WORDS": words,
                       "COMP_CWORD": str(len(words.split(" ")) - 1)}
        done = subprocess.run(
            [sys.executable, "-c", "import sys; sys.argv[0] = 'spladev3-anserini'\n"
             "from spladev3_anserini.cli.commands import main; main()"],
            env=os.environ | environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert asked("spladev3-anserini enc") == ["plain,encode"]
    assert asked("spladev3-anserini encode --corpu") == ["plain,--corpus"]
    assert asked("spladev3-anserini index --encoded ") == ["dir,"]


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
