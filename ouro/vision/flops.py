"""FLOPs of Qwen-VL style models, counted from their config: vision tower, merger, language model, LoRA training.

Matrix products and attention are counted, two FLOPs per multiply-add; tests/test_flops.py compares the counts with
PyTorch's FlopCounterMode. Not counted: norms, softmax, activations, rotary positions, embeddings, interpolated
positions, the optimizer, and the unpacking of 4-bit weights; together about one percent of a 7B model.

Attention is counted from `attended`, the number of keys that each query attends to, summed over the queries:
4 * attended * heads * head FLOPs per layer (scores and weighted sum). A text of T tokens needs `causal(T)`; a kernel
that masks keys instead of skipping them computes `full(T)`, nearly twice as much.

The backward of a frozen matrix, as with LoRA, costs as much as its forward: the gradient of the activations below, and
nothing for the matrix itself. LoRA adds two thin products of rank r to the forward, and twice as much to the backward.
The backward of attention costs twice its forward. So a LoRA step costs a little more than 2 forwards, while training of
all weights costs 3. A frozen part with nothing trained below it has no backward. Gradient checkpointing repeats the
forward of the layers that have a backward.

A frozen matrix whose input needs no gradient (the first layer's projections, if nothing below is trained) has no
backward either; the counts take this into account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ouro.core.params import Train
from ouro.vision.architecture import Architecture, Grid, LanguageModel, VisionTower, read_architecture


class _Part(NamedTuple):
    """Multiply-adds of one part of a model on its tokens. `linear`: the matrices that get LoRA; `first`: those of them
    that are applied to the part's input; `entry`: the patch embedding; `head`: the LM head; `thin`: LoRA's matrices at
    rank 1; `first_thin`: those of them on the input; `layered`: whether gradient checkpointing repeats the part."""

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


def causal_keys(tokens: float) -> float:
    """Keys attended to in a causal text of so many tokens: 1 + 2 + ... + T."""
    return tokens * (tokens + 1) / 2


def full_keys(tokens: float) -> float:
    """Keys processed by a kernel that masks the future instead of skipping it: T^2."""
    return tokens * tokens


def visual_tokens(vision: VisionTower, grid: Grid) -> int:
    """The number of a picture's tokens in the language model."""
    return grid[0] * grid[1] * grid[2] // vision.merge**2


def vision_flops(arch: Architecture, grid: Grid) -> float:
    """FLOPs of one picture in the vision tower and its mergers."""
    return _tower(arch.vision, grid).forward() + _merger(arch.vision, grid).forward()


def prefill_flops(arch: Architecture, tokens: float, attended: float | None = None, logits: float = 1) -> float:
    """FLOPs of one forward of the language model on `tokens` (visual ones included), with logits at so many of them.

    `attended`: keys attended to, over all tokens; by default those of a causal text.
    """
    keys = causal_keys(tokens) if attended is None else attended
    return _language(arch.text, tokens, keys, logits).forward()


def decode_flops(arch: Architecture, before: float, new: float) -> float:
    """FLOPs of `new` tokens, generated one by one after `before` others whose keys and values are cached.

    The prefill gives the first token, and the last one is not processed: new - 1 steps, each with logits; step i
    attends to before + i keys.
    """
    steps = max(0.0, new - 1)
    return _language(arch.text, steps, steps * before + causal_keys(steps), steps).forward()


def kv_bytes(text: LanguageModel, tokens: float, width: int = 2) -> float:
    """Bytes of the keys and values of so many tokens, `width` bytes a number."""
    return 2.0 * text.layers * text.kv_heads * text.head * width * tokens


def count_language_weights(text: LanguageModel) -> float:
    """The number of weights that every decode step reads: all matrices of the language model and its head."""
    return text.layers * sum(a * b for a, b in _matrices(text)) + text.width * text.vocab


