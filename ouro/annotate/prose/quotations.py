"""What stands in quotation marks, or behind "reads": where, who can bear it, and when two readings of it are one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

from ouro.annotate.prose.things import WRITINGS, Reading, Thing

_QUOTED = re.compile(
    r"\"(?P<a>[^\"]*)\"|“(?P<b>[^”]*)”|`(?P<c>[^`]*)`"
    r"|\b(?:says?|saying|reads?|reading):?\s+(?!(?:an?|the|his|her|its|their) )(?P<d>[^\s\"“`,;.][^\"“`,;\n]{0,120}?)"
    r"(?=\s+(?:at|in|on) (?:the|its) |\s+and (?:a|an|the) |[,;]|\.?\s*$|\.\s)"
)
_MARKS = str.maketrans(dict.fromkeys('"“”`', ")"))
_WRITTEN_ON = re.compile(r"[\"”`]\W*(?:(?:is|are)\s+)?(?:on|(?:[a-z]+ed|written|seen)\s+(?:on|onto|in))\s")
_LONGEST = 2000  # characters of a quotation that is compared letter by letter


def find_quotations(text: str) -> tuple[tuple[int, int], ...]:
    """Characters [start, end) of each, without its marks."""
    return tuple(m.span(name) for m in _QUOTED.finditer(text) for name in "abcd" if m[name])


def without_quotations(text: str, quotations: Sequence[tuple[int, int]]) -> str:
    """The text, equally long; a quotation that ends with a sentence's mark ends the sentence."""
    pieces: list[str] = []
    at = 0
    for start, end in quotations:
        stop = end > start and text[end - 1] in ".!?" and re.match(r"[\"”`](?:\s+[A-Z]|\s*$)", text[end : end + 9])
        pieces += [text[at:start], "~" * (end - start - bool(stop)), "." * bool(stop)]
        at = end
    return "".join([*pieces, text[at:]]).translate(_MARKS)


def bearers_of(reading: Reading, quotation: int) -> list[Thing]:
    """The things that can bear the quotation at a character: those before it in its clause, else those of its
    sentence."""
    near = things_before(reading, quotation)
    near = [t for t in near if t.noun not in WRITINGS]
    first, end = next((a, b) for a, b in reading.sentences if quotation < b)
    own = [t for t in reading.things if first <= t.start < end]
    behind = _WRITTEN_ON.search(reading.text, quotation, end)
    after = [t for t in own if behind and t.start >= behind.end() - 1][:1]
    return after or near or own


def things_before(reading: Reading, quotation: int) -> list[Thing]:
    """The things between the last quotation, or the last clause that has any, and the quotation at a character."""
    first = next(a for a, b in reading.sentences if quotation < b)
    before = max((b for _, b in reading.quotations if first < b < quotation), default=first)
    things = [t for t in reading.things if before <= t.start < quotation]
    clause = reading.prose.rfind(", and ", before, quotation)
    return [t for t in things if t.start > clause] or things


def plain(text: str) -> str:
    """A text for loose comparison: case, blanks and marks apart."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def stands_in(text: str, whole: str) -> bool:
    """Whether a plain text stands in another, one letter in ten apart."""
    digits = any(c.isdecimal() for c in text)  # which are no letters that one may misread
    if not text or digits or f" {text} " in f" {whole} " or max(len(text), len(whole)) > _LONGEST:
        return bool(text) and f" {text} " in f" {whole} "
    place = fuzz.partial_ratio_alignment(text, whole) if len(text) <= len(whole) * 1.1 + 1 else None
    if place is None:
        return False
    start = max(0, place.dest_start - place.src_start)
    ends = range(start + len(text) - 1, start + len(text) + 2)
    return min(Levenshtein.distance(text, whole[start:end]) for end in ends) <= len(text) // 10
