"""The annotator from a local folder, as params.model says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ouro.core.params import Model
    from ouro.vision.protocols import VisionLM


def load_local(
    model: Model, adapter: Path | None, batch_size: int, batch_tokens: int | None, fingerprint: str
) -> VisionLM:
    """model.base with `adapter`, in this process or, with model.processes > 1, in as many that load it themselves.

    `fingerprint`: of base and adapter (ouro.vision.folders.vlm_fingerprint).
    """
    if model.processes > 1:
        from ouro.vision.pool import PooledVLM

        return PooledVLM(model.base, adapter, model.dtype, batch_size, model.processes, fingerprint, batch_tokens)
    from ouro.vision.hf import HFVisionLM

    return HFVisionLM(model.base, adapter, model.dtype, batch_size, batch_tokens, model.prepare_processes)
