"""Algorithm 1's recursion, run in waves: all regions of one level of a whole shard are searched together.

Proposals never depend on descriptions, so the tree is grown first and described later: the same result as
the literal recursion, image by image, with far fewer and larger batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ouro.annotate.propose import OCR, filter_proposals, nest, reject
from ouro.records import Image, Region, Rejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    import PIL.Image

    from ouro.params import Propose
    from ouro.records import Box
    from ouro.vision.protocols import Proposal, RegionProposer


class Grown(NamedTuple):
    """`regions`: images in the order given, parents before children, siblings in reading order.

    `n_candidates` counts the whole images too: n_candidates == len(regions) + len(rejected).
    """

    regions: list[Region]
    rejected: list[Rejected]
    n_candidates: int


class _Open(NamedTuple):
    """A region that is to be searched, and the candidates that its parent's level found in it."""

    region: Region
    picture: PIL.Image.Image
    parts: Sequence[Proposal]


def propose_shard(
    images: Sequence[tuple[Image, PIL.Image.Image]], proposers: Sequence[RegionProposer], params: Propose
) -> Grown:
    """Grow the region trees of a shard. Boxes are whole pixels of the full image.

    Ends because a level past `max_depth` is never opened. Raises ValueError when a picture has another
    size than its record, or a proposer answers for another number of images than it was shown.
    """
    wave = [_Open(_root(image, picture), picture, ()) for image, picture in images]
    regions = [node.region for node in wave]
    rejected: list[Rejected] = []
    n_candidates = len(wave)
    while wave:
        if wave[0].region.level == params.max_depth:
            rejected += [reject(p, "max_depth", node.region.region_id) for node in wave for p in node.parts]
            break
        found = _search(wave, proposers)
        n_candidates += sum(map(len, found))
        following: list[_Open] = []
        for node, proposals in zip(wave, found, strict=True):
            children, dropped = _children(node, proposals, params)
            regions += [child.region for child in children]
            rejected += dropped
            following += [child for child in children if child.region.source != OCR]
        wave = following
    return Grown(_ordered(regions, [image.image_id for image, _ in images]), rejected, n_candidates)


def _root(image: Image, picture: PIL.Image.Image) -> Region:
    if picture.size != (image.width, image.height):
        raise ValueError(
            f"image {image.image_id}: got a picture of {picture.size}, expected the recorded "
            f"{(image.width, image.height)}; rerun `dvc repro ingest`"
        )
    box = (0.0, 0.0, float(image.width), float(image.height))
    return Region(f"{image.image_id}/0", image.image_id, None, 0, box, 1.0, "image")


def _search(wave: Sequence[_Open], proposers: Sequence[RegionProposer]) -> list[list[Proposal]]:
    """Fresh proposals of every open region, in full-image pixels. OCR sees whole images only."""
    crops = [_crop(node) for node in wave]
    found: list[list[Proposal]] = [[] for _ in wave]
    for proposer in proposers:
        if proposer.name == OCR and wave[0].region.level > 0:
            continue
        answers = proposer.propose(crops)
        if len(answers) != len(crops):
            raise ValueError(
                f"proposer {proposer.name!r}: got {len(answers)} answers for {len(crops)} images; "
                "expected one list per image"
            )
        for node, into, proposals in zip(wave, found, answers, strict=True):
            into += [_in_full_image(p, node.region.box) for p in proposals]
    return found


def _crop(node: _Open) -> PIL.Image.Image:
    x0, y0, x1, y1 = (int(v) for v in node.region.box)
    return node.picture if node.region.level == 0 else node.picture.crop((x0, y0, x1, y1))


def _in_full_image(proposal: Proposal, region: Box) -> Proposal:
    """Shift to the full image and round to whole pixels, so that a region is exactly its crop."""
    dx, dy = region[0], region[1]
    x0, y0, x1, y1 = proposal.box
    shifted = (_whole(x0 + dx), _whole(y0 + dy), _whole(x1 + dx), _whole(y1 + dy))
    return proposal._replace(box=shifted, score=round(float(proposal.score), 4))


def _whole(value: float) -> float:
    return float(round(value)) if abs(value) < 2**31 else float("nan")


def _children(node: _Open, proposals: Sequence[Proposal], params: Propose) -> tuple[list[_Open], list[Rejected]]:
    parent = node.region
    kept, dropped = filter_proposals([*node.parts, *proposals], parent.box, params, parent.region_id)
    nested = nest(kept, params, parent.region_id)
    children = [
        _Open(_child(parent, i, proposal), node.picture, parts)
        for i, (proposal, parts) in enumerate(zip(nested.siblings, nested.parts, strict=True))
    ]
    return children, dropped + nested.rejected


def _child(parent: Region, index: int, proposal: Proposal) -> Region:
    return Region(
        region_id=f"{parent.region_id}.{index}",
        image_id=parent.image_id,
        parent_id=parent.region_id,
        level=parent.level + 1,
        box=proposal.box,
        score=proposal.score,
        source=proposal.source,
        text=proposal.text,
    )


def _ordered(regions: list[Region], image_ids: list[str]) -> list[Region]:
    """Depth first within each image: "0", "0.0", "0.0.0", "0.1", ..."""
    place = {image_id: n for n, image_id in enumerate(image_ids)}

    def key(region: Region) -> tuple[int, list[int]]:
        path = region.region_id.rpartition("/")[2]
        return place[region.image_id], [int(step) for step in path.split(".")]

    return sorted(regions, key=key)
