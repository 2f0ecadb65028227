"""The families of released sparse encoders, as data: what is served, applied and refused."""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """Released models of one layout.

    Attributes:
        name: What the models are.
        models: Hub ids of released models.
        layout: What their files consist of.
        variant: The variant that `auto` chooses; empty if the family is refused.
        applied: What the files state besides weights, and is applied.
        refused: What is refused, with the file and the key that the message names.
    """

    name: str
    models: tuple[str, ...]
    layout: str
    variant: str
    applied: str
    refused: str = ""


_OPENSEARCH = "opensearch-project/opensearch-neural-sparse-encoding"
_SPLADE = "the length; prompts, poolings and lower case if they are stated"

FAMILIES = (
    Family("BERT", (
        "naver/splade-v3", "naver/splade-cocondenser-ensembledistil",
        "naver/splade-cocondenser-selfdistil", "naver/splade_v2_max", "prithivida/Splade_PP_en_v1",
        "prithivida/Splade_PP_en_v2", "rasyosef/splade-tiny", "rasyosef/splade-mini",
        "nickprock/splade-bert-base-italian-xxl-uncased-cv",
        "sparse-encoder-testing/splade-bert-tiny-nq", f"{_OPENSEARCH}-v1"),
        "a masked language model as transformers saves it, or with modules.json (Transformer or "
        "MLMTransformer, then SpladePooling)", "splade-v3", _SPLADE,
        "weights in a pickle, until `convert` has made safetensors of them"),
    Family("DistilBERT", (
        "naver/splade-v3-distilbert", "naver/splade_v2_distil", f"{_OPENSEARCH}-v2-distill",
        "thierrydamiba/splade-ecommerce-multidomain"),
        "as BERT", "splade-v3-distilbert", _SPLADE),
    Family("SPLADE-v3-Doc", ("naver/splade-v3-doc",),
           "a Router; the weight of each wordpiece of a query is 1", "splade-v3-doc", _SPLADE),
    Family("SPLADE-v3-Lexical", ("naver/splade-v3-lexical",),
           "as BERT; only its name says that queries have no expansion. A Router that says so is "
           "read under any name", "splade-v3-lexical",
           "the paper's queries: learned weights on the query's own wordpieces, times the weights "
           "of a table if there is one"),
    Family("inference-free, with a table", (
        f"{_OPENSEARCH}-doc-v1", f"{_OPENSEARCH}-doc-v2-distill", f"{_OPENSEARCH}-doc-v2-mini",
        f"{_OPENSEARCH}-doc-v3-distill", f"{_OPENSEARCH}-multilingual-v1"),
        "a Router whose queries are a SparseStaticEmbedding; or, in older revisions, idf.json or "
        "query_token_weights.txt beside plain weights", "static",
        "the table; log1p_relu in doc-v3; prompts and lengths of each side",
        "a table in a pickle, until `convert` has made safetensors of it; two tables that differ "
        "(the names of both); a table of another tokenizer (router_config.json: structure)"),
    Family("two encoders", (
        "naver/efficient-splade-V-large-doc", "naver/efficient-splade-V-large-query",
        "naver/efficient-splade-VI-BT-large-doc"),
        "a Router with a model for documents and another for queries, each with its pooling",
        "splade-v3", "both models, with their lengths and prompts; an index refuses the queries of "
        "another pair", "two different tokenizers (router_config.json: structure)"),
    Family("RoBERTa", (
        "ibm-granite/granite-embedding-30m-sparse", "sparse-encoder/splade-robbert-dutch-base-v1",
        "rasyosef/SPLADE-RoBERTa-Amharic-Medium"),
        "byte-level BPE", "splade-v3", f"{_SPLADE}; terms that Lucene would change are escaped"),
    Family("CamemBERT, XLM-R", ("sparse-encoder/splade-camembert-base-v2",),
           "a SentencePiece vocabulary (Unigram)", "splade-v3", _SPLADE),
    Family("ModernBERT", (
        "telepix/PIXIE-Splade-Preview", "telepix/PIXIE-Splade-v1.0", "yjoonjang/splade-ko-v1",
        "tomaarsen/splade-modernbert-base-miriad"),
        "byte-level BPE, often with runs of spaces as terms, and more output columns than terms",
        "splade-v3", f"{_SPLADE}; terms of white space are escaped, and columns without a term "
        "get no weight"),
    Family("Japanese BERT", ("hotchpotch/japanese-splade-v2",),
           "BertJapaneseTokenizer, which splits words by MeCab and has no fast form", "splade-v3",
           f"{_SPLADE}; needs the extra `japanese`", "tokenizer_config.json: word_tokenizer_type "
           "other than basic and mecab"),
    Family("cosine similarity", (
        "CATIE-AQ/SPLADE_camembert-base_STS", "CATIE-AQ/SPLADE_camemberta2.0_STS"),
        "as BERT", "", "", "config_sentence_transformers.json: similarity_fn_name: scores would "
        "need a division by the norms of query and document"),
    Family("autoencoders (CSR)", (
        "tomaarsen/csr-mxbai-embed-large-v1-nq", "nickprock/csr-multi-sentence-BERTino-cv"),
        "a dense encoder, then a SparseAutoEncoder; its dimensions are no terms", "", "",
        "modules.json: type: SparseAutoEncoder"),
    Family("custom code", (
        f"{_OPENSEARCH}-doc-v3-gte", "thivy/norbert4-base-splade-retrieval"),
        "a model whose code is in its folder", "", "", "config.json: auto_map: code from a model's "
        "folder is never run"),
    Family("causal models", ("naver/splade-code-06B", "naver/splade-code-8B"),
           "Qwen3 or Llama, read in both directions", "", "",
           "config.json: model_type: not a masked language model, or auto_map"),
    Family("M3 sparse head", ("BAAI/bge-m3",),
           "XLM-R without a head for the vocabulary; a linear layer weights the text's own tokens",
           "", "", "the missing weights of the head, by name"),
    Family("other ONNX graphs", ("Qdrant/Splade_PP_en_v1", "castorini/splade-v3-onnx"),
           "a graph that `export` did not write", "", "", "model.onnx: not written by `export`"),
)

