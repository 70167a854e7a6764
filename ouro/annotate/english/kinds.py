"""Which names mean one thing, and what is a kind of what: kinds.json, whose sources are named in it.

One record of it: `"cup, mug, teacup"` under names.everyday, `"boat": "canoe, kayak, ..."` under kinds.wordnet. A word
may stand in several groups of names (counter: countertop, worktop), so that being one thing is asked of two names and
is never handed on from one to the next.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from ouro.annotate.english.phrases import singular
from ouro.core.errors import OuroError

FILE: Final = Path(__file__).with_name("kinds.json")
# Stored results are addressed by code, so the table is part of it.
SHA256: Final = "5b47641dfda51bff8a2d22deeb72ee3fa053a66b9708bd14857a4e9c726e122f"
_LONGEST = 4  # words of a name in the table


class TableError(OuroError, ValueError):
    """kinds.json is not the table that this code was written with."""


@lru_cache(maxsize=1)
def table() -> dict[str, Any]:
    """The file as JSON. Raises TableError when it was changed without its SHA-256 here."""
    content = FILE.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise TableError(
            f"{FILE.name}: its SHA-256 is {digest}, expected {SHA256}; a changed table needs it in kinds.py"
        )
    return json.loads(content)


def names_in(words: str) -> list[str]:
    """The names of one line of the table."""
    return words.split(", ")


@lru_cache(maxsize=1)
def _groups() -> dict[str, frozenset[int]]:
    """Name -> the groups that it stands in."""
    groups: dict[str, set[int]] = {}
    lines = [line for part in table()["names"].values() for line in part]
    for number, line in enumerate(lines):
        for name in names_in(line):
            groups.setdefault(_one(name), set()).add(number)
    return {name: frozenset(numbers) for name, numbers in groups.items()}


@lru_cache(maxsize=1)
def _kinds() -> dict[str, frozenset[str]]:
    """Name -> the kinds that the table gives it by its own name."""
    return _turn([line for part in table()["kinds"].values() for line in part.items()])


@lru_cache(maxsize=1)
def _everyday() -> dict[str, frozenset[str]]:
    return _turn(table()["kinds"]["everyday"].items())


def _turn(lines: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """Lines of kind and names as name -> kinds."""
    kinds: dict[str, set[str]] = {}
    for kind, names in lines:
        for name in names_in(names):
            kinds.setdefault(_one(name), set()).add(_one(kind))
    return {name: frozenset(above) for name, above in kinds.items()}


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    alone = frozenset(_one(name) for name in table()["nouns"])
    return frozenset(_groups()) | frozenset(_kinds()) | frozenset[str]().union(*_kinds().values()) | alone


def _one(name: str) -> str:
    """A name in lower case, its last word in the singular, hyphens as spaces."""
    words = name.lower().replace("-", " ").split()
    return " ".join([*words[:-1], singular(words[-1])]) if words else ""


@lru_cache(maxsize=65536)
def noun(name: str) -> str:
    """What a noun phrase without determiner names: the longest name of the table that it ends with, else its last
    word; in the singular. "old traffic lights" -> "traffic light", "wugs" -> "wug", "" -> ""."""
    words = name.lower().replace("-", " ").split()[-_LONGEST:]
    ends = (_one(" ".join(words[at:])) for at in range(len(words)))
    return next((end for end in ends if end in _names()), _one(words[-1]) if words else "")


def is_known(name: str) -> bool:
    """Whether the table has this very name, in either number."""
    return _one(name) in _names()


def same_thing(a: str, b: str) -> bool:
    """Whether two noun phrases name the same sort of thing, whatever their number and modifiers: sofa and couches.

    A compound of the table is no other thing of its last word: a traffic light is no (bulb's) light. "" is nothing.
    """
    return _same(noun(a), noun(b))


def is_kind_of(a: str, b: str) -> bool:
    """Whether `a` names a kind of `b` (a hypernym): a dog is an animal; no dog is a kind of dog."""
    return noun(b) in kinds_of(a)


@lru_cache(maxsize=65536)
def kinds_of(name: str) -> frozenset[str]:
    """All that a thing is a kind of, as names of the table; none of its own names.

    A kind's kinds count by the everyday part only, whose words have one sense: a cup is a vessel, but no ship.
    """
    names = _together(noun(name)) | {noun(name)}
    near = _union(_above(one) for one in names)
    return (near | _union(_everyday().get(kind, frozenset()) for kind in near)) - names


@lru_cache(maxsize=65536)
def synonyms_of(name: str) -> frozenset[str]:
    """The other names of the thing, in the singular."""
    return _together(noun(name)) - {noun(name)}


def _above(name: str) -> frozenset[str]:
    """The kinds by the table; a compound whose kinds are not in it is a kind of its last word: sandcastle, castle."""
    kinds = _kinds().get(name)
    if kinds is not None:
        return kinds
    _, space, last = name.rpartition(" ")
    ends = [last] if space else _closed(name)
    return frozenset(ends)


def _closed(word: str) -> list[str]:
    """The second of two names of the table that are written as one word; none of a name of the table."""
    if word in _names() or len(word) > 20:
        return []
    cuts = range(3, len(word) - 3)
    return [word[at:] for at in cuts if word[:at] in _names() and word[at:] in _names()][:1]


def _same(a: str, b: str) -> bool:
    return bool(a) and (a == b or not _groups().get(a, frozenset()).isdisjoint(_groups().get(b, frozenset())))


@lru_cache(maxsize=1)
def _members() -> dict[int, frozenset[str]]:
    members: dict[int, set[str]] = {}
    for name, numbers in _groups().items():
        for number in numbers:
            members.setdefault(number, set()).add(name)
    return {number: frozenset(names) for number, names in members.items()}


def _together(name: str) -> frozenset[str]:
    return _union(_members()[number] for number in _groups().get(name, ()))


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*sets)
