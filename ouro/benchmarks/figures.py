"""Scores as pictures: bars with 95% intervals, and the controls as marks on them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ouro.benchmarks.intervals import Estimate

COLOURS = ("#9aa5b1", "#0f766e", "#b45309", "#4338ca")
ROW = 0.34  # inches a bar


@dataclass(frozen=True)
class Series:
    """One model's bars, in the order of the labels; `marks`: what a control scores there."""

    name: str
    values: Sequence[Estimate]
    marks: dict[str, Sequence[float | None]] = field(default_factory=dict[str, "Sequence[float | None]"])


def bars(title: str, labels: Sequence[str], series: Sequence[Series], points: float = 100.0) -> bytes:
    """A PNG of horizontal bars, one group a label. The same figures give the same bytes.

    Raises ValueError when a series has another number of values than there are labels.
    """
    from matplotlib.figure import Figure

    if any(len(one.values) != len(labels) for one in series):
        raise ValueError(f"figure {title!r}: got series of {[len(s.values) for s in series]} values for {len(labels)}")
    figure = Figure(figsize=(8.0, 1.2 + ROW * len(labels) * (len(series) + 0.6)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(series)
    for number, one in enumerate(series):
        places = [i + (number - (len(series) - 1) / 2) * height for i in range(len(labels))]
        values = [points * e.value for e in one.values]
        errors = [
            [points * max(0.0, e.value - e.low) for e in one.values],
            [points * max(0.0, e.high - e.value) for e in one.values],
        ]
        axes.barh(places, values, height, xerr=errors, color=COLOURS[number % len(COLOURS)], label=one.name, capsize=2)
        for mark, (name, controls) in zip("|x", one.marks.items(), strict=False):
            positions = [(points * c, y) for c, y in zip(controls, places, strict=True) if c is not None]
            axes.scatter(
                *zip(*positions, strict=True), marker=mark, color="black", zorder=3, label=f"{one.name}: {name}"
            )
    axes.set_yticks(range(len(labels)), [label.replace("$", r"\$") for label in labels])
    axes.invert_yaxis()
    axes.set_xlabel("points, with 95% intervals")
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(fontsize=8, loc="best")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()
