"""What a text tells: things with attributes, numbers and places, relations between them, quotations, sentences."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from ouro.annotate.english.attributes import SHADES, readings
from ouro.annotate.english.chunks import DETERMINERS, STOP, WORD
from ouro.annotate.english.mentions import Spot
from ouro.annotate.english.phrases import singular

# Nouns by which a text speaks of the picture or of a place in it: no things of their own.
AREAS: Final = frozenset(
    "top bottom left right center centre middle side front back foreground background distance image picture photo "
    "photograph frame scene view shot close-up closeup part portion section half camera viewer".split()
)
# Nouns whose attributes are those of what has them: "a dark purple color", "a rustic appearance".
CARRIERS: Final = frozenset(
    "color colour hue shade tone tint finish texture appearance shape pattern look coloring surface design expression "
    "shades".split()
)
# Forms of English verbs that no ending shows.
_IRREGULAR: Final[dict[str, str]] = dict(
    (pair.partition(":")[0], pair.partition(":")[2])
    for pair in (
        "held:hold worn:wear wore:wear seen:see hung:hang lit:light sat:sit stood:stand laid:lay lain:lie lying:lie "
        "eaten:eat ate:eat ridden:ride rode:ride ran:run flown:fly flew:fly drawn:draw written:write shown:show "
        "built:build made:make taken:take given:give thrown:throw caught:catch kept:keep led:lead bent:bend torn:tear "
        "broken:break swum:swim bound:bind fed:feed driven:drive sewn:sew woven:weave spread:spread grown:grow "
        "asleep:sleep awake:wake alight:light"
    ).split()
)
# What is written, as against the thing that bears it.
WRITINGS: Final = frozenset("text word letter name title heading line inscription writing lettering number".split())
# Parts whose looks are those of the whole.
COVERS: Final = frozenset(
    "body coat fur skin plumage feather exterior outside facade shell hull casing housing".split()
)
# How something is written.
MANNERS: Final = frozenset("font letter ink handwriting script capital lettering print style marker pencil".split())
# What everybody has without being told: "in her hand", "on its back".
BODY: Final = frozenset(
    (
        "body head face neck shoulder chest arm wrist hand finger waist lap leg knee foot elbow thigh hip ankle cheek "
        "chin forehead"
    ).split()
)
_ENDS: Final = ("ings", "ing", "ies", "ied", "edly", "ed", "es", "s", "er", "est", "ly", "en", "y", "e")
_DOUBLING: Final = ("ing", "ings", "ed", "er", "est", "y")


class Thing(NamedTuple):
    """What a text names: characters [start, end), its noun in the singular, what is said of it.

    `modifiers`: the words before the noun; `said`: what "is" tells of it, and colours behind it; `loose`: other words
    of its clause; `aside`: of `said`, what stands behind a comma, which may be said of another; `number`: None
    where the text does not say; `vague`: "several"; `other`: "another"; `spot`: column and row in what shows it.
    """

    start: int
    end: int
    noun: str
    words: tuple[str, ...]
    modifiers: frozenset[str]
    sentence: int
    said: frozenset[str] = frozenset()
    loose: frozenset[str] = frozenset()
    aside: frozenset[str] = frozenset()
    number: int | None = None
    vague: bool = False
    plural: bool = False
    other: bool = False
    definite: bool = False
    negated: bool = False
    spot: Spot | None = None

    @property
    def looks(self) -> frozenset[str]:
        """All attributes that are its own."""
        return self.modifiers | self.said


class Link(NamedTuple):
    """Thing `a` is in such a relation (gaps.RELATIONS) to thing `b`, both by number; links of one `claim` are readings
    of one statement, of which one has to hold."""

    a: int
    relation: str
    b: int
    claim: int
    guess: bool = False  # by a pronoun
    sure: bool = False  # the only reading, of the subject and what its verb leads to


class Reading(NamedTuple):
    """A read text: its things in order, their links, quotations as characters [start, end), sentences the same.

    `prose`: the text without what is quoted, equally long.
    """

    text: str
    things: tuple[Thing, ...]
    links: tuple[Link, ...]
    quotations: tuple[tuple[int, int], ...]
    sentences: tuple[tuple[int, int], ...]
    prose: str


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A word without its ending, so that forms of one word are equal: "parked", "parks"; "wood", "wooden"."""
    word = singular(word.lower().replace("’", "'").removesuffix("'s").rstrip("'"))
    word = _IRREGULAR.get(word, word)
    end = next((e for e in _ENDS if word.endswith(e) and len(word) - len(e) >= 3), "")
    if not end:
        return word
    root = word[: -len(end)]
    if end in _DOUBLING and root[-1] == root[-2] and root[-1] not in "sl":
        root = root[:-1]
    return root.rstrip("iye") if len(root) > 3 else root


def stems(text: str) -> frozenset[str]:
    """The stems of a text's words and of the parts of those with hyphens."""
    return frozenset(stem(part) for word in WORD.findall(text.lower()) for part in (word, *word.split("-")))


def content(text: str) -> list[str]:
    """The words of a lower-case text that say something by themselves."""
    return without_shades([w for w in WORD.findall(text) if w not in STOP and w not in DETERMINERS])


def without_shades(words: list[str]) -> list[str]:
    """Words without those that shade a colour: "dark red" -> "red"."""
    return [w for w, after in zip(words, [*words[1:], ""], strict=False) if w not in SHADES or not readings(after)]
