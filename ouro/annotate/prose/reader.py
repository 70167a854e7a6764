"""Read free English to things and links, sentence by sentence: `read`. By rules, in time linear in the text's length.

Where a relation could belong to the thing before it or to the subject, both are noted, as readings of one claim.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from ouro.annotate.english.attributes import readings
from ouro.annotate.english.free_text import NounPhrase, read_phrases
from ouro.annotate.english.phrases import is_verb, sentences
from ouro.annotate.prose.clause import NEAR, Clause
from ouro.annotate.prose.gaps import COPULA, PLACE, Gap, acts, clearly_acts, read_gap
from ouro.annotate.prose.naming import extras_of, first_word, is_person, make_thing, names_thing, spot_behind
from ouro.annotate.prose.quotations import find_quotations, without_quotations
from ouro.annotate.prose.things import CARRIERS, Link, Reading, Thing, content

_PRONOUN = re.compile(r"\b(?:it|its|itself|he|she|him|his|her|they|them|their|one)\b", re.IGNORECASE)
_PERSONAL = frozenset("he she him his her".split())
_ONE = re.compile(r"\b(?:the|a|another|other)\s+(?:(?!other\b|only\b)([a-z-]+)\s+)?one\Z", re.IGNORECASE)
_GROUND = re.compile(r"\b(?:on|against)\b")  # "letters, pink on light blue"
_RELATIVE = re.compile(r"\s*,?\s*(?:that|which|who)\b")
_DEGREE = re.compile(r"\ba (?:little|bit)\b")
_LONGEST = 400  # characters between two things that relate them
_MOST = 24  # links of a thing that another one may share

Item = NounPhrase | tuple[int, int]  # a pronoun is its characters


@lru_cache(maxsize=2048)
def read(text: str) -> Reading:
    """Read a text; the last 2,048 results are kept."""
    quotations = find_quotations(text)
    prose = without_quotations(text, quotations)
    spans = tuple(sentences(prose))
    reader = _Reader(prose)
    for number, (start, end) in enumerate(spans):
        reader.read_sentence(number, start, end)
    reader.carry()
    return Reading(text, tuple(reader.things), tuple(reader.links), quotations, spans, prose)


class _Reader:
    def __init__(self, prose: str) -> None:
        self.things: list[Thing] = []
        self.links: list[Link] = []
        self._prose = prose
        self._lower = PLACE.sub(lambda m: " " * len(m.group()), prose.lower())  # places are in the things
        self._phrases, self._at = read_phrases(prose), 0
        self._topics: list[int] = []  # the subjects of the clause or sentence before
        self._first = self._person = -1  # the subject of the text, the person spoken of
        self._from: dict[int, list[Link]] = defaultdict(list)
        self._to: dict[int, list[Link]] = defaultdict(list)
        self._starts = [0]  # the first thing of each sentence
        self._claims = 0
        self._guess = False
        self._owners: dict[int, int] = {}  # of things named with "its"

    def read_sentence(self, number: int, start: int, end: int) -> None:
        """Append the things and links of characters [start, end)."""
        clause, last = Clause(number), start
        items = self._items(start, end)
        edges = [_span(item)[0] for item in items[1:]] + [end]
        for item, edge in zip(items, edges, strict=False):
            begin, stop = _span(item)
            gap = read_gap(self._lower[max(last, begin - _LONGEST) : begin])
            if gap.clause is not None:
                clause = self._next_clause(clause, gap.clause)
            index = self._name(item, clause)
            if index >= 0:
                self._attach(index, gap, self._lower[stop:edge], clause, not isinstance(item, NounPhrase))
            last = stop
        self._close(clause, self._lower[last:end])

    def _items(self, start: int, end: int) -> list[Item]:
        """Phrases and pronouns of a sentence in order."""
        phrases: list[Item] = []
        taken: set[int] = set()
        while self._at < len(self._phrases) and self._phrases[self._at].start < end:
            if names_thing(self._phrases[self._at], self._prose):
                phrases.append(self._phrases[self._at])
            taken.update(range(self._phrases[self._at].start, self._phrases[self._at].end))
            self._at += 1
        pronouns = [m for m in _PRONOUN.finditer(self._prose, start, end) if m.start() not in taken]
        ones = [_ONE.search(self._prose, max(start, m.start() - 24), m.end()) for m in pronouns]
        pronouns = [(one or m).span() for m, one in zip(pronouns, ones, strict=True)]
        return sorted([*phrases, *pronouns], key=_span)

    def _next_clause(self, clause: Clause, ended: str) -> Clause:
        """Behind ";" or "while": what was spoken of can be spoken of again."""
        self._say(ended, clause)
        self._topics = clause.subjects or self._topics
        return Clause(clause.number, subjects=clause.subjects)

    def _close(self, clause: Clause, rest: str) -> None:
        self._say(rest, clause)
        subjects = [*clause.subjects, *([clause.head] if clause.head >= 0 else [])]
        subjects = [self._owners.get(at, at) for at in subjects]  # "its ears are long. It ...": not the ears
        self._topics = list(dict.fromkeys(at for at in subjects if at >= 0))[-NEAR:] or self._topics
        self._person = next((at for at in self._topics if is_person(self.things[at])), self._person)
        self._first = self._first if self._first >= 0 else next(iter(self._topics), -1)
        self._starts.append(len(self.things))

    # ---- naming ----------------------------------------------------------------------------------------------------

    def _name(self, item: Item, clause: Clause) -> int:
        """The number of the thing that an item names, or speaks of again; -1 for none."""
        if not isinstance(item, NounPhrase):
            if named := _ONE.search(self._prose, *item):
                return self._name_one(named, clause)
            return self._antecedent(self._prose[item[0] : item[1]].lower(), clause)
        index = self._add(make_thing(item, clause.number, self._prose))
        for thing, relations in extras_of(item, clause.number, self._prose):
            extra = self._add(thing)
            self._link([(index, r, extra) if own_first else (extra, r, index) for own_first, r in relations])
        self._link_owner(first_word(item, self._prose), index, clause)
        return index

    def _add(self, thing: Thing) -> int:
        if self._person < 0 and is_person(thing):
            self._person = len(self.things)
        self.things.append(thing)
        return len(self.things) - 1

    def _name_one(self, named: re.Match[str], clause: Clause) -> int:
        """ "The smaller one": another thing of the last one's name."""
        near = range(max(self._starts[-1], len(self.things) - _MOST), len(self.things))
        several = (at for at in reversed(near) if self.things[at].plural)
        at = next(several, self._antecedent("one", clause))
        if at < 0:
            return -1
        name, looks = self.things[at].noun, [named[1].lower()] if named[1] else []
        one = Thing(named.start(), named.end(), name, (*looks, name), frozenset(looks), clause.number, number=1)
        return self._add(one._replace(definite=True, spot=spot_behind(self._prose, named.end())))

    def _antecedent(self, pronoun: str, clause: Clause) -> int:
        """What a pronoun speaks of: a person for "she", else the subject, else that of the sentence before."""
        if pronoun in _PERSONAL and self._person >= 0:
            return self._person
        return clause.subject if clause.subject >= 0 else next(iter(self._topics), -1)

    def _link_owner(self, word: str, index: int, clause: Clause) -> None:
        """ "its handle": of the subject, of a thing just named, of what was spoken of."""
        if word in ("its", "his", "her", "their"):
            self._owners[index] = self._antecedent(word, clause)
            owners = [self._owners[index], *self._near(index), *self._topics, self._first]
            self._link([(at, "has", index) for at in dict.fromkeys(owners)])

    def _near(self, index: int) -> range:
        """The few things of the sentence before this one."""
        return range(max(self._starts[-1], index - NEAR), index)

    # ---- relations -------------------------------------------------------------------------------------------------

    def _attach(self, index: int, gap: Gap, after: str, clause: Clause, pronoun: bool) -> None:
        """Link a thing with those before it and move on."""
        self._guess = pronoun or clause.guess
        self._say(gap.said, clause)
        opening = clause.previous < 0
        relation = "in" if gap.relation == "of" and opening else gap.relation
        if opening and relation and not gap.there:
            clause.pending.append((relation, index))
        elif self._leads(index, gap, relation, after, clause):
            clause.guess = self._guess = pronoun
            self._lead(index, clause)
            clause.acts = acts(after)
        elif clause.subject < 0:  # "On the chest of the suit, ..."
            self._relate(relation, index, clause)
        elif gap.listed:
            self._guess = True  # of what it is listed with, or a thing of its own
            self._link([] if gap.together else self._copies(clause.previous, index))
            clause.group.append(index)
        elif relation and pronoun:  # "a logo below it"
            near = dict.fromkeys([index, *self._near(clause.previous), *self._topics])
            self._link([(clause.previous, relation, at) for at in near])
            return
        else:
            verb = acts(gap.said) and _RELATIVE.match(gap.said) is None
            self._relate("does" if relation == "of" and content(gap.said) else relation, index, clause, verb)
            clause.group = [index]
        clause.previous = index

    def _leads(self, index: int, gap: Gap, relation: str, after: str, clause: Clause) -> bool:
        """Whether a thing is a new subject."""
        if clause.subject < 0 and not (clause.pending and relation and not gap.comma):
            return True
        if gap.there:
            return True
        if relation or not acts(after):
            return False
        if not gap.listed or (gap.comma and clause.acts and not self.things[index].plural):
            return True
        return clearly_acts(after) and self._opens(index, gap, clause)

    def _opens(self, index: int, gap: Gap, clause: Clause) -> bool:
        """Whether a thing behind "and" is no last one of a list: "with a jacket and a helmet is riding"."""
        if clause.previous == clause.subject and not clause.acts:  # "a cup and two plates are on the table"
            return False
        if not self._to[clause.previous]:
            return True
        return gap.comma and (self.things[index].definite or self.things[index].plural)

    def _lead(self, index: int, clause: Clause) -> None:
        """ "Behind her, there is a flag": what stands in front is said of the subject, and so is its place."""
        for relation, at in clause.pending:
            self._link([(index, relation, at)], sure=len(clause.pending) == 1)
            spot = self.things[at].spot
            if spot is not None and at != index and self.things[index].spot is None:
                self.things[index] = self.things[index]._replace(spot=spot)
                self.things[at] = self.things[at]._replace(spot=None)
        clause.begin(index)

    def _relate(self, relation: str, index: int, clause: Clause, verb: bool = False) -> None:
        """Of the thing before with its list, of what that is a part of, of the subject; a verb of the subject alone."""
        previous = clause.previous
        group = clause.group[-_MOST:] if clause.group and clause.group[-1] == previous else []
        left = [clause.subject] if not relation else [previous] if relation == "of" else [*group, previous]
        if relation in ("has", "in"):
            left += [x.a for x in self._to[previous][-_MOST:] if x.relation == "of"]
            left += [x.b for x in self._from[previous][-_MOST:] if x.relation == "of"]
        left += [clause.subject] if relation != "of" else []
        left = [clause.subject] if verb and relation and clause.subject >= 0 else left
        left = [at for at in dict.fromkeys(left) if at >= 0]
        self._link([(at, relation or "does", index) for at in left], sure=len(left) == 1 and bool(relation))

    def _copies(self, previous: int, index: int) -> list[tuple[int, str, int]]:
        """A listed thing stands in the relations of the one before it, or of what has that one."""
        ends = [(index, x.relation, x.b) for x in self._from[previous][-_MOST:]]
        at, seen = previous, {previous}
        while len(seen) < 5:
            ends += [(x.a, x.relation, index) for x in self._to[at][-_MOST:]]
            above = next((x.a for x in self._to[at][:_MOST] if x.relation != "of" and x.a not in seen), -1)
            if above < 0:
                break
            at = above
            seen.add(at)
        return list(dict.fromkeys(ends))

    def _link(self, ends: Iterable[tuple[int, str, int]], sure: bool = False) -> None:
        """One claim."""
        self._claims += 1
        for a, relation, b in ends:
            if a != b and a >= 0 and b >= 0:
                link = Link(a, relation, b, self._claims, self._guess, sure and not self._guess)
                self.links.append(link)
                self._from[a].append(link)
                self._to[b].append(link)

    # ---- attributes ------------------------------------------------------------------------------------------------

    def _say(self, words: str, clause: Clause) -> None:
        """What follows "is" is said of the subject; "that is ..." and colours and materials without a verb of the thing
        right before: "stars, white and blue", "a table made of wood"."""
        words = _DEGREE.sub(" ", _GROUND.split(words)[0])
        if clause.previous < 0 or not words.strip():
            return
        copula = COPULA.search(words)
        everything = content(words)
        told = frozenset(content(words[copula.end() :]) if copula else (w for w in everything if readings(w)))
        told = frozenset(w for w in told if not (w.endswith("s") and is_verb(w)))  # "a boat that is white lies there"
        if copula and re.search(r",\W*~", words[: copula.start()]):  # a quotation is
            told = frozenset[str]()
        for_head = copula is not None and _RELATIVE.match(words) is None
        partly = re.search(r"\b(?:which|whom|them)\b", words[: copula.start()]) if copula else words.lstrip()[:1] == ","
        aside = told if partly else frozenset[str]()
        self._update(clause.head, told if for_head else frozenset(), frozenset(everything), aside)
        self._update(clause.previous, frozenset() if for_head else told, frozenset(everything), aside)

    def _update(
        self, at: int, said: frozenset[str], loose: frozenset[str], aside: frozenset[str] = frozenset()
    ) -> None:
        thing = self.things[at]
        self.things[at] = thing._replace(said=thing.said | said, loose=thing.loose | loose, aside=thing.aside | aside)

    def carry(self) -> None:
        """ "has a dark purple color": what a colour is like, its thing is like; "The color is ..." tells of what the
        sentence before spoke of."""
        for at, thing in enumerate(self.things):
            if thing.noun in CARRIERS:
                holders = {x.a for x in self._to[at] if x.relation in ("has", "in", "of", "does")}
                of = [
                    x.b for x in self._from[at] if x.relation == "of"
                ]  # "the shape of the box", "in the shape of a star"
                likes = of if any(x.relation == "in" for x in self._to[at]) else []
                holders |= set(of) - set(likes)
                start, end = self._starts[max(0, thing.sentence - 1)], self._starts[thing.sentence]
                for holder in holders or range(start, end):
                    self._update(holder, thing.looks, frozenset())
                self._link([(holder, "of", like) for holder in holders for like in likes])


def _span(item: Item) -> tuple[int, int]:
    return (item.start, item.end) if isinstance(item, NounPhrase) else item
