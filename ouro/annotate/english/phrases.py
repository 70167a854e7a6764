"""English by rule, as far as descriptions need it: words and their kinds, singulars, sentences, quotations.

No language model and no parser: a description is short, plain English, and a rule is the same every time.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import inflect

BOUNDARY = frozenset(
    (
        "with that which who and or on in at of over under near beside behind above below next to from by for is "
        "are was were has have says past across into onto through along around between against while as to inside "
        "outside above under upon toward towards"
    ).split()
)
POSSESSIVES = frozenset("his her its their my your our".split())
NUMBERS: Final = {"a": 1, "an": 1, "another": 1} | {
    word: n for n, word in enumerate("one two three four five six seven eight nine ten eleven twelve".split(), start=1)
}
ORDINALS: Final = {
    word: n
    for n, word in enumerate("first second third fourth fifth sixth seventh eighth ninth tenth".split(), start=1)
} | {"last": -1}
# What things do in descriptions: such a word after a noun ends its phrase ("a cup holds", "two cups hold").
_VERBS = frozenset(
    (
        "stand sit lie hang hold lean wear ride walk run contain feature depict appear seem surround carry eat fly "
        "sleep wait read write say smile stretch overlook include serve reflect"
    ).split()
)
_ING_NOUNS = frozenset(
    (
        "building ceiling clothing drawing painting railing string spring thing heading wedding awning crossing "
        "opening stocking bedding earring dressing pudding lettering dumpling duckling evening morning lightning"
    ).split()
)
# Nouns that are the same in both numbers, or only look like plurals; inflect makes "canva" of canvas.
_UNCHANGED = frozenset(
    (
        "jeans pants trousers shorts slacks scissors sunglasses eyeglasses binoculars headphones earphones pajamas "
        "tights leggings goggles pliers tongs shears clothes eaves canvas lens gas species series sheep deer fish "
        "christmas atlas pancreas always perhaps besides afterwards across this less yes news its ours theirs his "
        "hers does goes shades spectacles"
    ).split()
)
_MARKED_PLURALS = ("s", "men", "people", "children", "feet", "teeth", "geese", "mice", "oxen", "dice", "lice")
_LONGEST = 40  # letters of a word that is one
WORD = re.compile(r"\w[\w'’-]*")
_QUOTATION = re.compile(r'"[^"]*"|“[^”]*”')
_END = re.compile(r"[.!?…]+[\"”’)]*(?=\s|$)|[。！？]+|\n\s*")
_SHORT = re.compile(r"\b(?:mr|mrs|ms|dr|st|vs|approx|e\.g|i\.e)$", re.IGNORECASE)


def mask(text: str) -> str:
    """The text, equally long, with quotations made unreadable: what a sign says is no thing in the picture."""
    return _QUOTATION.sub(lambda m: '"' * len(m.group()), text) if '"' in text or "“" in text else text


def is_verb(word: str) -> bool:
    """Whether it is a finite verb of descriptions ("holds", "stand"), or the noun that looks like one."""
    return _base_form(word) in _VERBS or word[:-1] in _VERBS  # "lies"


def is_ing_noun(word: str) -> bool:
    """Whether a word in -ing is a thing: "building"."""
    return word in _ING_NOUNS


def _base_form(word: str) -> str:
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("shes", "ches", "sses")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


@lru_cache(maxsize=65536)
def singular(word: str) -> str:
    """A lower-case noun's singular: "crosses" -> "cross", "knives" -> "knife", "men" -> "man"; inflect's rules.

    inflect wants a plural and makes "bu" of bus: what ends like a singular is left alone.
    """
    before, hyphen, last = word.rpartition("-")
    if hyphen:
        return f"{before}-{singular(last)}"
    if not word.endswith(_MARKED_PLURALS) or word in _UNCHANGED or not word.isalpha() or len(word) > _LONGEST:
        return word
    if word.endswith(("ss", "us", "is")) or (word.endswith("s") and len(word) < 4):
        return word
    return _inflect().singular_noun(word) or word  # type: ignore[arg-type]  # its Word is a str that is not empty


@lru_cache(maxsize=1)
def _inflect() -> inflect.engine:
    import inflect  # half a second, and nano's descriptions have no plurals

    return inflect.engine()


def is_plural(word: str) -> bool:
    """Whether a noun is one of several: "cups", "people"; not "glass", not "scissors"."""
    return singular(word) != word


def sentences(text: str) -> list[tuple[int, int]]:
    """Character ranges of the sentences, with their marks at the end; what holds no word belongs to none.

    A mark inside a quotation, or after "Dr", ends nothing.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    masked = mask(text)
    for match in _END.finditer(masked):
        if match.group() == "." and _SHORT.search(masked, max(0, match.start() - 8), match.start()):
            continue
        spans.extend(_sentence(text, start, match.end()))
        start = match.end()
    return spans + _sentence(text, start, len(text))


def _sentence(text: str, start: int, end: int) -> list[tuple[int, int]]:
    words = WORD.search(text, start, end)
    if words is None:
        return []
    while text[start].isspace() or (text[start] in ".," and start < words.start()):
        start += 1
    while text[end - 1].isspace():
        end -= 1
    return [(start, end)]


def words_of(text: str) -> list[str]:
    """Its lower-case words."""
    return [word.lower() for word in WORD.findall(text)]
