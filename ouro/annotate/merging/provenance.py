"""Text that knows where it came from: a marked text is a row of pieces, each with the region that said it."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from ouro.core.control_tokens import find_control_tokens
from ouro.core.records import Decision, Insertion


class Piece(NamedTuple):
    """A stretch of text and the region it came from."""

    text: str
    region_id: str


Marked = tuple[Piece, ...]


class Composed(NamedTuple):
    """One region's merged description, and what was left out of it or settled."""

    marked: Marked
    decisions: list[Decision]


def plain(marked: Marked) -> str:
    """The text of its pieces."""
    return "".join(p.text for p in marked)


def region_at(marked: Marked, at: int) -> str:
    """The region that said the character at `at`; the last one's beyond the end, "" of no text."""
    for text, region in marked:
        if at < len(text):
            return region
        at -= len(text)
    return marked[-1].region_id if marked else ""


def cut(marked: Marked, start: int, end: int) -> Marked:
    """Characters [start, end) of a marked text, with their regions."""
    out: list[Piece] = []
    at = 0
    for text, region in marked:
        if at >= end:
            break
        a, b = max(start - at, 0), min(end - at, len(text))
        if a < b:
            out.append(Piece(text[a:b], region))
        at += len(text)
    return tuple(out)


def cuts(marked: Marked, spans: list[tuple[int, int]]) -> list[Marked]:
    """`cut` at each of the spans, which are in order and do not overlap, in one pass."""
    out: list[list[Piece]] = [[] for _ in spans]
    at = first = 0
    for text, region in marked:
        while first < len(spans) and spans[first][1] <= at:
            first += 1
        i = first
        while i < len(spans) and spans[i][0] < at + len(text):
            a, b = max(spans[i][0] - at, 0), min(spans[i][1] - at, len(text))
            if a < b:
                out[i].append(Piece(text[a:b], region))
            i += 1
        at += len(text)
    return [tuple(pieces) for pieces in out]


def break_tokens(marked: Marked) -> Marked:
    """A marked text with its control tokens broken, as `break_control_tokens` does."""
    while spans := find_control_tokens(plain(marked)):
        places = [0, *(start + 1 for start, _ in spans)]
        parts = cuts(marked, list(pairwise([*places, len(plain(marked))])))
        blanks = [Piece(" ", region_at(marked, place - 1)) for place in places[1:]]
        marked = (*parts[0], *(p for blank, part in zip(blanks, parts[1:], strict=True) for p in (blank, *part)))
    return marked


def insertions(marked: Marked, root: str) -> tuple[Insertion, ...]:
    """The stretches that did not come from `root`; neighbours of one region are one."""
    spans: list[Insertion] = []
    at = 0
    for text, region in marked:
        if region != root and text:
            if spans and spans[-1].region_id == region and spans[-1].end == at:
                spans[-1] = Insertion(spans[-1].start, at + len(text), region)
            else:
                spans.append(Insertion(at, at + len(text), region))
        at += len(text)
    return tuple(spans)


def told_by(marked: Marked) -> tuple[str, ...]:
    """The regions that words of it came from, in order of appearance."""
    return tuple(dict.fromkeys(p.region_id for p in marked if any(c.isalnum() for c in p.text)))
