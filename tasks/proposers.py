"""The region proposers of a process: loaded once, when they are first needed."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.core.params import Propose
from ouro.vision.faster_rcnn import FasterRCNNProposer, is_network

if TYPE_CHECKING:
    from ouro.vision.protocols import RegionProposer

_loading = threading.Lock()


def proposers(wanted: Propose, rpn: str, cache: Path, processes: int) -> tuple[RegionProposer, ...]:
    """The proposers that `wanted` names, loaded once a process. `rpn`: model.proposer; `cache`: where OCR lays out
    its models."""
    with _loading:  # shards in threads would load them once each
        return _load(wanted.model_dump_json(), rpn, cache, processes)


@lru_cache(maxsize=2)
def _load(settings: str, rpn: str, cache: Path, processes: int) -> tuple[RegionProposer, ...]:
    wanted = Propose.model_validate_json(settings)
    return tuple(_one(name, wanted, rpn, cache, processes) for name in dict.fromkeys(wanted.proposers))


def _one(name: str, wanted: Propose, rpn: str, cache: Path, processes: int) -> RegionProposer:
    """Heavy libraries are imported with the proposer that needs them."""
    if name == "rpn":
        return _rpn(wanted, rpn)
    if name == "grounding":
        from ouro.vision.grounding import GroundingProposer

        return GroundingProposer(wanted.grounding_model, wanted.grounding_texts, wanted.grounding_min_score)
    if name == "selective-search":
        from ouro.vision.selective_search import SelectiveSearchProposer

        return SelectiveSearchProposer(wanted.tau, threads=processes)
    from ouro.vision.ocr import OCRProposer

    return OCRProposer(wanted.ocr_min_score, cache, processes, when=wanted.ocr_when)


def _rpn(wanted: Propose, rpn: str) -> RegionProposer:
    if is_network(rpn):
        return FasterRCNNProposer(rpn, wanted.rpn_weights, min_score=wanted.tau)
    from ouro.vision.rpn import RPNProposer

    return RPNProposer(Path(rpn), min_score=wanted.tau)
