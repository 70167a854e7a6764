"""Every benchmark's figure as a ratio of two sums, with its interval: sum(tops) / sum(bottoms).

An accuracy has bottoms of 1; the micro-F1 of matched pairs is 2 matched over predicted + reference; the F1 of yes is
2 true positives over those plus both kinds of error. So one bootstrap serves them all, and a paired difference of two
models draws the same pictures for both. Whole pictures (documents) are drawn, as in ouro.benchmarks.intervals, whose
percentile interval this is; more than BLOCKS pictures are put into BLOCKS random blocks first, which leaves the
variance as it is and the work bounded.

Legend: N questions, C clusters (pictures or blocks of them), G kinds, R resamples, K sums a question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from ouro.benchmarks.intervals import LEVEL, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

T = TypeVar("T")
BLOCKS = 4096
_CELLS = 4_000_000  # of the draws held at once: 32 MB


@dataclass(frozen=True, slots=True)
class Difference:
    """Second minus first on the same questions: 95% interval, and two-sided bootstrap p of no difference."""

    value: float
    low: float
    high: float
    p: float
    n: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Ratios(Generic[T]):
    """One figure: by kind, over all questions (micro), and as the unweighted mean of the kinds (macro)."""

    kinds: dict[str, T]
    micro: T
    macro: T


class Groups:
    """The pictures and kinds of N questions, as codes."""

    def __init__(self, images: Sequence[str], kinds: Sequence[str], seed: int) -> None:
        names, self.kind = _codes(kinds)
        self.names: list[str] = names
        _, cluster = _codes(images)
        self.clusters = int(cluster.max()) + 1 if len(cluster) else 0
        if self.clusters > BLOCKS:
            block = np.random.default_rng([seed, 1]).permutation(self.clusters) % BLOCKS
            cluster, self.clusters = block[cluster], BLOCKS
        self.cluster = cluster

    def sums(self, columns: Sequence[Floats]) -> Floats:
        """(C, G, K + 1) sums of the columns (N,) each, the last of them the number of questions."""
        cell = self.cluster * len(self.names) + self.kind
        size = self.clusters * len(self.names)
        ones = np.ones(len(self.kind))
        made = [np.bincount(cell, weights=column, minlength=size) for column in (*columns, ones)]
        return np.stack(made, axis=-1, dtype=np.float64).reshape(self.clusters, len(self.names), -1)


def _codes(values: Sequence[str]) -> tuple[list[str], Codes]:
    """Distinct values, sorted, and each value's place among them."""
    place: dict[str, int] = {}
    seen = np.fromiter((place.setdefault(v, len(place)) for v in values), dtype=np.int64, count=len(values))
    names = sorted(place)
    order = np.empty(len(names), dtype=np.int64)
    order[[place[name] for name in names]] = np.arange(len(names))
    return names, order[seen] if len(names) else seen


def values(tops: Floats, bottoms: Floats, kinds: Sequence[str]) -> Ratios[float]:
    """sum(tops) / sum(bottoms), without intervals; all three of length N. Raises ValueError as `estimates` does."""
    _check(tops, bottoms, kinds, kinds)
    groups = Groups([""] * len(kinds), kinds, 0)
    return _named(groups.names, [float(made[0]) for made in _figures(groups.sums([tops, bottoms]), 0, 1)])


def estimates(
    tops: Floats, bottoms: Floats, images: Sequence[str], kinds: Sequence[str], *, seed: int, resamples: int
) -> Ratios[Estimate]:
    """sum(tops) / sum(bottoms) with 95% intervals; all four of length N. A kind that a draw lacks is left out of it.

    Raises ValueError on empty or ragged input.
    """
    _check(tops, bottoms, images, kinds)
    groups = Groups(images, kinds, seed)
    sums = groups.sums([tops, bottoms])
    point = _figures(sums.sum(0)[None], 0, 1)
    drawn = [_figures(total, 0, 1) for total in _draws(sums, seed, resamples)]
    made = [_interval(p[0], np.concatenate(d)) for p, d in zip(point, zip(*drawn, strict=True), strict=True)]
    counts = [*sums[..., -1].sum(0).astype(int).tolist(), len(tops), len(tops)]
    wrapped = [Estimate(*values, n) for values, n in zip(made, counts, strict=True)]
    return _named(groups.names, wrapped)


