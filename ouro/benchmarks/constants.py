"""The best constant answer of each kind: what a model without eyes but with the benchmark's priors would guess.

It is the most frequent answer wherever the figure counts right replies. It need not be where the figure is another: of
POPE's balanced splits the F1 of always no is 0, of always yes 66.7; of pairs of keys it may be better to predict none
of a rare key. So the candidates of each kind and key, a metric's `constants` most frequent references and the reply
that stands for nothing, are judged, and those taken that make the reported ratio of sums largest (Dinkelbach 1967).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from ouro.benchmarks.items import Item

if TYPE_CHECKING:
    from ouro.benchmarks.judging import Metric
    from ouro.core.records import Rejected

Entries = Callable[[], "Iterable[Item | Rejected]"]
Group = tuple[str, str]  # kind and key: what an answer is chosen for
Sums = dict[str, tuple[float, float]]  # of each candidate, what it has of the two sums of the reported figure


def constant_answers(load: Entries, metric: Metric) -> dict[Group, str]:
    """The best constant answer of each kind and key, in the metric's normal form; of equally good ones the more
    frequent, then the first by alphabet. Empty for a benchmark without references."""
    counts: dict[Group, Counter[str]] = {}
    for one in load():
        if isinstance(one, Item):
            counts.setdefault((one.kind, one.key), Counter()).update(map(metric.normal, one.references))
    if not any(counts.values()):
        return {}
    candidates = {group: _candidates(count, metric) for group, count in counts.items()}
    if all(len(some) == 1 for some in candidates.values()):
        return {group: some[0] for group, some in candidates.items()}
    sums = _judge(load, metric, candidates)
    if not metric.macro:
        return _best(sums)
    best: dict[Group, str] = {}
    for kind in {kind for kind, _ in sums}:
        best |= _best({group: some for group, some in sums.items() if group[0] == kind})
    return best


def _candidates(count: Counter[str], metric: Metric) -> list[str]:
    ranked = sorted(count, key=lambda answer: (-count[answer], answer))[: metric.constants]
    nothing = [metric.absent] if metric.absent or not ranked else []
    return ranked + [one for one in nothing if one not in ranked]


def _judge(load: Entries, metric: Metric, candidates: Mapping[Group, list[str]]) -> dict[Group, Sums]:
    sums: dict[Group, Sums] = {group: dict.fromkeys(some, (0.0, 0.0)) for group, some in candidates.items()}
    for one in load():
        if isinstance(one, Item):
            of_group = sums[one.kind, one.key]
            judged = metric.judge([one] * len(of_group), list(of_group))
            for answer, parts in zip(list(of_group), judged, strict=True):
                top, bottom = of_group[answer]
                of_group[answer] = (top + parts.parts[0].top, bottom + parts.parts[0].bottom)
    return sums


def _best(sums: Mapping[Group, Sums]) -> dict[Group, str]:
    """One candidate a group, so that the ratio of the sums over all groups is largest."""
    ratio, chosen = -1.0, {group: next(iter(some)) for group, some in sums.items()}
    while True:
        top, bottom = (sum(sums[group][answer][i] for group, answer in chosen.items()) for i in (0, 1))
        better = top / bottom if bottom else 0.0
        if better <= ratio:
            return chosen
        ratio = better
        chosen = {group: _largest(some, ratio) for group, some in sums.items()}


def _largest(some: Sums, ratio: float) -> str:
    """The first of those whose top minus `ratio` times bottom is largest."""
    return max(some, key=lambda answer: round(some[answer][0] - ratio * some[answer][1], 9))
