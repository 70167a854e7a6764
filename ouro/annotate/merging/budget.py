"""The length budget of a merged description, in tokens (OURO section 4.4 names excessive length as a limit).

Whole sentences go, the least informative first: the one with the fewest words (names, attributes, numbers, text)
that no other kept sentence has; of equals the one about the smaller region, then the deeper, then the later one.
A sentence that others lean on ("there is a mug ...", "the mug has ...") outlives them, and the opening stays. If
the opening alone is too long, it loses what children put into it; only if the annotator's own first sentence is
longer than the whole budget is it cut, at a word. What went is recorded.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ouro.annotate.english.phrases import BOUNDARY, DETERMINERS, bare, sentences, singular, words_of
from ouro.annotate.merging.provenance import Marked, Piece, cut, cuts, plain, told_by
from ouro.core.records import Decision

LEAST = "least_informative_first"
OPENING = "opening_without_details"
CUT = "own_sentence_over_budget"

Count = Callable[[str], int]
_EMPTY = BOUNDARY | (DETERMINERS - {"one", "two", "three", "four", "five", "six"}) | {"there", "it", "its", "this"}


class Size(NamedTuple):
    """Of a region: its area in square pixels and its level."""

    area: float
    level: int


class Short(NamedTuple):
    """A text within its budget, and what it lost."""

    marked: Marked
    lost: list[Decision]


class _Told(NamedTuple):
    text: str
    marked: Marked
    regions: tuple[str, ...]
    words: frozenset[str]
    tokens: int


def within_budget(marked: Marked, own: Piece, sizes: Mapping[str, Size], max_tokens: int, count: Count) -> Short:
    """The text with at most `max_tokens` by `count`, and what it lost. `own`: the region's unmerged description."""
    text = plain(marked)
    if count(text) <= max_tokens:
        return Short(marked, [])
    spans = sentences(text)
    told = [_told(text[a:b], part, count) for (a, b), part in zip(spans, cuts(marked, spans), strict=True)]
    if not told:
        return _forced(marked, own, max_tokens, count)
    kept = _kept(told, sizes, max_tokens, count)
    lost = [
        Decision("budget", told[i].regions[0] if told[i].regions else own.region_id, bare(told[i].text), LEAST)
        for i in range(len(told))
        if i not in kept
    ]
    short = _together([told[i].marked for i in sorted(kept)], own.region_id)
    if count(plain(short)) <= max_tokens:
        return Short(short, lost)
    forced, more = _forced(short, own, max_tokens, count)
    return Short(forced, lost + more)


def _told(text: str, part: Marked, count: Count) -> _Told:
    words = frozenset(singular(w) for w in words_of(text) if w not in _EMPTY)
    return _Told(text, part, told_by(part), words, count(text))


def _kept(told: list[_Told], sizes: Mapping[str, Size], max_tokens: int, count: Count) -> set[int]:
    """Indices of the sentences that stay."""
    kept = set(range(len(told)))
    total = sum(t.tokens for t in told)
    uses = Counter(word for t in told for word in t.words)
    leans = _leans_on(told)
    waits = Counter(leans.values())
    heap = [(_rank(told, i, uses, sizes), i) for i in range(1, len(told)) if not waits[i]]
    heapq.heapify(heap)
    while heap and (total > max_tokens or count(_text(told, kept)) > max_tokens):
        rank, i = heapq.heappop(heap)
        now = _rank(told, i, uses, sizes)
        if now != rank:  # others went, and their words with them
            heapq.heappush(heap, (now, i))
            continue
        kept.discard(i)
        total -= told[i].tokens
        uses.subtract(told[i].words)
        if (first := leans.get(i)) is not None:
            waits[first] -= 1
            if not waits[first] and first > 0:
                heapq.heappush(heap, (_rank(told, first, uses, sizes), first))
    return kept


def _rank(told: list[_Told], i: int, uses: Counter[str], sizes: Mapping[str, Size]) -> tuple[int, float, int, int]:
    """Smallest first to go."""
    new = sum(uses[word] == 1 for word in told[i].words)
    about = [sizes[r] for r in told[i].regions if r in sizes] or [Size(0.0, 0)]
    return new, max(s.area for s in about), -min(s.level for s in about), -i


def _leans_on(told: list[_Told]) -> dict[int, int]:
    """Sentence -> the earlier one that first tells of its (first) region."""
    first: dict[str, int] = {}
    leans: dict[int, int] = {}
    for i, t in enumerate(told):
        if t.regions and t.regions[0] in first:
            leans[i] = first[t.regions[0]]
        for region in t.regions:
            first.setdefault(region, i)
    return leans


def _text(told: list[_Told], kept: set[int]) -> str:
    return " ".join(told[i].text for i in sorted(kept))


def _together(parts: list[Marked], owner: str) -> Marked:
    pieces: list[Piece] = []
    for part in parts:
        pieces += [Piece(" ", owner), *part] if pieces else part
    return tuple(pieces)


def _forced(marked: Marked, own: Piece, max_tokens: int, count: Count) -> Short:
    """The annotator's own first sentence, cut at a word if it must be."""
    inserted = (r for r in told_by(marked) if r != own.region_id)
    lost = [
        Decision("budget", r, plain(tuple(p for p in marked if p.region_id == r)).strip(), OPENING) for r in inserted
    ]
    spans = sentences(own.text)
    first = own.text[spans[0][0] : spans[0][1]] if spans else own.text.strip()
    if not first or (len(first) >= len(plain(marked)) and count(first) > max_tokens):
        return _cut(marked, max_tokens, count)
    whole = (Piece(first, own.region_id),)
    if count(first) <= max_tokens:
        return Short(whole, lost)
    short, more = _cut(whole, max_tokens, count)
    return Short(short, lost + more)


def _cut(marked: Marked, max_tokens: int, count: Count) -> Short:
    """The longest beginning of whole words within the budget; of one endless word, of characters."""
    text = plain(marked)
    ends = [i for i in range(1, len(text)) if text[i].isspace()]
    end = _longest(text, ends, max_tokens, count) or _longest(text, list(range(1, len(text))), max_tokens, count)
    rest = cut(marked, end, len(text))
    lost = [
        Decision("budget", r, plain(tuple(p for p in rest if p.region_id == r)).strip(), CUT) for r in told_by(rest)
    ]
    return Short(cut(marked, 0, end), lost)


def _longest(text: str, ends: list[int], max_tokens: int, count: Count) -> int:
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        if count(text[: ends[middle]].rstrip()) <= max_tokens:
            low = middle + 1
        else:
            high = middle
    return len(text[: ends[low - 1]].rstrip()) if low else 0
