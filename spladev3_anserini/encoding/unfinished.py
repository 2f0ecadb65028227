"""The journals of an interrupted encode -> its progress, and the command that continues it."""

from __future__ import annotations

import shlex
from pathlib import Path

from spladev3_anserini.encoding.directory import Part
from spladev3_anserini.encoding.journal import JOURNALS, read_shard_journal
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.manifest import BINARY, Fingerprint, Shard
from spladev3_anserini.impacts.shards import IMPACTS


def unfinished(folder: Path) -> str:
    """Returns one line about an encode without a manifest.

    It states how many shards are whole (their sha256 is that of the journal), which parts are not
    finished, and the command for the first of them.
    """
    journals = [read_shard_journal(path) for path in sorted(folder.glob(JOURNALS))]
    fingerprint = next((journal.fingerprint for journal in journals if journal.fingerprint), None)
    if fingerprint is None:
        return (f"{folder}: an encode began here and no shard of it is known to be whole; run the "
                "same encode again, with `restart` where it asks for it")
    name = next(folder.glob(JOURNALS)).stem.rpartition("-")[2]
    parts = int(name) if name.isdecimal() and 0 < int(name) < 10**6 else 1
    count = fingerprint.shards
    done = {_number(shard) for journal in journals if journal.fingerprint == fingerprint
            for shard in journal.shards.values() if _is_whole(folder, shard)}
    remaining = [part for part in (Part(number, parts) for number in range(1, parts + 1))
                 if not done.issuperset(part.shards(count))]
    which = (f"; left are the parts {', '.join(map(str, remaining[:5]))}"
             if parts > 1 and remaining else "")
    command = _command(folder, fingerprint, remaining[0] if remaining else Part(1, parts))
    return (f"{folder}: an encode that is not finished: {len(done):,} of {count:,} shards are "
            f"done{which}; the same command continues it: {command}")


def _number(shard: Shard) -> int:
    digits = shard.name.partition("-")[2].partition(".")[0]
    return int(digits) if digits.isdecimal() else -1


def _is_whole(folder: Path, shard: Shard) -> bool:
    path = folder / IMPACTS / shard.name
    return path.is_file() and sha256_of(path) == shard.sha256


def _command(folder: Path, fingerprint: Fingerprint, part: Part) -> str:
    """Returns the command of an encode, with the options that differ from their defaults.

    Model and input are placeholders, because a fingerprint has only their hashes.
    """
    options = {"--variant": (fingerprint.variant, None),
               "--special-tokens": (fingerprint.special_tokens, "drop"),
               "--top-k": (fingerprint.top_k, None),
               "--shard-size": (fingerprint.shard_size, 5000), "--part": (str(part), "1/1"),
               "--max-length": (fingerprint.max_length, 256),
               "--dtype": (fingerprint.dtype or None, "float32"),
               "--device": (fingerprint.device or None, "cpu"),
               "--batch-tokens": (fingerprint.batch_tokens or None, 1024),
               "--format": (fingerprint.format, "jsonl")}
    if split := fingerprint.passages:
        del options["--max-length"]
        options |= {"--passages": (split.length, None),
                    "--stride": (split.stride, split.length // 2)}
    if fingerprint.quantizer != BINARY:
        scale = fingerprint.quantizer.removeprefix("x").partition("-")[0]
        options["--scale"] = (scale, "100")
    words = [f"{name}={value}" for name, (value, default) in options.items()
             if value not in (default, None)]
    is_query = fingerprint.side == "query"
    words += ["--gzip"] * fingerprint.gzip
    words += ["--contents"] * (fingerprint.contents and not is_query)
    source = ("--topics", "TOPICS") if is_query else ("--corpus", "CORPUS")
    return shlex.join(["spladev3-anserini", "encode", "--model", "MODEL", *source,
                       "--output", str(folder), *words])
