"""The merged description's other form: the hierarchy of regions, each with its own unmerged description, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ouro.core.boxes import relative_position
from ouro.core.records import Region

Children = Mapping[str | None, Sequence[Region]]


def tree_json(root: Region, children: Children, said: Mapping[str, str]) -> str:
    """{"region_id", "kind", "box", "position" (in the parent; null of the root), "description", "children"}.

    Compact, keys sorted. A region that was not described has the description "".
    """
    return json.dumps(_node(root, None, children, said), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _node(region: Region, parent: Region | None, children: Children, said: Mapping[str, str]) -> dict[str, Any]:
    return {
        "region_id": region.region_id,
        "kind": region.kind,
        "box": list(region.box),
        "position": relative_position(region.box, parent.box) if parent else None,
        "description": said.get(region.region_id, ""),
        "children": [_node(child, region, children, said) for child in children.get(region.region_id, ())],
    }
