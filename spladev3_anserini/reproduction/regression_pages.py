"""Collections and their declared values -> pages of documentation."""

from __future__ import annotations

from pathlib import Path

from spladev3_anserini.recipe.library import Library, declared_values
from spladev3_anserini.recipe.schema import Collection, Settings
from spladev3_anserini.reproduction.experiment import Experiment, open_experiment
from spladev3_anserini.reproduction.verdict import citation
from spladev3_anserini.text import counted

#: A line of every generated page; a page without it is never removed.
_GENERATED = ("<!-- Written by `spladev3-anserini reproduce pages` from recipes/; change those, "
              "not this. -->")


def render_pages(library: Library) -> dict[str, str]:
    """Returns {file name: Markdown}: a page for each collection, and their index README.md."""
    names = [name for name, path in library.recipes().items() if path.parent == library.folder]
    recipes = {name: library.recipe(name) for name in [*names, *library.baselines()]}
    pages, rows = {}, []
    for name in library.collections():
        collection = library.collection(name)
        experiments = [open_experiment(library, recipe, name, Path("reproduced"))
                       for recipe, content in recipes.items()
                       if any(declared_values(recipe, content, name, collection))]
        pages[f"{name}.md"] = _page(name, collection, experiments)
        sources = sorted({block.by.source for experiment in experiments
                          for block in experiment.declared_values()})
        rows.append(f"| [{name}]({name}.md) | {collection.title} | "
                    f"{', '.join(collection.query_sets)} | {', '.join(sources) or 'none'} |")
    pages["README.md"] = "\n".join([
        "# Regressions", "", _GENERATED, "",
        "One page for each collection in `recipes/collections/`. Declared values come from the",
        "paper (arXiv 2403.06789), from Anserini's regressions, or from measurements with this",
        "toolkit.",
        "", "| collection | what it is | query sets | declared by |", "|---|---|---|---|", *rows,
        ""])
    return pages


def _page(name: str, collection: Collection, experiments: list[Experiment]) -> str:
    facts = [("corpus", f"`{_source_text(collection, collection.corpus)}`"),
             ("documents", f"{collection.documents:,}" if collection.documents else
              "counted by a run"),
             ("licence", collection.licence or "see the collection's terms")]
    lines = [f"# {collection.title}", "", _GENERATED, ""]
    if collection.note:
        lines += [collection.note, ""]
    lines += ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts), "",
              "| query set | queries | judgments | topics and qrels | in Pyserini | measures |",
              "|---|---|---|---|---|---|"]
    for set_name, query_set in collection.query_sets.items():
        sources = dict.fromkeys(_source_text(collection, source)
                                for source in (query_set.topics, query_set.qrels))
        cells = [set_name, f"{query_set.queries:,}" if query_set.queries else "",
                 f"{query_set.judgments:,}" if query_set.judgments else "",
                 ", ".join(f"`{source}`" for source in sources),
                 f"`{query_set.pyserini}`" if query_set.pyserini else "",
                 _measure_list(query_set.measures)]
        lines.append(f"| {' | '.join(cells)} |")
    for experiment in experiments:
        lines += ["", *_section(name, experiment)]
    if not experiments:
        lines += ["", "No values are declared for this collection. Any recipe runs on it; the",
                  "verdict is `[no reference]`."]
    return "\n".join(lines) + "\n"


def _section(name: str, experiment: Experiment) -> list[str]:
    lines = [f"## {experiment.recipe_name}", "", "```",
             f"spladev3-anserini reproduce run {experiment.recipe_name} --on {name}", "```", ""]
    sources: list[str] = []
    rows = ["| set | measure | value | source |", "|---|---|---|---|"]
    for block in experiment.declared_values():
        by = block.by
        settings = _settings_text(by.settings) or "none stated"
        number = len(sources) + 1
        sources.append(f"{number}. **{by.source}**: {citation(block)}. Settings: {settings}. "
                       f"Tolerance {by.tolerance.measures:g}: {by.tolerance.because}")
        rows += [f"| {set_name} | {_measure_list([measure])} | {value:.4f} | "
                 f"{by.source} ({number}) |"
                 for set_name, measures in block.values.items()
                 for measure, value in measures.items()]
        rows += [f"| index | {key.replace('_', ' ')} | {value:,} | {by.source} ({number}) |"
                 for key, value in block.statistics.stated_values().items()]
    prebuilt = experiment.recipe.prebuilt
    if prebuilt and name in prebuilt.indexes:
        lines += [f"`--prebuilt` searches Pyserini's `{prebuilt.indexes[name]}` instead "
                  f"({_settings_text(prebuilt.settings)}).", ""]
    return [*lines, *rows, "", *sources]


def _settings_text(settings: Settings) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.stated_values().items())


def _source_text(collection: Collection, source: str) -> str:
    return f"{collection.root}/{source}" if collection.root else source


def _measure_list(measures: list[str]) -> str:
    """Returns measures as text; a star is escaped, because Markdown would make it emphasis."""
    return ", ".join(measures).replace("*", "\\*")


def write_pages(pages: dict[str, str], folder: Path) -> str:
    """Writes pages, {file name: Markdown}, into a folder; returns what it did, for people.

    Generated pages of collections that no longer exist are removed.
    """
    from spladev3_anserini.files import appearing

    folder.mkdir(parents=True, exist_ok=True)
    outdated = [file for file in folder.glob("*.md")
                if file.name not in pages and _GENERATED in file.read_text("utf-8")]
    for file in outdated:
        file.unlink()
    for name, text in pages.items():
        with appearing(folder / name) as stream:
            stream.write(text)
    return f"{folder}: {counted(len(pages), 'page')} written, {len(outdated)} removed"
