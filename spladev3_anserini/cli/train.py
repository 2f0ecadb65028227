"""Command: a recipe, candidates and scores -> a trained checkpoint."""

from __future__ import annotations

import re
from pathlib import Path

import click

from spladev3_anserini.cli import signals
from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.model_options import query_weights_option
from spladev3_anserini.cli.options import TOPICS_HELP, corpus_option, recipes_option, topics_option
from spladev3_anserini.cli.types import (
    DATA,
    FILE,
    FOLDER,
    MODEL,
    QRELS,
    RECIPE,
    TOPICS,
    Number,
    WholeNumber,
)
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted


@click.command("train", context_settings=SETTINGS)
@click.option("--recipe", type=RECIPE, help="A recipe with a training section, by name or path.")
@click.option("--quick", is_flag=True, help="Take a default for every value that the recipe would "
              "say, for --data. They are printed, and written as a recipe.")
@click.option("--data", type=DATA, help="Questions and answers as you have them, instead of "
              "candidates, scores, corpus and topics: JSON lines, TSV, CSV (.gz too), parquet, or "
              "a folder of Hugging Face datasets. Negatives are mined if it has none.")
@click.option("--candidates", type=FILE, help="The candidates, as `mine` writes them.")
@click.option("--scores", type=FILE,
              help="The teachers' scores, as `score` writes them; none if the recipe has no "
              "teachers.")
@corpus_option(required=False, default="the recipe's")
@topics_option(f"The training queries. {TOPICS_HELP}", required=False, default="the recipe's")
@click.option("--start-from", "start", show_default="the recipe's", type=MODEL,
              help="The model that training starts from.")
@query_weights_option("The table that weights the queries of the variant static, instead of the "
                      "start's own: JSON, or term TAB weight per line; idf counts it from the "
                      "corpus. It is trained if the recipe's query_table has a learning rate.")
@click.option("--output", required=True, type=FOLDER, help="The model folder to write.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Change a value of the training section, such as loss.kl=0.5. Repeat the "
              "option for several.")
@click.option("--resume/--no-resume", default=False,
              help="If OUTPUT holds this training, continue from its newest checkpoint, or "
              "refuse.")
@click.option("--overwrite", is_flag=True,
              help="If OUTPUT holds another training, replace it. The same training continues.")
@click.option("--max-steps", type=WholeNumber(min=1), show_default="all epochs",
              help="Stop after this many optimiser steps.")
@click.option("--accumulate", default=1, type=WholeNumber(min=1),
              help="Batches per optimiser step.")
@click.option("--checkpointing", is_flag=True,
              help="Recompute activations in the backward pass. Slower, with far less memory.")
@click.option("--save-steps", default=0, type=WholeNumber(min=0), show_default="each epoch",
              help="Optimiser steps between checkpoints, which are validated.")
@click.option("--log-steps", default=50, type=WholeNumber(min=1),
              help="Optimiser steps between two values of the curves.")
@click.option("--validate", metavar="FOLDER|N", help="Validate the start and each checkpoint: a "
              "folder in BEIR's layout, or how many training queries to hold out. 0 leaves out the "
              "recipe's validation.")
@click.option("--validate-topics", type=TOPICS, show_default="the recipe's",
              help="Validate on these questions, among the documents of the corpus. A recipe may "
              "say how many of both are drawn.")
@click.option("--validate-qrels", type=QRELS, show_default="the recipe's",
              help="The judgments of --validate-topics.")
@click.option("--keep", type=click.Choice(("best", "better", "last")),
              show_default="the recipe's, or best; better with --quick",
              help="The validated checkpoint that OUTPUT holds: the best, the last, or the best if "
              "it is better than the start with p < .05, and else the start.")
@click.option("--patience", type=WholeNumber(min=0), show_default="the recipe's, or never",
              help="Stop after this many validations in a row without a better one.")
@click.option("--max-terms", type=Number(min=0, min_open=True), show_default="the recipe's, or any",
              help="The most terms per document of a best checkpoint.")
@click.option("--max-flops", type=Number(min=0, min_open=True), show_default="the recipe's, or any",
              help="The most FLOPS of a best checkpoint.")
@click.option("--workers", type=WholeNumber(min=0), show_default="0 on a CPU, up to 4 on a GPU",
              help="Processes that tokenise the next batches.")
@click.option("--tensorboard", is_flag=True, help="Also log the curves for TensorBoard.")
@click.option("--device", default="auto", metavar="DEVICE",
              help="The device: cpu or cuda; auto uses a GPU if there is one.")
