"""Things that regions tell of, and which of them are one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ouro.annotate.english.kinds import is_known, kinds_of
from ouro.annotate.english.mentions import apart
from ouro.annotate.prose.gaps import INVERSE
from ouro.annotate.prose.likeness import has_look, is_colour, opposed, readings
from ouro.annotate.prose.reader import read
from ouro.annotate.prose.sources import Place, topic_of
from ouro.annotate.prose.things import Reading, Thing
from ouro.core.records import Box


@dataclass(eq=False, slots=True)
class Told:
    """A thing that a region tells of; `links`: its relations to others of the text, turned so that it comes first."""

    source: int
    region: str
    thing: Thing
    links: list[tuple[str, Told]] = field(default_factory=list[tuple[str, "Told"]])
    sure: list[tuple[str, Told]] = field(default_factory=list[tuple[str, "Told"]])  # of `links`, the clear ones
    entity: list[Told] = field(default_factory=list["Told"])  # all that is one with it, itself included


def above_of(parents: Mapping[str, str], region: str) -> list[str]:
    """A region and those around it, from the inside out."""
    found = [region]
    while (above := parents.get(found[-1])) is not None and above not in found:
        found.append(above)
    return found


def together(told: Iterable[Told]) -> list[Told]:
    """Things with all that are one with them."""
    return list(dict.fromkeys(o for one in told for o in (one.entity or (one,))))


def join(told: Sequence[Told]) -> None:
    """Make things one."""
    entity = together(told)
    for one in entity:
        one.entity = entity


def told_things(source: int, region: str, reading: Reading) -> list[Told]:
    """The things of a reading with their links; what it denies is not among them."""
    things = [Told(source, region, thing) for thing in reading.things]
    for link in reading.links:
        a, b = things[link.a], things[link.b]
        if not a.thing.negated and not b.thing.negated:
            a.links.append((link.relation, b))
            b.links.append((INVERSE[link.relation], a))
            if link.sure:
                a.sure.append((link.relation, b))
                b.sure.append((INVERSE[link.relation], a))
    return [one for one in things if not one.thing.negated]


def of_kind(thing: Thing, names: dict[str, Told]) -> Told | None:
    """The thing, of those named, that is of its kind and number."""
    kinds = kinds_of(thing.noun) | {thing.noun, f"body of {thing.noun}"}
    told = (one for name, one in names.items() if kinds_of(name) & kinds)
    return next((one for one in told if one.thing.plural == thing.plural), None)


def ends_with(name: str, noun: str) -> bool:
    """Whether a name is a noun with words before it."""
    return name != noun and name.endswith(noun) and (is_known(noun) or f" {noun}" in name)


def lie_apart(a: Thing, b: Thing) -> bool:
    """Whether two things are told at places that exclude each other."""
    return a.spot is not None and b.spot is not None and apart(a.spot, b.spot) is None


def can_be(thing: Thing, topic: Thing) -> bool:
    """Whether a region that shows `topic` can show the thing: of its colours, and of its looks if of another number."""
    looks = [w for w in thing.looks if readings(w) and (is_colour(w) or topic.plural != thing.plural)]
    return not opposed(thing, topic) and all(has_look(w, topic) for w in looks)


def tree_places(tree: str) -> Iterator[Place]:
    """The regions of a scene's tree, the whole first. Raises ValueError for a text that is no tree."""

    def walk(node: dict[str, Any], frames: tuple[Box, ...]) -> Iterator[Place]:
        box: Box = tuple(node["box"])
        yield Place(node["region_id"], box, frames, topic_of("", read(node["description"])))
        for child in node["children"]:
            yield from walk(child, (*frames, box))

    return walk(json.loads(tree), ())
