"""Detects the axes of charts: ordered numbers along the left or the lower border of a region. Pure geometry.

The rule is ours (OURO annotates charts and gives no rule). It finds numeric axes only: a chart with two category axes,
or without axes (a pie chart), is an "object".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ouro.core.records import Box
    from ouro.vision.protocols import Proposal

BORDER = 0.25  # an axis is labelled within this share of a chart's side, inside or outside of its border
SPREAD = 0.5  # and its labels spread over at least this share of the side
MIN_TICKS = 3
IN_ORDER = 0.75  # share of neighbouring labels whose numbers rise (or fall); the rest may be OCR errors

NUMBER = re.compile(r"[-−–+]?[$€£]?(\d[\d.,]*)(%|[kKMB]|[eE][-+]?\d+)?")


def has_axis(box: Box, words: Sequence[Proposal]) -> bool:
    """Whether there are numbers in a column along the left border of `box`, or in a row along its lower border."""
    ticks = [w for w in words if parse_number(w.text) is not None]
    return _is_axis(_find_left_labels(box, ticks), box, 1) or _is_axis(_find_bottom_labels(box, ticks), box, 0)


def parse_number(text: str) -> float | None:
    """The value of a tick label: "1,200", "-0.5", "30%", "1e-3"; None if it is not a number. Units are not scaled."""
    match = NUMBER.fullmatch(text.strip())
    if match is None:
        return None
    digits = match[1].replace(",", "")
    exponent = match[2] if match[2] and match[2][0] in "eE" else ""
    try:
        value = float(digits + exponent)
    except ValueError:  # "1.2.3"
        return None
    return -value if text.strip()[0] in "-−–" else value


def _find_left_labels(box: Box, ticks: Sequence[Proposal]) -> list[Proposal]:
    """The ticks near the left border whose right edges, left edges or centres are aligned."""
    margin = BORDER * (box[2] - box[0])
    near = [t for t in ticks if abs(_middle(t, 0) - box[0]) <= margin and box[1] <= _middle(t, 1) <= box[3]]
    edges: list[Callable[[Proposal], float]] = [lambda t: t.box[2], lambda t: t.box[0], lambda t: _middle(t, 0)]
    return max((_find_aligned(near, edge) for edge in edges), key=len)


def _find_bottom_labels(box: Box, ticks: Sequence[Proposal]) -> list[Proposal]:
    """The ticks near the lower border whose centres are aligned."""
    margin = BORDER * (box[3] - box[1])
    near = [t for t in ticks if abs(_middle(t, 1) - box[3]) <= margin and box[0] <= _middle(t, 0) <= box[2]]
    return _find_aligned(near, lambda t: _middle(t, 1))


def _find_aligned(ticks: Sequence[Proposal], edge: Callable[[Proposal], float]) -> list[Proposal]:
    """The largest group of ticks whose edges differ from that of one of them by less than half of its height."""
    groups = [
        [t for t in ticks if abs(edge(t) - edge(reference)) < 0.5 * (reference.box[3] - reference.box[1])]
        for reference in ticks
    ]
    return max(groups, key=len, default=[])


def _is_axis(ticks: Sequence[Proposal], box: Box, axis: int) -> bool:
    """Whether labels spread along the axis (0: x, 1: y), and their numbers rise or fall along it."""
    if len(ticks) < MIN_TICKS:
        return False
    ordered = sorted(ticks, key=lambda t: _middle(t, axis))
    if _middle(ordered[-1], axis) - _middle(ordered[0], axis) < SPREAD * (box[axis + 2] - box[axis]):
        return False
    values = [v for v in (parse_number(t.text) for t in ordered) if v is not None]
    steps = [b - a for a, b in pairwise(values)]
    return max(sum(s > 0 for s in steps), sum(s < 0 for s in steps)) >= IN_ORDER * len(steps)


def _middle(p: Proposal, axis: int) -> float:
    return (p.box[axis] + p.box[axis + 2]) / 2
