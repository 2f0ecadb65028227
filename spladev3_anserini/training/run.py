"""A training section, candidates and scores -> the folder of a trained model."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from spladev3_anserini.errors import InputError, first_line, out_of_memory, refuse_without
from spladev3_anserini.files import appearing, naming
from spladev3_anserini.impacts.query_weights import QueryTable, Weights, hash_of_weights
from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.model.loading import quiet_transformers
from spladev3_anserini.model.tokenizer import Tokenizer, refuse_other_vocabulary
from spladev3_anserini.model.variants import Variant
from spladev3_anserini.progress import log, warn
from spladev3_anserini.recipe.training import ARRIVED, Training
from spladev3_anserini.text import counted
from spladev3_anserini.training.card import card_details, write_card
from spladev3_anserini.training.checkpoints import (
    RECORD,
    absolute,
    exclusive_output,
    newest_intact_checkpoint,
    training_record,
)
from spladev3_anserini.training.dataset import Collator, Examples
from spladev3_anserini.training.distributed import ending_with_others, leave_ranks
from spladev3_anserini.training.machine import (
    Machine,
    optimizer_steps,
    trainer_arguments,
    training_device,
)
from spladev3_anserini.training.mapped_data import TrainingData, open_training_data
from spladev3_anserini.training.model import TrainedSplade
from spladev3_anserini.training.provenance import read_provenance, warn_of_differing_scores
from spladev3_anserini.training.queries import warn_of_skipped
from spladev3_anserini.training.regularizers import ramp
from spladev3_anserini.training.saving import WRITING, save_model
from spladev3_anserini.training.selection import Selection, Validating
from spladev3_anserini.training.static_queries import (
    corpus_idf,
    scale_table,
    training_query_weights,
)
from spladev3_anserini.training.validation import Validator, split
from spladev3_anserini.training.workers import forking

_CHECKPOINTS = "checkpoints"


@quiet_transformers()
def train_model(section: Training, variant: Variant, start: Checkpoint,
                sources: Mapping[str, str], output: Path, *, machine: Machine, resume: bool,
                replace: bool = False, query_weights: QueryTable | None = None,
                validating: Validating | None = None, recipe: str = "",
                title: str = "") -> dict[str, Any]:
    """Trains a model and writes it to a folder.

    `output/checkpoints` holds the Trainer's checkpoints. On a CPU, a resumed training gives the
    weights of an uninterrupted one, bit for bit. A warning says where the scores differ from the
    section.

    Args:
        section: The training section of the recipe.
        variant: The variant to train.
        start: The checkpoint to start from.
        sources: The inputs `candidates`, `topics` and `corpus`, and `scores` if the section has
            teachers; see `open_training_data`.
        output: The folder of the trained model.
        machine: How this machine trains.
        resume: Continue from the newest intact checkpoint of this training.
        replace: Remove another training that the output holds.
        query_weights: The table of static queries; see `training_query_weights`.
        validating: How the start and each checkpoint are validated; None does not.
        recipe: The name of the recipe, for the model's card.
        title: The title of the recipe, for the model's card.

    Returns:
        The values logged at the last step, the number of `queries` and, with `validating`, the
        `validation` (see `Selection.outcome`). Only the first of several ranks gets them.

    Raises:
        InputError: An input cannot be used (see `open_training_data`), the output holds something
            else or is in use (see `exclusive_output`), the model does not fit the section, a step
            does not fit into memory, or the training fails as `SpladeTrainer` describes.
    """
    refuse_without("accelerate", "training", "train")
    if machine.tensorboard:
        refuse_without("tensorboard", "`tensorboard`", "train")
    cuda, precision = training_device(machine.device, section.precision)
    candidates, corpus = Path(sources["candidates"]), sources["corpus"]
    scores = Path(sources["scores"]) if "scores" in sources else None
    _refuse_unused_scores(section, scores)
    data = open_training_data(candidates, scores, sources["topics"], corpus, output,
                              section.candidates.drop_above)
    tokenizer = start.settings.load_tokenizer()
    table = training_query_weights(start, variant, tokenizer, query_weights, corpus,
                                   section.max_length, section.query_table)
    model = _model(section, variant, start, tokenizer, table)
    if machine.checkpointing or section.checkpointing:
        model.checkpoint_activations()
    from spladev3_anserini.training.trainer import SpladeTrainer

    record = training_record(section, variant, start, tokenizer.sha256, data.record.sha256,
                             sources, machine.accumulate, precision)
    if table is not None:
        record["query_weights"] = hash_of_weights(tokenizer.terms, table)
    record["scores"] = read_provenance(scores)
    held_out = queries = None
    if validating is not None:
        held_out, queries = split(data, validating.source, section.seed)
        record["validate"] = held_out.sha256()
        record["inputs"] |= absolute(validating.inputs())
    record["card"] = card_details(section, variant, start,
                                  data.size if queries is None else len(queries), recipe, title)
    leads = os.environ.get("RANK", "0") == "0"  # one process prepares and locks the folder
    if leads:
        warn_of_skipped(data.record.skipped, candidates, scores)
        warn_of_differing_scores(scores, candidates, section)
    idf = None
    if "idf_flops" in (section.documents.kind, section.queries.kind):
        idf = torch.zeros(model.splade.vocabulary)
        idf[:len(tokenizer.terms)] = torch.from_numpy(
            corpus_idf(corpus, tokenizer, section.max_length))
    dataset = Examples(data, section.negatives, section.seed, queries)
    if len(dataset) < section.batch_size:
        raise InputError(f"{counted(len(dataset), 'training query')} cannot fill one batch of "
                         f"{section.batch_size}")
    if leads:
        _warn_of_few(data, len(dataset), section, variant, machine)
    collator = Collator(tokenizer, section.max_length, hashes=section.loss.contrastive > 0)
    if section.query_table.scale:
        scale = scale_table(model, dataset, Collator(tokenizer, section.max_length))
        record["query_table_scale"] = scale
        if leads:
            log.info("the table of query weights is multiplied by %s", scale)
    # a copy, as training changes the tensors
    first = copy.deepcopy(model.state_dict()) if validating is not None else {}
    with ending_with_others(), (exclusive_output(output, record, resume=resume, replace=replace)
                                if leads else nullcontext()):
        arguments = trainer_arguments(section, machine, output / _CHECKPOINTS, len(dataset), cuda,
                                      precision)
        selection = validator = None
        if validating is not None and held_out is not None:
            selection = Selection(output, validating.choice)
            validator = Validator(held_out, tokenizer, section.max_length)
        trainer = SpladeTrainer(model, section, variant, tokenizer.transformers, arguments,
                                train_dataset=dataset, last_step=machine.max_steps, idf=idf,
                                data_collator=collator, validator=validator, selection=selection)
        newest = newest_intact_checkpoint(output / _CHECKPOINTS) if resume else None
        try:
            with forking(arguments.dataloader_num_workers):
                trainer.continue_from(newest)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise InputError(f"batch_size {section.batch_size}: a step does not fit into memory "
                             "(a smaller batch, `accumulate` and `checkpointing` help): "
                             f"{first_line(error)}") from error
        trainer.cuts.warn("drawn text", f"max_length {section.max_length}")
        if selection is not None:
            if (step := selection.kept.step) and selection.choice.keep != "last":
                trainer.load_checkpoint_of(step)
            elif not step:
                trainer.accelerator.unwrap_model(trainer.model).load_state_dict(first)
            record["validation"] = selection.outcome()
        if is_first := trainer.is_world_process_zero():
            _write(output, trainer, record, variant, tokenizer)
        leave_ranks()
    if not is_first:
        return {}
    logged: list[dict[str, float]] = trainer.state.log_history
    last: dict[str, Any] = next((values for values in reversed(logged) if "loss" in values), {})
    if selection is not None:
        last = last | {"validation": record["validation"]}
    return last | {"queries": len(dataset)} if last else {}


def _model(section: Training, variant: Variant, start: Checkpoint, tokenizer: Tokenizer,
           table: Weights | None) -> TrainedSplade:
    """The model that is trained; raises InputError if it does not fit the tokenizer or section."""
    torch.manual_seed(section.seed)
    dropped = sorted(tokenizer.special_ids | tokenizer.nameless)
    model = TrainedSplade(start, variant, dropped, table,
                          learns_table=section.query_table.learning_rate > 0)
    refuse_other_vocabulary(start.folder, model.splade.vocabulary, tokenizer.terms)
    if section.max_length > model.splade.max_positions:
        raise InputError(f"max_length {section.max_length}: {start.name} takes up to "
                         f"{model.splade.max_positions} wordpieces")
    return model


def _refuse_unused_scores(section: Training, scores: Path | None) -> None:
    """Raises InputError unless there are scores exactly if the section has teachers."""
    if section.teachers and scores is None:
        raise InputError(f"`scores`: are missing; the recipe's teachers are "
                         f"{', '.join(section.teachers)} (without scores: `set` teachers=[], "
                         "rescore=false, and loss.contrastive alone)")
    if scores is not None and not section.teachers:
        raise InputError(f"`scores` {scores}: the recipe has no teachers, so it takes none")


def _write(output: Path, trainer: Any, record: dict[str, Any], variant: Variant,
           tokenizer: Tokenizer) -> None:
    """Writes the model, then its curves and card, and its record last."""
    (output / RECORD).unlink(missing_ok=True)  # an older record is not of the new weights
    with naming(output, *WRITING):
        save_model(trainer.accelerator.unwrap_model(trainer.model), tokenizer.transformers, variant,
                   output)
    _write_curves(output / "curves.jsonl", trainer.state.log_history)
    record = record | {"steps": trainer.state.global_step}
    write_card(output, record)
    with appearing(output / RECORD) as stream:
        stream.write(json.dumps(record, indent=1) + "\n")


def _write_curves(path: Path, logged: list[dict[str, float]]) -> None:
    """Writes one line per logged record.

    A file that only has one line more is kept. That line is the summary of a finished training,
    which its last checkpoint does not contain.
    """
    lines = [json.dumps(record, sort_keys=True) + "\n" for record in logged]
    existing = path.read_text("utf-8", errors="replace") if path.is_file() else ""
    if existing.splitlines(keepends=True)[:-1] != lines:
        with appearing(path) as stream:
            stream.writelines(lines)


def _warn_of_few(data: TrainingData, queries: int, section: Training, variant: Variant,
                 machine: Machine) -> None:
    """Warns if there are fewer negatives, or fewer steps, than the section expects."""
    if few := int((data.negatives < section.negatives).sum()):
        warn(f"{counted(few, 'query')} with fewer than {section.negatives} negatives: some are "
             "drawn more than once")
    steps = optimizer_steps(section, machine, queries)
    sides = {"documents": section.documents} | (
        {"queries": section.queries} if variant.learns_queries else {})
    for side, regularizer in sides.items():
        reached = ramp(1.0, steps, regularizer.ramp_steps(steps))
        if regularizer.kind != "none" and regularizer.weight and reached < ARRIVED:
            warn(f"{side}.steps {regularizer.steps:,}: this training has "
                 f"{counted(steps, 'step')}, so {side}.weight only reaches {reached:.2%} of "
                 f"{regularizer.weight:g}; `set` {side}.steps=0.33 reaches it after a third of "
                 "them")
