"""The vision-language model of a process: loaded once, when it is first needed."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.core.errors import OuroError
from ouro.core.params import Model
from ouro.vision.folders import vlm_fingerprint
from tasks.models import model_fingerprint, served_base

if TYPE_CHECKING:
    from ouro.vision.protocols import VisionLM

_loading = threading.Lock()  # shards in threads load at the same time, and one model is enough


class ServedAdapter(OuroError, ValueError):
    """An adapter with model.backend=openai: the server loads its own."""


@lru_cache(maxsize=1)
def _load(model_json: str, adapter: Path | None, batch_size: int, batch_tokens: int | None, digest: str) -> VisionLM:
    """`model_json`: Model as JSON; `digest`: the fingerprint, so that files changed under the same name load again."""
    model = Model.model_validate_json(model_json)
    if model.backend == "openai":
        from ouro.vision.openai import OpenAIVisionLM

        return OpenAIVisionLM(
            model.url, model.name, model.concurrency, model.timeout, model.retries, _side_multiple(model)
        )
    if model.processes > 1:
        from ouro.vision.pool import PooledVLM

        return PooledVLM(model.base, adapter, model.dtype, batch_size, model.processes, digest, batch_tokens)
    from ouro.vision.hf import HFVisionLM

    return HFVisionLM(model.base, adapter, model.dtype, batch_size, batch_tokens, model.prepare_processes)


def _side_multiple(model: Model) -> int:
    """The number of which the sides of pictures sent to a server are multiples; 1 unless it serves model.base."""
    from ouro.vision.openai import resize_multiple

    folder = served_base(model.base, model.name)
    return resize_multiple(folder) if folder else 1


def _adapter_folder(model: Model, adapter: Path | None) -> Path | None:
    """The adapter that the annotator loads: `adapter`, else model.adapter. Raises ServedAdapter."""
    folder = adapter or (Path(model.adapter) if model.adapter else None)
    if folder and model.backend == "openai":
        raise ServedAdapter(
            f"adapter {folder}: got model.backend=openai, whose server loads its own. Fix: start the server with it "
            "and set model.name to its name and model.adapter to '', or set model.backend=hf"
        )
    return folder


def fingerprint(model: Model, adapter: Path | None = None) -> str:
    """The annotator's fingerprint; loads no model. Raises MissingModel and ServedAdapter."""
    folder = _adapter_folder(model, adapter)
    if model.backend == "openai":
        from ouro.vision.openai import openai_fingerprint

        return openai_fingerprint(model.url, model.name, _side_multiple(model))
    return vlm_fingerprint(
        model_fingerprint(Path(model.base)), model.dtype, model_fingerprint(folder) if folder else ""
    )


def annotator(model: Model, batch_size: int, adapter: Path | None = None, batch_tokens: int | None = None) -> VisionLM:
    """The VLM of `params.model`; `adapter`, if given, goes before model.adapter. Raises as `fingerprint` does.

    A batch holds at most `batch_size` requests and `batch_tokens` visual tokens (None: no such bound).
    """
    with _loading:
        model_json, digest = model.model_dump_json(), fingerprint(model, adapter)
        return _load(model_json, _adapter_folder(model, adapter), batch_size, batch_tokens, digest)
