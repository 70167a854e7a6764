"""When two words, things, places, relations or quotations say the same."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from ouro.annotate.english.attributes import exclude_each_other
from ouro.annotate.english.attributes import readings as attribute_readings
from ouro.annotate.english.kinds import kinds_of
from ouro.annotate.english.mentions import Spot, apart
from ouro.annotate.prose.things import Thing, stem

_LIKE: Final = {"in": ("in", "of"), "has": ("has", "of"), "of": ("of", "in", "has")}
_PLACES: Final = frozenset("left right above below front behind than under".split())
# Adjectives of one meaning that the attributes' families lack; ours, from everyday English.
_LOOKS: Final = (
    "round circular rounded", "shiny glossy polished", "transparent clear see-through", "rear back", "upper top",
    "lower bottom", "big large huge", "small tiny little", "old elderly aged", "blurred blurry", "ornate decorated",
    "empty unoccupied vacant", "full filled", "sliced cut chopped", "bent curved", "grassy grass", "sunny sunlit",
)  # fmt: skip
_LIVING: Final = frozenset("person adult child people animal crowd family".split())
# Values that exclude each other beside those of english.attributes, families by ";".
_VALUES: Final = {
    "shape": "round circular; oval elliptical; square; rectangular oblong; triangular; hexagonal; octagonal",
    "material": "rubber; bamboo; wax; foam",
    "age": "old elderly aged ancient; young youthful; new",
    "wetness": "wet damp soaked; dry",
    "sharpness": "straight; curly wavy",
}
_POSTURES: Final = (
    "sit seat perch; stand; lie; kneel; crouch squat; walk stroll; run jog sprint; fly; swim; jump leap".split(";")
)
_METALS: Final = "brass bronze copper tin".split()
_STATIC: Final = frozenset(range(5))  # of the postures
_BY_WORD: Final = dict.fromkeys(_METALS, next(iter(attribute_readings("metal")))) | {
    word: (kind, 100 + number)
    for kind, families in _VALUES.items()
    for number, family in enumerate(families.split(";"))
    for word in family.split()
}
_POSTURE: Final = {stem(word): number for number, family in enumerate(_POSTURES) for word in family.split()}
SYNONYMS: Final = {word: frozenset(words.split()) for words in _LOOKS for word in words.split()}


@lru_cache(maxsize=65536)
def readings(word: str) -> frozenset[tuple[str, int]]:
    """What kinds of attribute a word tells, and which family of each: none for other words."""
    return attribute_readings(word) or frozenset([_BY_WORD[word]] if word in _BY_WORD else [])


def postures_of(words: Iterable[str]) -> frozenset[int]:
    """How someone sits, stands, lies or moves: one number for each that the words tell."""
    return frozenset(_POSTURE[root] for root in map(stem, words) if root in _POSTURE)


def excludes_posture(told: frozenset[int], posture: frozenset[int]) -> bool:
    """Whether who is told to be so is not in that posture: who sits does not stand or run; runs and walks are one."""
    return bool(told) and bool(posture) and not posture & told and (posture <= _STATIC or told <= _STATIC)


@lru_cache(maxsize=65536)
def same_look(a: str, b: str) -> bool:
    """Whether two words tell one attribute: gold and golden, wooden and wood, orange-red and orange."""
    return stem(a) == stem(b) or not readings(a).isdisjoint(readings(b)) or b in SYNONYMS.get(a, ())


def has_look(word: str, thing: Thing) -> bool:
    """Whether anything that is said of a thing tells the attribute."""
    return any(same_look(word, other) for other in thing.looks | thing.loose)


def is_living(noun: str) -> bool:
    """Whether a noun names people or an animal."""
    return not _LIVING.isdisjoint(kinds_of(noun) | {noun})


def is_colour(word: str) -> bool:
    """Whether a word tells a colour."""
    return any(kind == "color" for kind, _ in readings(word))


def kinds_told(thing: Thing) -> frozenset[str]:
    """Of what a thing's attributes tell: of its colour, its size."""
    return frozenset(kind for word in thing.looks for kind, _ in readings(word))


def opposed(a: Thing, b: Thing) -> bool:
    """Whether words of place or order tell the two apart: front and rear, first and second."""
    return exclude_each_other(a.modifiers, b.modifiers)


def clashes(a: Thing, b: Thing) -> bool:
    """Whether one kind of attribute (the colour) is told differently of the two."""
    mine, yours = (frozenset(r for w in t.looks for r in readings(w)) for t in (a, b))
    shared = {kind for kind, _ in mine} & {kind for kind, _ in yours}
    return any(not {r for r in mine if r[0] == kind} & yours for kind in shared)


def differs(a: Thing, b: Thing) -> bool:
    """Whether one kind of attribute (the colour) is told differently of the two, or all modifiers are others."""
    others = bool(a.modifiers) and bool(b.modifiers) and not any(has_look(w, b) for w in a.modifiers)
    return clashes(a, b) or others


def fits(relation: str, told: str) -> bool:
    """Whether what is told of two things bears out a relation; "does" (a verb) fits all but places."""
    if relation == told or told in _LIKE.get(relation, ()):
        return True
    return "does" in (relation, told) and not {relation, told} & _PLACES


def near_spot(wanted: Spot, spots: Iterable[Spot]) -> bool:
    """Whether a place is one of those, or next to one on one axis; a column tells nothing of a row."""
    for spot in spots:
        known = any(x is not None and y is not None for x, y in zip(wanted, spot, strict=True))
        steps = apart(wanted, spot) if known else None
        if steps is not None and steps <= 1:
            return True
    return False
