"""Geometry of the report's curves: numbers in, SVG path data and ticks out. No text from models comes here.

Coordinates are those of a WIDTH x HEIGHT view box, y downwards; paths are of the form "M x y L x y ...".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 560.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 16.0, 14.0, 34.0
_MAX_POINTS = 600
_SMOOTH_FROM = 24  # points; shorter curves are drawn as they are


@dataclass(frozen=True, slots=True)
class Tick:
    """A grid line at view-box position `at` with its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Curve:
    """One loss over the steps of training. `smooth` is "" for short curves; `end` is its last point."""

    raw: str
    smooth: str
    area: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    end: tuple[float, float]
    first: float
    last: float


def loss_curve(points: Sequence[tuple[int, float]]) -> Curve | None:
    """A curve through (step, loss) points in the order of steps, or None when fewer than two are finite."""
    finite_points = sorted((s, v) for s, v in points if math.isfinite(v))
    if len(finite_points) < 2 or finite_points[0][0] == finite_points[-1][0]:
        return None
    finite_points = finite_points[:: math.ceil(len(finite_points) / _MAX_POINTS)] + (
        [] if len(finite_points) <= _MAX_POINTS else finite_points[-1:]
    )
    steps, values = [s for s, _ in finite_points], [v for _, v in finite_points]
    means = _running_mean(values) if len(values) >= _SMOOTH_FROM else values
    y_marks = nice_marks(min(0.0, *values), max(values), 5)
    x_marks = [m for m in nice_marks(steps[0], steps[-1], 6) if steps[0] <= m <= steps[-1]]
    top, floor = max(y_marks[-1], max(values)), min(y_marks[0], 0.0)
    xs = [_scale(s, steps[0], steps[-1], LEFT, WIDTH - RIGHT) for s in steps]

    def y(value: float) -> float:
        return _scale(value, floor, top or 1.0, HEIGHT - BOTTOM, TOP)

    line = _path(xs, [y(v) for v in means])
    base = f"{HEIGHT - BOTTOM:.1f}"
    return Curve(
        raw=_path(xs, [y(v) for v in values]),
        smooth=line if means is not values else "",
        area=f"{line} L {xs[-1]:.1f} {base} L {xs[0]:.1f} {base} Z",
        x_ticks=tuple(Tick(_scale(m, steps[0], steps[-1], LEFT, WIDTH - RIGHT), f"{m:g}") for m in x_marks),
        y_ticks=tuple(Tick(y(m), f"{m:g}") for m in y_marks),
        end=(xs[-1], y(means[-1])),
        first=means[0],
        last=means[-1],
    )


def nice_marks(low: float, high: float, about: int) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, that cover low..high in about `about` steps."""
    span = high - low
    if span <= 0:
        return [low, low + 1.0]
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def _running_mean(values: Sequence[float]) -> list[float]:
    """Centred mean over about a tenth of the curve, narrower at its ends."""
    half = max(1, len(values) // 20)
    out: list[float] = []
    for k in range(len(values)):
        reach = min(half, k, len(values) - 1 - k)
        window = values[k - reach : k + reach + 1]
        out.append(sum(window) / len(window))
    return out


def _scale(value: float, low: float, high: float, start: float, end: float) -> float:
    return start + (value - low) / ((high - low) or 1.0) * (end - start)


def _path(xs: Sequence[float], ys: Sequence[float]) -> str:
    return "M " + " L ".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))
