"""Attention over packed rows: three exact implementations ("forms") of the mask of ouro.training.packing.

    sdpa      the whole row under a dense (R, 1, T, T) mask: the reference
    segments  attention runs image by image, so that its cost does not grow with the row's length; all other layers
              run on the whole row, which has no padding inside
    flex      FlexAttention with a block mask, which skips blocks that are masked completely; compiled, for a GPU

`use_attention` switches a model's text layers; `attention_inputs` builds the forward's arguments for a form. Works
through transformers' attention interface, whose keyword arguments reach every layer of Qwen2-VL, Qwen2.5-VL and
Qwen3-VL.

Legend as in packing.py; H query heads, G key and value heads, D the size of a head.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from ouro.training.packing import PackedBatch, row_mask, tree_mask
from ouro.vision import fast

FORMS = {"sdpa": "sdpa", "segments": "ouro_segments", "flex": "ouro_flex"}
AUTO = "auto"


class Segments:
    """The images of a batch: their `lengths` in each row (the remainder is padding), and the mask of each."""

    def __init__(self, batch: PackedBatch) -> None:
        image_lengths = [row[row >= 0].unique_consecutive(return_counts=True)[1].tolist() for row in batch.image]
        width = batch.ids.shape[1]
        self.lengths: list[list[int]] = image_lengths
        self.splits = [[*lengths, width - sum(lengths)] for lengths in image_lengths]
        parts = [line.split(split)[:-1] for line, split in zip(batch.branch, self.splits, strict=True)]
        self.masks = [[tree_mask(part[None]) for part in row] for row in parts]
        self._biases: dict[tuple[torch.dtype, int], list[list[torch.Tensor]]] = {}

    def biases(self, dtype: torch.dtype, groups: int) -> list[list[torch.Tensor]]:
        """Masks as additive biases, stacked for query heads that share a key; computed once for all layers."""
        if (dtype, groups) not in self._biases:
            self._biases[dtype, groups] = [[fast.bias_of(m, dtype, groups) for m in row] for row in self.masks]
        return self._biases[dtype, groups]


def use_attention(model: Any, form: str) -> str:
    """Switch the text layers of `model` to a form; returns its name. "auto": flex on a GPU, segments on a CPU
    (perf/attention.py; on a GPU not measured)."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if form == AUTO:
        form = "flex" if next(model.parameters()).is_cuda else "segments"
    AttentionInterface.register(FORMS["segments"], segment_attention)
    AttentionInterface.register(FORMS["flex"], flex_attention)
    for name in ("segments", "flex"):  # for a forward without packed rows, as in generation
        AttentionMaskInterface.register(FORMS[name], sdpa_mask)
    model.set_attn_implementation({"text_config": FORMS[form]})
    return form


def form_of(model: Any) -> str:
    """The form that `use_attention` switched a model to, through any wrapper of peft, DDP or DeepSpeed."""
    unwrapped = model
    while hasattr(unwrapped, "module"):
        unwrapped = unwrapped.module
    name = unwrapped.config.get_text_config()._attn_implementation
    return next((form for form, implementation in FORMS.items() if implementation == name), "sdpa")


def attention_inputs(batch: PackedBatch, form: str) -> dict[str, Any]:
    """Keyword arguments of a model's forward for the rows of `batch`."""
    if form == "segments":
        return {"segments": Segments(batch)}
    return {"attention_mask": block_mask(batch) if form == "flex" else row_mask(batch)}


def segment_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any,
    segments: Segments | None = None, **kwargs: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """transformers' attention interface: q (R, H, T, D), k and v (R, G, T, D) in, (R, T, H, D) out."""
    if segments is None:
        return _attend_plain(module, query, key, value, attention_mask, **kwargs)
    scale = kwargs.get("scaling") or query.shape[3] ** -0.5
    query, key = (
        query.to(value.dtype),
        key.to(value.dtype),
    )  # autocast leaves query and key in float32 after the rotary embedding
    rows = [_attend_row(r, query, key, value, segments, scale) for r in range(len(segments.splits))]
    return torch.cat(rows) if len(rows) > 1 else rows[0], None


def _attend_row(
    r: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, segments: Segments, scale: float
) -> torch.Tensor:
    """(1, T, H, D): attention of row r, image by image; padding gets zeros."""
    pieces = zip(*(x[r : r + 1].split(segments.splits[r], dim=2) for x in (q, k, v)), strict=True)
    explicit = not v.is_cuda and torch.is_grad_enabled() and v.dtype in fast.EXPLICIT_DTYPES
    groups = q.shape[1] // k.shape[1]
    row_masks = segments.biases(v.dtype, groups)[r] if explicit else segments.masks[r]
    attend = fast.grouped_attention if explicit else _attend_fused
    out = [
        attend(a, b, c, mask, scale) for (a, b, c), mask in zip(pieces, row_masks, strict=False)
    ]  # without the padding
    padding = segments.splits[r][-1]
    return torch.cat([*out, out[0].new_zeros(1, padding, *out[0].shape[2:])], dim=1) if padding else torch.cat(out, 1)


def _attend_fused(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor, scale: float) -> torch.Tensor:
    """(1, t, H, D)."""
    groups = q.shape[1] // k.shape[1]
    if groups > 1:  # with a mask and fewer key heads, a GPU has only its slowest kernel
        k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return out.transpose(1, 2)


def _attend_plain(module: Any, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, None]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    query, key, value, *rest = args
    return sdpa_attention_forward(module, query.to(value.dtype), key.to(value.dtype), value, *rest, **kwargs)


def block_mask(batch: PackedBatch) -> Any:
    """FlexAttention's mask of the rows."""
    from torch.nn.attention.flex_attention import create_block_mask

    image, branch = batch.image, batch.branch

    def sees(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        same_branch = (branch[b, k] == 0) | (branch[b, k] == branch[b, q])
        return ((image[b, q] == image[b, k]) & (image[b, q] >= 0) & same_branch & (k <= q)) | (q == k)

    rows, length = batch.ids.shape
    return create_block_mask(sees, rows, None, length, length, device=str(batch.ids.device))


@cache
def _compile_flex() -> Any:
    from torch.nn.attention import flex_attention as flex

    return torch.compile(flex.flex_attention, dynamic=True)


def flex_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface, as segment_attention; compiled on a GPU."""
    from torch.nn.attention.flex_attention import BlockMask
    from torch.nn.attention.flex_attention import flex_attention as plain

    if not isinstance(attention_mask, BlockMask):
        return _attend_plain(module, query, key, value, attention_mask, **kwargs)
    run = _compile_flex() if value.is_cuda else plain
    query, key = query.to(value.dtype), key.to(value.dtype)
    grouped = query.shape[1] != key.shape[1]
    out = run(query, key, value, block_mask=attention_mask, scale=kwargs.get("scaling"), enable_gqa=grouped)
    return out.transpose(1, 2).contiguous(), None
