"""Interrupted, continued, parted and damaged encodes give the bytes of an undisturbed one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result, make_tiny, write_corpus
from encodes import content, corpus_of_words, encode_command
from forked import program
from signed import signed

Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus_of_words(tmp_path_factory.mktemp("corpus"), 1, 230, 50)


def arguments(tiny: Path, corpus: Path, output: Path, *more: object) -> list[str]:
    return encode_command(tiny, corpus, output, 20, *more)


@pytest.fixture
def whole(tiny: Path, corpus: Path, tmp_path: Path, cli: Cli) -> dict[str, bytes]:
    assert cli(*arguments(tiny, corpus, tmp_path / "whole")).code == 0
    return content(tmp_path / "whole")


def test_twice_gives_the_same_bytes(whole: dict[str, bytes], tiny: Path, corpus: Path,
                                    tmp_path: Path, cli: Cli) -> None:
    assert cli(*arguments(tiny, corpus, tmp_path / "again")).code == 0
    assert content(tmp_path / "again") == whole
    assert len(whole) == 12 + 1


def test_a_finished_encode_is_left_as_it_is(whole: dict[str, bytes], tiny: Path, corpus: Path,
                                            tmp_path: Path, cli: Cli) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "whole" / "impacts").iterdir()}
    result = cli(*arguments(tiny, corpus, tmp_path / "whole"))
    assert "0 shards written, 12 kept" in result.out
    assert before == {p.name: p.stat().st_mtime_ns
                      for p in (tmp_path / "whole" / "impacts").iterdir()}


@pytest.mark.fault(4, "a shard removed, the journal cut or gone, a stranger among the shards",
                   then="same bytes",
                   detected="journal, sha256 of shards, the folder's listing")
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "journal-cut", "journal-gone",
                                    "stranger"])
def test_damage_is_mended_by_the_same_command(damage: str, whole: dict[str, bytes], tiny: Path,
                                              corpus: Path, tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "whole"
    shard, journal = folder / "impacts" / "part-00003.jsonl", folder / "progress-1-of-1.jsonl"
    if damage == "truncate":
        shard.write_bytes(shard.read_bytes()[:100])
    elif damage == "flip":
        shard.write_bytes(shard.read_bytes().replace(b"1", b"2", 1))
    elif damage == "remove":
        shard.unlink()
    elif damage == "journal-cut":
        journal.write_text(journal.read_text()[:-30])
    elif damage == "journal-gone":
        journal.unlink()
    else:
        (folder / "impacts" / ".part-00003.jsonl.tmp").write_text("{")
        assert cli("verify", folder).code == 1
        (folder / "impacts" / ".part-00003.jsonl.tmp").unlink()
    result = cli(*arguments(tiny, corpus, folder))
    written = {"journal-gone": 12, "stranger": 0}.get(damage, 1)
    assert f"{written} shard{'' if written == 1 else 's'} written" in result.out
    assert content(folder) == whole
    assert cli("verify", folder).code == 0


def test_parts_together_are_the_whole(whole: dict[str, bytes], tiny: Path, corpus: Path,
                                      tmp_path: Path, cli: Cli) -> None:
    for part in ("3/3", "1/3"):
        result = cli(*arguments(tiny, corpus, tmp_path / "parts", "--part", part))
        assert (result.code, "other parts still have work to do" in result.out) == (0, True)
        assert not (tmp_path / "parts" / "manifest.json").exists()
    assert cli(*arguments(tiny, corpus, tmp_path / "parts", "--part", "2/3")).code == 0
    assert content(tmp_path / "parts") == whole


@pytest.mark.fault(22, "parts of one encode side by side",
                   then="same bytes",
                   detected="compared with the whole")
def test_parts_side_by_side_are_the_whole(whole: dict[str, bytes], tiny: Path, corpus: Path,
                                          tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([*program(), *arguments(tiny, corpus, tmp_path / "p", "--part", f"{n}/2")])
        for n in (1, 2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert content(tmp_path / "p") == whole


@pytest.mark.fault(5, "resumed with another scale, length, variant, top-k, special tokens, "
                   "batches",
                   detected="fingerprint, both shown")
@pytest.mark.parametrize(("more", "shown"), [
    (["--scale", 20], "quantizer: x100-rint there, x20-rint now"),
    (["--max-length", 32], "max_length: 64 there, 32 now"),
    (["--variant", "splade-v3-doc"], "variant: splade-v3 there, splade-v3-doc now"),
    (["--top-k", 5], "top_k: None there, 5 now"),
    (["--special-tokens", "keep"], "special_tokens: drop there, keep now"),
    (["--batch-tokens", 50], "batch_tokens: 1024 there, 50 now"),
])
def test_another_encoding_is_refused_with_both_shown(
        more: list[object], shown: str, whole: dict[str, bytes], tiny: Path, corpus: Path,
        tmp_path: Path, refused: Callable[..., str], cli: Cli) -> None:
    assert shown in refused(*arguments(tiny, corpus, tmp_path / "whole", *more))
    assert content(tmp_path / "whole") == whole
    assert cli(*arguments(tiny, corpus, tmp_path / "whole", *more, "--restart")).code == 0
    assert content(tmp_path / "whole")["manifest.json"] != whole["manifest.json"]


def test_overwrite_replaces_another_encoding_and_continues_this_one(
        whole: dict[str, bytes], tiny: Path, corpus: Path, tmp_path: Path, cli: Cli,
        refused: Callable[..., str]) -> None:
    folder = tmp_path / "whole"
    assert cli(*arguments(tiny, corpus, folder, "--max-length", 8, "--overwrite")).code == 0
    assert content(folder) != whole
    (folder / "impacts" / "part-00003.jsonl").unlink()
    again = cli(*arguments(tiny, corpus, folder, "--max-length", 8, "--overwrite"))
    assert "1 shard written, 11 kept" in again.out
    assert cli(*arguments(tiny, corpus, folder, "--overwrite")).code == 0
    assert content(folder) == whole
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("work")
    assert "no encode wrote" in refused(*arguments(tiny, corpus, tmp_path / "mine", "--overwrite"))


@pytest.mark.fault(5, "resumed with another corpus or model", detected="fingerprint, both shown")
def test_another_corpus_or_model_is_refused(whole: dict[str, bytes], tiny: Path, corpus: Path,
                                            tmp_path: Path, refused: Callable[..., str]) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(corpus.read_text().replace("wing", "lift", 1))
    assert "corpus: " in refused(*arguments(tiny, other, tmp_path / "whole"))
    model = make_tiny(tmp_path / "model", seed=3)
    assert "model: " in refused(*arguments(model, corpus, tmp_path / "whole"))
    assert content(tmp_path / "whole") == whole


@pytest.mark.fault(5, "a corpus that changes between the two passes over it",
                   detected="hash of the texts")
def test_shards_of_a_corpus_that_changed_for_a_while_are_encoded_again(
        whole: dict[str, bytes], tiny: Path, corpus: Path, tmp_path: Path, cli: Cli,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """The corpus is another during the second pass and itself again before the next encode."""
    import spladev3_anserini.encoding.planning as texts

    own, first_pass, original = tmp_path / "own.jsonl", texts.plan_texts, corpus.read_text()
    own.write_text(original)

    def then_edit(*given: object, **more: object) -> object:
        surveyed = first_pass(*given, **more)  # type: ignore[arg-type]
        own.write_text(original.replace("wing", "lift"))
        return surveyed

    monkeypatch.setattr(texts, "plan_texts", then_edit)
    assert "changed since it was planned" in cli(*arguments(tiny, own, tmp_path / "o")).err
    monkeypatch.undo()
    own.write_text(original)
    assert cli(*arguments(tiny, own, tmp_path / "o")).code == 0
    shards = {name: data for name, data in content(tmp_path / "o").items() if "part" in name}
    assert shards == {name: data for name, data in whole.items() if "part" in name}


def test_a_lost_journal_does_not_hide_another_encoding(whole: dict[str, bytes], tiny: Path,
                                                       corpus: Path, tmp_path: Path,
                                                       refused: Callable[..., str]) -> None:
    journal = tmp_path / "whole" / "progress-1-of-1.jsonl"
    journal.write_text('{"x": 1}\n')
    assert "its first line is damaged" in refused(*arguments(tiny, corpus, tmp_path / "whole"))
    journal.unlink()
    assert "quantizer: x100-rint there, x20-rint now" in refused(
        *arguments(tiny, corpus, tmp_path / "whole", "--scale", 20))
    assert content(tmp_path / "whole") == whole


def test_no_manifest_is_written_over_a_missing_shard(tiny: Path, corpus: Path, tmp_path: Path,
                                                     whole: dict[str, bytes], cli: Cli) -> None:
    cli(*arguments(tiny, corpus, tmp_path / "p", "--part", "1/2"))
    (tmp_path / "p" / "impacts" / "part-00000.jsonl").unlink()
    assert "other parts still have work" in cli(
        *arguments(tiny, corpus, tmp_path / "p", "--part", "2/2")).out
    assert not (tmp_path / "p" / "manifest.json").exists()
    assert "1 shard written" in cli(*arguments(tiny, corpus, tmp_path / "p", "--part", "1/2")).out
    assert content(tmp_path / "p") == whole


def test_restart_touches_only_what_is_its_own(tiny: Path, corpus: Path, tmp_path: Path, cli: Cli,
                                              whole: dict[str, bytes],
                                              refused: Callable[..., str]) -> None:
    from filelock import FileLock

    for part in ("1/2", "2/2"):
        cli(*arguments(tiny, corpus, tmp_path / "p", "--part", part))
    assert "6 shards written, 0 kept" in cli(
        *arguments(tiny, corpus, tmp_path / "p", "--part", "1/2", "--restart")).out
    assert content(tmp_path / "p") == whole
    with FileLock(tmp_path / "p" / ".lock-2-of-2"):
        assert "another encode is writing here" in refused(
            *arguments(tiny, corpus, tmp_path / "p", "--restart"))
    (tmp_path / "p" / "impacts" / "mine.csv").write_text("keep")
    assert cli(*arguments(tiny, corpus, tmp_path / "p", "--restart")).code == 0
    assert (tmp_path / "p" / "impacts" / "mine.csv").read_text() == "keep"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "manifest.json").write_text('{"name": "pwa"}')
    assert "not a valid manifest" in refused(
        *arguments(tiny, corpus, tmp_path / "site", "--restart"))


def test_a_manifest_that_counts_wrong_is_found(whole: dict[str, bytes], tmp_path: Path,
                                               cli: Cli) -> None:
    path = tmp_path / "whole" / "manifest.json"
    record = json.loads(path.read_text())
    record["shards"][0]["documents"] = 1000
    path.write_text(json.dumps(record))
    assert "changed since it was written" in cli("verify", tmp_path / "whole").err
    path.write_text(json.dumps(signed(record)))
    assert "its manifest says 1,000" in cli("verify", tmp_path / "whole").err
    record["shards"][0]["documents"] = 20
    record["shards"].append(record["shards"][0])
    path.write_text(json.dumps(signed(record)))
    assert "names a shard twice" in cli("verify", tmp_path / "whole").err


def test_another_number_of_parts_is_refused(tiny: Path, corpus: Path, tmp_path: Path, cli: Cli,
                                            refused: Callable[..., str]) -> None:
    assert cli(*arguments(tiny, corpus, tmp_path / "o", "--part", "1/3")).code == 0
    assert "was begun in 3 parts, not 2" in refused(
        *arguments(tiny, corpus, tmp_path / "o", "--part", "1/2"))


def test_a_folder_with_other_files_is_not_written_to(tiny: Path, corpus: Path, tmp_path: Path,
                                                     refused: Callable[..., str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    assert "has files in it that no encode wrote" in refused(
        *arguments(tiny, corpus, tmp_path / "mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    assert "is a file" in refused(*arguments(tiny, corpus, tmp_path / "mine" / "thesis.tex"))


def test_the_manifest_says_what_was_encoded(whole: dict[str, bytes], corpus: Path) -> None:
    manifest = json.loads(whole["manifest.json"])
    lines = [json.loads(line) for name, shard in sorted(whole.items()) if name.startswith("part")
             for line in shard.splitlines()]
    texts = [json.loads(line) for line in corpus.read_text().splitlines()]
    assert [line["id"] for line in lines] == [text["id"] for text in texts]
    total = {key: sum(shard[key] for shard in manifest["shards"])
             for key in ("documents", "nonempty", "postings", "impacts")}
    assert total == {"documents": 230, "nonempty": sum(1 for li in lines if li["vector"]),
                     "postings": sum(len(li["vector"]) for li in lines),
                     "impacts": sum(sum(li["vector"].values()) for li in lines)}
    empty = [text["id"] for text in texts if not text["contents"].strip()]
    assert [i for shard in manifest["shards"] for i in shard["empty_ids"]] == empty != []


def test_gzip_and_contents(tiny: Path, corpus: Path, tmp_path: Path, cli: Cli) -> None:
    import gzip

    assert cli(*arguments(tiny, corpus, tmp_path / "z", "--gzip", "--contents")).code == 0
    first = gzip.decompress((tmp_path / "z" / "impacts" / "part-00000.jsonl.gz").read_bytes())
    texts = [json.loads(line)["contents"] for line in corpus.read_text().splitlines()[:20]]
    assert [json.loads(line)["contents"] for line in first.splitlines()] == texts


@pytest.mark.parametrize("sizes", [(2_000, 20_000), pytest.param((20_000, 200_000),
                                                                 marks=pytest.mark.long)])
def test_memory_does_not_grow_with_the_corpus(sizes: tuple[int, int], tiny: Path,
                                              tmp_path: Path) -> None:
    """Peak memory of a process that encodes ten times as many documents."""
    peaks = []
    for size in sizes:
        corpus = write_corpus(tmp_path / f"{size}.jsonl",
                              {f"d{n}": "the cat sat on the mat" for n in range(size)})
        # VmHWM, because ru_maxrss of a child begins with that of the process it was forked from
        script = ("import re, sys; from spladev3_anserini.cli.commands import commands; "
                  "commands.main(sys.argv[1:], standalone_mode=False); "
                  "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])")
        command = [sys.executable, "-c", script,
                   *arguments(tiny, corpus, tmp_path / f"out{size}", "--shard-size", 1000)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]) * 1024)
    # 8 bytes an id and as many again to sort them; 10 MB is what one run differs from the next
    assert peaks[1] - peaks[0] < 20 * (sizes[1] - sizes[0]) + 10e6, peaks
