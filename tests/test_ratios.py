"""Figures as ratios of sums: values by hand, intervals against theory, paired differences."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.benchmarks import intervals
from ouro.benchmarks.ratios import BLOCKS, differences, estimates, values

ONES = np.ones(4)


def test_accuracy_micro_and_macro_by_hand() -> None:
    made = estimates(np.array([1.0, 0.0, 1.0, 1.0]), ONES, list("abcd"), ["x", "x", "x", "y"], seed=0, resamples=100)
    assert {kind: e.value for kind, e in made.kinds.items()} == {"x": pytest.approx(2 / 3), "y": 1.0}
    assert made.micro.value == 0.75 and made.macro.value == pytest.approx((2 / 3 + 1) / 2)
    assert (made.kinds["x"].n, made.kinds["y"].n, made.micro.n, made.macro.n) == (3, 1, 4, 4)


def test_a_micro_f1_is_not_a_mean_of_f1s() -> None:
    """Matched, predicted, reference of two documents: 1 of 1 and 1, and 1 of 3 and 4; F1 is 4 / 9, not a mean."""
    made = estimates(np.array([2.0, 2.0]), np.array([2.0, 7.0]), ["a", "b"], ["k", "k"], seed=0, resamples=100)
    assert made.micro.value == pytest.approx(4 / 9)
    nothing = estimates(np.zeros(2), np.zeros(2), ["a", "b"], ["k", "k"], seed=0, resamples=100)
    assert nothing.micro.value == 0.0, "nothing said and nothing to be said is 0, as in the reference"


def test_the_macro_of_f1s_is_the_mean_of_the_kinds_ratios() -> None:
    """Kind x: 2 * (1 + 0) of 2 + 3, kind y: 2 of 2, kind z: nothing said and nothing to be said."""
    tops, bottoms = np.array([2.0, 0.0, 2.0, 0.0]), np.array([2.0, 3.0, 2.0, 0.0])
    made = estimates(tops, bottoms, list("abcd"), list("xxyz"), seed=0, resamples=200)
    assert {kind: e.value for kind, e in made.kinds.items()} == {"x": pytest.approx(0.4), "y": 1.0, "z": 0.0}
    assert made.micro.value == pytest.approx(4 / 7) and made.macro.value == pytest.approx(1.4 / 3)
    for e in (made.micro, made.macro, *made.kinds.values()):
        assert e.low <= e.value <= e.high


def test_an_f1s_interval_draws_both_sums_together() -> None:
    """One document of two is drawn twice, or each once: F1 is 0, 2/3 or 1 in shares of 1/4, 1/2 and 1/4."""
    made = estimates(np.array([2.0, 0.0]), np.array([2.0, 1.0]), ["a", "b"], ["k", "k"], seed=0, resamples=2000).micro
    assert (made.value, made.low, made.high) == (pytest.approx(2 / 3), 0.0, 1.0)


@pytest.mark.filterwarnings("error")
def test_values_are_those_of_the_estimates_without_a_draw() -> None:
    rng = np.random.default_rng(8)
    tops, bottoms, kinds = rng.random(40), rng.random(40) + 1, [str(i) for i in range(40)]
    made, plain = estimates(tops, bottoms, kinds, kinds, seed=0, resamples=2000), values(tops, bottoms, kinds)
    assert plain.kinds == {kind: e.value for kind, e in made.kinds.items()}
    assert (plain.micro, plain.macro) == (pytest.approx(made.micro.value), pytest.approx(made.macro.value))


def test_an_accuracy_has_the_interval_of_the_other_bootstrap() -> None:
    rng = np.random.default_rng(5)
    images = [str(i) for i in rng.integers(0, 80, 400)]
    values = (rng.random(400) < 0.6).astype(float)
    kinds = [str(i) for i in rng.integers(0, 3, 400)]
    ours = estimates(values, np.ones(400), images, kinds, seed=1, resamples=4000)
    theirs = intervals.estimate(
        values.tolist(), images, kinds, rng=np.random.default_rng(2), resamples=4000
    )  # fmt: skip
    for a, b in ((ours.micro, theirs.overall), (ours.macro, theirs.macro), (ours.kinds["0"], theirs.groups["0"])):
        assert a.value == pytest.approx(b.value)
        assert (a.low, a.high) == pytest.approx((b.low, b.high), abs=0.006)  # an end's Monte Carlo error: 0.001


def test_many_pictures_in_blocks_have_the_interval_of_theory() -> None:
    n = 5 * BLOCKS
    values = (np.random.default_rng(3).random(n) < 0.3).astype(float)
    made = estimates(values, np.ones(n), [str(i) for i in range(n)], ["all"] * n, seed=0, resamples=2000).micro
    p = made.value
    assert made.high - made.low == pytest.approx(2 * 1.96 * (p * (1 - p) / n) ** 0.5, rel=0.08)
    assert made.low < p < made.high


def test_the_same_seed_gives_the_same_interval_and_order_decides_nothing() -> None:
    rng = np.random.default_rng(0)
    scores, images = rng.random(60), [str(i % 20) for i in range(60)]
    one = estimates(scores, np.ones(60), images, ["k"] * 60, seed=4, resamples=300)
    assert estimates(scores, np.ones(60), images, ["k"] * 60, seed=4, resamples=300) == one
    assert estimates(scores, np.ones(60), images, ["k"] * 60, seed=5, resamples=300) != one
    order = rng.permutation(60)
    other = estimates(scores[order], np.ones(60), [images[i] for i in order], ["k"] * 60, seed=4, resamples=300)
    assert (one.micro.low, one.micro.high) == pytest.approx((other.micro.low, other.micro.high), abs=1e-12)


def test_paired_differences_know_that_the_questions_are_the_same() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random(500) < 0.5
    first = hard.astype(float)
    second = np.where(rng.random(500) < 0.06, 1.0, first)  # right wherever first was, and at times where it was not
    images, kinds = [str(i) for i in range(500)], ["k"] * 500
    ones = np.ones(500)
    made = differences((first, ones), (second, ones), images, kinds, seed=0, resamples=2000).micro
    apart = [estimates(v, ones, images, kinds, seed=0, resamples=2000).micro for v in (first, second)]
    assert made.value == pytest.approx(second.mean() - first.mean())
    assert 0 < made.low < made.value < made.high
    assert made.p == pytest.approx(2 / 2001)
    assert made.high - made.low < 0.5 * (apart[0].high - apart[0].low), "unpaired, the gain would drown"
    same = differences((first, ones), (first, ones), images, kinds, seed=0, resamples=200).macro
    assert (same.value, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_gain_has_the_interval_of_the_other_bootstrap() -> None:
    rng = np.random.default_rng(6)
    images, kinds = [str(i) for i in rng.integers(0, 90, 300)], [str(i) for i in rng.integers(0, 2, 300)]
    first, second, ones = rng.random(300), rng.random(300), np.ones(300)
    ours = differences((first, ones), (second, ones), images, kinds, seed=1, resamples=4000)
    theirs = intervals.difference(
        first.tolist(), second.tolist(), images, kinds, rng=np.random.default_rng(2), resamples=4000
    )
    for a, b in ((ours.micro, theirs.overall), (ours.macro, theirs.macro), (ours.kinds["1"], theirs.groups["1"])):
        assert a.value == pytest.approx(b.value)
        assert (a.low, a.high) == pytest.approx((b.low, b.high), abs=0.006)


def test_a_difference_of_f1s_by_hand_and_the_other_way_round() -> None:
    """F1 4/9 against 6/9: the second matched a pair more of the same 9."""
    first, second = (np.array([2.0, 2.0]), np.array([2.0, 7.0])), (np.array([2.0, 4.0]), np.array([2.0, 7.0]))
    made = differences(first, second, ["a", "b"], ["k", "k"], seed=0, resamples=400).micro
    back = differences(second, first, ["a", "b"], ["k", "k"], seed=0, resamples=400).micro
    assert made.value == pytest.approx(2 / 9)
    assert (made.low, made.high) == (0.0, pytest.approx(2 / 7))  # document a twice, document b twice
    assert (back.value, back.low, back.high, back.p) == pytest.approx((-made.value, -made.high, -made.low, made.p))


def test_paired_pictures_stay_in_their_block() -> None:
    """Beyond BLOCKS pictures: the gain's width is that of theory for paired scores, sd / sqrt(n)."""
    n = 2 * BLOCKS + 100
    rng = np.random.default_rng(4)
    first = (rng.random(n) < 0.5).astype(float)
    second = np.where(rng.random(n) < 0.1, 1.0 - first, first)
    images, ones = [str(i) for i in range(n)], np.ones(n)
    made = differences((first, ones), (second, ones), images, ["all"] * n, seed=0, resamples=2000).micro
    assert made.high - made.low == pytest.approx(2 * 1.96 * (second - first).std() / n**0.5, rel=0.08)


