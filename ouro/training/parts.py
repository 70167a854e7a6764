"""The three parts of a vision-language model: vision tower, merger (the projector), language model; which wear LoRA.

Names of modules are those of transformers' Qwen2-VL, Qwen2.5-VL and Qwen3-VL: `model.visual.*`, in it `merger` and
Qwen3-VL's `deepstack_merger_list`, and `model.language_model.*`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ouro.training.samples import TrainingError

if TYPE_CHECKING:
    from ouro.core.params import Train

PARTS = ("language", "merger", "vision")


def part_of(name: str) -> str:
    """Which part a module's full name belongs to."""
    if not re.search(r"(^|\.)visual\.", name):
        return "language"
    return "merger" if re.search(r"\.(merger|deepstack_merger_list)\.", name) else "vision"


def target_modules(model: Any, params: Train) -> str | list[str]:
    """peft's target_modules: every linear layer of the parts that wear LoRA, but the output layer.

    "all-linear" where all do; else the full names. Raises TrainingError when all are frozen.
    """
    import torch

    worn = {part for part in PARTS if getattr(params, part) == "lora"}
    if len(worn) == len(PARTS):
        return "all-linear"
    output = model.get_output_embeddings()
    names = [
        name for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not output and part_of(name) in worn
    ]  # fmt: skip
    if not names:
        raise TrainingError(
            "train.language, train.merger and train.vision are all frozen; expected one of them to be lora: there "
            "would be nothing to train"
        )
    return names
