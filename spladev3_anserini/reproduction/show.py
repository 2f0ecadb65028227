"""An experiment -> what a person wants to know before running it, as text."""

from __future__ import annotations

from spladev3_anserini.recipe.schema import BaselineRecipe, Collection, Recipe
from spladev3_anserini.recipe.training import Training, flatten
from spladev3_anserini.reproduction.commands import command_text, commands
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.text import table

#: Anserini's SPLADE-v3 index of MS MARCO passages holds 0.35 kB a passage; 168 terms a passage at
#: 13 bytes of JSON each are 2.2 kB.
_INDEX_BYTES, _ENCODED_BYTES = 350, 2200
#: Two FLOP for each parameter and wordpiece, 77 wordpieces in a MS MARCO passage.
_FLOP_PER_PARAMETER = 2 * 77


def experiment_text(experiment: Experiment) -> str:
    """Returns model, settings, data, costs, commands and declared values of an experiment."""
    recipe, collection = experiment.recipe, experiment.collection
    facts = [
        ("recipe", recipe.title), ("model", _model(recipe)), ("licence", recipe.licence),
        ("settings", ", ".join(f"{key} {' + '.join(map(str, value))}" if isinstance(value, list)
                               else f"{key} {value}"
                               for key, value in experiment.ranking_settings().items())),
        ("collection", collection.title),
        ("documents", f"{collection.documents:,}" if collection.documents else "counted by a run"),
        ("its licence", collection.licence or "not stated: see the collection's page"),
        ("downloads", _downloads(experiment)), ("disk", _disk(experiment)),
        ("time", _time(experiment))]
    if recipe.training and recipe.training.rounds > 1:
        facts.append(("rounds", f"{recipe.training.rounds}; each mines, scores what is new and "
                      "trains, with the model of the round before"))
    facts += [("note", note) for note in (recipe.note, collection.note) if note]
    parts = ["\n".join(f"{name:<12}{value}" for name, value in facts), _query_set_table(collection),
             "\n".join(map(command_text, commands(experiment)))]
    if declared_table := _declared_table(experiment):
        parts.append(declared_table)
    if recipe.training:
        parts.append(training_table(recipe.training))
    return "\n\n".join(parts)


def human_size(count: float) -> str:
    """Returns a number of bytes as text for people, such as `1.1 GB`; units are decimal."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def training_table(training: Training) -> str:
    """Returns a table of every value of a training section and its source."""
    values = flatten(training.model_dump(exclude={"sources"}))
    rows = [["training", "value", "source"]]
    for name, value in values.items():
        items = value if isinstance(value, list) else [value]
        rows += [[name, str(item), training.sources.get(name, "")] for item in items]
    return table(rows, words=3)


def _model(recipe: Recipe) -> str:
    if isinstance(recipe, BaselineRecipe):
        return "a baseline: see its settings"
    if recipe.model is None:
        return "trained as below, or the folder given with --model" if recipe.training else \
            "the folder given with --model"
    if recipe.trained_by:
        return f"the one that {recipe.trained_by} trains"
    pinned = f"revision {recipe.revision}" if recipe.revision else \
        "files pinned by sha256" if recipe.model == "demo" else \
        "revision not pinned: the newest is used, and its hash is recorded"
    gated = ", gated: accept its conditions on the hub and log in first" if recipe.gated else ""
    return f"{recipe.model} ({pinned}{gated})"


def _fused(experiment: Experiment) -> str:
    """Returns the names of the recipes whose runs are fused; an empty text for other recipes."""
    names = [first.recipe_name for first in experiment.firsts]
    return ", ".join(names) if experiment.recipe.kind == "fuse" else ""


def _downloads(experiment: Experiment) -> str:
    if names := _fused(experiment):
        return f"those of {names}"
    model = experiment.recipe.download_bytes
    parts = [f"model {human_size(model)}" if model else
             "model of unknown size" if experiment.recipe.model else "no model"]
    if experiment.prebuilt:
        parts.append(f"index {experiment.prebuilt}")
    elif experiment.collection.corpus.startswith("ir_datasets:"):
        download = experiment.collection.download_bytes
        parts.append(f"collection {human_size(download)}" if download else
                     "collection of unknown size")
    else:
        parts.append("no collection")
    return ", ".join(parts)


def _disk(experiment: Experiment) -> str:
    if names := _fused(experiment):
        return f"its runs, and the files of {names}"
    if isinstance(experiment.recipe, BaselineRecipe):
        return "only its runs; its index is removed after the search"
    documents = experiment.collection.documents
    if not documents:
        return "depends on the collection"
    encoded = "" if experiment.prebuilt else f"encoded {human_size(documents * _ENCODED_BYTES)}, "
    return (f"about {encoded}index {human_size(documents * _INDEX_BYTES)}, at MS MARCO's terms "
            "per document")


def _time(experiment: Experiment) -> str:
    documents, parameters = experiment.collection.documents, experiment.recipe.parameters
    if names := _fused(experiment):
        return f"seconds, after {names}"
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


def _query_set_table(collection: Collection) -> str:
    rows = [["query set", "queries", "judgments", "hits", "measures", "in Pyserini"]]
    for name, query_set in collection.query_sets.items():
        rows.append([name, f"{query_set.queries:,}" if query_set.queries else "",
                     f"{query_set.judgments:,}" if query_set.judgments else "",
                     f"{query_set.hits:,}", " ".join(query_set.measures),
                     query_set.pyserini or ""])
    return table(rows, words=6)


def _declared_table(experiment: Experiment) -> str:
    rows = [["declared by", "set", "measure", "value", "tolerance", "for"]]
    for block in experiment.declared_values():
        settings = ", ".join(f"{k} {v}" for k, v in block.by.settings.stated_values().items())
        for name, measures in block.values.items():
            rows += [[block.by.source, name, measure, f"{value:.4f}",
                      f"{block.by.tolerance.measures:g}", settings]
                     for measure, value in measures.items()]
    return table(rows, words=6) if len(rows) > 1 else ""
