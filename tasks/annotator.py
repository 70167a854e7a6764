"""The vision-language model of a process: loaded once, when it is first needed."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.core.errors import OuroError
from ouro.core.params import Model
from ouro.vision.folders import vlm_fingerprint
from ouro.vision.local import load_local
from ouro.vision.served import load_served, served_fingerprint
from tasks.models import adapter_fingerprint, model_fingerprint
from tasks.served import answerer, checked_before_asking

if TYPE_CHECKING:
    from ouro.vision.protocols import VisionLM

_loading = threading.Lock()  # shards in threads ask at the same time, and one model is enough


class ServedAdapter(OuroError, ValueError):
    """An adapter where a server answers: it has its own."""


def annotator_code(model: Model) -> str:
    """The module whose closure decides what the annotator replies; what answers at a server is in the fingerprint."""
    return "ouro.vision.served" if model.backend == "openai" else "ouro.vision.local"


@lru_cache(maxsize=1)
def _load(knobs: str, adapter: Path | None, batch_size: int, batch_tokens: int | None, marked: str) -> VisionLM:
    """`knobs`: Model as JSON; `marked`: the fingerprint, so that files changed under the same name are loaded again;
    of a server with the number of the run, since in each its model must be seen before it is asked."""
    model = Model.model_validate_json(knobs)
    if model.backend == "openai":
        return load_served(model, answerer(model).digest, checked_before_asking(model))
    return load_local(model, adapter, batch_size, batch_tokens, marked)


def _adapter_path(model: Model, adapter: Path | None) -> Path | None:
    """The adapter that the annotator loads: the one of the call, else that of params. Raises ServedAdapter."""
    path = adapter or (Path(model.adapter) if model.adapter else None)
    if path and model.backend == "openai":
        raise ServedAdapter(
            f"adapter {path}: got model.backend=openai, whose server has its own. Fix: start the server with it and "
            "set model.name to its name and model.adapter to '', or set model.backend=hf"
        )
    return path


def check_address(model: Model) -> None:
    """Raise ServedAdapter, or ServerRefused for an address that is none; nothing is asked."""
    _adapter_path(model, None)
    served_fingerprint(model)


def fingerprint(model: Model, adapter: Path | None = None) -> str:
    """The annotator's own fingerprint, known without loading it; of a server's model with who answers there (found out
    once a run, tasks.served). Raises MissingModel, ServedAdapter and ServerRefused."""
    path = _adapter_path(model, adapter)
    if model.backend == "openai":
        return served_fingerprint(model, answerer(model).digest)
    return vlm_fingerprint(model_fingerprint(Path(model.base)), model.dtype, adapter_fingerprint(path) if path else "")


def annotator(model: Model, batch_size: int, adapter: Path | None = None, batch_tokens: int | None = None) -> VisionLM:
    """The VLM of `params.model`; `adapter`, if given, goes before model.adapter. Raises as `fingerprint` does.

    A batch holds at most `batch_size` requests and `batch_tokens` visual tokens (None: no such bound).
    """
    with _loading:
        knobs, marked = model.model_dump_json(), fingerprint(model, adapter)
        if model.backend == "openai":
            marked += f" {answerer(model).run}"
        return _load(knobs, _adapter_path(model, adapter), batch_size, batch_tokens, marked)
