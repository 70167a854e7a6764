"""Object-name matching (OURO section 3.1): which child is which thing of the parent's description.

Of things of one name, a child takes, in this order: the one with its ordinal ("the second cup": the second child
in reading order), the one at its place ("the cup on the left"), the one that looks like it ("the red cup"), the
next one without a place in reading order; then one of several ("two cups"). A child whose name is left takes a
thing of a kind of it, or that it is a kind of (a dog: "an animal"). The paper gives no rules; these are ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ouro.annotate.english.attributes import clashes
from ouro.annotate.english.lexicon import kinds_of
from ouro.annotate.english.mentions import Mention, Spot, apart
from ouro.annotate.merging.provenance import Marked, plain


class Child(NamedTuple):
    """A sub-region's merged description, what it opens with, and where it lies in the parent."""

    marked: Marked
    text: str
    position: str  # "top left"
    spot: Spot
    region_id: str
    lead: Mention | None  # the thing that it describes; None: it opens with no noun phrase

    @property
    def name(self) -> str:
        return self.lead.name if self.lead else ""

    @property
    def modifiers(self) -> frozenset[str]:
        return self.lead.phrase.modifiers if self.lead else frozenset()

    @property
    def words(self) -> str:
        return plain(self.marked)


class Matches(NamedTuple):
    """By index of the child: the mention that it is, or the plural that it is one of; and children too many."""

    same: dict[int, Mention]
    one_of: dict[int, Mention]
    surplus: list[int]


def match(found: Sequence[Mention], children: Sequence[Child]) -> Matches:
    """Match children (in reading order) with the parent's mentions (in text order); each mention is taken once."""
    named = {c.name for c in children if c.lead}
    open_: dict[str, list[Mention]] = defaultdict(list)
    held: dict[str, list[Mention]] = defaultdict(list)
    for m in found:
        if not m.echo:
            (held if m.holder in named else open_)[m.name].append(m)
    waiting: dict[str, list[int]] = defaultdict(list)
    for i, child in enumerate(children):
        if child.lead:
            waiting[child.name].append(i)
    matches = Matches({}, {}, [])
    for name, kids in waiting.items():
        _match_name(open_[name], kids, children, matches)
    taken = {m.phrase.start for m in (*matches.same.values(), *matches.one_of.values())}
    left = [i for i, c in enumerate(children) if c.lead and not _placed(i, matches)]
    _match_kinds([m for ms in open_.values() for m in ms if m.phrase.start not in taken], left, children, matches)
    _match_held(held, [i for i in left if i not in matches.same], children, matches)
    return matches


def _placed(i: int, matches: Matches) -> bool:
    return i in matches.same or i in matches.one_of or i in matches.surplus


def _match_name(found: list[Mention], kids: list[int], children: Sequence[Child], matches: Matches) -> None:
    """All rules for the things of one name."""
    for rule in (_by_ordinal, _by_place, _by_looks, _by_order):
        free = _free(found, matches)
        for i, m in rule(free, [i for i in kids if i not in matches.same], children):
            matches.same[i] = m
    left = [i for i in kids if i not in matches.same and not _plural(children[i])]
    groups = [m for m in _free(found, matches) if m.plural]
    if not groups:
        return
    for group in groups:
        room = group.number if group.number is not None else len(left)
        here = [i for i in left if group.spot is None or apart(group.spot, children[i].spot) is not None][:room]
        matches.one_of.update(dict.fromkeys(here, group))
        left = [i for i in left if i not in matches.one_of]
    if all(group.number is not None and group.spot is None for group in groups):
        matches.surplus.extend(left)


def _free(found: list[Mention], matches: Matches) -> list[Mention]:
    taken = {m.phrase.start for m in matches.same.values()} if found else set[int]()
    return [m for m in found if m.phrase.start not in taken]


def _plural(child: Child) -> bool:
    return child.lead is not None and child.lead.plural


Pairs = Iterator[tuple[int, Mention]]


def _by_ordinal(found: list[Mention], kids: list[int], children: Sequence[Child]) -> Pairs:
    for m in found:
        if m.ordinal is not None and not m.plural:
            at = m.ordinal - 1 if m.ordinal > 0 else len(kids) - 1
            if 0 <= at < len(kids):
                yield kids[at], m


def _by_place(found: list[Mention], kids: list[int], children: Sequence[Child]) -> Pairs:
    steps = (
        (apart(m.spot, children[i].spot), k, i, m)
        for k, m in enumerate(found)
        if m.spot is not None and m.ordinal is None
        for i in kids
        if m.plural == _plural(children[i])
    )
    return _greedy([(step, k, i, m) for step, k, i, m in steps if step is not None])


def _by_looks(found: list[Mention], kids: list[int], children: Sequence[Child]) -> Pairs:
    """What shares most attributes and contradicts in none."""
    ranked: list[tuple[int, int, int, Mention]] = []
    for k, m in enumerate(found):
        mine = m.phrase.modifiers
        if not mine or m.spot is not None or m.ordinal is not None:
            continue
        for i in kids:
            shared = len(mine & children[i].modifiers)
            if shared and m.plural == _plural(children[i]) and not clashes(mine, children[i].modifiers):
                ranked.append((-shared, k, i, m))
    return _greedy(ranked)


def _greedy(ranked: list[tuple[int, int, int, Mention]]) -> Pairs:
    used: set[int] = set()
    seen: set[int] = set()
    for _, k, i, m in sorted(ranked, key=lambda r: r[:3]):
        if k not in seen and i not in used:
            seen.add(k)
            used.add(i)
            yield i, m


def _by_order(found: list[Mention], kids: list[int], children: Sequence[Child]) -> Pairs:
    for plural in (False, True):
        free = [m for m in found if m.plural == plural and m.spot is None and m.ordinal is None]
        alike = [i for i in kids if _plural(children[i]) == plural]
        free.sort(key=lambda m: m.one_of >= 0)  # "a cup" before "one of the cups"
        yield from zip(alike, free, strict=False)


def _match_kinds(found: list[Mention], left: list[int], children: Sequence[Child], matches: Matches) -> None:
    """A dog with "an animal", an animal with "a dog"."""
    taken: set[int] = set()
    for i in left:
        child = children[i]
        for m in found:
            related = m.name in kinds_of(child.name) or child.name in kinds_of(m.name)
            far = m.spot is not None and apart(m.spot, child.spot) is None
            if not related or far or m.plural or _plural(child) or m.phrase.start in taken:
                continue
            if clashes(m.phrase.modifiers, child.modifiers):
                continue
            taken.add(m.phrase.start)
            matches.same[i] = m
            break


def _match_held(held: dict[str, list[Mention]], left: list[int], children: Sequence[Child], matches: Matches) -> None:
    """What the parent says another child has, where nothing speaks against it; its place is in that child."""
    taken: set[int] = set()
    for i in left:
        child = children[i]
        for m in held.get(child.name, ()):
            free = m.phrase.start not in taken and m.spot is None and not m.plural and not _plural(child)
            if free and not clashes(m.phrase.modifiers, child.modifiers):
                taken.add(m.phrase.start)
                matches.same[i] = m
                break
