"""A model's name -> its kind of pair scorer, and the scorer, loaded and tested on two pairs."""

from __future__ import annotations

from pathlib import Path

from spladev3_anserini.encoding.cut import Cuts
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json
from spladev3_anserini.model.hub import model_folder
from spladev3_anserini.model.kept import file_states, load_cached
from spladev3_anserini.model.stated import SENTENCE_SETTINGS, refuse_prompts
from spladev3_anserini.model.weights import (
    external_data,
    folder_hash,
    weight_files_in,
)
from spladev3_anserini.rankers import cross_encoders as kinds
from spladev3_anserini.rankers.pair_scorer import PairError, PairScorer, PairSettings
from spladev3_anserini.rankers.templated import (
    prompts_beside,
    refuse_without_template,
    templated_kind,
)

#: Two pairs that every pair scorer must be able to score before any work.
_TRIAL = (("a cat", "sat"), ("a dog", "sat on a mat and ran"))


def find_pair_scorer(name: str, template: str | None = None) -> tuple[type[PairScorer], Path]:
    """Returns the kind of pair scorer that a name stands for, and its folder, without loading it.

    Args:
        name: A folder, a hub id or the name of a packaged model.
        template: A name in `TEMPLATES`, without which decoders and monoT5 are refused.

    Returns:
        The class and the folder. The files decide the class: sequence classification in
        transformers (1 label: its logit; 2 labels: the second's logit minus the first's), a T5
        ranker, ONNX (`model.onnx`, at the top or in `onnx/`, and `tokenizer.json`), or a
        bi-encoder with mean pooling (the cosine).

    Raises:
        InputError: It is none of these, the template is missing or for other models, or its
            weights are only a pickle.
    """
    folder = model_folder(name, option="`cross_encoder`")
    if not list(folder.glob("*.safetensors")):
        folder = model_folder(name, graphs=True, option="`cross_encoder`")
    if (folder / SENTENCE_SETTINGS).exists():
        settings = folder / SENTENCE_SETTINGS
        refuse_prompts(settings, prompts_beside(read_json(settings, dict).get("prompts"), template))
    if weight_files_in(folder, "*.safetensors"):
        architecture = _architecture(folder)
        if template:
            return templated_kind(name, template, architecture), folder
        refuse_without_template(name, architecture, read_json(folder / "config.json", dict))
        if architecture.endswith("T5ForConditionalGeneration"):
            return kinds.RankT5, folder
        if architecture.endswith("ForSequenceClassification"):
            return kinds.SequenceClassification, folder
        if architecture.endswith("Model") and _mean_pooled(name, folder):
            return kinds.BiEncoder, folder
        raise InputError(f"`cross_encoder` {name}: is a {architecture}; expected a model for "
                         "sequence classification, a T5ForConditionalGeneration or an ONNX model")
    if template:
        raise InputError(f"`template` {template}: {name} has no *.safetensors")
    if (graph := kinds.onnx_graph_path(folder)).exists() and (folder / "tokenizer.json").exists():
        for data in external_data(graph):
            if not (data.startswith(graph.name) and "/" not in data):
                raise InputError(f"{graph}: takes weights from {data[:80]!r}; expected a file "
                                 f"beside it that is called {graph.name}...")
        return kinds.OnnxCrossEncoder, folder
    raise InputError(f"`cross_encoder` {name}: neither *.safetensors nor (onnx/)model.onnx with "
                     f"tokenizer.json in {folder}; pickled weights (pytorch_model.bin) can run "
                     "code and are not loaded: load them once where you trust them and "
                     "save_pretrained them")


def open_pair_scorer(name: str, settings: PairSettings) -> PairScorer:
    """Loads a pair scorer and tests it on two short pairs.

    Raises InputError as `find_pair_scorer` does, and if it cannot be loaded or fails on a pair.
    """
    kind, folder = find_pair_scorer(name, settings.template)
    if settings.max_length < 4:
        raise InputError(f"`max_length` {settings.max_length}: expected 4 tokens or more")
    key = ("pair scorer", name, settings, file_states(folder.rglob("*")))
    scorer = load_cached("model", key, lambda: _tested(kind(name, folder, settings)))
    scorer.cuts = Cuts()
    return scorer


def _tested(scorer: PairScorer) -> PairScorer:
    try:
        for pair in _TRIAL:
            if min(scorer.tokens_left([pair[0]])) > 0:
                scorer.score([pair])
    except PairError as error:
        raise InputError(f"`cross_encoder` {scorer.name}: {error}") from None
    return scorer


def _architecture(folder: Path) -> str:
    config = read_json(folder / "config.json", dict)
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures:
        raise InputError(f"{folder / 'config.json'}: names no architecture")
    return str(architectures[0])


def _mean_pooled(name: str, folder: Path) -> bool:
    """Whether a bi-encoder's files say that it pools by the mean."""
    pooling = folder / "1_Pooling" / "config.json"
    if not pooling.exists():
        return name == "demo-bi-encoder"
    modes = [key for key, on in read_json(pooling, dict).items()
             if key.startswith("pooling_mode_") and on]
    return modes == ["pooling_mode_mean_tokens"]


def pair_scorer_hash(name: str, template: str | None = None) -> str:
    """Returns the `PairScorer.sha256` of a name without loading the model.

    Raises InputError as `find_pair_scorer` does.
    """
    kind, folder = find_pair_scorer(name, template)
    return folder_hash(folder, kind.files)
