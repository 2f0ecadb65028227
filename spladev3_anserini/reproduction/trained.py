"""A recipe's training section -> its model: first stage, mine, score, combine, train."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path

from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.survey import survey_texts
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.queries import encoder_for_index
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json, sha256_of
from spladev3_anserini.impacts.shards import IMPACTS, MANIFEST, read_manifest
from spladev3_anserini.lucene.build import build_index
from spladev3_anserini.lucene.check import INDEX_MANIFEST, read_index_manifest
from spladev3_anserini.lucene.searcher import ImpactSearcher
from spladev3_anserini.model.checkpoint import model_hash
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.model.variants import VARIANTS, variant_named
from spladev3_anserini.rankers.pair_scorer import PairSettings
from spladev3_anserini.rankers.registry import find_pair_scorer, open_pair_scorer, pair_scorer_hash
from spladev3_anserini.recipe.training import Training, flat
from spladev3_anserini.reproduction.cell import Cell
from spladev3_anserini.reproduction.data import mark
from spladev3_anserini.reproduction.journal import Inputs, Journal
from spladev3_anserini.reproduction.models import encode_afresh_or_on, usable_checkpoint
from spladev3_anserini.reproduction.training_commands import (
    Folders,
    first_stage_length,
    training_folders,
    training_sources,
)
from spladev3_anserini.text import counted
from spladev3_anserini.training.checkpoints import BEGUN
from spladev3_anserini.training.ensemble import Target, TeacherRecord, combine, moments_of
from spladev3_anserini.training.mining import Draw, mine, sampled, with_positive
from spladev3_anserini.training.run import Machine, read_training_queries, train_model
from spladev3_anserini.training.score_files import write_candidates
from spladev3_anserini.training.scoring import (
    Work,
    fingerprint_of,
    holds_scores_of,
    read_work,
    score_candidates,
)

Do = Callable[[str, Inputs, Callable[[bool], str], Iterable[Path]], None]


def trained_model(cell: Cell, threads: int, device: str, wanted: bool) -> Path:
    """The folder of the model that a cell's recipe trains, made stage by stage where it is not
    there; recipes with the same data share what was mined and scored.

    With `wanted` False nothing is made; raises InputError where something would have to be.
    """
    section = cell.recipe.training
    assert section is not None
    folders = training_folders(cell)
    made = _Made(cell, section, folders, threads, device)
    if wanted:  # what is missing is told before hours of work, not after
        usable_checkpoint(section.start, cell.output)
        for name in section.teachers:
            find_pair_scorer(name)
    # each lock is held no longer than its stages take, so that recipes with alike data can train
    # side by side
    for folder, stages in ((folders.first, (_first_stage,)),
                           (folders.data, (_candidates, _scores)), (folders.own, (_train,))):
        with Journal(folder) as journal:
            for stage in stages:
                stage(made, journal.run if wanted else journal.require_too)
    return folders.model


class _Made:
    """What the stages share: the training's sources resolved, and where its files go."""

    def __init__(self, cell: Cell, section: Training, folders: Folders, threads: int,
                 device: str) -> None:
        sources = training_sources(cell)
        self.cell, self.section, self.threads, self.device = cell, section, threads, device
        self.corpus, self.topics = sources.resolve(section.corpus), sources.resolve(section.topics)
        self.qrels = sources.resolve(section.qrels)
        self.encoded, self.index = folders.first / "encoded", folders.first / "index"
        self.candidates, self.teacher_folder = folders.candidates, folders.teacher
        self.ensemble, self.model = folders.own / "ensemble.jsonl", folders.model

    @cached_property
    def work(self) -> Work:
        """Candidates and their texts, read once for all teachers."""
        return read_work(self.candidates, self.corpus, self.topics)


def _first_stage(made: _Made, do: Do) -> None:
    """The index that candidates come from; the first stage is a model that expands both sides."""
    name = made.section.candidates.first_stage
    checkpoint = usable_checkpoint(name, made.cell.output)
    settings = EncoderSettings(max_length=first_stage_length(made.cell), device=made.device)

    def encode(fresh: bool) -> str:
        surveyed = survey_texts(made.corpus, "document")
        encoder = Encoder(checkpoint, VARIANTS["splade-v3"], "document", settings)
        manifest = encode_afresh_or_on(made.corpus, surveyed, checkpoint, encoder, made.encoded,
                                       fresh)
        return f"{name}: {counted(manifest.documents, 'document')}"

    def index(_: bool) -> str:
        build_index(made.encoded, made.index, threads=made.threads, optimize=False, overwrite=True)
        return f"{name}: indexed"

    def shards() -> Iterator[Path]:
        yield made.encoded / MANIFEST
        for shard in read_manifest(made.encoded).shards:
            yield made.encoded / IMPACTS / shard.name

    do("first encode", {"weights": model_hash(checkpoint), "corpus": mark(made.corpus, "docs"),
                        "max_length": str(settings.max_length)}, encode, shards())
    do("first index", {"encoded": sha256_of(made.encoded / MANIFEST)}, index,
       (made.index / name for name in [INDEX_MANIFEST]))


