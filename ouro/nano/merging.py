"""Nano's own merge (`merge.writer: template`): descriptions in nano's language are read, joined and written again.

    parent:    a table and a box with some objects
    children:  a table with a star (top left), a red solid ring (bottom right)
    merged:    a table at the top left and a box. the table has a star. there is a red solid ring at the bottom right.

Nothing is guessed: of a parent that ouro/nano/grammar.py does not read, `merge_nano` says so by returning None, and a
child's text is left out and recorded. The close-up is believed about looks, the whole about places.
"""

from __future__ import annotations

from collections.abc import Sequence

from ouro.annotate.merging.provenance import Composed, Marked, Piece, plain, region_at
from ouro.core.records import Decision
from ouro.nano.grammar import SOME, Reading, Thing, phrase_of, read, write
from ouro.nano.scenes import CONTAINERS

CLOSE_UP, REPEATED, VAGUE, UNREAD = "close_up_tells_looks", "said_before", "vague_mention", "not_nanos_language"


def merge_nano(piece: Piece, children: Sequence[tuple[Marked, str]]) -> Composed | None:
    """Merge(d, {d_j}) in nano's language; None where the parent's text is not in it.

    `children`: (merged description, place in the parent such as "top left") in reading order.
    """
    base = read((piece,))
    if base is None or not children:
        return Composed((piece,), []) if base else None
    decisions = [Decision("redundancy", piece.region_id, SOME.strip(), VAGUE)] if base.vague else []
    joining: list[tuple[Reading, str]] = []
    for marked, place in children:
        child = read(marked)
        if child is None:
            decisions.append(Decision("contradiction", region_at(marked, 0), plain(marked), UNREAD))
        else:
            joining.append((child, place))
    things = _Things(base, piece.region_id, decisions, [child.opening[0].noun for child, _ in joining])
    things.join(joining)
    return Composed(write(things.reading(), piece.region_id), decisions)


class _Things:
    """The things of a description while its children join it."""

    def __init__(self, base: Reading, region_id: str, decisions: list[Decision], nouns: list[str]) -> None:
        self.region_id, self.decisions = region_id, decisions
        alone = len(base.opening) == 1 and not base.more and not base.vague and base.opening[0].noun in CONTAINERS
        self.single = alone and not set(nouns) & set(CONTAINERS)
        self.n_opening, self.order = len(base.opening), list[int]()
        self.things = list(base.things)
        if self.single:  # a close-up of a container: children are what it holds
            self.things = list(base.opening[0].parts)
            self.holder = base.opening[0]

    def reading(self) -> Reading:
        if self.single:
            return Reading((self.holder._replace(parts=tuple(self.things)),))
        order = (*self.order, *range(len(self.things)))
        return Reading(tuple(self.things[: self.n_opening]), tuple(self.things[self.n_opening :]), order)

    def join(self, children: Sequence[tuple[Reading, str]]) -> None:
        leads = [(child.opening[0], place) for child, place in children]
        matches = self._matches(leads)
        for i, (child, place) in enumerate(children):
            lead = child.opening[0]
            candidate = lead._replace(place=place, placed_by=lead.region_id)
            rivals = (k for k, thing in enumerate(self.things) if _covers(thing, candidate))
            at = matches[i] if i in matches else next(rivals, len(self.things))
            if at < len(self.things):
                self.things[at] = self._one(self.things[at], lead, place)
            else:
                self.things.append(candidate)
            self.order.append(at)
            for thing in (*child.opening[1:], *child.more):  # where they are in the parent is not known
                self._beside(thing)

    def _beside(self, thing: Thing) -> None:
        """A thing that a child has beside its own."""
        if any(other.noun == thing.noun for other in self.things):
            self.decisions.append(Decision("redundancy", thing.region_id, phrase_of(thing), REPEATED))
        else:
            self.things.append(thing._replace(place="", placed_by=""))

    def _matches(self, leads: Sequence[tuple[Thing, str]]) -> dict[int, int]:
        """Child -> thing: of one noun the one at its place, then the one that looks like it, then the next."""
        matches: dict[int, int] = {}
        for rule in (_by_place, _by_looks, _by_order):
            costs: list[tuple[int, int, int]] = []
            for i, (lead, place) in enumerate(leads):
                for k, thing in enumerate(self.things):
                    cost = rule(thing, lead, place) if thing.noun == lead.noun else None
                    costs += [(cost, k, i)] if cost is not None else []
            for _, k, i in sorted(costs):
                if i not in matches and k not in matches.values():
                    matches[i] = k
        return matches

    def _one(self, thing: Thing, lead: Thing, place: str) -> Thing:
        """Parent's and child's as one: the close-up's looks, text and parts, the whole's place."""
        looks = ((thing.color, lead.color), (thing.pattern, lead.pattern), (thing.says, lead.says))
        color, pattern, says = (self._settle(*pair) for pair in looks)
        place, placed_by = (thing.place, thing.placed_by) if thing.place else (place, lead.region_id)
        parts = self._parts(thing.parts, lead.parts)
        return Thing(lead.noun, color, pattern, says, place, lead.region_id, placed_by, parts)

    def _settle(self, parent_value: str, child_value: str) -> str:
        if parent_value and child_value and parent_value != child_value:
            self.decisions.append(Decision("contradiction", self.region_id, parent_value, CLOSE_UP))
        return child_value or parent_value

    def _parts(self, parent_parts: tuple[Thing, ...], child_parts: tuple[Thing, ...]) -> tuple[Thing, ...]:
        """The child's parts, and those that only the parent saw."""
        if not child_parts:
            return parent_parts
        parts = list(child_parts)
        for part in parent_parts:
            at = next((k for k, their in enumerate(child_parts) if their.noun == part.noun and parts[k] is their), None)
            if at is None:
                parts.append(part)
                continue
            less, parts[at] = (
                (child_parts[at], part) if _detail(part) > _detail(child_parts[at]) else (part, child_parts[at])
            )
            self.decisions.append(Decision("redundancy", less.region_id, phrase_of(less), REPEATED))
        return tuple(parts)


def _covers(thing: Thing, other: Thing) -> bool:
    """Whether it is the other one, at the same place, and says as much of its looks."""
    same = thing.noun == other.noun and thing.place == other.place
    looks = ((thing.color, other.color), (thing.pattern, other.pattern), (thing.says, other.says))
    return same and all(second in ("", first) for first, second in looks)


def _detail(thing: Thing) -> int:
    return len(f"{thing.color} {thing.pattern} {thing.says} {thing.place}".split())


def _by_place(thing: Thing, lead: Thing, place: str) -> int | None:
    return _steps(thing.place, place) if thing.place else None


def _by_looks(thing: Thing, lead: Thing, place: str) -> int | None:
    looks = [(a, b) for a, b in ((thing.color, lead.color), (thing.pattern, lead.pattern)) if a and b]
    alike = bool(looks) and all(a == b for a, b in looks)
    return -len(looks) if alike and not thing.place else None


def _by_order(thing: Thing, lead: Thing, place: str) -> int | None:
    return 0 if not thing.place else None


def _steps(a: str, b: str) -> int | None:
    """How far two places are apart; None for opposite sides."""
    steps = [abs(x - y) for x, y in zip(_spot(a), _spot(b), strict=True)]
    return None if max(steps) > 1 else sum(steps)


def _spot(place: str) -> tuple[int, int]:
    """ "top left" -> (-1, -1), column and row."""
    words = place.split()
    return (("right" in words) - ("left" in words), ("bottom" in words) - ("top" in words))
