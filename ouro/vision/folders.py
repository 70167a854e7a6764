"""A model's Hugging Face folder: checks before loading, its processor, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ouro.core.errors import OuroError


class ModelError(OuroError, ValueError):
    """A model folder or adapter that cannot be used, with the fix."""


def load_processor(folder: str | Path) -> Any:
    """The processor of a model. Raises ModelError for a missing or unsafe folder."""
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(folder, **load_options(folder))


def load_options(folder: str | Path) -> dict[str, bool]:
    """Options of from_pretrained: no remote code, and no download for a name that looks like a local folder."""
    path = Path(folder)
    looks_local = path.is_absolute() or str(folder).startswith((".", "models/")) or path.exists()
    if looks_local and not (path / "config.json").is_file():
        raise ModelError(
            f"model folder {folder}: no config.json found; expected a Hugging Face folder such as models/nano; "
            "set model.base in params.yaml, or --model"
        )
    if looks_local and not list(path.glob("*.safetensors")):
        raise ModelError(f"model folder {folder}: no *.safetensors; pickled weights are refused, convert them first")
    return {"trust_remote_code": False, "local_files_only": looks_local}


def vlm_fingerprint(base: str, dtype: str, adapter: str = "") -> str:
    """SHA-256 (hex) over everything a model's replies depend on; `base` and `adapter` are folder fingerprints."""
    return hashlib.sha256(json.dumps([base, dtype, adapter]).encode()).hexdigest()
