"""Explicit against fused attention, forward and backward on one core: `uv run python perf/attention.py`.

The fused kernel (torch's scaled_dot_product_attention) and ouro.vision.fast's explicit form, as the layers call them,
on the two shapes that training the nano model meets: packed text rows with their tree mask and shared key heads, and
the vision tower at 128 px. Both are timed in turn, several times; the figure is the ratio of the medians.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch.nn import functional as F
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from ouro.training.packing import tree_mask
from ouro.vision import fast

ROUNDS = 15
BATCH, HEADS = 8, 4
BRANCHES = [0] * 72 + [1] * 118 + [i for i in range(2, 8) for _ in range(15)]  # prefix, description, six questions


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _ratio(fused: Callable[[], None], explicit: Callable[[], None]) -> dict[str, float]:
    for work in (fused, explicit):
        work()
    pairs = [(_seconds(fused), _seconds(explicit)) for _ in range(ROUNDS)]
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    return {"fused_ms": medians[0] * 1e3, "explicit_ms": medians[1] * 1e3, "ratio": medians[0] / medians[1]}


def _text(dtype: torch.dtype) -> dict[str, float]:
    length, size = len(BRANCHES), 48
    q = torch.randn(BATCH, HEADS, length, size, dtype=dtype, requires_grad=True)
    k, v = (torch.randn(BATCH, HEADS // 2, length, size, dtype=dtype, requires_grad=True) for _ in range(2))
    grad = torch.randn(BATCH, length, HEADS, size, dtype=dtype)
    mask = tree_mask(torch.tensor([BRANCHES]).expand(BATCH, -1))
    layer = cast(Any, SimpleNamespace(num_key_value_groups=2, is_causal=True, training=True))

    def fused() -> None:
        sdpa_attention_forward(layer, q, k, v, mask, scaling=size**-0.5, dropout=0.0)[0].backward(grad)

    def explicit() -> None:
        fast.grouped_attention(q, k, v, fast.bias_of(mask, q.dtype, 2), size**-0.5).backward(grad)

    return _ratio(fused, explicit)


def _vision(dtype: torch.dtype) -> dict[str, float]:
    q, k, v, grad = (torch.randn(BATCH, HEADS, 256, 32, dtype=dtype, requires_grad=True) for _ in range(4))

    def fused() -> None:
        F.scaled_dot_product_attention(q, k, v).backward(grad)

    def explicit() -> None:
        fast.Explicit.apply(q, k, v, None, 32**-0.5).backward(grad)

    return _ratio(fused, explicit)


def main() -> None:
    """Measure and print JSON."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    fast.EXPLICIT_DTYPES = (torch.bfloat16, torch.float32)
    result = {
        f"{name}, {str(dtype).removeprefix('torch.')}": measure(dtype)
        for name, measure in (("text, 8 rows of 280 tokens", _text), ("vision, 8 images of 256 patches", _vision))
        for dtype in (torch.bfloat16, torch.float32)
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
