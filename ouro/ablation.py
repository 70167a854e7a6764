"""Ablations: a grid over params, several seeds an arm, and what came of it beside the paper's own (Tables 5 and 6).

Seeds are what is drawn anew here, not questions: an arm's interval is Student's over its seeds, of the training's draws
and order on the same images, regions and questions.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ouro.benchmarks.intervals import Estimate

KNOWN: dict[str, tuple[str, ...]] = {
    "k": ("train.k=0,1,2,3,5,7",),
    "annotations": ("train.k=3,5", "train.supervision=orig,ours"),
}
PAPER_TABLE = {"k": 5, "annotations": 6}
TRAINING = ("train.", "benchmark.")  # keys of these need no new annotations


class GridError(ValueError):
    """A grid that is none."""


class Arm(NamedTuple):
    """One point of the grid: its name for files, its label for people, and its overrides of params."""

    name: str
    label: str
    overrides: tuple[str, ...]

    @property
    def annotates(self) -> bool:
        """Whether it needs annotations of its own: it sets more than training and benchmark."""
        return any(not text.startswith(TRAINING) for text in self.overrides)


def grid(texts: Sequence[str]) -> list[Arm]:
    """["train.k=0,5", "train.selection=random,informative"] -> their four combinations. Raises GridError."""
    axes: list[list[tuple[str, str]]] = []
    for text in texts:
        key, sign, values = text.partition("=")
        chosen = [value.strip() for value in _split(values)]
        if not (sign and key.strip() and all(chosen)):
            raise GridError(f"--set {text!r}: expected KEY=VALUE,VALUE such as train.k=0,5")
        if len(set(chosen)) < len(chosen):
            raise GridError(f"--set {text!r}: the same value twice")
        axes.append([(key.strip(), value) for value in chosen])
    keys = [axis[0][0] for axis in axes]
    if not axes or len(set(keys)) < len(keys):
        raise GridError(f"got {', '.join(texts) or 'no --set'}; expected one --set KEY=VALUE,VALUE for each key")
    arms = [_arm(point) for point in itertools.product(*axes)]
    if len(arms) < 2:
        raise GridError(f"got {', '.join(texts)}: one arm; expected at least two values, such as train.k=0,5")
    return arms


def _split(values: str) -> list[str]:
    """At commas that are in no bracket."""
    return re.split(r",(?![^\[{]*[\]}])", values)


def _arm(point: Iterable[tuple[str, str]]) -> Arm:
    pairs = [(key.rpartition(".")[2], value) for key, value in point]
    name = "__".join(f"{key}-{value}" for key, value in pairs)
    return Arm(
        re.sub(r"[^A-Za-z0-9_-]+", "_", name),
        ", ".join(f"{k} = {v}" for k, v in pairs),
        tuple(f"{k}={v}" for k, v in point),
    )


class Score(NamedTuple):
    """An arm's figure on one benchmark with one seed, and its control on other images."""

    arm: str
    seed: int
    benchmark: str
    accuracy: float
    margin: float


@dataclass(frozen=True, slots=True)
class Row:
    """An arm on one benchmark: mean over seeds with Student's 95% interval, and the difference to the first arm.

    Shares of one. With one seed the intervals are not known (nan). `margin`: accuracy minus that on other images.
    """

    arm: str
    label: str
    benchmark: str
    seeds: int
    accuracy: Estimate
    margin: Estimate
    difference: Estimate

    @property
    def beyond(self) -> bool:
        """Whether the difference to the first arm is beyond its interval."""
        return self.difference.low > 0 or self.difference.high < 0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "beyond": self.beyond}


def summarise(arms: Sequence[Arm], scores: Sequence[Score]) -> list[Row]:
    """Rows by benchmark, then by arm. The difference pairs the arms by seed. Raises ValueError for a missing score."""
    by = {(s.arm, s.seed, s.benchmark): s for s in scores}
    seeds = sorted({s.seed for s in scores})
    rows: list[Row] = []
    for benchmark in dict.fromkeys(s.benchmark for s in scores):
        first = [by[arms[0].name, seed, benchmark].accuracy for seed in seeds]
        for arm in arms:
            try:
                own = [by[arm.name, seed, benchmark] for seed in seeds]
            except KeyError as error:
                raise ValueError(f"ablation: no score of {error.args[0]}") from error
            gains = [s.accuracy - f for s, f in zip(own, first, strict=True)]
            rows.append(
                Row(
                    arm.name, arm.label, benchmark, len(seeds), over_seeds([s.accuracy for s in own]),
                    over_seeds([s.margin for s in own]), over_seeds(gains),
                )
            )  # fmt: skip
    return rows


def over_seeds(values: Sequence[float]) -> Estimate:
    """Mean with Student's 95% interval; `n`: how many seeds."""
    import numpy as np
    from scipy.stats import t

    sample = np.asarray(values, dtype=np.float64)
    mean, n = float(sample.mean()), len(sample)
    half = float(t.ppf(0.975, n - 1) * sample.std(ddof=1) / n**0.5) if n > 1 else float("nan")
    return Estimate(mean, mean - half, mean + half, n)


