"""The journals of an interrupted encode -> how far it is, and the command that continues it."""

from __future__ import annotations

import shlex
from pathlib import Path

from spladev3_anserini.encoding.directory import Part, read_shard_journal
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.manifest import BINARY, Fingerprint, Shard
from spladev3_anserini.impacts.shards import IMPACTS

JOURNALS = "progress-*-of-*.jsonl"


def unfinished(folder: Path) -> str:
    """How many shards of a folder without a manifest are whole (their sha256 is their journal's),
    which parts have work to do, and the command for the first of them."""
    journals = [read_shard_journal(path) for path in sorted(folder.glob(JOURNALS))]
    fingerprint = next((own for own, _ in journals if own), None)
    if fingerprint is None:
        return (f"{folder}: an encode began here and no shard of it is known to be whole; run the "
                "same encode again, with `restart` where it asks for it")
    name = next(folder.glob(JOURNALS)).stem.rpartition("-")[2]
    parts = int(name) if name.isdecimal() and 0 < int(name) < 10**6 else 1
    count = -(-fingerprint.documents // max(1, fingerprint.shard_size))
    done = {_number(shard) for own, shards in journals if own == fingerprint
            for shard in shards.values() if _is_whole(folder, shard)}
    left = [Part(number, parts) for number in range(1, parts + 1)
            if not done.issuperset(range(number - 1, count, parts))]
    which = f"; left are the parts {', '.join(map(str, left[:5]))}" if parts > 1 and left else ""
    command = _command(folder, fingerprint, left[0] if left else Part(1, parts))
    return (f"{folder}: an encode that is not finished: {len(done):,} of {count:,} shards are "
            f"done{which}; the same command continues it: {command}")


def _number(shard: Shard) -> int:
    digits = shard.name.partition("-")[2].partition(".")[0]
    return int(digits) if digits.isdecimal() else -1


def _is_whole(folder: Path, shard: Shard) -> bool:
    path = folder / IMPACTS / shard.name
    return path.is_file() and sha256_of(path) == shard.sha256


def _command(folder: Path, own: Fingerprint, part: Part) -> str:
    """The encode of a fingerprint, with the options that are not the usual ones; model and input
    are known by their hashes alone."""
    options = {"--variant": (own.variant, None),
               "--special-tokens": (own.special_tokens, "drop"), "--top-k": (own.top_k, None),
               "--shard-size": (own.shard_size, 5000), "--part": (str(part), "1/1"),
               "--max-length": (own.max_length, 256), "--dtype": (own.dtype or None, "float32"),
               "--device": (own.device or None, "cpu"),
               "--batch-tokens": (own.batch_tokens or None, 1024)}
    if own.quantizer != BINARY:
        scale = own.quantizer.removeprefix("x").partition("-")[0]
        options["--scale"] = (scale, "100")
    words = [f"{name}={value}" for name, (value, usual) in options.items()
             if value not in (usual, None)]
    words += ["--gzip"] * own.gzip + ["--contents"] * (own.contents and own.side == "document")
    return shlex.join(["spladev3-anserini", "encode", "--model", "MODEL",
                       *(("--topics", "TOPICS") if own.side == "query" else ("--corpus", "CORPUS")),
                       "--output", str(folder), *words])
