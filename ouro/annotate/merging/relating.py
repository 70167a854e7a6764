"""What the descriptions of an image have to do with each other: matches, conflicts, and which values stand.

Text that OCR read stands once first. A shard's images are related together, so that whatever is asked of the annotator
("asked" matches, conflicts settled by "look") is one batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from ouro.annotate.marks import find_marks
from ouro.annotate.merging.asked import ask_matches
from ouro.annotate.merging.conflicts import find_conflicts, settle_by_rules
from ouro.annotate.merging.inscriptions import with_reading
from ouro.annotate.merging.match import match_regions
from ouro.annotate.merging.settle import look
from ouro.annotate.merging.settled import apply_settled
from ouro.annotate.merging.tree import Tree, build_tree
from ouro.annotate.naming import clean_name
from ouro.core.records import Conflict, Decision, Description, Match, Region
from ouro.vision.protocols import Scoring

if TYPE_CHECKING:
    from PIL import Image as PILImage

    from ouro.core.params import Merge
    from ouro.vision.protocols import VisionLM


class Related(NamedTuple):
    """One image's tree, in which what lost a conflict is exchanged; its matches and conflicts as they were found in
    what was said; and what was left out."""

    tree: Tree
    matches: list[Match]
    conflicts: list[Conflict]
    decisions: list[Decision]


class ImageInputs(NamedTuple):
    """One image's regions and descriptions, in which text stands once, with their marks; and what was left out."""

    regions: Sequence[Region]
    descriptions: list[Description]
    decisions: list[Decision]


def relate(
    images: Sequence[tuple[Sequence[Region], Sequence[Description]]],
    params: Merge,
    vlm: VisionLM | None = None,
    pictures: Mapping[str, PILImage.Image] | None = None,
) -> list[Related]:
    """The images of a shard, each given as its regions and descriptions. Raises ValueError where `params` need the
    annotator and there is none, and ScoringUnavailable where it gives no probabilities."""
    inputs = [_read_inputs(regions, descriptions) for regions, descriptions in images]
    matches = _match(inputs, params, vlm)
    conflicts = [
        find_conflicts(s.regions, s.descriptions, image_matches)
        for s, image_matches in zip(inputs, matches, strict=True)
    ]
    settled = _settle(inputs, matches, conflicts, params, vlm, pictures)
    return [_relate_image(*one) for one in zip(inputs, matches, settled, strict=True)]


def _read_inputs(regions: Sequence[Region], descriptions: Sequence[Description]) -> ImageInputs:
    by_id = {region.region_id: region for region in regions}
    inputs = ImageInputs(regions, [], [])
    for description in descriptions:
        region = by_id[description.region_id]
        text, dropped = with_reading(" ".join(description.text.split()), region)
        marks = description.marks if text == description.text else ()
        name = clean_name(description.name, expected=text).text  # of whatever made it: it is matched and written
        inputs.descriptions.append(_add_marks(replace(description, text=text, name=name, marks=marks), region))
        inputs.decisions.extend(dropped)
    return inputs


def _add_marks(description: Description, region: Region) -> Description:
    if description.marks:
        return description
    return replace(description, marks=find_marks(description.text, region.parent_id is None))


def _match(inputs: Sequence[ImageInputs], params: Merge, vlm: VisionLM | None) -> list[list[Match]]:
    """By words, and by asking where words give nothing."""
    matches = [match_regions(s.regions, s.descriptions) for s in inputs]
    if params.matcher == "lexical" or not inputs:
        return matches
    regions = list(chain.from_iterable(s.regions for s in inputs))
    descriptions = list(chain.from_iterable(s.descriptions for s in inputs))
    more = ask_matches(regions, descriptions, list(chain.from_iterable(matches)), _scoring(vlm, "matcher asked"))
    images = [{region.region_id for region in s.regions} for s in inputs]
    return [
        [*image_matches, *(m for m in more if m.region_id in ids)]
        for image_matches, ids in zip(matches, images, strict=True)
    ]


def _settle(
    inputs: Sequence[ImageInputs],
    matches: Sequence[list[Match]],
    conflicts: list[list[Conflict]],
    params: Merge,
    vlm: VisionLM | None,
    pictures: Mapping[str, PILImage.Image] | None,
) -> list[list[Conflict]]:
    """As `merge.settle` says."""
    if params.settle == "rules":
        every = zip(inputs, matches, conflicts, strict=True)
        return [
            settle_by_rules(image_conflicts, s.regions, s.descriptions, image_matches)
            for s, image_matches, image_conflicts in every
        ]
    if params.settle == "none" or not any(conflicts):
        return conflicts
    if pictures is None:
        raise ValueError("merge.settle look: got no pictures; expected those of the shard, or merge.settle: rules")
    regions = chain.from_iterable(s.regions for s in inputs)
    scoring = _scoring(vlm, "settle look")
    every = list(chain.from_iterable(conflicts))
    settled = iter(look(every, regions, pictures, scoring, params.settle_margin, params.settle_max_pixels))
    return [[next(settled) for _ in image_conflicts] for image_conflicts in conflicts]


def _scoring(vlm: VisionLM | None, knob: str) -> Scoring:
    """The annotator as one that gives probabilities."""
    if not isinstance(vlm, Scoring):
        got = "no annotator" if vlm is None else f"{type(vlm).__name__}, which gives no probabilities"
        raise ValueError(f"merge.{knob}: got {got}; expected one that does. Fix: merge.matcher lexical, settle rules")
    return vlm


def _relate_image(image: ImageInputs, matches: list[Match], conflicts: list[Conflict]) -> Related:
    settled = apply_settled(image.descriptions, matches, conflicts)
    by_id = {region.region_id: region for region in image.regions}
    marked = [_add_marks(d, by_id[d.region_id]) for d in settled.descriptions]
    tree = build_tree(image.regions, marked, settled.matches, conflicts)
    return Related(tree, matches, conflicts, [*image.decisions, *settled.decisions])
