"""A benchmark's replies judged one by one and added up.

What a model scores is reported beside what explains it away: `constant`, the score of each kind's best constant answer
(ouro.benchmarks.constants), and `shuffled`, its own score when it is shown
other pictures (ouro.benchmarks.asking). The grounded margin is what it keeps above the latter: what it sees, not what
it guesses.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ouro.benchmarks.constants import constant_answers
from ouro.benchmarks.intervals import Difference, Estimate
from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.judging import Judged, Metric
from ouro.benchmarks.predictions import MAX_LISTED, listed
from ouro.benchmarks.ratios import Ratios, differences, estimates
from ouro.benchmarks.thinking import spoken
from ouro.core.records import Rejected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ouro.benchmarks.loaders.registry import Benchmark

CONSTANT, SHUFFLED = "constant", "shuffled"
CHUNK = 10_000  # items that are judged at once
MAX_DETAILS = 3  # rejections of one reason that are told in words


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
    controls: dict[str, list[array[float]]] = field(default_factory=lambda: {})  # parts of CONSTANT and SHUFFLED
    other_images: list[str] = field(default_factory=list[str])  # shown in SHUFFLED; "" for none
    _strings: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.parts = self.parts or [array("d") for _ in range(2 * len(self.names))]

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, item: Item, judged: Judged) -> None:
        image = item.document or item.image
        self.ids.append(item.item_id)
        self.images.append(self._strings.setdefault(image, image))
        self.kinds.append(self._strings.setdefault(item.kind, item.kind))
        self.readable.append(judged.readable)
        for column, value in zip(self.parts, (v for part in judged.parts for v in part), strict=True):
            column.append(value)

    def figure(self, name: str, control: str = "") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Tops and bottoms (N,) of a figure, or of what a control has of it."""
        parts = self.controls[control] if control else self.parts
        at = 2 * self.names.index(name)
        return np.asarray(parts[at]), np.asarray(parts[at + 1])

    def beside(self, name: str, control: Samples, other_images: Sequence[str] = ()) -> Samples:
        """These with a control of the same questions. Raises ValueError for one of others."""
        if control.ids != self.ids:
            raise ValueError(f"control {name}: got {len(control)} questions, expected the same {len(self)} in order")
        controls = {**self.controls, name: control.parts}
        return replace(self, controls=controls, other_images=list(other_images) or self.other_images)


class Account(NamedTuple):
    """Questions of the files: judged, those without a prediction that count as wrong, and those that were rejected, by
    reason; `details`: of each reason the first ones in words. Of the replies: in how many the model thought aloud, and
    how many were cut before there was an answer (they are wrong); `forms`: how many are written in which form."""

    n_in: int
    n_out: int
    missing: int
    rejected: dict[str, int]
    details: dict[str, list[str]]
    thought: int = 0
    cut: int = 0
    forms: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Score:
    """The figures of one model on one benchmark.

    controls: CONSTANT and SHUFFLED, as far as they were made: what they score in the reported figure
    margin:   the grounded margin, where the model was shown other pictures, too; p is that of none
    notes:    what must be known of figures that are what they are by definition
    """

    bench: Benchmark
    protocol: str
    metric: Metric
    account: Account
    unreadable: float
    images: int
    figures: dict[str, Ratios[Estimate]]
    controls: dict[str, Ratios[Estimate]]
    margin: Ratios[Difference] | None
    notes: list[str]

    @property
    def reported(self) -> Estimate:
        """The figure that tables of papers show, on a scale of 1."""
        return self.figures[self.metric.names[0]].reported(self.metric.macro)

    @property
    def constant(self) -> float | None:
        return self._control(CONSTANT)

    @property
    def shuffled(self) -> float | None:
        return self._control(SHUFFLED)

    def _control(self, name: str) -> float | None:
        return self.controls[name].reported(self.metric.macro).value if name in self.controls else None

    def to_json(self) -> dict[str, Any]:
        return {
            "benchmark": self.bench.name, "title": self.bench.title, "family": self.bench.family,
            "split": self.bench.split, "protocol": self.protocol, "reported": self.metric.names[0],
            "macro": self.metric.macro, "points": self.metric.points, "n": self.account.n_out, "images": self.images,
            "missing": self.account.missing, "rejected": self.account.rejected,
            "rejected details": self.account.details,
            "thinking": {"replies": self.account.thought, "cut before an answer": self.account.cut},
            "forms": dict(self.account.forms),
            "unreadable": self.unreadable,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "controls": {"constant": self.constant, "shuffled": self.shuffled},
            "control figures": {name: figure.to_json() for name, figure in self.controls.items()},
            "notes": self.notes,
            "margin": self.margin.to_json() if self.margin else None,
        }  # fmt: skip


