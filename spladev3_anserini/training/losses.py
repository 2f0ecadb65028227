"""Representations and teachers' scores -> the distillation loss: KL, MarginMSE, contrastive.

Written from the formulas of the SPLADE-v3 report (arXiv 2403.06789, section 2.3). Everywhere B are
queries, K their documents with the positive in column 0, V the vocabulary; scores are dot products,
in the units of the teacher after rescoring. A loss is a scalar; gradients go to the student alone
as long as the teacher's scores ask for none. Teachers' scores are complete and finite.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from spladev3_anserini.recipe.training import Loss
from spladev3_anserini.training.distributed import gathered


def scores(queries: Tensor, documents: Tensor) -> Tensor:
    """s_bk = q_b . d_bk: queries (B, V), documents (B, K, V) -> (B, K).

    Autocast is kept out: a sum of hundreds of products near 30 has steps of 0.125 in bf16.
    Raises ValueError where the shapes do not fit.
    """
    if documents.ndim != 3 or queries.shape != (documents.shape[0], documents.shape[2]):
        raise ValueError(f"queries {tuple(queries.shape)} and documents {tuple(documents.shape)} "
                         "are not (B, V) and (B, K, V)")
    with torch.autocast(queries.device.type, enabled=False):
        return torch.bmm(documents, queries.unsqueeze(2)).squeeze(2)


def kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(softmax(teacher) || softmax(student)) of scores (B, K), temperature 1.

    mean_b sum_k p_bk (log p_bk - log q_bk), p of the teacher and q of the student, in nats
    (report, section 2.3). Raises ValueError where the shapes differ.
    """
    _alike(student, teacher)
    wanted, found = teacher.log_softmax(dim=1), student.log_softmax(dim=1)
    return (wanted.exp() * (wanted - found)).sum(dim=1).mean()


def margin_mse(student: Tensor, teacher: Tensor,
               pairs: Literal["all", "positive"] = "all") -> Tensor:
    """Mean squared difference of the margins of scores (B, K), in squared score units.

    `all`: mean over b and over all K x K pairs i, j of ((s_i - s_j) - (t_i - t_j))^2, the diagonal
    with them, as naver's code takes it (the report's section 2.3 leaves it open). With r = s - t
    that is mean_ij (r_i - r_j)^2 = 2 Var(r), the biased variance, without the K x K matrix.
    `positive`: mean over (B, K - 1) of ((s_0 - s_k) - (t_0 - t_k))^2, as MarginMSE was published
    (arXiv 2010.02666) and sentence-transformers takes it.
    Raises ValueError where the shapes differ, and for fewer than two documents.
    """
    _alike(student, teacher)
    if student.shape[1] < 2:
        raise ValueError("a margin needs two documents per query")
    rest = student - teacher
    if pairs == "all":
        return 2 * rest.var(dim=1, correction=0).mean()
    return (rest[:, :1] - rest[:, 1:]).square().mean()


def contrastive(queries: Tensor, documents: Tensor) -> Tensor:
    """Cross entropy of each positive against all negatives of the batch, in nats.

    queries (B, V), documents (B, K, V): -mean_b log(e^p / (e^p + sum_n e^(q_b . n))), where
    p = q_b . d_b0 and n runs over all B (K - 1) negatives; the other queries' positives take no
    part (naver's in-batch loss). The batch is that of all ranks. Raises ValueError where the shapes
    do not fit, and for fewer than two documents.
    """
    own = scores(queries, documents[:, :1])
    negatives = documents[:, 1:].flatten(0, 1)
    if not len(negatives):
        raise ValueError("a contrastive loss needs a negative per query")
    negatives = gathered(negatives)
    with torch.autocast(queries.device.type, enabled=False):
        against = queries @ negatives.T
    positive = torch.zeros(len(own), dtype=torch.long, device=own.device)
    return functional.cross_entropy(torch.cat([own, against], dim=1), positive)


def total(queries: Tensor, documents: Tensor, teacher: Tensor,
          weights: Loss) -> tuple[Tensor, dict[str, Tensor | float]]:
    """The weighted sum of the parts, and each part before its weight, detached, by its name.

    queries (B, V), documents (B, K, V), teacher (B, K); `weights` are lambda_KL = 1 and
    lambda_MSE = 0.05 in the report (section 2.3). A part of weight 0 is not computed.
    Raises ValueError where the shapes do not fit.
    """
    student = scores(queries, documents)
    parts: dict[str, Tensor] = {}
    if weights.kl:
        parts["kl"] = kl(student, teacher)
    if weights.margin_mse:
        parts["margin_mse"] = margin_mse(student, teacher, weights.pairs)
    if weights.contrastive:
        parts["contrastive"] = contrastive(queries, documents)
    loss = torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()
    return loss, {name: part.detach() for name, part in parts.items()}


def _alike(student: Tensor, teacher: Tensor) -> None:
    """Shapes that differ would broadcast, and the loss would be another one."""
    if student.ndim != 2 or student.shape != teacher.shape:
        raise ValueError(f"the student's scores {tuple(student.shape)} and the teacher's "
                         f"{tuple(teacher.shape)} are not both (B, K)")
