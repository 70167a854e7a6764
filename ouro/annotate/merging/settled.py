"""Settled conflicts in the descriptions: the value that lost gives way to the one that stands, word for word.

Only a value that stands verbatim near what the conflict is about is exchanged, and only for one of its own kind, so
that the sentence stays as it is. A value that was dropped without another in its place goes where it is a modifier
("a pink nose" is "a nose"). What cannot be exchanged stays, and the conflict's record says what was settled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ouro.annotate.english.phrases import NUMBERS, is_plural, sentences
from ouro.annotate.merging.inscriptions import letters
from ouro.annotate.merging.repeats import content
from ouro.annotate.merging.trimming import without
from ouro.core.records import Conflict, Decision, Description

LONGEST = 4  # words of a value that is exchanged; what is longer is a clause


class Settled(NamedTuple):
    """Descriptions with settled values, and what each lost."""

    descriptions: list[Description]
    decisions: list[Decision]


def with_settled(descriptions: Sequence[Description], conflicts: Iterable[Conflict]) -> Settled:
    """The descriptions with what stands in place of what lost; their marks are those of the texts as they were said."""
    texts = {d.region_id: d.text for d in descriptions}
    decisions: list[Decision] = []
    for conflict in conflicts:
        for region, value in zip(conflict.region_ids, conflict.values, strict=True):
            if not conflict.rule or region not in texts or letters(value) == letters(conflict.kept):
                continue
            text = _exchanged(texts[region], value, conflict)
            if text is not None:
                texts[region] = text
                decisions.append(Decision("contradiction", region, value, conflict.rule))
    return Settled([replace(d, text=texts[d.region_id]) for d in descriptions], decisions)


def _exchanged(text: str, value: str, conflict: Conflict) -> str | None:
    if max(len(value.split()), len(conflict.kept.split())) > LONGEST and conflict.kind != "text":
        return None
    found = _nearest(text, value, conflict.about)
    if found is None:
        return None
    start, end = found
    if not conflict.kept:
        return without(text, start, end)
    if conflict.kind == "number" and not (_counts_several(value) and _counts_several(conflict.kept)):
        return None
    return _with_article(text[:start], conflict.kept) + text[end:]


def _nearest(text: str, value: str, about: str) -> tuple[int, int] | None:
    """Where the value stands in a sentence that shares most words with what the conflict is about."""
    best: tuple[int, int, int] | None = None
    topic = content(about).words
    for start, end in sentences(text):
        found = re.compile(rf"(?<![\w-]){re.escape(value)}(?![\w-])", re.IGNORECASE).search(text, start, end)
        if found and value:
            shared = len(topic & content(text[start:end]).words)
            best = max(best, (shared, -found.start(), found.end())) if best else (shared, -found.start(), found.end())
    return (-best[1], best[2]) if best else None


def _counts_several(value: str) -> bool:
    words = value.lower().split()
    return bool(words) and (NUMBERS.get(words[0], 2) > 1 or is_plural(words[-1]))


def _with_article(before: str, word: str) -> str:
    """The text up to a new word, with "a" or "an" before it as the word wants it."""
    article = re.search(r"\b(a)n?(\s+)$", before, re.IGNORECASE)
    if article is None:
        return before + word
    right = f"{article[1]}n" if word[:1].lower() in "aeiou" else article[1]
    return f"{before[: article.start()]}{right}{article[2]}{word}"
