"""The task of stage propose: images of one shard -> their region trees (Algorithm 1, eq. 1 and 2)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.annotate.recurse import propose_shard
from ouro.artifacts import read_shard, write_shard
from ouro.images import load_image
from ouro.params import Params
from ouro.records import Image, Region, Rejected
from tasks.layout import Layout
from tasks.models import model_fingerprint
from tasks.shards import Progress, chunks, produce, shard_task

if TYPE_CHECKING:
    from ouro.vision.protocols import RegionProposer


@lru_cache(maxsize=2)
def proposers(
    names: tuple[str, ...], rpn: Path, tau: float, ocr_min_score: float, cache: Path, processes: int
) -> tuple[RegionProposer, ...]:
    """The proposers of these names, loaded once a process. `cache`: where OCR lays out its models."""
    made: list[RegionProposer] = []
    for name in names:
        if name == "rpn":
            from ouro.vision.rpn import RPNProposer

            made.append(RPNProposer(rpn, min_score=tau))
        else:
            from ouro.vision.ocr import OCRProposer

            made.append(OCRProposer(ocr_min_score, cache, processes))
    return tuple(made)


@shard_task(name="propose")
def propose(name: str, layout: Layout, params: Params, progress: Progress = lambda n: None) -> Path:
    """data/images/NAME -> data/regions/NAME. `progress` counts images."""
    source, out = layout.images / name, layout.regions / name
    images = read_shard(source, Image)

    def make() -> None:
        found = _propose(images, layout, params, progress)
        regions, rejected, n_in = found
        write_shard(out, Region, regions, n_in=n_in, rejected=rejected, meta={"images": len(images)})

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
) -> tuple[list[Region], list[Rejected], int]:
    wanted, rpn = params.propose, Path(params.model.proposer)
    ocr = layout.cache.parent / "ocr"
    tools = proposers(wanted.proposers, rpn, wanted.tau, wanted.ocr_min_score, ocr, params.model.processes)
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
    return regions, rejected, n_in


def _settings(params: Params) -> dict[str, Any]:
    return params.propose.model_dump(mode="json")


def _models(params: Params) -> str:
    return model_fingerprint(Path(params.model.proposer)) if "rpn" in params.propose.proposers else ""
