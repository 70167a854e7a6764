"""Trees of described regions as records: those of tests/data/realtext, the scenes to match, and small ones by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ouro.annotate.cleaning import plain_text
from ouro.core.records import Box, Description, Match, Region

DATA = Path(__file__).resolve().parent.parent / "data"
SIZE: Box = (0.0, 0.0, 1000.0, 800.0)


class Tree(NamedTuple):
    """One image: its records, and the labels of its regions by region id."""

    regions: list[Region]
    descriptions: list[Description]
    labels: dict[str, dict[str, Any]]
    conflicts: list[dict[str, Any]]

    @property
    def texts(self) -> dict[str, str]:
        return {d.region_id: d.text for d in self.descriptions}


def realtext_trees() -> dict[str, Tree]:
    """The ten cases, cleaned as describe cleans them, by name."""
    return {
        path.stem: _case(json.loads(path.read_text("utf-8"))) for path in sorted((DATA / "realtext/cases").glob("*"))
    }


def _case(case: dict[str, Any]) -> Tree:
    image = case["name"]
    regions, descriptions = [], []
    for r in case["regions"]:
        region_id, parent = f"{image}/{r['path']}", r["path"].rpartition(".")[0]
        above = f"{image}/{parent}" if parent else None
        box = _box(r["box"])
        regions.append(Region(region_id, image, above, r["path"].count("."), box, 1.0, "rpn", r["ocr"], r["kind"]))
        descriptions.append(Description(region_id, image, plain_text(r["reply"]), "a", name=r["name"]))
    labels = {region.region_id: r for region, r in zip(regions, case["regions"], strict=True)}
    return Tree(regions, descriptions, labels, case["conflicts"])


def _box(values: Sequence[float]) -> Box:
    x0, y0, x1, y1 = map(float, values)
    return x0, y0, x1, y1


def scenes_to_match() -> dict[str, Tree]:
    """Scenes of tests/data/scenes_to_match.json: a text, its children, and which phrase each is ("match")."""
    scenes = json.loads((DATA / "scenes_to_match.json").read_text("utf-8"))
    trees: dict[str, Tree] = {}
    for scene in scenes:
        kids = [(c["name"], _box(c["box"]), c["text"]) for c in scene["children"]]
        tree = tree_of(scene["text"], kids, scene["name"])
        trees[scene["name"]] = tree._replace(labels=dict(zip(list(tree.texts)[1:], scene["children"], strict=True)))
    return trees


def tree_of(text: str, children: Sequence[tuple[str, Box, str]], image: str = "i") -> Tree:
    """A whole picture of 1000 x 800 with children (name, box, text), whose ids are "i/0.0", "i/0.1", ..."""
    regions = [Region(f"{image}/0", image, None, 0, SIZE, 1.0, "image", kind="scene")]
    descriptions = [Description(f"{image}/0", image, plain_text(text), "a")]
    for at, (name, box, reply) in enumerate(children):
        region_id = f"{image}/0.{at}"
        regions.append(Region(region_id, image, f"{image}/0", 1, box, 1.0, "rpn"))
        descriptions.append(Description(region_id, image, plain_text(reply), "a", name=name))
    return Tree(regions, descriptions, {}, [])


def overlaps(match: Match, text: str, phrase: str | None) -> bool:
    """Whether a match has characters of a phrase of the text, wherever that stands; False without a phrase."""
    at = text.find(phrase) if phrase else -1
    while at >= 0:
        if at < match.end and match.start < at + len(phrase or ""):
            return True
        at = text.find(phrase or "", at + 1)
    return False
