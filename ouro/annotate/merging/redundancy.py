"""What a text says twice goes (OURO section 4.4): a sentence that repeats, or that claims no more than another.

A claim is a thing with its modifiers, place, text and holder: "the table has a red cup at the left". A sentence
goes when all that it says is claims, and another sentence claims each of them with the same place and the same
modifiers or more. Of two that say the same, the later goes; the opening always stays.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from typing import NamedTuple

from ouro.annotate.english.attributes import attribute
from ouro.annotate.english.mentions import Mention, Spot, listed, mentions
from ouro.annotate.english.phrases import bare, sentences, words_of
from ouro.annotate.merging.contradictions import SAID
from ouro.annotate.merging.provenance import Marked, cuts, plain, told_by
from ouro.core.records import Decision

_THERE = re.compile(r"there (?:is|are) ", re.IGNORECASE)
_HAS = re.compile(r"\s+(?:has|have)\s+")
_IS = re.compile(r"\s+(?:is|are)\s+(?P<words>[\w-]+(?:(?:, | and )[\w-]+)*)$")
_NOT = frozenset("no not without never none nothing neither isn't aren't doesn't don't".split())

Holder = tuple[str, Spot | None]


class Claim(NamedTuple):
    """That a holder (None: the picture) has a thing."""

    holder: Holder | None
    name: str
    number: int | None
    modifiers: frozenset[str]
    spot: Spot | None
    says: str

    def covers(self, other: Claim) -> bool:
        """Whether it says all that the other, of the same holder and name, says."""
        same_place = other.spot is None or other.spot == self.spot
        same_number = other.number == self.number
        return same_place and same_number and other.modifiers <= self.modifiers and other.says in ("", self.says)


class _Sentence(NamedTuple):
    key: tuple[str, ...]
    claims: tuple[Claim, ...]
    only: bool  # it says nothing but its claims


def without_repeats(marked: Marked) -> tuple[Marked, list[Decision]]:
    """The text without the sentences that repeat, and these."""
    text = plain(marked)
    spans = sentences(text)
    if len(spans) < 2:
        return marked, []
    read = [_read(text[a:b]) for a, b in spans]
    dropped = _repeats(read)
    if not dropped:
        return marked, []
    parts = cuts(marked, spans)
    decisions = [Decision("redundancy", _teller(parts[i]), bare(plain(parts[i])), SAID) for i in sorted(dropped)]
    return _remaining(marked, spans, dropped), decisions


def _teller(part: Marked) -> str:
    return next(iter(told_by(part)), part[0].region_id)


def _remaining(marked: Marked, spans: list[tuple[int, int]], dropped: set[int]) -> Marked:
    """The kept sentences, each with what stands before it up to the sentence that comes before."""
    text = plain(marked)
    starts = [0, *(end for _, end in spans[:-1])]
    keep = [(starts[i], spans[i][1]) for i in range(len(spans)) if i not in dropped]
    rest = (spans[-1][1], len(text))
    return tuple(p for part in cuts(marked, [*keep, rest]) for p in part)


@lru_cache(maxsize=4096)
def _read(sentence: str) -> _Sentence:
    said = bare(sentence)
    key = tuple(words_of(said))
    strict = _claims(said)
    if strict is not None:
        return _Sentence(key, tuple(strict), True)
    return _Sentence(key, () if _NOT & set(key) else tuple(_loose(said)), False)


def _claims(said: str) -> list[Claim] | None:
    """The claims of a sentence that says nothing else; None for any other."""
    if there := _THERE.match(said):
        return _of_list(said, there.end(), None)
    found = mentions(said)
    if not found or found[0].phrase.start != 0:
        return None
    first = found[0]
    if has := _HAS.match(said, first.stop):
        return _of_list(said, has.end(), (first.name, first.spot)) if first.phrase.words[0] == "the" else None
    if looks := _IS.match(said, first.stop):
        words = frozenset(w for w in words_of(looks["words"]) if w != "and")
        return (
            [_claim(first, None)._replace(modifiers=first.phrase.modifiers | words)]
            if all(attribute(w) for w in words)
            else None
        )
    return _of_list(said, 0, None)


def _of_list(said: str, start: int, holder: Holder | None) -> list[Claim] | None:
    items = listed(said, start, len(said))
    return [_claim(m, holder) for m in items] if items and not any(m.of for m in items) else None


def _claim(m: Mention, holder: Holder | None) -> Claim:
    return Claim(holder, m.name, m.number, m.phrase.modifiers, m.spot, m.says.strip('"“”').casefold())


def _loose(said: str) -> list[Claim]:
    """What any sentence claims beside other things; what follows "with" is the first thing's."""
    found = mentions(said)
    opening = found[0] if found and said[found[0].stop :].lstrip().startswith("with ") else None
    first = found[0] if found and found[0].phrase.words[0] == "the" and _HAS.match(said, found[0].stop) else opening
    holder = (first.name, first.spot) if first else None
    claims = [_claim(m, holder if i else None) for i, m in enumerate(found) if m.one_of < 0]
    return claims + [c._replace(holder=None) for c in claims if opening and c.holder]


def _repeats(read: list[_Sentence]) -> set[int]:
    """Indices of the sentences that go."""
    dropped: set[int] = set()
    seen: set[tuple[str, ...]] = set()
    for i, sentence in enumerate(read):
        if sentence.key in seen:
            dropped.add(i)
        seen.add(sentence.key)
    told: dict[tuple[Holder | None, str], list[tuple[int, Claim]]] = defaultdict(list)
    for i, sentence in enumerate(read):
        for claim in sentence.claims:
            told[claim.holder, claim.name].append((i, claim))
    for i in range(len(read) - 1, 0, -1):
        if i in dropped or not read[i].only:
            continue
        if all(_covered(claim, i, told[claim.holder, claim.name], dropped) for claim in read[i].claims):
            dropped.add(i)
    return dropped


def _covered(claim: Claim, i: int, told: list[tuple[int, Claim]], dropped: set[int]) -> bool:
    return any(j != i and j not in dropped and other.covers(claim) for j, other in told)
