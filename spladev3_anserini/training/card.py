"""The record of a training, and measures -> the model's card, README.md.

The card has no path of the machine that trained. Its licence is the one that the card of the start
model states, or none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, read_json
from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.model.hub import CARD, is_hub_id
from spladev3_anserini.model.variants import Variant
from spladev3_anserini.progress import warn
from spladev3_anserini.recipe.schema import is_path
from spladev3_anserini.recipe.training import Training, flatten
from spladev3_anserini.text import counted
from spladev3_anserini.training.checkpoints import RECORD

#: {collection: {query set: {measure: mean}}}
Results = Mapping[str, Mapping[str, Mapping[str, float]]]

#: A card with this line is written again; without it, it is the user's.
_MARK = "<!-- Written by spladev3-anserini. Without this line it is not written again. -->"
_LICENCE = ("license", "license_name", "license_link")
_STATED = re.compile(r"\w[\w .:/?=-]{0,200}")
_KINDS = {"expand": "a query's weights are the model's, with expansion",
          "lexical": "a query's weights are the model's, on the query's own wordpieces",
          "bow": "a query is a bag of wordpieces, which needs no model",
          "static": "a query's wordpieces are weighted by a table, which needs no model"}


def card_details(section: Training, variant: Variant, start: Checkpoint, queries: int, recipe: str,
                 title: str) -> dict[str, Any]:
    """Returns what a card says beside the record of a training, as JSON values.

    Names of files and of models in folders are without the folders of this machine.

    Args:
        section: The training section of the recipe.
        variant: The variant that is trained.
        start: The checkpoint that the training starts from.
        queries: The number of training queries.
        recipe: The name of the recipe; empty for none.
        title: The title of the recipe; empty for none.
    """
    before = _details_of_start(start)
    names = {"corpus": section.corpus, "topics": section.topics, "qrels": section.qrels}
    models = {"start": [start.name], "first_stage": [section.candidates.first_stage],
              "teachers": section.teachers}
    return {"recipe": recipe, "title": title, "query": variant.query,
            "queries": queries, "licence": stated_licence(start),
            "base_model": start.name.partition("@")[0] if is_hub_id(start.name) else
            before.get("base_model"), "rounds": section.rounds,
            "starts_before": [before["start"], *before["starts_before"]] if before else [],
            "names": {name: Path(source).name if is_path(source) else source
                      for name, source in names.items()} | {
                name: ", ".join(each if is_hub_id(each) else Path(each).name for each in listed)
                for name, listed in models.items()}}


def _details_of_start(start: Checkpoint) -> dict[str, Any]:
    """What the card of a start that was itself trained here says of its own start; else empty."""
    path = start.layout.folders[0] / RECORD
    if not path.is_file():
        return {}
    try:
        card = read_json(path, dict)["card"]
        base, names = card["base_model"], [card["names"]["start"], *card.get("starts_before", [])]
        if any(not _STATED.fullmatch(name) for name in names) or not (
                base is None or re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", base)):
            return {}
    except (InputError, KeyError, TypeError, AttributeError):
        return {}
    return {"base_model": base, "start": names[0], "starts_before": names[1:]}


def stated_licence(start: Checkpoint) -> dict[str, str]:
    """Returns `license`, `license_name` and `license_link` as the card of a model states them.

    Empty if it has no card or its card states no licence.
    """
    path = start.layout.folders[0] / CARD
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", errors="replace") as stream:
        first, *lines = [line.rstrip() for line in stream.read(100_000).splitlines() or [""]]
    if first != "---" or "---" not in lines:
        return {}
    found = {}
    for key, _, rest in (line.partition(":") for line in lines[:lines.index("---")]):
        value = rest.partition(" #")[0].strip().strip("'\"")
        if key in _LICENCE and _STATED.fullmatch(value):
            found[key] = value
    return found


def write_card(folder: Path, record: Mapping[str, Any], results: Results | None = None) -> None:
    """Writes the card of a trained model; a card that a user wrote or changed stays.

    Args:
        folder: The folder of the model.
        record: The record of its training, `training.json`.
        results: Its measures, if they are known.
    """
    path = folder / CARD
    if path.exists() and _MARK not in path.read_text("utf-8", errors="replace"):
        warn(f"{path}: is kept as it is, because this package did not write it")
        return
    front = yaml.safe_dump(_front_matter(record, results or {}), sort_keys=False,
                           allow_unicode=True)
    with appearing(path) as stream:
        stream.write(f"---\n{front}---\n\n{_MARK}\n\n" + "\n\n".join(_sections(
            record, results or {})) + "\n")


def _front_matter(record: Mapping[str, Any], results: Results) -> dict[str, Any]:
    details = record["card"]
    front: dict[str, Any] = {"library_name": "sentence-transformers",
                             "pipeline_tag": "feature-extraction", **details["licence"]}
    if details["base_model"]:
        front["base_model"] = details["base_model"]
    front["tags"] = ["sentence-transformers", "sparse-encoder", "sparse", "splade", "anserini",
                     "pyserini"]
    found = [(collection, name, measures) for collection, sets in results.items()
             for name, measures in sets.items()]
    if found:
        front["metrics"] = sorted({_metric(name) for _, _, own in found for name in own})
        front["model-index"] = [{"name": details["recipe"] or record["variant"], "results": [
            {"task": {"type": "text-retrieval", "name": "Information Retrieval"},
             "dataset": {"type": collection, "name": f"{collection} {name}"},
             "metrics": [{"type": _metric(measure), "name": measure, "value": value}
                         for measure, value in measures.items()]}
            for collection, name, measures in found]}]
    return front


def _metric(measure: str) -> str:
    """A measure as the hub's metadata names it: nDCG@10 is ndcg_at_10."""
    return re.sub(r"[\W_]+", "_", measure.lower().replace("@", " at ")).strip("_")


