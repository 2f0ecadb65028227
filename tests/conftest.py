"""What tests share: a tiny random checkpoint, the demo checkpoint, and commands run in-process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from longest import LONGEST
from quick_java import start_java_quickly

pytest_plugins = ["reliability", "breaking"]

# a shell that runs the suite in the background (nohup ... &) has it ignore Ctrl-C, and so would every
# command that a test starts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# one thread: the machine is shared by xdist workers, and nothing here is large
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# what commands report on the way is a subject of its own
os.environ.setdefault("SPLADEV3_LOG", "warning")

WORDS = ("the a of wing flow air heat pressure speed boundary layer shock wave lift drag body "
         "surface plate jet mach number theory test cat dog sat mat on run bark ##s ##ing ##er "
         ". , ' \" \\ é 中 zero one two three four five six seven eight nine ten").split()
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


PLACES = {Path(__file__).parent / f"{name}.py": place for place, name in enumerate(LONGEST)}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out the files of longest.py")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.getoption("--fast") and collection_path in PLACES else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: a worker that got one last would end alone."""
    items.sort(key=lambda item: PLACES.get(item.path, len(PLACES)))


class Result(NamedTuple):
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs a command in this process, through the same `run` as the console script."""
    from spladev3_anserini.cli.app import run
    from spladev3_anserini.cli.commands import commands

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            run(commands, [str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert isinstance(stop.value.code, int)
        return Result(stop.value.code, out, err)

    return call


@pytest.fixture(autouse=True)
def _warnings_on_stderr() -> Iterator[None]:
    """What a function warns of is on stderr, as under a command; logs go on to pytest as well."""
    from spladev3_anserini.cli.verbosity import OnStderr
    from spladev3_anserini.progress import log

    handler = OnStderr()
    log.addHandler(handler)
    yield
    log.removeHandler(handler)


@pytest.fixture(autouse=True, scope="session")
def _indexes_here() -> Iterator[Callable[..., None]]:
    """Has `index` and `bm25` index in the tests' own JVM, in a fortieth of the time; yields what they
    do elsewhere."""
    from spladev3_anserini.lucene.anserini import run_indexer

    with pytest.MonkeyPatch.context() as patch:
        start_java_quickly(patch.setattr)
        patch.setattr("spladev3_anserini.lucene.build.run_indexer", index_here)
        patch.setattr("spladev3_anserini.rankers.bm25.run_indexer", index_here)
        yield run_indexer


@pytest.fixture
def indexing_process(_indexes_here: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that are about the JVM that `index` starts."""
    monkeypatch.setattr("spladev3_anserini.lucene.build.run_indexer", _indexes_here)


def index_here(collection: str, source: Path, index: Path, threads: int, options: list[str],
               documents: int) -> None:
    """`run_indexer` with the same class and arguments, in this process."""
    from spladev3_anserini.lucene.jvm import java_class, java_path

    java_class("io.anserini.index.IndexCollection").main([
        "-collection", collection, "-input", java_path(source), "-generator",
        "DefaultLuceneDocumentGenerator", "-index", java_path(index), "-threads", str(threads),
        *options, "-quiet"])


@pytest.fixture
def refused(cli: Callable[..., Result]) -> Callable[..., str]:
    """Runs a command that must be refused: exit 2, one line on stderr, nothing on stdout."""

    def call(*arguments: object) -> str:
        result = cli(*arguments)
        lines = result.err.splitlines()
        assert result.code == 2, result
        assert len(lines) == 1, result.err
        assert lines[0].startswith("spladev3-anserini: ")
        assert "Traceback" not in result.err
        return lines[0]

    return call


def write_lines(path: Path, records: Iterable[object]) -> Path:
    """Writes JSON lines (or strings as they are) and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in records]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def write_corpus(path: Path, texts: Mapping[str, str]) -> Path:
    return write_lines(path, [{"id": i, "contents": text} for i, text in texts.items()])


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT MLM of 2 layers over a vocabulary of 56 wordpieces, as transformers saves it."""
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


def make_tiny(folder: Path, architecture: str = "bert", seed: int = 0, positions: int = 64,
              vocabulary: Sequence[str] = (*SPECIALS, *WORDS)) -> Path:
    """Saves a random masked language model with its tokenizer, in transformers' layout."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

    torch.manual_seed(seed)
    if architecture == "bert":
        model = BertForMaskedLM(BertConfig(
            vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2,
            num_attention_heads=2, intermediate_size=32, max_position_embeddings=positions))
    else:
        model = DistilBertForMaskedLM(DistilBertConfig(
            vocab_size=len(vocabulary), dim=16, n_layers=2, n_heads=2, hidden_dim=32,
            max_position_embeddings=positions))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.6)
    model.save_pretrained(folder)
    save_tokenizer(folder, list(vocabulary))
    return folder


def save_tokenizer(folder: Path, vocabulary: list[str]) -> None:
    from transformers import BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """The demo checkpoint's folder; skipped with a reason where it cannot be fetched."""
    from spladev3_anserini.demo.assets import fetch_assets
    from spladev3_anserini.errors import InputError

    try:
        return fetch_assets("demo")
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def cranfield() -> Path:
    """The Cranfield collection in BEIR layout; skipped where SPLADEV3_DATA does not name it."""
    data = os.environ.get("SPLADEV3_DATA")
    if not data or not (Path(data) / "cranfield" / "corpus.jsonl").exists():
        pytest.skip("SPLADEV3_DATA names no folder with cranfield/ in it")
    return Path(data) / "cranfield"


TEXTS = {
    "d1": "the cat sat on the mat",
    "d2": "the dog runs , the dog barks",
    "d3": "boundary layer of a wing",
    "d10": "heat and air flow : mach number ten",
    "é-id": "one two three four five six seven eight nine ten",
    "empty": "",
    "blank": "  \t ",
    "d4": "shock wave theory test 中 é \" \\",
}
