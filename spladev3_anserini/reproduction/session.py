"""State that the stages of one experiment share; what is expensive is created on first use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from spladev3_anserini.collection.fingerprint import source_fingerprint
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.queries import encoder_for_index
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, read_json, sha256_of
from spladev3_anserini.impacts.manifest import IndexManifest
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.impacts.query import available_cores
from spladev3_anserini.impacts.query_weights import FROM_CORPUS
from spladev3_anserini.lucene.check import INDEX_MANIFEST, read_index_manifest
from spladev3_anserini.lucene.prebuilt import prebuilt_index
from spladev3_anserini.model.batches import resolved_device
from spladev3_anserini.model.checkpoint import Checkpoint, model_hash, weight_files
from spladev3_anserini.recipe.schema import QuerySet, SpladeRecipe
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.reproduction.models import converted_folder, usable_checkpoint
from spladev3_anserini.reproduction.sources import root_folder
from spladev3_anserini.reproduction.stage import PARTS, option
from spladev3_anserini.reproduction.training_files import training_files

_CORES = available_cores()


@dataclass(frozen=True, kw_only=True)
class Options:
    """How this machine does the work, and which parts of the pipeline it runs.

    Attributes:
        parts: The parts to run, of PARTS. The parts before them must be done.
        threads: Threads of searching and indexing.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch_tokens: Wordpieces per batch, padding included; None lets the encoder choose.
        model: The model, if the recipe names none.
        ranks: Processes that train together, each with batches of the recipe's size.
    """

    parts: tuple[str, ...] = PARTS
    threads: int = _CORES
    device: str = "auto"
    batch_tokens: int | None = None
    model: str | None = None
    ranks: int = 1

    def arguments(self, *names: str) -> list[str]:
        """Returns the options among `names` that differ from the commands' defaults, as words."""
        chosen = {"threads": None if self.threads == _CORES else self.threads,
                  "device": None if self.device == "auto" else self.device,
                  "batch-tokens": self.batch_tokens}
        return [word for name in names for word in option(name, chosen[name])]


def firsts_of(experiment: Experiment, options: Options) -> list[tuple[Experiment, Options]]:
    """Returns the experiments that one begins with, and their options: `model` if one takes it.

    A SPLADE recipe that is given a model trains none, and so needs none to start from.
    """
    if isinstance(experiment.recipe, SpladeRecipe) and options.model:
        return []
    return [(first, options if first.takes_model else replace(options, model=None))
            for first in experiment.firsts]


