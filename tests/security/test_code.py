"""The package's own text: nothing in it runs code from data, uses a shell, or loosens a file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import spladev3_anserini

PACKAGE = Path(spladev3_anserini.__file__).parent
MODULES = sorted([*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "benchmarks").glob("*.py")])
#: Modules whose only use is to read or run what could be code.
NEVER_IMPORTED = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle",
                  "code", "pty", "commands", "telnetlib", "ftplib", "urllib.request", "http.client"}
NEVER_CALLED = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load",
                "yaml.unsafe_load", "yaml.full_load", "tempfile.mktemp", "os.chmod", "subprocess.getoutput",
                "subprocess.getstatusoutput", "np.fromfile"}
NEVER_CALLED_LAST = {"chmod", "lchmod", "extract", "extractall", "unpack_archive", "execv", "execve",
                     "execvp", "spawnl", "spawnv", "load_state_dict_from_url"}
#: Keyword arguments that may only have this value.
ONLY = {"shell": "False", "trust_remote_code": "False", "weights_only": "True",
        "allow_pickle": "False", "use_safetensors": "True", "autoescape": "True"}


def faults(text: str) -> Iterator[str]:
    """What a module does that it must not."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in NEVER_IMPORTED)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
            yield from names & (NEVER_IMPORTED | NEVER_CALLED)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.search(r"(?<!\w)http://(?!www\.w3\.org/|localhost:)", node.value):
                yield f"an address without TLS: {node.value[:60]}"
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name == "path.chmod" and "sample.stat()" in ast.unparse(node):
                continue  # files.set_usual_mode, which asks the umask
            if name in NEVER_CALLED or name.rpartition(".")[2] in NEVER_CALLED_LAST:
                yield name
            keywords = {own.arg: ast.unparse(own.value) for own in node.keywords if own.arg}
            yield from (f"{key}={keywords[key]}" for key in ONLY.keys() & keywords
                        if keywords[key] != ONLY[key])
            if name == "torch.load" and "weights_only" not in keywords:
                yield "torch.load without weights_only"
            if name.endswith(".from_pretrained") and keywords.get("trust_remote_code") != "False":
                yield f"{name} without trust_remote_code=False"
            if name.startswith("subprocess.") and name != "subprocess.CompletedProcess" and not (
                    node.args and isinstance(node.args[0], ast.List | ast.Name | ast.Call)):
                yield f"{name} of something else than a list"
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in NEVER_CALLED:
            yield ast.unparse(node)


def test_no_module_runs_anything_of_what_it_reads() -> None:
    offenders = {str(path.relative_to(PACKAGE.parent)): list(faults(path.read_text("utf-8")))
                 for path in MODULES}
    assert {path: names for path, names in offenders.items() if names} == {}


@pytest.mark.parametrize("text", [
    "import pickle", "from pickle import loads", "eval('1')", "os.system('ls')", "f = os.system",
    "from os import system", "subprocess.run('ls', shell=True)", "subprocess.run('ls')", "torch.load(p)",
    "torch.load(p, weights_only=False)", "yaml.load(t)", "A.from_pretrained(p, trust_remote_code=True)",
    "A.from_pretrained(p)", "tempfile.mktemp()", "get('http://x.y')", "archive.extractall(p)",
    "np.load(p, allow_pickle=True)", "path.chmod(0o777)", "Environment(autoescape=False)"])
def test_this_test_would_see_it(text: str) -> None:
    assert list(faults(text))


def test_pages_escape_what_they_show() -> None:
    """Two places take what matplotlib drew as it is, which escapes its texts itself."""
    found = [own for path in sorted(PACKAGE.rglob("*.j2")) for own in re.findall(
        r"(\S+) *\| *safe\b|(autoescape)", path.read_text("utf-8"))]
    assert found == [("charts[query_set.name][each.feature]", ""), ("svg", "")]
