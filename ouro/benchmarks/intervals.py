"""Error bars: the percentile bootstrap over images.

Questions about one image are not independent, so whole images are drawn with replacement (cluster bootstrap;
Efron and Tibshirani 1993, chapter 13 for the percentile interval, Davison and Hinkley 1997, section 3.8 for
clusters). The interval of a difference is that of the paired per-question differences, same images drawn.

Legend: N questions, I images, G groups (question types), B resamples.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEVEL = 0.95
_CELLS = 4_000_000  # of the (B, I) matrix of draws held at once: 32 MB


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95% bootstrap interval; `n` questions are in it."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Estimate:
        return cls(float(row["value"]), float(row["low"]), float(row["high"]), int(row["n"]))


@dataclass(frozen=True, slots=True)
class Estimates:
    """One quantity over a set of questions: by group, over all questions, and as the mean of the groups."""

    groups: dict[str, Estimate]
    overall: Estimate
    macro: Estimate


def estimate(
    values: Sequence[float],
    images: Sequence[str],
    groups: Sequence[str],
    *,
    rng: np.random.Generator,
    resamples: int,
) -> Estimates:
    """Means of `values` (N,) and their intervals, with B = `resamples` draws of the I images.

    `images` and `groups` (N,) tell each question's image and type. A group that is absent from a draw is left
    out of that draw. With a single image the interval is a point. Raises ValueError on empty or ragged input.
    """
    if not values or not len(values) == len(images) == len(groups):
        raise ValueError(
            f"bootstrap: got {len(values)} values, {len(images)} images, {len(groups)} groups; "
            "expected the same number of each, at least one"
        )
    names, sums, counts = _tables(np.asarray(values, dtype=np.float64), images, groups)
    means, overall = _resample(sums, counts, rng, resamples)
    point = sums.sum(0) / counts.sum(0)
    n = int(counts.sum())
    return Estimates(
        {g: _estimate(point[j], means[:, j], int(counts[:, j].sum())) for j, g in enumerate(names)},
        _estimate(sums.sum() / n, overall, n),
        _estimate(point.mean(), np.nanmean(means, axis=1), n),
    )


def difference(
    base: Sequence[float],
    other: Sequence[float],
    images: Sequence[str],
    groups: Sequence[str],
    *,
    rng: np.random.Generator,
    resamples: int,
) -> Estimates:
    """`other` minus `base`, paired by question (N,): means and intervals as of `estimate`."""
    paired = [b - a for a, b in zip(base, other, strict=True)]
    return estimate(paired, images, groups, rng=rng, resamples=resamples)


def _tables(values: Floats, images: Sequence[str], groups: Sequence[str]) -> tuple[list[str], Floats, Floats]:
    """Group names (G), sums (I, G) of the values and counts (I, G) of the questions."""
    image_names, image = np.unique(np.asarray(images, dtype=str), return_inverse=True)
    group_names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    shape = (len(image_names), len(group_names))
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (image, group), values)
    np.add.at(counts, (image, group), 1.0)
    return [str(name) for name in group_names], sums, counts


def _resample(sums: Floats, counts: Floats, rng: np.random.Generator, resamples: int) -> tuple[Floats, Floats]:
    """Means by group (B, G), NaN where a draw has none, and over all questions (B,)."""
    n_images = len(sums)
    step = max(1, _CELLS // n_images)
    share = np.full(n_images, 1.0 / n_images)
    means: list[Floats] = []
    overall: list[Floats] = []
    for start in range(0, resamples, step):
        draws = rng.multinomial(n_images, share, size=min(step, resamples - start)).astype(np.float64)
        total, count = draws @ sums, draws @ counts
        means.append(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))
        overall.append(total.sum(1) / count.sum(1))
    return np.concatenate(means), np.concatenate(overall)


def _estimate(value: float, draws: Floats, n: int) -> Estimate:
    tail = (1.0 - LEVEL) / 2
    low, high = np.nanquantile(draws, [tail, 1.0 - tail])
    return Estimate(float(value), float(low), float(high), n)
