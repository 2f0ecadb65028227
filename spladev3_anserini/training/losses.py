"""Representations and teachers' scores -> the distillation loss: KL, MarginMSE, contrastive.

Written from the formulas of the SPLADE-v3 report (arXiv 2403.06789, section 2.3). In all shapes, B
is the number of queries, K the number of documents per query with the positive in column 0, and V
the vocabulary size. Scores are dot products, in the units of the teacher after rescoring. A loss is
a scalar. Only the student gets gradients, unless the teacher's scores require them. Teachers'
scores must be complete and finite.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from spladev3_anserini.recipe.training import Loss
from spladev3_anserini.training.distributed import gather_over_ranks


def dot_products(queries: Tensor, documents: Tensor) -> Tensor:
    """Scores of each query's documents, s_bk = q_b . d_bk.

    queries (B, V), documents (B, K, V) -> (B, K). Autocast is switched off, because a sum of
    hundreds of products near 30 has steps of 0.125 in bf16. Raises ValueError for other shapes.
    """
    if documents.ndim != 3 or queries.shape != (documents.shape[0], documents.shape[2]):
        raise ValueError(f"queries {tuple(queries.shape)} and documents {tuple(documents.shape)} "
                         "are not (B, V) and (B, K, V)")
    with torch.autocast(queries.device.type, enabled=False):
        return torch.bmm(documents, queries.unsqueeze(2)).squeeze(2)


def kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(softmax(teacher / T) || softmax(student / T)) T^2 of scores (B, K).

    T^2 mean_b sum_k p_bk (log p_bk - log q_bk), p of the teacher and q of the student, in nats
    (report, section 2.3, where T is 1). T^2 keeps the size of the gradient (Hinton et al., arXiv
    1503.02531, section 2). Raises ValueError if the shapes differ.
    """
    _require_same_shape(student, teacher)
    log_p = (teacher / temperature).log_softmax(dim=1)
    log_q = (student / temperature).log_softmax(dim=1)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()


def margin_mse(student: Tensor, teacher: Tensor,
               pairs: Literal["all", "positive"] = "all") -> Tensor:
    """Mean squared difference of the margins of scores (B, K), in squared score units.

    `all`: mean over b and over all K x K pairs i, j of ((s_i - s_j) - (t_i - t_j))^2. The diagonal
    counts, as in naver's code (the report's section 2.3 leaves it open). With r = s - t this is
    mean_ij (r_i - r_j)^2 = 2 Var(r), the biased variance, computed without the K x K matrix.
    `positive`: mean over (B, K - 1) of ((s_0 - s_k) - (t_0 - t_k))^2, as MarginMSE was published
    (arXiv 2010.02666) and as in sentence-transformers.
    Raises ValueError if the shapes differ, or for fewer than two documents.
    """
    _require_same_shape(student, teacher)
    if student.shape[1] < 2:
        raise ValueError("a margin needs two documents per query")
    residuals = student - teacher
    if pairs == "all":
        return 2 * residuals.var(dim=1, correction=0).mean()
    return (residuals[:, :1] - residuals[:, 1:]).square().mean()


class TextHashes(NamedTuple):
    """Which texts of a batch are equal.

    Attributes:
        text_hashes: A hash of each document's text, (B, K), int64.
        positive_hashes: The hashes of all positives of each query, (B, P), int64; of fewer than P
            the first is repeated.
    """

    text_hashes: Tensor
    positive_hashes: Tensor


def contrastive(queries: Tensor, documents: Tensor, hashes: TextHashes | None = None) -> Tensor:
    """Cross entropy of each positive against all negatives of the batch, in nats.

    queries (B, V), documents (B, K, V): -mean_b log(e^p / (e^p + sum_n e^(q_b . n))), where
    p = q_b . d_b0 and n runs over all B (K - 1) negatives but those whose text is that of a
    positive of query b. The positives of other queries are not used (naver's in-batch loss). The
    batch is that of all ranks. Raises ValueError for other shapes, or for fewer than two documents.
    """
    positive_scores = dot_products(queries, documents[:, :1])
    negatives = documents[:, 1:].flatten(0, 1)
    if not len(negatives):
        raise ValueError("a contrastive loss needs a negative per query")
    negatives = gather_over_ranks(negatives)
    own = None
    if hashes is not None:
        texts = gather_over_ranks(hashes.text_hashes[:, 1:].flatten())
        own = (texts.unsqueeze(1) == hashes.positive_hashes.unsqueeze(1)).any(dim=2)
    with torch.autocast(queries.device.type, enabled=False):
        negative_scores = queries @ negatives.T
    if own is not None:
        negative_scores = negative_scores.masked_fill(own, -torch.inf)
    target = torch.zeros(len(queries), dtype=torch.long, device=queries.device)  # column 0
    return functional.cross_entropy(torch.cat([positive_scores, negative_scores], dim=1), target)


def top_terms(representations: Tensor, budget: int) -> Tensor:
    """Returns term weights (..., V) with only each text's `budget` largest; the others are 0.

    Weights that are equal to the smallest of them all stay.
    """
    if budget >= representations.shape[-1]:
        return representations
    smallest = representations.detach().topk(budget, dim=-1).values[..., -1:]
    return representations * (representations.detach() >= smallest)


def distillation_loss(queries: Tensor, documents: Tensor, teacher: Tensor,
                      weights: Loss, hashes: TextHashes | None = None,
                      ) -> tuple[Tensor, dict[str, Tensor | float]]:
    """The loss of a batch: the weighted sum of KL, MarginMSE and contrastive loss.

    With budgets it is the mean of that sum over whole documents and those of each budget.

    Args:
        queries: Representations (B, V).
        documents: Representations (B, K, V).
        teacher: The teacher's scores (B, K).
        weights: The weight of each part; in the report lambda_KL = 1 and lambda_MSE = 0.05
            (section 2.3). A part of weight 0 is not computed.
        hashes: For the contrastive loss: which texts are equal.

    Returns:
        The loss, and each computed part of whole documents by name, before its weight and
        detached; `top_64` is the weighted sum of the budget 64.

    Raises:
        ValueError: The shapes do not fit.
    """
    loss, parts = _weighted_parts(queries, documents, teacher, weights, hashes)
    losses = {f"top_{budget}": _weighted_parts(queries, top_terms(documents, budget), teacher,
                                               weights, hashes)[0] for budget in weights.budgets}
    logged: dict[str, Tensor | float] = {
        name: part.detach() for name, part in (parts | losses).items()}
    return torch.stack([loss, *losses.values()]).mean(), logged


def _weighted_parts(queries: Tensor, documents: Tensor, teacher: Tensor, weights: Loss,
                    hashes: TextHashes | None) -> tuple[Tensor, dict[str, Tensor]]:
    student = dot_products(queries, documents)
    parts: dict[str, Tensor] = {}
    if weights.kl:
        parts["kl"] = kl(student, teacher, weights.temperature)
    if weights.margin_mse:
        parts["margin_mse"] = margin_mse(student, teacher, weights.pairs)
    if weights.contrastive:
        parts["contrastive"] = contrastive(queries, documents, hashes)
    return torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum(), parts


def _require_same_shape(student: Tensor, teacher: Tensor) -> None:
    """Raises ValueError if the shapes differ: they would broadcast to another loss."""
    if student.ndim != 2 or student.shape != teacher.shape:
        raise ValueError(f"the student's scores {tuple(student.shape)} and the teacher's "
                         f"{tuple(teacher.shape)} are not both (B, K)")
