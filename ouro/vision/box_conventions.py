r"""What the numbers of a box in a reply mean, and which box of the picture that is.

Some forms name their convention: those of `ouro.vision.boxes`, <box>..</box> and <|det|>[[..]]<|/det|> (thousandths),
{<15><30><40><60>} (MiniGPT-v2, percent), [15%, 30%, 40%, 60%], numbers up to 1 with a decimal point (fractions). Four
bare numbers, `[a, b, c, d]`, `(a, b), (c, d)`, {"bbox_2d": [..]}, x1=.., do not: the same ones are thousandths for
Qwen2-VL, Qwen3-VL and InternVL, and for Qwen2.5-VL pixels of the picture as it was resized. So their convention is
named, as a protocol or by the family of the model that is asked; it is never told from their magnitude.

What a convention does not have is no box: another form, thousandths above 1000, pixels beyond the picture, four numbers
scattered over a text. Boxes are clipped to the picture and swapped corners put in order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

if TYPE_CHECKING:
    from ouro.core.records import Box

Convention = Literal[
    "thousandths", "fractions", "square-fractions", "pixels", "qwen2.5-vl", "percent", "of 1024", "of 1000 bins"
]
Numbers = tuple[float, ...]
Size = tuple[int, int]  # width and height, pixels
NAMED: tuple[Convention, ...] = (  # as protocols
    "thousandths", "fractions", "square-fractions", "pixels", "qwen2.5-vl", "percent",
)  # fmt: skip
BARE, NONE = "bare numbers", "no box"
_SCALES: Mapping[str, float] = MappingProxyType(
    {"thousandths": 1000.0, "fractions": 1.0, "square-fractions": 1.0, "percent": 100.0, "of 1024": 1024.0,
     "of 1000 bins": 1000.0}
)  # fmt: skip
_FRACTIONS = 1.5  # a box may stick out of the picture
_BEYOND = 1.1
_FAMILIES: tuple[tuple[str, Convention], ...] = (
    ("qwen25vl", "qwen2.5-vl"), ("qwen2vl", "thousandths"), ("qwen3vl", "thousandths"), ("qwen35", "thousandths"),
    ("internvl", "thousandths"), ("cogvlm", "thousandths"), ("glm4v", "thousandths"), ("glm41v", "thousandths"),
    ("deepseekvl", "thousandths"), ("llavanext", "fractions"), ("llavaonevision", "fractions"),
    ("llavav16", "fractions"), ("llava", "square-fractions"), ("shikra", "fractions"),
)  # fmt: skip

# Possessive throughout: a reply of a million digits is read in one pass.
_NUMBER = r"([-+]?+(?:\d++(?:\.\d++)?+|\.\d++)(?:[eE][-+]?+\d++)?+)"
_BETWEEN = r"(?:\s*+[,;]\s*+|\s++)"
_PAIR = rf"\(\s*+{_NUMBER}{_BETWEEN}{_NUMBER}\s*+\)"
_PAIRS = re.compile(rf"{_PAIR}\s*+,?+\s*+{_PAIR}")
BRACKETED = re.compile(rf"[\[(]\s*+{_BETWEEN.join([_NUMBER] * 4)}\s*+[\])]")
_ALONE = re.compile(rf"\s*+{_BETWEEN.join([_NUMBER] * 4)}\s*+\.?+\s*+")
_PERCENT = re.compile(r"(?<![\d.])" + _BETWEEN.join([rf"{_NUMBER}\s*+%"] * 4))
_THOUSANDTHS = re.compile(r"<\|box_start\|>|<box>|<\|det\|>")
_LOC_1024 = re.compile(r"<loc(\d{4})>" * 4)
_LOC_1000 = re.compile(r"<loc_(\d{1,3})>" * 4)
_BINS = re.compile(r"\{\s*+" + r"\s*+".join([r"<(\d{1,3})>"] * 4) + r"\s*+\}")
_SIDES = ("x1|x_?min|left", "y1|y_?min|top", "x2|x_?max|right", "y2|y_?max|bottom")
_LABELLED = [re.compile(rf"(?<![a-z0-9])(?:{names})[\"']?+\s*+[=:]\s*+{_NUMBER}(\s*+%)?+", re.I) for names in _SIDES]


class Reading(NamedTuple):
    """What a reply's first box is written as: the convention that its form names, BARE, or NONE; x1, y1, x2, y2."""

    form: str
    numbers: Numbers = ()


def convention_of(family: str) -> Convention | None:
    """How a family of models writes bare numbers, by its model_type or name; None for one that is not known."""
    plain = re.sub(r"[^a-z0-9]", "", family.lower())
    return next((convention for name, convention in _FAMILIES if name in plain), None)


def read_box(reply: str) -> Reading:
    """The first box of a reply as it stands there."""
    for pattern, form, order in ((_LOC_1024, "of 1024", (1, 0, 3, 2)), (_LOC_1000, "of 1000 bins", (0, 1, 2, 3)),
                                 (_BINS, "percent", (0, 1, 2, 3)), (_PERCENT, "percent", (0, 1, 2, 3))):  # fmt: skip
        match = pattern.search(reply)
        if match:
            found = floats(match.groups())
            return Reading(form, tuple(found[i] for i in order))
    marked = _THOUSANDTHS.search(reply)
    numbers, text = _four(reply, marked.end() if marked else 0)
    if not numbers:
        return _labelled(reply)
    if marked:
        return Reading("thousandths", numbers)
    fractions = "." in text and all(abs(number) <= 1 for number in numbers)
    return Reading("fractions" if fractions else BARE, numbers)


