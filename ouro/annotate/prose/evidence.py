"""What is told of one image, ready to be asked: which things a word can mean, what is said of them, and where they are.

`Evidence.of` takes the records of an image, `Evidence.of_scene` a merged scene, `Evidence.of_text` a text alone. A
thing of a statement is compared with the things of its name, of a kind of it, and of an object that is one with these:
matched with them, or spoken of again.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final

from ouro.annotate.english.chunks import WORD
from ouro.annotate.english.kinds import is_kind_of, same_thing
from ouro.annotate.english.mentions import Spot, apart, exact_spot
from ouro.annotate.english.phrases import singular
from ouro.annotate.prose.entities import (
    Told,
    above_of,
    can_be,
    ends_with,
    join,
    lie_apart,
    of_kind,
    together,
    told_things,
    tree_places,
)
from ouro.annotate.prose.likeness import differs, has_look, opposed, readings
from ouro.annotate.prose.passages import Passages
from ouro.annotate.prose.quotations import bearers_of, plain, stands_in
from ouro.annotate.prose.reader import read
from ouro.annotate.prose.sources import Place, frames_of, settled, topic_of
from ouro.annotate.prose.things import Reading, Thing, stems
from ouro.core.boxes import relative_position
from ouro.core.records import Conflict, Description, Match, Region, Scene

# Words by which a text speaks again of what it has named more exactly.
_GENERAL: Final = frozenset(
    "building structure vehicle bike animal creature plant machine device person figure water".split()
)
FIGURE: Final = re.compile(r"\d+(?:[.,:]\d+)*")  # a number in digits
_MOST = 64  # things of one noun that are compared


class Evidence:
    """The readings of an image's descriptions, what OCR read, and where its regions are."""

    def __init__(
        self,
        sources: Sequence[tuple[str, Reading]],
        places: Sequence[Place] = (),
        texts: Sequence[tuple[str, str]] = (),
    ) -> None:
        """`sources`: region ids with readings; `texts`: region ids with what OCR read."""
        self.places = places
        self.readings = [reading for _, reading in sources]
        self.parents: dict[str, str] = {}
        self.wholes = frozenset(p.topic.noun for p in places if p.topic and not p.frames)  # what the picture shows
        self._regions, self._texts = [region for region, _ in sources], texts
        self.told = [one for n, (region, reading) in enumerate(sources) for one in told_things(n, region, reading)]
        self._by_noun: dict[str, list[Told]] = defaultdict(list)
        self._index_words()
        self._join_again()
        self._alike: dict[str, tuple[Told, ...]] = {}
        self.passages = Passages([("", reading) for _, reading in sources])

    @staticmethod
    def of_text(text: str) -> Evidence:
        """A description by itself."""
        return Evidence([("", read(text))])

    @staticmethod
    def of_scene(scene: Scene) -> Evidence:
        """A merged description, with the boxes of its tree."""
        evidence = Evidence([("", read(scene.text))], list(tree_places(scene.tree)) if scene.tree else [])
        return evidence

    @staticmethod
    def of(
        regions: Sequence[Region],
        descriptions: Sequence[Description],
        matches: Sequence[Match] = (),
        conflicts: Sequence[Conflict] = (),
    ) -> Evidence:
        """All that is told of one image; of a conflict settled by looking only what was kept."""
        by_id = {r.region_id: r for r in regions}
        told = {d.region_id: settled(read(d.text), d.region_id, conflicts) for d in descriptions}
        topics = {d.region_id: topic_of(d.name, told[d.region_id]) for d in descriptions}
        places = [Place(r.region_id, r.box, frames_of(r, by_id), topics.get(r.region_id)) for r in regions]
        evidence = Evidence([*told.items()], places, [(r.region_id, r.text) for r in regions if r.text])
        evidence.parents = {r.region_id: r.parent_id for r in regions if r.parent_id}
        evidence.read_words |= stems(" ".join(d.name for d in descriptions))
        evidence.passages = Passages([(d.name, told[d.region_id]) for d in descriptions])
        evidence._join_named()
        for match in matches:
            if match.how == "same":
                evidence._join_matched(match)
        return evidence

    def _index_words(self) -> None:
        self.nouns = frozenset(singular(w) for r in self.readings for w in WORD.findall(r.prose.lower()))
        self.words = stems(" ".join(r.prose for r in self.readings))
        self.read_words = stems(" ".join([*(r.text for r in self.readings), *(text for _, text in self._texts)]))
        said = " ".join([*(r.text for r in self.readings), *(text for _, text in self._texts)])
        self.figures = frozenset(FIGURE.findall(said))
        self.modifiers = frozenset(w for one in self.told for w in one.thing.modifiers)
        self.named = frozenset(one.thing.noun for one in self.told)
        self.colours = frozenset(r for one in self.told for w in one.thing.looks for r in readings(w))
        for one in self.told:
            if len(self._by_noun[one.thing.noun]) < _MOST:
                self._by_noun[one.thing.noun].append(one)

    # ---- what is one -----------------------------------------------------------------------------------------------

    def _join_again(self) -> None:
        """What a text speaks of again: "the cup" after the one cup that it told of; "the building", "the bike" after
        the first thing of a common kind."""
        before: dict[tuple[int, str], list[Told]] = defaultdict(list)
        names: dict[int, dict[str, Told]] = defaultdict(dict)
        for one in self.told:
            thing, known = one.thing, before[one.source, one.thing.noun]
            same = [o for o in known if o.thing.plural == thing.plural and not opposed(thing, o.thing)]
            same = [o for o in same if not differs(thing, o.thing) and not lie_apart(thing, o.thing)]
            same = [o for o in same if o.thing.other or not thing.other]  # "the other boy"
            if thing.definite and same:
                if len(same) == 1:
                    join([same[0], one])
            elif thing.definite and thing.noun in _GENERAL and (topic := of_kind(thing, names[one.source])):
                join([topic, one])
            elif len(known) < _MOST:
                known.append(one)
                names[one.source].setdefault(thing.noun, one)
                if thing.definite and (longer := [o for n, o in names[one.source].items() if ends_with(n, thing.noun)]):
                    join([longer[0], one])  # "a chocolate cake", "a workbench"; "the cake", "the bench"

    def _join_named(self) -> None:
        """A region named "a notice" that tells of a sheet of paper: that is the notice."""
        for source, region in enumerate(self._regions):
            topic = next((p.topic for p in self.places if p.region == region), None)
            first = next((o for o in self.told if o.source == source and o.thing.sentence == 0), None)
            if topic is not None and topic.start < 0 and first is not None and first.thing.plural == topic.plural:
                named = Told(source, region, topic)
                self._by_noun[topic.noun].append(named)
                join([first, named])

    def _join_matched(self, match: Match) -> None:
        """The things of a matched region and of the phrase that means it are one."""
        topic = next((p.topic for p in self.places if p.region == match.region_id), None)
        if topic is None:
            return
        own = [o for o in self.told if o.region == match.region_id and same_thing(o.thing.noun, topic.noun)]
        own = [o for o in own if o.thing.plural == topic.plural]
        own += [o for o in self.told if o.region == match.region_id and o.thing == topic and o not in own]
        above = [o for o in self.told if o.region == match.parent_id]
        first = next((o for o in above if o.thing.start < match.end and match.start < o.thing.end), None)
        if first is not None:
            again = [o for o in above if o.thing.noun == first.thing.noun and not o.thing.modifiers]
            again = [o for o in again if o.thing.plural == first.thing.plural]
            own += [first, *(o for o in again if o is not first)]
        join(own)

    # ---- which things a word can mean ------------------------------------------------------------------------------

    def alike(self, noun: str) -> tuple[Told, ...]:
        """The things that a noun can mean, in order."""
        if noun not in self._alike:
            names = [
                name
                for name in self._by_noun
                if same_thing(name, noun) or is_kind_of(name, noun) or name.endswith(f" {noun}")
            ]
            self._alike[noun] = tuple(together([one for name in names for one in self._by_noun[name]]))
        return self._alike[noun]

    def meant(self, thing: Thing) -> list[Told]:
        """The things that a thing can be: not opposed to it, of its modifiers and number where there are such."""
        own = [o for o in self.alike(thing.noun) if not opposed(thing, o.thing)]
        if thing.spot and any(o.thing.spot and apart(o.thing.spot, thing.spot) is not None for o in own):
            there = [o for o in own if o.thing.spot and apart(o.thing.spot, thing.spot) is not None]
            texts = {o.source for o in there}
            own = [o for o in own if o in together(there) or (not o.thing.spot and o.source not in texts)]
        looks = [w for w in thing.modifiers if not w.isdecimal()]
        like = [o for o in own if all(has_look(w, o.thing) for w in looks)]
        if not like or not looks:
            return own
        known = set(together(like))
        known |= {o for o in own if o.thing.plural == thing.plural and not differs(thing, o.thing)}
        return [o for o in own if o in known]

    def shown(self, noun: str) -> list[Place]:
        """The regions whose object a noun can mean; the whole is none."""
        found = [o.thing for o in self.alike(noun)]
        return [
            p
            for p in self.places
            if p.frames
            and p.topic
            and (same_thing(p.topic.noun, noun) or is_kind_of(p.topic.noun, noun) or any(p.topic is t for t in found))
        ]

    # ---- what is told of them --------------------------------------------------------------------------------------

    def spots(self, thing: Thing, own: Sequence[Told]) -> list[Spot]:
        """Where a thing (those of `own`) is told or shown to be, in the picture or in what it is a part of."""
        parts = [x.thing for o in own for told, x in o.links if told == "has" and x.thing.sentence == o.thing.sentence]
        found = [t.spot for t in (*(o.thing for o in own), *parts) if t.spot is not None]  # a window with blinds on it
        shown = [p for p in self.shown(thing.noun) if p.topic and can_be(thing, p.topic)]
        if not shown and not found:  # a part: where the regions that tell of it are
            regions = {o.region for o in own}
            shown = [p for p in self.places if p.region in regions]
        return found + [exact_spot(relative_position(p.box, frame)) for p in shown for frame in p.frames]

    def sums(self, own: Iterable[Told]) -> set[int]:
        """How many things each text brings in, one by one: "a red cup and a blue cup" are two."""
        totals: dict[int, int] = defaultdict(int)
        known: set[Told] = set()
        for one in own:
            if one not in known and one.thing.number and not one.thing.definite:
                totals[one.source] += one.thing.number
                known |= set(together([one]))
        return set(totals.values())

    def count(self, noun: str) -> int:
        """How many things of a name regions show; several regions of one matched thing count once."""
        regions = {p.region for p in self.shown(noun)}
        for one in self.alike(noun):
            regions -= set(sorted({o.region for o in together([one])} & regions)[1:])
        return len(regions)

    def is_written(self, text: str) -> bool:
        """Whether a text stands in the picture, in quotation marks or read by OCR."""
        wanted = plain(text)
        quoted = {one for of_one in self._written for one in of_one}
        return any(stands_in(wanted, one) for one in (*quoted, *(plain(text) for _, text in self._texts)))

    def written_lines(self) -> list[str]:
        """What OCR read of each region, and the sentences that are told."""
        told = [r.text[a:b] for r in self.readings for a, b in r.sentences]
        return [*(text for _, text in self._texts), *told]

    @cached_property
    def _written(self) -> list[dict[str, list[int]]]:
        """Of each reading, what is quoted, plain, and where it begins."""
        found: list[dict[str, list[int]]] = []
        for reading in self.readings:
            places: dict[str, list[int]] = defaultdict(list)
            for a, b in reading.quotations:
                places[plain(reading.text[a:b])].append(a)
            places.pop("", None)
            found.append(places)
        return found

    @cached_property
    def _plain(self) -> list[str]:
        return [f" {plain(reading.text)} " for reading in self.readings]

    def quoted(self, text: str) -> tuple[list[str], list[Thing]]:
        """The regions that read or say a text, loosely, and the things that can bear it."""
        wanted = plain(text)
        found: list[str] = []
        bearers: list[Thing] = []
        told = zip(self._regions, self.readings, self._written, self._plain, strict=True)
        for region, reading, written, whole in told:
            said = [a for one, places in written.items() if stands_in(wanted, one) for a in places[:_MOST]]
            if said or f" {wanted} " in whole:
                found.append(region)
                bearers += [t for q in said for t in bearers_of(reading, q)] if said else reading.things
        found += [region for region, ocr in self._texts if stands_in(wanted, plain(ocr))]
        around = {above for region in found for above in above_of(self.parents, region)}
        bearers += [p.topic for p in self.places if p.topic and p.region in around]
        return list(dict.fromkeys(found)), bearers
