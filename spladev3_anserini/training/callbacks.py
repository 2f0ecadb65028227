"""What happens between the steps of a training: its end, its order of queries, its progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback

from spladev3_anserini.progress import counter, log
from spladev3_anserini.training.dataset import Order


class StopAtLastStep(TrainerCallback):  # type: ignore[misc]
    """Stops a training after its last step, and logs that step, so that the curves end there."""

    def __init__(self, last_step: int) -> None:
        self._last_step = last_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if 0 < self._last_step <= state.global_step:
            control.should_training_stop = control.should_save = True
        if control.should_training_stop or state.global_step >= state.max_steps:
            control.should_log = True


class SetEpoch(TrainerCallback):  # type: ignore[misc]
    """Sets the epoch of the sampler; with several ranks the Trainer does not call `set_epoch`."""

    def __init__(self, order: Order) -> None:
        self._order = order

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._order.epoch = int((state.epoch or 0) + 1e-6)


class NoNegativeQueryWeights(TrainerCallback):  # type: ignore[misc]
    """Keeps the weights of a learned query table at 0 or above after each step."""

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        with torch.no_grad():
            model.query_table.clamp_(min=0)


class ValidateStart(TrainerCallback):  # type: ignore[misc]
    """Validates the start before the first step."""

    def __init__(self, validate: Callable[[], None]) -> None:
        self._validate = validate

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:
            self._validate()


#: The values that a log line shows if they are logged, and their labels.
_LABELS = {"loss": "loss", "kl": "KL", "margin_mse": "MarginMSE", "contrastive": "contrastive",
          "nonzero_documents": "non-zeros: documents", "nonzero_queries": "queries",
          "validation_nDCG@10": "validation: nDCG@10", "validation_RR@10": "RR@10",
          "validation_FLOPS": "FLOPS", "validation_nonzero_documents": "non-zeros: documents"}


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Shows a progress bar and log lines instead of the Trainer's, which prints dicts to stdout."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar = counter("training", state.max_steps, "step")
        self._bar.update(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar.update(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None,
               **_: Any) -> None:
        logs = logs or {}
        labelled = {label: logs[key] for key, label in _LABELS.items() if key in logs}
        if state.is_world_process_zero and labelled:
            width = len(str(state.max_steps))
            values = "  ".join(f"{label} {value:>{7}.4g}" for label, value in labelled.items())
            log.info("step %*d of %d  %s", width, state.global_step, state.max_steps, values)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar.close()
