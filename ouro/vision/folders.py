"""A model's Hugging Face folder: checks before loading, its processor, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from ouro.core.errors import OuroError
from ouro.core.files import fingerprint_files


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


def folder_fingerprint(folder: str | Path) -> str:
    """SHA-256 (hex) over the files of a folder (no subfolders, no README); over the name if it is not local."""
    path = Path(folder)
    if not path.is_dir():
        return hashlib.sha256(str(folder).encode()).hexdigest()
    files = sorted(p for p in path.iterdir() if p.is_file() and p.suffix != ".md")
    return _fingerprint(path, tuple((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files))


@lru_cache(maxsize=8)
def _fingerprint(folder: Path, stamp: tuple[tuple[str, int, int], ...]) -> str:
    """Weights are read once as long as names, sizes and times of their files stay."""
    return fingerprint_files([folder / name for name, _, _ in stamp])


def vlm_fingerprint(base: str, dtype: str, adapter: str = "") -> str:
    """SHA-256 (hex) over everything a model's replies depend on; `base` and `adapter` are folder fingerprints."""
    return hashlib.sha256(json.dumps([base, dtype, adapter]).encode()).hexdigest()
