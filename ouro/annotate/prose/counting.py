"""How many things of a statement's name the inputs tell of."""

from __future__ import annotations

from collections.abc import Sequence

from ouro.annotate.english.chunks import WORD
from ouro.annotate.english.phrases import NUMBERS
from ouro.annotate.prose.entities import Told
from ouro.annotate.prose.evidence import Evidence
from ouro.annotate.prose.things import Thing


def numbers_told(evidence: Evidence, thing: Thing, own: Sequence[Told], close: Sequence[Told]) -> set[int | None]:
    """The numbers that the texts give, say one by one, or name without a noun; that of regions where none does."""
    numbers: set[int | None] = {o.thing.number for o in own}
    sums = evidence.sums(close)
    if thing.number == 1:
        return numbers - {1} if sums and 1 not in sums else numbers
    if all(o.thing.number == 1 for o in own):
        numbers |= sums
    if thing.other:
        return numbers
    counted = any(n and n > 1 for n in numbers)
    return numbers | _bare_numbers(evidence, own) | (set() if counted else {evidence.count(thing.noun)})


def _bare_numbers(evidence: Evidence, own: Sequence[Told]) -> set[int]:
    """Numbers that sentences about these things name outside of them: "two on each side"."""
    found: set[int] = set()
    for one in own:
        reading = evidence.readings[one.source]
        inside = [(t.start, t.end) for t in reading.things if t.sentence == one.thing.sentence]
        for match in WORD.finditer(reading.prose, *reading.sentences[one.thing.sentence]):
            word = match.group().lower()
            if word in NUMBERS and not any(a <= match.start() < b for a, b in inside):
                found.add(NUMBERS[word])
    return found
