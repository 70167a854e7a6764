"""Settled conflicts in the descriptions: the value that lost gives way to the one that stands, word for word.

Only a value that stands verbatim near what the conflict is about is exchanged, and only where any such value fits: a
colour or material by another, a number of several by another, a quoted text, one word by one word. So the sentence
stays as whole as it was. A value that was dropped without another in its place goes where it is a modifier ("a pink
nose" is "a nose"). What cannot be exchanged ("an elderly man ... his chest") stays as it was said, and the conflict's
record says what was settled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ouro.annotate.english.attributes import SHADES, attribute
from ouro.annotate.english.phrases import NUMBERS, is_plural, sentences
from ouro.annotate.merging.repeats import content
from ouro.annotate.merging.trimming import without
from ouro.core.records import Conflict, Decision, Description, Match


class Settled(NamedTuple):
    """Descriptions with settled values, the matches where they stand in these, and what each lost."""

    descriptions: list[Description]
    matches: list[Match]
    decisions: list[Decision]


class Edit(NamedTuple):
    """Characters [start, end) of a text become `text`."""

    start: int
    end: int
    text: str


def apply_settled(
    descriptions: Sequence[Description], matches: Sequence[Match], conflicts: Iterable[Conflict]
) -> Settled:
    """The descriptions with what stands in place of what lost. The marks of a changed text are gone: find them anew."""
    texts = {d.region_id: d.text for d in descriptions}
    new_matches = list(matches)
    decisions: list[Decision] = []
    for conflict in conflicts:
        for region, value in zip(conflict.region_ids, conflict.values, strict=True):
            if not conflict.rule or region not in texts or value == conflict.kept:
                continue
            edit = _edit(texts[region], value, conflict)
            if edit is not None:
                texts[region] = texts[region][: edit.start] + edit.text + texts[region][edit.end :]
                new_matches = [_move(match, edit) if match.parent_id == region else match for match in new_matches]
                decisions.append(Decision("contradiction", region, value, conflict.rule))
    new_descriptions = [
        d if texts[d.region_id] == d.text else replace(d, text=texts[d.region_id], marks=()) for d in descriptions
    ]
    return Settled(new_descriptions, new_matches, decisions)


def _move(match: Match, edit: Edit) -> Match:
    """A match where it stands after an edit."""
    longer = len(edit.text) - (edit.end - edit.start)
    start = match.start + longer if match.start >= edit.end else min(match.start, edit.start + len(edit.text))
    end = match.end + longer if match.end >= edit.end else min(match.end, edit.start + len(edit.text))
    return replace(match, start=start, end=max(start, end))


def _edit(text: str, value: str, conflict: Conflict) -> Edit | None:
    if conflict.kept and not _fits(conflict.kind, value, conflict.kept):
        return None
    span = _nearest(text, value, conflict.about)
    if span is None:
        return None
    start, end = span
    if not conflict.kept:
        shorter = without(text, start, end)
        return Edit(0, len(text), shorter) if shorter is not None else None
    if conflict.kind == "text" and value[-1] in ".!?" and (after := re.match(r"[\"”](?=\s|$)", text[end:])):
        return Edit(start, end + 1, f"{conflict.kept}{after.group()}{value[-1]}")  # the mark ended the sentence, too
    article = re.search(r"\b(a)n?\s+$", text[:start], re.IGNORECASE)
    if article is None:
        return Edit(start, end, conflict.kept)
    right = f"{article[1]}n" if conflict.kept[:1].lower() in "aeiou" else article[1]
    return Edit(article.start(), end, f"{right} {conflict.kept}")


def _fits(kind: str, value: str, right: str) -> bool:
    """Whether one value may stand wherever the other does."""
    if kind == "text":
        return True
    if kind == "number":
        return _counts_several(value) and _counts_several(right)
    if kind in ("colour", "material"):
        return _is_modifier(value) and _is_modifier(right)
    return kind == "attribute" and len(value.split()) == len(right.split()) == 1


def _is_modifier(value: str) -> bool:
    """Whether a value is adjectives alone: "light brown", "peach-colored"."""
    words = value.lower().split()
    return bool(words) and all(word == "and" or word in SHADES or _is_adjective(word) for word in words)


def _is_adjective(word: str) -> bool:
    last = word.rsplit("-", 1)[-1]
    return attribute(word) is not None or attribute(last) is not None or last in ("colored", "coloured")


def _nearest(text: str, value: str, about: str) -> tuple[int, int] | None:
    """Where the value stands in a sentence that shares most words with what the conflict is about."""
    best: tuple[int, int, int] | None = None
    topic = content(about).words
    for start, end in sentences(text):
        match = re.compile(rf"(?<![\w-]){re.escape(value)}(?![\w-])", re.IGNORECASE).search(text, start, end)
        if match and value:
            shared = len(topic & content(text[start:end]).words)
            best = max(best, (shared, -match.start(), match.end())) if best else (shared, -match.start(), match.end())
    return (-best[1], best[2]) if best else None


def _counts_several(value: str) -> bool:
    words = value.lower().split()
    return bool(words) and (NUMBERS.get(words[0], 2) > 1 or is_plural(words[-1]))
