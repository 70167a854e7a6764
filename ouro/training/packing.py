"""Shared-prefix rows: one sequence an image, its images and system text once, then every branch.

A branch (the description, or one question with its answer) sees the prefix and itself, never another branch,
so a row of n branches costs one image forward instead of n, and no answer can be copied from the description
(OURO section 3.2: L_desc and L_qa are conditioned on the images alone). Positions of each branch continue from
the prefix as if it stood alone (M-RoPE, Qwen2-VL section 2.1).

Shapes: T tokens of a row, B rows, N images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch


class Branch(NamedTuple):
    """`prompt` is read, `target` is learnt with one weight a token; `task` is 0 for L_desc, 1 for L_qa."""

    prompt: list[int]
    target: list[int]
    weights: list[float]
    task: int


class Row(NamedTuple):
    """ids (T,), branch (T,) 0 for the prefix, positions (3, T), weights (T,) of predicting token t, task (T,)."""

    ids: torch.Tensor
    branch: torch.Tensor
    positions: torch.Tensor
    weights: torch.Tensor
    task: torch.Tensor


class Batch(NamedTuple):
    """Padded rows: ids (B, T), mask (B, 1, T, T) bool (True = attend), positions (3, B, T), weights and task (B, T)."""

    ids: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    weights: torch.Tensor
    task: torch.Tensor


def mrope_positions(
    ids: Sequence[int], grids: Sequence[tuple[int, int, int]], image_token: int, merge: int
) -> torch.Tensor:
    """(3, T) temporal, height and width positions of a prefix with images of patch grids (t, h, w).

    Equals Qwen2VLModel.get_rope_index on the same input. Raises ValueError when image tokens and grids disagree.
    """
    out: list[torch.Tensor] = []
    at, t, rest = 0, 0, list(grids)
    while t < len(ids):
        if ids[t] != image_token:
            out.append(torch.full((3, 1), at))
            at, t = at + 1, t + 1
            continue
        if not rest:
            raise ValueError(f"image token at {t} but no image grid is left (got {len(grids)} grids)")
        frames, h, w = rest.pop(0)
        h, w = h // merge, w // merge
        n = frames * h * w
        if list(ids[t : t + n]) != [image_token] * n:
            raise ValueError(f"image tokens from {t}: expected a run of {n} for a grid of {frames} x {h} x {w}")
        axes = torch.meshgrid(torch.arange(frames), torch.arange(h), torch.arange(w), indexing="ij")
        out.append(torch.stack([a.reshape(-1) for a in axes]) + at)
        at, t = at + max(h, w), t + n
    if rest:
        raise ValueError(f"{len(rest)} image grids have no image tokens")
    return torch.cat(out, dim=1) if out else torch.zeros(3, 0, dtype=torch.long)


def pack_row(
    prefix: Sequence[int],
    grids: Sequence[tuple[int, int, int]],
    branches: Sequence[Branch],
    *,
    image_token: int,
    merge: int,
) -> Row:
    """One row out of a prefix and its branches. Raises ValueError for a branch with an empty prompt."""
    head = mrope_positions(prefix, grids, image_token, merge)
    start = int(head.max()) + 1 if head.numel() else 0
    ids, branch, weights, task = list(prefix), [0] * len(prefix), [0.0] * len(prefix), [0] * len(prefix)
    positions = [head]
    for number, b in enumerate(branches, start=1):
        if not b.prompt or len(b.weights) != len(b.target):
            raise ValueError(f"branch {number}: needs a prompt, and one weight for each of {len(b.target)} targets")
        length = len(b.prompt) + len(b.target)
        ids += [*b.prompt, *b.target]
        branch += [number] * length
        weights += [0.0] * len(b.prompt) + b.weights
        task += [b.task] * length
        positions.append((torch.arange(length) + start).expand(3, -1))
    return Row(
        torch.tensor(ids), torch.tensor(branch), torch.cat(positions, dim=1), torch.tensor(weights), torch.tensor(task)
    )


def collate(rows: Sequence[Row], pad_token: int) -> Batch:
    """Right-pads rows to the longest. Padding attends to itself only, and weighs nothing."""
    width = max(r.ids.numel() for r in rows)
    n = len(rows)
    ids = torch.full((n, width), pad_token)
    branch = torch.full((n, width), -1)
    positions = torch.zeros(3, n, width, dtype=torch.long)
    weights, task = torch.zeros(n, width), torch.zeros(n, width, dtype=torch.long)
    for i, row in enumerate(rows):
        t = row.ids.numel()
        ids[i, :t], branch[i, :t], weights[i, :t], task[i, :t] = row.ids, row.branch, row.weights, row.task
        positions[:, i, :t] = row.positions
    return Batch(ids, tree_mask(branch), positions, weights, task)


def tree_mask(branch: torch.Tensor) -> torch.Tensor:
    """(B, T) branch numbers (0 prefix, -1 padding) -> (B, 1, T, T) bool: causal, within prefix and own branch."""
    query, key = branch[:, :, None], branch[:, None, :]
    t = branch.shape[1]
    causal = torch.ones(t, t, dtype=torch.bool).tril()
    sees = ((key == 0) | (key == query)) & (query >= 0) & causal
    return (sees | torch.eye(t, dtype=torch.bool))[:, None]
