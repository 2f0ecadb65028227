"""A experiment -> everything about it that a person asks before running it."""

from __future__ import annotations

from spladev3_anserini.recipe.schema import BaselineRecipe, Collection, Recipe
from spladev3_anserini.recipe.training import Training, flat
from spladev3_anserini.reproduction.commands import commands, typed
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.text import table

#: Anserini's SPLADE-v3 index of MS MARCO passages holds 0.35 kB a passage; 168 terms a passage at
#: 13 bytes of JSON each are 2.2 kB.
_INDEX_BYTES, _ENCODED_BYTES = 350, 2200
#: Two FLOP for each parameter and wordpiece, 77 wordpieces in a MS MARCO passage.
_FLOP_PER_PARAMETER = 2 * 77


def described(experiment: Experiment) -> str:
    """Model, settings, data, costs, commands and declared values of an experiment, as text."""
    recipe, collection = experiment.recipe, experiment.collection
    facts = [
        ("recipe", recipe.title), ("model", _model(recipe)), ("licence", recipe.licence),
        ("settings", ", ".join(f"{k} {v}" for k, v in experiment.decisive().items())),
        ("collection", collection.title),
        ("documents", f"{collection.documents:,}" if collection.documents else "counted by a run"),
        ("its licence", collection.licence or "not stated: see the collection's own page"),
        ("downloads", _downloads(experiment)), ("disk", _disk(experiment)),
        ("time", _time(experiment))]
    facts += [("note", note) for note in (recipe.note, collection.note) if note]
    parts = ["\n".join(f"{name:<12}{value}" for name, value in facts), _sets(collection),
             "\n".join(map(typed, commands(experiment)))]
    if declared := _declared(experiment):
        parts.append(declared)
    if recipe.training:
        parts.append(training_table(recipe.training))
    return "\n\n".join(parts)


def size(count: float) -> str:
    """Bytes for people: `1.1 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def training_table(training: Training) -> str:
    """Every value of a training section beside where it is from."""
    values = flat(training.model_dump(exclude={"sources"}))
    rows = [["training", "value", "source"]]
    for name, value in values.items():
        shown = value if isinstance(value, list) else [value]
        rows += [[name, str(one), training.sources.get(name, "")] for one in shown]
    return table(rows, words=3)


def _model(recipe: Recipe) -> str:
    if isinstance(recipe, BaselineRecipe):
        return "a baseline, with what is said under settings"
    if recipe.model is None:
        return "trained as below, or the folder given with --model" if recipe.training else \
            "the folder given with --model"
    pinned = f"revision {recipe.revision}" if recipe.revision else \
        "files pinned by sha256" if recipe.model == "demo" else \
        "revision not pinned: the newest is taken, and its hash recorded"
    gated = ", gated: accept its conditions on the hub and log in first" if recipe.gated else ""
    return f"{recipe.model} ({pinned}{gated})"


def _downloads(experiment: Experiment) -> str:
    model = experiment.recipe.download_bytes
    parts = [f"model {size(model)}" if model else
             "model of unknown size" if experiment.recipe.model else "no model"]
    if experiment.prebuilt:
        parts.append(f"index {experiment.prebuilt}")
    elif experiment.collection.corpus.startswith("ir_datasets:"):
        own = experiment.collection.download_bytes
        parts.append(f"collection {size(own)}" if own else "collection of unknown size")
    else:
        parts.append("collection none")
    return ", ".join(parts)


def _disk(experiment: Experiment) -> str:
    if isinstance(experiment.recipe, BaselineRecipe):
        return "its runs; what is searched is kept only while it runs"
    if not experiment.collection.documents:
        return "depends on the collection"
    many = experiment.collection.documents
    encoded = "" if experiment.prebuilt else f"encoded {size(many * _ENCODED_BYTES)}, "
    return f"about {encoded}index {size(many * _INDEX_BYTES)}, at MS MARCO's terms per document"


def _time(experiment: Experiment) -> str:
    documents, parameters = experiment.collection.documents, experiment.recipe.parameters
    if isinstance(experiment.recipe, BaselineRecipe):
        return "depends on its model"
    if experiment.prebuilt or not documents or not parameters:
        return "minutes"
    flop = documents * parameters * _FLOP_PER_PARAMETER
    return (f"encoding is about {flop:.1e} FLOP (77 wordpieces a document): "
            f"{_duration(flop / 2e11)} at 0.2 TFLOP/s (2 CPU cores), "
            f"{_duration(flop / 1e14)} at 100 TFLOP/s (a GPU)")


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "a second"


def _sets(collection: Collection) -> str:
    rows = [["query set", "queries", "judgments", "hits", "measures", "in Pyserini"]]
    for name, own in collection.query_sets.items():
        rows.append([name, f"{own.queries or '':,}" if own.queries else "",
                     f"{own.judgments:,}" if own.judgments else "", f"{own.hits:,}",
                     " ".join(own.measures), own.pyserini or ""])
    return table(rows, words=6)


def _declared(experiment: Experiment) -> str:
    rows = [["declared by", "set", "measure", "value", "tolerance", "for"]]
    for block in experiment.declared():
        settings = ", ".join(f"{k} {v}" for k, v in block.by.settings.stated().items())
        for name, measures in block.values.items():
            rows += [[block.by.source, name, measure, f"{value:.4f}",
                      f"{block.by.tolerance.measures:g}", settings]
                     for measure, value in measures.items()]
    return table(rows, words=6) if len(rows) > 1 else ""
