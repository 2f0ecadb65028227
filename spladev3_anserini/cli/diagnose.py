"""Command: the files of a training -> checks for known failures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import (
    format_option,
    html_option,
    measure_option,
    named_paths,
    runs_option,
)
from spladev3_anserini.cli.types import FILE, FOLDER
from spladev3_anserini.errors import InputError, refuse_without
from spladev3_anserini.text import counted, table

if TYPE_CHECKING:
    from spladev3_anserini.analysis.diagnosis import Sign

#: The runs of each set of judgments: one of the start model, one of the trained model.
_RUNS = ("start", "trained")


@click.command("diagnose", context_settings=SETTINGS)
@click.option("--trained", type=FOLDER,
              help="The folder that `train` wrote, with its curves and settings.")
@click.option("--scores", type=FILE,
              help="The ensemble.json that `score` wrote, or the folder it is in.")
@click.option("--encoded", type=FOLDER, help="A corpus encoded with the trained model.")
@click.option("--in-domain", metavar="[NAME=]QRELS",
              help="Relevance judgments of the domain that the model was trained for. Needs "
              "--run start=... and --run trained=...")
@click.option("--zero-shot", multiple=True, metavar="[NAME=]QRELS",
              help="Relevance judgments of another domain. Needs the same runs. Repeat the "
              "option for several.")
@runs_option()
@measure_option
@html_option("Also write a page with the curves.")
@click.option("--plot", type=FILE, help="Also draw the curves of --trained, and nDCG@10 against "
              "FLOPS of its validated checkpoints, to a .svg or .png file.")
@format_option()
def main(trained: Path | None, scores: Path | None, encoded: Path | None,
         in_domain: str | None, zero_shot: tuple[str, ...], runs: tuple[str, ...],
         measure: str, html: Path | None, plot: Path | None, form: str) -> None:
    """Check a training for the known ways in which SPLADE fails.

    The checks look for teachers that disagree, a loss that dominates the others, sparsity that
    collapses, regularisers that do not arrive, dead and saturated terms, and a gain in the domain
    of the training with a loss in another domain. Each check compares a number with a limit. Every
    option is optional: the command checks what you give.

    If there are several sets of judgments, name each (--zero-shot nq=nq.qrels) and its runs
    (--run nq/start=a.run --run nq/trained=b.run).

    \b
    Example:
      spladev3-anserini diagnose --trained model --scores scores \\
        --encoded encoded --zero-shot qrels.txt --run start=start.run \\
        --run trained=trained.run
    """
    from spladev3_anserini.analysis.diagnosis import (
        loss_signs,
        ramp_signs,
        read_curves,
        read_full_weights,
        read_loss,
        sparsity_signs,
        teacher_signs,
        term_signs,
    )
    from spladev3_anserini.analysis.diagnosis_page import training_drawers, write_diagnosis_page
    from spladev3_anserini.analysis.plots import checked_suffix
    from spladev3_anserini.analysis.validation_plot import save_plots
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.impacts.manifest import read_record
    from spladev3_anserini.training.ensemble import EnsembleRecord

    if plot and trained is None:
        raise InputError("--plot: draws the curves of a training; add --trained")
    sets = _sets(in_domain, zero_shot, runs)
    for option, file in (("--html", html), ("--plot", plot)):
        if file:
            checked_suffix(file, option) if file == plot else refuse_without(
                "matplotlib", option, "analysis")
            refuse_overwriting(file, option, trained=trained, scores=scores, encoded=encoded,
                               zero_shot=[str(path) for own in sets.values() for path in own[:3]])
    signs, plots = [], []
    if scores:
        signs += teacher_signs(read_record(
            EnsembleRecord, scores / "ensemble.json" if scores.is_dir() else scores))
    if trained:
        curves, loss = read_curves(trained / "curves.jsonl"), read_loss(trained)
        plots = training_drawers(trained, curves, loss)
        signs += loss_signs(curves, loss) + sparsity_signs(curves)
        signs += ramp_signs(curves, read_full_weights(trained))
    if encoded:
        signs += term_signs(encoded, _vocabulary(trained, encoded))
    for qrels, before, after, unseen in sets.values():
        signs.append(_transfer(qrels, before, after, measure, unseen))
    if not signs:
        raise InputError("nothing to look at: give --trained, --scores, --encoded, --in-domain or "
                         "--zero-shot")
    echo([sign._asdict() for sign in signs] if form == "json" else _text(signs))
    if html:
        title = f"Diagnosis of {trained or scores or encoded or 'runs'}"
        write_diagnosis_page(html, title, signs, plots)
    if plot:
        save_plots(plot, plots)


def _vocabulary(trained: Path | None, encoded: Path) -> int | None:
    """Returns the number of terms of the trained model; None without one.

    Raises InputError if the corpus was encoded with another tokenizer.
    """
    if trained is None:
        return None
    from spladev3_anserini.impacts.shards import read_manifest
    from spladev3_anserini.model.tokenizer import Tokenizer

    tokenizer = Tokenizer(trained)
    if read_manifest(encoded).fingerprint.tokenizer != tokenizer.sha256:
        raise InputError(f"--encoded {encoded}: was encoded with another tokenizer than that of "
                         f"{trained}; encode with the trained model")
    return len(tokenizer.terms)


def _sets(in_domain: str | None, zero_shot: tuple[str, ...],
          runs: tuple[str, ...]) -> dict[str, tuple[Path, Path, Path, bool]]:
    """Returns {set: (judgments, run of the start model, run of the trained model, zero-shot)}."""
    near = named_paths("--in-domain", (in_domain,) if in_domain else ())
    far, files = named_paths("--zero-shot", zero_shot), named_paths("--run", runs)
    if repeated := near.keys() & far.keys():
        raise InputError(f"--zero-shot {min(repeated)}: --in-domain has that name already")
    qrels = near | far
    prefixes = dict.fromkeys(qrels, "") if len(qrels) == 1 and files.keys() == {*_RUNS} else {
        name: f"{name}/" for name in qrels}
    expected = [f"{prefix}{run}" for prefix in prefixes.values() for run in _RUNS]
    if files.keys() != {*expected}:
        if not qrels:
            raise InputError("--run: needs the judgments, --in-domain or --zero-shot")
        names = [*_RUNS] if len(qrels) == 1 else expected
        raise InputError(f"--run: expected {', '.join(f'{name}=FILE' for name in names)}")
    return {name: (qrels[name], files[f"{prefix}start"], files[f"{prefix}trained"], name in far)
            for name, prefix in prefixes.items()}


def _transfer(qrels: Path, start: Path, trained: Path, measure: str, unseen: bool) -> Sign:
    from spladev3_anserini.analysis.diagnosis import transfer_sign
    from spladev3_anserini.evaluation.query_values import query_values

    before, after = query_values(str(qrels), {"start": start, "trained": trained},
                                 measure).values()
    return transfer_sign(qrels.name, list(before.values()),
                         [after[query] for query in before], measure, unseen)


def _text(signs: list[Sign]) -> str:
    rows = [["", "expected", "found", "limit"]]
    rows += [["look" if sign.alarming else "fine", sign.subject, sign.found, sign.limit]
             for sign in signs]
    alarming = [sign for sign in signs if sign.alarming]
    notes = "".join(f"\n{sign.subject}: {sign.meaning}" for sign in alarming)
    summary = f"{len(alarming)} of {counted(len(signs), 'sign')} to look at"
    return f"{table(rows, words=4)}\n\n{summary}{':' if alarming else ''}{notes}"
