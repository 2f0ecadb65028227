"""Examples and a start -> a trained checkpoint, by transformers' Trainer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import naming
from spladev3_anserini.model.variants import Variant
from spladev3_anserini.recipe.training import Regularizer, Training
from spladev3_anserini.training.examples import Order
from spladev3_anserini.training.losses import total
from spladev3_anserini.training.model import TrainedSplade
from spladev3_anserini.training.output import mark_whole
from spladev3_anserini.training.progress import ShowsProgress
from spladev3_anserini.training.regularizers import anti_zero, flops, l1, ramp, sparsity
from spladev3_anserini.training.saving import WRITING, save_model


class SpladeTrainer(Trainer):  # type: ignore[misc]
    """transformers' Trainer with SPLADE-v3's loss, its regularisers and its checkpoints.

    Mixed precision, accumulation, DDP (torchrun), checkpoints and logging are the Trainer's.
    """

    def __init__(self, model: TrainedSplade, section: Training, variant: Variant, tokenizer: Any,
                 arguments: TrainingArguments, last_step: int = -1, **others: Any) -> None:
        """`last_step`: stop there, with a checkpoint, the schedule being that of all epochs."""
        super().__init__(model, arguments, **others)
        self.trained_steps = 0
        self.add_callback(_Stops(self, last_step))
        self._order = Order(len(self.train_dataset), section.seed)
        self.add_callback(_TellsTheEpoch(self._order))
        self.remove_callback(PrinterCallback)
        self.add_callback(ShowsProgress())
        self.section, self.variant, self.tokenizer = section, variant, tokenizer
        self.model_accepts_loss_kwargs = False
        self._seen: dict[str, Tensor] = {}
        self._steps = 0

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:
        return self._order

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False,
                     num_items_in_batch: Any = None) -> Any:
        """Distillation loss and regularisers of one batch; collects what `log` shows.

        Raises InputError with the batch's query ids for NaN, and where all documents are empty.
        """
        names, scores = inputs.pop("names"), inputs.pop("scores")
        queries, documents = model(**inputs)
        grouped = documents.view(scores.shape[0], scores.shape[1], -1)
        distilled, parts = total(queries, grouped, scores, self.section.loss)
        step = self.state.global_step + 1
        penalty_d, weight_d = _penalty(self.section.documents, documents, step)
        loss = distilled + weight_d * penalty_d
        parts |= {"penalty_documents": penalty_d.detach(), "lambda_documents": weight_d}
        if self.variant.query != "bow":
            penalty_q, weight_q = _penalty(self.section.queries, queries, step)
            loss = loss + weight_q * penalty_q
            parts |= {"penalty_queries": penalty_q.detach(), "lambda_queries": weight_q}
        if self.section.anti_zero:
            learned = [documents] if self.variant.query == "bow" else [queries, documents]
            against = torch.stack([anti_zero(own) for own in learned]).sum()
            loss = loss + self.section.anti_zero * against
            parts["anti_zero"] = against.detach()
        counts = {"document": sparsity(documents), "query": sparsity(queries)}
        parts |= {"nonzero_documents": counts["document"], "nonzero_queries": counts["query"]}
        for side, count in counts.items():
            if count == 0 and (side == "document" or self.variant.query != "bow"):
                raise InputError(f"step {step}: every {side} of the batch is empty: the model has "
                                 "collapsed (weaker regularisers or a lower learning rate may "
                                 f"help); the batch's queries are {', '.join(names)}")
        if not bool(torch.isfinite(loss)):
            raise InputError(f"step {step}: the loss is {float(loss.detach())}; the batch's "
                             "queries are "
                             f"{', '.join(names)}")
        for name, value in parts.items():
            own = torch.as_tensor(value, dtype=torch.float64, device=loss.device).detach()
            self._seen[name] = self._seen.get(name, torch.zeros_like(own)) + own
        self._steps += 1
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the means of loss parts, penalties, their weights and sparsity since the last
        time, over all ranks."""
        if self._steps:
            for name, value in self._seen.items():
                mean = self.accelerator.reduce(value / self._steps, "mean")
                logs[name] = float(mean)
            self._seen, self._steps = {}, 0
        super().log(logs, start_time)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """A checkpoint is a model folder that any of the readers takes."""
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.accelerator.unwrap_model(self.model), self.tokenizer, self.variant, folder)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        name = f"checkpoint-{self.state.global_step}"
        with naming(Path(self.args.output_dir) / name, *WRITING):
            super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        own = self.accelerator.unwrap_model(model or self.model)
        mlm, standing_in = own.splade.mlm, own.splade.mlm.get_output_embeddings()
        mlm.set_output_embeddings(own.splade.output)
        saved = load_file(str(Path(resume_from_checkpoint) / "model.safetensors"))
        missing, unexpected = mlm.load_state_dict(saved, strict=False)
        mlm.tie_weights()
        mlm.set_output_embeddings(standing_in)
        known = {name for name, _ in mlm.named_parameters()}
        if unexpected or known & set(missing) - _tied(mlm):
            raise InputError(f"{resume_from_checkpoint}: holds another model than the one to be "
                             "trained")


    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with _refusing(checkpoint, "optimizer"):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with _refusing(checkpoint, "random state"):
            super()._load_rng_state(checkpoint)


@contextmanager
def _refusing(checkpoint: str | None, what: str) -> Iterator[None]:
    """torch loads these as tensors and numbers alone (`weights_only`) and refuses anything else."""
    try:
        yield
    except Exception:  # a file that is no checkpoint raises whatever unpickling met
        raise InputError(f"{checkpoint}: its {what} cannot be loaded: it is damaged, or holds "
                         "objects that could run code; nothing of it was run") from None


class _Stops(TrainerCallback):  # type: ignore[misc]
    """Counts steps, ends a run early, and marks checkpoints when they are whole."""

    def __init__(self, trainer: SpladeTrainer, last_step: int) -> None:
        self._trainer, self._last_step = trainer, last_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.trained_steps += 1
        if 0 < self._last_step <= state.global_step:
            control.should_training_stop = control.should_save = True
        if control.should_training_stop or state.global_step >= state.max_steps:
            control.should_log = True  # the curves end where the training does

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            mark_whole(Path(args.output_dir) / f"checkpoint-{state.global_step}")


class _TellsTheEpoch(TrainerCallback):  # type: ignore[misc]
    """A data set's own `set_epoch` is not called where there are several ranks."""

    def __init__(self, order: Order) -> None:
        self._order = order

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._order.epoch = int((state.epoch or 0) + 1e-6)


def _tied(mlm: Any) -> set[str]:
    keys = getattr(mlm, "_tied_weights_keys", None) or ()
    return set(keys)


def _penalty(section: Regularizer, representations: Tensor, step: int) -> tuple[Tensor, float]:
    if section.kind == "none":
        return representations.new_zeros(()), 0.0
    penalty = flops if section.kind == "flops" else l1
    return penalty(representations), ramp(section.weight, step, section.steps)
