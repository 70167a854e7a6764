"""Boxes read from replies, and hits at IoU 0.5."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.benchmarks.scoring.grounding import hit, parse_box
from ouro.core import boxes

SIZE = (200, 100)


@pytest.mark.parametrize(
    ("reply", "box"),
    [
        ("[0.1, 0.2, 0.5, 0.8]", (20, 20, 100, 80)),  # fractions
        ("[100, 200, 500, 800]", (20, 20, 100, 80)),  # thousandths
        ("[[100, 200, 500, 800]]", (20, 20, 100, 80)),  # InternVL
        ("<box>[[100,200,500,800]]</box>", (20, 20, 100, 80)),
        ("(100,200),(500,800)", (20, 20, 100, 80)),  # Qwen-VL, by its first four numbers
        ("<|box_start|>(100,200),(500,800)<|box_end|>", (20, 20, 100, 80)),
        ("<|box_start|>(1,1),(1,1)<|box_end|>", (0.2, 0.1, 0.2, 0.1)),  # thousandths at any magnitude
        ("<|object_ref_start|>man 2<|object_ref_end|><|box_start|>(100,200),(500,800)<|box_end|>", (20, 20, 100, 80)),
        ("The box is [100 200 500 800].", (20, 20, 100, 80)),
        ("x1=100, y1=200", (0.2, 10, 0.2, 20)),  # 1, 100, 1, 200 are four numbers
        ("[20, 20, 100, 1001]", (20, 20, 100, 100)),  # above 1000: pixels, clipped to the picture
        ("[20, 20, 100, 80]", (4, 2, 20, 8)),  # pixels are misread below
        ("[1.5, 0, 0, 1.5]", (0, 0, 200, 100)),  # still fractions: clipped, then swapped
        ("[1.6, 0, 0, 1.6]", (0, 0, 0.32, 0.16)),
        ("[0.5, 0.8, 0.1, 0.2]", (20, 20, 100, 80)),  # swapped corners
        ("[-0.1, -5e-1, 0.5, .8]", (0, 0, 100, 80)),
        ("[1, 2] then [100, 200, 500, 800]", (20, 20, 100, 80)),  # first bracket of four
        ("2 men: 100, 200, 500, 800", (0.4, 10, 40, 50)),  # a number in the text counts
        ("[0.1, 0.2, 0.5]", None),
        ("[5., 6., 7., 8.]", (1, 0.6, 1.4, 0.8)),
        ("[100; 200; 500; 800]", (20, 20, 100, 80)),
        ("[nan, 0.2, 0.5, 0.8]", None),
        ("[inf, 0.2, 0.5, 0.8]", None),
        ("[1e999, 0, 0, 50]", (0, 0, 200, 50)),
        ("[\uff11\uff10\uff10, 200, 500, 800]", (20, 20, 100, 80)),  # full-width digits are digits
        ("", None),
        ("I see no such thing.", None),
        ("[0, 0, 0, 0]", (0, 0, 0, 0)),
    ],
)
def test_a_box_is_read_in_the_documented_forms(reply: str, box: tuple[float, ...] | None) -> None:
    parsed_box = parse_box(reply, SIZE)
    assert parsed_box == (None if box is None else pytest.approx(box))


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


unit = st.floats(0, 1)


@given(st.tuples(unit, unit, unit, unit), st.integers(1, 3000), st.integers(1, 3000))
def test_fractions_thousandths_and_the_tokens_of_qwen_say_the_same_box(
    corners: tuple[float, float, float, float], width: int, height: int
) -> None:
    x1, y1, x2, y2 = (round(c * 1000) for c in corners)
    qwen = parse_box(f"<|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>", (width, height))
    assert qwen is not None
    assert parse_box(str([c / 1000 for c in (x1, y1, x2, y2)]), (width, height)) == pytest.approx(qwen)
    if max(x1, y1, x2, y2) > 1:
        assert parse_box(str([x1, y1, x2, y2]), (width, height)) == pytest.approx(qwen)


@given(st.text(alphabet="0123456789.,-+e[]() ", max_size=40))
def test_whatever_the_reply_a_box_lies_in_the_picture(reply: str) -> None:
    box = parse_box(reply, SIZE)
    if box is not None:
        assert 0 <= box[0] <= box[2] <= 200
        assert 0 <= box[1] <= box[3] <= 100
        assert hit(box, box) is (boxes.area(box) > 0)


def test_a_megabyte_does_not_take_minutes() -> None:
    start = time.perf_counter()
    for text in (
        "[" + "1" * 1_000_000,
        "[1" + " " * 1_000_000,
        "[" * 1_000_000,
        "1" * 1_000_000 + ".",
        "[1,1,1,1" * 100_000,
    ):
        parse_box(text, SIZE)
    assert time.perf_counter() - start < 20


def test_a_picture_without_area_is_an_error() -> None:
    with pytest.raises(ValueError, match="got a picture of 0 x 10"):
        parse_box("[1, 2, 3, 4]", (0, 10))
