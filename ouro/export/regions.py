"""The regions of an exported image for formats that show them to people: box, kind, name, description.

Texts are those that the conversations hold: a region whose description was rejected is not among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ouro.core.records import Box, Image, Region
from ouro.export.writers import ExportItem

VIEWER_CONTENTS = ("description", "regions")


class ShownRegion(NamedTuple):
    """A region but the whole image. `box`: xyxy, pixels, the part of it that lies within the image; `name`: the noun of
    what the annotator calls its main object, or its kind; `text`: its description."""

    region: Region
    box: Box
    name: str
    text: str


def get_caption(item: ExportItem) -> str:
    """The description of the whole image; "" where it is not among the contents or was rejected."""
    return next((c.turns[0].answer for c in item.conversations if c.channel == "description"), "")


def list_regions(item: ExportItem) -> list[ShownRegion]:
    """The regions of the conversation "regions", whose turns are in the order of the regions."""
    conversation = next((c for c in item.conversations if c.channel == "regions"), None)
    if conversation is None:
        return []
    turns = list(zip(conversation.boxes, (turn.answer for turn in conversation.turns), strict=True))
    shown: list[ShownRegion] = []
    for region in item.about.regions:
        if region.parent_id is not None and turns and turns[0][0] == region.box:
            _, text = turns.pop(0)
            shown.append(ShownRegion(region, _clip(region.box, item.about.image), _name(region, item.names), text))
    return shown


def _clip(box: Box, image: Image) -> Box:
    x0, y0, x1, y1 = box
    return max(0.0, x0), max(0.0, y0), min(float(image.width), x1), min(float(image.height), y1)


def _name(region: Region, names: Mapping[str, str]) -> str:
    from ouro.annotate.english.free_text import read_name

    phrase = read_name(names.get(region.region_id, ""))
    return phrase.noun if phrase and phrase.noun else region.kind
