"""Boxes read from replies by the convention of their run, and hits at IoU 0.5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.benchmarks.scoring.grounding import hit
from ouro.core import boxes
from ouro.vision.box_conventions import BARE, NAMED, NONE, Convention, convention_of, place_box, read_box, resized

ROOT = Path(__file__).resolve().parent.parent
SIZE = (200, 100)
BOX = (20, 20, 100, 80)  # a tenth, a fifth, a half, four fifths of the picture


@pytest.mark.parametrize(
    ("reply", "form", "numbers"),
    [
        ("[0.1, 0.2, 0.5, 0.8]", "fractions", (0.1, 0.2, 0.5, 0.8)),
        ("[100, 200, 500, 800]", BARE, (100, 200, 500, 800)),
        ("[[100, 200, 500, 800]]", BARE, (100, 200, 500, 800)),
        ("(100,200),(500,800)", BARE, (100, 200, 500, 800)),
        ('```json\n[{"bbox_2d": [100, 200, 500, 800], "label": "cup 2"}]\n```', BARE, (100, 200, 500, 800)),
        ("The box is [100 200 500 800].", BARE, (100, 200, 500, 800)),
        ("[100; 200; 500; 800]", BARE, (100, 200, 500, 800)),
        ("100, 200, 500, 800", BARE, (100, 200, 500, 800)),
        ("x1=100, y1=200, x2=500, y2=800", BARE, (100, 200, 500, 800)),
        ('{"x_min": 100, "y_min": 200, "x_max": 500, "y_max": 800}', BARE, (100, 200, 500, 800)),
        ("[0, 0, 1, 1]", BARE, (0, 0, 1, 1)),  # a tiny box, or the whole picture
        ("<box>[[100,200,500,800]]</box>", "thousandths", (100, 200, 500, 800)),
        ("<|box_start|>(1,1),(1,1)<|box_end|>", "thousandths", (1, 1, 1, 1)),
        ("<|ref|>man (1,2),(3,4)<|/ref|><|det|>[[100, 200, 500, 800]]<|/det|>", "thousandths", (100, 200, 500, 800)),
        ("<loc0256><loc0128><loc0768><loc0512> cup", "of 1024", (128, 256, 512, 768)),
        ("cup<loc_100><loc_200><loc_500><loc_800>", "of 1000 bins", (100, 200, 500, 800)),
        ("{<10><20><50><80>}", "percent", (10, 20, 50, 80)),
        ("[10%, 20%, 50%, 80%]", "percent", (10, 20, 50, 80)),
        ("left: 10%, top: 20%, right: 50%, bottom: 80%", "percent", (10, 20, 50, 80)),
        ("[1, 2] then [100, 200, 500, 800]", BARE, (100, 200, 500, 800)),
        ("x1=100, y1=200", NONE, ()),
        ("2 men: 100, 200, 500, 800", NONE, ()),  # numbers of a text are no box
        ("between 10 and 20, from 3 to 4", NONE, ()),
        ("[0.1, 0.2, 0.5]", NONE, ()),
        ("[nan, 0.2, 0.5, 0.8]", NONE, ()),
        ("<patch_index_0044><patch_index_0863>", NONE, ()),
        ("", NONE, ()),
        ("I see no such thing.", NONE, ()),
    ],
)
def test_the_form_of_a_reply(reply: str, form: str, numbers: tuple[float, ...]) -> None:
    assert read_box(reply) == (form, numbers)


@pytest.mark.parametrize(
    ("reply", "convention", "box"),
    [
        ("[100, 200, 500, 800]", "thousandths", BOX),
        ("<|box_start|>(100,200),(500,800)<|box_end|>", "thousandths", BOX),
        ("[0.1, 0.2, 0.5, 0.8]", "fractions", BOX),
        ("[20, 20, 100, 80]", "pixels", BOX),
        ("[10, 20, 50, 80]", "percent", BOX),
        ("[10%, 20%, 50%, 80%]", "percent", BOX),
        ("[500, 800, 100, 200]", "thousandths", BOX),  # swapped corners
        ("<loc0205><loc0102><loc0819><loc0512>", None, pytest.approx(BOX, abs=0.1)),
        ("<loc_100><loc_200><loc_500><loc_800>", None, (20.1, 20.05, 100.1, 80.05)),  # the middle of a bin
        ("[0.1, 0.35, 0.5, 0.65]", "square-fractions", (20, 20, 100, 80)),  # 50 pixels of padding above and below
        ("[0, 0, 1, 0.5]", "square-fractions", (0, 0, 200, 50)),
        ("[100, 200, 500, 800]", "square-fractions", None),
        ("{<10><20><50><80>}", None, BOX),
        ("[0.1, 0.2, 0.5, 0.8]", None, BOX),
        ("[0, 0, 1, 1]", "thousandths", (0, 0, 0.2, 0.1)),
        ("[0, 0, 1, 1]", "fractions", (0, 0, 200, 100)),
        ("[0, 0, 1, 1]", None, None),
        ("[100, 200, 500, 800]", None, None),
        ("[0.1, 0.2, 0.5, 0.8]", "thousandths", None),
        ("[0.1, 0.2, 0.5, 0.8]", "pixels", None),
        ("[20, 20, 100, 1001]", "thousandths", None),
        ("[20, 20, 400, 80]", "pixels", None),
        ("[20, 20, 205, 80]", "pixels", (20, 20, 200, 80)),  # a little beyond: clipped
        ("[10%, 20%, 50%, 80%]", "thousandths", None),
        ("<loc0256><loc0128><loc0768><loc0512>", "thousandths", None),
        ("<|box_start|>(100,200),(500,800)<|box_end|>", "pixels", None),
        ("[1e999, 0, 0, 50]", "thousandths", None),
        ("[-0.1, -5e-1, 0.5, .8]", "fractions", (0, 0, 100, 80)),
    ],
)
def test_a_box_is_read_by_the_convention_of_its_run(reply: str, convention: Convention | None, box: Any) -> None:
    found = place_box(read_box(reply), convention, SIZE)
    assert found == (box if box is None or not isinstance(box, tuple) else pytest.approx(box))


def test_pixels_of_qwen_are_those_of_the_resized_picture() -> None:
    """640 x 480 becomes 644 x 476, the nearest multiples of 28; a picture of 4000 x 3000 within 1,003,520 pixels is
    divided by sqrt(12,000,000 / 1,003,520) = 3.458: 1156.7 x 867.5, and down to 1148 x 840."""
    assert resized((640, 480)) == (644, 476)
    assert resized((4000, 3000), 1_003_520) == (1148, 840)
    assert resized((20, 20)) == (56, 56), "at least 56 x 56"
    half = place_box(read_box('{"bbox_2d": [322, 238, 644, 476]}'), "qwen2.5-vl", (640, 480))
    assert half == pytest.approx((320, 240, 640, 480))
    half = place_box(read_box("[574, 420, 1148, 840]"), "qwen2.5-vl", (4000, 3000), (1148, 840))
    assert half == pytest.approx((2000, 1500, 4000, 3000))


@pytest.mark.parametrize(
    ("family", "convention"),
    [("qwen2_vl", "thousandths"), ("qwen2_5_vl", "qwen2.5-vl"), ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2.5-vl"),
     ("qwen3_vl_moe", "thousandths"), ("OpenGVLab/InternVL3-8B", "thousandths"), ("llava_next", "fractions"),
     ("llava", "square-fractions"), ("llava-1.5-7b-hf", "square-fractions"), ("llava_onevision", "fractions"),
     ("paligemma", None), ("gpt-4o", None), ("", None)],
)  # fmt: skip
def test_the_family_of_a_model_names_its_convention(family: str, convention: str | None) -> None:
    assert convention_of(family) == convention


# ---- hits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "is_hit"),
    [
        ((0, 0, 10, 10), True),
        ((0, 0, 10, 5), True),  # exactly one half
        ((0, 0, 10, 4.9), False),
        ((0, 0, 20, 10), True),
        ((5, 5, 15, 15), False),
        ((0, 0, 0, 0), False),
        (None, False),
    ],
)
def test_a_hit_is_an_iou_of_at_least_one_half(box: tuple[float, float, float, float] | None, is_hit: bool) -> None:
    assert hit(box, (0, 0, 10, 10)) is is_hit


def test_the_threshold_is_a_parameter_and_an_empty_truth_is_never_hit() -> None:
    assert hit((5, 5, 15, 15), (0, 0, 10, 10), iou=25 / 175 - 1e-9)
    assert not hit((3, 3, 3, 3), (3, 3, 3, 3))


@given(st.text(alphabet="0123456789.,-+e[]()<>%{} loc", max_size=40), st.sampled_from([None, *NAMED]))
def test_whatever_the_reply_a_box_lies_in_the_picture(reply: str, convention: Convention | None) -> None:
    box = place_box(read_box(reply), convention, SIZE)
    if box is not None:
        assert 0 <= box[0] <= box[2] <= 200
        assert 0 <= box[1] <= box[3] <= 100
        assert hit(box, box) is (boxes.area(box) > 0)


def test_a_megabyte_is_read_in_one_pass() -> None:
    for text in (
        "[" + "1" * 1_000_000, "[1" + " " * 1_000_000, "[" * 1_000_000, "1" * 1_000_000 + ".", "[1,1,1,1" * 100_000,
        "<loc0001>" * 100_000, "1%," * 300_000, "(1,1)," * 150_000, "x1=" * 300_000, "{<1>" * 200_000, "1 " * 500_000,
    ):  # fmt: skip
        assert read_box(text).form in (NONE, BARE, "of 1024", "percent")


def test_a_picture_without_area_is_an_error() -> None:
    with pytest.raises(ValueError, match="got a picture of 0 x 10"):
        place_box(read_box("[1, 2, 3, 4]"), "pixels", (0, 10))