# ---- judging ---------------------------------------------------------------------------------------


def judge(
    entries: Iterable[Item | Rejected],
    metric: Metric,
    reply: Callable[[Item], str | None],
    *,
    allow_missing: bool = False,
    progress: Callable[[int], None] = lambda n: None,
) -> tuple[Samples, Account]:
    """Judge the answer in the reply to each item, without thinking; in = out + rejected.

    Raises MissingPredictions when items have no reply (how many, which), unless those count as wrong, and
    BenchmarkFileError when there is no item.
    """
    samples, rejected, missing = Samples(metric.names), Rejections(), list[str]()
    without = thought = cut = 0
    forms = Counter[str]()
    for items in _chunks(_items(entries, rejected), 0 if metric.whole else CHUNK):
        replies = [reply(item) for item in items]
        for item, text in zip(items, replies, strict=True):
            if text is None:
                without += 1
                missing += [item.item_id] if len(missing) < MAX_LISTED else []
        answers = [None if text is None else spoken(text) for text in replies]
        thought += sum(answer is not None and answer.thought for answer in answers)
        cut += sum(answer is not None and answer.cut for answer in answers)
        texts = [None if answer is None or answer.cut else answer.answer for answer in answers]
        every = metric.judge(items, [metric.absent if text is None else text for text in texts])
        for item, text, judged in zip(items, texts, every, strict=True):
            forms.update([judged.form] if judged.form and text is not None else [])
            samples.add(item, metric.nothing(judged) if text is None else judged)
        progress(len(items))
    if without and not allow_missing:
        raise MissingPredictions(
            f"{listed('question', without, missing)} of {len(samples)} have no prediction. Fix: predict them, or count "
            "them as wrong with --allow-missing"
        )
    if not len(samples):
        raise BenchmarkFileError(f"no question left to score; rejected: {dict(rejected.counts) or 'none'}")
    counts = dict(sorted(rejected.counts.items()))
    return samples, Account(
        len(samples) + sum(counts.values()),
        len(samples),
        without,
        counts,
        rejected.details,
        thought,
        cut,
        dict(forms.most_common()),
    )


class Rejections:
    """Counts by reason, and the first details of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.details: dict[str, list[str]] = {}

    def add(self, one: Rejected) -> None:
        self.counts[one.reason] += 1
        listed = self.details.setdefault(one.reason, [])
        if one.detail and len(listed) < MAX_DETAILS:
            listed.append(f"{one.record_id}: {one.detail}")


def _items(entries: Iterable[Item | Rejected], rejected: Rejections) -> Iterator[Item]:
    for one in entries:
        if isinstance(one, Item):
            yield one
        else:
            rejected.add(one)


def _chunks(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """Runs of `size` items; all of them for 0."""
    while chunk := list(islice(items, size or None)):
        yield chunk


def with_constant(samples: Samples, load: Callable[[], Iterable[Item | Rejected]], metric: Metric) -> Samples:
    """The samples beside those of `constant_answers`, counted on the benchmark's own answers; as they are where it has
    none."""
    answers = constant_answers(load, metric)
    if not answers:
        return samples
    return samples.beside(CONSTANT, judge(load(), metric, lambda item: answers[item.kind, item.key])[0])


def score(
    bench: Benchmark, protocol: str, metric: Metric, samples: Samples, account: Account, *, seed: int, resamples: int
) -> Score:
    """Add the samples up. Intervals: bootstrap over pictures (documents)."""
    name = metric.names[0]
    where: dict[str, Any] = {"images": samples.images, "kinds": samples.kinds, "seed": seed, "resamples": resamples}
    figures = {figure: estimates(*samples.figure(figure), **where) for figure in samples.names}
    controls = {control: estimates(*samples.figure(name, control), **where) for control in samples.controls}
    margin = None
    if SHUFFLED in controls:
        margin = differences(samples.figure(name, SHUFFLED), samples.figure(name), **where)
    unreadable = 1 - sum(samples.readable) / len(samples)
    return Score(
        bench, protocol or bench.protocols[0], metric, account, unreadable, len(set(samples.images)), figures,
        controls, margin, _notes(metric, samples),
    )  # fmt: skip


def _notes(metric: Metric, samples: Samples) -> list[str]:
    notes = [metric.alone] if metric.alone and len(set(samples.images)) == 1 else []
    sums: dict[str, float] = {}
    for kind, bottom in zip(samples.kinds, samples.figure(metric.names[0])[1], strict=True):
        sums[kind] = sums.get(kind, 0.0) + float(bottom)
    empty = sorted(kind for kind, bottom in sums.items() if not bottom)
    if empty:
        notes.append(f"{metric.names[0]} of {', '.join(empty)} is 0 by definition: there is nothing to divide by")
    return notes
