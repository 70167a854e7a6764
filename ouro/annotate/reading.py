"""Free English text as things with attributes, numbers, places and relations, quotations and sentences.

What the guard of rewriting and the support of pairs compare: both a description and a statement about it are read by
this. By rules on `english.free_text`'s noun phrases, no parser, in linear time; meant for prose as vision-language
models write it. Where a relation could belong to the thing before it or to the subject, it is noted for both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from ouro.annotate.english.attributes import readings
from ouro.annotate.english.chunks import DETERMINERS, STOP, WORD, is_adjective
from ouro.annotate.english.free_text import NounPhrase, read_phrases
from ouro.annotate.english.kinds import is_kind_of, noun
from ouro.annotate.english.mentions import Spot, read_spot
from ouro.annotate.english.phrases import NUMBERS, is_plural, sentences, singular

# What a gap between two things says of them: (first, relation, second). Longer ones stand first.
_AREA = r"(?:left|right|top|bottom|upper|lower|center|centre|middle|background|foreground|distance|front|back)"
_BEFORE = r"(?:(?:on|to|at|in)\s+(?:the|its|her|his)\s+)?"
_RELATIONS: Final = (
    ("front", r"in front of"),
    ("behind", r"behind|at the back of"),
    ("left", rf"{_BEFORE}left(?:[- ]hand)?(?: side)? of"),
    ("right", rf"{_BEFORE}right(?:[- ]hand)? (?:side )?of"),
    ("in", rf"(?:in|on|at|along|near)\s+(?:the|its)\s+(?:\w+\s+)?(?:{_AREA}|side|edge|end|middle)(?:\s+(?:side|part|corner|half))?\s+of"),
    ("above", r"above|over"),
    ("below", r"below|under|underneath|beneath"),
    ("beside", r"next to|beside|near|surround\w*(?: by| with)?|alongside|adjacent to|close to|along|against|around|between|among"),
    ("has", r"(?:filled|covered|topped|decorated|adorned|equipped) (?:with|by|in)|made (?:of|from|out of)|with|has|have|had"
            r"|having|featur\w+|includ\w+|contain\w*|wears?|wearing|holds?|holding|carr(?:y|ies|ying)|bears?|bearing"
            r"|displays?|displaying|consist\w* of"),
    ("in", r"on top of|on|upon|atop|onto|in|inside|within|into|at|attached to|across|through|throughout"),
    ("of", r"of|for"),
    ("beside", r"by|from|toward|towards|to"),
)
_TOGETHER = re.compile(r"\b(?:along with|together with|as well as|in addition to)\b")
_RELATION = re.compile("|".join(rf"(?P<r{n}>\b(?:{words})\b)" for n, (_, words) in enumerate(_RELATIONS)))
_COPULA = re.compile(r"\b(?:is|are|was|were|appears?|seems?|looks?|be)\b")
_FINITE = re.compile(r"\s*,?\s*(?:(?:that|which|who|can|could|also|all|both|each)\s+)*(?:is|are|was|were|has|have|had|can|could|appears?|seems?|looks?|[a-z]+s)\b")
_HAS = re.compile(r"\s*,?\s*(?:is|are|was|were|has|have|had|can|could|appears?|seems?|looks?)\b")
_CLAUSE = re.compile(r"[;:]|\bwhile\b|\bwhereas\b|\bbut\b")
_LISTED = re.compile(r"\s*(?:,|and|or|as well as|along with|\s)*\s*")
_PLACE = re.compile(
    rf"\b(?:on|in|at|to|near|along|towards?|from)\s+(?:(?:the|its|his|her)\s+)?(?:far\s+|very\s+)?{_AREA}(?:[- ]{_AREA})?(?:[- ]hand)?"
    r"(?:\s+(?:side|corner|half|part|edge|area|portion|third|section))?"
    r"(?:\s+of\s+(?:the|this)\s+(?:image|picture|photo|photograph|scene|frame|view))?"
    rf"(?=\s*(?:$|[.,;:!?)\"])|\s+(?:and|{'|'.join(sorted((STOP | DETERMINERS) - {'of'}))})\b)",
    re.IGNORECASE,
)
_THERE = re.compile(r"\b(?:there|here)\b")
_ONE = re.compile(r"\b(?:the|a|another|other)\s+(?!other\b|only\b)([a-z-]+)\s+one\Z", re.IGNORECASE)
_PRONOUN = re.compile(r"\b(?:it|its|itself|he|she|him|his|her|they|them|their|one)\b", re.IGNORECASE)
_PERSONAL = frozenset("he she him his her".split())
_COMPOUND = re.compile(r"\b(?P<number>[a-z]+|\d+)-(?P<noun>[a-z]{3,})\b")
_MORE = re.compile(r"\b(?:several|many|numerous|multiple|various|few|countless|lots|plenty|dozens|hundreds|thousands)\b")
_BARE_NUMBER = re.compile(rf"\b(?P<number>{'|'.join(w for w in NUMBERS if w not in ('a', 'an', 'another'))}|\d{{1,3}})\b(?=\s+(?:on|in|at|of|to)\b)")
_QUOTED = re.compile(
    r"\"(?P<a>[^\"]*)\"|“(?P<b>[^”]*)”|`(?P<c>[^`]*)`"
    r"|\b(?:says?|saying|reads?|reading):?\s+(?P<d>[^\s\"“`,;.][^\"“`,;\n]*?)(?=\s+(?:at|in|on) (?:the|its) |\s+and (?:a|an|the) |[,;]|\.?\s*$|\.\s)"
)
# Nouns by which a text speaks of the picture or of a place in it: no things of their own.
AREAS: Final = frozenset(
    "top bottom left right center centre middle side front back foreground background distance image picture photo "
    "photograph frame scene view shot close-up closeup part portion section half camera viewer".split()
)
CARRIERS: Final = frozenset(
    "color colour hue shade tone tint finish texture appearance shape pattern look coloring surface design expression shades".split()
)
_SHADES: Final = frozenset("dark light deep bright pale vivid soft".split())


class Thing(NamedTuple):
    """What a text names: characters [start, end), its noun in the singular, and what is said of it.

    `modifiers`: the words before the noun; `said`: what "is" tells of it, and colours behind it; `loose`: other words of
    its clause; `number`: None where the text does not say; `vague`: "several"; `spot`: column and row in what shows it.
    """

    start: int
    end: int
    noun: str
    words: tuple[str, ...]
    modifiers: frozenset[str]
    said: frozenset[str] = frozenset()
    loose: frozenset[str] = frozenset()
    number: int | None = None
    vague: bool = False
    plural: bool = False
    other: bool = False
    definite: bool = False
    spot: Spot | None = None
    sentence: int = 0
    negated: bool = False

    @property
    def looks(self) -> frozenset[str]:
        return self.modifiers | self.said


class Link(NamedTuple):
    """Thing `a` is in such a relation to thing `b` (indices); links of one `claim` are readings of one statement, of
    which one has to hold."""

    a: int
    relation: str
    b: int
    claim: int = 0


class Reading(NamedTuple):
    """A read text: its things in order, their links, quotations as characters [start, end), sentences the same."""

    text: str
    things: tuple[Thing, ...]
    links: tuple[Link, ...]
    quotations: tuple[tuple[int, int], ...]
    sentences: tuple[tuple[int, int], ...]
    prose: str  # the text without what is quoted, equally long
    words: frozenset[str]  # its stems


@lru_cache(maxsize=2048)
def read(text: str) -> Reading:
    """Read a text; the last 2,048 results are kept."""
    quotations = tuple(m.span(next(g for g in "abcd" if m[g] is not None)) for m in _QUOTED.finditer(text))
    masked = _masked(text, quotations)
    spans = tuple(sentences(masked))
    reader = _Reader(masked, read_phrases(masked))
    for number, (start, end) in enumerate(spans):
        reader.read_sentence(number, start, end)
    reader.carry()
    words = stems(masked)
    return Reading(text, tuple(reader.things), tuple(dict.fromkeys(reader.links)), quotations, spans, masked, words)


def _masked(text: str, quotations: Sequence[tuple[int, int]]) -> str:
    """The text, equally long, without what is quoted; a quotation that ends with a sentence's mark ends the sentence."""
    pieces: list[str] = []
    at = 0
    for start, end in quotations:
        stop = end > start and text[end - 1] in ".!?" and re.match(r"[\"”`]\s+[A-Z]|[\"”`]\s*$", text[end:]) is not None
        pieces += [text[at:start], "~" * (end - start - stop), "." * stop]
        at = end
    return "".join([*pieces, text[at:]]).translate(_MARKS)


