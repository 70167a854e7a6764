"""Words of a statement: which tell nothing by themselves, which are said of an image, which tell looks."""

from __future__ import annotations

from typing import Final

from ouro.annotate.english.chunks import WORD, is_adjective
from ouro.annotate.english.kinds import is_known, kinds_of
from ouro.annotate.english.phrases import NUMBERS, singular
from ouro.annotate.prose.entities import ends_with
from ouro.annotate.prose.evidence import Evidence
from ouro.annotate.prose.likeness import SYNONYMS, readings
from ouro.annotate.prose.things import BODY, WRITINGS, Thing, stem

# Words that tell nothing by themselves: of the picture, of seeing, of being somewhere.
PLAIN: Final = frozenset(
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
        "mostly directly just only bear hold state known called name read say write written text word label color "
        "colour hue shade tone shape size kind type pair group row number addition within inside outside while "
        "where which overall prominently against out up down off dressed clad"
    ).split()
)

_NO_THINGS: Final = ("tion", "sion", "ness", "ance", "ence", "ism", "ship", "hood")
# Words that tell nothing that a picture shows: verbs that help, relate or report, nouns of no thing, opinions.
_VERBS: Final = (  # that help, relate or report
    "take get keep give lend bring call follow capture consist comprise mention portray warn title set mark serve "
    "belong involve mean allow let help add lead go come remain stay begin start end finish continue happen occur "
    "create complete complement suit match contrast emphasize highlight indicate suggest imply convey evoke "
    "express reflect represent symbolize illustrate demonstrate describe tell explain list count total separate "
    "divide split connect join link combine accompany support house equip furnish style manage try tend need want "
    "prepare ready engage enjoy focus concentrate spend face overlook dominate occupy border frame enclose flank "
    "outline slope protrude poke jut emerge peek point do "
).split()
_NOTHINGS: Final = frozenset(
    (
        "somebody someone anybody everybody everyone nobody direction season mind energy address closure activity "
        "action act event occasion moment time day date sense feeling mood atmosphere ambiance ambience impression "
        "style character activity identity majority possibility proximity vicinity balance harmony depth detail "
        "effect emphasis purpose function role usage way manner order sequence arrangement composition position "
        "location place spot space region zone width height length weight level amount quantity quality variety range "
        "rest remainder majority sum design layout setting surroundings environment scenery sight presence motion "
        "movement progress process preparation touch hint glimpse glow brightness light lighting daylight air weather "
        "warmth calm peace tranquility serenity beauty charm elegance joy happiness excitement interest attention "
        "tradition history past present future life story theme topic subject meaning message information content "
        "evidence outfit attire clothes clothing garment equipment gear "
    ).split()
)
_OPINIONS: Final = (
    "full bright clean clear calm peaceful quiet lively busy warm cozy beautiful pretty lovely nice elegant "
    "attractive striking remarkable distinctive notable typical classic simple modern overall general former "
    "latter last same similar different certain likely probable apparent probably apparently overall "
    "simultaneously respectively "
).split()
_GENERAL: Final = frozenset(stem(w) for w in (*_VERBS, *_NOTHINGS, *_OPINIONS))


def is_general(word: str) -> bool:
    """Whether a word tells nothing that a picture shows."""
    if _is_nothing(word) or (word.startswith("un") and word.endswith("ed") and not word.startswith("uni")):
        return True
    return stem(word) in _GENERAL and (word in _VERBS or not kinds_of(word))


def _is_nothing(noun: str) -> bool:
    return singular(noun) in _NOTHINGS or (noun.endswith(_NO_THINGS) and not kinds_of(noun))


def is_writing(after: str) -> bool:
    """Whether a text begins with a noun of what is written: a phone number, a brand name."""
    found = WORD.match(after.lower().lstrip())
    return found is not None and found.group() in WRITINGS


def can_be_shown(thing: Thing) -> bool:
    """Whether a noun names what a picture can show: of a kind in the table, or brought in as "an anchor"."""
    last = thing.noun.split()[-1]
    if _is_nothing(last) or last in WRITINGS:
        return False
    if last in BODY or readings(last) or kinds_of(thing.noun) | kinds_of(last):
        return True
    return not thing.definite and (thing.number is not None or (thing.plural and is_known(last)))


def is_named(evidence: Evidence, word: str, strict: bool) -> bool:
    """Whether anybody says the noun; what is only written in the picture is no thing of it, to be strict."""
    root = stem(word)
    if strict and singular(word) in evidence.modifiers and not any(singular(word) in n.split() for n in evidence.named):
        return False
    if singular(word) in evidence.nouns:
        return True
    if any(ends_with(noun, word) and len(noun) - len(word) > 3 for noun in evidence.named):
        return True  # a chalkboard is a board
    if strict:
        return root in evidence.words and len(root) > 3
    return root in evidence.words or root in evidence.read_words


def is_said(evidence: Evidence, word: str) -> bool:
    """Whether anybody says a word in any form, or a part of it, or one that means the same."""
    return any(_is_part_said(evidence, part) for part in (word, *word.split("-")))


def _is_part_said(evidence: Evidence, word: str) -> bool:
    root = stem(word)
    if root in evidence.words or root in evidence.read_words or root in PLAIN or word.isdecimal():
        return True
    alike = SYNONYMS.get(word, frozenset())
    return bool(readings(word) & evidence.colours) or any(stem(w) in evidence.words for w in alike)


def tells_looks(word: str) -> bool:
    """Whether a word is an attribute whose noun counts: a colour, a size, "rustic"; not "parked", not "three-story"."""
    if any(kind == "state" for kind, _ in readings(word)):
        return True
    if word.split("-")[0] in NUMBERS or word.isdecimal() or stem(word) in PLAIN:
        return False
    return bool(readings(word)) or (is_adjective(word) and not word.endswith(("ed", "ing", "ly")))
