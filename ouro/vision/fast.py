"""Two exact rewrites of the Qwen2-VL vision tower for machines without flash attention.

transformers loops over images in Python when flash attention is absent; here the attention of images of equal length
is one batched call. The Conv3d patch embedding, whose stride equals its kernel, is one matrix product.
Same weights, same result up to rounding (tests/test_packing.py compares them).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


def accelerate_vision(model: nn.Module) -> nn.Module:
    """Swap in the batched forwards on every Qwen2-VL vision module found in `model`; returns `model`."""
    for module in model.modules():
        name = type(module).__name__
        if name == "VisionAttention" and hasattr(module, "qkv"):
            module.forward = _Attention(module)  # type: ignore[method-assign]
        elif name == "PatchEmbed" and isinstance(getattr(module, "proj", None), nn.Conv3d):
            module.forward = _Embed(module)  # type: ignore[method-assign]
    return model


class _Embed:
    def __init__(self, module: Any) -> None:
        self.module, self.forward = module, module.forward

    def __call__(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(L, C*T*P*P) patches -> (L, D). A projection that an adapter wraps is more than its weight."""
        if not isinstance(self.module.proj, nn.Conv3d):
            return self.forward(hidden_states)
        weight = self.module.proj.weight
        flat = hidden_states.reshape(-1, weight[0].numel()).to(weight.dtype)
        return F.linear(flat, weight.reshape(weight.shape[0], -1))


class _Attention:
    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(
        self, hidden_states: torch.Tensor, cu_seqlens: torch.Tensor, position_embeddings: Any = None, **_: Any
    ) -> torch.Tensor:
        """(L, D) -> (L, D); attention within each [cu_seqlens[i], cu_seqlens[i+1])."""
        from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision

        m = self.module
        total = hidden_states.shape[0]
        qkv = m.qkv(hidden_states).reshape(total, 3, m.num_heads, -1).permute(1, 0, 2, 3)
        q, k = apply_rotary_pos_emb_vision(qkv[0], qkv[1], *position_embeddings)
        v = qkv[2]
        starts, lengths = cu_seqlens[:-1], cu_seqlens[1:] - cu_seqlens[:-1]
        sizes = lengths.unique().tolist()
        if len(sizes) == 1:
            out = _attend(q, k, v, sizes[0], m.scaling)
        else:
            out = torch.empty_like(v)
            for size in sizes:
                index = (starts[lengths == size][:, None] + torch.arange(size, device=q.device)).reshape(-1)
                out = out.index_copy(0, index, _attend(q[index], k[index], v[index], size, m.scaling))
        return m.proj(out.reshape(total, -1))


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, size: int, scale: float) -> torch.Tensor:
    q, k, v = (x.reshape(-1, size, *x.shape[1:]).transpose(1, 2).to(v.dtype) for x in (q, k, v))
    if torch.is_grad_enabled() and v.dtype in EXPLICIT_DTYPES:
        out = Explicit.apply(q, k, v, None, scale)
    else:
        out = F.scaled_dot_product_attention(q, k, v, scale=scale)
    return out.transpose(1, 2).reshape(-1, *out.shape[1:2], out.shape[-1])


class Explicit(torch.autograd.Function):
    """softmax(q k^T * scale + bias) v with its weights saved for the backward.

    On CPUs the fused kernel's backward is slow in bfloat16; this one is faster at nano's lengths (perf/attention.py)
    and needs little memory. In float32 the fused kernel is faster. q (B, H, T, D), k and v (B, H, S, D), bias
    (B, 1, T, S) or None.
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        q, k, v, bias, scale = args
        scores = torch.matmul(q * scale, k.transpose(2, 3))
        if bias is not None:
            scores += bias
        weights = torch.softmax(scores, dim=-1)
        ctx.save_for_backward(q, k, v, weights)
        ctx.scale = scale
        return weights @ v

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        q, k, v, weights = ctx.saved_tensors
        grad = grads[0]
        score_grad = _softmax_gradient(grad @ v.transpose(2, 3), weights, -1, weights.dtype)
        grad_q = (score_grad @ k) * ctx.scale
        grad_k = (score_grad.transpose(2, 3) @ q) * ctx.scale
        return grad_q, grad_k, weights.transpose(2, 3) @ grad, None, None


_softmax_gradient: Any = torch.ops.aten._softmax_backward_data
EXPLICIT_DTYPES = (torch.bfloat16,)


def grouped_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor, scale: float
) -> torch.Tensor:
    """Explicit attention of text: query (B, H, T, D), key and value (B, G, T, D), `bias_of` the mask -> (B, T, H, D).
    Query heads that share a key are stacked along the T axis."""
    batch, heads, length, size = query.shape
    stacked_query = query.reshape(batch, key.shape[1], heads // key.shape[1] * length, size)
    out = Explicit.apply(stacked_query, key, value, bias, scale)
    return out.reshape(batch, heads, length, size).transpose(1, 2).contiguous()


def bias_of(mask: torch.Tensor, dtype: torch.dtype, groups: int) -> torch.Tensor:
    """(B, 1, T, T) bool, True where a token attends -> (B, 1, groups * T, T): 0 there, -inf elsewhere."""
    bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, float("-inf"))
    return bias.repeat(1, 1, groups, 1)
