"""FLOPs of Qwen-VL style models, counted from their config: vision tower, merger, language model, LoRA training.

Counted are matrix products and attention, two FLOPs a multiply-add: tests/test_flops.py compares them with PyTorch's
FlopCounterMode. Not counted: norms, softmax, activations, rotary positions, embeddings, interpolated positions, the
optimizer, and the unpacking of 4-bit weights; together about one percent of a 7B model.

Attention is counted by `attended`, the keys that every query sees, summed over the queries: 4 * attended * heads * head
FLOPs a layer (scores and weighted sum). `causal(T)` is what a text of T tokens needs; a kernel that masks instead of
skipping does `full(T)`, nearly twice as much.

A backward costs, for each matrix of the forward: its product with the gradient of its output, once more as much (the
gradient of the activations below), and nothing for its own gradient where it is frozen, as LoRA leaves it. LoRA adds
two thin products of rank r, and twice as much in the backward, where attention does twice its forward, too. So a LoRA
step costs 2 forwards and a bit, where training of all weights costs 3. A part that is frozen, with nothing trained
below it, has no backward. Gradient checkpointing runs the layers that have one forward once more.

The forward of a frozen matrix whose input needs no gradient (the first layer's projections, where nothing below is
trained) has no backward at all; that is counted, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ouro.core.params import Train
from ouro.vision.architecture import Architecture, Grid, Text, Vision, architecture


class _Part(NamedTuple):
    """Multiply-adds of one part of a model on its tokens. `linear`: matrices that LoRA goes on, of them `first` those
    that the part's input enters; `entry` the patch embedding; `head` the LM head; `thin`: LoRA's at rank 1, of it
    `first_thin` on the input; `layered`: whether gradient checkpointing repeats it."""

    linear: float
    first: float
    thin: float
    first_thin: float
    attention: float = 0.0
    entry: float = 0.0
    head: float = 0.0
    layered: bool = True

    def forward(self) -> float:
        return 2.0 * (self.entry + self.linear + self.attention + self.head)


def causal(tokens: float) -> float:
    """Keys seen in a text of so many tokens: 1 + 2 + ... + T."""
    return tokens * (tokens + 1) / 2


def full(tokens: float) -> float:
    """Keys that a kernel looks at which masks the future instead of skipping it: T^2."""
    return tokens * tokens


def visual_tokens(vision: Vision, grid: Grid) -> int:
    """Tokens of the language model that a picture becomes."""
    return grid[0] * grid[1] * grid[2] // vision.merge**2


def vision_flops(arch: Architecture, grid: Grid) -> float:
    """FLOPs of one picture's way through the vision tower and its mergers."""
    return _tower(arch.vision, grid).forward() + _merger(arch.vision, grid).forward()


def prefill_flops(arch: Architecture, tokens: float, attended: float | None = None, logits: float = 1) -> float:
    """FLOPs of the language model on `tokens` at once (visual ones included), with logits at so many of them.

    `attended`: keys seen, over all tokens; by default those of a causal text.
    """
    seen = causal(tokens) if attended is None else attended
    return _language(arch.text, tokens, seen, logits).forward()


def decode_flops(arch: Architecture, before: float, new: float) -> float:
    """FLOPs of `new` tokens, written one by one after `before` others whose keys and values are kept.

    The first comes out of the prefill, and the last is not read again: new - 1 steps, each with logits; step i sees
    before + i keys.
    """
    steps = max(0.0, new - 1)
    return _language(arch.text, steps, steps * before + causal(steps), steps).forward()


def kv_bytes(text: Text, tokens: float, width: int = 2) -> float:
    """Bytes of the keys and values of so many tokens, `width` bytes a number."""
    return 2.0 * text.layers * text.kv_heads * text.head * width * tokens


def language_weights(text: Text) -> float:
    """Numbers that every decode step reads: all matrices of the language model and its head."""
    return text.layers * sum(a * b for a, b in _matrices(text)) + text.width * text.vocab


def weights(arch: Architecture) -> float:
    """Numbers of the whole model, without biases, norms and learnt positions."""
    v = arch.vision
    tower = v.values * v.width + v.depth * sum(a * b for a, b in _vision_matrices(v))
    merger = v.mergers * sum(a * b for a, b in _merger_matrices(v))
    embedding = 0 if arch.text.tied else arch.text.width * arch.text.vocab
    return tower + merger + language_weights(arch.text) + embedding