def differences(
    first: tuple[Floats, Floats], second: tuple[Floats, Floats], images: Sequence[str], kinds: Sequence[str], *,
    seed: int, resamples: int,
) -> Ratios[Difference]:  # fmt: skip
    """Second minus first, each (tops, bottoms) of the same N questions in the same order."""
    for tops, bottoms in (first, second):
        _check(tops, bottoms, images, kinds)
    groups = Groups(images, kinds, seed)
    sums = groups.sums([*first, *second])

    def gains(totals: Floats) -> list[Floats]:
        return [b - a for a, b in zip(_figures(totals, 0, 1), _figures(totals, 2, 3), strict=True)]

    point = gains(sums.sum(0)[None])
    drawn = [gains(total) for total in _draws(sums, seed, resamples)]
    every = [np.concatenate(d) for d in zip(*drawn, strict=True)]
    counts = [*sums[..., -1].sum(0).astype(int).tolist(), len(images), len(images)]
    made = [Difference(*_interval(p[0], d), _p(d), n) for p, d, n in zip(point, every, counts, strict=True)]
    return _named(groups.names, made)


def _named(names: list[str], made: list[T]) -> Ratios[T]:
    return Ratios(dict(zip(names, made, strict=False)), made[-2], made[-1])


def _check(tops: Floats, bottoms: Floats, images: Sequence[str], kinds: Sequence[str]) -> None:
    if not len(tops) or not len(tops) == len(bottoms) == len(images) == len(kinds):
        raise ValueError(
            f"bootstrap: got {len(tops)} and {len(bottoms)} values, {len(images)} images, {len(kinds)} kinds; expected "
            "the same number of each, at least one"
        )


def _draws(sums: Floats, seed: int, resamples: int) -> Iterator[Floats]:
    """(r, G, K + 1) sums of clusters drawn with replacement, R in all."""
    clusters, *rest = sums.shape
    flat = sums.reshape(clusters, -1)
    rng = np.random.default_rng(seed)
    share = np.full(clusters, 1.0 / clusters)
    step = max(1, _CELLS // clusters)
    for start in range(0, resamples, step):
        drawn = rng.multinomial(clusters, share, size=min(step, resamples - start)).astype(np.float64)
        yield (drawn @ flat).reshape(len(drawn), *rest)


def _figures(totals: Floats, top: int, bottom: int) -> list[Floats]:
    """Of (r, G, K + 1) sums: the figure (r,) of each kind, over all, and the mean of the kinds."""
    present = totals[..., -1] > 0
    kinds = _ratio(totals[..., top], totals[..., bottom])
    kinds[~present] = np.nan
    micro = _ratio(totals[..., top].sum(1), totals[..., bottom].sum(1))
    return [*kinds.T, micro, np.nanmean(kinds, axis=1)]


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """top / bottom, and 0 where nothing was said and nothing was to be said."""
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)


def _interval(value: float, draws: Floats) -> tuple[float, float, float]:
    tail = (1.0 - LEVEL) / 2
    low, high = np.nanquantile(draws, [tail, 1.0 - tail])
    return float(value), float(low), float(high)


def _p(draws: Floats) -> float:
    """Twice the share of resamples on the rarer side of 0, those at 0 on both (Davison and Hinkley 1997, 4.4)."""
    kept = draws[~np.isnan(draws)]
    sides = min((kept <= 0).sum(), (kept >= 0).sum())
    return float(min(1.0, 2 * (1 + sides) / (1 + len(kept))))
