"""An experiment under torchrun -> its training: the first rank prepares it, the others wait."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.progress import log
from spladev3_anserini.recipe.schema import QuerySet
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.reproduction.result import Result
from spladev3_anserini.reproduction.run import Invoke, reproduce
from spladev3_anserini.reproduction.session import Options, Session
from spladev3_anserini.reproduction.stage import Stage
from spladev3_anserini.reproduction.stages import stages_of
from spladev3_anserini.training.launch import world_size

_KEY, _TRAIN, _DONE = "spladev3_anserini/next", "train", "done"
_SECONDS = 0.5


def ranks_that_train(parts: tuple[str, ...], ranks: int) -> int:
    """Returns how many ranks train: those that torchrun started, or else `ranks`.

    Raises InputError if torchrun started this process for other parts than train, or if `ranks`
    is given as well.
    """
    started = world_size()
    if started > 1 and parts != ("train",):
        raise InputError(f"`stages` {' '.join(parts)}: torchrun started {started} processes, which "
                         "only train together; ask for `stages` train, and run the others without "
                         "torchrun")
    if started > 1 and ranks > 1:
        raise InputError(f"`ranks` {ranks}: torchrun has started {started} already")
    return max(started, ranks)


def reproduce_together(experiment: Experiment, sets: Mapping[str, QuerySet], options: Options,
                       invoke: Invoke) -> Result | None:
    """Runs an experiment as `reproduce`; if torchrun started this process, as one of its ranks.

    Only the first rank runs the other stages and writes journals. They may take hours, so the
    others ask torchrun's store, which has no time limit, and not a collective operation.

    Raises:
        InputError: As `reproduce`, or torchrun started this process for a recipe of several
            rounds, or its store cannot be reached.
    """
    if world_size() == 1:
        return reproduce(experiment, sets, options, invoke)
    section = experiment.recipe.training
    if section and section.rounds > 1:
        raise InputError(f"{experiment.recipe_file}: training.rounds {section.rounds}: torchrun's "
                         "processes train one model and end; train with `ranks` on one machine, or "
                         "run the commands of `reproduce show` one by one")
    from torch.distributed import DistError

    try:
        store = _store()
        if os.environ["RANK"] == "0":
            _lead(experiment, sets, options, invoke, store)
            return None
        log.info("waiting for the first rank")
        while not store.check([_KEY]):
            time.sleep(_SECONDS)
        begins = store.get(_KEY).decode() == _TRAIN
    except DistError as error:
        raise InputError(f"torchrun's store cannot be reached: {first_line(error)}") from error
    if begins:
        stage = _train_stage(experiment, sets, options)
        replacements = stage.replacements()
        for command in stage.commands:
            invoke([replacements.get(word, word) for word in command])
    return None


def _lead(experiment: Experiment, sets: Mapping[str, QuerySet], options: Options, invoke: Invoke,
          store: Any) -> None:
    """Runs the stages, and tells the other ranks when they train or that there is nothing to do."""
    def announced(command: list[str]) -> str:
        if command[1] == "train":
            store.set(_KEY, _TRAIN)
        return invoke(command)

    reproduce(experiment, sets, options, announced)
    if not store.check([_KEY]):
        store.set(_KEY, _DONE)


def _train_stage(experiment: Experiment, sets: Mapping[str, QuerySet], options: Options) -> Stage:
    stages = stages_of(Session(experiment, sets, options))
    return next(stage for stage in stages if stage.name == "train")


def _store() -> Any:
    """Returns the store of torchrun's agent, which all ranks share."""
    import torch

    environment = os.environ
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise InputError("WORLD_SIZE is set, but torchrun did not start this process; start it "
                         "with torchrun")
    return torch.distributed.TCPStore(  # type: ignore[attr-defined]
        environment["MASTER_ADDR"], int(environment["MASTER_PORT"]), world_size(),
        is_master=False, timeout=timedelta(minutes=30))
