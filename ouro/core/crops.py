"""Regions cut out of their pictures: what the annotator describes, training learns from and the benchmark shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image as PILImage

    from ouro.core.records import Box


def crop(picture: PILImage.Image, box: Box, context: float) -> PILImage.Image:
    """A region's original pixels with `context` (a share of its sides) around it, clipped to the picture."""
    x0, y0, x1, y1 = box
    dx, dy = (x1 - x0) * context, (y1 - y0) * context
    left, top = max(0, round(x0 - dx)), max(0, round(y0 - dy))
    right, bottom = min(picture.width, round(x1 + dx)), min(picture.height, round(y1 + dy))
    return picture.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