def _candidates(made: _Made, do: Do) -> None:
    section = made.section
    draw = Draw(top=section.candidates.top, random=section.candidates.random,
                depth=section.candidates.depth, seed=section.candidates.seed)

    def work(_: bool) -> str:
        judged = read_qrels(made.qrels)
        topics = sampled(with_positive(read_topics(made.topics), judged), section.sample, draw.seed)
        record = read_index_manifest(made.index)
        assert record is not None
        checkpoint = usable_checkpoint(section.candidates.first_stage, made.cell.output)
        settings = EncoderSettings(max_length=section.max_length, device=made.device)
        encoder = encoder_for_index(made.index, record, checkpoint.name, "auto", settings)
        searcher = ImpactSearcher(made.index)
        written = write_candidates(made.candidates, mine(
            searcher, encoder, topics, judged, draw, made.threads))
        searcher.close()
        return f"{counted(written, 'query')} with candidates"

    do("mine", {"index": sha256_of(made.index / INDEX_MANIFEST),
                "topics": mark(made.topics, "queries"), "qrels": mark(made.qrels, "qrels"),
                "draw": repr(draw), "sample": str(section.sample)}, work, [made.candidates])


def _scores(made: _Made, do: Do) -> None:
    folders = [made.teacher_folder(name) for name in made.section.teachers]
    if len(set(folders)) < len(folders):
        raise InputError(f"{made.cell.recipe_file}: teachers: two of them have the same name, and "
                         "so the same folder of scores; rename one")
    for name, folder in zip(made.section.teachers, folders, strict=True):
        def work(_: bool, name: str = name, folder: Path = folder) -> str:
            teacher = open_pair_scorer(name, PairSettings(
                max_length=made.section.teacher_max_length, device=made.device))
            if not holds_scores_of(folder, fingerprint_of(made.work, teacher)):
                _clear(folder)
            done = score_candidates(made.work, teacher, folder)
            assert done.manifest is not None
            return counted(done.manifest.pairs, "pair")

        do(f"score {name}", {"candidates": sha256_of(made.candidates),
                              "teacher": pair_scorer_hash(name), "corpus": mark(made.corpus,
                                                                                "docs"),
                              "topics": mark(made.topics, "queries"),
                              "max_length": str(made.section.teacher_max_length)}, work,
           (path for path in [folder / "manifest.json"]))


def _train(made: _Made, do: Do) -> None:
    section, variant = made.section, variant_named(made.cell.recipe.variant)
    folders = [made.teacher_folder(name) for name in section.teachers]
    manifests = {f"scores {folder.name}": sha256_of(folder / "manifest.json")
                 for folder in folders}

    def combined(_: bool) -> str:
        target = None
        if isinstance(section.rescore, list):
            target = Target(section.rescore[0], section.rescore[1])
        elif section.rescore:
            moments = moments_of(folders[0])
            target = Target(moments.mean, moments.deviation, source=section.teachers[0])
        records = [_teacher_record(name, folder) for name, folder
                   in zip(section.teachers, folders, strict=True)]
        made.ensemble.parent.mkdir(parents=True, exist_ok=True)
        done = combine(made.candidates, records, folders, made.ensemble, target)
        agreement = ", ".join(f"Spearman {own.spearman:.2f}" for own in done.disagreement
                              if own.spearman is not None)
        return f"{counted(done.pairs, 'score')} of {counted(len(folders), 'teacher')}" + (
            f" ({agreement})" if agreement else "")

    do("combine", manifests | {"rescore": str(section.rescore)}, combined, [made.ensemble])
    start = usable_checkpoint(section.start, made.cell.output)

    def work(_: bool) -> str:
        last = train_model(
            section, variant, start, made.corpus,
            read_training_queries(made.candidates, made.ensemble, made.topics), made.model,
            sources={"candidates": str(made.candidates), "scores": str(made.ensemble)},
            machine=Machine(device=made.device), resume=(made.model / BEGUN).exists(),
            replace=True)
        return ", ".join(f"{name} {last[name]:.4g}" for name in (
            "loss", "nonzero_queries", "nonzero_documents") if name in last)

    inputs = {"start": model_hash(start), "tokenizer": Tokenizer(start.tokenizer).sha256,
              "variant": variant.name, "candidates": sha256_of(made.candidates),
              "ensemble": sha256_of(made.ensemble), "corpus": mark(made.corpus, "docs"),
              "topics": mark(made.topics, "queries")}
    inputs |= {key: json.dumps(value) for key, value
               in flat(section.model_dump(exclude={"sources", "corpus", "start"})).items()}
    do("train", inputs, work, (made.model / name for name in ("model.safetensors", "config.json")))


def _teacher_record(name: str, folder: Path) -> TeacherRecord:
    fingerprint = read_json(folder / "manifest.json")["fingerprint"]
    return TeacherRecord(name=name, sha256=fingerprint["teacher"], kind=fingerprint["kind"],
                         max_length=fingerprint["max_length"])


def _clear(folder: Path) -> None:
    """Takes out a model of another training, which this folder alone ever holds."""
    if folder.exists():
        shutil.rmtree(folder)
