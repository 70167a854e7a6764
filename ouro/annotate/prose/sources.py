"""The inputs of an image made ready: what a region shows, where it lies, what a settled conflict leaves of a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ouro.annotate.english.attributes import readings
from ouro.annotate.english.free_text import read_name
from ouro.annotate.english.kinds import is_kind_of, kinds_of, same_thing
from ouro.annotate.english.phrases import words_of
from ouro.annotate.marks import lead_in_end
from ouro.annotate.prose.likeness import same_look
from ouro.annotate.prose.things import Reading, Thing, stem
from ouro.core.records import CLOSE_UP, WHOLE, Box, Conflict, Region

_DEEPEST = 64  # levels of a tree that are looked up
_PEOPLE = frozenset(["person", "adult"])


class Place(NamedTuple):
    """A region: its box, the boxes around it from the whole inwards, and what it shows."""

    region: str
    box: Box
    frames: tuple[Box, ...]
    topic: Thing | None


def frames_of(region: Region, by_id: Mapping[str, Region]) -> tuple[Box, ...]:
    """The boxes around a region, from the whole inwards; none for the whole itself."""
    frames: list[Box] = []
    parent = by_id.get(region.parent_id or "")
    while parent is not None and len(frames) < _DEEPEST:
        frames.append(parent.box)
        parent = by_id.get(parent.parent_id or "")
    return tuple(reversed(frames))


def topic_of(name: str, reading: Reading) -> Thing | None:
    """What a region shows: the thing of its description that has its name, or can have it; without a name the first."""
    named = read_name(name) if name else None
    start = lead_in_end(reading.text)
    told = [t for t in reading.things if t.end > start]
    if named is None:
        return next(iter(told), None)
    alike = next((t for t in told if same_thing(t.noun, named.noun)), None)
    alike = alike or next((t for t in told if _related(t.noun, named.noun)), None)
    words = frozenset(named.modifiers)
    return alike or Thing(-1, -1, named.noun, named.words, words, -1, plural=named.plural)


def _related(a: str, b: str) -> bool:
    """Whether two names can mean one thing: a man and a cyclist, a plate and a saucer."""
    people = all((kinds_of(name) | {name}) & _PEOPLE for name in (a, b))
    return people or is_kind_of(a, b) or is_kind_of(b, a)


def settled(reading: Reading, region: str, conflicts: Iterable[Conflict]) -> Reading:
    """Without the attributes that a conflict settled by looking took from what the region says.

    Where it is open, or rules guessed, what an input says stands.
    """
    things = list(reading.things)
    for conflict in conflicts:
        if conflict.rule and conflict.rule not in (CLOSE_UP, WHOLE) and region in conflict.region_ids:
            about = {stem(w) for w in words_of(conflict.about)}
            gone = _lost(conflict, region)
            things = [_without(t, gone) if about & {stem(w) for w in t.noun.split()} else t for t in things]
    return reading._replace(things=tuple(things))


def _lost(conflict: Conflict, region: str) -> frozenset[str]:
    value = words_of(conflict.values[conflict.region_ids.index(region)])
    kept = words_of(conflict.kept)
    return frozenset(w for w in value if readings(w) and not any(same_look(w, k) for k in kept))


def _without(thing: Thing, words: frozenset[str]) -> Thing:
    return thing._replace(modifiers=thing.modifiers - words, said=thing.said - words, loose=thing.loose - words)