class Session:
    """State that the stages of one experiment share.

    Everything is looked up on first use. The stages can therefore be listed without a model or
    data.
    """

    def __init__(self, experiment: Experiment, sets: Mapping[str, QuerySet],
                 options: Options) -> None:
        self.experiment, self.sets, self.options = experiment, sets, options
        self.sources = experiment.sources()

    @cached_property
    def corpus(self) -> str:
        """The corpus as the readers take it."""
        return self.sources.resolve(self.experiment.collection.corpus)

    @cached_property
    def topics(self) -> dict[str, str]:
        """The topics of each query set as the readers take them."""
        return {name: self.sources.resolve(query_set.topics)
                for name, query_set in self.sets.items()}

    @cached_property
    def qrels(self) -> dict[str, str]:
        """The judgments of each query set as the readers take them."""
        return {name: self.sources.resolve(query_set.qrels)
                for name, query_set in self.sets.items()}

    @cached_property
    def exclude(self) -> dict[str, str]:
        """The exclusions of each query set that has some, as the readers take them."""
        return {name: self.sources.resolve(query_set.exclude)
                for name, query_set in self.sets.items() if query_set.exclude}

    def search_inputs(self, name: str) -> dict[str, str]:
        """Returns what decides the depth of a query set's rankings and what is left out of them."""
        query_set = self.sets[name]
        inputs = {"hits": str(query_set.hits), "remove_query": str(query_set.remove_query)}
        if name in self.exclude:
            inputs["exclude"] = source_fingerprint(self.exclude[name], "exclude")
        return inputs

    def search_words(self, name: str) -> list[str]:
        """Returns the options of a search that belong to a query set."""
        query_set = self.sets[name]
        exclude = self.sources.argument(query_set.exclude) if query_set.exclude else None
        return [*option("hits", query_set.hits), *option("remove-query", query_set.remove_query),
                *option("exclude", exclude)]

    @property
    def trains(self) -> bool:
        """Whether the model is trained here."""
        recipe = self.experiment.recipe
        return recipe.training is not None and not (self.options.model or recipe.model)

    @property
    def _trained(self) -> str | None:
        """The folder of a model that is trained here, by this recipe or by the one it names."""
        if self.trains:
            return str(training_files(self.experiment).model)
        if self.experiment.splade.trained_by and not self.options.model:
            return str(training_files(self.experiment.firsts[0]).model)
        return None

    @property
    def model(self) -> str:
        """The SPLADE model as an argument of a command; `MODEL` if the recipe names none."""
        if self._trained:
            return self._trained
        recipe = self.experiment.splade
        name = self.options.model or recipe.model_name or "MODEL"
        return str(converted_folder(name, self.experiment.output)) if recipe.pickled else name

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The opened SPLADE checkpoint; raises InputError if it is not available."""
        recipe = self.experiment.splade
        name = self._trained or self.options.model or recipe.model_name
        if name is None:
            raise InputError(f"{self.experiment.recipe_name}: names no model; give its folder "
                             "with `model`")
        return usable_checkpoint(name, self.experiment.output, recipe.pickled)

    @cached_property
    def model_sha256(self) -> str:
        """The hash of the checkpoint's weights and config."""
        weight_files(self.checkpoint)
        return model_hash(self.checkpoint)

    @cached_property
    def tokenizer_sha256(self) -> str:
        """The hash of everything that decides wordpieces."""
        return self.checkpoint.settings.load_tokenizer().sha256

    @cached_property
    def index(self) -> Path:
        """The folder of the index; a prebuilt index is downloaded."""
        prebuilt = self.experiment.prebuilt
        return prebuilt_index(prebuilt) if prebuilt else self.experiment.index_folder

    @property
    def index_argument(self) -> str:
        """The index as an argument of a command; `PREBUILT/NAME` stands for a prebuilt one."""
        prebuilt = self.experiment.prebuilt
        return f"PREBUILT/{prebuilt}" if prebuilt else str(self.experiment.index_folder)

    def replacements(self) -> dict[str, str]:
        """Returns {word: replacement} for the words of commands that differ on this machine."""
        words = {}
        for name, query_set in self.sets.items():
            words[self.sources.argument(query_set.topics)] = self.topics[name]
            words[self.sources.argument(query_set.qrels)] = self.qrels[name]
            if query_set.exclude:
                words[self.sources.argument(query_set.exclude)] = self.exclude[name]
        if self.experiment.prebuilt:
            words[self.index_argument] = str(self.index)
        else:
            words[self.sources.argument(self.experiment.collection.corpus)] = self.corpus
        if isinstance(self.experiment.recipe, SpladeRecipe):
            words[self.model] = self.checkpoint.name
            if self.query_weights:
                words[str(self.experiment.settings.query_weights)] = self.query_weights
        return words

    @cached_property
    def query_weights(self) -> str | None:
        """The table of static queries as `encode` takes it; None if the recipe names none."""
        word = self.experiment.settings.query_weights
        if word is None or not word.startswith("$"):
            return word
        variable, _, path = word.partition("/")
        return str(root_folder(self.experiment.recipe_file, variable) / path)

    @property
    def query_weights_hash(self) -> str | None:
        """The sha256 of the table's file, FROM_CORPUS if it is counted, or None without a table."""
        table = self.query_weights
        return table if table in (None, FROM_CORPUS) else sha256_of(Path(str(table)))

    @property
    def index_identity(self) -> str:
        """A hash of the index: of its manifest or, for a prebuilt index, of its files' sizes.

        It is `none` for an index without a manifest.
        """
        prebuilt = self.experiment.prebuilt
        if not prebuilt:
            manifest = self.index / INDEX_MANIFEST
            return sha256_of(manifest) if manifest.exists() else "none"
        sizes = sorted((p.name, p.stat().st_size) for p in self.index.iterdir() if p.is_file())
        return hashlib.sha256(repr((prebuilt, sizes)).encode()).hexdigest()

    @property
    def device(self) -> str:
        """The kind of device that encodes, which decides the last bits."""
        return resolved_device(self.options.device).partition(":")[0]

    def note(self, name: str) -> dict[str, Any]:
        """Reads the values that a stage recorded as `corpus`, `data.SET`, `check` or
        `measures.SET`."""
        record: dict[str, Any] = read_json(self.note_file(name))
        return record

    def note_file(self, name: str) -> Path:
        """Returns the JSON file of a note."""
        return self.experiment.folder / f"{name}.json"

    def write_note(self, name: str, record: Mapping[str, Any]) -> None:
        """Writes a note, whole or not at all."""
        with appearing(self.note_file(name)) as stream:
            stream.write(json.dumps(record, indent=1) + "\n")

    def index_record(self) -> IndexManifest:
        """Reads the manifest of the index; raises InputError if there is none."""
        record = read_index_manifest(self.index)
        if record is None:
            raise InputError(f"{self.index}: no {INDEX_MANIFEST} in it")
        return record

    def query_encoder(self) -> Encoder:
        """Returns the encoder of queries for an index that this experiment built."""
        recipe_settings, options = self.experiment.settings, self.options
        settings = EncoderSettings(
            max_length=recipe_settings.query_max_length or 0,
            quantizer=Quantizer.parse(str(recipe_settings.quantizer)),
            special_tokens=str(recipe_settings.special_tokens),
            batch_tokens=options.batch_tokens, device=options.device,
            dtype=str(recipe_settings.dtype))
        return encoder_for_index(self.index, self.index_record(), self.checkpoint.name,
                                 self.experiment.splade.variant, settings)