def step_flops(
    config: Mapping[str, Any] | Architecture,
    images: Sequence[Grid],
    tokens: float,
    attended: float,
    supervised: float,
    params: Train,
    *,
    recompute: bool = True,
) -> float:
    """FLOPs of a training step (forward and backward) with LoRA, or of any part of it: they add up.

    `images`: the patch grids of all pictures that are encoded (with shared rows each once); `tokens` of all rows,
    visual ones included, padding not; `attended`: keys seen by them, which is the number of True in their attention
    masks; `supervised`: positions at which logits are formed. `params`: which parts wear LoRA, its rank, and with
    `recompute` whether gradient checkpointing repeats forwards: leave it out for MFU, whose numerator is what the model
    needs (PaLM, arXiv 2204.02311, appendix B), not what the memory costs.
    """
    arch = config if isinstance(config, Architecture) else architecture(config)
    tower, merger, text = (part == "lora" for part in (params.vision, params.merger, params.language))
    rank, again = params.rank, recompute and params.gradient_checkpointing
    total = 0.0
    for grid in images:
        total += _trained(_tower(arch.vision, grid), tower, False, rank, again)
        total += _trained(_merger(arch.vision, grid), merger, tower, rank, again)
    below = bool(images) and (tower or merger)
    return total + _trained(_language(arch.text, tokens, attended, supervised), text, below, rank, again)


def _trained(part: _Part, lora: bool, below: bool, rank: int, again: bool) -> float:
    """FLOPs of forward and backward of a part; `below`: whether something trained lies below it."""
    if not (lora or below):
        return part.forward()
    thin = 2.0 * rank * part.thin if lora else 0.0
    forward = part.forward() + thin
    backward = 2.0 * (part.linear + part.head) + 4.0 * part.attention + 2.0 * thin
    if not below:  # nothing asks for the gradient of the part's input
        backward -= 2.0 * part.first + 2.0 * rank * part.first_thin
    repeated = 2.0 * (part.linear + part.attention) + thin if again and part.layered else 0.0
    return forward + backward + repeated


def _matrices(t: Text) -> list[tuple[int, int]]:
    """(in, out) of a layer's matrices: query, key, value, out, gate, up, down."""
    q, kv = t.heads * t.head, t.kv_heads * t.head
    return [(t.width, q), (t.width, kv), (t.width, kv), (q, t.width), *[(t.width, t.inner)] * 2, (t.inner, t.width)]


def _vision_matrices(v: Vision) -> list[tuple[int, int]]:
    """(in, out) of a block's matrices: query-key-value, out, MLP."""
    up = [(v.width, v.inner)] * (2 if v.gated else 1)
    return [(v.width, 3 * v.width), (v.width, v.width), *up, (v.inner, v.width)]


def _merger_matrices(v: Vision) -> list[tuple[int, int]]:
    side = v.width * v.merge**2
    return [(side, side), (side, v.out)]


def _part(rows: float, layers: int, shapes: Sequence[tuple[int, int]], entered: Sequence[tuple[int, int]]) -> _Part:
    """`rows` tokens through `layers` times the matrices `shapes`; `entered`: those that the part's input enters."""
    return _Part(
        linear=rows * layers * sum(a * b for a, b in shapes),
        first=rows * sum(a * b for a, b in entered),
        thin=rows * layers * sum(a + b for a, b in shapes),
        first_thin=rows * sum(a for a, _ in entered),
    )


def _language(t: Text, tokens: float, attended: float, logits: float) -> _Part:
    shapes = _matrices(t)
    made = _part(tokens, t.layers, shapes, shapes[:3])
    return made._replace(attention=2.0 * attended * t.layers * t.heads * t.head, head=logits * t.width * t.vocab)


def _tower(v: Vision, grid: Grid) -> _Part:
    patches, shapes = grid[0] * grid[1] * grid[2], _vision_matrices(v)
    made = _part(patches, v.depth, shapes, shapes[:1])
    seen = v.full * grid[0] * (grid[1] * grid[2]) ** 2 + (v.depth - v.full) * _windowed(v, grid)
    return made._replace(attention=2.0 * seen * v.width, entry=patches * v.values * v.width)


def _merger(v: Vision, grid: Grid) -> _Part:
    shapes = _merger_matrices(v)
    made = _part(visual_tokens(v, grid), v.mergers, shapes, shapes[:1] * v.mergers)
    return made._replace(layered=False)


def _windowed(v: Vision, grid: Grid) -> int:
    """Keys seen by all patches of a picture in one layer with windows: the sum of their squared sizes."""
    if not v.window:
        return 0
    rows, columns = (sum(n * n for n in _spans(side // v.merge, v.window)) for side in grid[1:])
    return grid[0] * rows * columns * v.merge**4


def _spans(side: int, window: int) -> list[int]:
    """A side of so many merged tokens cut into windows, the last of them what is left."""
    whole, left = divmod(side, window)
    return [window] * whole + [left] * bool(left)