GOLDEN_SOURCE = ("sentence-transformers, tests/sparse_encoder/test_pretrained.py and "
                 "test_opensearch_models.py")
GOLDEN_QUERY = "Which planet is known as the Red Planet?"
GOLDEN_PASSAGES = (
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
)
#: The similarities of GOLDEN_QUERY and GOLDEN_PASSAGES by sentence-transformers, in float32.
GOLDEN: dict[str, tuple[float, ...]] = {
    "naver/splade-v3": (12.14491, 26.104, 22.00245, 23.3877),
    "naver/splade-v3-distilbert": (14.09051, 26.74469, 20.17685, 21.46064),
    "naver/splade-v3-doc": (2.59649, 5.20825, 3.98631, 4.80111),
    "naver/splade-cocondenser-ensembledistil": (8.3984, 22.53437, 17.49611, 17.43306),
    "naver/splade-cocondenser-selfdistil": (7.46435, 19.78329, 17.04635, 18.57447),
    "naver/splade_v2_distil": (10.31571, 27.80097, 21.33898, 24.31745),
    "naver/splade_v2_max": (9.8665, 21.85902, 15.46679, 19.21293),
    "naver/efficient-splade-V-large-doc": (4.91852, 13.95462, 11.87605, 12.65839),
    "naver/efficient-splade-V-large-query": (4.91852, 13.95462, 11.87605, 12.65839),
    "naver/efficient-splade-VI-BT-large-doc": (4.89399, 13.49699, 11.25572, 12.38231),
    f"{_OPENSEARCH}-v1": (7.81391, 20.89011, 17.19859, 18.00109),
    f"{_OPENSEARCH}-v2-distill": (11.66555, 39.72486, 31.46797, 29.06855),
    f"{_OPENSEARCH}-doc-v1": (5.60338, 15.5549, 11.63231, 14.3729),
    f"{_OPENSEARCH}-doc-v2-distill": (8.87648, 21.10651, 16.59742, 18.52468),
    f"{_OPENSEARCH}-doc-v2-mini": (5.63165, 14.10177, 12.41127, 13.27736),
    f"{_OPENSEARCH}-doc-v3-distill": (5.40216, 11.59338, 9.66898, 10.57229),
    f"{_OPENSEARCH}-multilingual-v1": (4.70941, 12.14164, 9.9167, 10.65915),
    "prithivida/Splade_PP_en_v1": (7.53973, 21.1464, 15.389, 16.90205),
    "prithivida/Splade_PP_en_v2": (6.62724, 19.52456, 16.87119, 16.45899),
    "rasyosef/splade-mini": (5.89081, 17.4685, 13.97732, 16.45229),
    "rasyosef/splade-tiny": (4.99237, 18.62739, 12.62022, 13.89826),
    "nickprock/splade-bert-base-italian-xxl-uncased-cv": (8.93991, 12.32588, 6.85424, 11.53487),
    "sparse-encoder-testing/splade-bert-tiny-nq": (137.20848, 152.30518, 151.26659, 152.64423),
    "thierrydamiba/splade-ecommerce-multidomain": (73.12199, 83.1591, 78.17178, 76.7075),
    "ibm-granite/granite-embedding-30m-sparse": (6.04771, 16.77029, 10.85245, 10.59154),
    "sparse-encoder/splade-robbert-dutch-base-v1": (1.85174, 15.94728, 6.88332, 9.34534),
    "rasyosef/SPLADE-RoBERTa-Amharic-Medium": (3.59452, 3.55411, 1.13841, 4.14062),
    "sparse-encoder/splade-camembert-base-v2": (8.58515, 18.15598, 10.564, 18.45705),
    "telepix/PIXIE-Splade-Preview": (2.65884, 11.46005, 4.92347, 9.00645),
    "telepix/PIXIE-Splade-v1.0": (10.2899, 37.16295, 25.01773, 26.30672),
    "tomaarsen/splade-modernbert-base-miriad": (1.09753, 5.8977, 6.20096, 5.68861),
    "yjoonjang/splade-ko-v1": (22.02576, 69.67833, 52.54121, 62.20011),
}
WEATHER_QUERY = "What's the weather in ny now?"
WEATHER_PASSAGE = "Currently New York is rainy."
#: The similarity of WEATHER_QUERY and WEATHER_PASSAGE, to a thousandth.
WEATHER: dict[str, float] = {f"{_OPENSEARCH}-doc-v2-distill": 17.5307,
                             f"{_OPENSEARCH}-doc-v3-distill": 11.1105}
