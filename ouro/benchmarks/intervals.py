"""A figure with its error bar. The bootstrap that makes them: ouro.benchmarks.ratios."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% bootstrap interval; `n` questions are in it."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Estimate:
        """A Difference where the row has a p."""
        interval = float(row["value"]), float(row["low"]), float(row["high"]), int(row["n"])
        return Difference(*interval, float(row["p"])) if "p" in row else Estimate(*interval)


@dataclass(frozen=True, slots=True)
class Difference(Estimate):
    """A difference on the same questions, with the two-sided bootstrap p of none."""

    p: float
