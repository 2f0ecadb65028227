"""SPLADE-v3 for Lucene: text -> term weights -> impact documents -> index -> run -> measures.

    import spladev3_anserini as splade

    model = splade.load("demo")
    index = model.index([("d1", "a wing lifts"), ("d2", "a jet burns")], "index")
    index.search("what lifts a wing")
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spladev3_anserini.cli import signals
from spladev3_anserini.errors import refuse_without
from spladev3_anserini.text import VERSION

if TYPE_CHECKING:
    from spladev3_anserini.api.fusing import fuse
    from spladev3_anserini.api.hits import Hit, TextHit
    from spladev3_anserini.api.index import Index
    from spladev3_anserini.api.model import Model, load
    from spladev3_anserini.api.opening import open_index
    from spladev3_anserini.api.run import Compared, Run, compare, read_run
    from spladev3_anserini.errors import InputError, JavaError, SpladeError
    from spladev3_anserini.evaluation.measures import Evaluation

__version__ = VERSION
__all__ = ["Compared", "Evaluation", "Hit", "Index", "InputError", "JavaError", "Model", "Run",
           "SpladeError", "TextHit", "__version__", "compare", "fuse", "load", "open_index",
           "read_run"]

#: The module of each public name; it is imported when the name is first used.
_PUBLIC = {
    "load": "api.model", "Model": "api.model", "open_index": "api.opening", "Index": "api.index",
    "read_run": "api.run", "Run": "api.run", "compare": "api.run", "Compared": "api.run",
    "Hit": "api.hits", "TextHit": "api.hits", "Evaluation": "evaluation.measures",
    "SpladeError": "errors", "InputError": "errors", "JavaError": "errors", "fuse": "api.fusing",
}

# for `python -m spladev3_anserini.encode` and seven more: the main commands as modules
__path__.append(str(Path(__file__).parent / "cli" / "modules"))

if signals.started_as_program():
    signals.exit_at_once_while_importing()


def __getattr__(name: str) -> Any:
    if name == "terrier":  # the module of PyTerrier's transformers, which an extra installs
        refuse_without("pyterrier", "`terrier`", "terrier")
        return import_module(f"{__name__}.api.pyterrier")
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
