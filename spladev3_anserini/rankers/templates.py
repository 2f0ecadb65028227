"""The names of templates -> the texts that rerankers without a pair of inputs were trained with."""

from __future__ import annotations

from typing import NamedTuple


class Template(NamedTuple):
    """How a query and a document become one text, and which two tokens say if they match.

    Attributes:
        architectures: The models that it is for, by transformers' names.
        pieces: What the text consists of. Each piece is tokenised by itself, as the source does
            it, and only the piece with `{document}`, in which it comes last, is cut.
        yes: The token that says relevant.
        no: The token that says not relevant.
        source: Where text and tokens are stated.
    """

    architectures: tuple[str, ...]
    pieces: tuple[str, ...]
    yes: str
    no: str
    source: str


TEMPLATES = {
    "qwen3-reranker": Template(
        ("Qwen3ForCausalLM", "Qwen3ForSequenceClassification"),
        ('<|im_start|>system\nJudge whether the Document meets the requirements based on the Query '
         'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
         "<|im_start|>user\n",
         "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
         "<Query>: {query}\n<Document>: {document}",
         "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"),
        "yes", "no", "model card of Qwen/Qwen3-Reranker-0.6B, with its default instruction"),
    "mxbai-rerank-v2": Template(
        ("Qwen2ForCausalLM", "Qwen2ForSequenceClassification"),
        ("<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
         "<|im_end|>\n<|im_start|>user\n",
         "query: {query}", "\n", "document: {document}", "\n",
         "You are a search relevance expert who evaluates how well documents match search queries. "
         "For each query-document pair, carefully analyze the semantic relationship between them, "
         "then provide your binary relevance judgment (0 for not relevant, 1 for relevant).\n"
         "Relevance:",
         "<|im_end|>\n<|im_start|>assistant\n"),
        "1", "0", "mxbai_rerank_v2.py of mixedbread-ai/mxbai-rerank, without an instruction"),
    "monot5": Template(
        ("T5ForConditionalGeneration",),
        ("Query: {query} Document: {document}", "Relevant:"),
        "▁true", "▁false", "Nogueira et al. 2020, arXiv 2003.06713, and pygaggle's tokens"),
}
