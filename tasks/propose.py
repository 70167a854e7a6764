"""The task of stage propose: images of one shard -> their region trees (Algorithm 1, eq. 1 and 2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.annotate.recurse import propose_shard
from ouro.core.artifacts import read_shard, write_shard
from ouro.core.images import load_image
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.records import Image, Region, Rejected
from ouro.core.state import CHECKOUT
from ouro.vision.faster_rcnn import fingerprint, is_network
from ouro.vision.grounding import is_local
from tasks.models import model_fingerprint
from tasks.proposers import proposers
from tasks.shards import Progress, chunks, produce, shard_task

if TYPE_CHECKING:
    from ouro.vision.protocols import RegionProposer


@shard_task(name="propose")
def propose(name: str, layout: Layout, params: Params, progress: Progress = lambda n: None) -> Path:
    """data/images/NAME -> data/regions/NAME. `progress` counts images."""
    source, out = layout.images / name, layout.regions / name
    images = read_shard(source, Image)

    def make() -> None:
        regions, rejected, n_in, ocr = _propose(images, layout, params, progress)
        meta = {"images": len(images), **ocr}
        write_shard(out, Region, regions, n_in=n_in, rejected=rejected, meta=meta)

    if produce(
        "propose",
        out,
        inputs=[source],
        params=_settings(params),
        model=_models(params),
        cache=layout.cache,
        make=make,
    ):
        progress(len(images))
    return out


def _propose(
    images: list[Image], layout: Layout, params: Params, progress: Progress
) -> tuple[list[Region], list[Rejected], int, dict[str, Any]]:
    """Regions, rejected candidates, the number of candidates, and where OCR was left out and why."""
    shared = proposers(params.propose, params.model.proposer, CHECKOUT.ocr, params.model.processes)
    tools = [_counting(tool) for tool in shared]
    regions: list[Region] = []
    rejected: list[Rejected] = []
    n_in = 0
    for chunk in chunks(images):
        pictures = [(image, load_image(layout.images / image.path, params.ingest.max_pixels)) for image in chunk]
        grown = propose_shard(pictures, tools, params.propose)
        regions += grown.regions
        rejected += grown.rejected
        n_in += grown.n_candidates
        progress(len(chunk))
    return regions, rejected, n_in, _skipped(tools)


def _counting(tool: RegionProposer) -> RegionProposer:
    """OCR with counters of this shard's own: shards in threads share the proposers."""
    from ouro.vision.ocr import OCRProposer

    return tool.counting() if isinstance(tool, OCRProposer) else tool


def _skipped(tools: list[RegionProposer]) -> dict[str, Any]:
    from ouro.vision.ocr import OCRProposer

    counted = [tool for tool in tools if isinstance(tool, OCRProposer) and tool.skipped]
    return (
        {"ocr_skipped": sum(t.skipped for t in counted), "why": dict(sorted(counted[0].why.items()))} if counted else {}
    )


def _settings(params: Params) -> dict[str, Any]:
    return params.propose.model_dump(mode="json")


def _models(params: Params) -> str:
    """What the proposals depend on beside params.propose: networks and weights of the proposers in use.

    PaddleOCR's models and OpenCV come with the lock file. A grounding model on the hub counts by its name.
    """
    wanted = params.propose
    used: dict[str, str] = {}
    if "rpn" in wanted.proposers:
        network = params.model.proposer
        used["rpn"] = fingerprint(network, wanted.rpn_weights) if is_network(network) else _folder(network)
    if "grounding" in wanted.proposers:
        used["grounding"] = _folder(wanted.grounding_model) if is_local(wanted.grounding_model) else "hub"
    return json.dumps(used, sort_keys=True) if used else ""


def _folder(name: str) -> str:
    return model_fingerprint(Path(name))
