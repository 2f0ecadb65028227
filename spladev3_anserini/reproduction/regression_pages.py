"""Collections and their declared values -> pages of documentation."""

from __future__ import annotations

from pathlib import Path

from spladev3_anserini.recipe.library import Library
from spladev3_anserini.recipe.schema import Collection
from spladev3_anserini.reproduction.experiment import Experiment, open_experiment
from spladev3_anserini.text import counted

_MADE = ("<!-- Written by `spladev3-anserini reproduce pages` from recipes/; change those, not "
         "this. -->")


def pages(library: Library) -> dict[str, str]:
    """{file name: Markdown}: a page for each collection, and an index of them."""
    recipes = [name for name, path in library.recipes().items() if path.parent == library.folder]
    made, rows = {}, []
    for name in library.collections():
        experiments = [open_experiment(library, recipe, name, Path("reproduced"))
                       for recipe in recipes]
        collection = library.collection(name)
        made[f"{name}.md"] = _page(name, collection, [c for c in experiments if c.declared()])
        sources = sorted({block.by.source for experiment in experiments
                          for block in experiment.declared()})
        rows.append(f"| [{name}]({name}.md) | {collection.title} | "
                    f"{', '.join(collection.query_sets)} | {', '.join(sources) or 'none'} |")
    made["README.md"] = "\n".join([
        "# Regressions", "", _MADE, "",
        "One page for each collection in `recipes/collections/`. What is declared comes from the",
        "paper (arXiv 2403.06789), from Anserini's regressions, or was measured with this toolkit.",
        "", "| collection | what it is | query sets | declared by |", "|---|---|---|---|", *rows,
        ""])
    return made


def _page(name: str, collection: Collection, experiments: list[Experiment]) -> str:
    facts = [("corpus", f"`{_source(collection, collection.corpus)}`"),
             ("documents", f"{collection.documents:,}" if collection.documents else
              "counted by a run"),
             ("licence", collection.licence or "see the collection's own terms")]
    lines = [f"# {collection.title}", "", _MADE, ""]
    if collection.note:
        lines += [collection.note, ""]
    lines += ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts), "",
              "| query set | queries | judgments | topics and qrels | in Pyserini | measures |",
              "|---|---|---|---|---|---|"]
    for set_name, own in collection.query_sets.items():
        sources = dict.fromkeys((_source(collection, own.topics), _source(collection, own.qrels)))
        lines.append(
            f"| {set_name} | {own.queries or '':,} | " if own.queries else f"| {set_name} | | ")
        lines[-1] += (f"{own.judgments:,} | " if own.judgments else " | ") + (
            ", ".join(f"`{s}`" for s in sources)
            + f" | {f'`{own.pyserini}`' if own.pyserini else ''} | {_all(own.measures)} |")
    for experiment in experiments:
        lines += ["", *_section(name, experiment)]
    if not experiments:
        lines += ["", "Nothing is declared for it; any recipe runs on it, with the verdict",
                  "`[no reference]`."]
    return "\n".join(lines) + "\n"


def _section(name: str, experiment: Experiment) -> list[str]:
    lines = [f"## {experiment.recipe_name}", "", "```",
             f"spladev3-anserini reproduce run {experiment.recipe_name} --on {name}", "```", ""]
    sources: list[str] = []
    rows = ["| set | measure | value | source |", "|---|---|---|---|"]
    for block in experiment.declared():
        by = block.by
        settings = ", ".join(f"{k} {v}" for k, v in by.settings.stated().items()) or "none stated"
        said = f"{by.where}{f', {by.date}' if by.date else ''}"
        number = len(sources) + 1
        sources.append(f"{number}. **{by.source}**: {said}. Settings: {settings}. Tolerance "
                       f"{by.tolerance.measures:g}: {by.tolerance.because}")
        rows += [f"| {set_name} | {_all([measure])} | {value:.4f} | {by.source} ({number}) |"
                 for set_name, measures in block.values.items()
                 for measure, value in measures.items()]
        rows += [f"| index | {key.replace('_', ' ')} | {value:,} | {by.source} ({number}) |"
                 for key, value in block.statistics.stated().items()]
    prebuilt = experiment.recipe.prebuilt
    if prebuilt and name in prebuilt.indexes:
        own = ", ".join(f"{k} {v}" for k, v in prebuilt.settings.stated().items())
        lines += [f"`--prebuilt` searches Pyserini's `{prebuilt.indexes[name]}` instead ({own}).",
                  ""]
    return [*lines, *rows, "", *sources]


def _source(collection: Collection, source: str) -> str:
    return f"{collection.root}/{source}" if collection.root else source


def _all(measures: list[str]) -> str:
    return ", ".join(measures).replace("*", "\\*")


def write_pages(made: dict[str, str], folder: Path) -> str:
    """Writes pages into a folder, takes out those of collections that are gone, and says so."""
    from spladev3_anserini.files import appearing

    folder.mkdir(parents=True, exist_ok=True)
    gone = [f for f in folder.glob("*.md") if f.name not in made and _MADE in f.read_text("utf-8")]
    for file in gone:
        file.unlink()
    for name, text in made.items():
        with appearing(folder / name) as stream:
            stream.write(text)
    return f"{folder}: {counted(len(made), 'page')} written, {len(gone)} removed"
