"""Attribute words: which are of one kind, and which exclude each other. Ours, from everyday English."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Final, NamedTuple

# Words of one kind that exclude each other, families by ";": a thing that is one family is not another.
ATTRIBUTES: Final[dict[str, str]] = {
    "color": (
        "red crimson scarlet maroon burgundy; orange peach apricot; yellow golden gold blonde blond; "
        "green olive lime-green; blue navy azure; "
        "cyan turquoise teal; purple violet lavender; pink magenta; brown beige tan cream chestnut; black; "
        "white ivory; gray grey silver silvery chrome"
    ),
    "pattern": (
        "striped stripy; dotted spotted polka-dot polka-dotted; solid plain unpatterned; checkered checked plaid "
        "chequered tartan; floral flowered flowery"
    ),
    "material": (
        "wooden wood; metal metallic steel iron aluminum aluminium; plastic; glass crystal; ceramic porcelain clay "
        "earthenware; leather; stone marble granite concrete; brick; paper cardboard; cloth fabric cotton woolen wool "
        "knitted velvet denim; wicker straw rattan"
    ),
    "state": "open opened; closed shut",
    "fill": "empty; full filled",
    "size": "small little tiny miniature; large big huge giant enormous",
    "height": "tall high; short low",
}

# Words of place and order that tell two things of one name apart, group against group.
_EXCLUDING: Final = tuple(
    tuple(frozenset(words.split()) for words in groups.split(","))
    for groups in (
        "front,rear back hind", "left,right", "upper top,lower bottom,middle center centre",
        "inner inside,outer outside", "first,second,third,fourth,last",
    )
)  # fmt: skip
# Words that tell how strong a colour is.
SHADES: Final = frozenset("light lighter dark darker deep deeper pale bright vivid vibrant medium dull soft".split())


class Clash(NamedTuple):
    """Two words of one kind ("color") that cannot both hold of one thing: the first's and the second's."""

    kind: str
    first: str
    second: str


@lru_cache(maxsize=1)
def _attributes() -> dict[str, tuple[str, int]]:
    return {
        word: (kind, family)
        for kind, families in ATTRIBUTES.items()
        for family, members in enumerate(families.split(";"))
        for word in members.split()
    }


def attribute(word: str) -> tuple[str, int] | None:
    """(kind, family) of an attribute word: ("color", 0) for "red" and "crimson"; None for other words."""
    return _attributes().get(word)


@lru_cache(maxsize=65536)
def readings(word: str) -> frozenset[tuple[str, int]]:
    """All that a word says: "orange-red" is orange and red, "peach-colored" peach, "reddish" red; none for others."""
    if reading := attribute(word):
        return frozenset([reading])
    parts = [p for p in word.split("-") if p not in ("colored", "coloured", "ish")]
    stems = [stem for p in parts for stem in ((p, p[:-3], p[:-4]) if p.endswith("ish") else (p,))]
    if not 1 <= len(parts) <= 3 or (len(parts) == 1 and parts[0] == word and not word.endswith("ish")):
        return frozenset()
    return frozenset(reading for stem in stems if (reading := attribute(stem)))


def clashes(first: Collection[str], second: Collection[str]) -> list[Clash]:
    """The words of the two, one pair a kind, that exclude each other; "red and white" excludes no "red"."""
    first_kinds, second_kinds = _by_kind(first), _by_kind(second)
    return [
        Clash(kind, first_kinds[kind][0][0], second_kinds[kind][0][0])
        for kind in first_kinds
        if kind in second_kinds and not {f for _, f in first_kinds[kind]} & {f for _, f in second_kinds[kind]}
    ]


def exclude_each_other(first: Collection[str], second: Collection[str]) -> bool:
    """Whether words of place or order tell two things of one name apart: a front wheel is no rear wheel."""
    for groups in _EXCLUDING:
        first_groups = {number for number, words in enumerate(groups) if not words.isdisjoint(first)}
        second_groups = {number for number, words in enumerate(groups) if not words.isdisjoint(second)}
        if first_groups and second_groups and first_groups.isdisjoint(second_groups):
            return True
    return False


def _by_kind(words: Collection[str]) -> dict[str, list[tuple[str, int]]]:
    by_kind: dict[str, list[tuple[str, int]]] = {}
    for word in words:
        if reading := attribute(word):
            by_kind.setdefault(reading[0], []).append((word, reading[1]))
    return by_kind
