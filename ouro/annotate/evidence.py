"""What is told of one image, ready to be asked: who bears out a thing, an attribute, a number, a place, a relation.

`Evidence.of` takes the records of an image; `Evidence.of_text` a description alone. A thing of a statement is compared
with the things of its name, of a kind of it, or of an object matched with these.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from rapidfuzz import fuzz

from ouro.annotate.english.attributes import readings
from ouro.annotate.english.free_text import read_name
from ouro.annotate.english.kinds import is_kind_of, kinds_of, same_thing
from ouro.annotate.english.mentions import Spot, apart, exact_spot
from ouro.annotate.marks import lead_in_end
from ouro.annotate.reading import CARRIERS, Reading, Thing, read, stem
from ouro.core.boxes import relative_position
from ouro.core.records import Box, Conflict, Description, Match, Region

_LOOSE = 90.0  # rapidfuzz's partial ratio from which a quotation is one that was read: one letter in ten
_INVERSE: Final = {
    "in": "has", "has": "in", "front": "behind", "behind": "front", "above": "below", "below": "above",
    "left": "right", "right": "left", "beside": "beside", "does": "does", "of": "of",
}  # fmt: skip
# Words by which a text speaks again of what it has named more exactly.
_GENERAL: Final = frozenset("building structure vehicle bike animal creature plant machine device person figure".split())
_AXES: Final = {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1)}
_LIKE: Final = {"in": {"in", "of"}, "has": {"has", "of"}, "of": {"of", "in", "has"}}
_EXCLUDING: Final = tuple(
    tuple(group.split(","))
    for group in ("front,rear back", "left,right", "upper top,lower bottom,middle center", "inner inside,outer outside",
                  "first,second,third,fourth,last")
)  # fmt: skip


class Named(NamedTuple):
    """A thing that a region tells of; `region` its id, `source` the number of its reading."""

    source: int
    at: int
    region: str
    thing: Thing


class Place(NamedTuple):
    """A region that shows a thing: its box, the boxes that it lies in, the whole first."""

    region: str
    box: Box
    frames: tuple[Box, ...]
    topic: Thing | None


class Evidence:
    """The readings of an image's descriptions, what OCR read, and where its regions are."""

    def __init__(self, readings_of: Sequence[tuple[str, Reading]], places: Sequence[Place], texts: Sequence[tuple[str, str]]) -> None:
        """`readings_of`: region id and reading; `texts`: region id and what OCR read."""
        self.places, self._texts = places, texts
        self.readings = [reading for _, reading in readings_of]
        self.named = [
            Named(n, at, region, thing)
            for n, (region, reading) in enumerate(readings_of)
            for at, thing in enumerate(reading.things)
            if not thing.negated
        ]
        words = [reading.words for reading in self.readings] + [read(text).words for _, text in texts]
        self.words = frozenset[str]().union(*words)
        self.colours = frozenset(r for one in self.named for w in one.thing.looks for r in readings(w))
        self._by_noun: dict[str, list[Named]] = defaultdict(list)
        for one in self.named:
            self._by_noun[one.thing.noun].append(one)
        self._alike: dict[str, tuple[Named, ...]] = {}
        self._entities: list[set[Named]] = []
        self._regions = [region for region, _ in readings_of]
        self._parents: dict[str, str] = {}

    @staticmethod
    def of_text(text: str) -> Evidence:
        """A description by itself."""
        return Evidence([("", read(text))], [], [])

    @staticmethod
    def of(
        regions: Sequence[Region],
        descriptions: Sequence[Description],
        matches: Sequence[Match] = (),
        conflicts: Sequence[Conflict] = (),
    ) -> Evidence:
        """All that is told of one image; of a settled conflict only what was kept."""
        by_id = {r.region_id: r for r in regions}
        told = [(d.region_id, _settled(read(d.text), d.region_id, conflicts)) for d in descriptions]
        names = {d.region_id: _topic(d.name, d.text, reading) for d, (_, reading) in zip(descriptions, told, strict=True)}
        places = [Place(r.region_id, r.box, _frames(r, by_id), names.get(r.region_id)) for r in regions]
        evidence = Evidence(told, places, [(r.region_id, r.text) for r in regions if r.text])
        evidence._parents = {r.region_id: r.parent_id for r in regions if r.parent_id}
        evidence.words |= frozenset(w for d in descriptions for w in read(d.name).words)
        evidence._join(matches)
        return evidence

    def _join_general(self) -> None:
        """ "The building", "the bike": a definite general noun speaks of the text's first thing of a common kind."""
        for n, reading in enumerate(self.readings):
            for at, thing in enumerate(reading.things):
                if thing.noun in _GENERAL and thing.definite:
                    kinds = kinds_of(thing.noun) | {thing.noun}
                    topic = next((o for o in self.named if o.source == n and o.at < at and kinds_of(o.thing.noun) & kinds), None)
                    own = next((o for o in self.named if o.source == n and o.at == at), None)
                    if topic and own:
                        self._entities.append({topic, own})

    def _join(self, matches: Iterable[Match]) -> None:
        """The things of a matched region and of the phrase that means it are one."""
        self._join_general()
        for match in matches:
            if match.how != "same":
                continue
            topic = next((p.topic for p in self.places if p.region == match.region_id), None)
            if topic is None:
                continue
            own = {n for n in self.named if n.region == match.region_id and same_thing(n.thing.noun, topic.noun)}
            own |= {n for n in self.named if n.region == match.region_id and n.thing == topic}
            there = {n for n in self.named if n.region == match.parent_id and n.thing.start < match.end and match.start < n.thing.end}
            nouns = {n.thing.noun for n in there}
            there |= {n for n in self.named if n.region == match.parent_id and n.thing.noun in nouns and not n.thing.modifiers}
            first = {n for n in sorted(there, key=lambda n: n.at)[:1]}
            there = {n for n in there if n in first or n.thing.noun in {f.thing.noun for f in first}}
            joined = own | there
            for entity in [e for e in self._entities if e & joined]:
                joined |= entity
                self._entities.remove(entity)
            self._entities.append(joined)

    def alike(self, noun: str) -> tuple[Named, ...]:
        """The things that a noun can mean."""
        if noun not in self._alike:
            found = {n for name, many in self._by_noun.items() if same_thing(name, noun) or is_kind_of(name, noun) for n in many}
            for entity in self._entities:
                if entity & found:
                    found |= entity
            self._alike[noun] = tuple(sorted(found, key=lambda n: (n.source, n.at)))
        return self._alike[noun]

    def shown(self, noun: str) -> list[Place]:
        """The regions whose object a noun can mean; none for what only the whole shows."""
        found = {(n.region, n.thing) for n in self.alike(noun)}
        alike = [p for p in self.places if p.topic and len(p.frames) > 0]
        return [p for p in alike if p.topic and ((p.region, p.topic) in found or same_thing(p.topic.noun, noun) or is_kind_of(p.topic.noun, noun))]

    # ---- what is borne out --------------------------------------------------------------------------------------

    def links(self, one: Named) -> Iterable[tuple[str, Named]]:
        """The relations of a thing to others of its reading, turned so that it comes first."""
        things = self.readings[one.source].things
        for link in self.readings[one.source].links:
            if link.a == one.at:
                yield link.relation, Named(one.source, link.b, one.region, things[link.b])
            if link.b == one.at:
                yield _INVERSE[link.relation], Named(one.source, link.a, one.region, things[link.a])

    def competes(self, a: Thing, relation: str, b: Thing) -> bool:
        """Whether what is in, on or of something is told to be so of something else; or boxes tell otherwise."""
        if relation in _AXES:
            return self.relates(b, relation, a)
        inner, outer, relation = (b, a, "in") if relation == "has" else (a, b, relation)
        if relation != "in":
            return relation in ("front", "behind") and self.relates(b, relation, a)
        others = frozenset(self.alike(outer.noun))
        links = [(told, o) for n in self.alike(inner.noun) if not opposed(inner, n.thing) for told, o in self.links(n)]
        return any(fits("in", told) and o not in others and o.thing.noun not in CARRIERS for told, o in links)

    def relates(self, a: Thing, relation: str, b: Thing) -> bool:
        """Whether somebody tells that relation of the two, or the tree of regions or their boxes do."""
        if relation == "in" and is_kind_of(a.noun, "person") and self.relates(a, "has", b):  # a woman in a suit
            return True
        if relation == "of" and self._share(a, b):
            return True
        mine, yours = self.meant(a), frozenset(self.meant(b))
        if any(other in yours and fits(relation, told) for one in mine for told, other in self.links(one)):
            return True
        if relation in ("in", "of") and self._inside(a, mine, b):
            return True
        if relation in ("has", "of") and self._inside(b, yours, a):
            return True
        return self._lies(a, relation, b)

    def _share(self, a: Thing, b: Thing) -> bool:
        """Whether something is told to be in, on or of both."""
        mine = {o.thing.noun for n in self.alike(a.noun) for told, o in self.links(n) if told in ("has", "of")}
        yours = {o.thing.noun for n in self.alike(b.noun) for told, o in self.links(n) if told in ("has", "of")}
        return bool(mine & yours)

    def _inside(self, a: Thing, mine: Iterable[Named], b: Thing) -> bool:
        """Whether a region that shows `b` tells of `a`, or lies around one that does; the whole shows everything."""
        holders = {p.region for p in self.shown(b.noun) if p.topic and not opposed(b, p.topic)}
        return any(not opposed(a, one.thing) and holders & set(self._above(one.region)) for one in mine)

    def _above(self, region: str) -> list[str]:
        """A region and those around it, without the whole."""
        found: list[str] = []
        while region in self._parents:
            found.append(region)
            region = self._parents[region]
        return found

    def _lies(self, a: Thing, relation: str, b: Thing) -> bool:
        """By the boxes of the regions that show the two, else by their places in a text."""
        axis = _AXES.get(relation)
        mine = [p for p in self.shown(a.noun) if p.topic and not opposed(a, p.topic)]
        yours = [p for p in self.shown(b.noun) if p.topic and not opposed(b, p.topic)]
        pairs = [(p.box, q.box) for p in mine for q in yours if p.region != q.region]
        if pairs and relation == "beside":
            return any(_near(p, q) for p, q in pairs)
        if pairs and axis:
            return any((_middle(p, axis[0]) - _middle(q, axis[0])) * axis[1] > 0 for p, q in pairs)
        if axis:
            spots = [(s, t) for s in self.spots(a) for t in self.spots(b)]
            steps = [(s[axis[0]], t[axis[0]]) for s, t in spots]
            return any(s is not None and t is not None and (s - t) * axis[1] > 0 for s, t in steps)
        return False

    def spots(self, thing: Thing) -> list[Spot]:
        """Where a thing is told or shown to be, in the picture or in what it is a part of."""
        own = self.meant(thing)
        found = [n.thing.spot for n in own if n.thing.spot is not None]
        shown = {p.region for p in self.shown(thing.noun) if p.topic and self._is_shown(thing, p.topic)}
        regions = shown or (set() if found else {n.region for n in own})
        places = [p for p in self.places if p.region in regions and p.frames]
        return found + [exact_spot(relative_position(p.box, frame)) for p in places for frame in p.frames]

    def meant(self, thing: Thing) -> list[Named]:
        """The named things that a thing can be: not opposed to it, of its looks and number where there are such."""
        own = [n for n in self.alike(thing.noun) if not opposed(thing, n.thing)]
        looks = [w for w in thing.looks if readings(w)]
        like = [n for n in own if all(has_look(w, n.thing) for w in looks)]
        return [n for n in own if n in like or n.thing.plural == thing.plural] if like else own

    def _is_shown(self, thing: Thing, topic: Thing) -> bool:
        return not opposed(thing, topic) and all(has_look(w, topic) for w in thing.looks if is_colour(w))

    def agrees(self, thing: Thing, one: Named) -> bool:
        """Whether a named thing has all attributes of the thing that are told of anything of its name."""
        return all(has_look(word, one.thing) for word in thing.looks if is_colour(word))

    def quoted(self, text: str) -> list[str]:
        """The regions that read or say a text, loosely."""
        wanted = plain(text)
        found: list[str] = []
        for region, reading in zip(self._regions, self.readings, strict=True):
            said = [reading.text[a:b] for a, b in reading.quotations]
            if any(_same_text(wanted, plain(s)) for s in said) or f" {wanted} " in f" {plain(reading.text)} ":
                found.append(region)
        found += [region for region, read_text in self._texts if _same_text(wanted, plain(read_text))]
        return list(dict.fromkeys(found))