def stems(text: str) -> frozenset[str]:
    """The stems of a text's words and of the parts of those with hyphens."""
    return frozenset(stem(p) for w in WORD.findall(text.lower()) for p in (w, *w.split("-")))


_MARKS = str.maketrans(dict.fromkeys("\"“”`", ")"))
_PLURAL = re.compile(r"\s+([a-z]{3,}s)\b")
_ENDS = ("ings", "ing", "ies", "ied", "edly", "ed", "es", "s", "er", "est", "ly", "en", "y", "e")


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A word without its ending, so that forms of one word are equal: "parked", "parks"; "wood", "wooden"."""
    word = singular(word.lower().replace("’", "'").removesuffix("'s").rstrip("'"))
    for end in _ENDS:
        if word.endswith(end) and len(word) - len(end) >= 3:
            root = word[: -len(end)]
            if end in ("ing", "ings", "ed", "er", "est") and root[-1] == root[-2] and root[-1] not in "sl":
                root = root[:-1]
            return root.rstrip("iye") if len(root) > 3 else root
    return word


class _Reader:
    """Reads sentence by sentence; pronouns speak of what came before."""

    def __init__(self, masked: str, phrases: Sequence[NounPhrase]) -> None:
        self.masked = masked
        self.lower = _PLACE.sub(lambda m: " " * len(m.group()), masked.lower())  # places are in the phrases
        self.things: list[Thing] = []
        self.links: list[Link] = []
        self._phrases, self._at = phrases, 0
        self._topics: list[int] = []  # the subjects of the sentence before
        self._first = -1  # the subject of the text
        self._of: dict[int, list[int]] = {}  # the links of each thing
        self._claims = 0

    def read_sentence(self, number: int, start: int, end: int) -> None:
        """Append the things and links of characters [start, end)."""
        subject, previous, group, pending = -1, -1, list[int](), list[tuple[str, int]]()
        subjects: list[int] = []
        last = start
        items = [*self._items(start, end)]
        for position, item in enumerate(items):
            begin, stop = (item.start, item.end) if isinstance(item, NounPhrase) else item
            gap = self.lower[last:begin]
            subjects += [subject] if subject >= 0 else []
            together = _TOGETHER.search(gap) is not None
            gap = _TOGETHER.sub(" and ", gap)
            clause = _CLAUSE.search(gap)
            if clause:
                self._topics = list(dict.fromkeys(subjects)) or self._topics
                gap, subject, previous, pending = gap[clause.end() :], -1, -1, []
            index = self._add(item, number, subject)
            if index < 0:
                continue
            after = self.lower[stop : self._start(items, position + 1, end)]
            relation, before = _relation(gap)
            listed = previous >= 0 and not relation and (_LISTED.fullmatch(gap) is not None or before != gap)
            if previous >= 0:
                self._say(gap[: len(before)] if relation else gap, subject if subject >= 0 else previous, previous)
            acts = _FINITE.match(after) is not None
            heads = not relation and (previous < 0 or acts) or _THERE.search(gap) is not None
            if relation == "of" and previous < 0:
                relation = "in"
            if previous < 0 and relation and not _THERE.search(gap):
                pending.append((relation, index))
            elif heads and not (listed and subject >= 0 and not (_HAS.match(after) and self._opens(index, previous, gap))):
                self._lead(index, pending)
                pending, subject, group = [], index, [index]
            elif subject < 0 and pending and relation and "," not in gap and not _THERE.search(gap):
                self._relate(relation, index, -1, previous, [])  # "On the chest of the suit, ..."
            elif subject < 0:
                self._lead(index, pending)
                subject, group = index, [index]
            elif listed:
                if not together:
                    self._copy(previous, index)
                group.append(index)
            elif relation and not isinstance(item, NounPhrase):  # "a logo below it"
                near = [x for x in range(max(0, previous - 6), previous) if self.things[x].sentence == number]
                self._link([(previous, relation, x) for x in dict.fromkeys([index, *near])])
                last = stop
                continue
            else:
                self._relate(relation, index, subject, previous, group)
                group = [index]
            if previous < 0 and not relation:
                subject = index
            previous, last = index, stop
        if previous >= 0:
            self._say(self.lower[last:end], subject if subject >= 0 else previous, previous)
        subjects += [subject if subject >= 0 else previous] if subject >= 0 or previous >= 0 else []
        self._topics = list(dict.fromkeys(subjects)) or self._topics
        self._first = self._first if self._first >= 0 else next(iter(self._topics), -1)

    def carry(self) -> None:
        """ "has a dark purple color", "in a striking green color": what a colour is like, its thing is like; "The color
        is ..." tells of what the sentence before spoke of."""
        for at, thing in enumerate(self.things):
            if thing.noun not in CARRIERS:
                continue
            own = [x for x in self._own_links(at) if x.relation in ("has", "in", "of", "does")]
            holders = {x.a for x in own if x.b == at} | {x.b for x in own if x.a == at and x.relation == "of"}
            if not holders:
                holders = {n for n, t in enumerate(self.things) if 0 < thing.sentence - t.sentence < 2}
            for holder in holders:
                self._update(holder, said=thing.looks, loose=frozenset())

    def _opens(self, index: int, previous: int, gap: str) -> bool:
        """Whether a thing behind "and" is a new subject, no last one of a list: "a jacket and a helmet is riding"."""
        governed = any(x.b == previous for x in self._own_links(previous))
        return not governed or ("," in gap and (self.things[index].definite or self.things[index].plural))

    def _lead(self, index: int, pending: Sequence[tuple[str, int]]) -> None:
        """ "Behind her, there is a flag": what stands in front is said of the subject, and so is its place."""
        for relation, at in pending:
            self._link([(index, relation, at)])
            spot = self.things[at].spot
            if spot is not None and at != index and self.things[index].spot is None:
                self.things[index] = self.things[index]._replace(spot=spot)
                self.things[at] = self.things[at]._replace(spot=None)

    def _copy(self, previous: int, index: int) -> None:
        """A listed thing stands in the relations of the one before it."""
        ends: list[tuple[int, str, int]] = []
        at, seen = previous, {previous}
        while len(seen) < 5:
            own = self._own_links(at)
            ends += [(x.a, x.relation, index) for x in own if x.b == at]
            ends += [(index, x.relation, x.b) for x in own if x.a == at == previous]
            above = [x.a for x in own if x.b == at and x.relation != "of" and x.a not in seen]
            if not above:
                break
            at = above[0]
            seen.add(at)
        self._link(list(dict.fromkeys(ends)))

    def _own_links(self, at: int) -> list[Link]:
        return [self.links[n] for n in self._of.get(at, ())]

    def _link(self, ends: Sequence[tuple[int, str, int]]) -> None:
        self._claims += 1
        for a, relation, b in ends:
            if a != b and a >= 0 and b >= 0:
                for at in (a, b):
                    self._of.setdefault(at, []).append(len(self.links))
                self.links.append(Link(a, relation, b, self._claims))

    def _relate(self, relation: str, index: int, subject: int, previous: int, group: list[int]) -> None:
        left = [*group, previous] if previous in group else [previous]
        left = [subject] if not relation else [previous] if relation == "of" else [*left, subject]
        of = [x for x in self._own_links(previous) if x.relation == "of"]
        chain = [x.b if x.a == previous else x.a for x in of] if relation in ("has", "in") else []
        self._link([(at, relation or "does", index) for at in dict.fromkeys([*left, *chain])])

    def _items(self, start: int, end: int) -> Iterator[NounPhrase | tuple[int, int]]:
        """Phrases and pronouns of a sentence in order."""
        phrases: list[NounPhrase] = []
        while self._at < len(self._phrases) and self._phrases[self._at].start < end:
            phrases.append(self._phrases[self._at])
            self._at += 1
        pronouns = [m.span() for m in _PRONOUN.finditer(self.masked, start, end)]
        free = [s for s in pronouns if not any(p.start <= s[0] < p.end for p in phrases)]
        yield from sorted([*phrases, *free], key=lambda item: item.start if isinstance(item, NounPhrase) else item[0])

    @staticmethod
    def _start(items: Sequence[NounPhrase | tuple[int, int]], position: int, end: int) -> int:
        if position >= len(items):
            return end
        item = items[position]
        return item.start if isinstance(item, NounPhrase) else item[0]

    def _add(self, item: NounPhrase | tuple[int, int], number: int, subject: int) -> int:
        """The index of the thing that an item names, or speaks of again; -1 for an area or a mere attribute."""
        if not isinstance(item, NounPhrase):
            if named := _ONE.search(self.masked, max(0, item[0] - 24), item[1]):
                return self._add_one(named, number, subject)
            return self._antecedent(self.masked[slice(*item)].lower(), subject)
        led = self.masked[max(0, item.start - 9) : item.start].rstrip().lower().endswith((" in", " on", " at", " to", " of", " from"))
        ground = item.noun in ("background", "foreground") and (item.looks or not led)
        if item.noun in AREAS and not ground and (led or not item.determiner or not set(item.of) - AREAS):
            return -1
        if item.determiner == "that" and item.plural:  # "that reads"
            return -1
        if self.masked[item.end : item.end + 4] == " one":  # "the smaller one"
            return -1
        if self._is_attribute(item):
            return -1
        if (item.number or 0) > 1 and not item.plural and (cut := _PLURAL.match(self.masked, item.end)):  # "two rocket boosters"
            words = (*item.words, cut[1].lower())
            item = item._replace(end=cut.end(), words=words, noun=noun(" ".join(words)), plural=True)
        if (item.number or 0) > 1 and item.noun.endswith("s"):  # "taxis"
            item = item._replace(noun=item.noun[:-1], plural=True)
        self.things.append(_thing(item, number, self.masked[item.start : item.end].lower()))
        if item.spot is None and (place := _PLACE.match(self.masked, min(item.end + 1, len(self.masked)))):
            spot = read_spot(" ".join(w for w in WORD.findall(place.group().lower()) if re.fullmatch(_AREA, w)))
            self.things[-1] = self.things[-1]._replace(spot=spot if spot != (None, None) else None)
        if item.noun in CARRIERS:  # "shades of blue and green"
            self._update(len(self.things) - 1, frozenset(w for w in item.of if readings(w)), frozenset())
        index = len(self.things) - 1
        for owner in (w.removesuffix("'s").removesuffix("’s") for w in item.words if w.endswith(("'s", "’s"))):
            self.things.append(Thing(item.start, item.end, noun(owner), (owner,), frozenset(), sentence=number))
            self._link([(len(self.things) - 1, "has", index)])
        first = self.masked[item.start : item.end].lower().split()[0]
        if first in ("its", "his", "her", "their"):
            near = [x for x in range(max(0, index - 6), index) if self.things[x].sentence == number]
            owners = [self._antecedent(first, subject), *near, *self._topics, self._first]
            self._link([(at, "has", index) for at in dict.fromkeys(owners)])
        self._add_compounds(item, index, number)
        return index

    def _add_one(self, named: re.Match[str], number: int, subject: int) -> int:
        """ "The smaller one": another thing of the last one's name."""
        at = self._antecedent("one", subject)
        if at < 0:
            return -1
        noun_of = self.things[at].noun
        looks = frozenset([named[1].lower()])
        self.things.append(Thing(named.start(), named.end(), noun_of, (named[1].lower(), noun_of), looks, number=1, sentence=number, definite=True))
        return len(self.things) - 1

    def _add_compounds(self, item: NounPhrase, index: int, number: int) -> None:
        """ "a three-story house" has three stories; "three rows of ribbons" are rows."""
        text = self.masked[item.start : item.end].lower()
        for match in _COMPOUND.finditer(text):
            if (n := _number(match["number"])) is not None:
                span = item.start + match.start(), item.start + match.end()
                self.things.append(
                    Thing(*span, noun(match["noun"]), (match["noun"],), frozenset(), number=n, plural=n > 1, sentence=number)
                )
                self._link([(index, "has", len(self.things) - 1)])
        head = text.partition(" of ")[0].split()
        if item.group and head and head[-1] not in DETERMINERS:
            n = next((n for w in head[:-1] if (n := _number(w)) is not None), None)
            looks = frozenset(w for w in head[:-1] if w not in DETERMINERS)
            span = item.start, item.start + len(" ".join(head))
            self.things.append(
                Thing(*span, singular(head[-1]), (head[-1],), looks, number=n, plural=is_plural(head[-1]), sentence=number)
            )
            self._link([(len(self.things) - 1, "of", index), (index, "in", len(self.things) - 1)])

    def _is_attribute(self, item: NounPhrase) -> bool:
        """ "a deep blue", "made of metal", "formal": words that tell how a thing is, of the last one."""
        word = item.words[-1] if item.words else ""
        colour = any(kind == "color" for kind, _ in readings(word))
        made = bool(readings(word)) and item.link in ("of", "from", "in") and not item.plural
        bare = not item.determiner and not item.plural and item.noun == word and is_adjective(word)
        return (colour and len(item.words) <= 3) or made or bare

    def _antecedent(self, pronoun: str, subject: int) -> int:
        """What a pronoun speaks of: a person for "she", else the subject, else that of the sentence before."""
        if pronoun in _PERSONAL:
            people = [at for at, t in enumerate(self.things) if is_kind_of(t.noun, "person") or t.noun == "person"]
            if people:
                return people[0]
        return subject if subject >= 0 else next(iter(self._topics), -1)

    def _say(self, gap: str, subject: int, previous: int) -> None:
        """Note the words of a gap: what follows "is" of the subject, colours behind a thing of that."""
        copula = _COPULA.search(gap)
        told = _content(gap[copula.end() :] if copula else "")
        words = frozenset(_content(gap))
        lead = _content(gap)[:1]
        colours = frozenset(w for w in words if readings(w)) if not copula else frozenset[str]()
        direct = bool(lead) and bool(readings(lead[0]))  # "galaxies, white and blue", no "pole shows green"
        self._update(subject, said=frozenset(told) | (frozenset() if direct else colours), loose=words)
        self._update(previous, said=colours if direct else frozenset(), loose=words)

    def _update(self, at: int, said: frozenset[str], loose: frozenset[str]) -> None:
        thing = self.things[at]
        self.things[at] = thing._replace(said=thing.said | said, loose=thing.loose | loose)