def _sections(record: Mapping[str, Any], results: Results) -> Iterator[str]:
    details, training = record["card"], flatten(record["training"])
    names = details["names"]
    yield f"# A SPLADE model of the variant {record['variant']}"
    by = f" by the recipe `{details['recipe']}`" if details["recipe"] else ""
    of = f" ({details['title']})" if details["title"] else ""
    starts = ", itself trained from ".join(
        f"`{name}`" for name in (names["start"], *details.get("starts_before", [])))
    yield (f"A learned sparse encoder: {_KINDS[details['query']]}. It was trained from "
           f"{starts} with spladev3-anserini {record['package']}{by}{of}.")
    yield "## Use"
    yield ("With Lucene, Anserini and Pyserini:\n\n```python\n"
           "import spladev3_anserini as splade\n\n"
           'model = splade.load("path or hub id of this model")\n'
           'index = model.index({"d1": "a wing lifts the aircraft"}, "index")\n'
           'index.search("what lifts a wing")\n```')
    yield ("With sentence-transformers:\n\n```python\n"
           "from sentence_transformers import SparseEncoder\n\n"
           'model = SparseEncoder("path or hub id of this model")\n'
           'documents = model.encode_document(["a wing lifts the aircraft"])\n'
           'queries = model.encode_query(["what lifts a wing"])\n'
           "model.similarity(queries, documents)\n```")
    yield "## Measures"
    yield _measures(results) if results else "Not measured yet."
    yield "## Training"
    training |= names | {"candidates.first_stage": names["first_stage"]}
    del training["first_stage"]
    read = {name: Path(source).name for name, source in record["inputs"].items()}
    scores = f" and the teachers' scores from {read['scores']}" if "scores" in read else ""
    yield (f"The texts were read from {read['corpus']}, the questions from {read['topics']}, the "
           f"candidates from {read['candidates']}{scores}. "
           "The table has all that the recipe states, also about mining and scoring.")
    rows = [["", ""], ["queries", f"{details['queries']:,}"],
            ["optimiser steps", f"{record['steps']:,}"], ["ranks", str(record["ranks"])],
            ["batches per step", str(record["accumulate"])]]
    if details.get("rounds", 1) > 1:
        rows += [["rounds of the recipe", str(details["rounds"])]]
    if kept := record.get("validation"):
        rows += [["step of this model, by its validation", f"{kept['step'] or '0, the start'}"],
                 [f"nDCG@10 on {counted(kept['queries'], 'held-out question')}",
                  f"{kept['validation_nDCG@10']:.4f}"]]
    rows += [[key, f"{value:g}" if isinstance(value, float) else str(value)]
             for key, value in (training | record["environment"]).items() if value is not None]
    yield _markdown(rows)
    yield "Hashes (sha256):"
    hashes = {"start model": record["start"], "tokenizer": record["tokenizer"],
              "training data": record["data"],
              "candidates": record.get("scores", {}).get("candidates"),
              "table of query weights": record.get("query_weights")}
    yield _markdown([["", ""], *([name, value] for name, value in hashes.items() if value)])


def _measures(results: Results) -> str:
    rows = [["collection", "query set", "measure", "value"]]
    rows += [[collection, name, measure, f"{value:.4f}"] for collection, sets in results.items()
             for name, measures in sets.items() for measure, value in measures.items()]
    return _markdown(rows)


def _markdown(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])

