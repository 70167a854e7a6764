"""The grammar of nano's descriptions: four sentences are the whole language, read into things and written again.

    a table at the top left and a box with some objects. the table has a star and a sign that says milk. there is a
    red solid ring at the bottom right.

ouro/nano/language.py writes the first and the simple ones; `write` writes all of them. A text with any other sentence
is no text of nano's. Every phrase keeps the region that said it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from ouro.annotate.merging.provenance import Marked, Piece, plain, region_at
from ouro.nano.scenes import COLORS, CONTAINERS, PATTERNS, SHAPES

_PLACE = r"(?:top|bottom)(?: left| right)?|left|right|center"
_PHRASE = re.compile(
    rf"an? (?P<looks>(?:(?:{'|'.join((*COLORS, *PATTERNS))}) )*)(?P<noun>{'|'.join((*CONTAINERS, *SHAPES, 'sign'))})\b"
    r"(?: that says (?P<says>\"[^\"]*\"|“[^”]*”|[^\s.,]+))*"  # of two readings OCR's stands last
    rf"(?: (?:at|in) the (?P<place>{_PLACE})\b)?"
)
_JOINT = re.compile(r", and |, | and ")
_HAS = re.compile(rf"the (?P<noun>\w+)(?: (?:at|in) the (?P<place>{_PLACE}))? has ")
SOME = " with some objects"
_END = re.compile(r"\.(?:\s+|$)")


class Thing(NamedTuple):
    """One object or container: what is said of it, by which region, and which region's box gives its place."""

    noun: str
    color: str = ""
    pattern: str = ""
    says: str = ""
    place: str = ""
    region_id: str = ""
    placed_by: str = ""
    parts: tuple[Thing, ...] = ()


class Reading(NamedTuple):
    """A description, read: what it opens with, what it adds ("there is ..."), in which order its later sentences tell
    of them all (indices of `things`), and whether it said "some objects"."""

    opening: tuple[Thing, ...]
    more: tuple[Thing, ...] = ()
    order: tuple[int, ...] = ()
    vague: bool = False

    @property
    def things(self) -> tuple[Thing, ...]:
        return (*self.opening, *self.more)


# ---- reading ---------------------------------------------------------------------------------------------------


def read(marked: Marked) -> Reading | None:
    """What a text says; None where a sentence of it is not nano's."""
    text = plain(marked)
    reading = _read(text)
    if reading is None:
        return None
    opening, more = (
        tuple(_add_owners(thing, marked) for thing in things) for things in (reading.opening, reading.more)
    )
    return reading._replace(opening=opening, more=more)


def _add_owners(thing: Thing, marked: Marked) -> Thing:
    """With the regions of its characters: `_read` leaves offsets in their place, so that a text is read once."""
    region, placer = (region_at(marked, int(at)) if at else "" for at in (thing.region_id, thing.placed_by))
    return thing._replace(region_id=region, placed_by=placer, parts=tuple(_add_owners(p, marked) for p in thing.parts))


@lru_cache(maxsize=4096)  # a child's text is read again at every level above it
def _read(text: str) -> Reading | None:
    spans = list(_sentences(text))
    if not spans:
        return None
    start, end = spans[0]
    vague = text.endswith(SOME, start, end)
    things = _holder(text, start, end - len(SOME) if vague else end)
    n_opening, order = len(things), list[int]()
    for start, end in spans[1:] if things else ():
        indices = _later(text, start, end, things)
        if not indices:
            return None
        order += indices
    parts = tuple(things[:n_opening]), tuple(things[n_opening:])
    return Reading(*parts, tuple(dict.fromkeys(order)), vague) if things else None


