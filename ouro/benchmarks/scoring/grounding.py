r"""Recall at IoU 0.5: RefCOCO, RefCOCO+, RefCOCOg.

A reply is right if its first box overlaps the true one with IoU >= 0.5 (lmms-eval, VLMEvalKit, Qwen-VL, InternVL; ASMv2
and the first papers write > 0.5).

Models write boxes in conventions of their own. Some name theirs by their form:
    <|box_start|>(x1,y1),(x2,y2)<|box_end|>, <box>..</box>, <|det|>[[..]]<|/det|>   thousandths
    <loc0256><loc0128><loc0768><loc0896> (PaliGemma: y1, x1, y2, x2)                of 1024
    <loc_250><loc_125><loc_750><loc_875> (Florence-2)                               of 1000 bins
    {<15><30><40><60>} (MiniGPT-v2)                                                 percent
    [15%, 30%, 40%, 60%]                                                            percent
    [0.15, 0.3, 0.4, 0.6]: numbers up to 1 with a decimal point                     fractions
Four bare numbers, `[a, b, c, d]`, `(a, b), (c, d)`, {"bbox_2d": [..]}, x1=.., do not: the same ones are thousandths for
Qwen2-VL, Qwen3-VL and InternVL, and for Qwen2.5-VL pixels of the picture as it was resized. So their convention is
named, as the protocol, or by the family of the model that is asked; it is never told from their magnitude. Bare numbers
beside replies that all name one convention are read by that.

What a run's convention does not have is no box: another form, thousandths above 1000, pixels beyond the picture, four
numbers scattered over a text. Boxes are clipped to the picture and swapped corners put in order.

Others: lmms-eval reads `[a, b, c, d]` of fractions only, and a reply without one as a box of no size; VLMEvalKit takes
the first four numbers anywhere and their scale by their magnitude, reply by reply; Qwen-VL and ASMv2 divide by 999,
InternVL by 1000, as here.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from ouro.core import boxes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ouro.core.records import Box

Convention = Literal["thousandths", "fractions", "pixels", "qwen2.5-vl", "percent", "of 1024", "of 1000 bins"]
Numbers = tuple[float, ...]
NAMED: tuple[Convention, ...] = ("thousandths", "fractions", "pixels", "qwen2.5-vl", "percent")  # as protocols
BARE, NONE = "bare numbers", "no box"
_SCALES = {"thousandths": 1000.0, "fractions": 1.0, "percent": 100.0, "of 1024": 1024.0, "of 1000 bins": 1000.0}
_FRACTIONS = 1.5  # a box may stick out of the picture
_BEYOND = 1.1
_FAMILIES: tuple[tuple[str, Convention], ...] = (
    ("qwen25vl", "qwen2.5-vl"), ("qwen2vl", "thousandths"), ("qwen3vl", "thousandths"), ("qwen35", "thousandths"),
    ("internvl", "thousandths"), ("cogvlm", "thousandths"), ("glm4v", "thousandths"), ("glm41v", "thousandths"),
    ("deepseekvl", "thousandths"), ("llava", "fractions"), ("shikra", "fractions"),
)  # fmt: skip

# Possessive throughout: a reply of a million digits is read in one pass.
_NUMBER = r"([-+]?+(?:\d++(?:\.\d++)?+|\.\d++)(?:[eE][-+]?+\d++)?+)"
_BETWEEN = r"(?:\s*+[,;]\s*+|\s++)"
_PAIR = rf"\(\s*+{_NUMBER}{_BETWEEN}{_NUMBER}\s*+\)"
_PAIRS = re.compile(rf"{_PAIR}\s*+,?+\s*+{_PAIR}")
_BRACKETED = re.compile(rf"[\[(]\s*+{_BETWEEN.join([_NUMBER] * 4)}\s*+[\])]")
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
            found = _floats(match.groups())
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
    found = [match for pattern in (_BRACKETED, _PAIRS) if (match := pattern.search(reply, start))]
    match = min(found, key=lambda one: one.start()) if found else _ALONE.fullmatch(reply, start)
    return (_floats(match.groups()), match[0]) if match else ((), "")


def _labelled(reply: str) -> Reading:
    """x1=156, y1=.., x2=.., y2=..; also xmin or left, as text or JSON."""
    matches = [pattern.search(reply) for pattern in _LABELLED]
    if not all(matches):
        return Reading(NONE)
    found = [match for match in matches if match]
    numbers = _floats(match[1] for match in found)
    if any(match[2] for match in found):
        return Reading("percent" if all(match[2] for match in found) else NONE, numbers)
    fractions = any("." in match[1] for match in found) and all(abs(number) <= 1 for number in numbers)
    return Reading("fractions" if fractions else BARE, numbers)


def _floats(texts: Iterable[str]) -> Numbers:
    return tuple(map(float, texts))


def named_by(readings: Iterable[Reading]) -> list[Convention]:
    """The conventions that the replies of a run name by their form."""
    forms = {reading.form for reading in readings} - {BARE, NONE}
    return cast("list[Convention]", sorted(forms))


def place_box(
    reading: Reading, convention: Convention | None, size: tuple[int, int], shown: tuple[int, int] | None = None
) -> Box | None:
    """A box in pixels of a picture of `size` (width, height), xyxy; None where it is not one of the convention.

    convention: of the run; None where each reply is taken by its form. `shown`: the size at which Qwen2.5-VL saw the
    picture, by default what its processor makes of it. Raises ValueError for a picture without an area.
    """
    width, height = size
    if width <= 0 or height <= 0:
        raise ValueError(f"grounding: got a picture of {width} x {height}, expected a positive size")
    frame = _frame(reading, convention, size, shown)
    if frame is None:
        return None
    x1, y1, x2, y2 = (
        min(max(number / whole * side, 0.0), float(side))
        for number, whole, side in zip(reading.numbers, frame * 2, (width, height) * 2, strict=True)
    )
    return (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


def _frame(
    reading: Reading, convention: Convention | None, size: tuple[int, int], shown: tuple[int, int] | None
) -> tuple[float, float] | None:
    """The numbers of the picture's right and lower end; None where the reply is not of the convention."""
    form = reading.form
    if form == NONE or not all(map(math.isfinite, reading.numbers)):
        return None
    chosen = convention or (None if form == BARE else form)
    if chosen is None or form not in (BARE, chosen):
        return None
    if chosen in ("pixels", "qwen2.5-vl"):
        frame = tuple(map(float, (shown or resized(size)) if chosen == "qwen2.5-vl" else size))
        limit = _BEYOND
    else:
        frame = (_SCALES[chosen],) * 2
        limit = _FRACTIONS if chosen == "fractions" else 1.0
    beyond = any(abs(n) > limit * whole for n, whole in zip(reading.numbers, frame * 2, strict=True))
    return None if beyond else cast("tuple[float, float]", frame)


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


def hit(box: Box | None, truth: Box, iou: float = 0.5) -> bool:
    """Whether a box was given that overlaps the true one with at least this IoU; one without area never."""
    return box is not None and boxes.iou(box, truth) >= iou
