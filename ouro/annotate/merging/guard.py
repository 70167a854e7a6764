"""The guard of rewriting: whether every sentence of a text is borne out by what was told of an image.

Asked of each sentence: is every thing named by an input; does every attribute belong to the noun that has it; every
number to the noun that it counts; is every place that of the text or of a box; does somebody tell each relation; is
what stands in quotation marks read or said somewhere, of this thing.

Source: ours. Object hallucination is judged by unnamed nouns in CHAIR (Rohrbach et al., EMNLP 2018); here attributes,
numbers, places, relations and quotations count as well, and the inputs stand in for the picture.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from ouro.annotate.english.attributes import readings
from ouro.annotate.english.chunks import DETERMINERS, STOP, WORD, is_adjective
from ouro.annotate.english.kinds import is_kind_of
from ouro.annotate.english.phrases import NUMBERS
from ouro.annotate.evidence import Evidence, Named, has_look, near_spot, opposed, same_look
from ouro.annotate.reading import AREAS, CARRIERS, Link, Reading, Thing, read, stem

__all__ = ["Evidence", "SentenceCheck", "check_text"]


_SPOT = re.compile(r"\b(?:left|right|top|bottom|upper|lower|cent(?:er|re)|middle)\b", re.IGNORECASE)


class SentenceCheck(NamedTuple):
    """Characters [start, end) of a text are a sentence; `region_ids` bear it out, in order of appearance; `missing` is
    what nobody bears out, as "reason: words" (REASONS)."""

    start: int
    end: int
    region_ids: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(m.partition(":")[0] for m in self.missing))


REASONS: Final = ("unknown_object", "unknown_word", "attribute", "number", "place", "relation", "quotation")

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


def check_text(text: str, evidence: Evidence) -> list[SentenceCheck]:
    """A check of each sentence, in order; none of a text without words."""
    reading = read(text)
    checks: list[SentenceCheck] = []
    for number, (start, end) in enumerate(reading.sentences):
        check = _Check(reading, number, evidence)
        missing = tuple(dict.fromkeys(check.missing()))
        checks.append(SentenceCheck(start, end, tuple(dict.fromkeys(check.regions)), missing))
    return checks


def _tells_looks(word: str) -> bool:
    """Whether a word is an attribute whose noun counts: a colour, a size, "rustic"; not "parked", not "three-story"."""
    if word.split("-")[0] in NUMBERS or word.isdecimal() or stem(word) in _PLAIN:
        return False
    return bool(readings(word)) or (is_adjective(word) and not word.endswith(("ed", "ing", "ly")))


def _tell_kinds(named: list[Named], kinds: set[str]) -> bool:
    """Whether anything is told of one of these kinds: of the colour, the size."""
    return any(kind in kinds for n in named for w in n.thing.looks for kind, _ in readings(w))


class _Check:
    """Of one sentence; notes the regions that bear it out as it goes."""

    def __init__(self, reading: Reading, number: int, evidence: Evidence) -> None:
        self.reading, self.number, self.evidence = reading, number, evidence
        self.regions: list[str] = []
        self.span = reading.sentences[number]
        self.own = [(at, t) for at, t in enumerate(reading.things) if t.sentence == number]

    def missing(self) -> Iterator[str]:
        """What is not borne out, reason by reason."""
        for _, thing in self.own:
            named = self.evidence.alike(thing.noun)
            self.regions += [n.region for n in named if n.region]
            if not named and not self._is_known(thing):
                yield f"unknown_object: {' '.join(thing.words)}"
            elif named:
                yield from self._attributes(thing, named)
                yield from self._number(thing, named)
                yield from self._place(thing)
        yield from self._words()
        yield from self._relations()
        yield from self._quotations()

    def _is_known(self, thing: Thing) -> bool:
        words = thing.noun.split()
        return all(stem(w) in self.evidence.words or stem(w) in _PLAIN or w in AREAS | CARRIERS for w in words)

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
            stem(p) in self.evidence.words or stem(p) in _PLAIN or p.isdecimal()
            or bool(readings(p) & self.evidence.colours) or any(same_look(p, w) for w in self.evidence.words if not readings(p))
            for p in parts
        )  # fmt: skip

    def _attributes(self, thing: Thing, named: tuple[Named, ...]) -> Iterator[str]:
        for word in sorted(thing.looks):
            if _tells_looks(word) and not self._has(word, thing, named):
                yield f"attribute: {word} {thing.noun}"

    def _has(self, word: str, thing: Thing, named: tuple[Named, ...]) -> bool:
        """Whether a thing of that name has the attribute; a word that is told of nothing else gets the benefit."""
        own = [n for n in named if not opposed(thing, n.thing)] or list(named)
        kinds = {kind for kind, _ in readings(word)}
        close = self._closest(thing, own)
        if any(has_look(word, n.thing) for n in (close if _tell_kinds(close, kinds) else own)):
            return True
        if _tell_kinds(own, kinds):
            return False
        if any(has_look(word, o.thing) for n in own for told, o in self.evidence.links(n) if told == "of"):  # of a red cup
            return True
        general = [n for n in self.evidence.named if is_kind_of(thing.noun, n.thing.noun)]
        if any(has_look(word, n.thing) for n in general):
            return True
        others = [n for n in self.evidence.named if n not in own]
        return not any(same_look(word, w) for n in others for w in n.thing.looks) and self._is_said(word)

    def _closest(self, thing: Thing, named: list[Named]) -> list[Named]:
        """Of several things of one name those that stand in the same relation to the same other: the fur around the eye."""
        at = next((i for i, t in self.own if t is thing), -1)
        links = [x for x in self.reading.links if x.a == at and x.relation in ("in", "beside", "of")]
        for link in links:
            other = frozenset(self.evidence.alike(self.reading.things[link.b].noun))
            close = [n for n in named if any(r == link.relation and o in other for r, o in self.evidence.links(n))]
            if close:
                return close
        return named

    def _number(self, thing: Thing, named: tuple[Named, ...]) -> Iterator[str]:
        if thing.vague and all(n.thing.number == 1 for n in named) and len(self.evidence.shown(thing.noun)) < 2:
            yield f"number: several {thing.noun}"
        if thing.number is None or (thing.number == 1 and not self._counts_one(thing)):
            return
        own = [n for n in named if n.thing.other or not thing.other]
        own = [n for n in own if n.thing.number and self.evidence.agrees(thing, n)] or own
        numbers = {n.thing.number for n in own}
        counted = any(n and n > 1 for n in numbers) or thing.other or thing.number == 1
        shown = {p.region for p in self.evidence.shown(thing.noun)}
        if thing.number not in numbers and (counted or thing.number != len(shown)):
            if thing.other or thing.number not in self._bare_numbers(own):
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
        if not any(near_spot(thing.spot, self.evidence.spots(t)) for t in things):
            yield f"place: {thing.noun} {self.reading.text[thing.start:thing.end]}"

    def _relations(self) -> Iterator[str]:
        own = {at for at, _ in self.own}
        claims: dict[int, list[Link]] = defaultdict(list)
        for link in self.reading.links:
            claims[link.claim].append(link)
        for links in claims.values():
            if max(max(x.a, x.b) for x in links) not in own:
                continue
            wrong = [self._wrong(link) for link in links]
            if all(wrong):
                yield wrong[0]

    def _wrong(self, link: Link) -> str:
        """What is wrong with a relation; "" where somebody tells it, and where nobody tells otherwise."""
        a, b = self.reading.things[link.a], self.reading.things[link.b]
        evidence = self.evidence
        if {a.noun, b.noun} & CARRIERS or not (evidence.alike(a.noun) and evidence.alike(b.noun)):
            return ""
        holds = evidence.relates(a, link.relation, b) or not evidence.competes(a, link.relation, b)
        return "" if holds else f"relation: {a.noun} {link.relation} {b.noun}"

    def _quotations(self) -> Iterator[str]:
        for start, end in self.reading.quotations:
            if self.span[0] <= start < self.span[1]:
                said = self.evidence.quoted(self.reading.text[start:end])
                self.regions += said
                if not said:
                    yield f"quotation: {self.reading.text[start:end]}"
