"""F1 over (key, value) pairs: DeepForm and Kleister Charity (KLC).

Micro F1 over the corpus, as the DUE evaluator computes it with -i. Sources: `due_evaluator/scorers/fscorer.py` and
`due_evaluator.py` of due-benchmark/evaluator. Values are compared in upper case and otherwise exactly: no stripping, no
reading of numbers or dates; keys keep their case. Within a document each pair of the reference is matched at most once,
predictions taken in their order; a value also matches by a variant. A key with several values is several pairs.
Counts add up over documents; F1 is not averaged over documents or keys.

Deviations: none in the value. The evaluator matches twice, once from each side, for precision and for recall; both
passes take the same number of pairs, since both prefer what stands first, so one is enough here.
Others: Kleister's own metric (GEval, MultiLabel-F1) is the same F1, with spaces and colons escaped as `_`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NO_VALUE = "None"
"""What a model replies where a document has no value for the key (the DocOwl and UReader protocol)."""


class Pair(NamedTuple):
    """A key and its value; of a reference also the other spellings that are right."""

    key: str
    value: str
    variants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """Pairs that agree, pairs predicted, pairs of the reference; the sum of documents by `+`."""

    matched: int = 0
    predicted: int = 0
    reference: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.matched + other.matched, self.predicted + other.predicted, self.reference + other.reference)

    @property
    def precision(self) -> float:
        """Share of the predicted pairs that are right; 0 where none is predicted."""
        return self.matched / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the reference's pairs that are found; 0 where there is none."""
        return self.matched / self.reference if self.reference else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where both are."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def answered(predicted: Iterable[Pair]) -> list[Pair]:
    """The pairs without those whose value is the literal reply `None`: they are no predictions."""
    return [pair for pair in predicted if pair.value != NO_VALUE]


def match_pairs(predicted: Sequence[Pair], references: Sequence[Pair]) -> Counts:
    """Counts of one document; a document predicted as its reference has precision and recall 1, unless it is empty."""
    left = [(pair.key, {value.upper() for value in (pair.value, *pair.variants)}) for pair in references]
    matched = 0
    for pair in predicted:
        value = pair.value.upper()
        index = next((i for i, (key, values) in enumerate(left) if key == pair.key and value in values), None)
        if index is not None:
            del left[index]
            matched += 1
    return Counts(matched, len(predicted), len(references))
