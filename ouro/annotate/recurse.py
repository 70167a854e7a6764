"""Algorithm 1's recursion, level by level: all regions of one level of a whole shard are searched together.

Proposals never depend on descriptions, so the tree is grown first and described later: the same result as
the literal recursion, image by image, with far fewer and larger batches.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ouro.annotate.propose import filter_proposals, nest, reject
from ouro.core import boxes
from ouro.core.control_tokens import break_control_tokens, count_broken_tokens, tokens_meta
from ouro.core.pictures import chunk_images, load_stored, stored_file
from ouro.core.records import Image, Region, Rejected
from ouro.vision.layout import MOSTLY, OCR, READ_SIDE, kind_of, smallest_texts
from ouro.vision.protocols import Counting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import PIL.Image

    from ouro.core.params import Propose
    from ouro.core.records import Box
    from ouro.vision.protocols import Proposal, RegionProposer


GAIN = 1.25  # OCR reads a crop again from this magnification on


class Grown(NamedTuple):
    """`regions`: images in the order given, parents before children, siblings in reading order.

    `n_candidates` counts the whole images too: n_candidates == len(regions) + len(rejected).
    """

    regions: list[Region]
    rejected: list[Rejected]
    n_candidates: int


class Node(NamedTuple):
    """A region that may be divided.

    `parts`: candidates that its parent's search found in it. `words`: lines of text read on its ancestors that lie in
    it. `read_at`: the largest scale at which OCR has seen its pixels.
    """

    region: Region
    parts: Sequence[Proposal] = ()
    words: Sequence[Proposal] = ()
    read_at: float = 0.0


class Divided(NamedTuple):
    """len(parts) + len(proposals) == len(children) + sum of their len(parts) + len(rejected)."""

    children: list[Node]
    rejected: list[Rejected]


class Proposed(NamedTuple):
    """n_in == len(regions) + len(rejected); `meta`: for the sidecar, with the images that OCR left out, and why."""

    regions: list[Region]
    rejected: list[Rejected]
    n_in: int
    meta: dict[str, Any]


def propose_images(
    images: Sequence[Image],
    folder: Path,
    max_pixels: int,
    proposers: Sequence[RegionProposer],
    params: Propose,
    progress: Callable[[int], None] = lambda n: None,
) -> Proposed:
    """The region trees of a shard's images, whose files lie in `folder`. `progress` counts images.

    Raises ArtifactError for a file that is missing, damaged or not in `folder`, ImageError for one of more than
    `max_pixels`, and as `propose_shard`.
    """
    counters = [
        tool.counting() if isinstance(tool, Counting) else tool for tool in proposers
    ]  # shards in threads share
    result = Proposed([], [], 0, {"images": len(images)})
    for chunk in chunk_images(images):
        opened = [(image, load_stored(stored_file(folder, image), max_pixels)) for image in chunk]
        shard_result = propose_shard(opened, counters, params)
        result.regions.extend(shard_result.regions)
        result.rejected.extend(shard_result.rejected)
        result = result._replace(n_in=result.n_in + shard_result.n_candidates)
        progress(len(chunk))
    result.meta.update(tokens_meta(sum(count_broken_tokens(region.text) for region in result.regions)))
    counting_tools = [tool for tool in counters if isinstance(tool, Counting) and tool.skipped]
    if counting_tools:
        left_out = {
            "ocr_skipped": sum(t.skipped for t in counting_tools),
            "why": dict(sorted(counting_tools[0].why.items())),
        }
        result.meta.update(left_out)
    return result


def propose_shard(
    images: Sequence[tuple[Image, PIL.Image.Image]], proposers: Sequence[RegionProposer], params: Propose
) -> Grown:
    """Grow the region trees of a shard. Boxes are whole pixels of the full image.

    Ends because a level past `max_depth` is never opened. Raises ValueError when a picture has another
    size than its record, or a proposer returns another number of lists than it got images.
    """
    level = [(root(image, picture.size), picture) for image, picture in images]
    regions = [node.region for node, _ in level]
    rejected: list[Rejected] = []
    n_candidates = len(level)
    while level:
        if level[0][0].region.level == params.max_depth:
            rejected += [reject(p, "max_depth", node.region.region_id) for node, _ in level for p in node.parts]
            break
        proposals_by_node = _search(level, proposers)
        n_candidates += sum(map(len, proposals_by_node))
        next_level: list[tuple[Node, PIL.Image.Image]] = []
        for (node, picture), proposals in zip(level, proposals_by_node, strict=True):
            children, dropped = divide(node, proposals, params)
            regions += [child.region for child in children]
            rejected += dropped
            next_level += [(child, picture) for child in children if child.region.source != OCR or child.parts]
        level = next_level
    return Grown(_sort_regions(regions, [image.image_id for image, _ in images]), rejected, n_candidates)


def root(image: Image, size: tuple[int, int]) -> Node:
    """The whole image. Raises ValueError when the picture's (width, height) is not the recorded one."""
    if size != (image.width, image.height):
        raise ValueError(
            f"image {image.image_id}: got a picture of {size}, expected the recorded "
            f"{(image.width, image.height)}; run the command that read the images in again"
        )
    box = (0.0, 0.0, float(image.width), float(image.height))
    return Node(Region(f"{image.image_id}/0", image.image_id, None, 0, box, 1.0, "image", kind="scene"))


