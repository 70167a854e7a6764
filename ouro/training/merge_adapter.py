"""An adapter merged into its base: a plain Hugging Face folder that any server or trainer loads."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from ouro.training.adapter_file import adapter_config, adapter_shapes, check_adapter, model_outline, shape_problems
from ouro.training.job import TrainingError
from ouro.vision.encoding import Encoder
from ouro.vision.folders import folder_fingerprint
from ouro.vision.hf import load_adapter, load_model


def merge_adapter(adapter: Path, out: Path, base: str = "", dtype: str = "float32") -> str:
    """Write base + adapter to `out` (weights, processor, tokenizer, chat template), atomically; returns the base used.

    `base` is by default the one that the adapter names. It is merged in float32; `dtype` is that of the stored
    weights: float32 is exact, bfloat16 half as large and rounded once more. Raises TrainingError for an adapter of
    another base, a missing or empty one, or an `out` with something in it; ModelError for a base that is no model.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingError(f"--out {out}: is not empty; expected a new folder; choose another, or remove it")
    named = str(adapter_config(adapter).get("base_model_name_or_path") or "")
    check_adapter(adapter)
    chosen = base or named
    if not chosen:
        raise TrainingError(f"adapter {adapter}: names no base; expected one; give it with --base")
    _check_base(adapter, named, chosen)
    model, processor = load_model(chosen)
    _write(load_adapter(model, adapter, Encoder(processor)), processor, out, dtype)
    return chosen


def _check_base(adapter: Path, named: str, chosen: str) -> None:
    """Raise TrainingError unless `chosen` is the base that the adapter names, by name or contents, and fits it."""
    if named and not _same(named, chosen):
        raise TrainingError(
            f"adapter {adapter}: got --base {chosen}, but it was trained on {named}; expected that base; leave --base "
            "out, or correct base_model_name_or_path in its adapter_config.json if it is the same model"
        )
    if found := shape_problems(adapter_shapes(adapter), model_outline(chosen)):
        raise TrainingError("\n  ".join([f"adapter {adapter}: does not fit the base {chosen}", *found]))


def _same(a: str, b: str) -> bool:
    """Equal contents where both are folders here, otherwise the same last name: a base may have been moved."""
    if Path(a).is_dir() and Path(b).is_dir():
        return Path(a).resolve() == Path(b).resolve() or folder_fingerprint(a) == folder_fingerprint(b)
    return Path(a).name == Path(b).name


def _write(model: Any, processor: Any, out: Path, dtype: str) -> None:
    import torch

    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        model.to(getattr(torch, dtype)).save_pretrained(part, safe_serialization=True)
        processor.save_pretrained(part)
        os.replace(part, out)  # an empty folder gives way, too
    finally:
        shutil.rmtree(part, ignore_errors=True)
