"""Trees of described regions in a few lines, for tests of merging: region "0" is the whole, "0.1" its second part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ouro.annotate.marks import find_marks
from ouro.annotate.merging.tree import Tree, build_tree
from ouro.core.records import Box, Conflict, Description, Image, Match, Region

IMAGE = Image("i", "i.png", 90, 90, "s")
PLACES: Mapping[str, Box] = {
    f"{row} {column}".strip() or "center": (30.0 * x, 30.0 * y, 30.0 * x + 30, 30.0 * y + 30)
    for y, row in enumerate(("top", "", "bottom"))
    for x, column in enumerate(("left", "", "right"))
}


class Said(NamedTuple):
    """A region: where it lies in the picture, its description, its name, the phrase of its parent's that means it
    ("" none), how ("same", "among", "part"), and what OCR read."""

    place: str
    text: str
    name: str = ""
    match: str = ""
    how: str = "same"
    ocr: str = ""


def tree_of(parts: Mapping[str, Said], conflicts: tuple[Conflict, ...] = ()) -> Tree:
    """The tree, with the matches that `parts` gives."""
    regions, descriptions = records_of(parts)
    texts = {d.region_id: d.text for d in descriptions}
    matches: list[Match] = []
    for path, region in parts.items():
        if region.match:
            parent = path.rsplit(".", 1)[0]
            at = texts[parent].index(region.match)
            matches.append(Match(path, parent, at, at + len(region.match), region.how, "label", 1.0))
    return build_tree(regions, descriptions, matches, conflicts)


def records_of(parts: Mapping[str, Said]) -> tuple[list[Region], list[Description]]:
    """Regions and descriptions in the order given."""
    regions: list[Region] = []
    descriptions: list[Description] = []
    for path, region in parts.items():
        whole = path == "0"
        box: Box = (0.0, 0.0, 90.0, 90.0) if whole else PLACES[region.place]
        parent = None if whole else path.rsplit(".", 1)[0]
        kind = "scene" if whole else "text" if region.ocr else "object"
        regions.append(Region(path, "i", parent, path.count("."), box, 0.95, "rpn", region.ocr, kind))
        marks = find_marks(region.text, whole)
        descriptions.append(Description(path, "i", region.text, "v", name=region.name, marks=marks))
    return regions, descriptions