def is_shown(proposer: str, node: Node) -> bool:
    """Whether a proposer of this name searches a region's crop.

    A block of text is divided into its lines without a search. OCR reads the whole image, and the crop of a region
    when its magnification there is at least GAIN times the one before: that is, when the image was scaled down to
    READ_SIDE for it. A region that is itself text is not read again.
    """
    if node.region.source == OCR:
        return False
    if proposer != OCR or node.region.level == 0:
        return True
    return not node.region.text and _scale(node.region.box) >= GAIN * node.read_at


def _scale(box: Box) -> float:
    return min(1.0, READ_SIDE / max(box[2] - box[0], box[3] - box[1]))


def _search(level: Sequence[tuple[Node, PIL.Image.Image]], proposers: Sequence[RegionProposer]) -> list[list[Proposal]]:
    """Fresh proposals of every open region, in full-image pixels."""
    proposals_by_node: list[list[Proposal]] = [[] for _ in level]
    for proposer in proposers:
        indices = [i for i, (node, _) in enumerate(level) if is_shown(proposer.name, node)]
        if not indices:
            continue
        answers = proposer.propose([_crop(*level[i]) for i in indices])
        if len(answers) != len(indices):
            raise ValueError(
                f"proposer {proposer.name!r}: got {len(answers)} answers for {len(indices)} images; "
                "expected one list per image"
            )
        for i, proposals in zip(indices, answers, strict=True):
            proposals_by_node[i] += [in_full_image(p, level[i][0].region.box) for p in proposals]
    return proposals_by_node


def _crop(node: Node, picture: PIL.Image.Image) -> PIL.Image.Image:
    x0, y0, x1, y1 = (int(v) for v in node.region.box)
    return picture if node.region.level == 0 else picture.crop((x0, y0, x1, y1))


def in_full_image(proposal: Proposal, region: Box) -> Proposal:
    """Shift to the full image and round to whole pixels, so that a region is exactly its crop; control tokens in text
    are broken."""
    dx, dy = region[0], region[1]
    x0, y0, x1, y1 = proposal.box
    shifted = (_round(x0 + dx), _round(y0 + dy), _round(x1 + dx), _round(y1 + dy))
    text = break_control_tokens(proposal.text).text
    return proposal._replace(box=shifted, score=round(float(proposal.score), 4), text=text)


def _round(value: float) -> float:
    return float(round(value)) if abs(value) < 2**31 else float("nan")


def divide(node: Node, proposals: Sequence[Proposal], params: Propose) -> Divided:
    """The children of a region, from `proposals` in its crop (in pixels of the full image) and its parent's search.

    Text read in the crop replaces text read there at a smaller scale ("reread").
    """
    region = node.region
    fresh = [p for p in proposals if p.source == OCR]
    replaced = [p for p in node.parts if p.source == OCR and _is_replaced(p, fresh)]
    rejected = [reject(p, "reread", region.region_id) for p in replaced]
    parts = [p for p in node.parts if p not in replaced]
    words = [w for w in node.words if not _is_replaced(w, fresh)] + smallest_texts(fresh)
    accepted, dropped = filter_proposals(
        [*parts, *proposals], region.box, params, region.region_id, in_text=bool(region.text)
    )
    nested = nest(accepted, params, region.region_id)
    read_at = max(node.read_at, _scale(region.box)) if is_shown(OCR, node) else node.read_at
    children = [
        Node(_child(region, i, proposal, words), inner, _inside(words, proposal.box), read_at)
        for i, (proposal, inner) in enumerate(zip(nested.siblings, nested.parts, strict=True))
    ]
    return Divided(children, rejected + dropped + nested.rejected)


def _is_replaced(text: Proposal, fresh: Sequence[Proposal]) -> bool:
    return any(max(boxes.containment(text.box, f.box), boxes.containment(f.box, text.box)) >= MOSTLY for f in fresh)


def _inside(words: Sequence[Proposal], box: Box) -> list[Proposal]:
    return [w for w in words if boxes.containment(w.box, box) >= MOSTLY]


def _child(parent: Region, index: int, proposal: Proposal, words: Sequence[Proposal]) -> Region:
    return Region(
        region_id=f"{parent.region_id}.{index}",
        image_id=parent.image_id,
        parent_id=parent.region_id,
        level=parent.level + 1,
        box=proposal.box,
        score=proposal.score,
        source=proposal.source,
        text=proposal.text,
        kind=kind_of(proposal.box, proposal.text, words),
    )


def _sort_regions(regions: list[Region], image_ids: list[str]) -> list[Region]:
    """Depth first within each image: "0", "0.0", "0.0.0", "0.1", ..."""
    place = {image_id: n for n, image_id in enumerate(image_ids)}

    def key(region: Region) -> tuple[int, list[int]]:
        path = region.region_id.rpartition("/")[2]
        return place[region.image_id], [int(step) for step in path.split(".")]

    return sorted(regions, key=key)
