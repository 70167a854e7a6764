"""A benchmark's replies judged one by one and added up.

What a model scores is reported beside what explains it away: `constant`, the score of each kind's most frequent answer
(what a model without eyes but with the benchmark's priors would guess), and `shuffled`, its own score when it is shown
other pictures (ouro.benchmarks.asking).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ouro.benchmarks.intervals import Estimate
from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.judging import Judged, Metric
from ouro.benchmarks.predictions import SHOWN, listed
from ouro.benchmarks.ratios import Ratios, estimates, values
from ouro.core.records import Rejected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ouro.benchmarks.loaders.registry import Benchmark

CHUNK = 10_000  # items that are judged at once
Group = tuple[str, str]  # kind and key: what a constant answer is chosen for


class MissingPredictions(BenchmarkFileError):
    """Questions that have no prediction."""


@dataclass
class Samples:
    """What every reply adds to each figure, in the order of the questions; (N,) each."""

    names: tuple[str, ...]
    ids: list[str] = field(default_factory=list[str])
    images: list[str] = field(default_factory=list[str])
    kinds: list[str] = field(default_factory=list[str])
    readable: array[int] = field(default_factory=lambda: array("b"))
    parts: list[array[float]] = field(default_factory=lambda: [])  # top and bottom of each figure in turn
    _known: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.parts = self.parts or [array("d") for _ in range(2 * len(self.names))]

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, item: Item, judged: Judged) -> None:
        image = item.document or item.image
        self.ids.append(item.item_id)
        self.images.append(self._known.setdefault(image, image))
        self.kinds.append(self._known.setdefault(item.kind, item.kind))
        self.readable.append(judged.readable)
        for column, value in zip(self.parts, (v for part in judged.parts for v in part), strict=True):
            column.append(value)

    def figure(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Tops and bottoms (N,) of a figure."""
        at = 2 * self.names.index(name)
        return np.asarray(self.parts[at]), np.asarray(self.parts[at + 1])


class Account(NamedTuple):
    """Questions of the files: judged, those without a prediction that count as wrong, and those that were rejected."""

    n_in: int
    n_out: int
    missing: int
    rejected: dict[str, int]


@dataclass(frozen=True, slots=True)
class Score:
    """The figures of one model on one benchmark. `constant`, `shuffled`: the reported figure of the two controls."""

    bench: Benchmark
    protocol: str
    metric: Metric
    account: Account
    unreadable: float
    images: int
    figures: dict[str, Ratios[Estimate]]
    constant: float | None = None
    shuffled: float | None = None

    @property
    def reported(self) -> Estimate:
        """The figure that tables of papers show, on a scale of 1."""
        made = self.figures[self.metric.names[0]]
        return made.macro if self.metric.macro else made.micro

    def to_json(self) -> dict[str, Any]:
        return {
            "benchmark": self.bench.name, "title": self.bench.title, "family": self.bench.family,
            "split": self.bench.split, "protocol": self.protocol, "reported": self.metric.names[0],
            "macro": self.metric.macro, "points": self.metric.points, "n": self.account.n_out, "images": self.images,
            "missing": self.account.missing, "rejected": self.account.rejected, "unreadable": self.unreadable,
            "figures": {name: _ratios_json(made) for name, made in self.figures.items()},
            "controls": {"constant": self.constant, "shuffled": self.shuffled},
        }  # fmt: skip


def _ratios_json(made: Ratios[Estimate]) -> dict[str, Any]:
    kinds = {kind: e.to_json() for kind, e in made.kinds.items()}
    return {"micro": made.micro.to_json(), "macro": made.macro.to_json(), "kinds": kinds}


# ---- judging ---------------------------------------------------------------------------------------


def judge(
    found: Iterable[Item | Rejected],
    metric: Metric,
    reply: Callable[[Item], str | None],
    *,
    allow_missing: bool = False,
    progress: Callable[[int], None] = lambda n: None,
) -> tuple[Samples, Account]:
    """Judge the reply to each item; in = out + rejected.

    Raises MissingPredictions when items have no reply (how many, which), unless those count as wrong, and
    BenchmarkFileError when there is no item.
    """
    samples, rejected, missing = Samples(metric.names), Counter[str](), list[str]()
    without = 0
    for items in _chunks(_kept(found, rejected), 0 if metric.whole else CHUNK):
        replies = [reply(item) for item in items]
        for item, said in zip(items, replies, strict=True):
            if said is None:
                without += 1
                missing += [item.item_id] if len(missing) < SHOWN else []
        every = metric.judge(items, [metric.absent if said is None else said for said in replies])
        for item, said, judged in zip(items, replies, every, strict=True):
            samples.add(item, metric.nothing(judged) if said is None else judged)
        progress(len(items))
    if without and not allow_missing:
        raise MissingPredictions(
            f"{listed('question', without, missing)} of {len(samples)} have no prediction. Fix: predict them, or count "
            "them as wrong with --allow-missing"
        )
    if not len(samples):
        raise BenchmarkFileError(f"no question left to score; rejected: {dict(rejected) or 'none'}")
    return samples, Account(
        len(samples) + sum(rejected.values()), len(samples), without, dict(sorted(rejected.items()))
    )


def _kept(found: Iterable[Item | Rejected], rejected: Counter[str]) -> Iterator[Item]:
    for one in found:
        if isinstance(one, Item):
            yield one
        else:
            rejected[one.reason] += 1


def _chunks(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """Runs of `size` items; all of them for 0."""
    while chunk := list(islice(items, size or None)):
        yield chunk


def constant_answers(found: Iterable[Item | Rejected]) -> dict[Group, str]:
    """Each kind's (and key's) most frequent reference; of equally frequent ones the first by alphabet."""
    counts: dict[Group, Counter[str]] = {}
    for one in found:
        if isinstance(one, Item) and one.references:
            counts.setdefault((one.kind, one.key), Counter()).update(one.references)
    return {group: min(count, key=lambda answer: (-count[answer], answer)) for group, count in counts.items()}


def constant_score(load: Callable[[], Iterable[Item | Rejected]], metric: Metric) -> float | None:
    """The reported figure of `constant_answers`, counted on the benchmark's own answers; None where it has none."""
    answers = constant_answers(load())
    if not answers:
        return None
    samples, _ = judge(load(), metric, lambda item: answers.get((item.kind, item.key), ""))
    return point(samples, metric)


def point(samples: Samples, metric: Metric) -> float:
    """The reported figure without its interval."""
    made = values(*samples.figure(metric.names[0]), samples.kinds)
    return made.macro if metric.macro else made.micro


def score(
    bench: Benchmark, protocol: str, metric: Metric, samples: Samples, account: Account, *, seed: int, resamples: int
) -> Score:
    """Add the samples up. Intervals: bootstrap over pictures (documents)."""
    groups: tuple[Sequence[str], Sequence[str]] = (samples.images, samples.kinds)
    figures = {
        name: estimates(*samples.figure(name), *groups, seed=seed, resamples=resamples) for name in samples.names
    }
    unreadable = 1 - sum(samples.readable) / len(samples)
    return Score(bench, protocol or bench.protocols[0], metric, account, unreadable, len(set(samples.images)), figures)
