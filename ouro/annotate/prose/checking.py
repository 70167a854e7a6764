"""Whether the sentences of a text are borne out by what is told of an image.

Things, words, attributes, numbers, places, relations and quotations, each with the reason where it is not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from ouro.annotate.english.chunks import DETERMINERS, STOP, WORD, is_adjective
from ouro.annotate.english.kinds import same_thing
from ouro.annotate.english.phrases import NUMBERS
from ouro.annotate.prose.attribution import Attribution
from ouro.annotate.prose.counting import numbers_told
from ouro.annotate.prose.entities import Told
from ouro.annotate.prose.evidence import FIGURE, Evidence
from ouro.annotate.prose.likeness import (
    clashes,
    has_look,
    is_colour,
    is_living,
    near_spot,
)
from ouro.annotate.prose.quotations import things_before
from ouro.annotate.prose.relations import APART, competes, relates, told_near
from ouro.annotate.prose.things import AREAS, BODY, CARRIERS, MANNERS, WRITINGS, Link, Reading, Thing, stem
from ouro.annotate.prose.words import PLAIN, can_be_shown, is_general, is_named, is_said, is_writing

REASONS: Final = ("unknown_object", "unknown_word", "attribute", "number", "place", "relation", "quotation")
_SPOT = re.compile(r"\b(?:left|right|top|bottom|upper|lower|cent(?:er|re)|middle)\b", re.IGNORECASE)
_ONE = re.compile(r"(?:one|1|a single|only one)\s", re.IGNORECASE)
_DEGREE = re.compile(r"\ba (?P<word>little|bit) (?=\w+er\b|above|below|behind|to\b|over)")  # "a little taller"
_OF_AREA = re.compile(
    r"\b(?:left|right|top|bottom|cent(?:er|re)|middle|side|corner|half|part|edge|area) of(?: the| an?| its)?\s*\Z"
)
_CARRIES = frozenset("carry carries carrying wear wears wearing".split())  # what is held or worn: the relation tells
_OTHERS = re.compile(r"\b(?:another|others?)\b", re.IGNORECASE)  # "one woman ..., while the other ..."


class Checker:
    """Checks the sentences of one reading. `strict`: what nobody tells is missing, also where nobody tells otherwise.

    After `missing(n)`: `regions` bear the n-th sentence out, in order; `refuted` says whether any of it is told
    otherwise.
    """

    def __init__(self, reading: Reading, evidence: Evidence, strict: bool = False) -> None:
        self.regions: list[str] = []
        self.refuted = False
        self._reading, self._evidence, self._strict = reading, evidence, strict
        self._own: dict[int, list[int]] = defaultdict(list)
        for at, thing in enumerate(reading.things):
            self._own[thing.sentence].append(at)
        self._claims: dict[int, dict[int, list[Link]]] = defaultdict(lambda: defaultdict(list))
        self._inside: dict[int, list[int]] = defaultdict(list)  # what is clearly in, on or at a thing
        for link in reading.links:
            if link.relation == "in" and not link.guess:
                self._inside[link.b].append(link.a)
        self._attribution = Attribution(reading, evidence, strict)
        latest: dict[int, int] = defaultdict(int)
        for link in reading.links:
            latest[link.claim] = max(latest[link.claim], link.a, link.b)
        for link in reading.links:
            self._claims[reading.things[latest[link.claim]].sentence][link.claim].append(link)

    def missing(self, number: int) -> list[str]:
        """What of a sentence is not borne out, as "reason: words" (REASONS); each once."""
        self.regions, self.refuted, self._attribution.refuted = [], False, False
        found = [
            *self._things(number),
            *self._words(number),
            *self._figures(number),
            *self._relations(number),
            *self._quotations(number),
        ]
        self.regions = list(dict.fromkeys(self.regions))
        self.refuted = self.refuted or self._attribution.refuted
        return list(dict.fromkeys(found))

    def _things(self, number: int) -> Iterator[str]:
        for at in self._own[number]:
            thing = self._reading.things[at]
            told = self._evidence.alike(thing.noun)
            unknown = not told and not self._is_known(thing) and not self._is_body(at, thing)
            if unknown and (self._strict or can_be_shown(thing)):
                self.refuted = True
                yield f"unknown_object: {' '.join(thing.words)}"
            if told:
                self.regions += [o.region for o in self._evidence.meant(thing) if o.region]
                yield from self._attribution.missing(at, thing, told)
                yield from self._number(at, thing, told)
                yield from self._place(at, thing)

    # ---- words -----------------------------------------------------------------------------------------------------

    def _is_known(self, thing: Thing) -> bool:
        return all(
            stem(w) in PLAIN or (w in AREAS | CARRIERS and w != "camera") or is_named(self._evidence, w, self._strict)
            for w in thing.noun.split()
        )

    def _is_body(self, at: int, thing: Thing) -> bool:
        """Whether it is a part of a body that somebody told of has: "on his head"."""
        owners = [self._reading.things[a].noun for relation, a in self._attribution.to[at] if relation == "has"]
        return thing.noun in BODY and any(is_living(noun) and self._evidence.alike(noun) for noun in owners)

    def _words(self, number: int) -> Iterator[str]:
        """Content words that nobody says in any form."""
        own = [self._reading.things[at] for at in self._own[number]]
        nouns = {w for t in own for w in (*t.noun.split(), *t.words[-1:])}
        degrees = {m.start("word") for m in _DEGREE.finditer(self._reading.prose, *self._reading.sentences[number])}
        for match in WORD.finditer(self._reading.prose, *self._reading.sentences[number]):
            word = match.group().lower()
            if (
                match.start() in degrees
                or word in _CARRIES
                or word in STOP
                or word in DETERMINERS
                or word in NUMBERS
                or word in nouns
            ):
                continue
            if not self._strict and (is_general(word) or is_writing(self._reading.prose[match.end() :][:20])):
                continue
            if not is_said(self._evidence, word) and not self._relates_lifeless(match, number):
                yield f"unknown_word: {word}"

    def _relates_lifeless(self, word: re.Match[str], number: int) -> bool:
        """Whether a word is a verb by which one lifeless thing is told of another: "the roof carries a vane".

        What people and animals do is a fact; how things are put together is said in many ways.
        """
        form = word.group().lower()
        joins = re.match(r"\s+(?:an?|the|its|two|several)\s", self._reading.text[word.end() : word.end() + 12])
        if self._strict or (is_adjective(form) and not form.endswith("ed") and not (joins and form.endswith("ing"))):
            return False
        things = [self._reading.things[at] for at in self._own[number]]
        before = [t for t in things if t.end <= word.start()]
        after = any(t.start > word.start() for t in things) or '"' in self._reading.text[word.end() : word.end() + 4]
        outside = not any(t.start <= word.start() < t.end for t in things)
        acts = after or form.endswith("s")
        return outside and acts and bool(before) and not any(is_living(t.noun) for t in before)

    def _figures(self, number: int) -> Iterator[str]:
        """Numbers in digits that count nothing: a value, a year."""
        counts = {str(self._reading.things[at].number) for at in self._own[number]}
        for match in FIGURE.finditer(self._reading.prose, *self._reading.sentences[number]):
            if match.group() not in self._evidence.figures and match.group() not in counts:
                self.refuted = True
                yield f"number: {match.group()}"

    # ---- numbers ---------------------------------------------------------------------------------------------------

    def _number(self, at: int, thing: Thing, told: Sequence[Told]) -> Iterator[str]:
        evidence = self._evidence
        if thing.vague and all(o.thing.number == 1 for o in told) and len(evidence.shown(thing.noun)) < 2:
            yield f"number: several {thing.noun}"
        one = thing.number == 1 and not _ONE.match(self._reading.text, thing.start)
        one = one or (thing.number == 1 and _OTHERS.search(self._reading.text, thing.end, self._end(thing)) is not None)
        if thing.number is None or one:
            return
        own = [o for o in told if o.thing.other or not thing.other]
        colours = [w for w in thing.looks if is_colour(w)]
        own = [o for o in own if o.thing.number and all(has_look(w, o.thing) for w in colours)] or own
        if thing.number not in numbers_told(self._evidence, thing, own, self._attribution.closest(at, own)):
            self.refuted = self.refuted or any(o.thing.number for o in own)
            yield f"number: {thing.number} {thing.noun}"

    def _end(self, thing: Thing) -> int:
        return self._reading.sentences[thing.sentence][1]

    # ---- places and relations --------------------------------------------------------------------------------------

    def _place(self, at: int, thing: Thing) -> Iterator[str]:
        whole = not self._strict and any(same_thing(thing.noun, w) for w in self._evidence.wholes)
        if thing.spot is None or (whole and not self._evidence.shown(thing.noun)):
            return
        start = self._reading.sentences[thing.sentence][0]
        if not self._strict and self._is_inner(at):
            return
        text, others = self._reading.text, [other for _, other in self._attribution.links[at]]
        leads = thing.start > start + 12 and _SPOT.search(text, start, thing.start)  # "At the top, she wears a cap"
        behind = (
            None if self._strict else _SPOT.search(text, thing.end, self._end(thing))
        )  # "a duck on a pond in the middle"
        things = [at, *(others if leads and (self._strict or is_living(thing.noun)) else ())]
        inner = [other for relation, other in self._attribution.links[at] if relation == "in"]
        things += [x for x in inner if behind and self._reading.things[x].start < behind.start()]
        spots = [spot for x in things for spot in self._spots(x)]
        if not self._strict and self._is_part(at):
            spots = [o.thing.spot for o in self._evidence.meant(thing) if o.thing.spot] or [thing.spot]
        around = [a for relation, a in self._attribution.to[at] if self._strict and relation not in ("in", "of", "has")]
        far = any(not near_spot(thing.spot, self._spots(x)) for x in around)  # "behind the bike on the right"
        if far or not near_spot(thing.spot, spots):
            self.refuted = self.refuted or bool(spots)
            yield f"place: {self._reading.text[thing.start : thing.end]}"

    def _is_inner(self, at: int) -> bool:
        """Whether a thing's place is one in another thing: "in the middle of the pond"; the whole is none."""
        others = [self._reading.things[other] for relation, other in self._attribution.links[at] if relation == "in"]
        before = [_OF_AREA.search(self._reading.text[: t.start][-48:]) for t in others]
        return any(b and self._evidence.shown(t.noun) for b, t in zip(before, others, strict=True))

    def _is_part(self, at: int) -> bool:
        """Whether a thing of the sentence that a region shows has it: its place is one in that thing."""
        owners = [self._reading.things[a] for relation, a in self._attribution.to[at] if relation == "has"]
        return self._reading.things[at].noun not in BODY and any(self._evidence.shown(o.noun) for o in owners)

    def _spots(self, at: int) -> list[tuple[int | None, int | None]]:
        thing = self._reading.things[at]
        own = self._evidence.meant(thing)
        return self._evidence.spots(thing, self._attribution.closest(at, own) if self._strict else own)

    def _relations(self, number: int) -> Iterator[str]:
        things = self._reading.things
        for a, b in self._implied(number):
            known = self._evidence.alike(a.noun) and self._evidence.alike(b.noun)
            if known and not relates(self._evidence, a, "in", b) and not told_near(self._evidence, a, b):
                yield f"relation: {a.noun} in {b.noun}"
        for links in self._claims[number].values():
            apart = [
                x
                for x in links
                if self._strict or x.relation == "than" or not same_thing(things[x.a].noun, things[x.b].noun)
            ]
            if wrong := self._wrong(apart):
                yield wrong

    def _implied(self, number: int) -> Iterator[tuple[Thing, Thing]]:
        """What is on the deck of a boat is on that boat."""
        for links in self._claims[number].values():
            for link in links[:1] if len(links) == 1 and links[0].relation == "of" and not self._strict else ():
                inner = self._inside[link.a]
                yield from ((self._reading.things[a], self._reading.things[link.b]) for a in inner[-1:] if a != link.b)

    def _wrong(self, links: Sequence[Link]) -> str:
        """What is wrong with a claim; "" where somebody tells one of its readings, or, not to be strict, nobody tells
        one otherwise and some text tells of both things."""
        things, evidence = self._reading.things, self._evidence
        untold: list[Link] = []
        apart = True
        if not self._strict and all(link.guess for link in links):
            return ""
        for link in links:
            a, b = things[link.a], things[link.b]
            if (
                {a.noun, b.noun} & CARRIERS
                or b.noun in MANNERS
                or not (evidence.alike(a.noun) and evidence.alike(b.noun))
            ):
                return ""
            if relates(evidence, a, link.relation, b):
                return ""
            untold.append(link)
            apart = apart and link.relation in APART and not link.guess and not told_near(evidence, a, b)
        otherwise = [
            x for x in untold if competes(evidence, things[x.a], x.relation, things[x.b], self._strict, x.sure)
        ]
        self.refuted = self.refuted or bool(otherwise)
        if not untold or not (otherwise or self._strict or apart):
            return ""
        wrong = (otherwise or untold)[0]
        return f"relation: {things[wrong.a].noun} {wrong.relation} {things[wrong.b].noun}"

    # ---- quotations ------------------------------------------------------------------------------------------------

    def _quotations(self, number: int) -> Iterator[str]:
        start, end = self._reading.sentences[number]
        for first, last in self._reading.quotations:
            if start <= first < end:
                said, bearers = self._evidence.quoted(self._reading.text[first:last])
                self.regions += said
                if not said or not self._bears(number, first, bearers):
                    yield f"quotation: {self._reading.text[first:last]}"

    def _bears(self, number: int, first: int, bearers: list[Thing]) -> bool:
        """Whether a thing near a quotation can bear its text; "the text" alone always does."""
        own = [at for at in self._own[number] if self._reading.things[at].noun not in WRITINGS]
        own = [at for at in own if self._evidence.alike(self._reading.things[at].noun)]
        if self._strict and own:  # "the sign on the shelf": that one
            close = self._attribution.closest(own[0], self._evidence.meant(self._reading.things[own[0]]))
            return not close or any(o.thing is t for o in close for t in bearers)
        told = {t.noun for t in bearers} - WRITINGS - AREAS
        before = things_before(self._reading, first)
        if not told or (before and all(t.noun in WRITINGS for t in before)):
            return True
        same = [(a, t) for a in before for t in bearers if same_thing(a.noun, t.noun)]
        if same and all(clashes(a, t) for a, t in same):  # the label of another bar
            return False
        nouns = {self._reading.things[at].noun for at in own}
        nouns |= {w for at in self._own[number] for w in self._reading.things[at].words if w in told}
        alike = [o.thing for noun in nouns for o in self._evidence.alike(noun)]
        named = any(same_thing(a, t.noun) for a in nouns for t in bearers)
        return not nouns or named or any(a is t for a in alike for t in bearers)