def fits(relation: str, told: str) -> bool:
    """Whether what is told of two things bears out a relation; "does" (a verb) fits all but places."""
    if relation == told or told in _LIKE.get(relation, ()):
        return True
    return "does" in (relation, told) and not {relation, told} & {"left", "right", "above", "below", "front", "behind"}


def opposed(a: Thing, b: Thing) -> bool:
    """Whether words of place or order tell the two apart: front and rear, first and second."""
    for group in _EXCLUDING:
        mine = {n for n, words in enumerate(group) if set(words.split()) & a.modifiers}
        yours = {n for n, words in enumerate(group) if set(words.split()) & b.modifiers}
        if mine and yours and not mine & yours:
            return True
    return False


def has_look(word: str, thing: Thing) -> bool:
    """Whether a thing is told to look so: by the word, a form of it, or a word of its family."""
    return any(same_look(word, other) for other in thing.looks | thing.loose)


@lru_cache(maxsize=65536)
def same_look(a: str, b: str) -> bool:
    """Whether two words tell one attribute: gold and golden, wooden and wood, orange-red and orange."""
    return stem(a) == stem(b) or not readings(a).isdisjoint(readings(b)) or bool(_synonyms(a) & _synonyms(b))


def is_colour(word: str) -> bool:
    return any(kind == "color" for kind, _ in readings(word))


