"""Two runs on the same questions: every figure of both beside its controls, and the paired differences.

Accuracy stands for whatever the benchmark reports (ANLS, F1, ...). The grounded margin is a model's accuracy minus its
own on shuffled pictures: what it sees rather than guesses. Accuracies are shares of 1, unrounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from ouro.benchmarks.intervals import Difference, Estimate
from ouro.benchmarks.items import HELD_OUT, BenchmarkFileError
from ouro.benchmarks.ratios import MACRO, OVERALL, contrasts, differences, from_json
from ouro.benchmarks.scored import CONSTANT, SHUFFLED

if TYPE_CHECKING:
    from collections.abc import Callable

    from ouro.benchmarks.ratios import Ratios, Sums
    from ouro.benchmarks.run_folder import ScoredFolder

    Figures = Ratios[Estimate] | None

Arm = Literal["image", "image+regions"]


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of question (or MACRO, OVERALL) of two runs, and what was gained. None: that control was not made.

    majority: what each kind's most frequent answer scores; shuffled: the models on other pictures
    """

    question_type: str
    n: int
    majority: float | None
    base_accuracy: Estimate
    boot_accuracy: Estimate
    accuracy_gain: Difference
    base_shuffled: float | None
    boot_shuffled: float | None
    base_margin: Difference | None
    boot_margin: Difference | None
    margin_gain: Difference | None

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Row:
        values: dict[str, Any] = {field.name: row[field.name] for field in fields(cls)}
        for name, value in row.items():
            if name in values and isinstance(value, dict):
                values[name] = Estimate.from_json(cast("dict[str, Any]", value))
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, `base` and `boot` by their labels, on the same questions with `k` regions shown.

    by_kind: whether the reported figure is the mean over kinds; points: what a figure of 1 is in tables
    """

    base: str
    boot: str
    k: int
    n_images: int
    rows: tuple[Row, ...]
    macro: Row
    overall: Row
    benchmark: str = HELD_OUT
    title: str = ""
    figure: str = "accuracy"
    by_kind: bool = True
    points: float = 100.0

    @property
    def arm(self) -> Arm:
        return "image+regions" if self.k else "image"

    @property
    def reported(self) -> Row:
        return self.macro if self.by_kind else self.overall

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "arm": self.arm}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Comparison:
        """What `to_json` wrote. Raises BenchmarkFileError for what an older version did."""
        if "k" not in content:
            raise BenchmarkFileError(
                "scores.json: got a comparison without k, expected that of this version; run stage benchmark again"
            )
        values: dict[str, Any] = {field.name: content[field.name] for field in fields(cls) if field.name in content}
        values |= {name: Row.from_json(content[name]) for name in ("macro", "overall")}
        values["rows"] = tuple(map(Row.from_json, content["rows"]))
        return cls(**values)

    def summary(self) -> dict[str, Any]:
        """The reported figure of both and the differences by kind, and the same of the margin, null where unknown."""
        margins = self.reported.margin_gain is not None
        return {
            "benchmark": self.benchmark, "title": self.title, "figure": self.figure, "macro": self.by_kind,
            "points": self.points, "first": self.reported.base_accuracy.value,
            "second": self.reported.boot_accuracy.value, "difference": self._by_kind(lambda row: row.accuracy_gain),
            "margin": {
                "first": asdict(cast("Difference", self.reported.base_margin)),
                "second": asdict(cast("Difference", self.reported.boot_margin)),
                "difference": self._by_kind(lambda row: cast("Difference", row.margin_gain)),
            } if margins else None,
        }  # fmt: skip

    def _by_kind(self, of: Callable[[Row], Difference]) -> dict[str, Any]:
        kinds = {row.question_type: asdict(of(row)) for row in self.rows}
        return {"micro": asdict(of(self.overall)), "macro": asdict(of(self.macro)), "kinds": kinds}


def compare_runs(
    first: Mapping[str, ScoredFolder], second: Mapping[str, ScoredFolder], *, seed: int, resamples: int
) -> list[Comparison]:
    """Every benchmark that both runs have.

    Raises BenchmarkFileError when they share none, or were asked other questions or judged by another protocol.
    """
    shared = [name for name in first if name in second]
    if not shared:
        raise BenchmarkFileError(f"the runs share no benchmark: got {', '.join(first)} and {', '.join(second)}")
    return [compare(first[name], second[name], seed=seed, resamples=resamples) for name in shared]


def compare(base: ScoredFolder, boot: ScoredFolder, *, seed: int, resamples: int) -> Comparison:
    """Two runs of one benchmark, paired by question. The margins are paired where both were shown the same other
    pictures. Raises BenchmarkFileError as `compare_runs` does."""
    _check_paired(base, boot)
    name = str(base.scores["reported"])
    gains, margin_gains = _gains(base, boot, name, seed, resamples)
    accuracies = [from_json(run.scores["figures"][name]) for run in (base, boot)]
    base_margin, boot_margin = (_figures(run.scores.get("margin")) for run in (base, boot))
    base_shuffled, boot_shuffled = (_control(run, SHUFFLED) for run in (base, boot))
    constant = _control(base, CONSTANT)

    def row(kind: str) -> Row:
        first, second = (figure.of(kind) for figure in accuracies)
        return Row(
            kind, first.n, _value(constant, kind), first, second, gains.of(kind), _value(base_shuffled, kind),
            _value(boot_shuffled, kind), _difference(base_margin, kind), _difference(boot_margin, kind),
            margin_gains.of(kind) if margin_gains else None,
        )  # fmt: skip

    return Comparison(
        base.label, boot.label, boot.k, int(base.scores["images"]), tuple(map(row, gains.kinds)), row(MACRO),
        row(OVERALL), base.name, str(base.scores["title"]), name, bool(base.scores["macro"]),
        float(base.scores["points"]),
    )  # fmt: skip


def _gains(
    base: ScoredFolder, boot: ScoredFolder, name: str, seed: int, resamples: int
) -> tuple[Ratios[Difference], Ratios[Difference] | None]:
    """Paired differences of the figure, and of the margin."""
    a, b = base.samples, boot.samples
    place = {item_id: i for i, item_id in enumerate(b.ids)}
    order = np.asarray([place[item_id] for item_id in a.ids])

    def second(control: str = "") -> Sums:
        tops, bottoms = b.figure(name, control)
        return tops[order], bottoms[order]

    where: dict[str, Any] = {"images": a.images, "kinds": a.kinds, "seed": seed, "resamples": resamples}
    gains = differences(a.figure(name), second(), **where)
    if not a.other_images or a.other_images != [b.other_images[i] for i in order if b.other_images]:
        return gains, None
    return gains, contrasts([second(), a.figure(name, SHUFFLED)], [a.figure(name), second(SHUFFLED)], **where)


def _figures(content: Any) -> Figures:
    return from_json(content) if content else None


def _control(run: ScoredFolder, name: str) -> Figures:
    return _figures(run.scores.get("control figures", {}).get(name))


def _value(figures: Figures, kind: str) -> float | None:
    return figures.of(kind).value if figures else None


def _difference(figures: Figures, kind: str) -> Difference | None:
    return cast("Difference", figures.of(kind)) if figures else None


def _check_paired(a: ScoredFolder, b: ScoredFolder) -> None:
    for key in ("protocol", "split", "reported"):
        if a.scores[key] != b.scores[key]:
            raise BenchmarkFileError(
                f"{a.scores['title']}: {key} is {a.scores[key]!r} in {a.label} and {b.scores[key]!r} in {b.label}; "
                "score both alike"
            )
    apart = sorted(set(a.samples.ids) ^ set(b.samples.ids))
    if apart:
        raise BenchmarkFileError(
            f"{a.scores['title']}: {len(apart)} questions stand in one run only ({', '.join(apart[:5])}); ask both "
            "models the same, with the same --limit"
        )
