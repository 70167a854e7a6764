"""Shared-prefix rows: one sequence per image, with the pictures and the system text once, then every branch.

A branch (the description, or one question with its answer) attends to the prefix and to itself, never to another
branch. So an image with n branches needs one image forward instead of n, and no answer can be copied from the
description (OURO section 3.2: L_desc and L_qa are conditioned on the images alone). The positions of each branch
continue from the prefix as if it were the only branch (M-RoPE, Qwen2-VL section 2.1). `collate` then concatenates
several images in one row of a batch, so that little is padding.

For comparison, the same supervision in the two forms that trainers commonly use: `separate_rows` (each branch alone,
its images repeated: the same losses, at n times the cost) and `conversation_row` (one causal conversation,
description first, in which answers can attend to the description).

Shapes: t tokens of an image, T tokens of a row of a batch, R rows, S images, L tokens of the longest, N pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

Grid = tuple[int, int, int]


class PackedBranch(NamedTuple):
    """Token ids of a prompt (no loss) and of a target, with one loss weight per target token; `task` is 0 for L_desc,
    1 for L_qa."""

    prompt: list[int]
    target: list[int]
    weights: list[float]
    task: int


class PackedRow(NamedTuple):
    """One image: ids (t,), branch (t,) 0 for the prefix, positions (3, t), weights (t,) of predicting token i,
    task (t,), source (t,) the index of the token that predicts token i: the one before it, or the prefix's last.

    `unshared`: tokens that its branches would need if each had a prefix of its own.
    """

    ids: torch.Tensor
    branch: torch.Tensor
    positions: torch.Tensor
    weights: torch.Tensor
    task: torch.Tensor
    source: torch.Tensor
    unshared: int

    def attended(self) -> int:
        """The total number of keys that its tokens attend to: the cost of attention."""
        prefix, *branches = self.branch.bincount().tolist()
        return sum(n * prefix + n * (n + 1) // 2 for n in branches) + prefix * (prefix + 1) // 2


class PackedBatch(NamedTuple):
    """Images concatenated in rows, right-padded.

    ids, branch (-1: padding), image (index of the image in the batch, in the order of the rows; -1: padding), weights,
    task, source: (R, T); positions (3, R, T). counts (3,): tokens without padding, tokens that separate forwards would
    need, keys attended to.
    """

    ids: torch.Tensor
    branch: torch.Tensor
    image: torch.Tensor
    positions: torch.Tensor
    weights: torch.Tensor
    task: torch.Tensor
    source: torch.Tensor
    counts: torch.Tensor


class Collated(NamedTuple):
    """A batch, and the input indices of its images in the order of the batch."""

    batch: PackedBatch
    order: list[int]


def mrope_positions(ids: Sequence[int], grids: Sequence[Grid], image_token: int, merge: int) -> torch.Tensor:
    """(3, t) temporal, height and width positions of a prefix with images of patch grids (t, h, w).

    Equals get_rope_index of Qwen2-VL, Qwen2.5-VL and Qwen3-VL on the same input. Raises ValueError when image tokens
    and grids disagree.
    """
    out: list[torch.Tensor] = []
    position, t, remaining_grids = 0, 0, list(grids)
    while t < len(ids):
        if ids[t] != image_token:
            out.append(torch.full((3, 1), position))
            position, t = position + 1, t + 1
            continue
        if not remaining_grids:
            raise ValueError(f"image token at {t} but no image grid is left (got {len(grids)} grids)")
        frames, h, w = remaining_grids.pop(0)
        h, w = h // merge, w // merge
        n = frames * h * w
        if list(ids[t : t + n]) != [image_token] * n:
            raise ValueError(f"image tokens from {t}: expected a run of {n} for a grid of {frames} x {h} x {w}")
        axes = torch.meshgrid(torch.arange(frames), torch.arange(h), torch.arange(w), indexing="ij")
        out.append(torch.stack([a.reshape(-1) for a in axes]) + position)
        position, t = position + max(h, w), t + n
    if remaining_grids:
        raise ValueError(f"{len(remaining_grids)} image grids have no image tokens")
    return torch.cat(out, dim=1) if out else torch.zeros(3, 0, dtype=torch.long)


def pack_row(
    prefix: Sequence[int], grids: Sequence[Grid], branches: Sequence[PackedBranch], *, image_token: int, merge: int
) -> PackedRow:
    """One row out of a prefix and its branches.

    The first token of a branch without a prompt is predicted from the prefix's last token. Raises ValueError when a
    branch is empty, has another number of weights than targets, or has neither prefix nor prompt.
    """
    head = mrope_positions(prefix, grids, image_token, merge)
    start = int(head.max()) + 1 if head.numel() else 0
    ids, branch, weights, task = list(prefix), [0] * len(prefix), [0.0] * len(prefix), [0] * len(prefix)
    source = [max(0, i - 1) for i in range(len(prefix))]
    positions = [head]
    for number, b in enumerate(branches, start=1):
        length = len(b.prompt) + len(b.target)
        if len(b.weights) != len(b.target) or not length or not (prefix or b.prompt):
            raise ValueError(f"branch {number}: needs a prompt or prefix, and one weight for each of its targets")
        source += [max(0, len(prefix) - 1), *range(len(ids), len(ids) + length - 1)]
        ids += [*b.prompt, *b.target]
        branch += [number] * length
        weights += [0.0] * len(b.prompt) + b.weights
        task += [b.task] * length
        positions.append((torch.arange(length) + start).expand(3, -1))
    unshared = len(ids) + len(prefix) * (len(branches) - 1) if branches else len(ids)
    return PackedRow(
        torch.tensor(ids), torch.tensor(branch), torch.cat(positions, dim=1), torch.tensor(weights), torch.tensor(task),
        torch.tensor(source), unshared,
    )  # fmt: skip


def separate_rows(
    prefix: Sequence[int], grids: Sequence[Grid], branches: Sequence[PackedBranch], *, image_token: int, merge: int
) -> list[PackedRow]:
    """One row per branch, each with the prefix: what trainers with one question per sample do."""
    return [pack_row(prefix, grids, [b], image_token=image_token, merge=merge) for b in branches]


def conversation_row(
    prefix: Sequence[int], grids: Sequence[Grid], branches: Sequence[PackedBranch], between: Sequence[int], *,
    image_token: int, merge: int,
) -> PackedRow:  # fmt: skip
    """One causal conversation: each branch is a turn that attends to all earlier turns. `between`: the chat template's
    token ids from the end of a reply to the next user's text. Raises ValueError as pack_row does."""
    ids: list[int] = []
    weights: list[float] = []
    task: list[int] = []
    for number, b in enumerate(branches):
        prompt_ids = [*(between if number else ()), *b.prompt]
        ids += [*prompt_ids, *b.target]
        weights += [0.0] * len(prompt_ids) + b.weights
        task += [b.task] * (len(prompt_ids) + len(b.target))
    row = pack_row(prefix, grids, [PackedBranch([], ids, weights, 0)], image_token=image_token, merge=merge)
    unshared = sum(len(prefix) + len(b.prompt) + len(b.target) for b in branches)
    return row._replace(task=torch.tensor([0] * len(prefix) + task), unshared=unshared)


