"""Options of commands that run a model: the model, variant, length, batches, device, precision."""

from __future__ import annotations

from typing import Any

import click

from spladev3_anserini.cli.options import Decorator, together
from spladev3_anserini.cli.types import MODEL, TABLE, WholeNumber
from spladev3_anserini.model.stated import DEFAULT_LENGTH
from spladev3_anserini.model.variants import SPECIAL_TOKENS, VARIANTS
from spladev3_anserini.rankers.templates import TEMPLATES

MODEL_HELP = "A folder, a hub id (owner/name, also owner/name@revision), or 'demo'."
CROSS_ENCODER_HELP = ("A folder, a hub id or demo-cross-encoder: a sequence classification of "
                      "transformers, a T5 ranker, an ONNX graph, a bi-encoder, or with "
                      "--template a decoder or monoT5.")
#: The end of a sentence that begins with what is weighted.
QUERY_TABLE_HELP = ("by this table (JSON, or term TAB weight per line), without a model. An index "
                    "of any variant can be searched with it.")
_BATCH_DEFAULT = "1024 on a CPU, 32768 on a GPU"


def model_option(help_text: str = f"The model. {MODEL_HELP}", *,
                 default: str | None = None) -> Decorator:
    """Returns the option --model; it is required unless `default` says which model is used."""
    return click.option("--model", required=default is None, type=MODEL,
                        show_default=default or True, help=help_text)


def cross_encoder_option(help_text: str = f"The cross-encoder. {CROSS_ENCODER_HELP}",
                         **more: Any) -> Decorator:
    return click.option("--cross-encoder", required=True, type=MODEL, metavar="NAME",
                        help=help_text, **more)


device_option = click.option("--device", default="auto", metavar="DEVICE",
                             help="The device: cpu, cuda, cuda:1, ...; auto uses a GPU if there is "
                             "one.")
batch_tokens_option = click.option("--batch-tokens", type=WholeNumber(min=1),
                                   show_default=_BATCH_DEFAULT, help="Padded tokens per batch.")
model_run_options = together(
    click.option("--max-length", type=WholeNumber(min=3),
                 show_default=f"the length that the model's files state, else {DEFAULT_LENGTH}",
                 help="Wordpieces per text, [CLS] and [SEP] included. Longer texts are cut, and a "
                 "warning counts them."),
    click.option("--batch-tokens", type=WholeNumber(min=1), show_default=_BATCH_DEFAULT,
                 help="Padded tokens per batch of documents. On a CPU, queries run one at a time."),
    device_option,
    click.option("--dtype", default="auto", help="The precision; auto is float32. Half precision "
                 "is faster on a GPU and changes impacts: float16 some by 1, bfloat16 most, by up "
                 "to 8.", type=click.Choice(["auto", "float32", "bfloat16", "float16"])))
cross_encoder_run_options = together(
    click.option("--max-length", default=256, type=WholeNumber(min=4),
                 help="Tokens of a query and a document together; the document is cut. Use 512 for "
                 "documents longer than passages."),
    batch_tokens_option, device_option,
    click.option("--dtype", default="auto", help="The precision; auto is float32. Half precision "
                 "is faster on a GPU.",
                 type=click.Choice(["auto", "float32", "bfloat16", "float16"])),
    click.option("--t5-token", default="<extra_id_10>",
                 help="The token whose logit is the score of a T5 ranker."),
    click.option("--template", type=click.Choice(list(TEMPLATES)),
                 help="The text and the two tokens that a decoder or monoT5 was trained with."))


def variant_option(auto: str = "the variant that the checkpoint's files name") -> Decorator:
    return click.option("--variant", default="auto", metavar="VARIANT",
                        type=click.Choice(["auto", *VARIANTS]),
                        help=f"How texts are weighted: {', '.join(VARIANTS)}; auto: {auto}.")


def query_weights_option(help_text: str) -> Decorator:
    return click.option("--query-weights", type=TABLE, help=help_text)


def special_tokens_option(default: str | None = "drop", shown: bool | str = True) -> Decorator:
    return click.option("--special-tokens", default=default, show_default=shown,
                        type=click.Choice(SPECIAL_TOKENS),
                        help="Terms that are dropped after pooling. drop: all special tokens; "
                        "keep: none, like Pyserini's Python encoders; anserini: ids 0, 101 and "
                        "102, like its Java encoders.")