_LOOKS: Final = (
    "round circular rounded", "shiny glossy polished", "transparent clear see-through", "rear back", "upper top",
    "lower bottom", "big large huge", "small tiny little", "old elderly aged", "blurred blurry out-of-focus",
    "ornate decorated intricate", "close-up closeup",
)  # fmt: skip


def _synonyms(word: str) -> frozenset[int]:
    return frozenset(n for n, words in enumerate(_LOOKS) if word in words.split())


def plain(text: str) -> str:
    """A text for loose comparison: case, blanks and marks apart."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def _same_text(a: str, b: str) -> bool:
    if not a or not b or len(a) > len(b) * 1.15 + 1:
        return False
    return fuzz.partial_ratio(a, b) >= _LOOSE


def _settled(reading: Reading, region: str, conflicts: Iterable[Conflict]) -> Reading:
    """Without the attributes and numbers that a settled conflict took from what the region says."""
    things = list(reading.things)
    for conflict in conflicts:
        if not conflict.kept or region not in conflict.region_ids:
            continue
        value = conflict.values[conflict.region_ids.index(region)]
        gone = {w for w in value.lower().replace(",", "").split() if readings(w)}
        gone -= {w for w in gone if any(same_look(w, k) for k in conflict.kept.lower().replace(",", "").split())}
        about = {stem(w) for w in conflict.about.lower().split()}
        for at, thing in enumerate(things):
            if gone and about & {stem(w) for w in thing.noun.split()}:
                things[at] = thing._replace(modifiers=thing.modifiers - gone, said=thing.said - gone, loose=thing.loose - gone)
    return reading._replace(things=tuple(things))


def _topic(name: str, text: str, reading: Reading) -> Thing | None:
    """The thing that a region shows: the first that its description tells of that has its name, else the first."""
    named = read_name(name) if name else None
    start = lead_in_end(text)
    told = [t for t in reading.things if t.end > start]
    if named is None:
        return next(iter(told), None)
    alike = next((t for t in told if same_thing(t.noun, named.noun)), None)
    if alike is not None:
        return alike
    words = frozenset(named.modifiers)
    return Thing(-1, -1, named.noun, named.words, words, plural=named.plural)


def _frames(region: Region, by_id: dict[str, Region]) -> tuple[Box, ...]:
    """The boxes around a region, from the whole inwards."""
    frames: list[Box] = []
    parent = by_id.get(region.parent_id or "")
    while parent is not None and len(frames) < 64:
        frames.append(parent.box)
        parent = by_id.get(parent.parent_id or "")
    return tuple(reversed(frames))


def _middle(box: Box, axis: int) -> float:
    return (box[axis] + box[axis + 2]) / 2


def _near(a: Box, b: Box) -> bool:
    """Whether the gap between two boxes is no wider than the larger of their sides."""
    gap = max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3], 0.0)
    return gap <= max(a[2] - a[0], a[3] - a[1], b[2] - b[0], b[3] - b[1])


def near_spot(wanted: Spot, there: Iterable[Spot]) -> bool:
    """Whether a place is one of those, or next to one on one axis."""
    return any((steps := apart(wanted, spot)) is not None and steps <= 1 for spot in there)
