"""Whether the sentences of a text are borne out by what is told of an image.

Things, words, attributes, numbers, places, relations and quotations, each with the reason where it is not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from ouro.annotate.english.attributes import readings
from ouro.annotate.english.chunks import DETERMINERS, STOP, WORD, is_adjective
from ouro.annotate.english.kinds import is_kind_of, same_thing
from ouro.annotate.english.phrases import NUMBERS, singular
from ouro.annotate.prose.evidence import Evidence, Told, above_of, together
from ouro.annotate.prose.gaps import INVERSE, is_act
from ouro.annotate.prose.likeness import (
    SYNONYMS,
    fits,
    has_look,
    is_colour,
    is_living,
    kinds_told,
    near_spot,
    opposed,
    same_look,
)
from ouro.annotate.prose.relations import competes, relates
from ouro.annotate.prose.things import AREAS, BODY, CARRIERS, WRITINGS, Link, Reading, Thing, stem

REASONS: Final = ("unknown_object", "unknown_word", "attribute", "number", "place", "relation", "quotation")
# Words that tell nothing by themselves: of the picture, of seeing, of being somewhere.
_PLAIN: Final = frozenset(
    stem(w)
    for w in (
        "image picture photo photograph scene view shot background foreground side part area section portion top "
        "bottom left right center centre middle front back upper lower inner outer far near corner edge distance "
        "half rest thing object item something one two ones other others another each various several single "
        "whole entire main detail close show depict feature display present contain include see seen visible "
        "appear look seem be have has there here being located situated placed positioned set stand lie sit hang "
        "lean run extend stretch fill cover surround arranged made mount attach make form line face found shown "
        "featuring including showing displaying give given use used next also well both together around along "
        "across behind between above below slightly very more less most some clearly partially partly fully "
        "mostly directly just only bear hold known called name read say write written text word label color "
        "colour hue shade tone shape size kind type pair group row number addition within inside outside while "
        "where which overall prominently against out up down off dressed clad"
    ).split()
)
_SPOT = re.compile(r"\b(?:left|right|top|bottom|upper|lower|cent(?:er|re)|middle)\b", re.IGNORECASE)
_ONE = re.compile(r"(?:one|1|a single|only one)\s", re.IGNORECASE)
_DEGREE = re.compile(r"\ba (?P<word>little|bit) (?=\w+er\b)")  # "a little taller"
_OF_AREA = re.compile(
    r"\b(?:left|right|top|bottom|cent(?:er|re)|middle|side|corner|half|part|edge|area) of(?: the| an?| its)?\s*\Z"
)
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
        self._links: dict[int, list[tuple[str, int]]] = defaultdict(list)
        self._to: dict[int, list[tuple[str, int]]] = defaultdict(list)
        latest: dict[int, int] = defaultdict(int)
        for link in reading.links:
            latest[link.claim] = max(latest[link.claim], link.a, link.b)
            self._links[link.a].append((link.relation, link.b))
            self._to[link.b].append((link.relation, link.a))
            if strict:
                self._links[link.b].append((INVERSE[link.relation], link.a))
        for link in reading.links:
            self._claims[reading.things[latest[link.claim]].sentence][link.claim].append(link)

    def missing(self, number: int) -> list[str]:
        """What of a sentence is not borne out, as "reason: words" (REASONS); each once."""
        self.regions, self.refuted = [], False
        found = [*self._things(number), *self._words(number), *self._relations(number), *self._quotations(number)]
        self.regions = list(dict.fromkeys(self.regions))
        return list(dict.fromkeys(found))

    def _things(self, number: int) -> Iterator[str]:
        for at in self._own[number]:
            thing = self._reading.things[at]
            told = self._evidence.alike(thing.noun)
            if not told and not self._is_known(thing) and not self._is_body(at, thing):
                self.refuted = True
                yield f"unknown_object: {' '.join(thing.words)}"
            if told:
                self.regions += [o.region for o in self._evidence.meant(thing) if o.region]
                yield from self._attributes(at, thing, told)
                yield from self._number(at, thing, told)
                yield from self._place(at, thing)

    # ---- words -----------------------------------------------------------------------------------------------------

    def _is_known(self, thing: Thing) -> bool:
        return all(stem(w) in _PLAIN or w in AREAS | CARRIERS or self._is_named(w) for w in thing.noun.split())

    def _is_body(self, at: int, thing: Thing) -> bool:
        """Whether it is a part of a body that somebody told of has: "on his head"."""
        owners = [self._reading.things[a].noun for relation, a in self._to[at] if relation == "has"]
        return thing.noun in BODY and any(is_living(noun) and self._evidence.alike(noun) for noun in owners)

    def _is_named(self, word: str) -> bool:
        """Whether anybody says the noun; what is only written in the picture is no thing of it, to be strict."""
        root, evidence = stem(word), self._evidence
        if singular(word) in evidence.nouns:
            return True
        if self._strict:
            return root in evidence.words and len(root) > 3
        return root in evidence.words or root in evidence.read_words

    def _words(self, number: int) -> Iterator[str]:
        """Content words that nobody says in any form."""
        own = [self._reading.things[at] for at in self._own[number]]
        nouns = {w for t in own for w in (*t.noun.split(), *t.words[-1:])}
        degrees = {m.start("word") for m in _DEGREE.finditer(self._reading.prose, *self._reading.sentences[number])}
        for match in WORD.finditer(self._reading.prose, *self._reading.sentences[number]):
            word = match.group().lower()
            if match.start() in degrees or word in STOP or word in DETERMINERS or word in NUMBERS or word in nouns:
                continue
            if not self._is_said(word) and not self._relates_lifeless(match, number):
                yield f"unknown_word: {word}"

    def _relates_lifeless(self, word: re.Match[str], number: int) -> bool:
        """Whether a word is a verb by which one lifeless thing is told of another: "the roof carries a vane".

        What people and animals do is a fact; how things are put together is said in many ways.
        """
        form = word.group().lower()
        if self._strict or (is_adjective(form) and not form.endswith("ed")):
            return False
        things = [self._reading.things[at] for at in self._own[number]]
        before = [t for t in things if t.end <= word.start()]
        after = any(t.start > word.start() for t in things) or '"' in self._reading.text[word.end() : word.end() + 4]
        outside = not any(t.start <= word.start() < t.end for t in things)
        acts = after or form.endswith("s")
        return outside and acts and bool(before) and not any(is_living(t.noun) for t in before)

    def _is_said(self, word: str) -> bool:
        return any(self._is_part_said(part) for part in (word, *word.split("-")))

    def _is_part_said(self, word: str) -> bool:
        root, evidence = stem(word), self._evidence
        if root in evidence.words or root in evidence.read_words or root in _PLAIN or word.isdecimal():
            return True
        alike = SYNONYMS.get(word, frozenset())
        return bool(readings(word) & evidence.colours) or any(stem(w) in evidence.words for w in alike)

    # ---- attributes ------------------------------------------------------------------------------------------------

    def _attributes(self, at: int, thing: Thing, told: Sequence[Told]) -> Iterator[str]:
        own = self._evidence.meant(thing) if self._strict else [o for o in told if not opposed(thing, o.thing)]
        own = own or list(told)
        bound = self._bound(at, own)
        close = self._closest(at, bound)
        for word in sorted(thing.looks):
            if self._strict and is_living(thing.noun) and word in thing.said and is_act(word):
                if not self._acts(word, together(bound)):
                    yield f"attribute: {word} {thing.noun}"
                continue
            looks = _tells_looks(word)
            if not (
                self._has(word, thing, bound if readings(word) else own, close)
                if looks
                else self._is_compound(word, thing, told)
            ):
                yield f"attribute: {word} {thing.noun}"

    def _acts(self, word: str, own: Sequence[Told]) -> bool:
        """Whether someone is told to do that; the rest of what they do is not told of them."""
        done = {stem(w) for o in own for w in o.thing.said | o.thing.loose}
        self.refuted = self.refuted or (
            stem(word) not in done and any(is_act(w) for o in own for w in o.thing.said | o.thing.loose)
        )
        return stem(word) in done

    def _has(self, word: str, thing: Thing, own: list[Told], close: list[Told]) -> bool:
        """Whether a thing of that name has the attribute; where nobody tells, a word told of nothing else may."""
        kinds = {kind for kind, _ in readings(word)}
        if self._strict or any(kinds & kinds_told(o.thing) for o in close):
            own = close
        if any(has_look(word, o.thing) for o in own):
            return True
        if any(kinds & kinds_told(o.thing) for o in own):
            self.refuted = self.refuted or all(kinds & kinds_told(o.thing) for o in own if o.thing.modifiers)
            return False
        return not self._strict and self._may_have(word, thing, own)

    def _may_have(self, word: str, thing: Thing, own: list[Told]) -> bool:
        """Whether its whole has the attribute, or what is told by a general name; or nobody tells it of anything."""
        if any(has_look(word, other.thing) for o in own for told, other in o.links if told == "of"):  # of a red cup
            return True
        if not is_colour(word) and any(has_look(word, x.thing) for o in own for told, x in o.links if told == "has"):
            return True  # a window with a glass pane
        parts = {stem(part) for w in thing.modifiers for part in w.split("-")[-1:] if part.endswith("ed")}
        if any(stem(x.thing.noun) in parts and has_look(word.split("-")[0], x.thing) for o in own for _, x in o.links):
            return True  # a gray tiled floor, a gold-framed mirror
        others = [o for o in self._evidence.told if o not in own and any(same_look(word, w) for w in o.thing.looks)]
        if any(is_kind_of(thing.noun, name) for o in others for name in (o.thing.noun, f"body of {o.thing.noun}")):
            return True
        return not others and self._is_said(word)

    def _is_compound(self, word: str, thing: Thing, told: Sequence[Told]) -> bool:
        """False for a modifier that is told of other things alone: a copper handle, where copper are the lamps."""
        if (
            word not in thing.modifiers
            or word.endswith(("'s", "’s", "s'"))
            or (not self._strict and word not in self._evidence.modifiers)
        ):
            return True
        if any(word in x.thing.words for o in told for relation, x in o.links if relation == "of"):
            return True  # a shuttle model: the model of a shuttle
        if self._evidence.alike(word) and not (self._strict and all(o.thing.modifiers for o in told)):
            return True
        return not any(o.thing.modifiers for o in told) or any(has_look(word, o.thing) for o in told)

    def _closest(self, at: int, own: list[Told]) -> list[Told]:
        """Of several things of one name those that stand in the same relations to the same others: the fur around the
        eye, the cup on the shelf."""
        for relation, other in self._links[at]:
            if not self._strict and relation not in ("in", "beside", "of"):
                continue
            thing = self._reading.things[other]
            alike = set(self._evidence.meant(thing) if self._strict else self._evidence.alike(thing.noun))
            close = [o for o in own if any(fits(relation, told) and x in alike for told, x in o.links)]
            own = (together(close) if self._strict else close) or own
        return own

    def _bound(self, at: int, own: list[Told]) -> list[Told]:
        """Of several things of one name those that the one owner has that the statement names: "the door has a handle"."""
        owners = [] if self._strict else [owner for relation, owner in self._to[at] if relation == "has"]
        return (self._owned(self._reading.things[owners[0]], own) if len(owners) == 1 else []) or own

    def _owned(self, owner: Thing, own: list[Told]) -> list[Told]:
        """Those that the owner is told to have, or that its region or one inside of it tells of."""
        owners = set(self._evidence.meant(owner))
        regions = {p.region for p in self._evidence.shown(owner.noun)}
        return together(
            o
            for o in own
            if any(told in ("in", "of") and x in owners for told, x in o.links)
            or regions & set(above_of(self._evidence.parents, o.region))
        )

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
        if thing.number not in self._numbers(at, thing, own):
            self.refuted = self.refuted or any(o.thing.number for o in own)
            yield f"number: {thing.number} {thing.noun}"

    def _end(self, thing: Thing) -> int:
        return self._reading.sentences[thing.sentence][1]

    def _numbers(self, at: int, thing: Thing, own: list[Told]) -> set[int | None]:
        """The numbers that the texts give, say one by one, or name without a noun; that of regions where none does."""
        numbers: set[int | None] = {o.thing.number for o in own}
        sums = self._evidence.sums(self._closest(at, own))
        if thing.number == 1:
            return numbers - {1} if sums and 1 not in sums else numbers
        if all(o.thing.number == 1 for o in own):
            numbers |= sums
        if thing.other:
            return numbers
        counted = any(n and n > 1 for n in numbers)
        return numbers | self._bare_numbers(own) | (set() if counted else {self._evidence.count(thing.noun)})

    def _bare_numbers(self, own: list[Told]) -> set[int]:
        """Numbers that sentences about these things name outside of them: "two on each side"."""
        found: set[int] = set()
        for one in own:
            reading = self._evidence.readings[one.source]
            inside = [(t.start, t.end) for t in reading.things if t.sentence == one.thing.sentence]
            for match in WORD.finditer(reading.prose, *reading.sentences[one.thing.sentence]):
                word = match.group().lower()
                if word in NUMBERS and not any(a <= match.start() < b for a, b in inside):
                    found.add(NUMBERS[word])
        return found

    # ---- places and relations --------------------------------------------------------------------------------------

    def _place(self, at: int, thing: Thing) -> Iterator[str]:
        if thing.spot is None:
            return
        start = self._reading.sentences[thing.sentence][0]
        if not self._strict and self._is_inner(at):
            return
        text, others = self._reading.text, [other for _, other in self._links[at]]
        inner = [other for relation, other in self._links[at] if relation == "in"]
        leads = thing.start > start + 12 and _SPOT.search(text, start, thing.start)  # "At the top, she wears a cap"
        behind = (
            None if self._strict else _SPOT.search(text, thing.end, self._end(thing))
        )  # "a duck on a pond in the middle"
        things = [at, *(others if leads else ())]
        things += [x for x in inner if behind and self._reading.things[x].start < behind.start()]
        spots = [spot for x in things for spot in self._spots(x)]
        around = [a for relation, a in self._to[at] if self._strict and relation not in ("in", "of", "has")]
        far = any(not near_spot(thing.spot, self._spots(x)) for x in around)  # "behind the bike on the right"
        if far or not near_spot(thing.spot, spots):
            self.refuted = self.refuted or bool(spots)
            yield f"place: {self._reading.text[thing.start : thing.end]}"

    def _is_inner(self, at: int) -> bool:
        """Whether a thing's place is one in another thing: "in the middle of the pond"; the whole is none."""
        others = [self._reading.things[other] for relation, other in self._links[at] if relation == "in"]
        before = [_OF_AREA.search(self._reading.text[: t.start][-48:]) for t in others]
        wholes = self._evidence.wholes
        return any(b and not any(same_thing(t.noun, w) for w in wholes) for b, t in zip(before, others, strict=True))

    def _spots(self, at: int) -> list[tuple[int | None, int | None]]:
        thing = self._reading.things[at]
        own = self._evidence.meant(thing)
        return self._evidence.spots(thing, self._closest(at, own) if self._strict else own)

    def _relations(self, number: int) -> Iterator[str]:
        things = self._reading.things
        for links in self._claims[number].values():
            apart = [x for x in links if self._strict or not same_thing(things[x.a].noun, things[x.b].noun)]
            wrong = [self._wrong(link) for link in apart]
            of_one_pair = len({frozenset((x.a, x.b)) for x in apart}) == 1  # "an array of coins"
            if wrong and (all(wrong) or (of_one_pair and not self._strict and any(wrong))):
                yield next(w for w in wrong if w)

    def _wrong(self, link: Link) -> str:
        """What is wrong with a relation; "" where somebody tells it, or, not to be strict, nobody tells otherwise."""
        a, b = self._reading.things[link.a], self._reading.things[link.b]
        evidence = self._evidence
        if {a.noun, b.noun} & CARRIERS or not (evidence.alike(a.noun) and evidence.alike(b.noun)):
            return ""
        if relates(evidence, a, link.relation, b):
            return ""
        otherwise = competes(evidence, a, link.relation, b)
        self.refuted = self.refuted or otherwise
        return f"relation: {a.noun} {link.relation} {b.noun}" if otherwise or self._strict else ""

    # ---- quotations ------------------------------------------------------------------------------------------------

    def _quotations(self, number: int) -> Iterator[str]:
        start, end = self._reading.sentences[number]
        for first, last in self._reading.quotations:
            if start <= first < end:
                said, bearers = self._evidence.quoted(self._reading.text[first:last])
                self.regions += said
                if not said or not self._bears(number, bearers):
                    yield f"quotation: {self._reading.text[first:last]}"

    def _bears(self, number: int, bearers: list[Thing]) -> bool:
        """Whether one of the sentence's things can bear the text; a sentence of "the text" alone always does."""
        own = [at for at in self._own[number] if self._reading.things[at].noun not in WRITINGS]
        own = [at for at in own if self._evidence.alike(self._reading.things[at].noun)]
        if self._strict and own:  # "the sign on the shelf": that one
            close = self._closest(own[0], self._evidence.meant(self._reading.things[own[0]]))
            return not close or any(o.thing is t for o in close for t in bearers)
        told = {t.noun for t in bearers} - WRITINGS - AREAS
        nouns = {self._reading.things[at].noun for at in own}
        nouns |= {w for at in self._own[number] for w in self._reading.things[at].words if w in told}
        alike = [o.thing for noun in nouns for o in self._evidence.alike(noun)]
        named = any(same_thing(a, t.noun) for a in nouns for t in bearers)
        return not nouns or not told or named or any(a is t for a in alike for t in bearers)


def _tells_looks(word: str) -> bool:
    """Whether a word is an attribute whose noun counts: a colour, a size, "rustic"; not "parked", not "three-story"."""
    if any(kind == "state" for kind, _ in readings(word)):
        return True
    if word.split("-")[0] in NUMBERS or word.isdecimal() or stem(word) in _PLAIN:
        return False
    return bool(readings(word)) or (is_adjective(word) and not word.endswith(("ed", "ing", "ly")))
