"""Where a description mentions things: name, number, ordinal, place in the picture, and what holds what.

Also the lists that follow "with" and "has", whose items are such mentions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from ouro.annotate.english.lexicon import is_known, name_of
from ouro.annotate.english.phrases import (
    BOUNDARY,
    DETERMINERS,
    NUMBERS,
    ORDINALS,
    POSSESSIVES,
    Phrase,
    is_plural,
    is_verb,
    mask,
    noun_phrases,
    sentences,
)

Spot = tuple[int | None, int | None]  # column and row: -1, 0, 1; None where the text leaves it open

_LOOSE = frozenset(["some", "several", "many", "few", "both", "various"])
_AXIS: Final[Mapping[str, tuple[int, int]]] = {
    "left": (0, -1), "leftmost": (0, -1), "right": (0, 1), "rightmost": (0, 1),
    "top": (1, -1), "upper": (1, -1), "bottom": (1, 1), "lower": (1, 1),
}  # fmt: skip
_MIDDLE = frozenset(["center", "centre", "middle"])
LEADS = DETERMINERS | POSSESSIVES
_AREA = "left|right|top|bottom|upper|lower|center|centre|middle"
_PLACE = re.compile(
    rf",?\s+(?:on|in|at|to|towards?|near) the (?:far |very )?(?P<spot>(?:{_AREA})(?:[- ](?:{_AREA}))?)(?:[- ]hand)?"
    r"(?: (?:side|corner|half|part|edge|area))?"
    r"(?: of (?:the|this) (?:image|picture|photo|photograph|scene|frame|view))?"
    rf"(?=\s*(?:$|[.,;:!?)])|\s+(?:{'|'.join(sorted(BOUNDARY - {'of'}))}|\w+ing)\b)",
    re.IGNORECASE,
)
_OF = re.compile(r"\s+of((?:\s+[\w'’-]+){1,6})")
_SAYS = re.compile(
    r"\s+(?:that|which)\s+(?:says|reads)\s+"
    r"(?P<text>\"[^\"]*\"|“[^”]*”|[^\s.,;:\"“]+(?:\s+(?!(?:at|in|on|and|that|with)\b)[^\s.,;:\"“]+){0,11})"
)
_AREAS = frozenset({*_AXIS, *_MIDDLE} | set("side corner half part edge area background foreground".split()))
_IMAGES = frozenset("image picture photo photograph scene frame view".split())
_ONE_OF = re.compile(r"\b(?:one|another|each)\s+of\s+$", re.IGNORECASE)
_HAS = re.compile(r"\s+(?:has|have|holds?|contains?)\s+", re.IGNORECASE)
_BARE = re.compile(r"[\w'’-]+")
_JOINT = re.compile(r"\s*,\s*and\s+|\s*,\s*|\s+and\s+")


class Mention(NamedTuple):
    """A thing named in a text. It starts at `phrase.start`; "of water" ends at `of_end`, "that says milk" at
    `body`, "at the left" at `stop`."""

    phrase: Phrase
    name: str
    number: int | None  # None: not said ("some cups", "the cups")
    plural: bool
    ordinal: int | None  # "the second cup": 2; "the last cup": -1
    spot: Spot | None  # "on the left"
    of: str  # "water" of "a bottle of water"
    says: str  # "milk" of "a sign that says milk"
    of_end: int
    body: int
    stop: int
    one_of: int = -1  # where "one of" before "the cups" starts
    holder: str = ""  # the name of what has it, in "the table has a cup"
    echo: bool = False  # "the cup" after "a cup": the same one


def mentions(text: str) -> list[Mention]:
    """All mentions, in order."""
    return list(_mentions(text))


@lru_cache(maxsize=4096)  # a child's sentences are read again at every level above it
def _mentions(text: str) -> tuple[Mention, ...]:
    masked = mask(text)
    phrases = noun_phrases(text, LEADS)
    spans = sentences(text)
    found: list[Mention] = []
    for phrase in sorted([*phrases, *_bare_plurals(masked, phrases)]):
        inside = found and phrase.start < found[-1].stop
        itself = phrase.head in _AREAS or (phrase.head in _IMAGES and phrase.words[0] == "the")
        if not inside and not itself:
            found.append(mention(text, masked, phrase))
    return tuple(_echoes(_held(masked, spans, found)))


def mention(text: str, masked: str, phrase: Phrase) -> Mention:
    """A noun phrase and what directly follows it: "of water", "that says milk", "on the left"."""
    first, last = phrase.words[0], phrase.words[-1]
    stop, of = _complement(masked, phrase.end)
    says = _SAYS.match(text, stop)
    of_end, body = stop, says.end() if says else stop
    place = _PLACE.match(masked, body)
    spot = read_spot(place["spot"]) if place else _adjective_spot(phrase)
    plural = is_plural(last) or NUMBERS.get(first, 1) > 1 or first in _LOOSE or first not in LEADS
    number = NUMBERS.get(first) if plural or first in NUMBERS else 1
    ordinal = next((ORDINALS[w] for w in phrase.words[1:-1] if w in ORDINALS), None)
    one_of = _ONE_OF.search(masked, max(0, phrase.start - 20), phrase.start) if plural else None
    return Mention(
        phrase, name_of(phrase.words), number, plural and one_of is None, ordinal, spot, of,
        says["text"] if says else "", of_end, body, place.end() if place else body, one_of.start() if one_of else -1,
    )  # fmt: skip


def _complement(masked: str, end: int) -> tuple[int, str]:
    """Where "of water" ends, and "water"; nothing before a determiner: "of the cups" names another thing."""
    match = _OF.match(masked, end)
    if match is None:
        return end, ""
    kept: list[str] = []
    for word in _BARE.finditer(masked, match.start(1), match.end(1)):
        lower = word.group().lower()
        if lower in BOUNDARY or lower in DETERMINERS or is_verb(lower) or len(kept) == 3:
            break
        kept.append(word.group())
        end = word.end()
    return end, " ".join(kept).lower()


def read_spot(words: str) -> Spot:
    """ "top left" -> (-1, -1), "left" -> (-1, None), "center" -> (0, 0)."""
    spot: list[int | None] = [None, None]
    parts = words.lower().replace("-", " ").split()
    for word in parts:
        if word in _AXIS:
            axis, side = _AXIS[word]
            spot[axis] = side
    if any(word in _MIDDLE for word in parts):
        spot = [0 if side is None else side for side in spot]
    return spot[0], spot[1]


def exact_spot(position: str) -> Spot:
    """A relative position as `ouro.core.boxes.relative_position` gives it: "left" is halfway down."""
    column, row = read_spot(position)
    return (0 if column is None else column, 0 if row is None else row)


def apart(a: Spot, b: Spot) -> int | None:
    """How far two spots are apart; None when they are on opposite sides."""
    steps = [abs(x - y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    return None if any(step > 1 for step in steps) else sum(steps)


def _adjective_spot(phrase: Phrase) -> Spot | None:
    """The spot of "the left cup"."""
    if phrase.words[0] != "the":
        return None
    words = [w for w in phrase.words[1:-1] if w in _AXIS or w in _MIDDLE]
    return read_spot(" ".join(words)) if words else None


def _bare_plurals(masked: str, phrases: Sequence[Phrase]) -> list[Phrase]:
    """Plurals of known names without a determiner: "cups" in "shelves full of cups"."""
    found: list[Phrase] = []
    at = 0
    for word in _BARE.finditer(masked):
        while at < len(phrases) and phrases[at].end <= word.start():
            at += 1
        inside = at < len(phrases) and phrases[at].start <= word.start()
        lower = word.group().lower()
        if inside or lower in BOUNDARY or is_verb(lower):
            continue
        if is_plural(lower) and is_known(lower):
            found.append(Phrase(word.start(), word.end(), (lower,)))
    return found


def _held(masked: str, spans: Sequence[tuple[int, int]], found: list[Mention]) -> list[Mention]:
    """Mentions in "the table has ..." know that the table has them."""
    held: list[Mention] = []
    at = 0
    for start, end in spans:
        holder = ""
        while at < len(found) and found[at].phrase.start < end:
            here = found[at]
            held.append(here._replace(holder=holder))
            if here.phrase.start == start and here.phrase.words[0] == "the" and _HAS.match(masked, here.stop):
                holder = here.name
            at += 1
    return held + found[at:]


def _echoes(found: list[Mention]) -> list[Mention]:
    """A definite mention after another of that name, without an ordinal or a place, is the same thing again."""
    named: set[str] = set()
    out: list[Mention] = []
    for m in found:
        again = m.name in named and m.phrase.words[0] == "the" and m.ordinal is None and m.one_of < 0
        out.append(m._replace(echo=again and (m.spot is None or bool(_AXIS.keys().isdisjoint(m.phrase.words)))))
        named.add(m.name)
    return out


def listed(text: str, start: int, end: int) -> list[Mention] | None:
    """The items of the list [start, end), "a cup at the left, two plates and a sign that says milk".

    None when it is not only a list.
    """
    masked = mask(text)
    begins = {p.start: p for p in noun_phrases(text[:end], LEADS)}
    items: list[Mention] = []
    at = start
    while at < end:
        if at not in begins:
            return None
        items.append(mention(text[:end], masked[:end], begins[at]))
        at = items[-1].stop
        joint = _JOINT.match(masked, at, end)
        if joint is None:
            break
        at = joint.end()
    return items if at >= end and items else None
