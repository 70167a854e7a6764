"""Nano's own merge (`merge.writer: template`): descriptions in nano's language are read, joined and written again.

    parent:    a table and a box with some objects
    children:  a table with a star (top left), a red solid ring (bottom right)
    merged:    a table at the top left and a box. the table has a star. there is a red solid ring at the bottom right.

A grammar of four sentences is the whole language (ouro/nano/language.py writes it), so that nothing is guessed: a text
that the grammar does not read is no text of nano's: of a parent, `merge_nano` says so by returning None, and a child's
is left out and recorded. The close-up is believed about looks, the whole about places. Every phrase keeps the region
that said it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from ouro.annotate.merging.provenance import Composed, Marked, Piece, plain, region_at
from ouro.core.records import Decision
from ouro.nano.scenes import COLORS, CONTAINERS, PATTERNS, SHAPES

CLOSE_UP, SAID, VAGUE, UNREAD = "close_up_tells_looks", "said_before", "vague_mention", "not_nanos_language"

_PLACE = r"(?:top|bottom)(?: left| right)?|left|right|center"
_PHRASE = re.compile(
    rf"an? (?P<looks>(?:(?:{'|'.join((*COLORS, *PATTERNS))}) )*)(?P<noun>{'|'.join((*CONTAINERS, *SHAPES, 'sign'))})\b"
    r"(?: that says (?P<says>\"[^\"]*\"|“[^”]*”|[^\s.,]+))?"
    rf"(?: (?:at|in) the (?P<place>{_PLACE})\b)?"
)
_JOINT = re.compile(r", and |, | and ")
_HAS = re.compile(rf"the (?P<noun>\w+)(?: (?:at|in) the (?P<place>{_PLACE}))? has ")
_SOME = " with some objects"
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


def merge_nano(own: Piece, children: Sequence[tuple[Marked, str]]) -> Composed | None:
    """Merge(d, {d_j}) in nano's language; None where the parent's text is not in it.

    `children`: (merged description, place in the parent such as "top left") in reading order.
    """
    base = read((own,))
    if base is None or not children:
        return Composed((own,), []) if base else None
    decisions = [Decision("redundancy", own.region_id, _SOME.strip(), VAGUE)] if base.vague else []
    joining: list[tuple[Reading, str]] = []
    for marked, place in children:
        child = read(marked)
        if child is None:
            decisions.append(Decision("contradiction", region_at(marked, 0), plain(marked), UNREAD))
        else:
            joining.append((child, place))
    things = _Things(base, own.region_id, decisions, [child.opening[0].noun for child, _ in joining])
    things.join(joining)
    return Composed(write(things.reading(), own.region_id), decisions)


# ---- reading ---------------------------------------------------------------------------------------------------


def read(marked: Marked) -> Reading | None:
    """What a text says; None where a sentence of it is not nano's."""
    text = plain(marked)
    said = _read(text)
    if said is None:
        return None
    opening, more = (tuple(_owned(thing, marked) for thing in things) for things in (said.opening, said.more))
    return said._replace(opening=opening, more=more)


def _owned(thing: Thing, marked: Marked) -> Thing:
    """With the regions of its characters: `_read` leaves offsets in their place, so that a text is read once."""
    region, placer = (region_at(marked, int(at)) if at else "" for at in (thing.region_id, thing.placed_by))
    return thing._replace(region_id=region, placed_by=placer, parts=tuple(_owned(p, marked) for p in thing.parts))


@lru_cache(maxsize=4096)  # a child's text is read again at every level above it
def _read(text: str) -> Reading | None:
    spans = list(_sentences(text))
    if not spans:
        return None
    start, end = spans[0]
    vague = text.endswith(_SOME, start, end)
    things = _holder(text, start, end - len(_SOME) if vague else end)
    n_opening, order = len(things), list[int]()
    for start, end in spans[1:] if things else ():
        told = _later(text, start, end, things)
        if not told:
            return None
        order += told
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
    for i, thing in enumerate(things if has and items else ()):
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
    at, placed = str(phrase.start("noun")), str(phrase.start("place")) if place else ""
    return Thing(phrase["noun"], color, pattern, (phrase["says"] or "").strip('"“”'), place, at, placed)


# ---- joining ---------------------------------------------------------------------------------------------------