def _relation(gap: str) -> tuple[str, str]:
    """The last relation that a gap names and what stands before it; "" for none."""
    found = None
    for found in _RELATION.finditer(gap):
        pass
    if found is None:
        return "", gap
    rest = gap[found.end() :]
    if found.start() and re.search(r"\w.*(?:,|\band\b)", rest):  # "in black and red and a logo": of what comes before
        return "", rest
    number = next(n for n in range(len(_RELATIONS)) if found[f"r{n}"] is not None)
    return _RELATIONS[number][0], gap[: found.start()]


def _content(text: str) -> list[str]:
    return _without_shades([w for w in WORD.findall(text) if w not in STOP and w not in DETERMINERS])


def _without_shades(words: Sequence[str]) -> list[str]:
    """Words without those that shade a colour: "dark red" -> "red"."""
    return [w for w, after in zip(words, [*words[1:], ""], strict=False) if w not in _SHADES or not readings(after)]


def _number(word: str) -> int | None:
    if word in ("a", "an", "another"):
        return None
    return int(word) if word.isdecimal() and len(word) < 5 else NUMBERS.get(word)


def _thing(phrase: NounPhrase, sentence: int, text: str) -> Thing:
    names = phrase.noun.partition(" of ")[0].split()
    modifiers = [w for w in phrase.words[: max(0, len(phrase.words) - len(names))] if w not in STOP and w != "and"]
    return Thing(
        phrase.start, phrase.end, phrase.noun, phrase.words, frozenset(_without_shades(modifiers)), number=phrase.number, vague=_MORE.match(text) is not None,
        plural=phrase.plural, other=re.match(r"(?:\w+ )?(?:an)?other\b", text) is not None, spot=phrase.spot,
        sentence=sentence, negated=phrase.negated, definite=phrase.definite,
    )  # fmt: skip
