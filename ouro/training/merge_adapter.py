"""Merges an adapter into its base: the result is a plain Hugging Face folder that any server or trainer loads."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from ouro.core.files import folder_fingerprint
from ouro.training.adapter_file import adapter_config, adapter_shapes, check_adapter, find_shape_problems, model_outline
from ouro.training.job import TrainingError
from ouro.vision.encoding import Encoder
from ouro.vision.hf import load_adapter, load_model


def merge_adapter(adapter: Path, out: Path, base: str = "", dtype: str = "float32") -> str:
    """Write base + adapter to `out` (weights, processor, tokenizer, chat template), atomically; returns the base used.

    `base` is by default the one that the adapter's config names. The merge runs in float32; `dtype` is that of the
    stored weights: float32 is exact, bfloat16 half as large and rounded once more. Raises TrainingError for an adapter
    of another base, a missing or empty adapter, or an `out` that is not empty; ModelError for a base that is no model.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingError(f"--out {out}: is not empty; expected a new folder; choose another, or remove it")
    recorded = str(adapter_config(adapter).get("base_model_name_or_path") or "")
    check_adapter(adapter)
    base_folder = base or recorded
    if not base_folder:
        raise TrainingError(f"adapter {adapter}: names no base; expected one; give it with --base")
    _check_base(adapter, recorded, base_folder)
    model, processor = load_model(base_folder)
    _write(load_adapter(model, adapter, Encoder(processor)), processor, out, dtype)
    return base_folder


def _check_base(adapter: Path, recorded: str, base: str) -> None:
    """Raise TrainingError unless `base` is the one recorded in the adapter, by name or contents, and fits it."""
    if recorded and not _is_same_base(recorded, base):
        raise TrainingError(
            f"adapter {adapter}: got --base {base}, but it was trained on {recorded}; expected that base; leave --base "
            "out, or correct base_model_name_or_path in its adapter_config.json if it is the same model"
        )
    if problems := find_shape_problems(adapter_shapes(adapter), model_outline(base)):
        raise TrainingError("\n  ".join([f"adapter {adapter}: does not fit the base {base}", *problems]))


def _is_same_base(a: str, b: str) -> bool:
    """Whether two bases have equal contents, if both are local folders, else equal last names (it may have moved)."""
    if Path(a).is_dir() and Path(b).is_dir():
        return Path(a).resolve() == Path(b).resolve() or folder_fingerprint(a) == folder_fingerprint(b)
    return Path(a).name == Path(b).name


def _write(model: Any, processor: Any, out: Path, dtype: str) -> None:
    import torch

    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        model.to(getattr(torch, dtype)).save_pretrained(partial, safe_serialization=True)
        processor.save_pretrained(partial)
        os.replace(partial, out)  # replaces an empty folder, too
    finally:
        shutil.rmtree(partial, ignore_errors=True)
