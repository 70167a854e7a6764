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
from rapidfuzz.distance import Levenshtein

from ouro.annotate.english.attributes import readings
from ouro.annotate.english.chunks import WORD
from ouro.annotate.english.free_text import read_name
from ouro.annotate.english.kinds import is_kind_of, kinds_of, same_thing
from ouro.annotate.english.mentions import Spot, apart, exact_spot
from ouro.annotate.english.phrases import singular
from ouro.annotate.marks import lead_in_end
from ouro.annotate.merging.conflicts import CLOSE_UP, WHOLE
from ouro.annotate.reading import CARRIERS, Reading, Thing, read, stem, stems
from ouro.core.boxes import relative_position
from ouro.core.records import Box, Conflict, Description, Match, Region

INVERSE: Final = {
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
        self.words = frozenset[str]().union(*(reading.words for reading in self.readings))
        self.nouns = frozenset(singular(w) for r in self.readings for w in WORD.findall(r.prose.lower()))
        self.read_words = stems(" ".join([*(reading.text for reading in self.readings), *(text for _, text in texts)]))
        self.colours = frozenset(r for one in self.named for w in one.thing.looks for r in readings(w))
        self.modifiers = frozenset(w for one in self.named for w in one.thing.modifiers)
        self._by_noun: dict[str, list[Named]] = defaultdict(list)
        for one in self.named:
            self._by_noun[one.thing.noun].append(one)
        self._alike: dict[str, tuple[Named, ...]] = {}
        self._entities: list[set[Named]] = []
        self._join_again()
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
        evidence.read_words |= stems(" ".join(d.name for d in descriptions))
        evidence._join(matches)
        return evidence

    def _join_again(self) -> None:
        """What a text speaks of again: "the cup" after the one cup that it told of; "the building", "the bike" after
        the first thing of a common kind."""
        firsts: dict[int, dict[str, list[Named]]] = defaultdict(lambda: defaultdict(list))
        for own in self.named:
            thing, before = own.thing, firsts[own.source]
            if thing.definite and (same := [o for o in before[thing.noun] if not opposed(thing, o.thing) and not differs(thing, o.thing)]):
                if len(same) == 1:
                    self._entities.append({same[0], own})
                continue
            if thing.definite and thing.noun in _GENERAL:
                kinds = kinds_of(thing.noun) | {thing.noun}
                topic = next((o for n, many in before.items() if kinds_of(n) & kinds for o in many), None)
                if topic:
                    self._entities.append({topic, own})
                    self._by_noun[thing.noun].remove(own)
                    continue
            before[thing.noun].append(own)

    def together(self, named: Iterable[Named]) -> list[Named]:
        """Things with all that are one with them."""
        known = set(named)
        for entity in self._entities:
            if entity & known:
                known |= entity
        return sorted(known, key=lambda n: (n.source, n.at))

    def _join(self, matches: Iterable[Match]) -> None:
        """The things of a matched region and of the phrase that means it are one."""
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
            own = {n for name, many in self._by_noun.items() if same_thing(name, noun) or is_kind_of(name, noun) or name.endswith(f" {noun}") for n in many}
            found = self.together(own)
            self._alike[noun] = tuple(found)
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
                yield INVERSE[link.relation], Named(one.source, link.a, one.region, things[link.a])

    def competes(self, a: Thing, relation: str, b: Thing) -> bool:
        """Whether what is in, on or of something is told to be so of something else; or boxes tell otherwise."""
        if relation in _AXES:
            return self.relates(b, relation, a)
        inner, outer, relation = (b, a, "in") if relation == "has" else (a, b, relation)
        if relation == "of":
            told = [[o for r, o in self.links(n) if r == "of"] for n in self.meant(a)]
            return all(told)
        if relation != "in":
            return relation in ("front", "behind") and self.relates(b, relation, a)
        others = frozenset(self.meant(outer))
        links = [(told, o) for n in self.meant(inner) for told, o in self.links(n)]
        return any(told in ("in", "of") and o not in others and o.thing.noun not in CARRIERS for told, o in links)

    def relates(self, a: Thing, relation: str, b: Thing) -> bool:
        """Whether somebody tells that relation of the two, or the tree of regions or their boxes do."""
        if relation == "in" and is_kind_of(a.noun, "person") and self.relates(a, "has", b):  # a woman in a suit
            return True
        if relation == "of" and self._share(a, b):
            return True
        mine, yours = self.meant(a), frozenset(self.meant(b))
        if any(stem(b.noun) in {stem(w) for w in n.thing.modifiers} for n in mine):  # a Yamaha motorcycle
            return True
        if any(other in yours and fits(relation, told) for one in mine for told, other in self.links(one)):
            return True
        alike = self.alike(b.noun)
        if any(other in alike and fits(relation, told) for one in mine for told, other in self.links(one)):
            return False  # of another one of the name: on the lower shelf
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
        if axis and any(
            n.thing.spot and n.thing.spot[axis[0]] == axis[1] and told in ("in", "of") and o in self.meant(b)
            for n in self.meant(a)
            for told, o in self.links(n)
        ):
            return True
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
        """The named things that a thing can be: not opposed to it, of its modifiers and number where there are such."""
        own = [n for n in self.alike(thing.noun) if not opposed(thing, n.thing)]
        looks = [w for w in thing.modifiers if not w.isdecimal()]
        like = [n for n in own if all(has_look(w, n.thing) for w in looks)]
        same = [n for n in own if n.thing.plural == thing.plural and not differs(thing, n.thing)]
        known = self.together(like)
        return [n for n in own if n in known or n in same] if like and looks else own

    def _is_shown(self, thing: Thing, topic: Thing) -> bool:
        looks = [w for w in thing.looks if readings(w) and (is_colour(w) or topic.plural != thing.plural)]
        return not opposed(thing, topic) and all(has_look(w, topic) for w in looks)

    def agrees(self, thing: Thing, one: Named) -> bool:
        """Whether a named thing has all attributes of the thing that are told of anything of its name."""
        return all(has_look(word, one.thing) for word in thing.looks if is_colour(word))

    def count(self, noun: str) -> int:
        """How many things of a name regions show; several regions of one matched thing count once."""
        regions = {p.region for p in self.shown(noun)}
        for entity in self._entities:
            regions -= set(sorted({n.region for n in entity} & regions)[1:])
        return len(regions)

    def quoted(self, text: str) -> tuple[list[str], set[Thing]]:
        """The regions that read or say a text, loosely, and the things that can bear it."""
        wanted = plain(text)
        found: list[str] = []
        bearers: set[Thing] = set()
        for region, reading in zip(self._regions, self.readings, strict=True):
            said = [a for a, b in reading.quotations if _same_text(wanted, plain(reading.text[a:b]))]
            if said or f" {wanted} " in f" {plain(reading.text)} ":
                found.append(region)
                ends = [n for n, (a, b) in enumerate(reading.sentences) if not said or any(a <= q < b for q in said)]
                bearers |= {t for t in reading.things if t.sentence in ends}
        found += [region for region, read_text in self._texts if _same_text(wanted, plain(read_text))]
        bearers |= {p.topic for p in self.places if p.topic and p.region in found}
        return list(dict.fromkeys(found)), bearers


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


def differs(a: Thing, b: Thing) -> bool:
    """Whether all that is told of a kind (the colours) of one is told otherwise of the other; or other modifiers are."""
    mine, yours = (frozenset(r for w in t.looks for r in readings(w)) for t in (a, b))
    if any(not {r for r in mine if r[0] == kind} & {r for r in yours if r[0] == kind} for kind in {k for k, _ in mine} & {k for k, _ in yours}):
        return True
    return bool(a.modifiers) and bool(b.modifiers) and not any(has_look(w, b) for w in a.modifiers)


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
    """Whether `a` stands in `b`, one letter in ten apart."""
    place = fuzz.partial_ratio_alignment(a, b) if a and len(a) <= len(b) * 1.1 + 1 else None
    if place is None:
        return False
    start = max(0, place.dest_start - place.src_start)
    ends = range(start + len(a) - 1, start + len(a) + 2)
    return min(Levenshtein.distance(a, b[start:end]) for end in ends) <= len(a) // 10


def _settled(reading: Reading, region: str, conflicts: Iterable[Conflict]) -> Reading:
    """Without the attributes and numbers that a settled conflict took from what the region says."""
    things = list(reading.things)
    for conflict in conflicts:
        if not conflict.rule or conflict.rule in (CLOSE_UP, WHOLE) or region not in conflict.region_ids:
            continue  # open, or guessed: what an input says stands
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
    alike = alike or next((t for t in told if _related(t.noun, named.noun)), None)
    if alike is not None:
        return alike
    words = frozenset(named.modifiers)
    return Thing(-1, -1, named.noun, named.words, words, plural=named.plural)


def _related(a: str, b: str) -> bool:
    """Whether two names can mean one thing: a man and a cyclist, a plate and a saucer."""
    person = {"person", "adult"}
    kinds = [kinds_of(n) | {n} for n in (a, b)]
    return is_kind_of(a, b) or is_kind_of(b, a) or all(k & person for k in kinds)


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
    """Whether a place is one of those, or next to one on one axis; a column tells nothing of a row."""
    shared = [spot for spot in there if any(x is not None and y is not None for x, y in zip(wanted, spot, strict=True))]
    return any((steps := apart(wanted, spot)) is not None and steps <= 1 for spot in shared)
