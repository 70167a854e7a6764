"""Whether a sentence is borne out by what is told of an image: things, words, attributes, numbers, places, relations and
quotations, each with the reason where it is not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from ouro.annotate.english.attributes import readings
from ouro.annotate.english.chunks import DETERMINERS, STOP, WORD, is_adjective
from ouro.annotate.english.kinds import is_kind_of, same_thing
from ouro.annotate.english.phrases import NUMBERS, singular
from ouro.annotate.evidence import INVERSE, Evidence, Named, fits, has_look, near_spot, opposed, same_look
from ouro.annotate.reading import AREAS, CARRIERS, Link, Reading, Thing, stem

REASONS: Final = ("unknown_object", "unknown_word", "attribute", "number", "place", "relation", "quotation")
_WRITINGS: Final = frozenset("text word letter name title heading line inscription writing lettering number".split())
_SPOT = re.compile(r"\b(?:left|right|top|bottom|upper|lower|cent(?:er|re)|middle)\b", re.IGNORECASE)

# Words that tell nothing by themselves: of the picture, of seeing, of being somewhere.
_PLAIN: Final = frozenset(
    stem(w)
    for w in (
        "image picture photo photograph scene view shot background foreground side part area section portion top bottom left "
        "right center centre middle front back upper lower inner outer far near side corner edge distance half rest thing object "
        "item something one two ones other others another each various several single whole entire main detail close "
        "show depict feature display present contain include see seen visible appear look seem be have has there here "
        "be being located situated placed positioned set stand lie sit rest hang lean run extend stretch fill cover "
        "surround arranged made mount attach make form line face found shown featuring including showing displaying "
        "give given use used next also well both together around along across behind between above below slightly very "
        "more less most some clearly partially partly fully mostly directly just only bear hold known called name read say "
        "write written text word label color colour hue shade tone shape size kind type set pair group row number "
        "addition within inside outside while where which overall prominently against out up down off stand-out"
    ).split()
)


def _tells_looks(word: str) -> bool:
    """Whether a word is an attribute whose noun counts: a colour, a size, "rustic"; not "parked", not "three-story"."""
    if word.split("-")[0] in NUMBERS or word.isdecimal() or stem(word) in _PLAIN:
        return False
    return bool(readings(word)) or (is_adjective(word) and not word.endswith(("ed", "ing", "ly")))


def _tell_kinds(named: list[Named], kinds: set[str]) -> bool:
    """Whether anything is told of one of these kinds: of the colour, the size."""
    return any(kind in kinds for n in named for w in n.thing.looks for kind, _ in readings(w))


class Check:
    """Of one sentence of a reading. `strict`: what nobody tells is missing, also where nobody tells otherwise.

    After `missing()`: `regions` bear it out, in order; `refuted` says whether anything is told otherwise.
    """

    def __init__(self, reading: Reading, number: int, evidence: Evidence, strict: bool = False) -> None:
        self.reading, self.evidence, self.strict = reading, evidence, strict
        self.refuted = False
        self.regions: list[str] = []
        self.span = reading.sentences[number]
        self.own = [(at, t) for at, t in enumerate(reading.things) if t.sentence == number]

    def missing(self) -> Iterator[str]:
        """What is not borne out, reason by reason."""
        for _, thing in self.own:
            named = self.evidence.alike(thing.noun)
            self.regions += [n.region for n in named if n.region]
            if not named and not self._is_known(thing):
                self.refuted = True
                yield f"unknown_object: {' '.join(thing.words)}"
            elif named:
                yield from self._attributes(thing, named)
                yield from self._number(thing, named)
                yield from self._place(thing)
        yield from self._words()
        yield from self._relations()
        yield from self._quotations()

    def _is_known(self, thing: Thing) -> bool:
        return all(self._is_named(w) or stem(w) in _PLAIN or w in AREAS | CARRIERS for w in thing.noun.split())

    def _is_named(self, word: str) -> bool:
        told = self.evidence.words if self.strict else self.evidence.words | self.evidence.read_words
        return singular(word) in self.evidence.nouns or (stem(word) in told and (len(stem(word)) > 3 or not self.strict))

    def _words(self) -> Iterator[str]:
        """Content words that nobody says in any form."""
        quoted = [(a, b) for a, b in self.reading.quotations]
        for match in WORD.finditer(self.reading.text, *self.span):
            word = match.group().lower()
            if any(a <= match.start() < b for a, b in quoted) or word in STOP or word in DETERMINERS or word in NUMBERS:
                continue
            if not self._is_said(word) and not any(t.start <= match.start() < t.end and word in t.noun.split() for _, t in self.own):
                yield f"unknown_word: {word}"

    def _is_said(self, word: str) -> bool:
        parts = [word, *word.split("-")]
        return any(
            stem(p) in self.evidence.words or stem(p) in self.evidence.read_words or stem(p) in _PLAIN or p.isdecimal()
            or bool(readings(p) & self.evidence.colours) or any(same_look(p, w) for w in self.evidence.words if not readings(p))
            for p in parts
        )  # fmt: skip

    def _attributes(self, thing: Thing, named: tuple[Named, ...]) -> Iterator[str]:
        for word in sorted(thing.looks):
            told = self._has(word, thing, named) if _tells_looks(word) else self._is_compound(word, thing, named)
            if not told:
                yield f"attribute: {word} {thing.noun}"

    def _has(self, word: str, thing: Thing, named: tuple[Named, ...]) -> bool:
        """Whether a thing of that name has the attribute; a word that is told of nothing else gets the benefit."""
        own = [n for n in named if not opposed(thing, n.thing)] or list(named)
        kinds = {kind for kind, _ in readings(word)}
        close = self._closest(thing, own)
        own = close if self.strict else own
        if any(has_look(word, n.thing) for n in (close if _tell_kinds(close, kinds) else own)):
            return True
        if _tell_kinds(own, kinds) and all(_tell_kinds([n], kinds) for n in own if n.thing.modifiers):
            self.refuted = True
        if _tell_kinds(own, kinds) or self.strict:
            return False
        if any(has_look(word, o.thing) for n in own for told, o in self.evidence.links(n) if told == "of"):  # of a red cup
            return True
        general = [n for n in self.evidence.named if is_kind_of(thing.noun, n.thing.noun)]
        if any(has_look(word, n.thing) for n in general):
            return True
        others = [n for n in self.evidence.named if n not in own]
        return not any(same_look(word, w) for n in others for w in n.thing.looks) and self._is_said(word)

    def _is_compound(self, word: str, thing: Thing, named: tuple[Named, ...]) -> bool:
        """False for a modifier that is told of other things alone: a copper handle, where copper are the lamps."""
        if word not in thing.modifiers or word not in self.evidence.modifiers or self.evidence.alike(word):
            return True
        own = [n for n in named if n.thing.modifiers]
        return not own or any(has_look(word, n.thing) for n in named)

    def _closest(self, thing: Thing, named: list[Named]) -> list[Named]:
        """Of several things of one name those that stand in the same relations to the same others: the fur around the
        eye, the cup on the shelf."""
        at = next((i for i, t in self.own if t is thing), -1)
        for relation, other in self._relations_of(at):
            alike = frozenset(self.evidence.meant(other) if self.strict else self.evidence.alike(other.noun))
            close = [n for n in named if any(fits(relation, r) and o in alike for r, o in self.evidence.links(n))]
            if close:
                named = self.evidence.together(close) if self.strict else close
        return named

    def _relations_of(self, at: int) -> Iterator[tuple[str, Thing]]:
        """What a statement clearly relates a thing to."""
        things = self.reading.things
        for link in self.reading.links:
            if link.a == at and (self.strict or link.relation in ("in", "beside", "of")):
                yield link.relation, things[link.b]
            elif link.b == at and self.strict:
                yield INVERSE[link.relation], things[link.a]

    def _number(self, thing: Thing, named: tuple[Named, ...]) -> Iterator[str]:
        if thing.vague and all(n.thing.number == 1 for n in named) and len(self.evidence.shown(thing.noun)) < 2:
            yield f"number: several {thing.noun}"
        if thing.number is None or (thing.number == 1 and not self._counts_one(thing)):
            return
        own = [n for n in named if n.thing.other or not thing.other]
        own = [n for n in own if n.thing.number and self.evidence.agrees(thing, n)] or own
        numbers = {n.thing.number for n in own}
        counted = any(n and n > 1 for n in numbers) or thing.other or thing.number == 1
        shown = self.evidence.count(thing.noun)
        if thing.number not in numbers and (counted or thing.number != shown):
            if thing.other or thing.number not in self._bare_numbers(own):
                self.refuted = self.refuted or bool(numbers - {None})
                yield f"number: {thing.number} {thing.noun}"

    def _counts_one(self, thing: Thing) -> bool:
        return self.reading.text[thing.start : thing.end].lower().startswith(("one ", "1 ", "a single ", "only one "))

    def _bare_numbers(self, named: list[Named]) -> set[int]:
        """Numbers that sentences about these things name without a noun: "two on each side"."""
        found: set[int] = set()
        for one in named:
            reading = self.evidence.readings[one.source]
            start, end = reading.sentences[one.thing.sentence]
            for match in WORD.finditer(reading.text.lower(), start, end):
                inside = any(t.start <= match.start() < t.end for t in reading.things)
                if match.group() in NUMBERS and not inside:
                    found.add(NUMBERS[match.group()])
        return found

    def _place(self, thing: Thing) -> Iterator[str]:
        if thing.spot is None:
            return
        things = [thing]
        if thing.start > self.span[0] + 12 and _SPOT.search(self.reading.text, self.span[0], thing.start):  # "At the top, ..."
            at = next(i for i, t in self.own if t is thing)
            things += [self.reading.things[x.b] for x in self.reading.links if x.a == at]
        apart = [x.a for x in self.reading.links if self.reading.things[x.b] is thing and x.relation not in ("in", "of", "has")]
        far = [t for t in map(self.reading.things.__getitem__, apart) if self.strict and not near_spot(thing.spot, self.evidence.spots(t))]
        if far or not any(near_spot(thing.spot, self.evidence.spots(t)) for t in things):
            self.refuted = self.refuted or any(self.evidence.spots(t) for t in things)
            yield f"place: {thing.noun} {self.reading.text[thing.start:thing.end]}"

    def _relations(self) -> Iterator[str]:
        own = {at for at, _ in self.own}
        claims: dict[int, list[Link]] = defaultdict(list)
        for link in self.reading.links:
            claims[link.claim].append(link)
        for links in claims.values():
            if max(max(x.a, x.b) for x in links) not in own:
                continue
            things = self.reading.things
            apart = [x for x in links if not same_thing(things[x.a].noun, things[x.b].noun)]
            wrong = [self._wrong(link) for link in apart]
            if wrong and all(wrong):
                yield wrong[0]

    def _wrong(self, link: Link) -> str:
        """What is wrong with a relation; "" where somebody tells it, and where nobody tells otherwise."""
        a, b = self.reading.things[link.a], self.reading.things[link.b]
        evidence = self.evidence
        if {a.noun, b.noun} & CARRIERS or not (evidence.alike(a.noun) and evidence.alike(b.noun)):
            return ""
        if evidence.relates(a, link.relation, b):
            return ""
        competes = evidence.competes(a, link.relation, b)
        self.refuted = self.refuted or competes
        return "" if not competes and not self.strict else f"relation: {a.noun} {link.relation} {b.noun}"

    def _quotations(self) -> Iterator[str]:
        for start, end in self.reading.quotations:
            if self.span[0] <= start < self.span[1]:
                said, bearers = self.evidence.quoted(self.reading.text[start:end])
                self.regions += said
                if not said or not self._bears(bearers):
                    yield f"quotation: {self.reading.text[start:end]}"

    def _bears(self, bearers: set[Thing]) -> bool:
        """Whether one of the sentence's things can bear the text; a sentence of "the text" alone always does."""
        nouns = {t.noun for _, t in self.own if t.noun not in _WRITINGS and self.evidence.alike(t.noun)}
        alike = {n.thing for noun in nouns for n in self.evidence.alike(noun)}
        told = {t.noun for t in bearers} - _WRITINGS - AREAS
        nouns |= {w for _, t in self.own for w in t.words if w in told}
        return not nouns or not told or bool(alike & bearers) or any(same_thing(a, b.noun) for a in nouns for b in bearers)
