"""Text of files -> the same text in Markdown and LaTeX, as nothing but text."""

from __future__ import annotations

import re

from spladev3_anserini.errors import visible

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def markdown(text: str) -> str:
    """Text that is shown as it is: no emphasis, code, HTML, entity, formula, heading, list or link,
    and no end of a table's cell. GitHub makes links of bare addresses too."""
    words = visible(" ".join(text.split()))
    words = re.sub(r"[\\`*_|<&$~#]|\](?=[(\[:])|:(?=//)|(?<=\bwww)\.|@(?=[\w.-]*\.)", r"\\\g<0>",
                   words)
    return re.sub(r"^([-+>=]|\d+(?=[.)]))", lambda found: f"\\{found[0]}" if not
                  found[0].isdigit() else f"{found[0]}\\", words)


def latex(text: str) -> str:
    """Text that TeX takes for no command, and for no character of its own."""
    return re.sub(r"[\\~^&%$#_{}<>|]", lambda found: _LATEX.get(
        found[0], f"${found[0]}$" if found[0] in "<>|" else f"\\{found[0]}"),
        visible(" ".join(text.split())))
