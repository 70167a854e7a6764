"""The region proposers of a process: loaded once, when they are first needed."""

from __future__ import annotations

import json
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.core.params import Propose
from ouro.vision.faster_rcnn import FasterRCNNProposer, is_network, network_fingerprint
from ouro.vision.grounding import is_local
from tasks.models import model_fingerprint

if TYPE_CHECKING:
    from ouro.vision.protocols import RegionProposer

_loading = threading.Lock()


def proposers(params: Propose, rpn: str, cache: Path, processes: int) -> tuple[RegionProposer, ...]:
    """The proposers that `params` names, loaded once a process. `rpn`: model.proposer; `cache`: where OCR lays out
    its models."""
    with _loading:  # shards in threads would load them once each
        return _load(params.model_dump_json(), rpn, cache, processes)


@lru_cache(maxsize=2)
def _load(settings: str, rpn: str, cache: Path, processes: int) -> tuple[RegionProposer, ...]:
    params = Propose.model_validate_json(settings)
    return tuple(_one(name, params, rpn, cache, processes) for name in dict.fromkeys(params.proposers))


def _one(name: str, params: Propose, rpn: str, cache: Path, processes: int) -> RegionProposer:
    """Heavy libraries are imported with the proposer that needs them."""
    if name == "rpn":
        return _rpn(params, rpn)
    if name == "grounding":
        from ouro.vision.grounding import GroundingProposer

        return GroundingProposer.from_params(params)
    if name == "selective-search":
        from ouro.vision.selective_search import SelectiveSearchProposer

        return SelectiveSearchProposer.from_params(params, processes)
    from ouro.vision.ocr import OCRProposer

    return OCRProposer.from_params(params, cache, processes)


def _rpn(params: Propose, rpn: str) -> RegionProposer:
    if is_network(rpn):
        return FasterRCNNProposer.from_params(params, rpn)
    from ouro.vision.rpn import RPNProposer

    return RPNProposer.from_params(params, Path(rpn))


def proposers_code(params: Propose, rpn: str) -> tuple[str, ...]:
    """The modules of the proposers in use, in whose closures all lies that decides what they propose."""
    modules = {
        "rpn": "ouro.vision.faster_rcnn" if is_network(rpn) else "ouro.vision.rpn",
        "ocr": "ouro.vision.ocr",
        "grounding": "ouro.vision.grounding",
        "selective-search": "ouro.vision.selective_search",
    }
    return tuple(modules[name] for name in dict.fromkeys(params.proposers))


def weights(params: Propose, rpn: str) -> str:
    """What the proposals depend on beside params.propose: networks and weights of the proposers in use; "" for none.

    PaddleOCR's models and OpenCV come with the lock file. A grounding model on the hub counts by its name. Raises
    MissingModel.
    """
    used: dict[str, str] = {}
    if "rpn" in params.proposers:
        used["rpn"] = network_fingerprint(rpn, params.rpn_weights) if is_network(rpn) else model_fingerprint(Path(rpn))
    if "grounding" in params.proposers:
        local = is_local(params.grounding_model)
        used["grounding"] = model_fingerprint(Path(params.grounding_model)) if local else "hub"
    return json.dumps(used, sort_keys=True) if used else ""
