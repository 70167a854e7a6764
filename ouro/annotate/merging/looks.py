"""What a description says of the looks and the number of each thing that it tells of, ready to be compared."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from ouro.annotate.english.attributes import SHADES, readings
from ouro.annotate.english.chunks import WORD
from ouro.annotate.english.free_text import NounPhrase, read_phrases
from ouro.annotate.merging.things import Thing, read_things

KINDS: Final = ("color", "material", "pattern", "state")
_COLOURS = frozenset("color colour hue shade tone coloring finish".split())
# What a thing shows to the outside: its colour is the thing's.
_COVERS = frozenset("shell exterior body surface casing housing case skin fur coat petal paint outside finish".split())
_AFTER = 60  # characters behind a phrase in which "is dark red" may follow
_VAGUE: Final = {
    "few": 0, "some": 1, "several": 1, "multiple": 1, "various": 1, "many": 2, "numerous": 2, "countless": 2,
}  # fmt: skip


class Look(NamedTuple):
    """One attribute: "dark red" of kind "color", with the families that its words say; said of a cover or of itself."""

    kind: str
    value: str
    families: frozenset[int]
    cover: bool = False


class Quantity(NamedTuple):
    """How many: in words, and as a number (None for "several") or a degree of vagueness."""

    words: str
    number: int | None
    degree: int = -1


@lru_cache(maxsize=1024)
def things_of(text: str) -> tuple[Thing, ...]:
    """`read_things`, remembered."""
    return tuple(read_things(text))


def looks_of(text: str, thing: Thing) -> list[Look]:
    """What the text says of a thing: before and behind its name, by its cover, by "it has a ... color"."""
    looks = [look for p in thing.phrases for look in _looks_in(text, p)]
    for phrase in _spoken_for(text, thing):
        looks += [look._replace(cover=phrase.noun not in _COLOURS) for look in _looks_in(text, phrase)]
    return list(dict.fromkeys(looks))


def _spoken_for(text: str, thing: Thing) -> Iterable[NounPhrase]:
    """Phrases whose looks are the thing's: "a dark purple color", "a white shell", "a silver engine block"."""
    phrases = read_phrases(text)
    yield from (p for p in phrases if thing.phrase.noun in p.modifiers)
    main = things_of(text)[0] == thing
    for at, phrase in enumerate(phrases):
        if phrase.noun in _COLOURS or phrase.noun in _COVERS:
            before = [p for p in phrases[:at] if p.sentence == phrase.sentence]
            if (before[-1] in thing.phrases) if before else main:
                yield phrase


def _looks_in(text: str, phrase: NounPhrase) -> list[Look]:
    words = [w.lower() for w in WORD.findall(text, phrase.start, min(len(text), phrase.end + _AFTER))]
    return [look for kind in KINDS if (look := _look(kind, words, phrase))]


def _look(kind: str, words: list[str], phrase: NounPhrase) -> Look | None:
    """The words of one kind, with the shades before them."""
    values: list[str] = []
    families: set[int] = set()
    look_words = {w for w in phrase.looks if any(k == kind for k, _ in readings(w))}
    for before, word in zip(["", *words], words, strict=False):
        if word in look_words:
            values.append(f"{before} {word}" if before in SHADES else word)
            families |= {family for k, family in readings(word) if k == kind}
            look_words.discard(word)
    cover = f" {phrase.words[-1]}" if phrase.noun in _COVERS else ""
    return Look(kind, " and ".join(values) + cover, frozenset(families)) if values else None


def differ(a: Look, b: Look) -> bool:
    """Whether two looks of one kind tell differently: other families, or other words; no other shade."""
    if a.families.isdisjoint(b.families):
        return True
    first, second = _bare(a), _bare(b)
    compound = any("-" in w for w in first ^ second)
    return a.kind == "color" and first.isdisjoint(second) and (compound or len(a.families | b.families) == 1)


def _bare(look: Look) -> frozenset[str]:
    return frozenset(w for w in look.value.split() if readings(w))


def quantity(phrases: Iterable[NounPhrase]) -> Quantity | None:
    """The most exact number that is said of several things; None for one thing, or where none is said."""
    quantities = [q for p in phrases if p.plural and (q := _quantity(p))]
    return min(quantities, key=lambda q: q.number is None, default=None)


def _quantity(phrase: NounPhrase) -> Quantity | None:
    if phrase.number is not None and phrase.number > 1:
        return Quantity(_NUMBER.get(phrase.number, str(phrase.number)), phrase.number)
    if phrase.determiner in _VAGUE:
        return Quantity(phrase.determiner, None, _VAGUE[phrase.determiner])
    word = next((w for w in phrase.words[:1] if w in _VAGUE), None)
    return Quantity(word, None, _VAGUE[word]) if word else None


_NUMBER: Final = dict(enumerate("zero one two three four five six seven eight nine ten eleven twelve".split()))
_TIMES = re.compile(
    r"\b(?:at|during|in the)\s+(?P<at>dawn|sunrise|dusk|sunset|night|noon|midday|morning|afternoon|evening)\b"
    r"|\b(?P<time>night|day)(?:-?time)\b|\bsunny day\b",
    re.IGNORECASE,
)


def time_of_day(text: str) -> str:
    """ "dusk" of "at dusk"; "" where none is said."""
    match = _TIMES.search(text)
    return (match["at"] or match["time"] or "day").lower() if match else ""