def _later(text: str, start: int, end: int, things: list[Thing]) -> list[int]:
    """Read a sentence after the first into `things`; which of them it tells of, none where it is not nano's."""
    if text.startswith("there is ", start, end):
        items = _items(text, start + len("there is "), end)
        things += items
        return list(range(len(things) - len(items), len(things)))
    has = _HAS.match(text, start, end)
    items = _items(text, has.end(), end) if has else []
    if has is None or not items:
        return []
    for i, thing in enumerate(things):
        if thing.noun == has["noun"] and (has["place"] or thing.place) == thing.place:
            things[i] = thing._replace(parts=(*thing.parts, *items))
            return [i]
    return []


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    for end in (*_END.finditer(text), None):
        stop = end.start() if end else len(text)
        if text[at:stop].strip():
            yield at, stop
        at = end.end() if end else stop


def _holder(text: str, start: int, end: int) -> list[Thing]:
    """ "a table with a star and a sign", or a list of things."""
    first = _PHRASE.match(text, start, end)
    if first is None or not text.startswith(" with ", first.end(), end):
        return _items(text, start, end)
    items = _items(text, first.end() + len(" with "), end)
    return [_thing(first)._replace(parts=tuple(items))] if items else []


def _items(text: str, start: int, end: int) -> list[Thing]:
    """The things of a list that fills [start, end); none where it holds anything else."""
    items: list[Thing] = []
    while phrase := _PHRASE.match(text, start, end):
        items.append(_thing(phrase))
        joint = _JOINT.match(text, phrase.end(), end)
        if joint is None:
            return items if phrase.end() == end else []
        start = joint.end()
    return []


def _thing(phrase: re.Match[str]) -> Thing:
    looks = phrase["looks"].split()
    color, pattern = (next((w for w in looks if w in words), "") for words in (COLORS, PATTERNS))
    place = phrase["place"] or ""
    at, place_start = str(phrase.start("noun")), str(phrase.start("place")) if place else ""
    return Thing(phrase["noun"], color, pattern, (phrase["says"] or "").strip('"“”'), place, at, place_start)


# ---- writing ---------------------------------------------------------------------------------------------------


def write(reading: Reading, owner: str) -> Marked:
    """The reading as text; what no thing says, joints and verbs, is `owner`'s."""
    things = reading.things
    named = Counter(thing.noun for thing in things)
    if len(things) == 1 and things[0].noun in CONTAINERS and things[0].parts and not things[0].place:
        pieces = [*_pieces(things[0]), Piece(" with ", things[0].region_id), *_list(things[0].parts)]
        return (*pieces, Piece(".", owner))
    pieces = [*_list(reading.opening), Piece(".", owner)]
    for at in dict.fromkeys((*reading.order, *range(len(things)))):
        thing = things[at]
        if at >= len(reading.opening):
            pieces += [Piece(" ", owner), Piece("there is ", thing.region_id), *_pieces(thing), Piece(".", owner)]
        if thing.parts:
            where = f" {_at(thing.place)}" if named[thing.noun] > 1 and thing.place else ""
            pieces.append(Piece(" ", owner))
            pieces += [Piece(f"the {thing.noun}{where} has ", thing.region_id), *_list(thing.parts), Piece(".", owner)]
    return tuple(pieces)


def _list(things: Sequence[Thing]) -> list[Piece]:
    """ "a", "a and b", "a, b and c"."""
    pieces: list[Piece] = []
    for i, thing in enumerate(things):
        joint = "" if i == 0 else " and " if i == len(things) - 1 else ", "
        pieces += [Piece(joint, thing.region_id), *_pieces(thing)] if joint else _pieces(thing)
    return pieces


def _pieces(thing: Thing) -> list[Piece]:
    where = [Piece(f" {_at(thing.place)}", thing.placed_by or thing.region_id)] if thing.place else []
    return [Piece(phrase_of(thing), thing.region_id), *where]


def phrase_of(thing: Thing) -> str:
    words = " ".join(filter(None, ("a", thing.color, thing.pattern, thing.noun)))
    quoted = f'"{thing.says}"' if " " in thing.says else thing.says
    return f"{words} that says {quoted}" if thing.says else words


def _at(place: str) -> str:
    return "in the center" if place == "center" else f"at the {place}"
