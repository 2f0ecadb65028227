"""Command: a question of the paper -> runs of all its rows, tables with tests, and plots."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import recipes_option
from spladev3_anserini.cli.types import FILE, FOLDER
from spladev3_anserini.errors import InputError


@click.command("experiments", context_settings=SETTINGS)
@click.argument("study", metavar="QUESTION", required=False)
@click.option("--output", default=Path("experiments"), type=FOLDER,
              help="The folder where all questions keep their files and share what they can.")
@click.option("--part", "parts", multiple=True, metavar="NAME", show_default="all",
              help="A part of the question. Repeat the option for several.")
@click.option("--recipe", "chosen", multiple=True, metavar="NAME", show_default="all",
              help="Run only this recipe of the question. Repeat the option for several.")
@click.option("--full", is_flag=True,
              help="Train on all 12,889 questions instead of 500. This needs a GPU.")
@click.option("--device", default="auto", metavar="DEVICE",
              help="The device: cpu or cuda; auto uses a GPU if there is one.")
@click.option("--record", type=FILE,
              help="Run nothing: print the tables of this record.")
@recipes_option
def main(study: str | None, output: Path, parts: tuple[str, ...], chosen: tuple[str, ...],
         full: bool, device: str, record: Path | None, recipes: Path | None) -> None:
    """Answer one of the paper's open questions with data.

    QUESTION is r1, r2, r3 or ablations (without it, they are listed), or the path of such a file.
    Each row is a recipe, run as `reproduce run` does on each collection. Rows share what they can,
    and an interrupted command continues. The values go to OUTPUT/QUESTION.json after each run. The
    tables are printed as Markdown, and the plots are written beside the record.

    \b
    Example:
      spladev3-anserini experiments r1 --part untrained
    """
    from spladev3_anserini.analysis.study_page import draw_study, part_count, study_markdown
    from spladev3_anserini.analysis.study_record import read_study_record
    from spladev3_anserini.cli.commands import invoke
    from spladev3_anserini.recipe.library import Library, default_folder, name_of
    from spladev3_anserini.reproduction.full_size import full_size_library
    from spladev3_anserini.reproduction.session import Options
    from spladev3_anserini.reproduction.studies import run_study

    library = Library(recipes or default_folder())
    if study is None:
        if record:
            raise InputError("--record: name the QUESTION that it is of")
        for name in library.studies():
            echo(f"{name}: {library.study(name).title} ({part_count(library.study(name))})")
        return
    asked, name = library.study(study), name_of(study)
    with tempfile.TemporaryDirectory() as temporary:
        if full:
            library = full_size_library(library.folder, Path(temporary) / "recipes")
        if record:
            found = read_study_record(record)
            if found.study != name:
                raise InputError(f"{record}: is of {found.study}, not of {name}")
        else:
            found = run_study(name, asked, library, output, Options(device=device), invoke,
                              parts=parts, recipes=chosen, full_size=full)
        titles = {on: library.collection(on).title for part in asked.parts.values()
                  for on in part.collections}
    echo(study_markdown(asked, found, titles))
    if not record:
        for path in draw_study(asked, found, titles, output):
            echo(f"{path}: written", err=True)
