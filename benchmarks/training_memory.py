"""One training step with many negatives -> peak memory and time of the head, naive and fused.

    python benchmarks/training_memory.py [--documents 101] [--length 128] [--layers 12]

A step has one query of 32 tokens and its documents. The model has BERT-base's shapes and random
weights. Nearly every term is then active, which is the worst case for the fused head. Dropout is
on, attention is sdpa, the optimiser is AdamW, and the loss is KL + 0.05 MarginMSE + FLOPS + L1.

Each way runs in a separate process, on Linux. The peak is VmHWM of the step, optimiser included,
minus VmRSS before it. A tiny step comes first. Weights, gradients, AdamW's state and buffers of
libraries therefore exist before the measured step.

glibc's malloc keeps freed blocks of up to 32 MiB in its heap, where they fragment. A tensor of 33
documents is smaller than that and one of 101 is larger, so fewer documents could take more memory.
MALLOC_MMAP_THRESHOLD_ is therefore 1 MiB: every tensor's memory is returned when it is freed.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM

from spladev3_anserini.model.splade import Splade
from spladev3_anserini.recipe.training import Loss
from spladev3_anserini.training.head import splade_head
from spladev3_anserini.training.losses import distillation_loss
from spladev3_anserini.training.regularizers import flops_loss, l1

WAYS = {"naive": "all logits, autograd",
        "fused": "fused head",
        "checkpointed": "fused head, encoder checkpointed"}
QUERY_LENGTH = 32
#: Shares of active terms for the timings of the head. SPLADE-v3 has 168 terms per document
#: (0.55 %); at the start of a training nearly all terms are active; a half is in between.
ACTIVE = (0.0055, 0.5, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=101,
                        help="positive and negatives (%(default)s)")
    parser.add_argument("--length", type=int, default=128, help="tokens per document (%(default)s)")
    parser.add_argument("--layers", type=int, default=12, help="of the encoder (%(default)s)")
    parser.add_argument("--head-documents", type=int, default=16,
                        help="documents in the timings of the head alone (%(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments)))
        return
    print(f"1 query x {arguments.documents} documents x {arguments.length} tokens, "
          f"{arguments.layers} layers, fp32, {arguments.threads} threads, "
          f"torch {torch.__version__}")
    print(f"\n{'one training step':34}{'peak MiB':>10}{'of naive':>10}{'seconds':>10}{'loss':>14}")
    first: dict[str, Any] = {}
    for way, name in WAYS.items():
        figures = in_a_process(way)
        first = first or figures
        share = figures["peak"] / first["peak"]
        print(f"{name:34}{figures['peak']:>10.0f}{share:>10.3f}{figures['seconds']:>10.1f}"
              f"{figures['loss']:>14.6g}", flush=True)
    print(f"\n{'head alone, terms active':34}{'forward s':>20}{'backward s':>20}{'faster':>10}")
    for active in ACTIVE:
        figures = in_a_process(f"head {active}")
        for way in ("naive", "fused"):
            faster = figures["naive"][1] / figures[way][1]
            title = f"{way}, {figures['active']:.2%}"
            print(f"{title:34}{figures[way][0]:>20.3f}{figures[way][1]:>20.3f}{faster:>10.1f}",
                  flush=True)


def in_a_process(what: str) -> Any:
    """Runs this file again for one measurement, so that measurements share no memory."""
    process = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--one", what], check=False,
                             stdout=subprocess.PIPE, text=True,
                             env=os.environ | {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)})
    if process.returncode:
        sys.exit(f"{what}: the process ended with {process.returncode} (-9: out of memory); "
                 "fewer --documents or --layers may fit")
    return json.loads(process.stdout)


def measure(what: str, arguments: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(0)
    if what.startswith("head "):
        return head_alone(float(what.removeprefix("head ")), arguments)
    return one_step(what, arguments)


def one_step(way: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures the second of two steps.

    Returns:
        Peak MiB above weights, gradients and optimiser state, seconds, and the loss.
    """
    model = BertForMaskedLM(BertConfig(num_hidden_layers=arguments.layers, use_cache=False,
                                       attn_implementation="sdpa")).train()
    if way == "checkpointed":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    splade = None if way == "naive" else Splade(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)  # no way changes the weights

    def represent(ids: Tensor) -> Tensor:
        mask = torch.ones_like(ids)
        if splade is None:
            return naive_head(model(input_ids=ids, attention_mask=mask).logits, mask)
        hidden = splade.mlm(input_ids=ids, attention_mask=mask).logits
        return splade_head(hidden, mask.bool(), splade.output.weight, splade.output.bias)

    def step(documents: int, length: int) -> float:
        torch.manual_seed(1)
        query = represent(torch.randint(1000, 30000, (1, min(QUERY_LENGTH, length))))
        texts = represent(torch.randint(1000, 30000, (documents, length)))
        loss, _ = distillation_loss(query, texts.unsqueeze(0), torch.randn(1, documents),
                        Loss(kl=1.0, margin_mse=0.05))
        loss = loss + 0.02 * flops_loss(texts) + 0.01 * l1(query)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    step(2, 8)
    optimizer.zero_grad(set_to_none=False)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    reset_peak()
    before, started = status("VmRSS"), time.perf_counter()
    loss = step(arguments.documents, arguments.length)
    return {"seconds": time.perf_counter() - started, "peak": status("VmHWM") - before,
            "loss": loss}


def naive_head(logits: Tensor, mask: Tensor) -> Tensor:
    """Computes the formula as it is usually written: activation of all logits, mask, maximum."""
    return (torch.log1p(torch.relu(logits)) * mask.unsqueeze(-1)).max(dim=1).values


def head_alone(active: float, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures seconds of forward and backward of both heads, each the best of 3.

    The bias is set so that a share `active` of the terms is above 0.
    """
    mask = torch.ones(arguments.head_documents, arguments.length, dtype=torch.bool)
    hidden = torch.nn.functional.layer_norm(torch.randn(*mask.shape, 768), [768])
    weight = torch.randn(30522, 768) * 0.02
    with torch.no_grad():
        best = splade_head(hidden, mask, weight, torch.full([30522], 50.0)).expm1() - 50
        bias = best.new_full([30522], -float(best.flatten().kthvalue(
            max(1, round(best.numel() * (1 - active)))).values))
    for leaf in (hidden, weight, bias):
        leaf.requires_grad_()
    ways = {"naive": lambda: naive_head(torch.nn.functional.linear(hidden, weight, bias), mask),
            "fused": lambda: splade_head(hidden, mask, weight, bias)}
    figures: dict[str, Any] = {}
    for name, way in ways.items():
        times = []
        for _ in range(3):
            started = time.perf_counter()
            value = way()
            middle = time.perf_counter()
            torch.autograd.grad(value, [hidden, weight, bias], torch.randn_like(value))
            times.append((middle - started, time.perf_counter() - middle))
        figures[name] = [min(seconds) for seconds in zip(*times, strict=True)]
        figures["active"] = float((value > 0).float().mean())
    return figures


def status(key: str) -> float:
    """Returns the value of a line of /proc/self/status, in MiB."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(key))
    return int(line.split()[1]) / 1024


def reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:  # the peak since the start of the process is an upper bound
        print(f"the peak of the process cannot be reset: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
