"""Figures as ratios of sums: values by hand, intervals against theory, paired differences."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.benchmarks import ratios
from ouro.benchmarks.ratios import BLOCKS, contrasts, differences, estimates

ONES = np.ones(4)


def test_accuracy_micro_and_macro_by_hand() -> None:
    estimate = estimates(
        np.array([1.0, 0.0, 1.0, 1.0]), ONES, list("abcd"), ["x", "x", "x", "y"], seed=0, resamples=100
    )
    assert {kind: e.value for kind, e in estimate.kinds.items()} == {"x": pytest.approx(2 / 3), "y": 1.0}
    assert estimate.micro.value == 0.75 and estimate.macro.value == pytest.approx((2 / 3 + 1) / 2)
    assert (estimate.kinds["x"].n, estimate.kinds["y"].n, estimate.micro.n, estimate.macro.n) == (3, 1, 4, 4)


def test_a_micro_f1_is_not_a_mean_of_f1s() -> None:
    """Matched, predicted, reference of two documents: 1 of 1 and 1, and 1 of 3 and 4; F1 is 4 / 9, not a mean."""
    estimate = estimates(np.array([2.0, 2.0]), np.array([2.0, 7.0]), ["a", "b"], ["k", "k"], seed=0, resamples=100)
    assert estimate.micro.value == pytest.approx(4 / 9)
    nothing = estimates(np.zeros(2), np.zeros(2), ["a", "b"], ["k", "k"], seed=0, resamples=100)
    assert nothing.micro.value == 0.0, "nothing said and nothing to be said is 0, as in the reference"


def test_the_macro_of_f1s_is_the_mean_of_the_kinds_ratios() -> None:
    """Kind x: 2 * (1 + 0) of 2 + 3, kind y: 2 of 2, kind z: nothing said and nothing to be said."""
    tops, bottoms = np.array([2.0, 0.0, 2.0, 0.0]), np.array([2.0, 3.0, 2.0, 0.0])
    estimate = estimates(tops, bottoms, list("abcd"), list("xxyz"), seed=0, resamples=200)
    assert {kind: e.value for kind, e in estimate.kinds.items()} == {"x": pytest.approx(0.4), "y": 1.0, "z": 0.0}
    assert estimate.micro.value == pytest.approx(4 / 7) and estimate.macro.value == pytest.approx(1.4 / 3)
    for e in (estimate.micro, estimate.macro, *estimate.kinds.values()):
        assert e.low <= e.value <= e.high


def test_an_f1s_interval_draws_both_sums_together() -> None:
    """One document of two is drawn twice, or each once: F1 is 0, 2/3 or 1 in shares of 1/4, 1/2 and 1/4."""
    estimate = estimates(
        np.array([2.0, 0.0]), np.array([2.0, 1.0]), ["a", "b"], ["k", "k"], seed=0, resamples=2000
    ).micro
    assert (estimate.value, estimate.low, estimate.high) == (pytest.approx(2 / 3), 0.0, 1.0)


def test_interval_agrees_with_a_literal_resampling_of_images() -> None:
    rng = np.random.default_rng(0)
    images = [f"i{j}" for j in rng.integers(0, 40, 300)]
    scores = (rng.random(300) < 0.6).astype(float)
    micro = estimates(scores, np.ones(300), images, ["t"] * 300, seed=5, resamples=4000).micro
    by_image = {i: [v for v, j in zip(scores, images, strict=True) if j == i] for i in set(images)}
    names = sorted(by_image)
    draws = [np.concatenate([by_image[n] for n in rng.choice(names, len(names))]).mean() for _ in range(4000)]
    assert (micro.low, micro.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.006)


def test_questions_of_one_image_count_as_one_draw() -> None:
    """Ten copies of every question about the same image tell nothing new: the interval stays as wide."""
    scores, images = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0]), list("abcdef")
    once = estimates(scores, np.ones(6), images, ["t"] * 6, seed=5, resamples=2000).micro
    copied = estimates(np.tile(scores, 10), np.ones(60), images * 10, ["t"] * 60, seed=5, resamples=2000).micro
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    assert once.high - once.low > 0.5


def test_coverage_is_near_its_level() -> None:
    rng, images = np.random.default_rng(3), [str(k) for k in range(120)]
    hits = 0
    for seed in range(200):
        scores = (rng.random(120) < 0.5).astype(float)
        micro = estimates(scores, np.ones(120), images, ["t"] * 120, seed=seed, resamples=400).micro
        hits += micro.low <= 0.5 <= micro.high
    assert 180 <= hits <= 199  # 95% of 200 is 190; 10 below is over three standard deviations


@pytest.mark.filterwarnings("error")
def test_a_single_image_gives_a_point_and_a_rare_kind_no_nan() -> None:
    alone = estimates(np.array([1.0, 0.0]), np.ones(2), ["i", "i"], ["t", "t"], seed=5, resamples=100).micro
    assert (alone.low, alone.high) == (0.5, 0.5)
    kinds, images = ["rare"] + ["t"] * 30, [str(k) for k in range(31)]
    rare = estimates(np.array([1.0] + [0.0] * 30), np.ones(31), images, kinds, seed=5, resamples=300)
    assert (rare.kinds["rare"].low, rare.kinds["rare"].high) == (1.0, 1.0)
    assert not np.isnan([rare.macro.low, rare.macro.high]).any()


def test_draws_in_parts_cover_all_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, images = np.array([0.0, 1.0] * 25), [str(k) for k in range(50)]
    whole = estimates(scores, np.ones(50), images, ["t"] * 50, seed=5, resamples=333)
    monkeypatch.setattr(ratios, "_CELLS", 50 * 7)
    assert estimates(scores, np.ones(50), images, ["t"] * 50, seed=5, resamples=333) == whole


def test_the_difference_of_two_margins_by_hand() -> None:
    """Pictures a and b, of kinds x and y. First: 1 and 0, shuffled 1 and 0, margin 0. Second: 1 and 1, shuffled 0 and
    1, margin 1 on a and 0 on b, 1/2 in the mean; drawn a twice it is 1, b twice 0."""
    first, first_shuffled = np.array([1.0, 0.0]), np.array([1.0, 0.0])
    second, second_shuffled, ones = np.array([1.0, 1.0]), np.array([0.0, 1.0]), np.ones(2)
    where: dict[str, Any] = {"images": ["a", "b"], "kinds": ["x", "y"], "seed": 0, "resamples": 400}
    margin = differences((second_shuffled, ones), (second, ones), **where)
    assert (margin.micro.value, margin.micro.low, margin.micro.high) == (0.5, 0.0, 1.0)
    assert (margin.kinds["x"].value, margin.kinds["y"].value, margin.macro.value) == (1.0, 0.0, 0.5)
    plus = [(second, ones), (first_shuffled, ones)]
    minus = [(first, ones), (second_shuffled, ones)]
    gain = contrasts(plus, minus, **where)
    assert (gain.micro.value, gain.micro.low, gain.micro.high, gain.micro.n) == (0.5, 0.0, 1.0, 2)
    assert (gain.kinds["x"].value, gain.kinds["y"].value, gain.kinds["x"].p) == (1.0, 0.0, pytest.approx(0.0, abs=0.01))
    none = contrasts([(first, ones), (second, ones)], [(first, ones), (second, ones)], **where)
    assert (none.macro.value, none.macro.low, none.macro.high, none.macro.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_margin_of_f1s_is_the_difference_of_the_two_ratios() -> None:
    """Own F1 4/9; of the shuffled replies 2/9: one pair fewer of as many."""
    right, shuffled = (np.array([2.0, 2.0]), np.array([2.0, 7.0])), (np.array([0.0, 2.0]), np.array([2.0, 7.0]))
    margin = differences(shuffled, right, ["a", "b"], ["k", "k"], seed=0, resamples=400).micro
    assert margin.value == pytest.approx(2 / 9)
    assert (margin.low, margin.high) == (0.0, 1.0)  # b twice: 2/7 - 2/7; a twice: 1 - 0


def test_two_thousand_resamples_of_two_thousand_questions_lie_around_their_mean() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(2000)
    images, kinds = [str(k) for k in rng.integers(0, 300, 2000)], [str(k % 9) for k in range(2000)]
    micro = estimates(scores, np.ones(2000), images, kinds, seed=0, resamples=2000).micro
    assert micro.value == pytest.approx(scores.mean())
    assert micro.low < micro.value < micro.high


def test_many_pictures_in_blocks_have_the_interval_of_theory() -> None:
    n = 5 * BLOCKS
    values = (np.random.default_rng(3).random(n) < 0.3).astype(float)
    estimate = estimates(values, np.ones(n), [str(i) for i in range(n)], ["all"] * n, seed=0, resamples=2000).micro
    p = estimate.value
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * (p * (1 - p) / n) ** 0.5, rel=0.08)
    assert estimate.low < p < estimate.high


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
    difference = differences((first, ones), (second, ones), images, kinds, seed=0, resamples=2000).micro
    apart = [estimates(v, ones, images, kinds, seed=0, resamples=2000).micro for v in (first, second)]
    assert difference.value == pytest.approx(second.mean() - first.mean())
    assert 0 < difference.low < difference.value < difference.high
    assert difference.p == pytest.approx(2 / 2001)
    assert difference.high - difference.low < 0.5 * (apart[0].high - apart[0].low), "unpaired, the gain would drown"
    same = differences((first, ones), (first, ones), images, kinds, seed=0, resamples=200).macro
    assert (same.value, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_difference_of_f1s_by_hand_and_the_other_way_round() -> None:
    """F1 4/9 against 6/9: the second matched a pair more of the same 9."""
    first, second = (np.array([2.0, 2.0]), np.array([2.0, 7.0])), (np.array([2.0, 4.0]), np.array([2.0, 7.0]))
    difference = differences(first, second, ["a", "b"], ["k", "k"], seed=0, resamples=400).micro
    back = differences(second, first, ["a", "b"], ["k", "k"], seed=0, resamples=400).micro
    assert difference.value == pytest.approx(2 / 9)
    assert (difference.low, difference.high) == (0.0, pytest.approx(2 / 7))  # document a twice, document b twice
    assert (back.value, back.low, back.high, back.p) == pytest.approx(
        (-difference.value, -difference.high, -difference.low, difference.p)
    )


def test_paired_pictures_stay_in_their_block() -> None:
    """Beyond BLOCKS pictures: the gain's width is that of theory for paired scores, sd / sqrt(n)."""
    n = 2 * BLOCKS + 100
    rng = np.random.default_rng(4)
    first = (rng.random(n) < 0.5).astype(float)
    second = np.where(rng.random(n) < 0.1, 1.0 - first, first)
    images, ones = [str(i) for i in range(n)], np.ones(n)
    difference = differences((first, ones), (second, ones), images, ["all"] * n, seed=0, resamples=2000).micro
    assert difference.high - difference.low == pytest.approx(2 * 1.96 * (second - first).std() / n**0.5, rel=0.08)


