"""Plain text -> the same text escaped for Markdown or LaTeX."""

from __future__ import annotations

import re

from spladev3_anserini.text import visible

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def markdown(text: str) -> str:
    """Escapes a text so that Markdown shows it unchanged, on one line.

    It contains no emphasis, code, HTML, entity, formula, heading or link, and it does not end a
    table's cell. Bare addresses are escaped too, because GitHub turns them into links.
    """
    return re.sub(r"[\\`*_|<&$~#]|\](?=[(\[:])|:(?=//)|(?<=\bwww)\.|@(?=[\w.-]*\.)", r"\\\g<0>",
                  visible(" ".join(text.split())))


def markdown_paragraph(text: str) -> str:
    """Escapes a text as `markdown` does, and so that it begins no list and no quotation."""
    return re.sub(r"^(\d*)([-+>=.)])", r"\1\\\2", markdown(text))


def latex(text: str) -> str:
    """Escapes a text so that LaTeX prints it unchanged: no command, no special character."""
    return re.sub(r"[\\~^&%$#_{}<>|]", lambda match: _LATEX.get(
        match[0], f"${match[0]}$" if match[0] in "<>|" else f"\\{match[0]}"),
        visible(" ".join(text.split())))
