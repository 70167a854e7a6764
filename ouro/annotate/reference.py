"""Algorithm 1 as the paper prints it (OURO section 3.1): region by region, one call of each model a region.

The product does not run this. ouro.annotate.{recurse, describe, merge} do the same in waves over a whole shard; this
is what they are compared with (tests/test_literal.py: the same result; perf/throughput.py: how many times faster).
Only what decides about one region is shared with them: which proposals become children, how a region is asked about,
how its children's descriptions join its own. Line numbers are the paper's.

Ours, where the paper is silent: a candidate inside of another is judged again as that one's part; OCR is shown what
`is_shown` says; a region that the model says nothing about is replaced by those below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ouro.annotate.describe import describe_shard
from ouro.annotate.merge import Marked, Piece, merge_text, plain
from ouro.annotate.merging.inscriptions import with_reading
from ouro.annotate.recurse import Node, divide, in_full_image, is_shown, root
from ouro.core.boxes import relative_position
from ouro.core.records import Box, Description, Image, Region

if TYPE_CHECKING:
    from PIL import Image as PILImage

    from ouro.core.params import Params
    from ouro.vision.protocols import Proposal, RegionProposer, VisionLM


class Annotated(NamedTuple):
    """One image: its regions, parents first, what was said of each, and d^(0) with the merged text of every region."""

    regions: list[Region]
    descriptions: list[Description]
    text: str
    region_texts: dict[str, str]


class _Told(NamedTuple):
    """A described region: its box and its merged description."""

    box: Box
    marked: Marked


@dataclass(frozen=True)
class _Run:
    """The models, and what was found so far."""

    picture: PILImage.Image
    proposers: Sequence[RegionProposer]
    vlm: VisionLM
    params: Params
    regions: list[Region] = field(default_factory=list[Region])
    descriptions: list[Description] = field(default_factory=list[Description])
    merged: dict[str, str] = field(default_factory=dict[str, str])


def recursive_annotate(
    image: Image, picture: PILImage.Image, proposers: Sequence[RegionProposer], vlm: VisionLM, params: Params
) -> Annotated:
    """Lines 1 to 5, up to d^(0). Line 3, the question-answer pairs, is ouro.annotate.synthesize: no recursion there."""
    run = _Run(picture, proposers, vlm, params)
    whole = root(image, picture.size)
    told = _recursive_describe(run, whole)
    described = whole.region.region_id in run.merged
    return Annotated(run.regions, run.descriptions, plain(told[0].marked) if described else "", run.merged)


def _recursive_describe(run: _Run, node: Node) -> list[_Told]:
    """Lines 6 to 18: the region with its merged description; if the model said nothing about it, those below it."""
    region = node.region
    run.regions.append(region)
    said, _ = describe_shard(  # 7: d <- VLM(r)
        [region], {region.image_id: run.picture}, run.vlm, run.params.describe, seed=run.params.seed
    )
    run.descriptions.extend(said)
    below: list[_Told] = []
    for child in _sub_regions(run, node):  # 8: R <- RPN(r); 11: for each r_i in R
        below += _recursive_describe(run, child)  # 12, 13: D <- D + RecursiveDescribe(r_i, t + 1)
    if not said:
        return below
    own, _ = with_reading(" ".join(said[0].text.split()), region)
    placed = [(told.marked, relative_position(told.box, region.box)) for told in below]
    marked = merge_text(Piece(own, region.region_id), placed)  # 15: d <- Merge(d, D)
    run.merged[region.region_id] = plain(marked)
    return [_Told(region.box, marked)]  # 17


def _sub_regions(run: _Run, node: Node) -> list[Node]:
    """Line 8: the regions kept in this one, in reading order; none below the deepest level."""
    if node.region.level == run.params.propose.max_depth:
        return []
    return divide(node, list(_search(run, node)), run.params.propose).children


def _search(run: _Run, node: Node) -> Iterator[Proposal]:
    """What each proposer finds in the region's own pixels, in pixels of the image."""
    left, top, right, bottom = map(int, node.region.box)
    for proposer in run.proposers:
        if is_shown(proposer.name, node):
            [found] = proposer.propose([run.picture.crop((left, top, right, bottom))])
            yield from (in_full_image(p, node.region.box) for p in found)
