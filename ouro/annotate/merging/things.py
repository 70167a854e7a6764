"""The two sides of object-name matching: the things that a description tells of, and the child that is looked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from ouro.annotate.cleaning import plain_text
from ouro.annotate.english.attributes import attribute, clashes, exclude_each_other
from ouro.annotate.english.free_text import NounPhrase, read_phrases
from ouro.annotate.english.kinds import is_kind_of, is_known, kinds_of, noun, same_thing
from ouro.annotate.english.mentions import Spot, exact_spot
from ouro.annotate.english.phrases import singular, words_of
from ouro.annotate.marks import find_marks, lead_in_end
from ouro.core.boxes import area, relative_position
from ouro.core.records import Box, Description, Region

# What descriptions name without naming a thing: the picture itself, its areas, how things look.
NO_THINGS: Final = frozenset(
    (
        "scene shot view background foreground backdrop side corner half center "
        "centre middle top bottom left right front back rear edge area distance focus color colour shade hue tone "
        "size shape appearance look style atmosphere mood depth effect feature detail quality kind type variety "
        "lot bit amount thing item others one time way place"
    ).split()
)
_PICTURES: Final = frozenset("image picture photo photograph frame screenshot".split())  # "the image" is the whole
# Words by which a text speaks again of what it has named more exactly.
_GENERAL: Final = frozenset(
    "building structure vehicle bike animal creature plant machine device person figure".split()
)
_QUOTATION = re.compile(r'"([^"]*)"|“([^”]*)”|`([^`]*)`')
_CLAUSE_END = re.compile(r"[.,;:!?]")
_LONGEST_NAME = 300  # characters of a name that are read


class Thing(NamedTuple):
    """A thing of a description: the phrase that brings it in, and those that speak of it again."""

    phrase: NounPhrase
    later_mentions: tuple[NounPhrase, ...] = ()
    context: frozenset[str] = frozenset()  # content words behind it in its clause: "in a red shirt"

    @property
    def phrases(self) -> tuple[NounPhrase, ...]:
        return (self.phrase, *self.later_mentions)

    @property
    def many(self) -> bool:
        return self.phrase.plural

    @property
    def looks(self) -> frozenset[str]:
        return frozenset[str]().union(*(p.looks for p in self.phrases))


class Named(NamedTuple):
    """A region to look for: what its object is called, and where and how large it is in the region that is searched."""

    region: Region
    name: NounPhrase
    owners: tuple[str, ...]  # what it is a part of: "cup" of "the handle of a cup", of "cup handle"
    looks: frozenset[str]
    words: frozenset[str]  # content words of its description
    spot: Spot
    size: float  # of the searched region, in 0..1


def read_things(text: str) -> list[Thing]:
    """The things that a description tells of, in order; what it says is not there is none of them."""
    leads = [m for m in find_marks(text, whole=True) if m.kind == "lead_in"]
    things: list[Thing] = []
    for phrase in read_phrases(text):
        lead = any(m.start <= phrase.start and phrase.end <= m.end for m in leads)
        if lead or phrase.negated or _names_nothing(phrase):
            continue
        at = _spoken_of(phrase, things)
        if at is None:
            things.append(Thing(phrase, context=_content(_CLAUSE_END.split(text[phrase.end : phrase.end + 120], 1)[0])))
        else:
            things[at] = things[at]._replace(later_mentions=(*things[at].later_mentions, phrase))
    return things


def _names_nothing(phrase: NounPhrase) -> bool:
    """ "the center", "the center of the image", but not "the center of the flower"."""
    if phrase.definite and phrase.noun in _PICTURES:
        return True
    return phrase.noun in NO_THINGS and (not phrase.of or noun(" ".join(phrase.of)) in NO_THINGS | _PICTURES)


def _spoken_of(phrase: NounPhrase, things: list[Thing]) -> int | None:
    """Which earlier thing a definite phrase means: of its name, else of a kind of it."""
    if not phrase.definite or phrase.ordinal is not None:
        return None
    alike = [at for at, t in enumerate(things) if t.many == phrase.plural and not opposed(t.phrase, phrase)]
    same_names = [at for at in alike if same_thing(things[at].phrase.noun, phrase.noun)]
    same_names = [at for at in same_names if set(phrase.modifiers) <= set(things[at].phrase.words)] or same_names[:1]
    new = [at for at in alike if not things[at].phrase.definite and not phrase.modifiers]
    kinds = [at for at in new if is_kind_of(things[at].phrase.noun, phrase.noun)]
    topic = [at for at in new if phrase.noun in _GENERAL and kinds_of(things[at].phrase.noun) & kinds_of(phrase.noun)]
    return next(iter(same_names or kinds or topic), None)


def opposed(a: NounPhrase, b: NounPhrase) -> bool:
    """Whether two phrases tell two things of one name apart: front and rear, left and right; or by a colour."""
    if exclude_each_other(a.words, b.words):
        return True
    return bool(clashes([w for w in a.modifiers if w in a.looks], [w for w in b.modifiers if w in b.looks]))


def read_named(region: Region, description: Description, within: Box) -> Named | None:
    """The child by its name, or by what its description opens with; None where neither names a thing."""
    opening = _opening(description.text)
    name = _opening(plain_text(description.name[:_LONGEST_NAME])) or opening
    if name is None:
        return None
    things = [t for t in read_things(description.text) if same_thing(t.phrase.noun, name.noun)][:1]
    looks = name.looks.union(*(t.looks for t in things))
    owners = _owners([name, *([opening] if opening and same_thing(opening.noun, name.noun) else [])])
    size = min(1.0, area(region.box) / max(area(within), 1.0))
    words = _content(description.text[: 2 * _LONGEST_NAME]) - _content(" ".join(name.words))
    return Named(region, name, owners, looks, words, exact_spot(relative_position(region.box, within)), size)


def _content(text: str) -> frozenset[str]:
    """Its nouns and attributes, in the singular."""
    words = (singular(w) for w in words_of(text))
    return frozenset(w for w in words if w not in NO_THINGS and (attribute(w) or is_known(w)))


def _opening(text: str) -> NounPhrase | None:
    """The first thing that a name or a description tells of."""
    start = lead_in_end(text)
    phrases = [p for p in read_phrases(text) if p.start >= start or p.end > start]
    return next((p for p in phrases if not _names_nothing(p)), None)


def _owners(phrases: Iterable[NounPhrase]) -> tuple[str, ...]:
    """What has it, by "of", an owner or the first part of a compound."""
    return tuple(dict.fromkeys(w for p in phrases for w in (" ".join(p.of), *p.modifiers) if w))


def quotations(text: str) -> list[tuple[int, int]]:
    """Characters [start, end) of what stands in quotation marks, without these; and after "reads:" to the end."""
    return [m.span(next(g for g in (1, 2, 3) if m[g] is not None)) for m in _QUOTATION.finditer(text)]
