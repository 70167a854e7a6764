"""How the tokens of packed rows attend: three forms of one mask (ouro.training.packing), all exact.

    sdpa      the whole row under a dense (R, 1, T, T) mask: the reference
    segments  everything else of the model runs on the padding-free row; attention alone gathers its images to
              (S, L) and attends image by image, so that its cost does not grow with the row
    flex      FlexAttention with a block mask, which skips what no token of a block sees; compiled, for a GPU

`use_attention` switches a model's text layers; `attention_inputs` gives the forward what the form needs. Works through
transformers' attention interface, whose keyword arguments reach every layer of Qwen2-VL, Qwen2.5-VL and Qwen3-VL.

Legend as in packing.py; H heads, G of them keys' and values', D their size.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch

from ouro.training.packing import Batch, image_of, row_mask, tree_mask
from ouro.vision import fast

FORMS = {"sdpa": "sdpa", "segments": "ouro_segments", "flex": "ouro_flex"}
SPEED = "auto"


class Segments(NamedTuple):
    """gather (S, L) and inverse (R * T,) as in Batch, gather without -1; mask (S, 1, L, L) bool."""

    gather: torch.Tensor
    inverse: torch.Tensor
    mask: torch.Tensor


def use_attention(model: Any, form: str) -> str:
    """Switch the text layers of `model` to a form; returns its name. "auto": flex on a GPU, segments on a CPU
    (bench/attention.py; on a GPU not measured)."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if form == SPEED:
        form = "flex" if next(model.parameters()).is_cuda else "segments"
    AttentionInterface.register(FORMS["segments"], segment_attention)
    AttentionInterface.register(FORMS["flex"], flex_attention)
    for name in ("segments", "flex"):  # for a forward without packed rows, as in generation
        AttentionMaskInterface.register(FORMS[name], sdpa_mask)
    model.set_attn_implementation({"text_config": FORMS[form]})
    return form


def form_of(model: Any) -> str:
    """The form that `use_attention` switched a model to, through any wrapper of peft, DDP or DeepSpeed."""
    inner = model
    while hasattr(inner, "module"):
        inner = inner.module
    name = inner.config.get_text_config()._attn_implementation
    return next((form for form, known in FORMS.items() if known == name), "sdpa")


def attention_inputs(batch: Batch, form: str) -> dict[str, Any]:
    """Keyword arguments of a model's forward for the rows of `batch`."""
    if form == "segments":
        return {"segments": segments(batch)}
    return {"attention_mask": block_mask(batch) if form == "flex" else row_mask(batch)}


def segments(batch: Batch) -> Segments:
    held = batch.gather >= 0
    branch = torch.where(held, batch.branch.reshape(-1)[batch.gather.clamp_min(0)], -1)
    return Segments(batch.gather.clamp_min(0), batch.inverse, tree_mask(branch))


def segment_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any,
    segments: Segments | None = None, **kwargs: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """transformers' attention interface: q (R, H, T, D), k and v (R, G, T, D) in, (R, T, H, D) out."""
    if segments is None:
        return _plain(module, query, key, value, attention_mask, **kwargs)
    rows, _, length, size = query.shape
    q, k, v = (_gathered(x.to(value.dtype), segments.gather) for x in (query, key, value))
    out = _attended(module, q, k, v, segments.mask, kwargs.get("scaling") or size**-0.5)
    flat = out.reshape(-1, out.shape[2] * size)[segments.inverse]
    return flat.reshape(rows, length, -1, size), None


def _gathered(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """(R, G, T, D) -> (S, G, L, D)."""
    flat = x.transpose(1, 2).reshape(-1, x.shape[1] * x.shape[3])
    return flat[index].reshape(*index.shape, x.shape[1], x.shape[3]).transpose(1, 2)


def _attended(
    module: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor, scale: float
) -> torch.Tensor:
    """(S, L, H, D)."""
    if not v.is_cuda and torch.is_grad_enabled() and v.dtype in fast.EXPLICIT_DTYPES:
        return fast.grouped_attention(q, k, v, mask, scale)
    out = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
    )
    return out.transpose(1, 2)


def _plain(module: Any, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, None]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    query, key, value, *rest = args
    return sdpa_attention_forward(module, query.to(value.dtype), key.to(value.dtype), value, *rest, **kwargs)


def block_mask(batch: Batch) -> Any:
    """FlexAttention's mask of the rows."""
    from torch.nn.attention.flex_attention import create_block_mask

    image, branch = image_of(batch), batch.branch

    def sees(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        within = (branch[b, k] == 0) | (branch[b, k] == branch[b, q])
        return ((image[b, q] == image[b, k]) & (image[b, q] >= 0) & within & (k <= q)) | (q == k)

    rows, length = batch.ids.shape
    return create_block_mask(sees, rows, None, length, length, device=str(batch.ids.device))


@cache
def _compiled_flex() -> Any:
    from torch.nn.attention import flex_attention as flex

    return torch.compile(flex.flex_attention, dynamic=True)


def flex_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface, as segment_attention; compiled on a GPU."""
    from torch.nn.attention.flex_attention import BlockMask
    from torch.nn.attention.flex_attention import flex_attention as plain

    if not isinstance(attention_mask, BlockMask):
        return _plain(module, query, key, value, attention_mask, **kwargs)
    run = _compiled_flex() if value.is_cuda else plain
    query, key = query.to(value.dtype), key.to(value.dtype)
    grouped = query.shape[1] != key.shape[1]
    out = run(query, key, value, block_mask=attention_mask, scale=kwargs.get("scaling"), enable_gqa=grouped)
    return out.transpose(1, 2).contiguous(), None
