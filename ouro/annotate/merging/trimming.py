"""A child's sentences without what is marked: lead-ins, and what is true of the crop alone, guessed, or filler.

A mark goes only where a whole sentence remains: at the start (a lead-in), behind a comma up to the end, between two
commas, or as a modifier ("a partially visible flower"). Where that fails a mark that is most of a sentence takes the
sentence along, and any other stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ouro.annotate.english.phrases import BOUNDARY, sentences, words_of
from ouro.core.records import Description, Mark

MOST = 0.5  # share of a sentence's words from which a mark takes it along
_DANGLING = BOUNDARY | frozenset("a an the its their his her no very".split())
_CLAUSE = re.compile(r"\s*(?:,|;|-|–|—|\()\s*(?:and\s+|but\s+|which\s+|that\s+)?$", re.IGNORECASE)


class Trimmed(NamedTuple):
    """A sentence as it stands, what remains of it, whether it lost its lead-in, and why it goes ("": it stays)."""

    said: str
    text: str
    start: int
    lead_in: bool = False
    reason: str = ""


def trim(description: Description) -> Iterator[Trimmed]:
    """Every sentence of a description, in order."""
    text = description.text
    for start, end in sentences(text):
        marks = [m for m in description.marks if m.start < end and start < m.end]
        yield _trimmed(text[start:end], start, [_local(m, start, end) for m in marks])


def _local(mark: Mark, start: int, end: int) -> Mark:
    return Mark(max(mark.start - start, 0), min(mark.end, end) - start, mark.kind)


def _trimmed(said: str, start: int, marks: list[Mark]) -> Trimmed:
    text, lead_in = said, False
    for mark in sorted(marks, key=lambda m: -m.start):
        if mark.kind == "lead_in":
            rest = text[mark.end :].lstrip(" ,:")
            lead_in = mark.start == 0 and _is_whole(rest)
            text = rest if lead_in else text
        elif (rest := without(text, mark.start, mark.end)) is not None:
            text = rest
        elif _share(said, marks) >= MOST:
            return Trimmed(said, "", start, reason=mark.kind)
    return Trimmed(said, text, start, lead_in) if words_of(text) else Trimmed(said, "", start, reason="lead_in")


def _share(said: str, marks: list[Mark]) -> float:
    """Of the words that are no lead-in, those that are marked."""
    lead_ins, others = (
        sum(len(words_of(said[m.start : m.end])) for m in marks if (m.kind == "lead_in") is is_lead_in)
        for is_lead_in in (True, False)
    )
    return others / max(len(words_of(said)) - lead_ins, 1)


def without(text: str, start: int, end: int) -> str | None:
    """The sentence without characters [start, end); None where no whole sentence would remain."""
    before, after = text[:start], text[end:]
    rest = after.lstrip()
    if not before.strip():
        return None
    if not any(c.isalnum() for c in rest):  # up to the end of the sentence
        joint = _CLAUSE.search(before)
        starts_clause = re.match(r"\s*(?:,|;|\()", text[start:end]) is not None
        kept = before[: joint.start()] if joint else before.rstrip() if starts_clause else None
        return f"{kept}{_final(text)}" if kept and _is_whole(kept) else None
    comma = before.rstrip().endswith(",")
    if comma and rest.startswith(","):
        return f"{before.rstrip()[:-1]}{rest[1:]}"
    article = re.search(r"\b(an?|the)\s+$", before, re.IGNORECASE)
    if article and rest[:1].isalpha() and not comma:
        word = article[1].lower()
        if word == "the" or (word == "an") == (rest[0].lower() in "aeiou"):
            return f"{before}{rest}"
    return None


def _final(text: str) -> str:
    ending = re.search(r"[.!?…]+[\"”’)]*$", text)
    return ending.group() if ending else "."


def _is_whole(text: str) -> bool:
    words = words_of(text)
    return bool(words) and words[-1] not in _DANGLING