def pack_bins(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices in groups whose lengths sum to at most `budget`, by first-fit decreasing (Johnson, 1973); a longer item
    gets a group of its own. Groups and their members are in input order."""
    groups: list[list[int]] = []
    free: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        group_index = next((g for g, space in enumerate(free) if space >= lengths[i]), None)
        if group_index is None:
            groups.append([i])
            free.append(budget - lengths[i])
        else:
            groups[group_index].append(i)
            free[group_index] -= lengths[i]
    return sorted(sorted(group) for group in groups)


def collate(rows: Sequence[PackedRow], pad_token: int, row_tokens: int) -> Collated:
    """Pack images into rows of at most `row_tokens` tokens by first-fit decreasing; right-pad to the longest row.

    Padding attends to itself only and has weight 0.
    """
    groups = pack_bins([r.ids.numel() for r in rows], row_tokens)
    order = [i for group in groups for i in group]
    width = max(sum(rows[i].ids.numel() for i in group) for group in groups)
    shape = (len(groups), width)
    ids, branch, image = torch.full(shape, pad_token), torch.full(shape, -1), torch.full(shape, -1)
    weights, task, source = torch.zeros(shape), torch.zeros(shape, dtype=torch.long), torch.zeros(shape).long()
    positions = torch.zeros(3, *shape, dtype=torch.long)
    number = 0
    for g, group in enumerate(groups):
        offset = 0
        for row in (rows[i] for i in group):
            span = slice(offset, offset + row.ids.numel())
            ids[g, span], branch[g, span], image[g, span], positions[:, g, span] = (
                row.ids, row.branch, number, row.positions
            )  # fmt: skip
            weights[g, span], task[g, span], source[g, span] = row.weights, row.task, row.source + offset
            offset, number = span.stop, number + 1
    counts = torch.tensor([(r.ids.numel(), r.unshared, r.attended()) for r in rows]).sum(0)
    return Collated(PackedBatch(ids, branch, image, positions, weights, task, source, counts), order)


def split_images(batch: PackedBatch) -> list[PackedRow]:
    """Split a batch into one row per image, in the order of the batch: the inverse of `collate`."""
    rows: list[PackedRow] = []
    for number in range(int(batch.image.max()) + 1):
        g, at = (batch.image == number).nonzero(as_tuple=True)
        flat = {name: getattr(batch, name)[g, at] for name in ("ids", "branch", "weights", "task")}
        repeated_tokens = int((flat["branch"] == 0).sum()) * max(0, int(flat["branch"].max()) - 1)
        positions, source = batch.positions[:, g, at], batch.source[g, at] - at[0]
        rows.append(PackedRow(**flat, positions=positions, source=source, unshared=len(at) + repeated_tokens))
    return rows


def tree_mask(branch: torch.Tensor) -> torch.Tensor:
    """(S, L) branch numbers of single images (0 prefix, -1 padding) -> (S, 1, L, L) bool, True where a token attends to
    another: causal, within the prefix and the token's own branch."""
    query, key = branch[:, :, None], branch[:, None, :]
    t = branch.shape[1]
    causal = torch.ones(t, t, dtype=torch.bool, device=branch.device).tril()
    mask = ((key == 0) | (key == query)) & (query >= 0) & causal
    return (mask | torch.eye(t, dtype=torch.bool, device=branch.device))[:, None]


def row_mask(batch: PackedBatch) -> torch.Tensor:
    """(R, 1, T, T) bool of whole rows: `tree_mask`, restricted to tokens of the same image."""
    return tree_mask(batch.branch) & (batch.image[:, :, None] == batch.image[:, None, :])[:, None]