def _four(reply: str, start: int) -> tuple[Numbers, str]:
    """The first four numbers in brackets or in two pairs, or that are all there is; and how they are written."""
    found = [match for pattern in (BRACKETED, _PAIRS) if (match := pattern.search(reply, start))]
    match = min(found, key=lambda one: one.start()) if found else _ALONE.fullmatch(reply, start)
    return (floats(match.groups()), match[0]) if match else ((), "")


def _labelled(reply: str) -> Reading:
    """x1=156, y1=.., x2=.., y2=..; also xmin or left, as text or JSON."""
    matches = [pattern.search(reply) for pattern in _LABELLED]
    if not all(matches):
        return Reading(NONE)
    found = [match for match in matches if match]
    numbers = floats(match[1] for match in found)
    if any(match[2] for match in found):
        return Reading("percent" if all(match[2] for match in found) else NONE, numbers)
    fractions = any("." in match[1] for match in found) and all(abs(number) <= 1 for number in numbers)
    return Reading("fractions" if fractions else BARE, numbers)


def floats(texts: Iterable[str]) -> Numbers:
    return tuple(map(float, texts))


def named_by(readings: Iterable[Reading]) -> list[Convention]:
    """The conventions that the replies of a run name by their form."""
    forms = {reading.form for reading in readings} - {BARE, NONE}
    return cast("list[Convention]", sorted(forms))


def place_box(reading: Reading, convention: Convention | None, size: Size, shown: Size | None = None) -> Box | None:
    """A box in pixels of a picture of `size` (width, height), xyxy; None where it is not one of the convention.

    convention: of the run; None where each reply is taken by its form. `shown`: the size at which Qwen2.5-VL saw the
    picture, by default what its processor makes of it. Raises ValueError for a picture without an area.
    """
    chosen = _chosen(reading, convention)
    if chosen is None:
        _check_area(size)
        return None
    frame = frame_of(chosen, size, shown)
    if any(abs(n) > frame.limit * whole for n, whole in zip(reading.numbers, frame.whole * 2, strict=True)):
        return None
    middle = 0.5 if chosen == "of 1000 bins" else 0.0
    x1, y1, x2, y2 = (
        min(max((n + middle) / whole * extent - offset, 0.0), float(side))
        for n, whole, extent, offset, side in zip(
            reading.numbers, frame.whole * 2, frame.extent * 2, frame.offset * 2, size * 2, strict=True
        )
    )
    return (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


def _chosen(reading: Reading, convention: Convention | None) -> Convention | None:
    """The convention that a reading is taken by; None where it has none, or another than its run's."""
    form = reading.form
    if form == NONE or not all(map(math.isfinite, reading.numbers)):
        return None
    chosen = convention or (None if form == BARE else cast("Convention", form))
    bare = (BARE, "fractions") if chosen == "square-fractions" else (BARE,)
    return chosen if form == chosen or form in bare else None


class Frame(NamedTuple):
    """How numbers are placed: `whole` is the number of the far end and `extent` the pixels up to it, of which the first
    `offset` lie before the picture; numbers above `limit` times `whole` are none. All: horizontal, vertical."""

    whole: tuple[float, float]
    extent: tuple[float, float]
    offset: tuple[float, float] = (0.0, 0.0)
    limit: float = 1.0


def frame_of(convention: Convention, size: Size, shown: Size | None) -> Frame:
    """Raises ValueError for a picture without an area."""
    width, height = _check_area(size)
    if convention in ("pixels", "qwen2.5-vl"):
        wide, high = (shown or resized(size)) if convention == "qwen2.5-vl" else size
        return Frame((float(wide), float(high)), (width, height), limit=_BEYOND)
    scale = _SCALES[convention]
    limit = _FRACTIONS if "fractions" in convention else 1.0
    if convention == "square-fractions":
        side = max(width, height)
        return Frame((scale, scale), (side, side), ((side - width) / 2, (side - height) / 2), limit)
    return Frame((scale, scale), (width, height), limit=limit)


def _check_area(size: Size) -> tuple[float, float]:
    width, height = size
    if width <= 0 or height <= 0:
        raise ValueError(f"boxes: got a picture of {width} x {height}, expected a positive size")
    return float(width), float(height)


def resized(
    size: tuple[int, int], max_pixels: int = 12_845_056, min_pixels: int = 3_136, multiple: int = 28
) -> tuple[int, int]:
    """Width and height that Qwen2.5-VL's processor makes of a picture (smart_resize, with its own bounds)."""
    width, height = size
    sides = [max(multiple, round(side / multiple) * multiple) for side in (width, height)]
    if sides[0] * sides[1] > max_pixels:
        factor = math.sqrt(width * height / max_pixels)
        sides = [max(multiple, math.floor(side / factor / multiple) * multiple) for side in (width, height)]
    elif sides[0] * sides[1] < min_pixels:
        factor = math.sqrt(min_pixels / (width * height))
        sides = [math.ceil(side * factor / multiple) * multiple for side in (width, height)]
    return sides[0], sides[1]
