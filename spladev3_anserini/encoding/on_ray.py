"""A plan -> an encoded directory, by workers on the nodes of a Ray cluster.

A shard is one task, and an actor holds a model. The queue lies here, in the driver.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from typing import Any

from spladev3_anserini.encoding.directory import WHOLE, EncodedDirectory
from spladev3_anserini.encoding.pipeline import (
    EncodingOutcome,
    names_of_shards,
    publish_encoding,
    write_rejected,
)
from spladev3_anserini.encoding.plan import Plan
from spladev3_anserini.encoding.ray_workers import RayWorkers
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.encoding.shard_source import EncodingOutput
from spladev3_anserini.encoding.shard_worker import EncodedShard, EncodingJob, WorkerReady
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.manifest import Fingerprint, differences_text
from spladev3_anserini.impacts.query_weights import FROM_CORPUS
from spladev3_anserini.impacts.shards import IMPACTS
from spladev3_anserini.model.checkpoint import Checkpoint, is_onnx
from spladev3_anserini.model.variants import Variant
from spladev3_anserini.progress import counter
from spladev3_anserini.text import counted

#: Seconds within which a network file system shows the files of another machine.
_SEEN_WITHIN = 30.0
#: A shard on which so many workers were lost is not given to another.
_MOST_LOSSES = 3


def refuse_for_ray(settings: EncoderSettings, output: EncodingOutput) -> None:
    """Raises InputError for what cannot be encoded by several workers, before any work."""
    if output.part != WHOLE:
        raise InputError(f"`part` {output.part}: workers on Ray share all shards; omit `part`")
    if settings.query_weights == FROM_CORPUS:
        raise InputError(f"`query_weights` {FROM_CORPUS}: is counted by one process that reads all "
                         "texts; omit `ray`")
    if settings.device not in ("auto", "cpu", "cuda"):
        raise InputError(f"`device` {settings.device}: Ray gives each worker a device of its own; "
                         "expected auto, cpu or cuda")


def encode_on_ray(ray: Any, plan: Plan, checkpoint: Checkpoint, variant: Variant,
                  settings: EncoderSettings, output: EncodingOutput) -> EncodingOutcome:
    """Encodes the texts of a plan as `encode_to_directory` does, to the same bytes.

    A lost worker's shards go back into the queue. It is replaced if it had finished a shard, so
    workers that cannot start, or a shard that ends them, do not go on for ever.

    Args:
        ray: The connected cluster.
        plan: The shards of the corpus or the topics.
        checkpoint: The model; each worker opens it by its name.
        variant: The variant.
        settings: The settings of the encoder. With the device `auto`, a worker has a GPU if the
            cluster has any.
        output: Where and how shards are written; all nodes see this folder.

    Raises:
        InputError: As `refuse_for_ray` and `encode_to_directory`; a worker would write something
            else than another; all workers are lost, or several at the same shard.
    """
    refuse_for_ray(settings, output)
    resource = _resource(ray, settings, checkpoint)
    settings = replace(settings, device="cuda" if resource == "GPU" else "cpu")
    job = EncodingJob(Path.cwd(), checkpoint.name, variant, settings, plan, output)
    workers = RayWorkers(ray, job, resource, len(plan.shards))
    ready = workers.first()
    names = names_of_shards(plan, output)
    with EncodedDirectory(output.folder, ready.fingerprint, names, WHOLE, restart=output.restart,
                          overwrite=output.overwrite) as directory:
        write_rejected(output.folder, plan)
        queue = deque(number for number in directory.shards
                      if not directory.finished(number, plan.shards[number].texts))
        texts = sum(plan.shards[number].documents for number in queue)
        needed = {names[number] for number in queue}
        written = empty_queue(queue, workers, directory, texts)
        texts = sum(shard.documents for shard in directory.written if shard.name in needed)
        manifest = publish_encoding(directory, plan, checkpoint, output, ready.terms,
                                    ready.query_weights)
    return EncodingOutcome(written, len(names) - written, manifest, texts)


def _resource(ray: Any, settings: EncoderSettings, checkpoint: Checkpoint) -> str:
    """Returns what a worker needs one of, `GPU` or `CPU`; raises InputError if there is none."""
    has_gpus = ray.cluster_resources().get("GPU", 0) >= 1
    if settings.device == "cuda" and not has_gpus:
        raise InputError("`device` cuda: the cluster has no GPU")
    wanted = settings.device == "cuda" or (settings.device == "auto" and not is_onnx(checkpoint))
    return "GPU" if wanted and has_gpus else "CPU"


def empty_queue(queue: deque[int], workers: RayWorkers, directory: EncodedDirectory,
                texts: int) -> int:
    """Has all shards of a queue encoded and added to the journal.

    Args:
        queue: The numbers of the shards; it is empty afterwards.
        workers: The workers, of which one is ready.
        directory: The output, open.
        texts: How many texts the shards have, for the progress bar.

    Returns:
        How many shards there were.

    Raises:
        InputError: As `encode_on_ray` does for workers.
    """
    needed, written, losses, proven = len(queue), 0, Counter[int](), set[int]()
    free = workers.slots(workers.ready)
    first = True
    with counter("encoding", texts) as bar:
        while written < needed:
            while queue and free:
                workers.give(free.pop(0), queue.popleft(), first)
                first = False
            event = workers.next()
            if isinstance(event.result, WorkerReady):
                refuse_other_encoding(event.result, directory.fingerprint)
                free += workers.slots([event.worker])
            elif event.result is not None:
                add_shard_of(directory, event.result, workers.told[event.worker])
                written += 1
                bar.update(event.result.shard.documents)
                if event.worker in workers.ready:  # else lost with its other shard
                    proven.add(event.worker)
                    free.append(event.worker)
            else:
                free = [worker for worker in free if worker != event.worker]
                if event.worker in proven:
                    proven.remove(event.worker)
                    workers.start()
                if event.number is not None:
                    queue.appendleft(event.number)
                    losses[event.number] += 1
                    if losses[event.number] == _MOST_LOSSES:
                        raise InputError(
                            f"{directory.names[event.number]}: {counted(_MOST_LOSSES, 'worker')} "
                            f"were lost while they encoded it ({workers.reason}); the same command "
                            "continues with it")
    return written


def refuse_other_encoding(ready: WorkerReady, encoding: Fingerprint) -> None:
    """Raises InputError if a worker would write something else than the others."""
    if differing := differences_text(encoding, ready.fingerprint):
        raise InputError(f"`ray`: the worker on {ready.host} would write another encoding "
                         f"({differing}); all nodes need the same model, versions and device")


def add_shard_of(directory: EncodedDirectory, encoded: EncodedShard, origin: WorkerReady) -> None:
    """Adds a worker's shard to the journal; raises InputError if its file is not what it wrote."""
    path, until = directory.folder / IMPACTS / encoded.shard.name, time.monotonic() + _SEEN_WITHIN
    while not path.exists():
        if time.monotonic() > until:
            raise InputError(f"{path}: is not here, and a worker on {origin.host} wrote it; all "
                             "nodes must see the same `output`")
        time.sleep(0.2)
    if sha256_of(path) != encoded.shard.sha256:
        raise InputError(f"{path}: is not what a worker on {origin.host} wrote (sha256); the same "
                         "command encodes it again")
    directory.add(encoded.shard, origin.versions)
