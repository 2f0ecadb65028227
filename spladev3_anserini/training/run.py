"""A training section, candidates and scores -> the folder of a trained model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from spladev3_anserini.errors import InputError, first_line, out_of_memory, refuse_without
from spladev3_anserini.files import appearing, naming
from spladev3_anserini.impacts.query_weights import QueryTable, hash_of_weights
from spladev3_anserini.model.batches import resolved_device
from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.model.loading import quiet_transformers
from spladev3_anserini.model.tokenizer import Tokenizer, refuse_other_vocabulary
from spladev3_anserini.model.variants import Variant
from spladev3_anserini.progress import log, warn
from spladev3_anserini.recipe.training import Training
from spladev3_anserini.text import counted
from spladev3_anserini.training.checkpoints import (
    RECORD,
    exclusive_output,
    newest_intact_checkpoint,
    training_record,
)
from spladev3_anserini.training.dataset import Collator, Examples
from spladev3_anserini.training.distributed import ending_with_others, leave_ranks
from spladev3_anserini.training.launch import world_size
from spladev3_anserini.training.mapped_data import TrainingData, open_training_data
from spladev3_anserini.training.model import TrainedSplade
from spladev3_anserini.training.provenance import read_provenance, warn_of_differing_scores
from spladev3_anserini.training.queries import warn_of_skipped
from spladev3_anserini.training.regularizers import ramp
from spladev3_anserini.training.saving import WRITING, save_model
from spladev3_anserini.training.static_queries import (
    corpus_idf,
    scale_table,
    training_query_weights,
)

_CHECKPOINTS = "checkpoints"
#: A warning names a regulariser that reaches less than this share of its full weight.
_NEARLY = 0.99


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How this machine trains: settings that are not part of the recipe.

    Attributes:
        device: `auto`, `cpu` or `cuda`.
        accumulate: Batches whose gradients are added up for one optimiser step.
        checkpointing: Recompute activations instead of keeping them: less memory, slower.
        save_steps: Steps between checkpoints; 0 saves one per epoch.
        log_steps: Steps between values in the log.
        max_steps: Stop after this many steps; -1 trains all epochs of the recipe.
        tensorboard: Also write the values for TensorBoard.
    """

    device: str = "auto"
    accumulate: int = 1
    checkpointing: bool = False
    save_steps: int = 0
    log_steps: int = 50
    max_steps: int = -1
    tensorboard: bool = False


@quiet_transformers()
def train_model(section: Training, variant: Variant, start: Checkpoint,
                sources: Mapping[str, str], output: Path, *, machine: Machine, resume: bool,
                replace: bool = False,
                query_weights: QueryTable | None = None) -> dict[str, float]:
    """Trains a model and writes it to a folder.

    `output/checkpoints` holds the Trainer's checkpoints. On a CPU, a resumed training gives the
    weights of an uninterrupted one, bit for bit. A warning says where the scores differ from the
    section.

    Args:
        section: The training section of the recipe.
        variant: The variant to train.
        start: The checkpoint to start from.
        sources: The inputs `candidates`, `scores`, `topics` and `corpus`; see
            `open_training_data`.
        output: The folder of the trained model.
        machine: How this machine trains.
        resume: Continue from the newest intact checkpoint of this training.
        replace: Remove another training that the output holds.
        query_weights: The table of static queries; see `training_query_weights`.

    Returns:
        The values logged at the last step, and the number of `queries`. Only the first of several
        ranks gets them.

    Raises:
        InputError: An input cannot be used (see `open_training_data`), the output holds something
            else or is in use (see `exclusive_output`), the model does not fit the section, a step
            does not fit into memory, or the training fails as `SpladeTrainer` describes.
    """
    refuse_without("accelerate", "training", "train")
    if machine.tensorboard:
        refuse_without("tensorboard", "`tensorboard`", "train")
    cuda, precision = _device(machine.device, section.precision)
    candidates, scores, corpus = Path(sources["candidates"]), Path(sources["scores"]), \
        sources["corpus"]
    data = open_training_data(candidates, scores, sources["topics"], corpus, output)
    if data.size < section.batch_size:
        raise InputError(f"{counted(data.size, 'training query')} cannot fill one batch of "
                         f"{section.batch_size}")
    tokenizer = start.settings.load_tokenizer()
    torch.manual_seed(section.seed)
    learned = section.query_table
    table = training_query_weights(start, variant, tokenizer, query_weights, corpus,
                                   section.max_length, learned)
    dropped = sorted(tokenizer.special_ids | tokenizer.nameless)
    model = TrainedSplade(start, variant, dropped, table,
                          learns_table=learned.learning_rate > 0)
    refuse_other_vocabulary(start.folder, model.splade.vocabulary, tokenizer.terms)
    if section.max_length > model.splade.max_positions:
        raise InputError(f"max_length {section.max_length}: {start.name} takes up to "
                         f"{model.splade.max_positions} wordpieces")
    if machine.checkpointing or section.checkpointing:
        model.checkpoint_activations()
    from spladev3_anserini.training.trainer import SpladeTrainer

    record = training_record(section, variant, start, tokenizer.sha256, data.record.sha256,
                             sources, machine.accumulate, precision)
    if table is not None:
        record["query_weights"] = hash_of_weights(tokenizer.terms, table)
    record["scores"] = read_provenance(scores)
    leads = os.environ.get("RANK", "0") == "0"  # one process prepares and locks the folder
    if leads:
        warn_of_skipped(data.record.skipped, candidates, scores)
        warn_of_differing_scores(scores, candidates, section)
        _warn_of_few(data, section, variant, machine)
    idf = None
    if "idf_flops" in (section.documents.kind, section.queries.kind):
        idf = torch.zeros(model.splade.vocabulary)
        counted_idf = corpus_idf(corpus, tokenizer, section.max_length)
        idf[:len(counted_idf)] = torch.from_numpy(counted_idf)
    dataset = Examples(data, section.negatives, section.seed)
    collator = Collator(tokenizer, section.max_length)
    if learned.scale:
        scale = scale_table(model, dataset, Collator(tokenizer, section.max_length))
        record["query_table_scale"] = scale
        if leads:
            log.info("the table of query weights is multiplied by %s", scale)
    with ending_with_others(), (exclusive_output(output, record, resume=resume, replace=replace)
                                if leads else nullcontext()):
        arguments = _arguments(section, machine, output / _CHECKPOINTS, len(dataset), cuda,
                               precision)
        arguments._n_gpu = min(1, arguments.n_gpu)  # with more the Trainer would use DataParallel
        trainer = SpladeTrainer(model, section, variant, tokenizer.transformers, arguments,
                                train_dataset=dataset, last_step=machine.max_steps, idf=idf,
                                data_collator=collator)
        newest = newest_intact_checkpoint(output / _CHECKPOINTS) if resume else None
        try:
            trainer.continue_from(newest)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise InputError(f"batch_size {section.batch_size}: a step does not fit into memory "
                             "(a smaller batch, `accumulate` and `checkpointing` help): "
                             f"{first_line(error)}") from error
        collator.cuts.warn("drawn text", f"max_length {section.max_length}")
        if is_first := trainer.is_world_process_zero():
            _write(output, trainer, record, variant, tokenizer)
        leave_ranks()
    if not is_first:
        return {}
    logged: list[dict[str, float]] = trainer.state.log_history
    last = next((values for values in reversed(logged) if "loss" in values), {})
    return last | {"queries": data.size} if last else {}


