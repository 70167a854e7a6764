"""The bootstrap over images, against values that follow from the definition and against a literal loop."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ouro.benchmarks.intervals import difference, estimate


def _rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_means_overall_by_group_and_macro() -> None:
    kinds = ["count", "count", "count", "sign"]
    made = estimate([1, 0, 1, 1], ["i", "i", "j", "k"], kinds, rng=_rng(), resamples=200)
    assert made.overall.value == pytest.approx(3 / 4)
    assert made.groups["count"].value == pytest.approx(2 / 3)
    assert made.groups["sign"].value == 1.0
    assert made.macro.value == pytest.approx((2 / 3 + 1) / 2)
    assert (made.groups["count"].n, made.groups["sign"].n, made.macro.n) == (3, 1, 4)


def test_interval_agrees_with_a_literal_resampling_of_images() -> None:
    rng = np.random.default_rng(0)
    images = [f"i{j}" for j in rng.integers(0, 40, 300)]
    values = [float(v) for v in rng.random(300) < 0.6]
    made = estimate(values, images, ["t"] * 300, rng=_rng(), resamples=4000).overall
    by_image = {i: [v for v, j in zip(values, images, strict=True) if j == i] for i in set(images)}
    names = sorted(by_image)
    draws = [np.concatenate([by_image[n] for n in rng.choice(names, len(names))]).mean() for _ in range(4000)]
    low, high = np.quantile(draws, [0.025, 0.975])
    assert made.low == pytest.approx(low, abs=0.006)
    assert made.high == pytest.approx(high, abs=0.006)


def test_questions_of_one_image_count_as_one_draw() -> None:
    """Ten copies of every question about the same image tell nothing new: the interval stays as wide."""
    values, images = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0], list("abcdef")
    once = estimate(values, images, ["t"] * 6, rng=_rng(), resamples=2000).overall
    copied = estimate(values * 10, images * 10, ["t"] * 60, rng=_rng(), resamples=2000).overall
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    assert once.high - once.low > 0.5


def test_paired_difference_excludes_zero_where_unpaired_intervals_overlap() -> None:
    rng = np.random.default_rng(1)
    base = [float(v) for v in rng.random(200) < 0.4]
    better = [1.0 if k % 12 == 0 else v for k, v in enumerate(base)]
    images, kinds = [str(k) for k in range(200)], ["t"] * 200
    gain = difference(base, better, images, kinds, rng=_rng(), resamples=1000).overall
    old = estimate(base, images, kinds, rng=_rng(), resamples=1000).overall
    new = estimate(better, images, kinds, rng=_rng(), resamples=1000).overall
    assert gain.value == pytest.approx(new.value - old.value)
    assert gain.low > 0
    assert new.low < old.high


def test_coverage_is_near_its_level() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        values = [float(v) for v in rng.random(120) < 0.5]
        made = estimate(values, [str(k) for k in range(120)], ["t"] * 120, rng=rng, resamples=400).overall
        hits += made.low <= 0.5 <= made.high
    assert 180 <= hits <= 199  # 95% of 200 is 190; 10 below is over three standard deviations


def test_same_seed_same_interval_and_another_seed_another() -> None:
    values, images = [float(k % 3 == 0) for k in range(60)], [str(k // 2) for k in range(60)]
    first, again, other = (
        estimate(values, images, ["t"] * 60, rng=np.random.default_rng(s), resamples=500) for s in (1, 1, 2)
    )
    assert first == again
    assert first.overall != other.overall


def test_a_single_image_gives_a_point_and_a_rare_group_no_nan() -> None:
    alone = estimate([1, 0], ["i", "i"], ["t", "t"], rng=_rng(), resamples=100).overall
    assert (alone.low, alone.high) == (0.5, 0.5)
    kinds, images = ["rare"] + ["t"] * 30, [str(k) for k in range(31)]
    rare = estimate([1] + [0] * 30, images, kinds, rng=_rng(), resamples=300)
    assert (rare.groups["rare"].low, rare.groups["rare"].high) == (1.0, 1.0)
    assert not np.isnan([rare.macro.low, rare.macro.high]).any()


def test_draws_in_parts_cover_all_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    values, images = [float(k % 2) for k in range(50)], [str(k) for k in range(50)]
    whole = estimate(values, images, ["t"] * 50, rng=_rng(), resamples=333)
    monkeypatch.setattr("ouro.benchmarks.intervals._CELLS", 50 * 7)
    assert estimate(values, images, ["t"] * 50, rng=_rng(), resamples=333) == whole


@pytest.mark.parametrize(("values", "images"), [([], []), ([1.0], ["i", "j"])])
def test_empty_or_ragged_input_is_refused(values: list[float], images: list[str]) -> None:
    with pytest.raises(ValueError, match="expected the same number of each"):
        estimate(values, images, ["t"] * len(values), rng=_rng(), resamples=100)


def test_two_thousand_resamples_of_two_thousand_questions_in_a_second() -> None:
    rng = np.random.default_rng(0)
    values = [float(v) for v in rng.random(2000)]
    images, kinds = [str(k) for k in rng.integers(0, 300, 2000)], [str(k % 9) for k in range(2000)]
    began = time.perf_counter()
    estimate(values, images, kinds, rng=rng, resamples=2000)
    assert time.perf_counter() - began < 1.0
