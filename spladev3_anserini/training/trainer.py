"""Examples and a start checkpoint -> a trained model, by transformers' Trainer."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerState, TrainingArguments

from spladev3_anserini.encoding.cut import Cuts
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import naming
from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.model.layout import Layout, Side
from spladev3_anserini.model.splade import load_splade
from spladev3_anserini.model.variants import Variant
from spladev3_anserini.progress import log
from spladev3_anserini.recipe.training import Training
from spladev3_anserini.training.callbacks import (
    NoNegativeQueryWeights,
    ProgressCallback,
    SetEpoch,
    StopAtLastStep,
    ValidateStart,
)
from spladev3_anserini.training.checkpoints import (
    is_intact,
    read_step_counts,
    refusing_damage,
    remove_other_checkpoints,
    write_checkpoint_hashes,
)
from spladev3_anserini.training.dataset import Order
from spladev3_anserini.training.distributed import LOST_RANK, ending_with_others
from spladev3_anserini.training.faults import Batch, Watch, batches_between_looks
from spladev3_anserini.training.losses import TextHashes, distillation_loss
from spladev3_anserini.training.model import TrainedSplade
from spladev3_anserini.training.penalty import Penalty, load_counts, save_counts
from spladev3_anserini.training.regularizers import anti_zero, mean_nonzeros
from spladev3_anserini.training.saving import WRITING, load_query_table, save_model
from spladev3_anserini.training.selection import Selection, checkpoints_to_keep
from spladev3_anserini.training.validation import Validator
from spladev3_anserini.training.workers import REFUSED, batches

#: Seconds that the first rank has to say why all ranks end.
_GRACE = 10.0


class SpladeTrainer(Trainer):  # type: ignore[misc]
    """transformers' Trainer with the loss and regularisers of SPLADE-v3, and checked checkpoints.

    Mixed precision, accumulation, DDP (torchrun), checkpoints and logging are the Trainer's.
    """

    def __init__(self, model: TrainedSplade, section: Training, variant: Variant, tokenizer: Any,
                 arguments: TrainingArguments, last_step: int = -1, idf: Tensor | None = None,
                 validator: Validator | None = None, selection: Selection | None = None,
                 **others: Any) -> None:
        """`last_step`: stop after this step and save a checkpoint; -1 trains all epochs.

        The learning rate always follows the schedule of all epochs. `idf` (V) is the corpus's, for
        `idf_flops`. With a validator, the start and each checkpoint are validated, and the
        selection says which of them is kept, and when to stop.
        """
        super().__init__(model, arguments, **others)
        self._last_step = last_step
        self._saved: list[Path] = []
        self.add_callback(StopAtLastStep(last_step))
        self._order = Order(len(self.train_dataset), section.seed)
        self.add_callback(SetEpoch(self._order))
        if isinstance(model.query_table, nn.Parameter):
            self.add_callback(NoNegativeQueryWeights())
        self.remove_callback(PrinterCallback)
        self.add_callback(ProgressCallback())
        self.section, self.variant, self.tokenizer = section, variant, tokenizer
        self._validator, self._selection = validator, selection
        if validator is not None:
            self.add_callback(ValidateStart(self.validate))
        self.model_accepts_loss_kwargs = False
        self._penalties = {"documents": Penalty(section.documents, idf)}
        if variant.learns_queries:
            self._penalties["queries"] = Penalty(section.queries, idf)
        self._watch = Watch(batches_between_looks(self.args.device))
        self.cuts = Cuts()
        self._sums: dict[str, Any] = {}
        self._steps = 0

    def get_train_dataloader(self) -> Any:
        """Returns the batches of an epoch for this rank."""
        return self.accelerator.prepare(batches(
            self.train_dataset, self._order, self.data_collator, self._train_batch_size,
            self.args.dataloader_num_workers, self.args.device.type != "cpu"))

    def create_optimizer(self, model: Any = None) -> Any:
        """Creates the Trainer's optimiser, in which a learned table has its own learning rate."""
        optimizer = super().create_optimizer(*() if model is None else (model,))
        table = self.model.query_table
        if isinstance(table, nn.Parameter):
            for group in optimizer.param_groups:
                group["params"] = [p for p in group["params"] if p is not table]
            optimizer.add_param_group({"params": [table], "weight_decay": 0.0,
                                       "lr": self.section.query_table.learning_rate})
        return optimizer

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False,
                     num_items_in_batch: Any = None) -> Any:
        """Returns the loss of one batch with its regularisers, and collects the values for `log`.

        Nothing of a batch is read here, so that a GPU is not waited for. Raises InputError with the
        batch's query ids if the loss is not finite, or if all documents, or all learned queries,
        are empty: at the next look of the watch, which comes before anything is saved or logged.
        """
        if REFUSED in inputs:
            raise InputError(inputs[REFUSED])
        names, scores = inputs.pop("names"), inputs.pop("scores")
        self.cuts.add(inputs.pop("lost"))
        hashes = TextHashes(*map(inputs.pop, TextHashes._fields)) \
            if self.section.loss.contrastive else None
        queries, documents = model(**inputs)
        grouped = documents.view(scores.shape[0], scores.shape[1], -1)
        distilled, parts = distillation_loss(queries, grouped, scores, self.section.loss, hashes)
        step = self.state.global_step + 1
        loss = distilled
        for side, regularizer in self._penalties.items():
            penalty, weight = regularizer.of(documents if side == "documents" else queries, step,
                                             self.state.max_steps)
            loss = loss + weight * penalty
            parts |= {f"penalty_{side}": penalty.detach(), f"lambda_{side}": weight}
        if self.section.anti_zero:
            learned = [queries, documents] if self.variant.learns_queries else [documents]
            penalty = torch.stack([anti_zero(weights) for weights in learned]).sum()
            loss = loss + self.section.anti_zero * penalty
            parts["anti_zero"] = penalty.detach()
        counts = {"query": mean_nonzeros(queries), "document": mean_nonzeros(documents)}
        parts |= {"nonzero_documents": counts["document"], "nonzero_queries": counts["query"]}
        if not self.variant.learns_queries:
            del counts["query"]
        self._watch.add(Batch(step, names, loss, counts))
        if self._watch.due:
            self._look()
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, 0) + (
                value.detach().double() if isinstance(value, Tensor) else value)
        self._steps += 1
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs also the loss parts, penalties, their weights and non-zeros.

        The values are means over all ranks and over the batches since the last log.
        """
        if self._steps:
            self._look()
            held = {name: total for name, total in self._sums.items() if isinstance(total, Tensor)}
            means = self.accelerator.reduce(torch.stack([*held.values()]) / self._steps, "mean")
            logs |= {name: total / self._steps for name, total in self._sums.items()
                     if name not in held}
            logs |= dict(zip(held, means.tolist(), strict=True))  # one copy from a GPU
            self._sums, self._steps = {}, 0
        super().log(logs, start_time)

    def _look(self) -> None:
        """Ends all ranks if a batch since the last look cannot be learned from.

        The first rank raises InputError, the others exit with LOST_RANK.
        """
        if fault := self._watch.look():
            if not self.is_world_process_zero():
                time.sleep(_GRACE)  # what ends first ends all, and the first rank says why
                raise SystemExit(LOST_RANK)
            raise InputError(fault)

    def validate(self) -> None:
        """Validates the model after this step, unless it was; logs the values."""
        step = self.state.global_step
        if self._validator is None or self._selection is None or self._selection.has(step):
            return
        found = self._validator.measure(self.accelerator.unwrap_model(self.model))
        self._selection.add(step, found)
        if self.is_world_process_zero():
            self._selection.write()
        super().log(found.values())
        if self._selection.exhausted:
            self.control.should_training_stop = True

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Saves a checkpoint as a model folder that all readers of models can load."""
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.accelerator.unwrap_model(self.model), self.tokenizer, self.variant, folder)

    def continue_from(self, checkpoint: Path | None) -> None:
        """Trains from an intact checkpoint, or from the start for None.

        A checkpoint that has all the steps is loaded as the result. Raises InputError if it has
        more steps than the last step to be trained.
        """
        if checkpoint is None:
            self.train()
            return
        steps, planned = read_step_counts(checkpoint)
        if self._selection is not None:
            self._selection.read(steps)
        if 0 < self._last_step < steps:
            raise InputError(f"`max_steps` {self._last_step}: {checkpoint} has {steps:,} steps "
                             "already; ask for that many or more, or choose another `output`")
        self._saved = [checkpoint]
        stopped = self._selection is not None and self._selection.exhausted
        done = stopped or steps >= (self._last_step if 0 < self._last_step < planned else planned)
        if self.is_world_process_zero():
            log.info("step %s of %s: %s, from %s", steps, planned,
                     "all steps are done" if done else "continues", checkpoint)
        if not done:
            self.train(resume_from_checkpoint=str(checkpoint))
            return
        # the Trainer would train one more step if an epoch ends early
        self._load_from_checkpoint(str(checkpoint))
        with refusing_damage(str(checkpoint), "state"):
            self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))

    def _init_training_state(self, max_steps: int, update_steps_per_epoch: int, epochs: int,
                             resume_from_checkpoint: str | None, trial: Any) -> Any:
        with refusing_damage(resume_from_checkpoint, "state"):
            return super()._init_training_state(max_steps, update_steps_per_epoch, epochs,
                                                resume_from_checkpoint, trial)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Saves each step once, and writes the file hashes when all ranks have written their part.

        The Trainer asks twice for a step that ends an epoch.
        """
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if folder in self._saved:
            return
        self._look()
        self.validate()
        leads = self.is_world_process_zero()
        with naming(folder, *WRITING), ending_with_others():
            if leads and folder.exists():
                shutil.rmtree(folder)  # an interrupted or damaged checkpoint of the same step
            self.accelerator.wait_for_everyone()
            super()._save_checkpoint(model, trial)
            if leads:
                save_counts(self._penalties, folder)
            self.accelerator.wait_for_everyone()
        self._saved = [*self._saved[-1:], folder]
        if leads:
            write_checkpoint_hashes(folder)
            remove_other_checkpoints(checkpoints_to_keep(self._saved, self._selection))

    def load_checkpoint_of(self, step: int) -> None:
        """Loads the weights of the checkpoint of a step.

        Raises InputError if it is missing or damaged.
        """
        folder = Path(self.args.output_dir) / f"checkpoint-{step}"
        if not is_intact(folder):
            raise InputError(f"{folder}: the best checkpoint is missing or damaged; train anew "
                             "into another `output`, or ask for `keep` last")
        self._load_from_checkpoint(str(folder))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Loads weights in the way that the start checkpoint was loaded.

        A saved file has the tensor names of the start checkpoint, which transformers translates
        (`LayerNorm.gamma`, a prefix).
        """
        folder = Path(resume_from_checkpoint)
        side = Side(folder, folder)
        checkpoint = Checkpoint(folder.name, folder, folder, self.variant, Layout(side, side),
                                str(folder))
        saved = load_splade(checkpoint, torch.float32, "cpu")
        unwrapped = self.accelerator.unwrap_model(model or self.model)
        try:
            unwrapped.splade.load_state_dict(saved.state_dict())
            load_query_table(unwrapped, folder)
        except (RuntimeError, SafetensorError):
            raise InputError(f"{folder}: holds another model than the one to be trained") from None

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with refusing_damage(checkpoint, "optimizer"):
            super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            with refusing_damage(checkpoint, "document frequencies"):
                load_counts(self._penalties, Path(checkpoint))

    def _load_scaler(self, checkpoint: str | None) -> None:
        with refusing_damage(checkpoint, "gradient scaler"):
            super()._load_scaler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with refusing_damage(checkpoint, "random state"):
            super()._load_rng_state(checkpoint)