def _write(output: Path, trainer: Any, record: dict[str, Any], variant: Variant,
           tokenizer: Tokenizer) -> None:
    """Writes the model, then its curves, and its record last."""
    (output / RECORD).unlink(missing_ok=True)  # an older record is not of the new weights
    with naming(output, *WRITING):
        save_model(trainer.accelerator.unwrap_model(trainer.model), tokenizer.transformers, variant,
                   output)
    _write_curves(output / "curves.jsonl", trainer.state.log_history)
    with appearing(output / RECORD) as stream:
        stream.write(json.dumps(record | {"steps": trainer.state.global_step}, indent=1) + "\n")


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


def _device(name: str, precision: str) -> tuple[bool, str]:
    """Returns whether a GPU trains, and the precision that the device allows.

    Raises InputError if the device is missing or is not `auto`, `cpu` or `cuda`.
    """
    device = resolved_device(name)
    if device not in ("cpu", "cuda"):
        raise InputError(f"`device` {name}: expected auto, cpu or cuda; CUDA_VISIBLE_DEVICES says "
                         "which GPU")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(f"`device` {name}: there is no GPU that torch can use")
    if device == "cpu" and precision != "fp32":
        warn(f"precision {precision} is for GPUs; this trains in fp32")
        return False, "fp32"
    return device == "cuda", precision


def _warn_of_few(data: TrainingData, section: Training, variant: Variant,
                 machine: Machine) -> None:
    """Warns if there are fewer negatives, or fewer steps, than the section expects."""
    if few := int((data.negatives < section.negatives).sum()):
        warn(f"{counted(few, 'query')} with fewer than {section.negatives} negatives: some are "
             "drawn more than once")
    steps = _steps(section, machine, data.size)
    sides = {"documents": section.documents} | (
        {"queries": section.queries} if variant.learns_queries else {})
    for side, regularizer in sides.items():
        reached = ramp(1.0, steps, regularizer.ramp_steps(steps))
        if regularizer.kind != "none" and regularizer.weight and reached < _NEARLY:
            warn(f"{side}.steps {regularizer.steps:,}: this training has "
                 f"{counted(steps, 'step')}, so {side}.weight only reaches {reached:.2%} of "
                 f"{regularizer.weight:g}; `set` {side}.steps=0.33 reaches it after a third of "
                 "them")


def _steps(section: Training, machine: Machine, size: int) -> int:
    """The number of optimiser steps of all epochs."""
    per_epoch = max(1, size // (section.batch_size * world_size() * machine.accumulate))
    return max(1, round(per_epoch * section.epochs))


def _arguments(section: Training, machine: Machine, folder: Path, size: int, cuda: bool,
               precision: str) -> Any:
    return transformers.TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=section.batch_size,
        gradient_accumulation_steps=machine.accumulate, learning_rate=section.learning_rate,
        weight_decay=section.weight_decay, num_train_epochs=section.epochs,
        lr_scheduler_type="linear",
        warmup_steps=round(section.warmup_ratio * _steps(section, machine, size)),
        max_grad_norm=1.0,
        fp16=precision == "fp16", bf16=precision == "bf16", use_cpu=not cuda,
        seed=section.seed, data_seed=section.seed, dataloader_drop_last=True,
        remove_unused_columns=False,
        save_strategy="steps" if machine.save_steps else "epoch",
        save_steps=machine.save_steps or 500,
        logging_steps=machine.log_steps, logging_first_step=True,
        report_to=["tensorboard"] if machine.tensorboard else [], disable_tqdm=True,
        ddp_find_unused_parameters=False, logging_nan_inf_filter=False)
