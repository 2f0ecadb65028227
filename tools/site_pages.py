"""Hooks of mkdocs: documents of the top folder and docstrings of the API -> pages of the site."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: The page that each document outside docs/ becomes.
PAGES = {"README.md": "index.md", "recipes/README.md": "recipes.md",
         "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md",
         "CHANGELOG.md": "changelog.md"}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages whose text is not in docs/."""
    from mkdocs.structure.files import File

    for source, page in PAGES.items():
        text = with_links_of_the_site((ROOT / source).read_text("utf-8"), (ROOT / source).parent)
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "api.md", content=api_page()))
    return files


def on_page_markdown(markdown: str, page: Any, **rest: Any) -> str:
    """Links of a page in docs/ to a document outside it lead to the page of that document."""
    if page.file.abs_src_path is None:  # generated
        return markdown
    return with_links_of_the_site(markdown, Path(page.file.abs_src_path).parent)


def with_links_of_the_site(markdown: str, folder: Path) -> str:
    """Markdown of a file in `folder`, with relative links that work in the site.

    A link to a document becomes one to its page. A link to any other file outside docs/ becomes
    plain text.
    """
    here = folder.relative_to(ROOT / "docs") if folder.is_relative_to(ROOT / "docs") else Path()

    def page_link(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        path = (folder / target).resolve()
        if path.is_dir():
            path /= "README.md"
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
        page = PAGES.get(name) or (name.removeprefix("docs/") if name.startswith("docs/") else None)
        return f"[{label}]({'../' * len(here.parts)}{page}{anchor})" if page else label

    return re.sub(r"\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)", page_link, markdown)


def api_page() -> str:
    """Every public name with its signature and docstring."""
    import spladev3_anserini as splade

    parts = ["# API", "", "`import spladev3_anserini as splade`", "",
             "[From Python](python.md) shows it in use.", ""]
    for name in ("load", "Model", "open_index", "Index", "Hit", "TextHit", "read_run", "Run",
                 "Evaluation", "fuse", "compare", "Compared", "SpladeError", "InputError",
                 "JavaError"):
        thing = getattr(splade, name)
        parts += section(f"## splade.{name}", name, thing)
        if inspect.isclass(thing) and not issubclass(thing, (tuple, Exception)):
            for own, member in vars(thing).items():
                if not own.startswith("_") and (callable(member) or isinstance(
                        member, (property, classmethod))):
                    parts += section(f"### {name}.{own}", own, member)
    return "\n".join(parts) + "\n"


def section(heading: str, name: str, thing: Any) -> list[str]:
    """A heading, the signature and the docstring, whose parts become lists."""
    function = getattr(thing, "__func__", thing)
    lines: list[str] = []
    if not isinstance(thing, property) and not inspect.isclass(thing):
        signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))
        lines = ["```python", f"{name}{signature}", "```", ""]
    for line in (inspect.getdoc(function) or "").splitlines():
        if re.fullmatch(r"(Args|Returns|Yields|Raises|Attributes):", line):
            lines += [f"**{line[:-1]}**", ""]
        elif item := re.match(r"    (\w+): (.*)", line):
            lines.append(f"* `{item[1]}`: {item[2]}")
        elif line.startswith("    "):
            lines.append(re.sub("^ {4,8}", "    " if line.startswith(" " * 8) else "", line))
        else:
            lines.append(line)
    return [heading, "", *lines, ""]
