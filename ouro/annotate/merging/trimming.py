"""A child's sentences without what is marked: lead-ins, and what is true of the crop alone, guessed, or filler.

A mark goes only where a whole sentence remains: at the start (a lead-in), behind a comma up to the end, between two
commas, or as a modifier ("a partially visible flower"). Where that fails a mark that is most of a sentence takes the
sentence along, and any other stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ouro.annotate.english.phrases import BOUNDARY, WORD, is_plural, is_verb, sentences, words_of
from ouro.core.records import Description, Mark

MOST = 0.5  # share of a sentence's words from which a mark takes it along
_DANGLING = BOUNDARY | frozenset("a an the its their his her no very".split())
_JOINT = re.compile(r"\s*(?:,|;|-|–|—|\()?\s*(?:\b(?:and|but|which|that))?$", re.IGNORECASE)
_FINITE = frozenset("is are was were has have had can does do seems appears".split())
_RELATIVE = frozenset("that which who where".split())


class Trimmed(NamedTuple):
    """A sentence as it stands, what remains of it, whether it lost its lead-in, and why it goes ("": it stays)."""

    sentence: str
    text: str
    start: int
    lead_in: bool = False
    reason: str = ""


def trim(description: Description) -> Iterator[Trimmed]:
    """Every sentence of a description, in order."""
    text = description.text
    for start, end in sentences(text):
        marks = [m for m in description.marks if m.start < end and start < m.end]
        yield _trim_sentence(text[start:end], start, [_local(m, start, end) for m in marks])


def _local(mark: Mark, start: int, end: int) -> Mark:
    return Mark(max(mark.start - start, 0), min(mark.end, end) - start, mark.kind)


def _trim_sentence(sentence: str, start: int, marks: list[Mark]) -> Trimmed:
    text, lead_in = sentence, False
    has_lead_in = any(mark.kind == "lead_in" and mark.start == 0 for mark in marks)
    for mark in sorted(marks, key=lambda m: -m.start):
        if mark.kind == "lead_in":
            rest = text[mark.end :].lstrip(" ,:")
            lead_in = mark.start == 0 and is_whole(rest)
            text = rest if lead_in else text
        elif (rest := without(text, mark.start, mark.end, leads=has_lead_in)) is not None:
            text = rest
        elif _share(sentence, marks) >= MOST:
            return Trimmed(sentence, "", start, reason=mark.kind)
    return Trimmed(sentence, text, start, lead_in) if words_of(text) else Trimmed(sentence, "", start, reason="lead_in")


def _share(sentence: str, marks: list[Mark]) -> float:
    """Of the words that are no lead-in, those that are marked."""
    lead_ins, others = (
        sum(len(words_of(sentence[m.start : m.end])) for m in marks if (m.kind == "lead_in") is is_lead_in)
        for is_lead_in in (True, False)
    )
    return others / max(len(words_of(sentence)) - lead_ins, 1)


def without(text: str, start: int, end: int, *, leads: bool = False) -> str | None:
    """The sentence without characters [start, end); None where no whole sentence would remain.

    `leads`: its opening is a lead-in, which any phrase completes.
    """
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    before, after = text[:start].rstrip(), text[end:].lstrip()
    if not before:
        return None
    if not any(c.isalnum() for c in after):  # up to the end of the sentence
        rest = _JOINT.sub("", before)
        return with_final_mark(rest, text) if is_whole(rest) and (leads or main_verb(rest) is not None) else None
    comma = before.endswith(",")
    if comma and after.startswith(","):
        return f"{before[:-1]}{after[1:]}"
    article = re.search(r"\b(an?|the)$", before, re.IGNORECASE)
    if article and after[0].isalpha() and (article[1].lower() == "the" or _takes_an(after) == (article[1][1:] == "n")):
        return f"{before} {after}"
    return None


def _takes_an(text: str) -> bool:
    return text[:1].lower() in "aeiou"


def main_verb(text: str) -> int | None:
    """The number of the word that is a sentence's finite verb; None of a bare phrase, whose clauses have theirs."""
    is_relative = False
    words = words_of(text)
    for at, word in enumerate(words):
        if word in _RELATIVE:
            is_relative = True
        elif word in _FINITE or (at > 0 and is_verb(word) and _agrees(word, words[at - 1])):
            if not is_relative:
                return at
            is_relative = False
    return None


def main_verb_at(text: str) -> int | None:
    """The character at which a sentence's finite verb starts."""
    number = main_verb(text)
    return None if number is None else [word.start() for word in WORD.finditer(text)][number]


def _agrees(verb: str, before: str) -> bool:
    """ "the cup stands", "the cups stand"; not "in the stands"."""
    return before not in _DANGLING and verb.endswith("s") is not is_plural(before)


def with_final_mark(rest: str, text: str) -> str:
    """The beginning of a text with the mark that the text ends with."""
    ending = re.search(r"[.!?…]+[\"”’)]*$", text)
    return f"{rest}{ending.group() if ending else '.'}"


def is_whole(text: str) -> bool:
    """Whether a text can end where it ends: not in "the" or "with"."""
    words = words_of(text)
    quoted = text.rstrip(" .!?").endswith(('"', "”"))
    return bool(words) and (quoted or words[-1] not in _DANGLING)