@recipes_option
def main(recipe: str | None, quick: bool, data: str | None, candidates: Path | None,
         scores: Path | None, corpus: str | None, topics: str | None,
         start: str | None, query_weights: str | None, output: Path, changes: tuple[str, ...],
         resume: bool, overwrite: bool, max_steps: int | None, accumulate: int,
         checkpointing: bool, save_steps: int, log_steps: int, tensorboard: bool, device: str,
         recipes: Path | None, validate: str | None, validate_topics: str | None,
         validate_qrels: str | None, keep: str | None, patience: int | None,
         max_terms: float | None, max_flops: float | None, workers: int | None) -> None:
    """Train a model by a recipe, from the teachers' scores.

    The loss is KL divergence and MarginMSE, as the recipe says. OUTPUT is a model that `encode`,
    transformers, sentence-transformers and Pyserini read. It also holds a card (README.md), the
    training's curves and checkpoints. On several GPUs:
    torchrun --nproc-per-node N -m spladev3_anserini.train ...

    \b
    Example:
      spladev3-anserini train --quick --data pairs.jsonl --start-from demo \\
        --output model
      spladev3-anserini train --recipe splade-v3 --candidates candidates.jsonl \\
        --scores scores/ensemble.jsonl --output model
    """
    if data is not None or quick:
        from spladev3_anserini.cli.own_training import train_on_data
        train_on_data(click.get_current_context())
        return
    if recipe is None or candidates is None:
        raise InputError(f"--{'candidates' if recipe else 'recipe'}: is missing (or --data and "
                         "--quick: own questions and answers need neither)")
    from spladev3_anserini.encoding.processes import die_with_parent
    from spladev3_anserini.model.checkpoint import open_checkpoint
    from spladev3_anserini.model.variants import variant_named
    from spladev3_anserini.recipe.library import Library, default_folder, name_of
    from spladev3_anserini.recipe.validation import changed_training
    from spladev3_anserini.training.checkpoints import BEGUN
    from spladev3_anserini.training.launch import world_size
    from spladev3_anserini.training.machine import Machine
    from spladev3_anserini.training.run import train_model
    from spladev3_anserini.training.selection import choose_validating, outcome_text

    if world_size() > 1:
        signals.end_at_once()
        die_with_parent()
    recipe_data = Library(recipes or default_folder()).recipe(recipe)
    if recipe_data.training is None:
        raise InputError(f"--recipe {recipe}: has no training section")
    section = changed_training(recipe_data.training, changes)
    if section.rounds != recipe_data.training.rounds:
        raise InputError(f"--set rounds={section.rounds}: train trains one round; `reproduce run` "
                         "trains all that a recipe has, and `reproduce show` prints their commands")
    elsewhere, corpus, topics = corpus is not None, corpus or section.corpus, \
        topics or section.topics
    for option, value in (("corpus", corpus), ("topics", topics)):
        if re.match("(demo|insuranceqa):", value):
            raise InputError(f"--recipe {recipe}: only reproduce run has its {option}, {value}; "
                             f"give --{option}")
    checkpoint = open_checkpoint(start or section.start, option="--start-from")
    validating = choose_validating(
        section, corpus, validate, validate_topics, validate_qrels, elsewhere=elsewhere,
        patience=patience, max_terms=max_terms, max_flops=max_flops,
        keep=keep)
    if validating and section.validation:
        save_steps = save_steps or section.validation.steps or 0
    machine = Machine(device=device, accumulate=accumulate, checkpointing=checkpointing,
                      save_steps=save_steps, log_steps=log_steps, max_steps=max_steps or -1,
                      tensorboard=tensorboard, workers=workers)
    sources = {"candidates": str(candidates), "corpus": corpus, "topics": topics,
               **({"scores": str(scores)} if scores else {})}
    last = train_model(section, variant_named(recipe_data.variant), checkpoint, sources, output,
                       machine=machine, replace=overwrite, query_weights=query_weights,
                       recipe=name_of(recipe), title=recipe_data.title, validating=validating,
                       resume=resume or (overwrite and (output / BEGUN).exists()))
    if last:
        logged = ("loss", "kl", "margin_mse", "contrastive", "nonzero_queries",
                 "nonzero_documents")
        values = ", ".join(f"{name} {last[name]:.4g}" for name in logged if name in last)
        echo(f"{output}: trained on {counted(int(last['queries']), 'query')}; step {last['step']}: "
             f"{values}")
        if "validation" in last:
            echo(f"{output}: {outcome_text(last['validation'])}")
