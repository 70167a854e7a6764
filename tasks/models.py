"""Model folders: existence and fingerprints. Loads no model."""

from __future__ import annotations

from pathlib import Path

from ouro.core.adapter_files import find_adapter_problems
from ouro.core.errors import OuroError
from ouro.core.files import folder_fingerprint
from ouro.core.model_files import find_unsafe
from ouro.core.params import Params


class MissingModel(OuroError, ValueError):
    """A model folder that params name and that is not there or holds no model."""


def require_model(folder: Path) -> None:
    """Raise MissingModel, with the way to mend it, unless `folder` looks like a model and is safe."""
    if not folder.is_dir():
        raise MissingModel(
            f"model folder {folder}: not found; expected a local Hugging Face folder (config.json, *.safetensors)."
            " Fix: `ouro fetch` with the same --profile or --params, or set model.base"
        )
    if not any(folder.glob("*.safetensors")):
        raise MissingModel(
            f"model folder {folder}: no *.safetensors in it (got {sorted(p.name for p in folder.iterdir())[:5]});"
            " expected a model's weights. Fix: fetch it again, or for models/nano run `python -m ouro.nano.pretrain`"
        )
    if problems := find_unsafe(folder):
        raise MissingModel("\n  ".join([f"model folder {folder}: refused", *problems[:5]]))


def require_adapter(folder: Path) -> None:
    """Raise MissingModel, with every reason, unless `folder` looks like an adapter that can be merged and is safe."""
    if problems := find_adapter_problems(folder) or find_unsafe(folder):
        raise MissingModel("\n  ".join([f"adapter {folder}: refused", *problems[:5]]))


def needs_hub(params: Params) -> bool:
    """Whether params name something on the Hugging Face hub; without, nothing uses the network."""
    propose = params.propose
    grounding = "grounding" in propose.proposers and not Path(propose.grounding_model).exists()
    return params.ingest.source.startswith("hf:") or grounding


def model_fingerprint(folder: Path) -> str:
    """SHA-256 over the files of a model folder (not of its subfolders, not its README), read again when one of them has
    changed its size or a time.

    Raises MissingModel when the folder is not there.
    """
    require_model(folder)
    return folder_fingerprint(folder)


def adapter_fingerprint(folder: Path) -> str:
    """As `model_fingerprint`, of an adapter. Raises MissingModel as `require_adapter`."""
    require_adapter(folder)
    return folder_fingerprint(folder)
