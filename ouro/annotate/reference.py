"""Algorithm 1 as the paper prints it (OURO section 3.1): region by region, one call of each model a region.

The product does not run this. ouro.annotate.{recurse, describe, merge} do the same in batches over a shard; this is
the reference that they are compared with (tests/test_literal.py: the same result; perf/throughput.py: the speed-up).
Only what decides about one region is shared with them: which proposals become children, how a region is asked about,
how its children's descriptions join its own. Line numbers are the paper's.

Ours, where the paper is silent: a candidate inside of another is judged again as that one's part; OCR searches what
`is_shown` says; a region without a description is replaced by those below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ouro.annotate.describe import describe_shard
from ouro.annotate.merge import Template, merge_region
from ouro.annotate.recurse import Node, divide, in_full_image, is_shown, root
from ouro.core.records import Description, Image, Region

if TYPE_CHECKING:
    from PIL import Image as PILImage

    from ouro.core.params import Params
    from ouro.vision.protocols import Proposal, RegionProposer, VisionLM


class Annotated(NamedTuple):
    """One image: its regions, parents first, their descriptions, and d^(0) with the merged text of every region."""

    regions: list[Region]
    descriptions: list[Description]
    text: str
    region_texts: dict[str, str]


@dataclass(frozen=True)
class _Run:
    """The models, and the regions and descriptions so far."""

    image: Image
    picture: PILImage.Image
    proposers: Sequence[RegionProposer]
    vlm: VisionLM
    params: Params
    template: Template | None
    regions: list[Region] = field(default_factory=list[Region])
    descriptions: list[Description] = field(default_factory=list[Description])
    merged: dict[str, str] = field(default_factory=dict[str, str])


def recursive_annotate(
    image: Image,
    picture: PILImage.Image,
    proposers: Sequence[RegionProposer],
    vlm: VisionLM,
    params: Params,
    template: Template | None = None,
) -> Annotated:
    """Lines 1 to 5, up to d^(0). Line 3, the question-answer pairs, is ouro.annotate.synthesize: no recursion there.

    `template`: nano's writer of merged descriptions, for params.merge.writer "template".
    """
    run = _Run(image, picture, proposers, vlm, params, template)
    whole = root(image, picture.size)
    _recursive_describe(run, whole)
    return Annotated(run.regions, run.descriptions, run.merged.get(whole.region.region_id, ""), run.merged)


def _recursive_describe(run: _Run, node: Node) -> None:
    """Lines 6 to 18: describes the region and those below it; its merged description, if the model gave one."""
    region = node.region
    first = len(run.regions)
    run.regions.append(region)
    descriptions, _ = describe_shard(  # 7: d <- VLM(r)
        [region], {region.image_id: run.picture}, run.vlm, run.params.describe, seed=run.params.seed
    )
    run.descriptions.extend(descriptions)
    for child in _sub_regions(run, node):  # 8: R <- RPN(r); 11: for each r_i in R
        _recursive_describe(run, child)  # 12, 13: D <- D + RecursiveDescribe(r_i, t + 1)
    if descriptions:
        below = run.regions[first + 1 :]
        inside = {r.region_id for r in (region, *below)}
        inside_descriptions = [d for d in run.descriptions if d.region_id in inside]
        run.merged[region.region_id] = merge_region(  # 15: d <- Merge(d, D); 17
            run.image, region, below, inside_descriptions, run.params.merge, run.template
        )


def _sub_regions(run: _Run, node: Node) -> list[Node]:
    """Line 8: the sub-regions of this one, in reading order; none below the deepest level."""
    if node.region.level == run.params.propose.max_depth:
        return []
    return divide(node, list(_search(run, node)), run.params.propose).children


def _search(run: _Run, node: Node) -> Iterator[Proposal]:
    """What each proposer finds in the region's own pixels, in pixels of the image."""
    left, top, right, bottom = map(int, node.region.box)
    for proposer in run.proposers:
        if is_shown(proposer.name, node):
            [proposals] = proposer.propose([run.picture.crop((left, top, right, bottom))])
            yield from (in_full_image(p, node.region.box) for p in proposals)
