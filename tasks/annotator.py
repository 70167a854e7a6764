"""The vision-language model of a process: loaded once, when it is first needed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.vision.hf import vlm_fingerprint
from tasks.models import model_fingerprint

if TYPE_CHECKING:
    from ouro.params import Model
    from ouro.vision.protocols import VisionLM


@lru_cache(maxsize=1)
def _load(
    folder: Path, adapter: Path | None, dtype: str, batch_size: int, processes: int, _fingerprint: str
) -> VisionLM:
    if processes > 1:
        from ouro.vision.pool import PooledVLM

        return PooledVLM(folder, adapter, dtype, batch_size, processes, _fingerprint)
    from ouro.vision.hf import HFVisionLM

    return HFVisionLM(folder, adapter=adapter, dtype=dtype, batch_size=batch_size)


def fingerprint(model: Model, adapter: Path | None = None) -> str:
    """The annotator's own fingerprint, known without loading it. Raises MissingModel."""
    worn = model_fingerprint(adapter) if adapter else ""
    return vlm_fingerprint(model_fingerprint(Path(model.base)), model.dtype, worn)


def annotator(model: Model, batch_size: int, adapter: Path | None = None) -> VisionLM:
    """The model of `params.model`, with an adapter on top if one is given. Raises MissingModel."""
    return _load(Path(model.base), adapter, model.dtype, batch_size, model.processes, fingerprint(model, adapter))
