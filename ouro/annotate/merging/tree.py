"""The described regions of one image as a tree, as matching, composing and guarding see them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ouro.core.boxes import relative_position
from ouro.core.records import Conflict, Description, Match, Region


class Tree(NamedTuple):
    """Regions (parents first, siblings in reading order) and their descriptions by id; matches by the id of the
    matched region. A region without a description is not shown: those below it take its place."""

    regions: dict[str, Region]
    descriptions: dict[str, Description]
    below: dict[str, list[str]]  # region -> the described regions directly below it
    matches: dict[str, list[Match]]
    conflicts: tuple[Conflict, ...] = ()

    def children(self, region_id: str) -> list[Region]:
        return [self.regions[child] for child in self.below.get(region_id, ())]

    def subtree(self, region_id: str) -> Iterator[Region]:
        """The region and all described ones below it, parents first."""
        stack = [region_id]
        while stack:
            current = stack.pop()
            yield self.regions[current]
            stack += reversed(self.below.get(current, ()))

    def match_in(self, region_id: str, ancestors: Sequence[str]) -> Match | None:
        """Where the nearest of its ancestors (nearest last) names the region's object."""
        by_parent = {match.parent_id: match for match in self.matches.get(region_id, ())}
        return next((by_parent[a] for a in reversed(ancestors) if a in by_parent), None)


def build_tree(
    regions: Sequence[Region],
    descriptions: Sequence[Description],
    matches: Sequence[Match] = (),
    conflicts: Sequence[Conflict] = (),
) -> Tree:
    """The tree of one image's regions."""
    described = {d.region_id: d for d in descriptions}
    parents = {r.region_id: r.parent_id for r in regions}
    below: dict[str, list[str]] = defaultdict(list)
    for region in regions:
        parent = region.parent_id
        while parent is not None and parent not in described:
            parent = parents.get(parent)
        if parent is not None and region.region_id in described:
            below[parent].append(region.region_id)
    by_region: dict[str, list[Match]] = defaultdict(list)
    for match in matches:
        by_region[match.region_id].append(match)
    return Tree({r.region_id: r for r in regions}, described, below, by_region, tuple(conflicts))


def tree_json(root: Region, regions: Sequence[Region], descriptions: Sequence[Description]) -> str:
    """{"region_id", "kind", "box", "position" (in the parent; null of the root), "description", "children"}.

    Compact, keys sorted. A region that was not described has the description "".
    """
    texts = {d.region_id: " ".join(d.text.split()) for d in descriptions}
    children: dict[str | None, list[Region]] = defaultdict(list)
    for region in regions:
        children[region.parent_id].append(region)

    def node(region: Region, parent: Region | None) -> dict[str, Any]:
        return {
            "region_id": region.region_id,
            "kind": region.kind,
            "box": list(region.box),
            "position": relative_position(region.box, parent.box) if parent else None,
            "description": texts.get(region.region_id, ""),
            "children": [node(child, region) for child in children.get(region.region_id, ())],
        }

    return json.dumps(node(root, None), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
