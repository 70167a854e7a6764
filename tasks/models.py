"""Model folders: existence and fingerprints. Loads no model."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ouro.core.errors import OuroError
from ouro.core.params import Params
from ouro.vision.folders import folder_fingerprint


class MissingModel(OuroError, ValueError):
    """A model folder that params name and that is not there or holds no model."""


def require_model(folder: Path) -> None:
    """Raise MissingModel, with the way to mend it, unless `folder` looks like a model."""
    if not folder.is_dir():
        raise MissingModel(
            f"model folder {folder}: not found; expected a local Hugging Face folder (config.json, *.safetensors)."
            f" Fix: set model.base, or fetch one: hf download Qwen/Qwen2-VL-7B-Instruct --local-dir {folder}"
        )
    if not any(folder.glob("*.safetensors")):
        raise MissingModel(
            f"model folder {folder}: no *.safetensors in it (got {sorted(p.name for p in folder.iterdir())[:5]});"
            " expected a model's weights. Fix: fetch it again, or for models/nano run `python -m ouro.nano.pretrain`"
        )


def needs_hub(params: Params) -> bool:
    """Whether params name something on the Hugging Face hub; without, nothing uses the network."""
    propose = params.propose
    grounding = "grounding" in propose.proposers and not Path(propose.grounding_model).exists()
    return params.ingest.source.startswith("hf:") or grounding


@lru_cache(maxsize=8)
def _model_fingerprint(folder: Path, _stamps: tuple[tuple[str, int, int, int], ...]) -> str:
    return folder_fingerprint(folder)


def model_fingerprint(folder: Path) -> str:
    """SHA-256 over the files of a model folder (not of its subfolders, not its README), read again when one of them has
    changed its size or a time.

    Raises MissingModel when the folder is not there.
    """
    require_model(folder)
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix != ".md")
    return _model_fingerprint(folder, tuple(map(_stamp, files)))


def _stamp(file: Path) -> tuple[str, int, int, int]:
    """What changes with every way to put other bytes into a file: also where its time was set back afterwards."""
    status = file.stat()
    return file.name, status.st_size, status.st_mtime_ns, status.st_ctime_ns
