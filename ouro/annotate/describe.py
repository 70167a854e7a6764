"""Describe (eq. 3): d_i = VLM(r_i) for every region of a shard, as one flat batch.

Proposals never depend on descriptions, so Algorithm 1's recursion need not wait for the model: the whole tree
is proposed first and every region of a shard is described in one wave. Same result, many times faster.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from PIL import Image as PILImage

from ouro.params import Describe
from ouro.records import Box, Description, Region, Rejected
from ouro.vision.protocols import Request, VisionLM


def crop(picture: PILImage.Image, box: Box, context: float) -> PILImage.Image:
    """A region's original pixels with `context` (a share of its sides) around it, clipped to the picture."""
    x0, y0, x1, y1 = box
    dx, dy = (x1 - x0) * context, (y1 - y0) * context
    left, top = max(0, round(x0 - dx)), max(0, round(y0 - dy))
    right, bottom = min(picture.width, round(x1 + dx)), min(picture.height, round(y1 + dy))
    return picture.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


def describe_shard(
    regions: Sequence[Region],
    pictures: Mapping[str, PILImage.Image],
    vlm: VisionLM,
    params: Describe,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Description], list[Rejected]]:
    """One Description a region; a region the model says nothing about is rejected ("empty_reply").

    A region found by OCR carries its text: 'a sign' becomes 'a sign that says milk'.
    """
    requests = [_request(r, pictures[r.image_id], params) for r in regions]
    replies = vlm.generate(requests, max_new_tokens=params.max_new_tokens, progress=progress)
    kept: list[Description] = []
    rejected: list[Rejected] = []
    for region, reply in zip(regions, replies, strict=True):
        text = with_text(_one_line(reply), region.text)
        if text:
            kept.append(Description(region.region_id, region.image_id, text, vlm.fingerprint[:16]))
        else:
            rejected.append(Rejected("describe", region.region_id, "empty_reply", repr(reply)[:200]))
    return kept, rejected


def _request(region: Region, picture: PILImage.Image, params: Describe) -> Request:
    if region.parent_id is None:
        return Request((picture,), params.prompt, (params.max_pixels,))
    return Request((crop(picture, region.box, params.context),), params.prompt, (params.region_max_pixels,))


def _one_line(reply: str) -> str:
    return " ".join(reply.split())


def with_text(description: str, text: str) -> str:
    """A description with the text that OCR read in its region, unless it has it already, as whole words."""
    text = _one_line(text)
    if not text or re.search(rf"(?<!\w){re.escape(text)}(?!\w)", description, re.IGNORECASE):
        return description
    said = description.rstrip(" .")
    return f"{said} that says {text}" if said else f"text that says {text}"
