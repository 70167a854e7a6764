"""From a benchmark's metric and protocol to the figures of one reply.

Every figure is a part of a ratio of sums (ouro.benchmarks.ratios): an accuracy is (score, 1); the micro-F1 of pairs is
(2 matched, predicted + reference). CIDEr-D alone needs all replies at once, since its document frequencies are those of
the whole set. Metrics and their sources: ouro.benchmarks.scoring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, cast

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.scoring.anls import anls
from ouro.benchmarks.scoring.captions import Tokenizer, cider
from ouro.benchmarks.scoring.choice import Mode, blank_match, choose_option
from ouro.benchmarks.scoring.denotation import same_denotation, split_items
from ouro.benchmarks.scoring.exact import contains, gqa_match, pope_answer, vsr_answer
from ouro.benchmarks.scoring.grounding import hit
from ouro.benchmarks.scoring.key_values import NO_VALUE, Pair, answered, match_pairs
from ouro.benchmarks.scoring.relaxed import relaxed_accuracy
from ouro.benchmarks.scoring.vqa import Rule, normal_form, soft_accuracy
from ouro.vision.box_conventions import BARE, NAMED, Convention, Reading, named_by, place_box, read_box

if TYPE_CHECKING:
    from ouro.benchmarks.loaders.registry import Benchmark

ALONE = (
    "CIDEr of a single picture is 0 by definition: an n-gram that every picture has, here each of them, weighs "
    "nothing; score the whole split"
)
NEAR = 5  # constants where an answer is right, or nearly, for others too
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Part(NamedTuple):
    """What one reply adds to a figure's two sums."""

    top: float
    bottom: float = 1.0


class Judged(NamedTuple):
    """One part for each of a metric's names, whether the reply could be read at all, and in which form it is written
    where replies have several."""

    parts: tuple[Part, ...]
    readable: bool
    form: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """How a benchmark's replies are judged.

    names:  of its figures, the one that is reported first
    judge:  items and their replies, in order, to what each adds; `whole`: it must be given all of them at once
    macro:  whether the reported figure is the mean over the kinds (ChartQA's and POPE's splits)
    points: what a figure of 1 is in the papers' tables
    absent: the reply by which a question without one is judged, before what it gained is taken away
    normal: the form in which two references count as the same answer
    constants: of how many of the most frequent references the best constant answer is chosen
    alone:  what must be known of a figure that a single picture has; "" for nothing
    """

    names: tuple[str, ...]
    judge: Callable[[Sequence[Item], Sequence[str]], list[Judged]]
    macro: bool = False
    whole: bool = False
    points: float = 100.0
    absent: str = ""
    normal: Callable[[str], str] = str
    constants: int = 1
    alone: str = ""

    def nothing(self, judged: Judged) -> Judged:
        """What a question adds that `absent` was judged for: as much is asked, and nothing is right."""
        return Judged(tuple(Part(0.0, part.bottom) for part in judged.parts), readable=False)


def metric_of(bench: Benchmark, protocol: str = "") -> Metric:
    """The metric under a protocol, by default the benchmark's first.

    Raises BenchmarkFileError for a protocol that it has not, and for one that only a judge model can score.
    """
    name = protocol or bench.protocols[0]
    if name not in bench.protocols:
        raise BenchmarkFileError(f"{bench.title}: got protocol {name!r}, expected one of {', '.join(bench.protocols)}")
    factory = _METRICS.get(bench.metric)
    if factory is None:
        raise BenchmarkFileError(
            f"{bench.title} is judged by a closed model in its paper and has no metric of its own: `ouro benchmark` "
            "asks its questions and keeps the replies, no score is made"
        )
    return factory(name)


def _each(one: Callable[[Item, str], Judged]) -> Callable[[Sequence[Item], Sequence[str]], list[Judged]]:
    return lambda items, replies: [one(item, reply) for item, reply in zip(items, replies, strict=True)]


def _share(name: str, score: Callable[[Item, str], float], macro: bool = False) -> Metric:
    """A mean of scores, for which only an empty reply is unreadable."""
    return Metric(
        (name,), _each(lambda item, reply: Judged((Part(float(score(item, reply))),), bool(reply.strip()))), macro
    )


def _vqa(protocol: str) -> Metric:
    rule = cast("Rule", protocol)
    share = _share("accuracy", lambda item, reply: soft_accuracy(reply, item.references, rule=rule))
    return replace(share, normal=lambda answer: normal_form(answer, rule))


def _vqa_types(protocol: str) -> Metric:
    """Reported as the mean over question types."""
    return replace(_vqa(protocol), macro=True)


def _gqa(protocol: str) -> Metric:
    return _share("accuracy", lambda item, reply: gqa_match(reply, item.references[0]))


def _anls(protocol: str) -> Metric:
    return replace(_share("ANLS", lambda item, reply: anls(reply, item.references)), constants=NEAR)


def _relaxed(protocol: str) -> Metric:
    share = _share("relaxed accuracy", lambda item, reply: relaxed_accuracy(reply, item.references), macro=True)
    return replace(share, constants=NEAR)


def _denotation(protocol: str) -> Metric:
    def right(item: Item, reply: str) -> float:
        canon = [same[0] for same in item.variants] if item.variants else []
        return same_denotation(split_items(reply, item.references), item.references, canon)

    return _share("denotation accuracy", right)


