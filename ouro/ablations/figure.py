"""The figure of an ablation: scores over the arms with intervals over seeds, and the paper's average."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ouro.ablations.grid import K, varied_keys
from ouro.ablations.results import MAIN, Result, Spread, paper_averages, paper_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REGIONS = "regions/accuracy/macro-average"
TYPE = "image/accuracy/"
APART = 0.05  # of a place on the x axis
WIDTH = 90  # of a panel, in characters of a legend


def figure(name: str, arm_results: Sequence[Result]) -> bytes:
    """A PNG of three panels: means over question types and the benchmarks; by question type; differences beside the
    paper's. The same results give the same bytes."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(16.0, 5.2), layout="constrained")
    over, types, change = drawn.subplots(1, 3)
    names = list(dict.fromkeys(name for result in arm_results for name in result.figures))
    named = {n: n.removesuffix("/score") for n in names if n.endswith("/score")}
    labels = {MAIN: "held-out, image alone", REGIONS: "held-out, image + k regions", **named}
    _lines(over, arm_results, labels)
    _base(over, arm_results)
    _lines(types, arm_results, {n: n.removeprefix(TYPE) for n in names if n.startswith(TYPE) and n != MAIN}, width=1.0)
    _differences(change, arm_results)
    seeds = len(next(iter(arm_results[0].figures.values())).values)
    for axes, title in ((over, f"ablation {name}, measured here"), (types, "by question type, image alone")):
        axes.set_title(f"{title}, {seeds} seed{'s' if seeds > 1 else ''}", loc="left", fontsize=10)
        axes.set_ylabel("points" + (", 95% intervals over seeds" if seeds > 1 else ""))
    for axes in (over, types, change):
        _places(axes, arm_results)
    out = io.BytesIO()
    drawn.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def _xs(arm_results: Sequence[Result]) -> list[float]:
    """k where nothing else varies; else one place an arm."""
    if _over_k(arm_results):
        return [float(result.arm.values[K]) for result in arm_results]
    return [float(i) for i in range(len(arm_results))]


def _over_k(arm_results: Sequence[Result]) -> bool:
    return varied_keys([result.arm for result in arm_results]) == [K]


def _style(arm_results: Sequence[Result]) -> str:
    """Arms that are no sequence are not joined by a line."""
    return "-" if _over_k(arm_results) else ""


def _lines(axes: Axes, arm_results: Sequence[Result], names: dict[str, str], width: float = 2.0) -> None:
    for number, (name, label) in enumerate(names.items()):
        xs = [x + APART * (number - (len(names) - 1) / 2) for x in _xs(arm_results)]  # intervals beside each other
        spreads = [
            (x, result.figures[name]) for x, result in zip(xs, arm_results, strict=True) if name in result.figures
        ]
        if spreads:
            _line(axes, spreads, label=label, linewidth=width, linestyle=_style(arm_results), marker="o")
    _legend(axes)


def _line(axes: Axes, spreads: Sequence[tuple[float, Spread]], **style: Any) -> None:
    values = [100 * s.mean for _, s in spreads]
    half = [0.0 if s.high is None else 100 * (s.high - s.mean) for _, s in spreads]
    axes.errorbar([x for x, _ in spreads], values, half, capsize=3, markersize=4, **style)


def _base(axes: Axes, arm_results: Sequence[Result]) -> None:
    base = arm_results[0].figures.get("image/base/macro-average")
    if base is not None:
        axes.axhline(100 * base.mean, color="grey", linestyle=":", label="base, image alone")
        _legend(axes)


def _differences(axes: Axes, arm_results: Sequence[Result]) -> None:
    """Measured, and the paper's: the levels are of other questions and another model, so only differences share an
    axis."""
    for shift, name, label in ((-APART, MAIN, "image alone"), (APART, REGIONS, "image + k regions")):
        spreads = [
            (x + shift, r.differences[name])
            for x, r in zip(_xs(arm_results), arm_results, strict=True)
            if name in r.differences
        ]
        if spreads:
            _line(axes, spreads, label=f"measured here, {label}", linestyle=_style(arm_results), marker="o")
    axes.axhline(0.0, color="grey", linewidth=0.8)
    against = dict.fromkeys(result.against.label for result in arm_results)
    axes.set_title(f"difference to {'; '.join(against)}", loc="left", fontsize=10)
    axes.set_ylabel("points, paired by seed")
    _paper(axes, arm_results)
    _legend(axes)


def _paper(axes: Axes, arm_results: Sequence[Result]) -> None:
    arms = [result.arm for result in arm_results]
    averages, table = paper_averages(arms), paper_table(arms)
    coordinates = [
        (x, averages[r.arm.name] - averages[r.against.name])
        for x, r in zip(_xs(arm_results), arm_results, strict=True)
        if not r.is_reference and r.arm.name in averages and r.against.name in averages
    ]
    if not coordinates or table is None:
        return
    label = f"the paper's average, OURO-7B, Table {table.number}: its own difference"
    style = "--" if _over_k(arm_results) else ""
    axes.plot(*zip(*coordinates, strict=True), color="black", linestyle=style, marker="D", markersize=4, label=label)


def _legend(axes: Axes) -> None:
    """Below the panel, where it hides nothing, in as many columns as its width holds."""
    longest = max(map(len, axes.get_legend_handles_labels()[1]), default=1)
    columns = max(1, WIDTH // (longest + 6))
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=columns, frameon=False)


def _places(axes: Axes, arm_results: Sequence[Result]) -> None:
    if _over_k(arm_results):
        axes.set_xticks(_xs(arm_results))
        axes.set_xlabel("k, sub-regions beside the image in training")
    else:
        axes.set_xticks(_xs(arm_results), [result.arm.label for result in arm_results], rotation=15, fontsize=8)
