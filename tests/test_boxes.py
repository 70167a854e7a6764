"""Geometry: values derived by hand, and properties that hold for any boxes."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.core import boxes

coordinate = st.floats(-50, 300).map(lambda v: round(v, 1))
box = st.tuples(coordinate, coordinate, coordinate, coordinate)
proper = st.builds(
    lambda x, y, w, h: (x, y, x + w, y + h),
    coordinate, coordinate, st.floats(1, 200), st.floats(1, 200),
)  # fmt: skip


def test_iou_of_two_squares_that_share_a_quarter() -> None:
    # 10x10 and 10x10 shifted by (5, 5): common 25, union 175
    assert boxes.iou((0, 0, 10, 10), (5, 5, 15, 15)) == pytest.approx(25 / 175)


def test_half_open_neighbours_do_not_overlap() -> None:
    assert boxes.iou((0, 0, 10, 10), (10, 0, 20, 10)) == 0.0


def test_empty_box_has_no_area_and_no_overlap() -> None:
    assert boxes.area((5, 5, 3, 9)) == 0.0
    assert boxes.iou((5, 5, 5, 5), (5, 5, 5, 5)) == 0.0
    assert boxes.containment((5, 5, 5, 9), (0, 0, 10, 10)) == 0.0


@given(box, box)
def test_iou_is_symmetric_and_in_unit_range(a: boxes.Box, b: boxes.Box) -> None:
    assert boxes.iou(a, b) == boxes.iou(b, a)
    assert 0.0 <= boxes.iou(a, b) <= 1.0


@given(proper, proper)
def test_iou_never_exceeds_containment(a: boxes.Box, b: boxes.Box) -> None:
    assert boxes.iou(a, b) <= boxes.containment(a, b) + 1e-9
    assert boxes.containment(a, a) == pytest.approx(1.0)


@given(st.lists(box, max_size=6), st.lists(box, max_size=6))
def test_iou_matrix_equals_pairwise_iou(a: list[boxes.Box], b: list[boxes.Box]) -> None:
    matrix = boxes.iou_matrix(boxes.as_array(a), boxes.as_array(b))
    assert matrix.shape == (len(a), len(b))
    expected = np.array([[boxes.iou(x, y) for y in b] for x in a]).reshape(len(a), len(b))
    assert np.allclose(matrix, expected)


def test_nms_keeps_the_best_of_a_cluster_and_the_loner() -> None:
    # IoU of the first two: 90 / 110 = 0.82
    array = boxes.as_array([(0, 0, 10, 10), (0, 1, 10, 11), (50, 50, 60, 60)])
    assert boxes.nms(array, np.array([0.6, 0.9, 0.7]), 0.5) == [1, 2]


def test_nms_breaks_ties_by_index_and_iou_one_drops_only_copies() -> None:
    array = boxes.as_array([(0, 0, 10, 10), (0, 0, 10, 10), (0, 1, 10, 11)])
    assert boxes.nms(array, np.array([0.5, 0.5, 0.5]), 1.0) == [0, 2]


@given(st.lists(st.tuples(proper, st.floats(0, 1)), max_size=12), st.floats(0.05, 1.0))
def test_nms_keeps_exactly_what_no_better_kept_box_covers(
    items: list[tuple[boxes.Box, float]], threshold: float
) -> None:
    candidates, scores = [b for b, _ in items], np.array([s for _, s in items])
    indices = boxes.nms(boxes.as_array(candidates), scores, threshold)
    matrix = boxes.iou_matrix(boxes.as_array(candidates), boxes.as_array(candidates))
    for i in range(len(items)):
        better = [k for k in indices if k != i and (-scores[k], k) < (-scores[i], i)]
        covered = any(matrix[i, k] >= threshold for k in better)
        assert (i in indices) != covered


@pytest.mark.parametrize(
    ("centre", "name"),
    [((10, 10), "top left"), ((50, 10), "top"), ((90, 10), "top right"),
     ((10, 50), "left"), ((50, 50), "center"), ((90, 50), "right"),
     ((10, 90), "bottom left"), ((50, 90), "bottom"), ((90, 90), "bottom right"),
     ((37.9, 50), "left"), ((38, 50), "center"), ((62, 50), "center"), ((62.1, 50), "right")],
)  # fmt: skip
def test_relative_position_in_a_hundred_pixel_parent(centre: tuple[float, float], name: str) -> None:
    x, y = centre
    # the parent starts at (200, 300): positions are relative
    child = (195 + x, 295 + y, 205 + x, 305 + y)
    assert boxes.relative_position(child, (200, 300, 300, 400)) == name


def test_reading_order_goes_row_by_row() -> None:
    right_top, left_top, below, left_low = (
        (130, 5, 240, 120),
        (5, 12, 110, 120),
        (140, 140, 170, 170),
        (8, 150, 40, 180),
    )
    assert boxes.reading_order([below, right_top, left_low, left_top]) == [3, 1, 2, 0]


@given(st.lists(proper, max_size=10))
def test_reading_order_is_a_permutation(items: list[boxes.Box]) -> None:
    assert sorted(boxes.reading_order(items)) == list(range(len(items)))


few = st.integers(0, 6)  # so that centres coincide often
on_a_grid = st.builds(lambda x, y, w, h: (x, y, x + w + 1, y + h + 1), few, few, few, few)


@given(st.lists(on_a_grid, max_size=7), st.randoms(use_true_random=False))
def test_orders_are_the_boxes_own_whatever_order_they_come_in(items: list[boxes.Box], random: Random) -> None:
    """Boxes whose centres coincide were led by whichever came first, so that sorted boxes could be sorted anew."""
    shuffled = random.sample(items, len(items))
    for order in (boxes.reading_order, boxes.page_order):
        assert [items[i] for i in order(items)] == [shuffled[i] for i in order(shuffled)]


def test_page_order_goes_column_by_column_below_a_heading_that_spans_them() -> None:
    heading, footer = (0, 0, 220, 20), (0, 200, 220, 220)
    left, right = [(0, 30, 100, 90), (0, 110, 100, 180)], [(120, 30, 220, 90), (120, 110, 220, 180)]
    blocks = [right[1], footer, left[1], right[0], heading, left[0]]
    assert [blocks[i] for i in boxes.page_order(blocks)] == [heading, *left, *right, footer]


def test_page_order_makes_no_column_of_what_stands_above_all_of_the_rest() -> None:
    date, letter = (150, 0, 220, 20), (0, 40, 140, 200)  # right of the letter, but wholly above it
    assert boxes.page_order([letter, date]) == [1, 0]


def test_page_order_of_interlocking_boxes_is_their_reading_order() -> None:
    # a pinwheel around the middle: no gap runs through
    pinwheel = [(0, 0, 60, 30), (70, 0, 100, 60), (40, 70, 100, 100), (0, 40, 30, 100), (35, 35, 65, 65)]
    assert boxes.page_order(pinwheel) == boxes.reading_order(pinwheel)


@given(st.lists(proper, max_size=10))
def test_page_order_is_a_permutation_and_of_sorted_boxes_the_identity(items: list[boxes.Box]) -> None:
    order = boxes.page_order(items)
    assert sorted(order) == list(range(len(items)))
    assert boxes.page_order([items[i] for i in order]) == list(range(len(items)))


@given(st.lists(proper, min_size=1, max_size=6))
def test_the_hull_contains_every_box_and_shrinks_by_none(items: list[boxes.Box]) -> None:
    around = boxes.hull(items)
    assert all(boxes.intersection(b, around) == b for b in items)
    assert all(around[side] in {b[side] for b in items} for side in range(4))
