"""One name for synonyms, and kinds of things, as nano's few words need them: the everyday part of kinds.json alone,
where a word stands in one group, so that a group can go by its first name.
"""

from __future__ import annotations

from functools import lru_cache

from ouro.annotate.english.kinds import names_in, table
from ouro.annotate.english.phrases import singular


@lru_cache(maxsize=1)
def _groups() -> dict[str, str]:
    groups = [names_in(line) for line in table()["names"]["everyday"]]
    return {name: group[0] for group in groups for name in group}


@lru_cache(maxsize=1)
def _kinds() -> dict[str, frozenset[str]]:
    """Name -> the kinds of thing that it is, also of kinds of kinds."""
    direct: dict[str, set[str]] = {}
    for kind, names in table()["kinds"]["everyday"].items():
        for name in names_in(names):
            direct.setdefault(canonical(name), set()).add(canonical(kind))
    reached = {name: kinds | {up for kind in kinds for up in direct.get(kind, ())} for name, kinds in direct.items()}
    return {name: frozenset(kinds - {name}) for name, kinds in reached.items()}


@lru_cache(maxsize=65536)
def canonical(name: str) -> str:
    """The first of a name's synonyms, in the singular: "sofas" -> "couch", "wug" -> "wug"."""
    *before, last = name.lower().replace("-", " ").split() or [""]
    one = " ".join([*before, singular(last)])
    return _groups().get(one, one)


@lru_cache(maxsize=65536)
def name_of(words: tuple[str, ...]) -> str:
    """What a noun phrase names: its last word, or its last two where they are one name ("traffic light")."""
    return canonical(" ".join(words[-name_length(words) :]))


def name_length(words: tuple[str, ...]) -> int:
    """Of how many words, at the end of a phrase, the name consists: 1 or 2."""
    two = " ".join([*words[-2:-1], singular("".join(words[-1:]))]).replace("-", " ")
    return 2 if len(words) > 1 and two in _groups() else 1


def same_name(a: str, b: str) -> bool:
    """Whether two nouns name the same thing, whatever their number: "sofa" and "couches"."""
    return canonical(a) == canonical(b)


def is_kind_of(name: str, kind: str) -> bool:
    """Whether `name` names a kind of `kind` (a hypernym): a dog is an animal, an animal no dog."""
    return canonical(kind) in _kinds().get(canonical(name), frozenset())


@lru_cache(maxsize=65536)
def kinds_of(name: str) -> frozenset[str]:
    """All kinds that a thing is, as canonical names; empty where none is known."""
    return _kinds().get(canonical(name), frozenset())


@lru_cache(maxsize=65536)
def is_known(name: str) -> bool:
    """Whether the tables have the name; tells the noun "cups" from the verb "stands"."""
    return canonical(name) in _names()


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(_groups().values()) | frozenset(_kinds()) | frozenset[str]().union(*_kinds().values())