def _contains(protocol: str) -> Metric:
    """ST-VQA and EST-VQA stand in papers in both forms; both are given, the protocol says which is reported."""
    names = ("accuracy", "ANLS") if protocol == "contains" else ("ANLS", "accuracy")

    def judge(item: Item, reply: str) -> Judged:
        parts = {"accuracy": Part(float(contains(reply, item.references))), "ANLS": Part(anls(reply, item.references))}
        return Judged(tuple(parts[name] for name in names), bool(reply.strip()))

    return Metric(names, _each(judge), constants=NEAR)


def _vsr(protocol: str) -> Metric:
    def judge(item: Item, reply: str) -> Judged:
        answer = vsr_answer(reply)
        return Judged((Part(float(answer is (item.references[0] == "yes"))),), answer is not None)

    return Metric(("accuracy",), _each(judge))


def _choice(protocol: str) -> Metric:
    mode = cast("Mode", protocol)

    def judge(item: Item, reply: str) -> Judged:
        taken = choose_option(reply, item.choices, mode)
        return Judged((Part(float(taken is not None and LETTERS[taken] == item.references[0])),), taken is not None)

    return Metric(("accuracy",), _each(judge))


def _iconqa(protocol: str) -> Metric:
    by_letter, blank = _choice("iconqa"), _share("accuracy", lambda item, reply: blank_match(reply, item.references[0]))
    return Metric(
        ("accuracy",), _each(lambda item, reply: (by_letter if item.choices else blank).judge([item], [reply])[0])
    )


def _key_values(protocol: str) -> Metric:
    """A document is asked for each key once, so that its pairs can be matched key by key; no reply is no pair."""

    def judge(item: Item, reply: str) -> Judged:
        variants = item.variants or ((),) * len(item.references)
        spellings = [*item.references, *(text for same in variants for text in same)]
        values = [reply] if reply == NO_VALUE else split_items(reply, spellings, str.upper)
        predictions = answered([Pair(item.key, value) for value in values])
        true = [Pair(item.key, value, same) for value, same in zip(item.references, variants, strict=True)]
        counts = match_pairs(predictions, true)
        parts = (
            Part(2.0 * counts.matched, float(counts.predicted + counts.reference)),
            Part(float(counts.matched), float(counts.predicted)),
            Part(float(counts.matched), float(counts.reference)),
        )
        return Judged(parts, bool(reply.strip()))

    return Metric(("F1", "precision", "recall"), _each(judge), absent=NO_VALUE)


def _pope(protocol: str) -> Metric:
    """LLaVA reports the mean F1 of the three splits. A reply that says neither counts as yes, as in evaluate.py."""

    def judge(item: Item, reply: str) -> Judged:
        answer, true = pope_answer(reply), item.references[0] == "yes"
        both = float(answer and true)
        parts = (
            Part(2 * both, float(answer) + float(true)),
            Part(float(answer == true)),
            Part(both, float(answer)),
            Part(both, float(true)),
            Part(float(answer)),
        )
        return Judged(parts, vsr_answer(reply) is not None)

    return Metric(("F1", "accuracy", "precision", "recall", "share of yes"), _each(judge), macro=True, constants=2)


def _refcoco(protocol: str) -> Metric:
    """All replies at once: the convention of a run is one."""

    def judge(items: Sequence[Item], replies: Sequence[str]) -> list[Judged]:
        readings = [read_box(reply) for reply in replies]
        convention = protocol if protocol in NAMED else _convention(readings)
        return [_located(item, reading, convention) for item, reading in zip(items, readings, strict=True)]

    return Metric(("recall at IoU 0.5",), judge, macro=True, whole=True)


def _convention(readings: Sequence[Reading]) -> Convention | None:
    """The one that the replies name by their form; None for several, or no box at all.

    Raises BenchmarkFileError where all boxes are bare numbers.
    """
    conventions = named_by(readings)
    bare = sum(reading.form == BARE for reading in readings)
    if bare and not conventions:
        raise BenchmarkFileError(
            f"RefCOCO: {bare} replies are boxes of bare numbers, which are thousandths, fractions, pixels or percent: "
            "the replies do not say which. Fix: --protocol thousandths (Qwen2-VL, Qwen3-VL, InternVL), qwen2.5-vl (its "
            "pixels of the resized picture), pixels (of the picture's file), fractions or percent"
        )
    return conventions[0] if len(conventions) == 1 else None


def _located(item: Item, reading: Reading, convention: Convention | None) -> Judged:
    assert item.box is not None and item.size is not None  # its loaders reject records without
    box = place_box(reading, convention, item.size, item.shown)
    form = convention or reading.form if box is not None else f"{reading.form}, not read"
    return Judged((Part(float(hit(box, item.box))),), box is not None, form)


def _cider(protocol: str) -> Metric:
    def judge(items: Sequence[Item], replies: Sequence[str]) -> list[Judged]:
        replies_by_id = {item.item_id: reply for item, reply in zip(items, replies, strict=True)}
        scores = cider(
            replies_by_id, {item.item_id: item.references for item in items}, cast("Tokenizer", protocol)
        ).by_id
        return [
            Judged((Part(scores[item.item_id]),), bool(reply.strip()))
            for item, reply in zip(items, replies, strict=True)
        ]

    return Metric(("CIDEr",), judge, whole=True, alone=ALONE)


_METRICS: dict[str, Callable[[str], Metric]] = {
    "vqa": _vqa, "vqa-types": _vqa_types, "gqa": _gqa,
    "vsr": _vsr, "choice-strict": _choice, "choice-letter": _choice, "iconqa": _iconqa,
    "anls": _anls, "relaxed": _relaxed, "key-values": _key_values, "denotation": _denotation, "contains": _contains,
    "cider": _cider, "pope": _pope, "refcoco": _refcoco,
}  # fmt: skip
