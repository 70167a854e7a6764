"""L_desc and L_qa (OURO eq. 6 and 7) as weighted token means over a batch of packed rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from ouro.training.attention import attention_inputs, form_of
from ouro.training.packing import PackedBatch


class JointLoss(NamedTuple):
    """`total` = w_desc * desc + w_qa * qa; a task without tokens in the batch adds 0. `correct`: (n,) bool, whether the
    most likely token is the label, for the n supervised tokens."""

    total: torch.Tensor
    desc: torch.Tensor
    qa: torch.Tensor
    correct: torch.Tensor


def joint_loss(
    model: Any, batch: PackedBatch, inputs: dict[str, Any], w_desc: float = 1.0, w_qa: float = 1.0,
    totals: torch.Tensor | None = None,
) -> JointLoss:  # fmt: skip
    """The joint loss of a Qwen2-VL style model on packed rows; logits are computed at supervised columns only.

    `inputs` holds pixel_values and image_grid_thw, images in the order of `collate`. Eq. 6 sums over tokens; ours is
    the mean over the batch's tokens of a task, as in transformers, so that the effective learning rate does not depend
    on the description's length. `totals` (2,): the sums of weights to divide by when `batch` is a piece of a larger
    batch (`task_weights` of the larger one), so that the pieces' losses add up to its loss. Raises ValueError for a
    batch without supervised tokens.
    """
    rows, columns_at = batch.weights.nonzero(as_tuple=True)
    if not rows.numel():
        raise ValueError(f"batch of {batch.ids.shape[0]} rows has no supervised token: no description, no question")
    columns, inverse = batch.source[rows, columns_at].unique(return_inverse=True)
    logits = model(
        input_ids=batch.ids,
        position_ids=batch.positions,
        use_cache=False,
        logits_to_keep=columns,
        **attention_inputs(batch, form_of(model)),
        **inputs,
    ).logits
    labels, weights, task = batch.ids[rows, columns_at], batch.weights[rows, columns_at], batch.task[rows, columns_at]
    picked_logits = logits[rows, inverse].float()
    losses = F.cross_entropy(picked_logits, labels, reduction="none")
    divisors = task_weights(batch) if totals is None else totals
    task_losses = [(losses * weights * (task == t)).sum() / divisors[t].clamp_min(1e-6) for t in (0, 1)]
    total = w_desc * task_losses[0] + w_qa * task_losses[1]
    return JointLoss(total, task_losses[0].detach(), task_losses[1].detach(), picked_logits.argmax(-1) == labels)


def task_weights(batch: PackedBatch) -> torch.Tensor:
    """(2,) sums of the weights of L_desc's and L_qa's tokens."""
    return torch.stack([(batch.weights * (batch.task == t)).sum() for t in (0, 1)])