ROWS = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0.1, 5), st.sampled_from("abc"), st.sampled_from("xy")),
    min_size=1, max_size=30,
)  # fmt: skip


@given(ROWS, st.randoms(use_true_random=False))
def test_a_ratio_lies_between_the_least_and_the_greatest_and_order_decides_nothing(
    rows: list[tuple[float, float, str, str]], random: Random
) -> None:
    def made(rows: list[tuple[float, float, str, str]]) -> list[tuple[float, float, float, int]]:
        bottoms = np.array([row[1] for row in rows])
        tops = bottoms * [row[0] for row in rows]
        every = estimates(tops, bottoms, [r[2] for r in rows], [r[3] for r in rows], seed=0, resamples=100)
        return [(e.value, e.low, e.high, e.n) for e in (every.micro, every.macro, *every.kinds.values())]

    one = made(rows)
    least, greatest = min(row[0] for row in rows), max(row[0] for row in rows)
    assert all(least - 1e-9 <= v <= greatest + 1e-9 for *values, _ in one for v in values)
    mixed = random.sample(rows, len(rows))
    assert [v for row in made(mixed) for v in row] == pytest.approx([v for row in one for v in row], abs=1e-9)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abc"), st.sampled_from("xy")), min_size=1, max_size=30)
)  # fmt: skip
def test_a_mean_and_its_interval_lie_between_the_least_and_the_greatest(rows: list[tuple[float, str, str]]) -> None:
    values = np.array([row[0] for row in rows])
    made = estimates(
        values, np.ones(len(rows)), [r[1] for r in rows], [r[2] for r in rows], seed=0, resamples=50
    )  # fmt: skip
    for e in (made.micro, made.macro, *made.kinds.values()):
        assert values.min() - 1e-12 <= e.low <= e.high <= values.max() + 1e-12
        assert values.min() - 1e-12 <= e.value <= values.max() + 1e-12


def test_ragged_or_no_input_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0 and 0 values, 0 images, 0 kinds"):
        estimates(np.zeros(0), np.zeros(0), [], [], seed=0, resamples=100)
    with pytest.raises(ValueError, match="got 4 and 4 values, 3 images, 4 kinds"):
        estimates(ONES, ONES, list("abc"), list("abcd"), seed=0, resamples=100)
