"""A machine -> how it trains: device, precision, steps, and the arguments of the Trainer."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import torch
import transformers

from spladev3_anserini.errors import InputError
from spladev3_anserini.model.batches import resolved_device
from spladev3_anserini.progress import warn
from spladev3_anserini.recipe.training import Training
from spladev3_anserini.training.launch import world_size
from spladev3_anserini.training.workers import default_workers


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
        workers: Processes of each rank that draw and tokenise batches; None is `default_workers`.
    """

    device: str = "auto"
    accumulate: int = 1
    checkpointing: bool = False
    save_steps: int = 0
    log_steps: int = 50
    max_steps: int = -1
    tensorboard: bool = False
    workers: int | None = None


def training_device(name: str, precision: str) -> tuple[bool, str]:
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


def optimizer_steps(section: Training, machine: Machine, size: int) -> int:
    """Returns the number of optimiser steps of all epochs, for so many training queries.

    As the Trainer counts: the last step of an epoch may have fewer batches than `accumulate`.
    """
    batches = size // (section.batch_size * world_size())
    return max(1, ceil(ceil(batches / machine.accumulate) * section.epochs))


def trainer_arguments(section: Training, machine: Machine, folder: Path, size: int, cuda: bool,
                      precision: str) -> Any:
    """Returns the arguments of transformers' Trainer.

    Args:
        section: The training section of the recipe.
        machine: How this machine trains.
        folder: The folder of the checkpoints.
        size: How many training queries there are.
        cuda: Whether a GPU trains.
        precision: The precision that the device allows.
    """
    workers = default_workers(cuda, world_size()) if machine.workers is None else machine.workers
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=section.batch_size,
        gradient_accumulation_steps=machine.accumulate, learning_rate=section.learning_rate,
        weight_decay=section.weight_decay, num_train_epochs=section.epochs,
        lr_scheduler_type="linear",
        warmup_steps=round(section.warmup_ratio * optimizer_steps(section, machine, size)),
        max_grad_norm=1.0,
        fp16=precision == "fp16", bf16=precision == "bf16", use_cpu=not cuda,
        seed=section.seed, data_seed=section.seed, dataloader_drop_last=True,
        remove_unused_columns=False, dataloader_num_workers=workers,
        accelerator_config={"non_blocking": cuda},
        save_strategy="steps" if machine.save_steps else "epoch",
        save_steps=machine.save_steps or 500,
        logging_steps=machine.log_steps, logging_first_step=True,
        report_to=["tensorboard"] if machine.tensorboard else [], disable_tqdm=True,
        ddp_find_unused_parameters=False, logging_nan_inf_filter=False)
    arguments._n_gpu = min(1, arguments.n_gpu)  # with more the Trainer would use DataParallel
    return arguments
