"""What the files at the top say of the package is so: versions, extras, Pythons, packages."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

import spladev3_anserini
from spladev3_anserini.errors import InputError, needed

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


def test_the_workflow_runs_the_pythons_that_the_metadata_names(setup: ConfigParser) -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text("utf-8"))
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    assert any("macos" in row["os"] for row in matrix["include"])
    commands = [step["run"].split()[:2] for step in workflow["jobs"]["test"]["steps"] if "run" in step]
    assert commands == [["make", "demo"], ["make", "test"]]


def test_every_folder_of_the_package_is_installed(setup: ConfigParser) -> None:
    package = ROOT / "spladev3_anserini"
    folders = {path.parent.relative_to(ROOT).as_posix().replace("/", ".")
               for path in package.rglob("*.py")}
    assert {*setup["options"]["packages"].split()} == folders | {"spladev3_anserini.recipes"}
    data = setup["options.package_data"]
    for path in package.rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            room = path.parent.relative_to(ROOT).as_posix().replace("/", ".")
            patterns = re.split(r"[,\s]+", data[room])
            assert any(path.match(pattern) for pattern in patterns), path
    for path in (ROOT / "recipes").rglob("*.yaml"):
        depth = len(path.relative_to(ROOT / "recipes").parts)
        assert {1: "*.yaml", 2: "*/*.yaml"}[depth] in data["spladev3_anserini.recipes"]


def test_an_extra_that_is_missing_is_named_in_one_line(setup: ConfigParser,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """Each package that only some commands need is in the extra that the message names."""
    wanted = re.findall(r'needed\(\s*"([\w.]+)",[^)]*?"(\w+)"\)',
                        "".join(path.read_text("utf-8") for path in
                                (ROOT / "spladev3_anserini").rglob("*.py")))
    assert len(wanted) >= 6
    names = {"faiss": "faiss-cpu", "ir_datasets": "ir-datasets"}
    for module, extra in wanted:
        package = module.partition(".")[0]
        assert re.search(rf"^{names.get(package, package)}\b", setup["options.extras_require"][extra], re.M)
        assert not re.search(rf"^{package}\b", setup["options"]["install_requires"], re.M), package
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"^a plot: needs matplotlib, which is not installed: pip install "
                                         r"'spladev3-anserini\[analysis\]'$"):
        needed("matplotlib", "a plot", "analysis")
