"""Coverage-guided fuzzing of the readers, with atheris: `make fuzz SECONDS=600`, or for some of
them `python tests/fuzz/fuzz.py READER ... --seconds 60` (all seconds together).

What a reader must not do (see `readers.check`) is kept in tests/fuzz/cases/READER/, one file for each
place it happens at; `make test` reads them again. Exit code 1 where something was found.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
# where pytest finds what the readers import; this is a script of its own
sys.path[:0] = [str(HERE), str(HERE.parent)]
MEMORY = Path("/dev/shm")
#: Seconds on one input, and MB: more is a finding, which libFuzzer itself writes and ends with.
_LIMITS = ["-timeout=20", "-rss_limit_mb=4096", "-max_len=4096"]


def fuzz(name: str, seconds: int) -> None:
    """Fuzzes one reader in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["spladev3_anserini", "jsonlines", "yaml", "gzip"]):
        from readers import READERS, check
    reader, cases, places = READERS[name], HERE / "cases" / name, set()
    cases.parent.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp())
    work = Path(os.environ["FUZZ_WORK"])
    for number, seed in enumerate(reader.seeds):
        (work / f"seed-{number}").write_bytes(seed)
    for case in cases.glob("*"):
        (work / case.name).write_bytes(case.read_bytes())

    def one(data: bytes) -> None:
        try:
            check(reader, data, scratch)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = (type(error).__name__, frame.filename, frame.lineno)
            if place not in places:
                places.add(place)
                cases.mkdir(parents=True, exist_ok=True)
                kept = cases / hashlib.sha256(data).hexdigest()[:12]
                kept.write_bytes(data)
                print(f"FOUND {kept}: {place[0]} at {place[1]}:{place[2]}: {error}"[:400],
                      flush=True)

    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (readers warn; libFuzzer ends the process)
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-print_final_stats=1",
                   f"-artifact_prefix={cases}-", *_LIMITS, str(work)], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzzes each reader in a process of its own and counts what was tried and found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("readers", nargs="*", metavar="READER", help="default: all fast ones")
    parser.add_argument("--seconds", type=int, default=60, help="for all readers together")
    chosen = parser.parse_args()
    if os.environ.get("FUZZ_WORK"):
        fuzz(chosen.readers[0], chosen.seconds)
        return 0
    from readers import READERS

    names = chosen.readers or [name for name, own in READERS.items() if not own.slow]
    if unknown := set(names) - READERS.keys():
        parser.error(f"no reader {min(unknown)!r}; there is {', '.join(READERS)}")
    tried = found = 0
    for name in names:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as work:
            done = subprocess.run(
                [sys.executable, __file__, name, "--seconds",
                 str(max(1, chosen.seconds // len(names)))],
                env=os.environ | {"FUZZ_WORK": work, "TMPDIR": work}, text=True, check=False,
                capture_output=True)
        said = done.stdout + done.stderr
        runs = re.search(r"number_of_executed_units: *(\d+)", said)
        new = re.findall(r"^FOUND .*", said, re.MULTILINE)
        failed = done.returncode != 0
        tried, found = tried + int(runs[1] if runs else 0), found + len(new) + failed
        print(f"{name:<20}  {int(runs[1]) if runs else 0:>9,} inputs  {len(new)} found", flush=True)
        print("".join(f"  {line}\n" for line in new) + (said[-1500:] if failed else ""), end="")
    print(f"{tried:,} inputs, {found} found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
