"""Accuracy, precision, recall, F1 and share of yes over yes-no questions: POPE.

Source: `evaluate.py` of POPE. Yes is the positive class, and the share of yes is that of the PREDICTIONS. Deviation:
where nothing is predicted yes, or nothing is, a ratio without a denominator is 0; the script stops with an error.
LLaVA reports the mean F1 over POPE's three splits. lmms-eval pools the splits, and its share of yes is that of the
truth; VLMEvalKit counts an unclear reply as a negative in F1 and as wrong in accuracy.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Confusion:
    """The confusion matrix of yes-no answers; the sum of two by `+`."""

    true_yes: int = 0
    false_yes: int = 0
    false_no: int = 0
    true_no: int = 0

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(
            self.true_yes + other.true_yes,
            self.false_yes + other.false_yes,
            self.false_no + other.false_no,
            self.true_no + other.true_no,
        )

    @property
    def total(self) -> int:
        return self.true_yes + self.false_yes + self.false_no + self.true_no

    @property
    def accuracy(self) -> float:
        return _ratio(self.true_yes + self.true_no, self.total)

    @property
    def precision(self) -> float:
        return _ratio(self.true_yes, self.true_yes + self.false_yes)

    @property
    def recall(self) -> float:
        return _ratio(self.true_yes, self.true_yes + self.false_no)

    @property
    def f1(self) -> float:
        """0 where nothing is right, also when all is right without a single yes."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    @property
    def yes_share(self) -> float:
        """Share of the questions that were answered yes."""
        return _ratio(self.true_yes + self.false_yes, self.total)


def confusion(pairs: Iterable[tuple[bool, bool]]) -> Confusion:
    """Counts of (predicted, truth)."""
    counts = Counter((bool(predicted), bool(truth)) for predicted, truth in pairs)
    return Confusion(counts[True, True], counts[True, False], counts[False, True], counts[False, False])


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
