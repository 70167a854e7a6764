"""Every benchmark's figure as a ratio of two sums, with its interval: sum(tops) / sum(bottoms).

An accuracy has bottoms of 1; the micro-F1 of matched pairs is 2 matched over predicted + reference; the F1 of yes is
2 true positives over those plus both kinds of error. So one bootstrap serves them all: a figure, the paired difference
of two models, the grounded margin (a model's figure minus its own on shuffled pictures), and the difference of two
margins are sums of such ratios, some taken negatively, of which every draw takes the same pictures.

Questions about one picture are not independent, so whole pictures (documents) are drawn with replacement: cluster
bootstrap with percentile intervals (Efron and Tibshirani 1993, chapter 13; Davison and Hinkley 1997, section 3.8). More
than BLOCKS pictures are put into BLOCKS random blocks first, which leaves the variance as it is and the work bounded.

Legend: N questions, C clusters (pictures or blocks of them), G kinds, R resamples, K sums a question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from ouro.benchmarks.intervals import LEVEL, Difference, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]
    Sums = tuple[Floats, Floats]  # tops and bottoms (N,)

T = TypeVar("T", bound=Estimate)
MACRO, OVERALL = "macro-average", "all questions"
BLOCKS = 4096
_CELLS = 4_000_000  # of the draws held at once: 32 MB


@dataclass(frozen=True, slots=True)
class Ratios(Generic[T]):
    """One figure: by kind, over all questions (micro), and as the unweighted mean of the kinds (macro)."""

    kinds: dict[str, T]
    micro: T
    macro: T

    def of(self, kind: str) -> T:
        """That of a kind, of MACRO or of OVERALL."""
        return {MACRO: self.macro, OVERALL: self.micro}.get(kind) or self.kinds[kind]

    def reported(self, macro: bool) -> T:
        return self.macro if macro else self.micro

    def to_json(self) -> dict[str, Any]:
        kinds = {kind: value.to_json() for kind, value in self.kinds.items()}
        return {"micro": self.micro.to_json(), "macro": self.macro.to_json(), "kinds": kinds}


def from_json(content: Mapping[str, Any]) -> Ratios[Estimate]:
    """What Ratios.to_json wrote; of differences where it wrote those."""
    kinds = {kind: Estimate.from_json(row) for kind, row in content["kinds"].items()}
    return Ratios(kinds, Estimate.from_json(content["micro"]), Estimate.from_json(content["macro"]))


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
        columns_of_sums = [np.bincount(cell, weights=column, minlength=size) for column in (*columns, ones)]
        return np.stack(columns_of_sums, axis=-1, dtype=np.float64).reshape(self.clusters, len(self.names), -1)


def _codes(values: Sequence[str]) -> tuple[list[str], Codes]:
    """Distinct values, sorted, and each value's place among them."""
    place: dict[str, int] = {}
    seen = np.fromiter((place.setdefault(v, len(place)) for v in values), dtype=np.int64, count=len(values))
    names = sorted(place)
    order = np.empty(len(names), dtype=np.int64)
    order[[place[name] for name in names]] = np.arange(len(names))
    return names, order[seen] if len(names) else seen


def estimates(
    tops: Floats, bottoms: Floats, images: Sequence[str], kinds: Sequence[str], *, seed: int, resamples: int
) -> Ratios[Estimate]:
    """sum(tops) / sum(bottoms) with 95% intervals; all four of length N. A kind that a draw lacks is left out of it.

    With a single picture the interval is a point. Raises ValueError on empty or ragged input.
    """
    drawn = _bootstrap([(tops, bottoms)], [], images, kinds, seed, resamples)
    return _named({kind: Estimate(value, *_interval(draws), n) for kind, value, draws, n in drawn})


def differences(
    first: Sums, second: Sums, images: Sequence[str], kinds: Sequence[str], *, seed: int, resamples: int
) -> Ratios[Difference]:
    """Second minus first, each (tops, bottoms) of the same N questions in the same order."""
    return contrasts([second], [first], images, kinds, seed=seed, resamples=resamples)


def contrasts(
    plus: Sequence[Sums], minus: Sequence[Sums], images: Sequence[str], kinds: Sequence[str], *,
    seed: int, resamples: int,
) -> Ratios[Difference]:  # fmt: skip
    """The figures of `plus` minus those of `minus`, as many, of the same N questions in the same order; with p."""
    drawn = _bootstrap(plus, minus, images, kinds, seed, resamples)
    return _named({kind: Difference(value, *_interval(draws), n, _p(draws)) for kind, value, draws, n in drawn})


class _Drawn(NamedTuple):
    """A kind (or MACRO, OVERALL): the figure, the same in every resample (R,), and the number of questions."""

    kind: str
    value: float
    draws: Floats
    n: int


def _bootstrap(
    plus: Sequence[Sums], minus: Sequence[Sums], images: Sequence[str], kinds: Sequence[str], seed: int, resamples: int
) -> list[_Drawn]:
    """The contrast of the terms; those of one kind are subtracted pair by pair, so that equal ones leave exactly 0."""
    for tops, bottoms in (*plus, *minus):
        _check(tops, bottoms, images, kinds)
    groups = Groups(images, kinds, seed)
    sums = groups.sums([column for term in (*plus, *minus) for column in term])

    def contrast(totals: Floats) -> list[Floats]:
        terms = [_figures(totals, 2 * i, 2 * i + 1) for i in range(len(plus) + len(minus))]
        if not minus:
            return terms[0]
        pairs = zip(terms[: len(plus)], terms[len(plus) :], strict=True)
        gains = [[a - b for a, b in zip(x, y, strict=True)] for x, y in pairs]
        return [np.sum(column, axis=0) for column in zip(*gains, strict=True)]

    points = contrast(sums.sum(0)[None])
    draws = zip(*(contrast(total) for total in _draws(sums, seed, resamples)), strict=True)
    counts = [*sums[..., -1].sum(0).astype(int).tolist(), len(images), len(images)]
    names = [*groups.names, OVERALL, MACRO]
    return [
        _Drawn(name, float(point[0]), np.concatenate(drawn), n)
        for name, point, drawn, n in zip(names, points, draws, counts, strict=True)
    ]


def _named(figures: dict[str, T]) -> Ratios[T]:
    *kinds, (_, micro), (_, macro) = figures.items()
    return Ratios(dict(kinds), micro, macro)


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


def _interval(draws: Floats) -> tuple[float, float]:
    tail = (1.0 - LEVEL) / 2
    low, high = np.nanquantile(draws, [tail, 1.0 - tail])
    return float(low), float(high)


def _p(draws: Floats) -> float:
    """Twice the share of resamples on the rarer side of 0, those at 0 on both (Davison and Hinkley 1997, 4.4)."""
    present = draws[~np.isnan(draws)]
    sides = min((present <= 0).sum(), (present >= 0).sum())
    return float(min(1.0, 2 * (1 + sides) / (1 + len(present))))
