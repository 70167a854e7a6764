"""Where in a picture a description puts a thing: a column and a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Spot = tuple[int | None, int | None]  # column and row: -1, 0, 1; None where the text leaves it open

_AXIS: Final[Mapping[str, tuple[int, int]]] = {
    "left": (0, -1), "right": (0, 1), "top": (1, -1), "upper": (1, -1), "bottom": (1, 1), "lower": (1, 1),
}  # fmt: skip
_MIDDLE = frozenset(["center", "centre", "middle"])


def read_spot(words: str) -> Spot:
    """ "top left" -> (-1, -1), "left" -> (-1, None), "center" -> (0, 0)."""
    spot: list[int | None] = [None, None]
    parts = words.lower().replace("-", " ").split()
    for word in parts:
        if word in _AXIS:
            axis, side = _AXIS[word]
            spot[axis] = side
    if any(word in _MIDDLE for word in parts):
        spot = [0 if side is None else side for side in spot]
    return spot[0], spot[1]


def exact_spot(position: str) -> Spot:
    """A relative position as `ouro.core.boxes.relative_position` gives it: "left" is halfway down."""
    column, row = read_spot(position)
    return (0 if column is None else column, 0 if row is None else row)


def apart(a: Spot, b: Spot) -> int | None:
    """How far two spots are apart; None when they are on opposite sides."""
    steps = [abs(x - y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    return None if any(step > 1 for step in steps) else sum(steps)
