"""The validations of a training -> its best checkpoint, and when to stop."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from scipy.stats import ttest_rel

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing
from spladev3_anserini.progress import log
from spladev3_anserini.recipe.training import Training
from spladev3_anserini.text import counted
from spladev3_anserini.training.validation import DECIDES, Questions, Validation

#: The file of a training that holds its validations, JSON lines.
VALIDATIONS = "validation.jsonl"
#: The p below which `better` takes a checkpoint to be better than the start.
_ALPHA = 0.05


@dataclass(frozen=True)
class Choice:
    """How the best of several checkpoints is chosen.

    Attributes:
        patience: Stop after so many validations in a row without a better one; 0 never stops.
        max_terms: The most terms of a document, on average, of a checkpoint that may be the best.
        max_flops: The most FLOPS of such a checkpoint.
        keep: Which checkpoint the model is: the `best`, the `last`, or the best if it is `better`:
            than the start, with p < .05 by a paired t-test over the questions. Otherwise, and if
            the start is within the budgets, `better` keeps the start.
    """

    patience: int = 0
    max_terms: float | None = None
    max_flops: float | None = None
    keep: str = "best"

    def within(self, validation: Validation) -> bool:
        """Whether a checkpoint is within the budgets."""
        return ((self.max_terms is None or validation.document_terms <= self.max_terms)
                and (self.max_flops is None or validation.flops <= self.max_flops))

    def key(self, validation: Validation) -> tuple[bool, float]:
        """Returns what is largest for the best: within the budgets nDCG@10, outside sparsity."""
        within = self.within(validation)
        return within, validation.means[DECIDES] if within else -validation.flops


class Validating(NamedTuple):
    """How a training is validated.

    Attributes:
        source: A folder in BEIR's layout, how many training queries are held out, or questions on
            the training's corpus.
        choice: How the best checkpoint is chosen.
    """

    source: str | int | Questions
    choice: Choice

    def inputs(self) -> dict[str, str]:
        """Returns the names of what is validated on, for the record of the training."""
        if isinstance(self.source, Questions):
            return {"validate": self.source.topics, "validate_qrels": self.source.qrels}
        return {"validate": str(self.source)}


def choose_validating(section: Training, corpus: str, source: str | None, topics: str | None,
                      qrels: str | None, *, elsewhere: bool,
                      **choices: Any) -> Validating | None:
    """Returns how a training is validated: as a command says, or else as its recipe does.

    Args:
        section: The training section of the recipe.
        corpus: The corpus of the training.
        source: A folder, or how many training queries are held out; 0 validates nothing.
        topics: Questions on the corpus, with `qrels`. A recipe may say how many are drawn.
        qrels: Their judgments.
        elsewhere: Whether the corpus is another than the recipe's, whose questions do not fit it.
        **choices: Fields of `Choice`; None where the command says nothing.

    Raises:
        InputError: Two sources exclude each other, or a choice is made without any.
    """
    recipe = section.validation
    if source is not None and (topics or qrels):
        raise InputError("`validate` excludes `validate_topics` and `validate_qrels`")
    if (topics is None) != (qrels is None):
        raise InputError("`validate_topics` and `validate_qrels` need each other")
    chosen: str | int | Questions | None = source
    if source is not None and re.fullmatch("0|[1-9][0-9]{0,8}", source):
        chosen = int(source) or None
    elif source is None and recipe and topics is None:
        if recipe.topics is None:
            chosen = recipe.sample
        elif elsewhere:
            log.info("the recipe's validation is on questions of its own corpus, so it is left out")
        topics, qrels = (None, None) if elsewhere else (recipe.topics, recipe.qrels)
    if topics and qrels:
        chosen = Questions(topics, qrels, corpus, recipe.sample if recipe else None,
                           recipe.documents if recipe else None, section.candidates.seed)
    made = {name: value for name, value in choices.items() if value is not None}
    if chosen is None:
        if made.keys() - {"keep"}:
            raise InputError("`patience`, `max_terms` and `max_flops` choose among validated "
                             "checkpoints; add `validate`")
        return None
    stated = {} if recipe is None else {
        "patience": recipe.patience, "max_terms": recipe.max_terms, "max_flops": recipe.max_flops,
        "keep": recipe.keep}
    return Validating(chosen, Choice(**stated | made))


class Validated(NamedTuple):
    """A validation of the model after a step; step 0 is the start."""

    step: int
    validation: Validation


class Selection:
    """The validations of a training so far; they are kept in a file beside the model."""

    def __init__(self, folder: Path, choice: Choice) -> None:
        self._path, self.choice = folder / VALIDATIONS, choice
        self._all: list[Validated] = []

    def read(self, until: int) -> None:
        """Reads the validations up to a step, from which the training goes on.

        Raises InputError if the file is missing, or is none that a training wrote until that step.
        """
        try:
            lines = [json.loads(line) for line in self._path.read_text("utf-8").splitlines()]
            found = [Validated(line["step"], Validation(**line["validation"])) for line in lines]
            self._all = [validated for validated in found if validated.step <= until]
            steps = [validated.step for validated in self._all]
            whole = steps[0] == 0 and steps[-1] == until and self.outcome()
        except (OSError, LookupError, TypeError, ValueError):
            whole = False
        if not whole:
            raise InputError(f"{self._path}: is damaged, or lacks validations of this training; "
                             "train anew into another `output`")

    def has(self, step: int) -> bool:
        """Whether the model was validated after this step."""
        return any(validated.step == step for validated in self._all)

    def add(self, step: int, validation: Validation) -> None:
        """Adds the validation after a step."""
        self._all.append(Validated(step, validation))

    def write(self) -> None:
        """Writes all validations to the file."""
        with appearing(self._path) as stream:
            stream.writelines(json.dumps({"step": step, "validation": validation._asdict()}) + "\n"
                              for step, validation in self._all)

    @property
    def best(self) -> Validated:
        """The best so far; of equal ones the earliest."""
        return max(self._all, key=lambda one: (self.choice.key(one.validation), -one.step))

    @property
    def kept(self) -> Validated:
        """That of the model that is kept so far: the best, the last, or the start."""
        best, start = self.best, self._all[0]
        if self.choice.keep == "last":
            return self._all[-1]
        unsure = self.choice.keep == "better" and self.choice.within(start.validation) and not (
            (p := self._p(best)) is not None and p < _ALPHA)
        return start if unsure else best

    def _p(self, other: Validated) -> float | None:
        """The p of a checkpoint's difference from the start; None if there is no variance."""
        before, after = self._all[0].validation.by_query, other.validation.by_query
        if len(after) < 2 or all(after[query] == before[query] for query in after):
            return None
        return float(ttest_rel([after[query] for query in after],
                               [before[query] for query in after]).pvalue)

    @property
    def exhausted(self) -> bool:
        """Whether patience has come to its end."""
        waited = sum(one.step > self.best.step for one in self._all)
        return 0 < self.choice.patience <= waited

    def outcome(self) -> dict[str, Any]:
        """Returns what the kept model is worth beside the start, as JSON values for the record.

        `difference` and `p` compare nDCG@10 with the start's, by query: a paired, two-sided t-test.
        If the start is kept because the best checkpoint is not surely better, they are of that one,
        and `unsure_after` is its step.
        """
        (step, kept), start = self.kept, self._all[0].validation
        values: dict[str, Any] = {"step": step, "queries": len(kept.by_query), **kept.values(),
                                  "within_budgets": self.choice.within(kept)}
        compared = self.kept if step else self.best
        if compared.step:
            if not step:
                values["unsure_after"] = compared.step
            values["difference"] = compared.validation.means[DECIDES] - start.means[DECIDES]
            if (p := self._p(compared)) is not None:
                values["p"] = p
        return values


