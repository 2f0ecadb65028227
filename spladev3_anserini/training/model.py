"""A checkpoint -> the module that is trained, which maps token ids to term weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query_weights import Weights
from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.model.splade import Splade, load_splade
from spladev3_anserini.model.stated import DEFAULT_LENGTH
from spladev3_anserini.model.variants import Variant
from spladev3_anserini.progress import warn
from spladev3_anserini.training.head import splade_head

#: A bias that keeps a term's logit below 0 for every state; half precision can hold it.
_NEVER = -1e4


class TrainedSplade(nn.Module):
    """A SPLADE model with the fused head, which weights queries as its variant does.

    `text_length` is what its start cuts texts to, in wordpieces; the trained model states it.
    `query_table` is the weight that each wordpiece of a query has by itself; a parameter if it is
    learned.
    The dimensions of special tokens are 0 for queries and documents, in training as in search. A
    binary query therefore never matches on [PAD].
    """

    keep: Tensor
    query_table: Tensor
    #: Terms whose logits are computed at once; None is `head_tile`.
    tile: int | None = None

    def __init__(self, checkpoint: Checkpoint, variant: Variant, special_ids: list[int],
                 query_weights: Weights | None = None, learns_table: bool = False) -> None:
        """Loads the model; `query_weights` is that of `training_query_weights`.

        Raises InputError as `load_splade` does, if queries need another model, and for a prompt,
        which training does not put before its texts.
        """
        super().__init__()
        for side in ("document", "query"):
            if prompt := checkpoint.of(side).settings.prompt:
                raise InputError(f"{checkpoint.label}: its files state the prompt {prompt[:40]!r} "
                                 f"for {side} texts, which training does not apply; take it out "
                                 "of config_sentence_transformers.json to train without it")
        if variant.learns_queries and not checkpoint.shares_model:
            raise InputError(f"{checkpoint.label}: its queries have a model or a pooling of their "
                             "own; one model is trained for both sides")
        self.splade: Splade = load_splade(checkpoint, torch.float32, "cpu")
        if not self.splade.takes_padding:
            raise InputError(f"{checkpoint.folder}: padding changes the weights of this "
                             "architecture, so it is not trained here; it can encode")
        stated = checkpoint.settings.length
        self.text_length = min(stated.tokens if stated else DEFAULT_LENGTH,
                               self.splade.max_positions)
        self.query_mode, self.learns_queries = variant.query, variant.learns_queries
        keep = torch.ones(self.splade.vocabulary)
        keep[special_ids] = 0
        self.register_buffer("keep", keep, persistent=False)
        table = keep.clone()
        if query_weights is not None:
            table[:len(query_weights)] *= torch.from_numpy(query_weights[:len(table)])
        if learns_table:
            self.query_table = nn.Parameter(table)
        else:
            self.register_buffer("query_table", table, persistent=False)
        self._silence(special_ids, checkpoint.label)
        self.train()

    def forward(self, query_ids: Tensor, query_mask: Tensor, document_ids: Tensor,
                document_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the term weights of queries (B, V) and documents (B x K, V), in fp32.

        Ids and masks are (B, Lq) and (B x K, Ld); a mask is 0 for padding, else 1.
        """
        documents = self.weights_of("document", document_ids, document_mask)
        return self.weights_of("query", query_ids, query_mask), documents

    def weights_of(self, side: str, ids: Tensor, mask: Tensor) -> Tensor:
        """Returns the term weights (N, V) of texts of a side, `document` or `query`, in fp32."""
        if side == "document":
            return self._expanded(ids, mask)
        if not self.learns_queries:
            return self._bag_of_words(ids, mask)
        queries = self._expanded(ids, mask)
        return queries * self._bag_of_words(ids, mask) if self.query_mode == "lexical" else queries

    def _silence(self, special_ids: list[int], label: str) -> None:
        """Changes the weights so that other libraries do not activate special terms either.

        A head without a bias gets rows of 0, unless it shares them with the embeddings.
        """
        output = self.splade.output
        with torch.no_grad():
            if output.bias is not None:
                output.bias[special_ids] = _NEVER
            elif output.weight is not self.splade.mlm.get_input_embeddings().weight:
                output.weight[special_ids] = 0
            else:
                warn(f"{label}: its head has no bias and shares its weights with the embeddings, "
                     "so other libraries may give special tokens a weight; here they never have "
                     "one")

    def checkpoint_activations(self) -> None:
        """Recomputes the encoder's layers in the backward pass: slower, with far less memory."""
        self.splade.mlm.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False})

    def _expanded(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.splade.mlm(input_ids=ids, attention_mask=mask).logits
        output = self.splade.output
        return splade_head(hidden, mask.bool(), output.weight, output.bias,
                           self.splade.pooling, self.tile) * self.keep

    def _bag_of_words(self, ids: Tensor, mask: Tensor) -> Tensor:
        bag = torch.zeros(ids.shape[0], self.splade.vocabulary, device=ids.device)
        return bag.scatter_reduce_(1, ids, mask.to(bag.dtype), reduce="amax") * self.query_table
