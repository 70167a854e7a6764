"""The geometry of text: boxes drawn by hand, and properties that hold for any pieces. A character is 10 x 20 px."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.core import boxes
from ouro.core.records import KINDS, Box
from ouro.vision.axes import has_axis, parse_number
from ouro.vision.layout import (
    Block,
    find_tables,
    is_line_of,
    kind_of,
    read_page,
    smallest_texts,
    to_proposals,
)
from ouro.vision.protocols import Proposal


def word(text: str, x: float, y: float, height: float = 20, score: float = 0.9) -> Proposal:
    """Its top left corner is (x, y); half as wide as high for each character."""
    return Proposal((x, y, x + len(text) * height / 2, y + height), score, "ocr", text)


def texts(blocks: list[Block]) -> list[str]:
    return [b.whole.text for b in blocks]


def test_words_of_one_baseline_become_a_line_and_a_wide_gap_ends_it() -> None:
    # "open" ends at 50; "all" begins 10 px (half a height) later and ends at 90; "day" begins 30 px later
    blocks = read_page([word("all", 60, 12), word("open", 10, 10), word("day", 120, 10)])
    assert texts(blocks) == ["open all", "day"]
    assert blocks[0].whole.box == (10, 10, 90, 32)


def test_lines_below_each_other_become_a_block_whose_score_is_weighted_by_length() -> None:
    above, below = word("lorem", 10, 10, score=0.8), word("ipsum dolo", 10, 34, score=0.95)
    [block] = read_page([below, above])
    assert (block.whole.text, block.lines, block.kind) == ("lorem ipsum dolo", [above, below], "text")
    assert block.whole.box == (10, 10, 110, 54)
    assert block.whole.score == pytest.approx((5 * 0.8 + 10 * 0.95) / 15)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (word("ipsum", 10, 46), "the gap of 16 px is over three quarters of the height"),
        (word("IPSUM", 10, 34, height=33), "33 px is over 1.6 times as high"),
        (word("ipsum", 36, 34), "24 of its 50 px lie below the line, less than half"),
        (word("X", 10, 34), "one character is no line"),
    ],
)
def test_what_is_far_or_larger_or_aside_or_a_single_character_is_no_line_of_the_block(
    other: Proposal, why: str
) -> None:
    assert texts(read_page([word("lorem", 10, 10), other])) == ["lorem", other.text], why


def test_one_word_stays_exactly_what_was_read() -> None:
    sign = word("milk", 40, 40)
    assert to_proposals(read_page([sign])) == [sign]


def test_a_block_is_offered_with_its_lines_as_nested_candidates() -> None:
    first, second = word("one two", 0, 0), word("three", 0, 24)
    whole, *lines = to_proposals(read_page([first, second]))
    assert (whole.text, lines) == ("one two three", [first, second])
    assert all(is_line_of(line, whole) for line in lines) and not is_line_of(whole, first)
    assert smallest_texts([whole, *lines]) == lines


def test_two_columns_under_a_heading_are_read_one_after_the_other() -> None:
    """The heading lies as close to both columns as their lines do to each other, and is as high: it spans them."""
    heading = word("a heading over both of the columns", 0, 0)  # 340 px
    left = [word("left first", 0, 24), word("left next", 0, 48), word("left last", 0, 110)]
    right = [word("right first", 200, 24), word("right next", 200, 48), word("right last", 200, 110)]
    pieces = [heading, *(p for pair in zip(left, right, strict=True) for p in pair)]
    assert texts(read_page(pieces)) == [
        heading.text, "left first left next", "left last", "right first right next", "right last",
    ]  # fmt: skip


def table(rows: int, columns: int, text: str = "cell", pitch: float = 150) -> list[Proposal]:
    return [word(f"{text} {r}{c}", 20 + pitch * c, 20 + 40 * r) for r in range(rows) for c in range(columns)]


def test_three_rows_of_two_cells_are_a_table_read_row_by_row() -> None:
    cells = table(3, 2)
    caption = word("what the cells below stand for", 20, 0, height=12)
    blocks = read_page([*reversed(cells), caption])
    assert [b.kind for b in blocks] == ["text", "table"]
    assert blocks[1].lines == cells and blocks[1].whole.text == "cell 00 cell 01 cell 10 cell 11 cell 20 cell 21"


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        (table(2, 2), "two rows"),
        (table(4, 1), "one column"),
        (table(4, 2, "some words of prose", 300), "cells of five words"),
        ([c for i, c in enumerate(table(3, 5)) if i % 5 in (i // 5, (i // 5 + 1) % 5)], "6 of 15 (or 12) cells filled"),
    ],
)
def test_too_few_rows_or_columns_or_long_or_missing_cells_are_no_table(pieces: list[Proposal], why: str) -> None:
    assert find_tables(pieces) == [], why


BOX: Box = (100, 100, 500, 400)  # the axes of a chart; a label at its border has its centre within 100 (75) px of it


def y_labels(*values: str, x: float = 60) -> list[Proposal]:
    step = 260 / (len(values) - 1)
    return [word(v, x - 10 * len(v) + 30, 380 - i * step) for i, v in enumerate(values)]  # one right edge


def x_labels(*values: str) -> list[Proposal]:
    step = 360 / (len(values) - 1)
    return [word(v, 100 + i * step, 410) for i, v in enumerate(values)]


@pytest.mark.parametrize(
    "words",
    [
        y_labels("0", "50", "100", "150"),
        y_labels("-1.5", "0.0", "1.5"),
        x_labels("2019", "2020", "2021", "2022"),
        x_labels("300", "200", "100"),  # falls to the right
        y_labels("0", "1", "7", "3", "4"),  # one misread: three of four steps rise
        y_labels("0%", "50%", "100%", x=110),  # just inside
    ],
)
def test_numbers_along_the_left_or_lower_border_make_a_chart(words: list[Proposal]) -> None:
    assert has_axis(BOX, words)
    assert kind_of(BOX, "", words) == "chart"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (y_labels("0", "50"), "two labels"),
        (y_labels("a", "b", "c"), "no numbers"),
        (y_labels("5", "1", "7", "3"), "no order"),
        (y_labels("0", "50", "100", x=250), "in the middle"),
        ([word(v, 30 + 25 * i, 350 - 100 * i) for i, v in enumerate("012")], "not in one line"),
        ([word(v, 60, 380 - 30 * i) for i, v in enumerate("012")], "over less than half of the side"),
    ],
)
def test_other_words_make_no_chart(words: list[Proposal], why: str) -> None:
    assert kind_of(BOX, "", words) == "object", why


def test_kind_is_table_before_text_and_text_before_chart() -> None:
    cells = table(3, 2)
    around = boxes.hull([c.box for c in cells])
    assert kind_of(around, "cell 00 ...", cells) == kind_of(around, "", cells) == "table"
    assert kind_of(BOX, "a block", y_labels("0", "50", "100")) == "text"
    prose = [word("prose", 20, 300 + 24 * i) for i in range(7)]  # six cells are less than half of thirteen words
    assert kind_of((0, 0, 400, 600), "", cells + prose) == "object"


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("1,200", 1200), ("-0.5", -0.5), ("−3", -3), ("30%", 30), ("1e-3", 0.001), ("$4", 4), (" 7 ", 7),
     ("", None), ("-", None), ("1.2.3", None), ("A4", None), ("12 px", None), ("3 4", None)],
)  # fmt: skip
def test_a_label_is_a_number_or_none(text: str, value: float | None) -> None:
    assert parse_number(text) == value


any_word = st.builds(
    word,
    st.text("ab1 ", min_size=1, max_size=8).filter(str.strip),
    st.integers(0, 400), st.integers(0, 400), st.integers(6, 40), st.floats(0.6, 1),
)  # fmt: skip


@given(st.lists(any_word, max_size=14))
def test_blocks_hold_every_word_once_and_lie_around_them(pieces: list[Proposal]) -> None:
    blocks = read_page(pieces)
    assert sorted("".join(texts(blocks)).replace(" ", "")) == sorted("".join(p.text for p in pieces).replace(" ", ""))
    for block in blocks:
        assert block.whole.box == boxes.hull([line.box for line in block.lines])
        assert block.whole.text == " ".join(line.text for line in block.lines)
        low, high = min(p.score for p in block.lines), max(p.score for p in block.lines)
        assert low - 1e-9 <= block.whole.score <= high + 1e-9


@given(st.permutations([word(t, 300 * (i % 2), 24 * (i // 2)) for i, t in enumerate("ab cd ef gh ij kl".split())]))
def test_blocks_do_not_depend_on_the_order_of_the_pieces(pieces: list[Proposal]) -> None:
    assert texts(read_page(pieces)) == ["ab ef ij", "cd gh kl"]


@given(st.lists(any_word, max_size=12), st.text("x", max_size=1))
def test_every_region_below_the_image_has_a_kind(words: list[Proposal], text: str) -> None:
    kind = kind_of((50, 50, 350, 300), text, words)
    assert kind in KINDS and kind != "scene"
    assert (kind in ("text", "table")) or not text
