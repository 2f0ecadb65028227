"""Questions that a person types: read line by line, with editing and a history on a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

import click

from spladev3_anserini.cli.app import echo
from spladev3_anserini.errors import InputError

#: Questions that the history keeps.
_KEPT = 1000


def checked_question(text: str) -> None:
    """Raises InputError for a question with control characters, or that is not UTF-8.

    An arrow key, for example, types an escape and two letters, which would be searched as text.
    """
    from spladev3_anserini.collection.records import checked_text

    checked_text(text, "the question", "text")
    if hidden := [c for c in text if unicodedata.category(c) == "Cc" and c not in "\t\n\r"]:
        raise InputError(f"the question {text[:60]!r} has the control character {hidden[0]!r}; "
                         "type it as plain text")


def read_questions(interactive: bool) -> Iterator[str]:
    """Yields the lines of standard input that are not empty, after a prompt on a terminal."""
    if sys.stdin is None:
        return
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # checked_question refuses non-UTF-8
    prompt = "question> " if interactive and sys.stdout.isatty() else ""
    if interactive:
        echo("a question a line; Ctrl-D ends", err=True)
    with _line_editing(bool(prompt)) if interactive else contextlib.nullcontext():
        while True:
            if interactive and not prompt:  # `input` would write it into the redirected output
                click.echo("question> ", nl=False, err=True)
            try:
                text = input(prompt)
            except EOFError:
                if interactive:
                    echo(err=True)
                return
            if text.strip():
                yield text


@contextlib.contextmanager
def _line_editing(kept: bool) -> Iterator[None]:
    """Gives `input` line editing, and a history if it is `kept` from one process to the next.

    A history that cannot be read or written is left out.
    """
    try:
        import readline
    except ImportError:  # this Python has none
        yield
        return
    file = _history_file()
    if kept:
        readline.set_history_length(_KEPT)
        with contextlib.suppress(OSError):
            readline.read_history_file(file)
    try:
        yield
    finally:
        if kept:
            with contextlib.suppress(OSError):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch(0o600)  # questions may be private
                readline.write_history_file(file)


def _history_file() -> Path:
    """Returns the file of the history, in the user's folder of states (XDG)."""
    states = Path(os.environ.get("XDG_STATE_HOME", ""))
    home = states if states.is_absolute() else Path.home() / ".local" / "state"
    return home / "spladev3-anserini" / "questions"
