"""What the parent says of a child's parts, where the child tells them itself: "the table has a star and a cup".

The close-up is believed: items of such a list that the child tells with the same or more detail go as repeats,
items that contradict it go as contradictions, and what only the parent saw stays.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ouro.annotate.english.attributes import clashes
from ouro.annotate.english.mentions import Mention, apart, listed, mentions
from ouro.annotate.english.phrases import bare, sentences
from ouro.annotate.merging.contradictions import CLOSE_UP, SAID
from ouro.annotate.merging.matching import Child
from ouro.annotate.merging.provenance import Marked, Piece
from ouro.core.records import Decision

_HAS = re.compile(r"\s+(?:has|have)\s+")
_WITH = re.compile(r"\s+with\s+")

Edit = tuple[int, int, Marked]


def absorbed(
    base: Piece, here: Mention, child: Child, found: Sequence[Mention], taken: Collection[int], *, alone: bool
) -> tuple[list[Edit], list[Decision]]:
    """Edits of the parent's text, and decisions.

    `here`: the child's mention; `taken`: where mentions start that are children themselves and so must stay;
    `alone`: no other child has its name, so that "the table" is this one.
    """
    told = mentions(child.text)[1:]
    edits: list[Edit] = []
    decisions: list[Decision] = []
    for part in _lists(base.text, here, found, alone) if told else ():
        lost = {} if any(m.phrase.start in taken for m in part.items) else _lost(base, part.items, told)
        kept = [m for m in part.items if m.phrase.start not in lost]
        if not lost or (kept and not part.parts):
            continue
        rest = (Piece(_listing(base.text, kept), base.region_id),) if kept else ()
        edits.append((part.start, part.stop, rest) if kept else (*part.whole, rest))
        decisions += lost.values()
    return edits, decisions


class _List(NamedTuple):
    """A list in the parent's text: [start, stop); `whole`: what goes with its last item; `parts`: whether single
    items may go."""

    start: int
    stop: int
    items: list[Mention]
    whole: tuple[int, int]
    parts: bool


def _lists(text: str, here: Mention, found: Sequence[Mention], alone: bool) -> list[_List]:
    """What the child is said to be "with" (all of that goes, or nothing) and, in a sentence of its own, to have."""
    lists: list[_List] = []
    begins = {m.phrase.start: m for m in found}
    for start, end in sentences(text):
        stop = start + len(bare(text[start:end]))
        if start <= here.phrase.start < end and (match := _WITH.match(text, here.stop)):
            lists.append(_List(match.end(), stop, listed(text, match.end(), stop) or [], (here.stop, stop), False))
        subject = begins.get(start)
        if subject and _is_about(subject, here, alone) and (match := _HAS.match(text, subject.stop)):
            after = end + len(text[end:]) - len(text[end:].lstrip())
            lists.append(_List(match.end(), stop, listed(text, match.end(), stop) or [], (start, after), True))
    return [found for found in lists if found.items]


def _is_about(subject: Mention, here: Mention, alone: bool) -> bool:
    if subject.name != here.name or subject.phrase.words[0] != "the":
        return False
    return alone or (subject.spot is not None and here.spot is not None and apart(subject.spot, here.spot) == 0)


def _lost(base: Piece, items: Sequence[Mention], told: Sequence[Mention]) -> dict[int, Decision]:
    """By where it starts: each item that the child tells itself, or tells otherwise."""
    lost: dict[int, Decision] = {}
    used: set[int] = set()
    for item in items:
        alike = [m for m in told if m.name == item.name and m.phrase.start not in used]
        only = len(alike) == 1 and sum(m.name == item.name for m in items) == 1
        near = [m for m in alike if only or item.spot is None or m.spot is None or apart(item.spot, m.spot) is not None]
        near.sort(key=lambda m: (len(clashes(item.phrase.modifiers, m.phrase.modifiers)), not _covers(m, item)))
        rule = _rule(item, near[0]) if near else None
        if rule:
            used.add(near[0].phrase.start)
            text = base.text[item.phrase.start : item.stop]
            kind = "redundancy" if rule == SAID else "contradiction"
            lost[item.phrase.start] = Decision(kind, base.region_id, text, rule)
    return lost


def _rule(item: Mention, told: Mention) -> str | None:
    elsewhere = item.spot is not None and told.spot is not None and apart(item.spot, told.spot) is None
    if elsewhere or clashes(item.phrase.modifiers, told.phrase.modifiers):
        return CLOSE_UP
    return SAID if _covers(told, item) else None


def _covers(told: Mention, item: Mention) -> bool:
    text = item.says.strip('"“”').casefold()
    more = item.phrase.modifiers <= told.phrase.modifiers and item.of in ("", told.of)
    return more and text in ("", told.says.strip('"“”').casefold()) and item.plural == told.plural


def _listing(text: str, items: Sequence[Mention]) -> str:
    """ "a", "a and b", "a, b and c"."""
    words = [text[m.phrase.start : m.stop] for m in items]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
