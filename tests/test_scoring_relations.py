"""R@K and mR@K of scene graphs. Objects of the tests overlap by a matrix written out; expected shares by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.benchmarks.scoring.relations import (
    Graph,
    Hits,
    Relation,
    mask_iou,
    match_relations,
    mean_recall_at,
    recall_at,
)
from ouro.core import boxes

ON, BESIDE, HOLDS = 0, 1, 2
SAME = np.eye(3)
TRUTH = Graph((5, 6, 7), (Relation(0, 1, ON), Relation(1, 2, BESIDE)))


def _hits(*relations: Relation, classes: tuple[int, ...] = (5, 6, 7), truth: Graph = TRUTH) -> Hits:
    hits = match_relations(Graph(classes, relations), truth, SAME)
    assert hits is not None
    return hits


def test_a_triple_needs_both_objects_both_classes_and_the_predicate() -> None:
    assert recall_at([_hits(Relation(0, 1, ON))], 20) == 0.5
    assert recall_at([_hits(Relation(1, 0, ON))], 20) == 0.0  # direction
    assert recall_at([_hits(Relation(0, 1, HOLDS))], 20) == 0.0
    assert recall_at([_hits(Relation(0, 1, ON), classes=(5, 9, 7))], 20) == 0.0
    assert recall_at([_hits(Relation(0, 2, ON))], 20) == 0.0


def test_an_iou_of_exactly_one_half_is_enough() -> None:
    predicted = Graph((5, 6), (Relation(0, 1, ON),))
    truth = Graph((5, 6), (Relation(0, 1, ON),))
    for value, expected in ((0.5, 1.0), (0.499, 0.0)):
        hits = match_relations(predicted, truth, np.diag([1.0, value]))
        assert hits is not None
        assert recall_at([hits], 20) == expected


def test_the_cut_takes_the_highest_scores() -> None:
    hits = _hits(Relation(0, 2, ON, 0.2), Relation(1, 2, BESIDE, 0.5), Relation(0, 1, ON, 0.9))
    assert [recall_at([hits], k) for k in (0, 1, 2, 3)] == [0.0, 0.5, 1.0, 1.0]
    assert hits.ranked[0] == {0}


def test_several_rows_may_name_one_ordered_pair() -> None:
    """OpenPSG: the graph constraint is an argmax a row. Truth holds ON between 0 and 1; HOLDS is predicted with 0.9."""
    truth = Graph((5, 6), (Relation(0, 1, ON),))
    hits = match_relations(Graph((5, 6), (Relation(0, 1, HOLDS, 0.9), Relation(0, 1, ON, 0.8))), truth, np.eye(2))
    assert hits is not None
    assert [recall_at([hits], k) for k in (1, 2, 20)] == [0.0, 1.0, 1.0]  # each row takes a place


def test_a_triple_that_is_predicted_twice_takes_two_places() -> None:
    hits = _hits(Relation(0, 1, ON, 0.9), Relation(0, 1, ON, 0.8), Relation(1, 2, BESIDE, 0.7))
    assert [recall_at([hits], k) for k in (1, 2, 3)] == [0.5, 0.5, 1.0]


def test_a_true_pair_may_have_several_predicates_and_a_double_counts_once() -> None:
    truth = Graph((5, 6, 7), (Relation(0, 1, ON), Relation(0, 1, HOLDS), Relation(0, 1, ON)))
    assert recall_at([_hits(Relation(0, 1, ON), truth=truth)], 20) == 0.5


def test_one_prediction_may_hit_several_true_triples() -> None:
    truth = Graph((5, 6, 6), (Relation(0, 1, ON), Relation(0, 2, ON)))
    overlap = np.array([[1.0, 0, 0], [0, 0.6, 0.5]])
    hits = match_relations(Graph((5, 6), (Relation(0, 1, ON),)), truth, overlap)
    assert hits is not None
    assert recall_at([hits], 1) == 1.0


def test_images_without_true_or_predicted_relations_are_skipped() -> None:
    assert match_relations(Graph((5, 6, 7), ()), TRUTH, SAME) is None
    assert match_relations(Graph((5, 6, 7), (Relation(0, 1, ON),)), Graph((5, 6, 7), ()), SAME) is None
    assert match_relations(Graph((), ()), TRUTH, np.zeros((0, 3))) is None


def test_recall_is_the_mean_over_images_not_over_triples() -> None:
    half = _hits(Relation(0, 1, ON))  # 1 of 2
    full = _hits(Relation(0, 1, ON), truth=Graph((5, 6, 7), (Relation(0, 1, ON),)))  # 1 of 1
    assert recall_at([half, full], 20) == 0.75  # over triples it were 2 / 3
    assert recall_at([], 20) == mean_recall_at([], 20) == 0.0


def test_mean_recall_divides_by_all_predicates() -> None:
    first = Hits((ON, ON, BESIDE), (frozenset({0}), frozenset({2})))  # ON 1/2, BESIDE 1/1
    second = Hits((ON,), (frozenset({0}),))  # ON 1/1
    assert mean_recall_at([first, second], 20) == pytest.approx((0.75 + 1.0) / 56)
    assert mean_recall_at([first, second], 1) == pytest.approx((0.75 + 0.0) / 56)
    assert mean_recall_at([first, second], 20, predicates=2) == pytest.approx(0.875)
    with pytest.raises(ValueError, match="got predicate 1, expected 0 to 0"):
        mean_recall_at([first], 20, predicates=1)


def test_an_overlap_of_another_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"got an overlap of shape \(3, 3\), expected \(2, 3\)"):
        match_relations(Graph((5, 6), ()), TRUTH, SAME)


def test_masks_overlap_as_counted_by_hand() -> None:
    left, right, empty = np.zeros((3, 2, 4), dtype=bool)
    left[:, :2] = True
    right[:, 1:3] = True
    overlaps = mask_iou(np.stack([left, empty]), np.stack([left, right, empty]))
    assert overlaps == pytest.approx(np.array([[1.0, 2 / 6, 0.0], [0.0, 0.0, 0.0]]))


def test_boxes_go_through_the_iou_matrix() -> None:
    objects = boxes.as_array([(0, 0, 10, 10), (20, 0, 30, 10)])
    taller = boxes.as_array([(0, 0, 10, 15), (20, 0, 30, 15)])
    graph = Graph((5, 6), (Relation(0, 1, ON),))
    hits = match_relations(graph, graph, boxes.iou_matrix(objects, taller))
    assert hits is not None
    assert recall_at([hits], 1) == 1.0  # 100 / 150 each


index = st.integers(0, 2)
relation = st.builds(Relation, index, index, index, st.floats(0, 1))


@given(st.lists(relation, min_size=1, max_size=8), st.lists(relation, min_size=1, max_size=8), st.integers(0, 9))
def test_recall_is_in_0_1_grows_with_k_and_is_1_for_the_truth(
    predicted: list[Relation], true: list[Relation], k: int
) -> None:
    truth = Graph((0, 1, 2), true)
    hits = match_relations(Graph((0, 1, 2), predicted), truth, SAME)
    assert hits is not None
    for measure in (recall_at, mean_recall_at):
        assert 0.0 <= measure([hits], k) <= measure([hits], k + 1) <= 1.0
    triples = list({(r.subject, r.object, r.predicate): r for r in true}.values())
    perfect = match_relations(Graph((0, 1, 2), triples), truth, SAME)
    assert perfect is not None
    assert recall_at([perfect], len(triples)) == 1.0
    assert mean_recall_at([perfect], len(triples), 3) == pytest.approx(len({r.predicate for r in triples}) / 3)
