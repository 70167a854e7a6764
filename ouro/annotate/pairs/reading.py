"""Parse a description to things: noun phrases with their attributes, places and holders. Knows no topic."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

from ouro.annotate.english.phrases import BOUNDARY, DETERMINERS, noun_phrases, singular

WORD = re.compile(r"[\w'-]+(?:\.\d+)?|[,;:]")
_QUOTED = re.compile(r'"[^"]*"|(?:(?<=\bsays )|(?<=\breads ))[^,;]*?(?= (?:at|in) the |[,;]|$| and (?:a|an|the) )')
NEGATIONS = frozenset("no not without never none nothing neither isn't aren't doesn't".split())
LITTLE = frozenset("a an the is are was were".split())
_LINKS = frozenset("that which of".split())
_HAS = frozenset("has have had holds contains includes carries features displays".split())
_WITH = frozenset("with holding containing including carrying featuring displaying".split())
_PREPOSITIONS = BOUNDARY - frozenset("and or with is are was were has have that which who while as says".split())
_IN = frozenset("on in at inside within upon".split())
_AREAS = frozenset("the side corner part half hand edge area far".split())
POSITIONS = {
    **{p: p for p in "top bottom left right center background foreground".split()},
    **{"middle": "center", "centre": "center", "upper": "top", "lower": "bottom"},
}
IMAGE = r"(?:the|this) (?:image|picture|photo|photograph|scene|frame)\b"
NUMBERS = {w: n for n, w in enumerate("zero one two three four five six seven eight nine ten".split())}
DETERMINED = {"the": 0, "a": 1, "an": 1, "another": 1, **NUMBERS}


class Thing(NamedTuple):
    """A noun phrase of a description with its attributes, places and holders."""

    head: str
    modifiers: frozenset[str]
    number: int | None  # 0: named before ("the"), None: not said ("some")
    rest: str  # its sentence after the phrase
    sentence: int
    places: list[frozenset[str]]  # {"top", "left"}
    holders: list[int]  # the things that have it, or that it is on or in

    @property
    def said(self) -> set[str]:
        """Its attributes: its modifiers and the words that directly follow ("is red", "made of glass")."""
        ends = (BOUNDARY | DETERMINERS | _HAS | {",", ";", ":"}) - _LINKS - {"is", "are", "was", "were"}
        follows = takewhile(lambda word: word not in ends, WORD.findall(self.rest))
        return {*self.modifiers, *follows} - LITTLE - _LINKS


class Told(NamedTuple):
    """A parsed description: things, sentences without negations (`core`), these without inscriptions, its words."""

    things: list[Thing]
    sentences: list[str]
    unquoted: list[str]
    words: Counter[str]


@lru_cache(maxsize=64)
def read(description: str) -> Told:
    """Parse a description; the last 64 results are cached."""
    things: list[Thing] = []
    sentences = [s for s in re.split(r"[.!?](?:\s+|$)", description.lower()) if s]
    for number, sentence in enumerate(sentences):
        _read_sentence(sentence, number, things)
    affirmed = [s for s in sentences if not NEGATIONS & set(s.split())]
    words = Counter(w for s in sentences for w in WORD.findall(s))
    words.update({singular(w) for w in words} - {*words})
    unquoted = [core(_QUOTED.sub("_", s)) for s in affirmed]
    return Told([_resolve(t, things) for t in things], [core(s) for s in affirmed], unquoted, words)


def _read_sentence(sentence: str, number: int, things: list[Thing]) -> None:
    """Append the things of a sentence up to its first negation.

    A thing holds what it "has", and what "," and "and" add; a thing "on" or "in" the next has that one as holder.
    A place ("at the top left") is that of the last thing and of the one before its preposition.
    """
    text = _QUOTED.sub(lambda m: "_" * len(m.group()), sentence)
    at, last, subject, owner = 0, -1, -1, -1  # indices into things; subject: the last thing behind no preposition
    for phrase in noun_phrases(text):
        gap = re.findall(r"[\w']+", text[at : phrase.start])
        link, at = gap[-1] if gap else "", phrase.end
        if NEGATIONS & {*gap, *phrase.words}:
            return
        place = position(phrase.words) if phrase.words[0] == "the" else frozenset[str]()
        if place:
            of_a_thing = re.match(rf" of (?!{IMAGE})", text[at:])
            for i in {subject, last} - {-1} if link in _IN | {"to"} and not of_a_thing else ():
                things[i].places.append(place)
            continue
        quantity = 0 if link == "the" else DETERMINED.get(phrase.words[0])
        is_listed = set(gap) <= {"and", "or"} and quantity != 0
        possessives = _HAS & set(gap) or _WITH & set(gap)
        if possessives:
            owner = subject if _HAS & set(gap) else last
        elif link in _IN and last >= 0:
            things[last].holders.append(len(things))
        elif not is_listed and link not in _PREPOSITIONS:
            owner = -1
        holders = [owner] if owner >= 0 and (possessives or is_listed) else []
        last = len(things)
        subject = subject if subject >= 0 and link in _PREPOSITIONS else last
        things.append(Thing(phrase.head, phrase.modifiers, quantity, sentence[at:], number, [], holders))


def _resolve(thing: Thing, things: Sequence[Thing]) -> Thing:
    """Resolve coreference: "the table" takes attributes, places and holders of the one thing that it can mean."""
    same = [t for t in things if t.head == thing.head and t.number != 0]
    same = [t for t in same if not thing.places or any(p in t.places for p in thing.places)]
    if thing.number != 0 or len(same) != 1:
        return thing
    places, holders = [*thing.places, *same[0].places], [*thing.holders, *same[0].holders]
    return thing._replace(modifiers=thing.modifiers | same[0].modifiers, places=places, holders=holders)


def position(words: Sequence[str]) -> frozenset[str]:
    """The place that "the upper left corner" names: {"top", "left"}; empty when it names a thing."""
    named = [w for w in "-".join(words).split("-") if w not in _AREAS]
    return frozenset(POSITIONS[w] for w in named) if all(w in POSITIONS for w in named) else frozenset()


def core(text: str) -> str:
    """A text's words in the singular, without articles and copulas, with its commas, between blanks."""
    return f" {' '.join(singular(w) for w in WORD.findall(text) if w not in LITTLE)} "


def content_words(text: str) -> set[str]:
    """A text's words without articles, copulas and prepositions of place."""
    return {w for w in WORD.findall(text) if w not in LITTLE | {"on", "in", "at", "to", ",", ";", ":"}}


def literal(text: str, description: Told) -> bool:
    """Whether a sentence of the description contains the text word for word, outside of inscriptions."""
    return any(core(text) in sentence for sentence in description.unquoted)


def spot(thing: Thing) -> tuple[int, int]:
    """Column and row of its last place: -1, 0 or 1 from the left and from the top."""
    place = thing.places[-1]
    return ("right" in place) - ("left" in place), ("bottom" in place) - ("top" in place)


def beside(description: Told, a: Thing, b: Thing, side: str) -> bool | None:
    """Whether `a` is on that side of `b`; None without places, without one holder, in one row or column."""
    homes = [
        {(description.things[h].head, *map(frozenset, description.things[h].places)) for h in t.holders} for t in (a, b)
    ]
    if (
        a is b
        or homes[0] != homes[1]
        or any(not t.places or t.places[-1] & {"background", "foreground"} for t in (a, b))
    ):
        return None
    axis = 1 if side in ("above", "below") else 0
    step = spot(a)[axis] - spot(b)[axis]
    return None if step == 0 else (step < 0) == (side in ("left of", "above"))
