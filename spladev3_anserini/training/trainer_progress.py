"""The Trainer's steps and curves -> a bar and lines on stderr."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

from spladev3_anserini.progress import counter

#: What a line shows of the curves, where they have it, and how it is called there.
_SHOWN = {"loss": "loss", "kl": "KL", "margin_mse": "MarginMSE", "contrastive": "contrastive",
          "nonzero_documents": "non-zeros: documents", "nonzero_queries": "queries"}


class ShowsProgress(TrainerCallback):  # type: ignore[misc]
    """In place of the Trainer's own bar, which writes its records as Python's dicts on stdout."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar = counter("training", state.max_steps, "step")
        self._bar.update(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar.update(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None,
               **_: Any) -> None:
        own = {name: (logs or {})[key] for key, name in _SHOWN.items() if key in (logs or {})}
        if state.is_world_process_zero and own:
            width = len(str(state.max_steps))
            values = "  ".join(f"{name} {value:>{7}.4g}" for name, value in own.items())
            tell(f"step {state.global_step:>{width}} of {state.max_steps}  {values}")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar.close()


def tell(line: str) -> None:
    """A line about the training on stderr, clear of the bar."""
    tqdm.write(line, file=sys.stderr)
