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


def proposers(params: Propose, rpn: str, cache: Path, processes: int) -> tuple[RegionProposer, ...]:
    """The proposers that `params` names, loaded once a process. `rpn`: model.proposer; `cache`: where OCR lays out
    its models."""
    with _loading:  # shards in threads would load them once each
        return _load(params.model_dump_json(), rpn, cache, processes)


@lru_cache(maxsize=2)
def _load(params_json: str, rpn: str, cache: Path, processes: int) -> tuple[RegionProposer, ...]:
    params = Propose.model_validate_json(params_json)
    return tuple(_load_proposer(name, params, rpn, cache, processes) for name in dict.fromkeys(params.proposers))


def _load_proposer(name: str, params: Propose, rpn: str, cache: Path, processes: int) -> RegionProposer:
    """One proposer; a heavy library is imported only with the proposer that needs it."""
    if name == "rpn":
        return _load_rpn(params, rpn)
    if name == "grounding":
        from ouro.vision.grounding import GroundingProposer

        return GroundingProposer(params.grounding_model, params.grounding_texts, params.grounding_min_score)
    if name == "selective-search":
        from ouro.vision.selective_search import SelectiveSearchProposer

        return SelectiveSearchProposer(params.tau, threads=processes)
    from ouro.vision.ocr import OCRProposer

    return OCRProposer(params.ocr_min_score, cache, processes, when=params.ocr_when)


def _load_rpn(params: Propose, rpn: str) -> RegionProposer:
    if is_network(rpn):
        return FasterRCNNProposer(rpn, params.rpn_weights, min_score=params.tau)
    from ouro.vision.rpn import RPNProposer

    return RPNProposer(Path(rpn), min_score=params.tau)
