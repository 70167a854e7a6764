r"""Boxes as each family of models writes them: written, and read again.

    family       written as                                                                    numbers
    qwen2-vl     <|object_ref_start|>cup<|object_ref_end|><|box_start|>(x1,y1),(x2,y2)<|box_end|>   thousandths
    qwen2.5-vl   [{"bbox_2d": [x1, y1, x2, y2], "label": "cup"}]                               pixels, as it is resized
    qwen3-vl     [{"bbox_2d": [x1, y1, x2, y2], "label": "cup"}]                               thousandths
    llava        [0.15, 0.30, 0.40, 0.60]                                                      fractions of the square
    florence-2   cup<loc_150><loc_300><loc_400><loc_600>                                       of 1000 bins
    paligemma    <loc0307><loc0154><loc0614><loc0410> cup (y1, x1, y2, x2)                     of 1024

Sources: Qwen2-VL (arXiv 2409.12191, section 2.2.1, "[0, 1000)") and qwen-vl-finetune/tools/process_bbox.ipynb of
QwenLM/Qwen3-VL (`convert_to_qwen2vl_format`, which the maintainers name for Qwen3-VL as well, and
`convert_to_qwen25vl_format`: pixels after smart_resize); LLaVA-1.5 (arXiv 2310.03744: two decimals; of the picture
padded to a square with itself in the middle, haotian-liu/LLaVA issue 606); Florence-2's processor (BoxQuantizer: 1000
bins, floor, read at the middle of a bin); PaliGemma (arXiv 2407.07726, section 3.2.1).
Deviations: LLaVA's with three decimals, so that small regions stay distinct; JSON without a fence; a side of no length
is written as one unit, so that every box has an area.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ouro.core.json_text import parse_json
from ouro.vision.box_conventions import (
    BRACKETED,
    Convention,
    Frame,
    Numbers,
    Reading,
    Size,
    floats,
    frame_of,
    place_box,
)

if TYPE_CHECKING:
    from ouro.core.records import Box


class LabelledBox(NamedTuple):
    """A box in pixels, xyxy, and what it shows ("" where it is not said)."""

    label: str
    box: Box


class Family(NamedTuple):
    """How a family writes boxes: the convention of its numbers, their digits behind the point, the largest that it
    writes (None: the far end's), all boxes as one text, and boxes of a text as (label, four numbers in x1, y1, x2, y2).
    """

    convention: Convention
    write: Callable[[Sequence[_Numbered]], str]
    read: Callable[[str], Iterator[_Numbered]]
    decimals: int = 0
    largest: float | None = None


_Numbered = tuple[str, Numbers]
_DIGITS = r"\s*+(\d++)\s*+"
_QWEN2 = re.compile(
    r"(?:<\|object_ref_start\|>([^<]*+)<\|object_ref_end\|>)?+<\|box_start\|>"
    rf"\({_DIGITS},{_DIGITS}\),\s*+\({_DIGITS},{_DIGITS}\)<\|box_end\|>"
)
_OBJECT = re.compile(r"\{[^{}]*+\}")
_FLORENCE = re.compile(r"([^<>]*+)" + r"<loc_(\d{1,3})>" * 4)
_PALIGEMMA = re.compile(r"<loc(\d{4})>" * 4 + r"([^<>;]*+)")
_MARKS = re.compile(r"<[^<>]*>|[<>;]")


def _write_json(objects: Sequence[_Numbered]) -> str:
    rows = [{"bbox_2d": list(numbers), **({"label": label} if label else {})} for label, numbers in objects]
    return json.dumps(rows, ensure_ascii=False)


def _write_qwen2(objects: Sequence[_Numbered]) -> str:
    return "".join(
        (f"<|object_ref_start|>{_plain(label)}<|object_ref_end|>" if label else "")
        + "<|box_start|>({},{}),({},{})<|box_end|>".format(*numbers)
        for label, numbers in objects
    )


def _write_florence(objects: Sequence[_Numbered]) -> str:
    return "".join(_plain(label) + "".join(f"<loc_{n}>" for n in numbers) for label, numbers in objects)


def _write_paligemma(objects: Sequence[_Numbered]) -> str:
    texts = (
        "".join(f"<loc{numbers[i]:04d}>" for i in (1, 0, 3, 2)) + f" {_plain(label)}" for label, numbers in objects
    )
    return " ; ".join(text.rstrip() for text in texts)


def _write_llava(objects: Sequence[_Numbered]) -> str:
    return ", ".join(f"[{', '.join(f'{n:.3f}' for n in numbers)}]" for _, numbers in objects)


def _plain(label: str) -> str:
    """A label without what marks boxes in these forms."""
    return " ".join(_MARKS.sub(" ", label).split())


def _read_qwen2(reply: str) -> Iterator[_Numbered]:
    label = ""  # several boxes may follow one reference
    for match in _QWEN2.finditer(reply):
        label = label if match[1] is None else match[1]
        yield label.strip(), floats(match.groups()[1:])


def _read_json(reply: str) -> Iterator[_Numbered]:
    """Object by object, so that a reply that was cut gives what is whole."""
    for match in _OBJECT.finditer(reply):
        try:
            entry = parse_json(match[0])
            numbers = tuple(map(float, entry["bbox_2d"]))
        except (ValueError, TypeError, KeyError):
            continue
        if len(numbers) == 4:
            yield str(entry.get("label", "")), numbers


def _read_llava(reply: str) -> Iterator[_Numbered]:
    return (("", floats(match.groups())) for match in BRACKETED.finditer(reply))


def _read_florence(reply: str) -> Iterator[_Numbered]:
    label = ""
    for match in _FLORENCE.finditer(reply):
        label = match[1].strip() or label
        yield label, floats(match.groups()[1:])


def _read_paligemma(reply: str) -> Iterator[_Numbered]:
    for match in _PALIGEMMA.finditer(reply):
        y1, x1, y2, x2 = floats(match.groups()[:4])
        yield match[5].strip(), (x1, y1, x2, y2)


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "qwen2-vl": Family("thousandths", _write_qwen2, _read_qwen2),
        "qwen2.5-vl": Family("qwen2.5-vl", _write_json, _read_json),
        "qwen3-vl": Family("thousandths", _write_json, _read_json),
        "llava": Family("square-fractions", _write_llava, _read_llava, decimals=3),
        "florence-2": Family("of 1000 bins", _write_florence, _read_florence, largest=999),
        "paligemma": Family("of 1024", _write_paligemma, _read_paligemma, largest=1023),
    }
)


def write_boxes(objects: Sequence[LabelledBox], size: Size, family: str, shown: Size | None = None) -> str:
    """Boxes of a picture of `size` as a family of FAMILIES writes them; `shown` as in place_box.

    Raises KeyError for another family, ValueError for a picture without an area.
    """
    form = FAMILIES[family]
    frame = frame_of(form.convention, size, shown)
    return form.write([(label, _quantize(box, form, frame)) for label, box in objects])


def _quantize(box: Box, form: Family, frame: Frame) -> Numbers:
    """The numbers of a box: within the far end, and no side without length."""
    unit = 10.0**-form.decimals
    lasts = [whole if form.largest is None else form.largest for whole in frame.whole]
    values = [
        (side + offset) / extent * whole
        for side, whole, extent, offset in zip(box, frame.whole * 2, frame.extent * 2, frame.offset * 2, strict=True)
    ]
    steps = [math.floor(v) if form.convention == "of 1000 bins" else round(v / unit) for v in values]
    for axis, last in enumerate(lasts):
        most = round(last / unit)
        low, high = (min(max(steps[i], 0), most) for i in (axis, axis + 2))
        steps[axis], steps[axis + 2] = (low, high) if low < high else (min(low, most - 1), min(low, most - 1) + 1)
    return tuple(round(step * unit, form.decimals) if form.decimals else step for step in steps)


def read_boxes(reply: str, size: Size, family: str, shown: Size | None = None) -> list[LabelledBox]:
    """All boxes of a reply of a family, in order, in pixels; what is no box of its form is left out.

    Raises KeyError for another family, ValueError for a picture without an area.
    """
    form = FAMILIES[family]
    placed = (
        (label, place_box(Reading(form.convention, numbers), form.convention, size, shown))
        for label, numbers in form.read(reply)
    )
    return [LabelledBox(label, box) for label, box in placed if box is not None]