def count_weights(arch: Architecture) -> float:
    """The number of weights of the whole model, without biases, norms and learnt positions."""
    v = arch.vision
    tower = v.values * v.width + v.depth * sum(a * b for a, b in _vision_matrices(v))
    merger = v.mergers * sum(a * b for a, b in _merger_matrices(v))
    embedding = 0 if arch.text.tied else arch.text.width * arch.text.vocab
    return tower + merger + count_language_weights(arch.text) + embedding


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
    """FLOPs of a training step (forward and backward) with LoRA; the FLOPs of the pieces of a step add up to its own.

    `images`: the patch grids of all pictures that are encoded (with shared rows each once); `tokens` of all rows,
    with visual ones, without padding; `attended`: keys attended to by them, which is the number of True in their
    attention masks; `supervised`: positions at which logits are computed. `params`: which parts get LoRA, its rank, and
    gradient checkpointing. `recompute`: whether to count the forwards that checkpointing repeats; False for MFU, whose
    numerator is what the model needs (PaLM, arXiv 2204.02311, appendix B), not what saving memory costs.
    """
    arch = config if isinstance(config, Architecture) else read_architecture(config)
    tower, merger, text = (part == "lora" for part in (params.vision, params.merger, params.language))
    rank, repeats_forward = params.rank, recompute and params.gradient_checkpointing
    total = 0.0
    for grid in images:
        total += _training_flops(_tower(arch.vision, grid), tower, False, rank, repeats_forward)
        total += _training_flops(_merger(arch.vision, grid), merger, tower, rank, repeats_forward)
    below = bool(images) and (tower or merger)
    return total + _training_flops(
        _language(arch.text, tokens, attended, supervised), text, below, rank, repeats_forward
    )


def _training_flops(part: _Part, lora: bool, below: bool, rank: int, repeats_forward: bool) -> float:
    """FLOPs of forward and backward of a part; `below`: whether any weights below it are trained."""
    if not (lora or below):
        return part.forward()
    thin = 2.0 * rank * part.thin if lora else 0.0
    forward = part.forward() + thin
    backward = 2.0 * (part.linear + part.head) + 4.0 * part.attention + 2.0 * thin
    if not below:  # no gradient of the part's input is needed
        backward -= 2.0 * part.first + 2.0 * rank * part.first_thin
    repeated = 2.0 * (part.linear + part.attention) + thin if repeats_forward and part.layered else 0.0
    return forward + backward + repeated


def _matrices(t: LanguageModel) -> list[tuple[int, int]]:
    """(in, out) of a layer's matrices: query, key, value, out, gate, up, down."""
    q, kv = t.heads * t.head, t.kv_heads * t.head
    return [(t.width, q), (t.width, kv), (t.width, kv), (q, t.width), *[(t.width, t.inner)] * 2, (t.inner, t.width)]


def _vision_matrices(v: VisionTower) -> list[tuple[int, int]]:
    """(in, out) of a block's matrices: query-key-value, out, MLP."""
    up = [(v.width, v.inner)] * (2 if v.gated else 1)
    return [(v.width, 3 * v.width), (v.width, v.width), *up, (v.inner, v.width)]


def _merger_matrices(v: VisionTower) -> list[tuple[int, int]]:
    side = v.width * v.merge**2
    return [(side, side), (side, v.out)]


def _make_part(
    rows: float, layers: int, shapes: Sequence[tuple[int, int]], input_shapes: Sequence[tuple[int, int]]
) -> _Part:
    """`rows` tokens in `layers` layers of matrices `shapes`; `input_shapes`: those applied to the part's input."""
    return _Part(
        linear=rows * layers * sum(a * b for a, b in shapes),
        first=rows * sum(a * b for a, b in input_shapes),
        thin=rows * layers * sum(a + b for a, b in shapes),
        first_thin=rows * sum(a for a, _ in input_shapes),
    )


def _language(t: LanguageModel, tokens: float, attended: float, logits: float) -> _Part:
    shapes = _matrices(t)
    part = _make_part(tokens, t.layers, shapes, shapes[:3])
    return part._replace(attention=2.0 * attended * t.layers * t.heads * t.head, head=logits * t.width * t.vocab)


def _tower(v: VisionTower, grid: Grid) -> _Part:
    patches, shapes = grid[0] * grid[1] * grid[2], _vision_matrices(v)
    part = _make_part(patches, v.depth, shapes, shapes[:1])
    keys = v.full * grid[0] * (grid[1] * grid[2]) ** 2 + (v.depth - v.full) * _count_window_keys(v, grid)
    return part._replace(attention=2.0 * keys * v.width, entry=patches * v.values * v.width)


def _merger(v: VisionTower, grid: Grid) -> _Part:
    shapes = _merger_matrices(v)
    part = _make_part(visual_tokens(v, grid), v.mergers, shapes, shapes[:1] * v.mergers)
    return part._replace(layered=False)


def _count_window_keys(v: VisionTower, grid: Grid) -> int:
    """Keys attended to by all patches of a picture in one layer with windows: the sum of the squared window sizes."""
    if not v.window:
        return 0
    rows, columns = (sum(n * n for n in _window_sides(side // v.merge, v.window)) for side in grid[1:])
    return grid[0] * rows * columns * v.merge**4


def _window_sides(side: int, window: int) -> list[int]:
    """The sizes of the windows that a side of so many merged tokens is split into; the last may be smaller."""
    n_windows, remainder = divmod(side, window)
    return [window] * n_windows + [remainder] * bool(remainder)
