"""A model's Hugging Face folder: checks before loading, its processor, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ouro.core.errors import OuroError
from ouro.core.hub import endpoint_problem
from ouro.core.model_files import find_unsafe

_WHOLE = {
    "model": "a model of Qwen2-VL's kind with config, processor, tokenizer and *.safetensors",
    "adapter": "a peft adapter of this model",
}
_KEYS = {"model": "model.base", "adapter": "model.adapter"}
MAX_LISTED = 5  # problems listed in one error


class ModelError(OuroError, ValueError):
    """A model folder or adapter that cannot be used, with the fix."""


def load_processor(folder: str | Path) -> Any:
    """The processor of a model. Raises ModelError for a missing or unsafe folder, or one without a processor."""
    from transformers import AutoProcessor

    options = load_options(folder)
    with explained(folder):
        return AutoProcessor.from_pretrained(folder, **options)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer beside an adapter. Raises ModelError."""
    from transformers import AutoTokenizer

    with explained(folder, "adapter"):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


@contextmanager
def explained(folder: str | Path, what: str = "model") -> Generator[None]:
    """Raise ModelError for what transformers says of a folder that it cannot load.

    Its own advice to trust remote code is not handed on.
    """
    try:
        yield
    except Exception as error:  # the libraries raise nearly any type for a damaged or foreign folder
        if isinstance(error, OuroError) or "out of memory" in str(error):
            raise
        said = ("" if Path(folder).exists() else endpoint_problem()) or " ".join(str(error).split())
        if "trust_remote_code" in said or "custom code" in said:
            said = "it needs code that lies beside the model (auto_map), which Ouro never runs"
        raise ModelError(
            f"{what} folder {folder}: cannot be loaded: {said[:300]}; expected {_WHOLE[what]}. Fix: fetch it whole, or "
            f"name another in {_KEYS[what]}"
        ) from error


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
    if looks_local:
        check_model_files(path)
        if (path / "adapter_config.json").is_file():
            raise ModelError(
                f"model folder {folder}: it holds an adapter_config.json, by which another model would be loaded; "
                "expected a model alone. Fix: move the adapter's files to a folder of their own and set model.adapter"
            )
    return {"trust_remote_code": False, "local_files_only": looks_local}


def check_model_files(folder: Path) -> None:
    """Raise ModelError, listing every problem, for a folder that names files elsewhere, pickles or code of the hub."""
    if problems := find_unsafe(folder):
        raise ModelError("\n  ".join([f"model folder {folder}: refused", *problems[:MAX_LISTED]]))


def vlm_fingerprint(base: str, dtype: str, adapter: str = "") -> str:
    """SHA-256 (hex) over everything a model's replies depend on; `base` and `adapter` are folder fingerprints."""
    return hashlib.sha256(json.dumps([base, dtype, adapter]).encode()).hexdigest()
