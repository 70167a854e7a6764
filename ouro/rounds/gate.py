"""Whether a candidate becomes the champion: gains on the gate's benchmarks, no fall beyond the tolerance elsewhere.

OURO's own tables fall on ScienceQA (95.4 -> 87.0) where they gain elsewhere (section 4, Table 1): a mean would have
hidden it. VILA^2 (section 3.1) promotes every round; we ask for a gain beyond the interval of the paired difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ouro.benchmarks.intervals import Estimate
from ouro.benchmarks.items import HELD_OUT
from ouro.core.errors import OuroError

if TYPE_CHECKING:
    from ouro.core.params import Gate


class GateError(OuroError, ValueError):
    """A benchmark of the gate was not measured, or gate.json has another form."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Two models on one benchmark with `k` regions shown: the figures, and the paired difference with its interval.

    Shares, except for captions (CIDEr-D, 0 to 10); `points`: what they are multiplied with to be shown.
    """

    benchmark: str
    k: int
    models: tuple[str, str]
    first: float
    second: float
    gain: Estimate
    points: float = 100.0

    @property
    def name(self) -> str:
        """held-out, or with regions held-out, k = 5."""
        return f"{self.benchmark}, k = {self.k}" if self.k else self.benchmark

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "models": list(self.models)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Measured:
        try:
            first, second = value["models"]
            return cls(
                value["benchmark"], int(value["k"]), (first, second), float(value["first"]), float(value["second"]),
                Estimate.from_json(value["gain"]), float(value["points"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise GateError(
                f"a measurement of the gate: {type(error).__name__}: {error}; expected gate.json"
            ) from error


@dataclass(frozen=True, slots=True)
class Verdict:
    """`promoted`: whether the candidate becomes the champion; `reasons`: one sentence a benchmark that decided."""

    promoted: bool
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"promoted": self.promoted, "reasons": list(self.reasons)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verdict:
        return cls(bool(value["promoted"]), tuple(value["reasons"]))


def decide(measured: Sequence[Measured], against: str, gate: Gate) -> Verdict:
    """The verdict over the candidate's differences to the model `against` ("champion", in the first round "base").

    Promoted when every benchmark of gate.benchmarks, images alone, has the lower end of its interval above
    gate.margin, and no other measurement falls by more than its tolerance. A benchmark of which both models have
    the very same score has gained nothing. Raises GateError when a benchmark of the gate was not measured.
    """
    comparable = [m for m in measured if m.models[0] == against]
    gate_measurements = [m for m in comparable if m.benchmark in gate.benchmarks and m.k == 0]
    if missing := sorted(set(gate.benchmarks) - {m.benchmark for m in gate_measurements}):
        measured_names = ", ".join(dict.fromkeys(m.benchmark for m in comparable)) or "none"
        raise GateError(
            f"gate.benchmarks: got {', '.join(missing)}, which {'was' if len(missing) == 1 else 'were'} not measured "
            f"(measured: {measured_names}). Fix: put them into benchmark.names, or name others in gate.benchmarks"
        )
    checks = [_check_gain(m, gate.margin) for m in gate_measurements]
    checks += [
        _check_tolerance(m, gate.tolerances.get(m.benchmark, gate.tolerance))
        for m in comparable
        if m not in gate_measurements
    ]
    return Verdict(all(passed for passed, _ in checks), tuple(reason for _, reason in checks))


def check_gate(gate: Gate, names: Sequence[str], held_out: bool = True) -> None:
    """Raise GateError for a benchmark that is not going to be measured; `names`: benchmark.names, `held_out`: whether
    the collection brings questions. Where nothing is measured at all, the verdict says so."""
    if not (held_out or names):
        return
    available = [*([HELD_OUT] if held_out else []), *names]
    for key, requested in (("gate.benchmarks", gate.benchmarks), ("gate.tolerances", list(gate.tolerances))):
        if missing := [name for name in requested if name not in available]:
            raise GateError(
                f"{key}: got {', '.join(missing)}, expected some of {', '.join(available)}. Fix: add to "
                "benchmark.names what is to be measured"
            )


def _check_gain(m: Measured, margin: float) -> tuple[bool, str]:
    passed = m.gain.low > margin
    return (
        passed,
        f"{m.name}: {format_measured(m)}, {'above' if passed else 'NOT above'} the margin {_signed(margin, m)}",
    )


def _check_tolerance(m: Measured, tolerance: float) -> tuple[bool, str]:
    passed = m.gain.value >= -tolerance
    return (
        passed,
        f"{m.name}: {format_measured(m)}, {'within' if passed else 'NOT within'} "
        f"the tolerance {_signed(-tolerance, m)}",
    )


def format_measured(m: Measured) -> str:
    """30.0 -> 50.1, gain +20.1 [+17.7, +22.6], n = 1821"""
    g = m.gain
    values = f"{m.points * m.first:.1f} -> {m.points * m.second:.1f}"
    return f"{values}, gain {_signed(g.value, m)} [{_signed(g.low, m)}, {_signed(g.high, m)}], n = {g.n}"


def _signed(value: float, m: Measured) -> str:
    return f"{m.points * value:+.1f}"


def gained(measured: Sequence[Measured], against: str, gate: Gate) -> bool:
    """Whether any benchmark of the gate gained beyond its interval: without, the round counts towards saturation."""
    gate_measurements = [m for m in measured if m.models[0] == against and m.k == 0 and m.benchmark in gate.benchmarks]
    return any(m.gain.low > 0 for m in gate_measurements)
