"""Settle conflicts by looking: the annotator sees the crop and says which of the values is right.

Its answer is the probability of each value. A model prefers what it is offered first (or last), so each conflict is
asked about in both orders, and the mean counts. Below a margin it does not know, and no value stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ouro.annotate.prompts import which_value_prompt
from ouro.core.boxes import area
from ouro.core.crops import crop
from ouro.core.images import CHUNK_PIXELS, chunks
from ouro.core.records import Conflict, Region
from ouro.vision.protocols import Request, Scoring

if TYPE_CHECKING:
    from PIL import Image as PILImage

CONTEXT = 0.06  # share of the crop's sides added around it: an object is not seen without its edge
LOOKED, UNDECIDED, SAME = "look", "look_undecided", "same_words"  # rules of a settled conflict


def look(
    conflicts: Sequence[Conflict],
    regions: Iterable[Region],
    pictures: Mapping[str, PILImage.Image],
    vlm: Scoring,
    margin: float,
    max_pixels: int | None = None,
) -> list[Conflict]:
    """The conflicts of a shard in their order, the open ones settled; those that have a rule stay as they are.

    `kept` is the likeliest value, by the rule "look"; "" by "look_undecided" where it leads by less than `margin` (a
    difference of probabilities). Values that differ only in case and blanks are the first of them, by "same_words". The
    crop is that of the smallest region in conflict; `max_pixels`: the most it is resized to. Raises ScoringUnavailable,
    and ValueError for a conflict of regions that are not among `regions`.
    """
    by_id = {region.region_id: region for region in regions}
    open_indices = [
        n for n, conflict in enumerate(conflicts) if not conflict.rule and len(_distinct(conflict.values)) > 1
    ]
    smallest = {n: _smallest_region(conflicts[n], by_id) for n in open_indices}
    settled = [_without_asking(conflict) for conflict in conflicts]
    for run in chunks(open_indices, lambda n: round(area(smallest[n].box)), CHUNK_PIXELS):
        crops = [crop(pictures[smallest[n].image_id], smallest[n].box, CONTEXT) for n in run]
        means = _ask([conflicts[n] for n in run], crops, vlm, max_pixels)
        for n, shares in zip(run, means, strict=True):
            settled[n] = _decide(conflicts[n], shares, margin)
    return settled


def _ask(
    conflicts: Sequence[Conflict], crops: Sequence[PILImage.Image], vlm: Scoring, max_pixels: int | None
) -> list[list[float]]:
    """The probability of each distinct value of the conflicts: the mean over both orders, in one wave."""
    choices = [_distinct(conflict.values) for conflict in conflicts]
    questions = [
        (Request((picture,), which_value_prompt(conflict.about, order), (max_pixels,)), order)
        for conflict, picture, values in zip(conflicts, crops, choices, strict=True)
        for order in (values, values[::-1])
    ]
    shares = vlm.choose([request for request, _ in questions], [order for _, order in questions])
    return [_mean(one, other[::-1]) for one, other in zip(shares[::2], shares[1::2], strict=True)]


def _without_asking(conflict: Conflict) -> Conflict:
    """A conflict as it came; an open one of a single value has that one."""
    values = _distinct(conflict.values)
    return replace(conflict, kept=values[0], rule=SAME) if not conflict.rule and len(values) == 1 else conflict


def _mean(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [(a + b) / 2 for a, b in zip(one, other, strict=True)]


def _distinct(values: Sequence[str]) -> tuple[str, ...]:
    """The values, each once, in order; empty ones are none."""
    by_wording: dict[str, str] = {}
    for value in values:
        text = " ".join(value.split())
        if text:
            by_wording.setdefault(text.casefold(), text)
    return tuple(by_wording.values())


def _smallest_region(conflict: Conflict, regions: Mapping[str, Region]) -> Region:
    missing = [region_id for region_id in conflict.region_ids if region_id not in regions]
    if missing or not conflict.region_ids:
        raise ValueError(
            f"conflict about {conflict.about!r}: got regions {conflict.region_ids}, of which {missing} are not in this "
            "shard; expected those that were merged. Fix: run the command that proposed them again"
        )
    return min((regions[r] for r in conflict.region_ids), key=lambda region: area(region.box))


def _decide(conflict: Conflict, shares: Sequence[float], margin: float) -> Conflict:
    ranked = sorted(zip(shares, _distinct(conflict.values), strict=True), key=lambda pair: -pair[0])
    (best, value), (second, _) = ranked[:2]
    if best - second < margin or best == second:
        return replace(conflict, kept="", rule=UNDECIDED)
    return replace(conflict, kept=value, rule=LOOKED)
