"""The guard of rewriting: whether every sentence of a text is borne out by what was told of an image.

Asked of each sentence: is every thing named by an input; does every attribute belong to the noun that has it; every
number to the noun that it counts; is every place that of the text or of a box; does nobody tell a relation otherwise;
is what stands in quotation marks read or said somewhere.

Source: ours. Object hallucination is judged by unnamed nouns in CHAIR (Rohrbach et al., EMNLP 2018); here attributes,
numbers, places, relations and quotations count as well, and the inputs stand in for the picture.
"""

from __future__ import annotations

from typing import NamedTuple

from ouro.annotate.prose.checking import Checker
from ouro.annotate.prose.evidence import Evidence
from ouro.annotate.prose.reader import read

__all__ = ["Evidence", "SentenceCheck", "check_text"]


class SentenceCheck(NamedTuple):
    """Characters [start, end) of a text are a sentence; `region_ids` bear it out, in order of appearance; `missing` is
    what nobody bears out, as "reason: words" (`prose.checking.REASONS`)."""

    start: int
    end: int
    region_ids: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not borne out, each reason once."""
        return tuple(dict.fromkeys(m.partition(":")[0] for m in self.missing))


def check_text(text: str, evidence: Evidence) -> list[SentenceCheck]:
    """A check of each sentence, in order; none of a text without words."""
    reading = read(text)
    checker = Checker(reading, evidence)
    checks: list[SentenceCheck] = []
    for number, (start, end) in enumerate(reading.sentences):
        missing = checker.missing(number)
        checks.append(SentenceCheck(start, end, tuple(checker.regions), tuple(missing)))
    return checks