def markdown(rows: Sequence[Row]) -> str:
    """The table, in points."""
    lines = ["| benchmark | arm | seeds | accuracy | grounded margin | difference to the first arm |"]
    lines.append("|---|---|---|---|---|---|")
    for row in rows:
        first = row.arm == rows[0].arm
        change = "" if first else f"{_points(row.difference, sign=True)}{'' if row.beyond else ' (within)'}"
        cells = [row.benchmark, row.label, str(row.seeds), _points(row.accuracy), _points(row.margin), change]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _points(e: Estimate, *, sign: bool = False) -> str:
    f = "+.1f" if sign else ".1f"
    return f"{100 * e.value:{f}}" + (f" [{100 * e.low:{f}}, {100 * e.high:{f}}]" if e.n > 1 else "")


def findings(rows: Sequence[Row]) -> list[str]:
    """One sentence a benchmark: the best arm, and whether any differs from the first beyond its interval."""
    said: list[str] = []
    for benchmark in dict.fromkeys(row.benchmark for row in rows):
        own = [row for row in rows if row.benchmark == benchmark]
        best = max(own, key=lambda row: row.accuracy.value)
        beyond = [f"{row.label} ({100 * row.difference.value:+.1f})" for row in own[1:] if row.beyond]
        text = f"{benchmark}: highest {best.label} with {100 * best.accuracy.value:.1f}; beyond the interval of the "
        said.append(text + f"difference to {own[0].label}: {', '.join(beyond) or 'none'}")
    return said


def figure(title: str, arms: Sequence[Arm], rows: Sequence[Row], paper: Mapping[str, Mapping[str, float]]) -> bytes:
    """A PNG: accuracy over the arms, one line a benchmark with intervals; beside it the paper's own figures.

    `paper`: benchmark -> arm label -> points, empty where the paper has no such table. Same figures, same bytes.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(11.0 if paper else 6.5, 4.4), layout="constrained")
    panels = made.subplots(1, 2 if paper else 1, squeeze=False)[0]
    labels = [arm.label for arm in arms]
    for benchmark in dict.fromkeys(row.benchmark for row in rows):
        own = [row.accuracy for row in rows if row.benchmark == benchmark]
        errors = [[100 * max(0.0, e.value - e.low) if e.n > 1 else 0.0 for e in own]] * 2
        panels[0].errorbar(
            range(len(own)), [100 * e.value for e in own], errors, marker="o", capsize=3, label=benchmark
        )
    panels[0].set_title(title, loc="left", fontsize=10)
    for benchmark, values in paper.items():
        places = [(i, values[label]) for i, label in enumerate(labels) if label in values]
        style = {"linewidth": 2.5, "color": "black"} if benchmark == "average" else {"linewidth": 1.0}
        panels[1].plot(*zip(*places, strict=True), marker="o", label=benchmark, **style)
    if paper:
        panels[1].set_title("the paper's figures, OURO-7B", loc="left", fontsize=10)
    for panel in panels:
        panel.set_xticks(range(len(labels)), labels, rotation=20 if len(labels) > 4 else 0)
        panel.set_ylabel("points")
        panel.legend(fontsize=7)
    out = io.BytesIO()
    made.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def papers(name: str, arms: Sequence[Arm]) -> dict[str, dict[str, float]]:
    """The paper's figures of a known ablation by benchmark and the arms' labels; {} for any other grid."""
    from ouro.benchmarks.paper import tables

    if name not in PAPER_TABLE:
        return {}
    table = next(t for t in tables() if t.number == PAPER_TABLE[name])
    named = {_key(row.model.removeprefix("OURO-7B, ")): row.figures for row in table.rows}
    made: dict[str, dict[str, float]] = {benchmark: {} for benchmark in table.benchmarks}
    for arm in arms:
        figures = named.get(_key(arm.label.replace("supervision = ", "")), ())
        for benchmark, value in zip(table.benchmarks, figures, strict=False):
            if value is not None:
                made[benchmark][arm.label] = value
    return made


def _key(text: str) -> str:
    """ "k = 3, Orig." and "k = 3, orig" are the same."""
    return text.lower().rstrip(".")


def paper_markdown(name: str, arms: Sequence[Arm]) -> str:
    """The paper's table of a known ablation; "" for any other grid."""
    theirs = papers(name, arms)
    if not theirs:
        return ""
    lines = [f"| the paper's OURO-7B | {' | '.join(theirs)} |", "|---" * (len(theirs) + 1) + "|"]
    for arm in arms:
        figures = [f"{values[arm.label]:.1f}" if arm.label in values else "" for values in theirs.values()]
        lines.append(f"| {arm.label} | {' | '.join(figures)} |")
    return "\n".join(lines)