def outcome_text(outcome: dict[str, Any]) -> str:
    """Returns the end of a summary line that says what `Selection.outcome` holds."""
    text = (f"{DECIDES} {outcome[f'validation_{DECIDES}']:.4f} on "
            f"{counted(outcome['queries'], 'held-out question')}")
    p = f", p = {outcome['p']:.2g}" if "p" in outcome else ""
    if "unsure_after" in outcome:
        text += (f": the start, which is kept; the best checkpoint, after step "
                 f"{outcome['unsure_after']}, is not better with p < {_ALPHA} "
                 f"({outcome['difference']:+.4f}{p})")
    elif not outcome["step"]:
        text += ": no checkpoint is better than the start, which is kept"
    else:
        text += f", {outcome['difference']:+.4f} from the start{p}, after step {outcome['step']}"
    return text if outcome["within_budgets"] else (
        f"{text}; beyond the budgets, with {outcome['validation_nonzero_documents']:.4g} terms per "
        f"document and {outcome['validation_FLOPS']:.4g} FLOPS")


def checkpoints_to_keep(newest: Iterable[Path], selection: Selection | None) -> list[Path]:
    """Returns the newest checkpoints and the one to be kept, newest last."""
    kept = list(newest)
    if selection is not None and selection.kept.step:
        best = kept[-1].with_name(f"checkpoint-{selection.kept.step}")
        if best not in kept:
            kept.insert(0, best)
    return kept
