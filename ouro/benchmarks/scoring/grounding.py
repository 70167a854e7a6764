"""Recall at IoU 0.5: RefCOCO, RefCOCO+, RefCOCOg.

A reply is right if its first box overlaps the true one with IoU >= 0.5 (lmms-eval, VLMEvalKit, Qwen-VL, InternVL; ASMv2
and the first papers write > 0.5). Source of the reading: `RefCOCODataset` of VLMEvalKit (`vlmeval/dataset/refcoco.py`).

A reply is read as the first of these that it holds:
 1. `<|box_start|>(x1,y1),(x2,y2)<|box_end|>` (Qwen2-VL): thousandths of the picture, whatever their magnitude;
 2. four numbers in square brackets, separated by commas or spaces;
 3. its first four numbers.
In 2 and 3 the largest magnitude decides: up to 1.5 they are fractions of the picture, up to 1000 thousandths, above
that pixels. So a box in pixels is misread in a picture of at most 1000 pixels: ask for one of the other scales.
Boxes are clipped to the picture and swapped corners put in order. `nan` and `inf` are no numbers.

Deviation: form 1, which VLMEvalKit reads by 3. There a number in the text before it counts as a coordinate, and a box
within the first thousandths as fractions.
Others: lmms-eval reads `[a, b, c, d]` of fractions only, and a reply without one as a box of no size; Qwen-VL and ASMv2
divide by 999, InternVL by 1000.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from ouro.core import boxes

if TYPE_CHECKING:
    from ouro.core.records import Box

_THOUSAND = 1000.0
_FRACTIONS = 1.5
# Possessive throughout: a reply of a million digits is read in one pass.
_NUMBER = r"([-+]?+(?:\d++(?:\.\d++)?+|\.\d++)(?:[eE][-+]?+\d++)?+)"
_BETWEEN = r"(?:\s*+,\s*+|\s++)"
_FOUR = _BETWEEN.join([_NUMBER] * 4)
_QWEN = re.compile(
    rf"<\|box_start\|>\s*+\(\s*+{_NUMBER}\s*+,\s*+{_NUMBER}\s*+\)\s*+,\s*+\(\s*+{_NUMBER}\s*+,\s*+{_NUMBER}\s*+\)"
)
_BRACKETED = re.compile(rf"\[\s*+{_FOUR}\s*+\]")
_ANYWHERE = re.compile(_NUMBER)


def parse_box(reply: str, size: tuple[int, int]) -> Box | None:
    """The box of a reply in pixels of a picture of `size` (width, height), xyxy; None if the reply holds none.

    Raises ValueError for a picture without an area.
    """
    width, height = size
    if width <= 0 or height <= 0:
        raise ValueError(f"grounding: got a picture of {width} x {height}, expected a positive size")
    numbers, scale = _coordinates(reply)
    if len(numbers) < 4:
        return None
    x1, y1, x2, y2 = (
        min(max(number if scale is None else number / scale * side, 0.0), float(side))
        for number, side in zip(numbers, (width, height) * 2, strict=True)
    )
    return (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


def _coordinates(reply: str) -> tuple[list[float], float | None]:
    """Up to four numbers, and what they are to be divided by to be fractions of the picture (None: they are pixels)."""
    qwen = _QWEN.search(reply)
    if qwen:
        return [float(number) for number in qwen.groups()], _THOUSAND
    bracketed = _BRACKETED.search(reply)
    matches = bracketed.groups() if bracketed else (match[0] for match in islice(_ANYWHERE.finditer(reply), 4))
    numbers = [float(number) for number in matches]
    largest = max(map(abs, numbers), default=0.0)
    return numbers, 1.0 if largest <= _FRACTIONS else _THOUSAND if largest <= _THOUSAND else None


def hit(box: Box | None, truth: Box, iou: float = 0.5) -> bool:
    """Whether a box was given that overlaps the true one with at least this IoU; one without area never."""
    return box is not None and boxes.iou(box, truth) >= iou
