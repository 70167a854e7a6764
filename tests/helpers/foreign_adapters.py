"""Adapters as other trainers leave them: made with peft on a tiny model, with random weights, saved whole or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model, tiny_processor

from ouro.vision.encoding import Encoder
from ouro.vision.protocols import Request

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def save_base(folder: Path, family: str = "Qwen2VL", seed: int = 0) -> Path:
    """A tiny model with its processor, in a folder."""
    processor = tiny_processor(family)
    tiny_model(family, processor, seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_adapter(base: Path, folder: Path, config: Any, change: Callable[[Any, Any], None] | None = None) -> Any:
    """An adapter of `config` with random weights, saved by peft; returns the adapted model's logits of `ask`.

    `change` gets model and processor before they are wrapped, such as to add tokens.
    """
    import torch
    from peft import get_peft_model

    from ouro.vision.hf import load_model

    model, processor = load_model(base)
    if change is not None:
        change(model, processor)
    torch.manual_seed(1)
    wrapped = get_peft_model(model, config)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    wrapped.eval().save_pretrained(folder)
    return ask(wrapped, processor)


def ask(model: Any, processor: Any) -> Any:
    """The logits (1, T, V) of a question about a picture of noise."""
    import torch

    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    prepared = Encoder(processor).batch([Request((PILImage.fromarray(noise),), "describe the image.")], False)
    with torch.inference_mode():
        return model(**{k: torch.from_numpy(v) for k, v in prepared.inputs.items()}).logits


def change_config(adapter: Path, **values: Any) -> None:
    path = adapter / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def rename_tensors(adapter: Path, rename: Callable[[str], str | None]) -> None:
    """Give each tensor another name; None leaves it out."""
    tensors = load_file(adapter / WEIGHTS)
    renamed = {new: tensor.contiguous() for name, tensor in tensors.items() if (new := rename(name)) is not None}
    save_file(renamed, adapter / WEIGHTS)
