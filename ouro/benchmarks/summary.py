"""Runs added up and compared: accuracy beside its controls, by question type, with intervals.

`summarise` adds up one run, `compare` two runs over the same questions, pairwise. The grounded margin is
accuracy minus accuracy on wrong images: what the model sees rather than guesses. The accuracy of each type's
most frequent answer (majority) stands beside it. Accuracies are in 0..1, unrounded; intervals are those of
ouro.benchmarks.intervals, in which a question's wrong-image score belongs to its own image.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ouro.benchmarks.intervals import Estimate, Estimates, difference, estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ouro.benchmarks.evaluate import Arm, Run

MACRO, OVERALL = "macro-average", "all questions"


@dataclass(frozen=True, slots=True)
class Row:
    """One question type (or the macro-average, or all questions) of one run. Accuracies in 0..1."""

    question_type: str
    n: int
    accuracy: Estimate
    shuffled: Estimate
    margin: Estimate
    majority: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Summary:
    """A run, added up: by question type, their unweighted mean (macro), and over all questions."""

    model: str
    arm: Arm
    n_images: int
    rows: tuple[Row, ...]
    macro: Row
    overall: Row

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def summarise(run: Run, *, resamples: int, seed: int) -> Summary:
    """Accuracies, controls and grounded margin of one run with 95% intervals over images."""
    images, types = _clusters(run)
    made = {
        name: estimate(values, images, types, rng=np.random.default_rng(seed), resamples=resamples)
        for name, values in _columns(run).items()
    }
    majority = _majority(run)

    def row(kind: str) -> Row:
        a, s, m = (_pick(made[name], kind) for name in ("score", "wrong_score", "margin"))
        return Row(kind, a.n, a, s, m, majority[kind])

    rows = tuple(row(kind) for kind in made["score"].groups)
    return Summary(run.model, run.arm, len(set(images)), rows, row(MACRO), row(OVERALL))


def _clusters(run: Run) -> tuple[list[str], list[str]]:
    return [p.image_id for p in run.predictions], [p.question_type for p in run.predictions]


def _columns(run: Run) -> dict[str, list[float]]:
    names = ("score", "wrong_score", "margin")
    return {name: [float(getattr(p, name)) for p in run.predictions] for name in names}


def _pick(made: Estimates, kind: str) -> Estimate:
    return {MACRO: made.macro, OVERALL: made.overall}.get(kind) or made.groups[kind]


def _majority(run: Run) -> dict[str, float]:
    scores: dict[str, list[float]] = {}
    for p in run.predictions:
        scores.setdefault(p.question_type, []).append(p.majority_score)
    means = {kind: sum(values) / len(values) for kind, values in scores.items()}
    overall = sum(p.majority_score for p in run.predictions) / len(run.predictions)
    return means | {MACRO: sum(means.values()) / len(means), OVERALL: overall}


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """One question type of two runs, and what was gained: paired differences with intervals."""

    question_type: str
    n: int
    majority: float
    base_accuracy: Estimate
    boot_accuracy: Estimate
    accuracy_gain: Estimate
    base_shuffled: float
    boot_shuffled: float
    base_margin: Estimate
    boot_margin: Estimate
    margin_gain: Estimate

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> ComparedRow:
        values: dict[str, Any] = {f.name: row[f.name] for f in fields(cls)}
        for name, value in values.items():
            if isinstance(value, dict):
                values[name] = Estimate.from_json(cast("dict[str, Any]", value))
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models over the same questions in the same arm."""

    base: str
    boot: str
    arm: Arm
    n_images: int
    rows: tuple[ComparedRow, ...]
    macro: ComparedRow
    overall: ComparedRow

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Comparison:
        rows = tuple(ComparedRow.from_json(row) for row in value["rows"])
        macro, overall = (ComparedRow.from_json(value[name]) for name in ("macro", "overall"))
        return cls(value["base"], value["boot"], value["arm"], value["n_images"], rows, macro, overall)


def compare(base: Run, boot: Run, *, resamples: int, seed: int) -> Comparison:
    """Accuracy and grounded margin of two runs and their paired differences (boot minus base).

    Raises ValueError unless both are of the same arm, questions and wrong images.
    """
    _check_paired(base, boot)
    images, types = _clusters(base)
    old, new = (summarise(run, resamples=resamples, seed=seed) for run in (base, boot))
    a, b = _columns(base), _columns(boot)
    gains = {
        name: difference(a[name], b[name], images, types, rng=np.random.default_rng(seed), resamples=resamples)
        for name in ("score", "margin")
    }

    def row(x: Row, y: Row) -> ComparedRow:
        gain, margin_gain = (_pick(gains[name], x.question_type) for name in ("score", "margin"))
        return ComparedRow(
            x.question_type, x.n, x.majority, x.accuracy, y.accuracy, gain,
            x.shuffled.value, y.shuffled.value, x.margin, y.margin, margin_gain,
        )  # fmt: skip

    rows = tuple(row(x, y) for x, y in zip(old.rows, new.rows, strict=True))
    macro, overall = row(old.macro, new.macro), row(old.overall, new.overall)
    return Comparison(base.model, boot.model, base.arm, old.n_images, rows, macro, overall)


def _check_paired(base: Run, boot: Run) -> None:
    if base.arm != boot.arm:
        raise ValueError(f"compare: got arms {base.arm!r} and {boot.arm!r}, expected the same")
    if len(base.predictions) != len(boot.predictions):
        raise ValueError(
            f"compare: {base.model} has {len(base.predictions)} predictions, "
            f"{boot.model} {len(boot.predictions)}; expected the same questions"
        )
    for x, y in zip(base.predictions, boot.predictions, strict=True):
        if (x.question_id, x.image_id, x.wrong_image_id) != (y.question_id, y.image_id, y.wrong_image_id):
            raise ValueError(
                f"compare: question_id {x.question_id} of {base.model} meets {y.question_id} of {boot.model} "
                "(or another image); evaluate both with the same questions and wrong images"
            )
