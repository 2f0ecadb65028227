"""A training section, candidates and scores -> a trained model's folder."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers

from spladev3_anserini import __version__
from spladev3_anserini.cli import warn
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, sha256_of
from spladev3_anserini.model.checkpoint import Checkpoint, model_hash
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.model.variants import Variant, dropped_ids
from spladev3_anserini.recipe.training import Training
from spladev3_anserini.training.documents import texts_of
from spladev3_anserini.training.examples import Collator, Examples, Query
from spladev3_anserini.training.model import TrainedSplade
from spladev3_anserini.training.saving import save_model
from spladev3_anserini.training.score_files import read_candidates, read_scores

RECORD = "training.json"
_CHECKPOINTS = "checkpoints"


class Machine(NamedTuple):
    """How this machine trains, none of which is part of the recipe."""

    device: str = "auto"
    accumulate: int = 1
    checkpointing: bool = False
    save_steps: int = 0
    log_steps: int = 50
    max_steps: int = -1
    tensorboard: bool = False


def read_queries(candidates: Path, scores: Path, topics: str) -> list[Query]:
    """Training queries with positives and negatives that have a score.

    A candidate without a score is left out, and a warning counts them; the positives are those
    the candidates name (they have scores: an ensemble gives one to each).
    """
    texts = {topic.id: topic.text for topic in read_topics(topics)}
    known = {record.query: record for record in read_candidates(candidates)}
    queries, unscored = [], 0
    for own in read_scores(scores):
        record = known.get(own.query)
        if record is None:
            continue
        if own.query not in texts:
            raise InputError(f"{topics}: no query {own.query!r}, which {candidates} has")
        positives = [d for d in record.positives if d in own.scores]
        negatives = [d for d in record.candidates if d in own.scores]
        unscored += len(record.candidates) - len(negatives)
        if positives and negatives:
            queries.append(Query(own.query, texts[own.query], positives, negatives, own.scores))
    if unscored:
        warn(f"{scores}: {unscored:,} candidates have no score and are left out")
    if left := len(known) - len(queries):
        warn(f"{scores}: {left:,} of {len(known):,} queries have no scores and are left out")
    return queries


def train(section: Training, variant: Variant, start: Checkpoint, corpus: str,
          queries: list[Query], output: Path, machine: Machine, resume: bool,
          sources: Mapping[str, str]) -> dict[str, float]:
    """Trains and writes the model to `output`; returns the last values logged.

    `output/checkpoints` holds the Trainer's checkpoints, which `resume` continues from the newest
    of: on a CPU the weights are those of a run never interrupted, bit for bit. `sources` are told
    in `training.json`. Raises InputError where the output is of another training, and as
    `SpladeTrainer` does.
    """
    record = _record(section, variant, start, sources, machine)
    if os.environ.get("RANK", "0") == "0":  # one process looks after the folder
        _prepare(output, record, resume)
    texts, _ = texts_of(corpus, {d: q.id for q in queries for d in (*q.positives, *q.negatives)},
                        sources["candidates"])
    tokenizer = Tokenizer(start.tokenizer)
    torch.manual_seed(section.seed)
    model = TrainedSplade(start, variant, dropped_ids("drop", tokenizer.special_ids,
                                                      len(tokenizer.terms)))
    if machine.checkpointing:
        model.checkpoint_activations()
    from spladev3_anserini.training.trainer import SpladeTrainer

    dataset = Examples(queries, texts, section.negatives, section.seed)
    arguments = _arguments(section, machine, output / _CHECKPOINTS, len(dataset))
    trainer = SpladeTrainer(model, section, variant, tokenizer.transformers, arguments,
                            train_dataset=dataset,
                            data_collator=Collator(tokenizer, section.max_length))
    newest = _newest(output / _CHECKPOINTS) if resume else None
    trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    first = trainer.is_world_process_zero()
    if first:
        _write(output, trainer, record, variant, tokenizer)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    last: dict[str, float] = {}
    for own in trainer.state.log_history if first else ():
        last |= own
    return last


def _write(output: Path, trainer: Any, record: dict[str, Any], variant: Variant,
           tokenizer: Tokenizer) -> None:
    save_model(trainer.accelerator.unwrap_model(trainer.model), tokenizer.transformers, variant,
               output)
    with appearing(output / "curves.jsonl") as stream:
        stream.writelines(json.dumps(own) + "\n" for own in trainer.state.log_history)
    with appearing(output / RECORD) as stream:
        stream.write(json.dumps(record | {"steps": trainer.state.global_step}, indent=1) + "\n")


def _arguments(section: Training, machine: Machine, folder: Path, size: int) -> Any:
    cuda = machine.device.startswith("cuda") or (machine.device == "auto"
                                                 and torch.cuda.is_available())
    precision = section.precision
    if not cuda and precision != "fp32":
        warn(f"precision {precision} is for GPUs; this trains in fp32")
        precision = "fp32"
    if size < section.batch_size:
        raise InputError(f"{size} training queries do not fill one batch of {section.batch_size}")
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    per_epoch = max(1, size // (section.batch_size * ranks * machine.accumulate))
    steps = machine.max_steps if machine.max_steps > 0 else round(per_epoch * section.epochs)
    return transformers.TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=section.batch_size,
        gradient_accumulation_steps=machine.accumulate, learning_rate=section.learning_rate,
        weight_decay=section.weight_decay, num_train_epochs=section.epochs,
        max_steps=machine.max_steps, lr_scheduler_type="linear",
        warmup_steps=round(section.warmup_ratio * steps), max_grad_norm=1.0,
        fp16=precision == "fp16", bf16=precision == "bf16", use_cpu=not cuda,
        seed=section.seed, data_seed=section.seed, dataloader_drop_last=True,
        remove_unused_columns=False,
        save_strategy="steps" if machine.save_steps else "epoch",
        save_steps=machine.save_steps or 500, save_total_limit=2,
        logging_steps=machine.log_steps, logging_first_step=True,
        report_to=["tensorboard"] if machine.tensorboard else [], disable_tqdm=True,
        ddp_find_unused_parameters=False, logging_nan_inf_filter=False)


def _record(section: Training, variant: Variant, start: Checkpoint, sources: Mapping[str, str],
            machine: Machine) -> dict[str, Any]:
    files = {name: sha256_of(Path(path)) for name, path in sources.items() if Path(path).is_file()}
    return {"variant": variant.name, "start": model_hash(start), "package": __version__,
            "training": section.model_dump(exclude={"sources"}), "inputs": dict(sources),
            "sha256": files, "accumulate": machine.accumulate,
            "environment": {"python": platform.python_version(), "torch": str(torch.__version__),
                            "transformers": transformers.__version__,
                            "ranks": os.environ.get("WORLD_SIZE", "1")}}


def _prepare(output: Path, record: dict[str, Any], resume: bool) -> None:
    """Refuses a folder that holds another training, or anything else."""
    begun = output / "begun.json"
    if begun.exists():
        same = ("variant", "start", "training", "sha256", "accumulate")
        there = json.loads(begun.read_text("utf-8"))
        differing = [name for name in same if there.get(name) != record[name]]
        if differing:
            raise InputError(f"{output}: holds another training (other {', '.join(differing)}); "
                             "choose another --output")
        if not resume:
            raise InputError(f"{output}: holds this training already; --resume to continue it, or "
                             "choose another --output")
    elif output.exists() and any(output.iterdir()):
        raise InputError(f"--output {output}: has files in it that no training wrote")
    output.mkdir(parents=True, exist_ok=True)
    with appearing(begun) as stream:
        stream.write(json.dumps(record, indent=1) + "\n")


def _newest(folder: Path) -> Path | None:
    found = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").exists()]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