ROWS = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0.1, 5), st.sampled_from("abc"), st.sampled_from("xy")),
    min_size=1, max_size=30,
)  # fmt: skip


@given(ROWS, st.randoms(use_true_random=False))
def test_a_ratio_lies_between_the_least_and_the_greatest_and_order_decides_nothing(
    rows: list[tuple[float, float, str, str]], random: Random
) -> None:
    def summarize(rows: list[tuple[float, float, str, str]]) -> list[tuple[float, float, float, int]]:
        bottoms = np.array([row[1] for row in rows])
        tops = bottoms * [row[0] for row in rows]
        every = estimates(tops, bottoms, [r[2] for r in rows], [r[3] for r in rows], seed=0, resamples=100)
        return [(e.value, e.low, e.high, e.n) for e in (every.micro, every.macro, *every.kinds.values())]

    one = summarize(rows)
    least, greatest = min(row[0] for row in rows), max(row[0] for row in rows)
    assert all(least - 1e-9 <= v <= greatest + 1e-9 for *values, _ in one for v in values)
    mixed = random.sample(rows, len(rows))
    assert [v for row in summarize(mixed) for v in row] == pytest.approx([v for row in one for v in row], abs=1e-9)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abc"), st.sampled_from("xy")), min_size=1, max_size=30)
)  # fmt: skip
def test_a_mean_and_its_interval_lie_between_the_least_and_the_greatest(rows: list[tuple[float, str, str]]) -> None:
    values = np.array([row[0] for row in rows])
    estimate = estimates(
        values, np.ones(len(rows)), [r[1] for r in rows], [r[2] for r in rows], seed=0, resamples=50
    )  # fmt: skip
    for e in (estimate.micro, estimate.macro, *estimate.kinds.values()):
        assert values.min() - 1e-12 <= e.low <= e.high <= values.max() + 1e-12
        assert values.min() - 1e-12 <= e.value <= values.max() + 1e-12


def test_ragged_or_no_input_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0 and 0 values, 0 images, 0 kinds"):
        estimates(np.zeros(0), np.zeros(0), [], [], seed=0, resamples=100)
    with pytest.raises(ValueError, match="got 4 and 4 values, 3 images, 4 kinds"):
        estimates(ONES, ONES, list("abc"), list("abcd"), seed=0, resamples=100)
