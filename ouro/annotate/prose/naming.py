"""Noun phrases as things: which name one, which tell how another is, and what a phrase names beside its noun."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ouro.annotate.english.attributes import readings
from ouro.annotate.english.chunks import DETERMINERS, STOP, WORD, is_adjective
from ouro.annotate.english.free_text import NounPhrase
from ouro.annotate.english.kinds import is_kind_of, is_known, kinds_of, noun
from ouro.annotate.english.mentions import Spot, read_spot
from ouro.annotate.english.phrases import NUMBERS, POSSESSIVES, is_plural, singular
from ouro.annotate.prose.gaps import PLACE
from ouro.annotate.prose.likeness import is_colour
from ouro.annotate.prose.things import AREAS, CARRIERS, Thing, without_shades

_COMPOUND = re.compile(r"\b(?P<number>[a-z]+|\d{1,4})-(?P<noun>[a-z]{3,})\b")
_PART = re.compile(r"\b(?P<look>[a-z]+)-(?P<part>[a-z]{3,}d)\b")  # "white-bordered"
_VAGUE = re.compile(
    r"\b(?:several|many|numerous|multiple|various|few|countless|lots|plenty|dozens|hundreds|thousands)\b"
)
_OTHER = re.compile(r"(?:\w+ )?(?:an)?other\b")
_PLURAL = re.compile(r"\s+([a-z]{3,}s)\b")
_PICTURES: Final = frozenset("picture photo photograph frame".split())
_LED: Final = (" in", " on", " at", " to", " of", " from")


class Extra(NamedTuple):
    """A thing that a phrase names beside its own, and its relations to that one: (own first?, relation)."""

    thing: Thing
    relations: tuple[tuple[bool, str], ...]


def names_thing(phrase: NounPhrase, masked: str) -> bool:
    """Whether a phrase names a thing: no place in the picture, attribute, "that reads" or "the smaller (one)"."""
    led = masked[max(0, phrase.start - 9) : phrase.start].rstrip().lower().endswith(_LED)
    ground = phrase.noun in ("background", "foreground") and (bool(phrase.looks) or not led)
    ground = ground or (phrase.noun in _PICTURES and _is_in_picture(phrase, masked))
    if phrase.noun == "overall" or (phrase.noun in ("little", "bit") and phrase.determiner == "a"):
        return False
    if phrase.noun == "camera" and (not phrase.definite or len(phrase.words) > 1):
        return True
    if phrase.noun in AREAS and not ground and (led or not phrase.determiner or not set(phrase.of) - AREAS):
        return False
    if (phrase.determiner == "that" and phrase.plural) or phrase.noun.isdecimal():
        return False
    return masked[phrase.end : phrase.end + 4] != " one" and not _is_attribute(phrase)


def _is_in_picture(phrase: NounPhrase, masked: str) -> bool:
    """ "three framed pictures", "the photo on the left", "the frame of the mirror": things, and not the picture."""
    of = phrase.noun == "frame" and masked[phrase.end : phrase.end + 4] == " of "
    return (
        phrase.plural
        or len(phrase.words) > 1
        or of
        or (phrase.definite and spot_behind(masked, phrase.end) is not None)
    )


def _is_attribute(phrase: NounPhrase) -> bool:
    """ "a deep blue", "made of metal", "formal": words that tell how the thing before is."""
    word = phrase.words[-1] if phrase.words else ""
    twice = len(phrase.words) > 1 and is_colour(phrase.words[-2])  # "white cream"
    fruit = phrase.words == (word,) and phrase.determiner in ("a", "an", *NUMBERS) and bool(kinds_of(word))
    colour = is_colour(word) and not twice and not fruit
    made = bool(readings(word)) and phrase.link in ("of", "from", "in") and not phrase.plural and not phrase.determiner
    bare = not phrase.determiner and not phrase.plural and phrase.noun == word and is_adjective(word)
    return (colour and len(phrase.words) <= 3) or made or bare


def make_thing(phrase: NounPhrase, sentence: int, masked: str) -> Thing:
    """The thing that a phrase names."""
    phrase = _with_plural(phrase, masked)
    text = masked[phrase.start : phrase.end].lower()
    length = len(phrase.noun.partition(" of ")[0].split())
    before = [w for w in phrase.words[: max(0, len(phrase.words) - length)] if w not in STOP and w != "and"]
    before = [w for w in before if not _part_of(w)]
    before += [w for w in phrase.words[len(phrase.words) - length : -1] if readings(w)]  # "paper plates" are of paper
    shades = frozenset(w for w in phrase.of if readings(w)) if phrase.noun in CARRIERS else frozenset[str]()
    return Thing(
        phrase.start, phrase.end, phrase.noun, phrase.words, frozenset(without_shades(before)), sentence, said=shades,
        number=2 if phrase.determiner == "both" and phrase.plural else phrase.number,
        vague=_VAGUE.match(text) is not None, plural=phrase.plural,
        other=_OTHER.match(text) is not None, 
        definite=phrase.definite or phrase.determiner in POSSESSIVES, negated=phrase.negated,
        spot=phrase.spot or spot_behind(masked, phrase.end),
    )  # fmt: skip


def _with_plural(phrase: NounPhrase, masked: str) -> NounPhrase:
    """ "two rocket boosters", "three taxis": behind a number stands a plural, whatever the tables know."""
    if (phrase.number or 0) < 2 or phrase.plural:
        return phrase
    if phrase.noun.endswith("s"):
        return phrase._replace(noun=phrase.noun[:-1], plural=True)
    cut = _PLURAL.match(masked, phrase.end)
    if cut is None:
        return phrase
    words = (*phrase.words, cut[1].lower())
    return phrase._replace(end=cut.end(), words=words, noun=noun(" ".join(words)), plural=True)


def spot_behind(masked: str, end: int) -> Spot | None:
    place = PLACE.match(masked, min(end + 1, len(masked)))
    spot = read_spot(place["area"]) if place else (None, None)
    return spot if spot != (None, None) else None


def extras_of(phrase: NounPhrase, sentence: int, masked: str) -> list[Extra]:
    """Owners ("the cat's eye"), counted parts ("a three-story house"), likenesses ("a heart-shaped box") and groups
    ("three rows of ribbons")."""
    text = masked[phrase.start : phrase.end].lower()
    owners = [w[:-2] for w in phrase.words if w.endswith(("'s", "’s")) and len(w) > 3]
    found = [
        Extra(Thing(phrase.start, phrase.end, noun(w), (w,), frozenset(), sentence), ((False, "has"),)) for w in owners
    ]
    for match in _COMPOUND.finditer(text):
        n = _number(match["number"])
        if n is not None:
            span = phrase.start + match.start(), phrase.start + match.end()
            word = match["noun"]
            word = next((w for w in (word[:-2], word[:-1]) if word.endswith("ed") and is_known(w)), word)
            part = Thing(*span, noun(word), (word,), frozenset(), sentence, number=n, plural=n > 1)
            found.append(Extra(part, ((True, "has"),)))
    for match in _PART.finditer(text):
        if part := _part_of(match.group()):
            span, look = (phrase.start + match.start(), phrase.start + match.end()), frozenset([match["look"]])
            found.append(Extra(Thing(*span, noun(part), (part,), look, sentence), ((True, "has"),)))
    likes = [w.removesuffix("-shaped") for w in phrase.words if w.endswith("-shaped")]
    found += [
        Extra(Thing(phrase.start, phrase.end, noun(w), (w,), frozenset(), sentence), ((True, "of"),))
        for w in likes
        if is_known(w)
    ]
    return found + _group(phrase, text, sentence)


def _part_of(word: str) -> str:
    """The part that an adjective tells of: of "gold-framed" the frame; "" of "gold-coloured", "red"."""
    match = _PART.fullmatch(word)
    if match is None or match["look"] in NUMBERS or not readings(match["look"]):
        return ""
    ends = (match["part"][:-2], match["part"][:-1])
    return next((p for p in ends if p not in CARRIERS and is_known(p)), "")


def _group(phrase: NounPhrase, text: str, sentence: int) -> list[Extra]:
    head = text.partition(" of ")[0].split()
    if not phrase.group or not head or head[-1] in DETERMINERS:
        return []
    number = next((n for w in head[:-1] if (n := _number(w)) is not None), None)
    looks = frozenset(w for w in head[:-1] if w not in DETERMINERS)
    span = phrase.start, phrase.start + len(" ".join(head))
    name = singular(head[-1])
    thing = Thing(*span, name, (head[-1],), looks, sentence, number=number, plural=is_plural(head[-1]))
    return [Extra(thing, ((False, "of"), (True, "in")))]


def _number(word: str) -> int | None:
    if word in ("a", "an", "another"):
        return None
    return int(word) if word.isdecimal() and len(word) < 5 else NUMBERS.get(word)


def first_word(phrase: NounPhrase, masked: str) -> str:
    """The first word of a phrase, determiners included."""
    found = WORD.search(masked, phrase.start, phrase.end)
    return found.group().lower() if found else ""


def is_person(thing: Thing) -> bool:
    return thing.noun == "person" or is_kind_of(thing.noun, "person")
