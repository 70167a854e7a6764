"""Boxes written as each family writes them, and read again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.vision.box_conventions import convention_of, place_box, read_box, resized
from ouro.vision.boxes import FAMILIES, LabelledBox, read_boxes, write_boxes

SIZE = (200, 100)
CUP = LabelledBox("cup", (30.0, 30.0, 80.0, 60.0))  # 0.15, 0.3, 0.4, 0.6 of the picture
LID = LabelledBox("", (0.0, 0.0, 200.0, 100.0))

# 200 x 100 becomes 196 x 112 for Qwen2.5-VL; padded to a square there are 50 rows above the picture.
WRITTEN = {
    "qwen2-vl": "<|object_ref_start|>cup<|object_ref_end|><|box_start|>(150,300),(400,600)<|box_end|>"
    "<|box_start|>(0,0),(1000,1000)<|box_end|>",
    "qwen2.5-vl": '[{"bbox_2d": [29, 34, 78, 67], "label": "cup"}, {"bbox_2d": [0, 0, 196, 112]}]',
    "qwen3-vl": '[{"bbox_2d": [150, 300, 400, 600], "label": "cup"}, {"bbox_2d": [0, 0, 1000, 1000]}]',
    "llava": "[0.150, 0.400, 0.400, 0.550], [0.000, 0.250, 1.000, 0.750]",
    "florence-2": "cup<loc_150><loc_300><loc_400><loc_600><loc_0><loc_0><loc_999><loc_999>",
    "paligemma": "<loc0307><loc0154><loc0614><loc0410> cup ; <loc0000><loc0000><loc1023><loc1023>",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_form_of_each_family(family: str) -> None:
    assert resized(SIZE) == (196, 112)
    assert write_boxes([CUP, LID], SIZE, family) == WRITTEN[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_scorer_reads_the_first_box_of_each_form_under_its_familys_convention(family: str) -> None:
    box = place_box(read_box(WRITTEN[family]), FAMILIES[family].convention, SIZE)
    assert box == pytest.approx(CUP.box, abs=1.0)


def test_several_boxes_follow_one_reference() -> None:
    reply = "<|object_ref_start|>cup<|object_ref_end|>" + "<|box_start|>(0,0),(500,500)<|box_end|>" * 2
    assert [label for label, _ in read_boxes(reply, SIZE, "qwen2-vl")] == ["cup", "cup"]
    assert [label for label, _ in read_boxes("cup" + "<loc_0><loc_0><loc_9><loc_9>" * 2, SIZE, "florence-2")] == [
        "cup",
        "cup",
    ]


def test_a_reply_that_was_cut_gives_the_boxes_that_are_whole() -> None:
    reply = '```json\n[{"bbox_2d": [0, 0, 500, 500], "label": "a"}, {"bbox_2d": [1, 2, 3'
    assert read_boxes(reply, SIZE, "qwen3-vl") == [LabelledBox("a", (0, 0, 100, 50))]


@pytest.mark.parametrize(
    "reply",
    ["", "no box", '[{"bbox_2d": "x"}]', '[{"bbox_2d": [1, 2, 3]}]', '[{"bbox_2d": [null, 1, 2, 3]}]', "[1, 2, 3]",
     "<loc0001><loc0002>", "<|box_start|>(1,2)<|box_end|>", '{"bbox_2d": [1e999, 0, 1, 1]}',
     '[{"bbox_2d": [0, 0, 5000, 5000]}]'],
)  # fmt: skip
def test_what_is_no_box_is_left_out(reply: str) -> None:
    for family in FAMILIES:
        assert read_boxes(reply, SIZE, family) == []


def test_marks_in_a_label_do_not_break_the_form() -> None:
    label = "a <loc_1><|box_start|> cup; red"
    for family in ("qwen2-vl", "florence-2", "paligemma"):
        text = write_boxes([LabelledBox(label, CUP.box)], SIZE, family)
        assert [read for read, _ in read_boxes(text, SIZE, family)] == ["a cup red"]
    text = write_boxes([LabelledBox('a "cup"', CUP.box)], SIZE, "qwen3-vl")
    assert [read for read, _ in read_boxes(text, SIZE, "qwen3-vl")] == ['a "cup"']


sides = st.integers(1, 4000)


@st.composite
def boxes_in_pictures(draw: st.DrawFn) -> tuple[tuple[int, int], list[LabelledBox]]:
    width, height = draw(sides), draw(sides)
    boxes = []
    for _ in range(draw(st.integers(0, 4))):
        x = sorted(draw(st.tuples(*[st.floats(0, width)] * 2)))
        y = sorted(draw(st.tuples(*[st.floats(0, height)] * 2)))
        boxes.append(LabelledBox(draw(st.sampled_from(["", "cup", "a red cup"])), (x[0], y[0], x[1], y[1])))
    return (width, height), boxes


@pytest.mark.parametrize("family", FAMILIES)
@given(case=boxes_in_pictures())
def test_what_is_written_is_read_again(family: str, case: tuple[tuple[int, int], list[LabelledBox]]) -> None:
    """To half a unit of the convention, one and a half where a side of no length became a unit."""
    size, objects = case
    found = read_boxes(write_boxes(objects, size, family), size, family)
    assert len(found) == len(objects)
    units = {"qwen2.5-vl": [side / whole for side, whole in zip(size, resized(size), strict=True)]}
    square = [max(size) / 1000] * 2
    unit = units.get(family) or (square if family == "llava" else [side / 999 for side in size])
    for (label, box), (read_label, read_box_) in zip(objects, found, strict=True):
        assert read_label == label or family in ("llava", "qwen2-vl", "florence-2")  # a reference is carried on
        assert box == pytest.approx(read_box_, abs=1.51 * max(unit))
        assert read_box_[0] < read_box_[2]
        assert read_box_[1] < read_box_[3]


def test_families_agree_with_what_models_are_called() -> None:
    for family in ("qwen2-vl", "qwen2.5-vl", "qwen3-vl", "llava"):
        assert convention_of(family) == FAMILIES[family].convention


def test_another_family_is_an_error() -> None:
    with pytest.raises(KeyError):
        write_boxes([CUP], SIZE, "gpt")
    with pytest.raises(ValueError, match="got a picture of 0 x 10"):
        write_boxes([CUP], (0, 10), "llava")
