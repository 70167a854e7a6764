"""L_desc and L_qa (OURO eq. 6 and 7) as weighted token means over a batch of packed rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from ouro.training.attention import attention_inputs, form_of
from ouro.training.packing import Batch


class JointLoss(NamedTuple):
    """`total` = w_desc * desc + w_qa * qa; a task without a token in the batch adds 0. `correct` is (n,) bool."""

    total: torch.Tensor
    desc: torch.Tensor
    qa: torch.Tensor
    correct: torch.Tensor


def joint_loss(
    model: Any, batch: Batch, inputs: dict[str, Any], w_desc: float = 1.0, w_qa: float = 1.0,
    totals: torch.Tensor | None = None,
) -> JointLoss:  # fmt: skip
    """Forward of a Qwen2-VL style model on packed rows; logits are formed at supervised columns only.

    `inputs` holds pixel_values and image_grid_thw, images in the order of `collate`. Eq. 6 sums over tokens; ours is
    the mean over the batch's tokens of the task, as transformers' loss is, so that the rate does not depend on the
    description's length. `totals` (2,): weights of each task to divide by, where `batch` is a piece of a larger one
    (`task_weights` of that): the losses of the pieces then add up to its own. Raises ValueError for a batch with
    nothing to learn.
    """
    rows, at = batch.weights.nonzero(as_tuple=True)
    if not rows.numel():
        raise ValueError(f"batch of {batch.ids.shape[0]} rows has no supervised token: no description, no question")
    columns, inverse = batch.source[rows, at].unique(return_inverse=True)
    logits = model(
        input_ids=batch.ids,
        position_ids=batch.positions,
        use_cache=False,
        logits_to_keep=columns,
        **attention_inputs(batch, form_of(model)),
        **inputs,
    ).logits
    labels, weights, task = batch.ids[rows, at], batch.weights[rows, at], batch.task[rows, at]
    picked = logits[rows, inverse].float()
    losses = F.cross_entropy(picked, labels, reduction="none")
    over = task_weights(batch) if totals is None else totals
    parts = [(losses * weights * (task == t)).sum() / over[t].clamp_min(1e-6) for t in (0, 1)]
    total = w_desc * parts[0] + w_qa * parts[1]
    return JointLoss(total, parts[0].detach(), parts[1].detach(), picked.argmax(-1) == labels)


def task_weights(batch: Batch) -> torch.Tensor:
    """(2,) sums of the weights of L_desc's and L_qa's tokens."""
    return torch.stack([(batch.weights * (batch.task == t)).sum() for t in (0, 1)])