class _Things:
    """The things of a description while its children join it."""

    def __init__(self, base: Reading, region_id: str, decisions: list[Decision], nouns: list[str]) -> None:
        self.region_id, self.decisions = region_id, decisions
        alone = len(base.opening) == 1 and not base.more and not base.vague and base.opening[0].noun in CONTAINERS
        self.single = alone and not set(nouns) & set(CONTAINERS)
        self.n_opening, self.order = len(base.opening), list[int]()
        self.things = list(base.things)
        if self.single:  # a close-up of a container: children are what it holds
            self.things = list(base.opening[0].parts)
            self.holder = base.opening[0]

    def reading(self) -> Reading:
        if self.single:
            return Reading((self.holder._replace(parts=tuple(self.things)),))
        order = (*self.order, *range(len(self.things)))
        return Reading(tuple(self.things[: self.n_opening]), tuple(self.things[self.n_opening :]), order)

    def join(self, children: Sequence[tuple[Reading, str]]) -> None:
        leads = [(child.opening[0], place) for child, place in children]
        matches = self._matches(leads)
        for i, (child, place) in enumerate(children):
            lead = child.opening[0]
            placed = lead._replace(place=place, placed_by=lead.region_id)
            again = (k for k, thing in enumerate(self.things) if _covers(thing, placed))
            at = matches[i] if i in matches else next(again, len(self.things))
            if at < len(self.things):
                self.things[at] = self._one(self.things[at], lead, place)
            else:
                self.things.append(placed)
            self.order.append(at)
            for thing in (*child.opening[1:], *child.more):  # where they are in the parent is not known
                self._beside(thing)

    def _beside(self, thing: Thing) -> None:
        """A thing that a child has beside its own."""
        if any(other.noun == thing.noun for other in self.things):
            self.decisions.append(Decision("redundancy", thing.region_id, _phrase(thing), SAID))
        else:
            self.things.append(thing._replace(place="", placed_by=""))

    def _matches(self, leads: Sequence[tuple[Thing, str]]) -> dict[int, int]:
        """Child -> thing: of one noun the one at its place, then the one that looks like it, then the next."""
        matches: dict[int, int] = {}
        for rule in (_by_place, _by_looks, _by_order):
            costs: list[tuple[int, int, int]] = []
            for i, (lead, place) in enumerate(leads):
                for k, thing in enumerate(self.things):
                    cost = rule(thing, lead, place) if thing.noun == lead.noun else None
                    costs += [(cost, k, i)] if cost is not None else []
            for _, k, i in sorted(costs):
                if i not in matches and k not in matches.values():
                    matches[i] = k
        return matches

    def _one(self, mine: Thing, lead: Thing, place: str) -> Thing:
        """Parent's and child's as one: the close-up's looks, text and parts, the whole's place."""
        values = {
            name: self._settled(name, getattr(mine, name), getattr(lead, name), lead.region_id)
            for name in ("color", "pattern", "says")
        }
        placed = (mine.place, mine.placed_by) if mine.place else (place, lead.region_id)
        parts = self._parts(mine.parts, lead.parts)
        return Thing(lead.noun, *values.values(), *placed[:1], lead.region_id, placed[1], parts)

    def _settled(self, name: str, mine: str, theirs: str, region_id: str) -> str:
        if mine and theirs and mine != theirs:
            self.decisions.append(Decision("contradiction", self.region_id, mine, CLOSE_UP))
        return theirs or mine

    def _parts(self, mine: tuple[Thing, ...], theirs: tuple[Thing, ...]) -> tuple[Thing, ...]:
        """The child's parts, and those that only the parent saw."""
        if not theirs:
            return mine
        parts = list(theirs)
        for part in mine:
            at = next((k for k, their in enumerate(theirs) if their.noun == part.noun and parts[k] is their), None)
            if at is None:
                parts.append(part)
                continue
            less, parts[at] = (theirs[at], part) if _detail(part) > _detail(theirs[at]) else (part, theirs[at])
            self.decisions.append(Decision("redundancy", less.region_id, _phrase(less), SAID))
        return tuple(parts)


def _covers(thing: Thing, other: Thing) -> bool:
    """Whether it is the other one, at the same place, and says as much of its looks."""
    mine, theirs = (thing.noun, thing.place, thing.color, thing.pattern), (other.noun, other.place, other.color, other.pattern)
    return all(b in ("", a) for a, b in zip(mine, theirs, strict=True)) and other.says in ("", thing.says)


def _detail(thing: Thing) -> int:
    return len(f"{thing.color} {thing.pattern} {thing.says} {thing.place}".split())


def _by_place(thing: Thing, lead: Thing, place: str) -> int | None:
    return _steps(thing.place, place) if thing.place else None


def _by_looks(thing: Thing, lead: Thing, place: str) -> int | None:
    looks = [(a, b) for a, b in ((thing.color, lead.color), (thing.pattern, lead.pattern)) if a and b]
    alike = bool(looks) and all(a == b for a, b in looks)
    return -len(looks) if alike and not thing.place else None


def _by_order(thing: Thing, lead: Thing, place: str) -> int | None:
    return 0 if not thing.place else None


def _steps(a: str, b: str) -> int | None:
    """How far two places are apart; None for opposite sides."""
    steps = [abs(x - y) for x, y in zip(_spot(a), _spot(b), strict=True)]
    return None if max(steps) > 1 else sum(steps)


def _spot(place: str) -> tuple[int, int]:
    """ "top left" -> (-1, -1), column and row."""
    words = place.split()
    return (("right" in words) - ("left" in words), ("bottom" in words) - ("top" in words))


# ---- writing ---------------------------------------------------------------------------------------------------


def write(reading: Reading, owner: str) -> Marked:
    """The reading as text; what no thing says, joints and verbs, is `owner`'s."""
    things = reading.things
    named = Counter(thing.noun for thing in things)
    if len(things) == 1 and things[0].noun in CONTAINERS and things[0].parts:
        pieces = [*_said(things[0]), Piece(" with ", things[0].region_id), *_list(things[0].parts)]
        return (*pieces, Piece(".", owner))
    pieces = [*_list(reading.opening), Piece(".", owner)]
    for at in dict.fromkeys((*reading.order, *range(len(things)))):
        thing = things[at]
        if at >= len(reading.opening):
            pieces += [Piece(" ", owner), Piece("there is ", thing.region_id), *_said(thing), Piece(".", owner)]
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
        pieces += [Piece(joint, thing.region_id), *_said(thing)] if joint else _said(thing)
    return pieces


def _said(thing: Thing) -> list[Piece]:
    where = [Piece(f" {_at(thing.place)}", thing.placed_by or thing.region_id)] if thing.place else []
    return [Piece(_phrase(thing), thing.region_id), *where]


def _phrase(thing: Thing) -> str:
    words = " ".join(filter(None, ("a", thing.color, thing.pattern, thing.noun)))
    quoted = f'"{thing.says}"' if " " in thing.says else thing.says
    return f"{words} that says {quoted}" if thing.says else words


def _at(place: str) -> str:
    return "in the center" if place == "center" else f"at the {place}"
