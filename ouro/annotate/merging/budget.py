"""The length budget of a merged description, in the annotator's own tokens (OURO section 4.4: length is a limit).

Whole sentences go: filler first ("the overall atmosphere ..."), then the one that tells least. A sentence tells its
words that no other kept sentence has, each as often as regions say it: what several regions confirm counts more. A
sentence that others speak on from ("a helmet ...", "it has ...") outlives them, and the first one stays; if that alone
is too long it is cut at a word. What went is recorded.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ouro.annotate.english.phrases import sentences
from ouro.annotate.merging.provenance import Marked, Piece, cut, cuts, plain, told_by
from ouro.annotate.merging.repeats import content
from ouro.core.records import Decision

FILLER, LEAST, CUT = "filler_first", "least_informative_first", "own_sentence_over_budget"

Count = Callable[[str], int]


class Line(NamedTuple):
    """One sentence of a composed description, the regions that it tells of, whether it is filler, and which line it
    speaks on from (-1: none)."""

    marked: Marked
    region_ids: tuple[str, ...]
    filler: bool = False
    leans_on: int = -1


class Short(NamedTuple):
    """Lines within their budget, and what was lost."""

    lines: list[Line]
    lost: list[Decision]


def confirmations(texts: Iterable[str]) -> Counter[str]:
    """Word -> how many of the texts (one a region) have it."""
    return Counter(word for text in texts for word in content(text).words)


def within_budget(
    lines: Sequence[Line], owner: str, max_tokens: int, count: Count, confirmed: Mapping[str, int]
) -> Short:
    """The lines with at most `max_tokens` by `count`. `owner`: the region of the spaces between them."""
    indices = _select_lines(lines, max_tokens, count, confirmed)
    lost = [
        Decision("budget", (line.region_ids or (owner,))[0], plain(line.marked), FILLER if line.filler else LEAST)
        for at, line in enumerate(lines)
        if at not in indices
    ]
    short = [lines[at] for at in sorted(indices)]
    if count(plain(join_lines(short, owner))) <= max_tokens:
        return Short(short, lost)
    first, rest = _cut(short[0].marked, max_tokens, count)
    return Short([short[0]._replace(marked=first, region_ids=told_by(first))], lost + rest)


def lines_of(marked: Marked) -> list[Line]:
    """The sentences of a marked text as lines; each speaks on from the one that first tells of its first region."""
    spans = sentences(plain(marked))
    first: dict[str, int] = {}
    lines: list[Line] = []
    for at, part in enumerate(cuts(marked, spans)):
        regions = told_by(part)
        lines.append(Line(part, regions, leans_on=first.get(regions[0], -1) if regions else -1))
        for region in regions:
            first.setdefault(region, at)
    return lines


def join_lines(lines: Sequence[Line], owner: str) -> Marked:
    """Lines as one text, with spaces between them that are the owner's."""
    pieces: list[Piece] = []
    for line in lines:
        pieces += [Piece(" ", owner), *line.marked] if pieces else line.marked
    return tuple(pieces)


def _select_lines(lines: Sequence[Line], max_tokens: int, count: Count, confirmed: Mapping[str, int]) -> set[int]:
    """Indices of the lines that stay."""
    indices = set(range(len(lines)))
    texts = [plain(line.marked) for line in lines]
    if count(" ".join(texts)) <= max_tokens:
        return indices
    words = [content(text).words for text in texts]
    sizes = [count(text) for text in texts]
    uses = Counter(word for line in words for word in line)
    waits = Counter(line.leans_on for line in lines if line.leans_on >= 0)

    def rank(at: int) -> tuple[bool, int, int]:
        worth = sum(max(confirmed.get(word, 1), 1) for word in words[at] if uses[word] == 1)
        return not lines[at].filler, worth, -at

    heap = [(rank(at), at) for at in range(1, len(lines)) if not waits[at]]
    heapq.heapify(heap)
    total = sum(sizes)
    while heap and (total > max_tokens or count(" ".join(texts[at] for at in sorted(indices))) > max_tokens):
        before, at = heapq.heappop(heap)
        if rank(at) != before:  # others went, and their words with them
            heapq.heappush(heap, (rank(at), at))
            continue
        indices.discard(at)
        total -= sizes[at]
        uses.subtract(words[at])
        first = lines[at].leans_on
        if first >= 0:
            waits[first] -= 1
            if first > 0 and not waits[first]:
                heapq.heappush(heap, (rank(first), first))
    return indices


def _cut(marked: Marked, max_tokens: int, count: Count) -> tuple[Marked, list[Decision]]:
    """The longest beginning of whole words within the budget; of one endless word, of characters."""
    text = plain(marked)
    ends = [at for at in range(1, len(text)) if text[at].isspace()]
    end = _longest(text, ends, max_tokens, count) or _longest(text, list(range(1, len(text))), max_tokens, count)
    rest = cut(marked, end, len(text))
    lost = [
        Decision("budget", region, plain(tuple(p for p in rest if p.region_id == region)).strip(), CUT)
        for region in told_by(rest)
    ]
    return cut(marked, 0, end), lost


def _longest(text: str, ends: list[int], max_tokens: int, count: Count) -> int:
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        if count(text[: ends[middle]].rstrip()) <= max_tokens:
            low = middle + 1
        else:
            high = middle
    return len(text[: ends[low - 1]].rstrip()) if low else 0
