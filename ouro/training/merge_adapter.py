"""Merges an adapter into its base: the result is a plain Hugging Face folder that any server or trainer loads."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from ouro.core.adapter_files import find_adapter_problems
from ouro.core.files import folder_fingerprint
from ouro.training.adapter_file import adapter_config
from ouro.training.job import TrainingError
from ouro.vision.adapters import check_unquantised, is_same_name, merge_into
from ouro.vision.hf import load_model


def merge_adapter(adapter: Path, out: Path, base: str = "", dtype: str = "float32") -> str:
    """Write base + adapter to `out` (weights, processor, tokenizer, chat template), atomically; returns the base used.

    `base` is by default the one that the adapter's config names. The merge runs in float32; `dtype` is that of the
    stored weights: float32 is exact, bfloat16 half as large and rounded once more. Raises TrainingError for an adapter
    that is not there or cannot be merged, one of another base, or an `out` that is not empty; ModelError for a base
    that is no model, and as ouro.vision.adapters.merge_into.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingError(f"--out {out}: is not empty; expected a new folder; choose another, or remove it")
    if problems := find_adapter_problems(adapter):
        raise TrainingError("\n  ".join([f"adapter {adapter}: refused", *problems]))
    recorded = str(adapter_config(adapter).get("base_model_name_or_path") or "")
    base_folder = base or _local_base(adapter, recorded)
    check_unquantised(base_folder, adapter)
    if base and recorded and not _is_same_base(recorded, base):
        raise TrainingError(
            f"adapter {adapter}: got --base {base}, but it was trained on {recorded}; expected that base; leave --base "
            "out, or correct base_model_name_or_path in its adapter_config.json if it is the same model"
        )
    model, processor = load_model(base_folder)
    _write(merge_into(model, processor, adapter), processor, out, dtype)
    return base_folder


def _local_base(adapter: Path, recorded: str) -> str:
    """The base that an adapter names, if it is a folder here: what came from elsewhere decides no more than that."""
    if not recorded:
        raise TrainingError(f"adapter {adapter}: names no base; expected one; give it with --base")
    if ".." in Path(recorded).parts or recorded.startswith("//") or not (Path(recorded) / "config.json").is_file():
        raise TrainingError(
            f"adapter {adapter}: names the base {recorded}, which is no folder here; none is fetched "
            "or searched for. Fix: give its folder with --base"
        )
    return recorded


def _is_same_base(a: str, b: str) -> bool:
    """Whether two bases have equal contents, if both are local folders, else equal names."""
    if Path(a).is_dir() and Path(b).is_dir():
        return Path(a).resolve() == Path(b).resolve() or folder_fingerprint(a) == folder_fingerprint(b)
    return is_same_name(a, b)


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
