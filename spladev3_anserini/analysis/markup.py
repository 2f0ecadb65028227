"""Text of files -> the same text in Markdown and LaTeX, as nothing but text."""

from __future__ import annotations

import re

from spladev3_anserini.text import visible

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def markdown(text: str) -> str:
    """Text that is shown as it is: no emphasis, code, HTML, entity, formula, heading or link, and
    no end of a table's cell. GitHub makes links of bare addresses too."""
    return re.sub(r"[\\`*_|<&$~#]|\](?=[(\[:])|:(?=//)|(?<=\bwww)\.|@(?=[\w.-]*\.)", r"\\\g<0>",
                  visible(" ".join(text.split())))


def markdown_paragraph(text: str) -> str:
    """As `markdown`, and its beginning makes no list and no quotation."""
    return re.sub(r"^(\d*)([-+>=.)])", r"\1\\\2", markdown(text))


def latex(text: str) -> str:
    """Text that TeX takes for no command, and for no character of its own."""
    return re.sub(r"[\\~^&%$#_{}<>|]", lambda found: _LATEX.get(
        found[0], f"${found[0]}$" if found[0] in "<>|" else f"\\{found[0]}"),
        visible(" ".join(text.split())))
