"""What the descriptions of one image have to do with each other: matches, conflicts, and which values stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ouro.annotate.marks import find_marks
from ouro.annotate.merging.conflicts import find_conflicts
from ouro.annotate.merging.inscriptions import with_reading
from ouro.annotate.merging.match import match_regions
from ouro.annotate.merging.settled import with_settled
from ouro.annotate.merging.tree import Tree, build_tree
from ouro.core.records import Conflict, Decision, Description, Match, Region


class Related(NamedTuple):
    """One image's regions and descriptions with their marks, matches and conflicts, before anything is settled."""

    regions: list[Region]
    descriptions: list[Description]
    matches: list[Match]
    conflicts: list[Conflict]
    decisions: list[Decision]


def relate(regions: Sequence[Region], descriptions: Sequence[Description]) -> Related:
    """Matches and conflicts of one image's descriptions, in which text that OCR read stands once."""
    by_id = {region.region_id: region for region in regions}
    said: list[Description] = []
    decisions: list[Decision] = []
    for description in descriptions:
        text, dropped = with_reading(" ".join(description.text.split()), by_id[description.region_id])
        said.append(_marked(replace(description, text=text), by_id, changed=text != description.text))
        decisions += dropped
    matches = match_regions(regions, said)
    return Related(list(regions), said, matches, find_conflicts(regions, said, matches), decisions)


def settled_tree(related: Related, conflicts: Sequence[Conflict]) -> tuple[Tree, list[Decision]]:
    """The tree with what stands in place of what lost, and what that changed. `conflicts`: as they were settled."""
    settled = with_settled(related.descriptions, related.matches, conflicts)
    by_id = {region.region_id: region for region in related.regions}
    marked = [
        _marked(new, by_id, changed=new is not old)
        for new, old in zip(settled.descriptions, related.descriptions, strict=True)
    ]
    return build_tree(related.regions, marked, settled.matches, conflicts), settled.decisions


def _marked(description: Description, regions: dict[str, Region], *, changed: bool) -> Description:
    """With its marks, found anew where its text was changed or nobody found them."""
    if description.marks and not changed:
        return description
    whole = regions[description.region_id].parent_id is None
    return replace(description, marks=find_marks(description.text, whole))
