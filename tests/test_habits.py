"""What the files at the top say of the package is so: versions, extras, Pythons, packages."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path
from runpy import run_path

import pytest
import yaml
from conftest import Result

import spladev3_anserini
from spladev3_anserini.errors import InputError, import_optional

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def setup() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", "utf-8")
    return parser


def test_the_version_is_the_same_everywhere() -> None:
    version = spladev3_anserini.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    released = re.search(r"^## \[([\d.]+)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert released is not None
    assert (citation["version"], released[1]) == (version, version)
    assert citation["date-released"] == released[2]
    assert citation["cff-version"] == "1.2.0"


def test_the_changelog_names_files_that_are_there() -> None:
    """The second column of its table of moved modules."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    rows = text[text.index("| was, in `spladev3_anserini` |"):].partition("\n\n")[0].splitlines()[2:]
    names = {name for row in rows for name in re.findall(r"`([\w/]+\.py)`", row.split("|")[2])}
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "spladev3_anserini").rglob("*.py")}
    assert len(names) >= 15
    assert {name for name in names if not any(path.endswith(f"/{name}") for path in there)} == set()


def test_no_file_holds_the_marks_of_a_merge() -> None:
    for path in [*ROOT.glob("*"), *ROOT.glob("docs/*.md"), *ROOT.glob("recipes/**/*")]:
        if path.is_file() and not path.name.startswith("."):
            assert not re.search(r"^(<{7}|>{7}) ", path.read_text("utf-8"), re.M), path


def test_the_workflow_runs_the_pythons_that_the_metadata_names(setup: ConfigParser) -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text("utf-8"))
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    assert any("macos" in row["os"] for row in matrix["include"])
    commands = [step["run"].split()[:2] for step in workflow["jobs"]["test"]["steps"] if "run" in step]
    assert commands == [["make", "demo"], ["make", "test"]]


def test_actions_are_pinned_and_the_linters_have_a_job_of_their_own() -> None:
    text = (ROOT / ".github/workflows/test.yml").read_text("utf-8")
    uses = re.findall(r"uses: (\S+)", text)
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in uses), uses
    steps = yaml.safe_load(text)["jobs"]["lint"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["make lint PYTHON=python", "make site PYTHON=python"]


def test_hooks_of_a_commit_run_what_is_installed(setup: ConfigParser) -> None:
    """Nothing is downloaded for them, and their programs are in the extra of the tests."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        program = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert program == "python" or f"\n{program} >=" in setup["options.extras_require"]["test"]
        assert all((ROOT / word).exists() for word in hook["entry"].split() if word.startswith("tests/"))


def test_every_document_is_a_page_of_the_site_and_its_api_page_has_every_name() -> None:
    module = run_path(str(ROOT / "tools" / "site_pages.py"))
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    pages = {page for entry in nav for page in entry.values()}
    documents = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert pages == documents | {*module["PAGES"].values()} | {"api.md", "regressions/README.md"}
    assert {*module["PAGES"]} >= {path.name for path in ROOT.glob("*.md")}
    api = module["api_page"]()
    for name in {*spladev3_anserini.__all__} - {"__version__"}:
        assert f"## splade.{name}\n" in api
    assert "### Index.search\n" in api
    links = module["with_links_of_the_site"]
    assert links("[a](../README.md#x) [b](python.md) [c](../Makefile)", ROOT / "docs") == \
        "[a](index.md#x) [b](python.md) c"
    assert links("[a](docs/guide.md)", ROOT) == "[a](guide.md)"
    assert links("[a](../../README.md) [b](demo.md)", ROOT / "docs/regressions") == \
        "[a](../index.md) [b](../regressions/demo.md)"


def test_every_folder_of_the_package_is_installed(setup: ConfigParser) -> None:
    package = ROOT / "spladev3_anserini"
    folders = {path.parent.relative_to(ROOT).as_posix().replace("/", ".")
               for path in package.rglob("*.py")}
    assert {*setup["options"]["packages"].split()} == folders | {"spladev3_anserini.recipes"}
    data = setup["options.package_data"]
    for path in package.rglob("*"):
        if path.is_file() and path.suffix != ".py" and path.parent.name != "__pycache__":
            folder = next(folder for folder in path.parents if (folder / "__init__.py").exists())
            room = folder.relative_to(ROOT).as_posix().replace("/", ".")
            patterns = re.split(r"[,\s]+", data[room])
            assert any(path.match(pattern) for pattern in patterns), path
    for path in (ROOT / "recipes").rglob("*.yaml"):
        depth = len(path.relative_to(ROOT / "recipes").parts)
        assert {1: "*.yaml", 2: "*/*.yaml"}[depth] in data["spladev3_anserini.recipes"]


def test_what_is_wanted_from_extras_is_not_in_the_base(setup: ConfigParser) -> None:
    """`test` and `bench` hold the extras of plots and of the exact engine; statsmodels is the tests' oracle alone."""
    extras = {name: text.split("\n") for name, text in setup["options.extras_require"].items()}
    for name in ("test", "bench"):
        assert "spladev3-anserini[analysis,fast]" in extras[name]
    code = "".join(path.read_text("utf-8") for path in (ROOT / "spladev3_anserini").rglob("*.py"))
    assert "import statsmodels" not in code
    assert "from statsmodels" not in code


def test_an_extra_that_is_missing_is_named_in_one_line(setup: ConfigParser,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """Each package that only some commands need is in the extra that the message names."""
    wanted = re.findall(r'(?:import_optional|refuse_without)\(\s*"([\w.]+)",[^)]*?"(\w+)"\)',
                        "".join(path.read_text("utf-8") for path in
                                (ROOT / "spladev3_anserini").rglob("*.py")))
    assert len(wanted) >= 10
    names = {"faiss": "faiss-cpu", "ir_datasets": "ir-datasets", "opensearchpy": "opensearch-py",
             "pyterrier": "python-terrier", "qdrant_client": "qdrant-client",
             "qdrant_edge": "qdrant-edge-py"}
    for module, extra in wanted:
        package = module.partition(".")[0]
        assert re.search(rf"^{names.get(package, package)}\b", setup["options.extras_require"][extra], re.M)
        assert not re.search(rf"^{package}\b", setup["options"]["install_requires"], re.M), package
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"^a plot: needs matplotlib, which is not installed: pip install "
                                         r"'spladev3-anserini\[analysis\]'$"):
        import_optional("matplotlib", "a plot", "analysis")


def test_a_plot_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch,
                                           cli: Callable[..., Result]) -> None:
    """The runs are not there, and that would be the error if they were read first."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    runs = ("--qrels", "none", "--run", "a=none", "--run", "b=none")
    for option, command in (("--forest", ("compare", *runs, "--forest", "plot.svg")),
                            ("--forest", ("meta", "--effects", "none", "--forest", "plot.svg")),
                            ("--html", ("breakdown", *runs, "--topics", "none", "--html", "page.html")),
                            ("--html", ("diagnose", "--trained", "none", "--html", "page.html"))):
        done = cli(*command)
        assert (done.code, done.out) == (2, "")
        assert done.err == (f"spladev3-anserini: {option}: needs matplotlib, which is not installed: "
                            "pip install 'spladev3-anserini[analysis]'\n")
