"""Whether what is told bears out a relation of two things, or tells it otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ouro.annotate.english.kinds import is_kind_of, kinds_of, same_thing
from ouro.annotate.prose.entities import Told, above_of, together
from ouro.annotate.prose.evidence import Evidence
from ouro.annotate.prose.likeness import fits, has_look, is_colour, is_living, kinds_told, opposed
from ouro.annotate.prose.things import CARRIERS, WRITINGS, Thing, stem
from ouro.core.records import Box

_AXES: Final = {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1)}
_INNER: Final = ("in", "of")
_EXCLUSIVE: Final = ("below", "behind", "front")  # what is there is not in or on it
_SITES: Final = frozenset(["structure", "route", "course", "land", "body of water", "liquid", "floor", "ground"])
_GROUNDS: Final = frozenset(["land", "body of water", "liquid", "floor", "ground", "sky", "wall"])
_CHAIN = 3  # "croissants" of "a tray" in "the window"


def relates(evidence: Evidence, a: Thing, relation: str, b: Thing) -> bool:
    """Whether somebody tells that relation of the two, or the tree of regions or their boxes do."""
    if relation == "in" and is_kind_of(a.noun, "person") and relates(evidence, a, "has", b):  # a woman in a suit
        return True
    mine, yours = evidence.meant(a), set(evidence.meant(b))
    wholes = [w for w in evidence.wholes if same_thing(b.noun, w) and not is_living(w)]
    if relation in ("in", "of") and wholes and all(told != "in" for one in mine for told, _ in one.links):
        return True  # all that is told in no other thing is in the room, on the page
    if any(stem(b.noun) in {stem(w) for w in o.thing.modifiers} for o in mine):  # a Yamaha motorcycle
        return True
    if _links(mine, relation, yours) or (relation == "of" and _share(evidence, a, b)):
        return True
    if _links(mine, relation, set(evidence.alike(b.noun))):
        return False  # of another one of the name: on the lower shelf
    if relation in ("in", "of") and any(told in _EXCLUSIVE and o in yours for one in mine for told, o in one.links):
        return False
    if relation == "in" and _chained(mine, yours):
        return True
    if relation in ("in", "of") and _inside(evidence, a, mine, b):
        return True
    if relation == "beside" and any(told == "in" and x in yours for o in mine for told, x in o.sure):
        return False
    return (relation in ("has", "of") and _inside(evidence, b, yours, a)) or _lies(evidence, a, relation, b)


def competes(evidence: Evidence, a: Thing, relation: str, b: Thing, strict: bool = False, sure: bool = False) -> bool:
    """Whether what is in, on or of something is told to be so of something else; or text or boxes tell the inverse."""
    if relation in _AXES or relation in ("front", "behind"):
        return relates(evidence, b, relation, a)
    if relation == "than":
        return True
    if sure and relation in ("in", "beside") and _is_elsewhere(evidence, a, relation, b):
        return True
    if not strict and _in_one_sentence(evidence, a, b) and not _excludes(evidence, a, b):
        return False
    if relation == "of":
        return all(any(told == "of" for told, _ in o.links) for o in evidence.meant(a))
    inner, outer = (b, a) if relation == "has" else (a, b)
    if relation not in ("in", "has"):
        return False
    others = set(evidence.meant(outer))
    links = [link for o in evidence.meant(inner) for link in o.links]
    if any(told in _EXCLUSIVE and o in others for told, o in links):
        return True
    if any(told == "in" and o not in others and same_thing(o.thing.noun, outer.noun) for told, o in links):
        return True  # on the lower shelf, not on the top shelf
    if _is_manner(outer) or not is_object(outer.noun):
        return False
    return any(told == "in" and o not in others and not _is_manner(o.thing) for told, o in links)


APART: Final = ("front", "behind", "in", "than")
"""Relations of two things that no text tells together: told by nobody."""


def told_near(evidence: Evidence, a: Thing, b: Thing) -> bool:
    """Whether one text tells of both within two sentences of the whole, or a region of one tells of the other."""
    mine, yours = together(evidence.meant(a)), together(evidence.meant(b))
    near = ((o.source, abs(o.thing.sentence - x.thing.sentence)) for o in mine for x in yours if o.source == x.source)
    if any(steps <= 1 or source for source, steps in near):  # a close-up is about one thing
        return True
    if any(any(same_thing(t.noun, w) for w in evidence.wholes) for t in (a, b)) or _is_ground(evidence, b, yours):
        return True
    return _inside(evidence, a, mine, b) or _inside(evidence, b, yours, a)


def _is_elsewhere(evidence: Evidence, a: Thing, relation: str, b: Thing) -> bool:
    """Whether `a` is clearly told to be in or on something that is not `b`, no part of it and in no relation to it: on
    the saucer, so not on the table mat; or told to be on `b`, so not beside it."""
    yours = set(together(evidence.meant(b)))
    own = together(evidence.meant(a))
    there = [x for o in own for told, x in o.sure if told == "in" and not _is_manner(x.thing)]
    if relation == "beside":
        return any(x in yours for x in there)
    if not there or not is_object(b.noun):
        return False
    return not any(x in yours or _touch(evidence, x, yours) for x in there)


def _touch(evidence: Evidence, x: Told, yours: set[Told]) -> bool:
    """Whether a place is a part of the others, in or on them, or they in or on it, or it is the ground of all."""
    around = together([x])
    if _is_ground(evidence, x.thing, around) or x.thing.noun in evidence.wholes:
        return True
    links = [other for o in around for told, other in o.links if told in ("in", "of", "has")]
    return any(other in yours for other in links) or _chained(around, yours) or _chained(yours, set(around))


def _in_one_sentence(evidence: Evidence, a: Thing, b: Thing) -> bool:
    """Whether one sentence tells of both: how they are related there a reading may have got wrong."""
    mine, yours = evidence.meant(a), evidence.meant(b)
    return any(
        o.source == x.source and o.thing.sentence == x.thing.sentence and o is not x for o in mine for x in yours
    )


def _excludes(evidence: Evidence, a: Thing, b: Thing) -> bool:
    """Whether one is told to be below, behind or in front of the other."""
    yours = set(evidence.meant(b))
    links = [link for o in evidence.meant(a) for link in o.links]
    return any(x in yours and (told in _EXCLUSIVE or told == "above") for told, x in links)


def _is_ground(evidence: Evidence, b: Thing, yours: Iterable[Told]) -> bool:
    """Whether something is what all else is in or over: the sea, letters, what the first words of the whole name."""
    setting = any(o.source == 0 and o.thing.sentence == 0 for o in yours)
    return setting or b.noun in WRITINGS | CARRIERS or not _GROUNDS.isdisjoint(kinds_of(b.noun) | {b.noun})


def is_object(noun: str) -> bool:
    """Whether what is in or on it is on nothing beside it: a table, a basket; a platform, a day or a park holds what
    other things hold."""
    kinds = kinds_of(noun) | {noun}
    return len(kinds) > 1 and kinds.isdisjoint(_SITES)


def _is_manner(thing: Thing) -> bool:
    """ "in black ink", "in gold letters", "in bright color": how something is, and no place that it is in."""
    return thing.noun in CARRIERS or (thing.number is None and not thing.definite)


def _links(mine: Iterable[Told], relation: str, yours: set[Told]) -> bool:
    return any(other in yours and fits(relation, told) for one in mine for told, other in one.links)


def _chained(mine: Iterable[Told], yours: set[Told]) -> bool:
    """Whether what something is in, on or of is in, on or of the other in its turn."""
    found = set(mine)
    for _ in range(_CHAIN):
        found = {other for one in found for told, other in one.links if told in _INNER}
        if found & yours:
            return True
    return False


def _share(evidence: Evidence, a: Thing, b: Thing) -> bool:
    """Whether something is told to be in, on or of both: a patch on the chest, and on the suit."""
    parts = [
        {other.thing.noun for one in evidence.alike(t.noun) for told, other in one.links if told in ("has", "of")}
        for t in (a, b)
    ]
    return bool(parts[0] & parts[1])


def _inside(evidence: Evidence, a: Thing, mine: Iterable[Told], b: Thing) -> bool:
    """Whether a region that shows `b` tells of `a`, or lies around one that does; the whole shows everything."""
    shown = [p for p in evidence.shown(b.noun) if p.topic and _can_show(p.topic, b)]
    holders = {p.region for p in shown if p.topic and (b.plural or not p.topic.plural)}  # one of two tells nothing
    return any(not opposed(a, one.thing) and holders & set(above_of(evidence.parents, one.region)) for one in mine)


def _can_show(topic: Thing, thing: Thing) -> bool:
    """Whether a region that shows `topic` can show the thing: none of another colour, on another side."""
    colours = [w for w in thing.modifiers if is_colour(w)]
    return not opposed(thing, topic) and ("color" not in kinds_told(topic) or all(has_look(w, topic) for w in colours))


def _lies(evidence: Evidence, a: Thing, relation: str, b: Thing) -> bool:
    """By the boxes of the regions that show the two, else by their places in a text."""
    shown = [[p for p in evidence.shown(t.noun) if p.topic and not opposed(t, p.topic)] for t in (a, b)]
    pairs = [(p.box, q.box) for p in shown[0] for q in shown[1] if p.region != q.region]
    if relation == "beside":
        return any(_near(p, q) for p, q in pairs)
    if relation not in _AXES:
        return False
    axis, step = _AXES[relation]
    if pairs:
        return any((_middle(p, axis) - _middle(q, axis)) * step > 0 for p, q in pairs)
    mine, yours = evidence.meant(a), evidence.meant(b)
    if any(  # a shield on the left, of the tag that has it
        o.thing.spot and o.thing.spot[axis] == step and told in _INNER and other in yours
        for o in mine
        for told, other in o.links
    ):
        return True
    told = [[o.thing.spot for o in own if o.thing.spot] for own in (mine, yours)]
    steps = [(s[axis], t[axis]) for s in told[0] for t in told[1]]
    return any(s is not None and t is not None and (s - t) * step > 0 for s, t in steps)


def _middle(box: Box, axis: int) -> float:
    return (box[axis] + box[axis + 2]) / 2


def _near(a: Box, b: Box) -> bool:
    """Whether the gaps between two boxes, across and down, are no wider than the larger of their sides there."""
    gaps = (max(a[axis] - b[axis + 2], b[axis] - a[axis + 2]) for axis in (0, 1))
    sides = (max(box[axis + 2] - box[axis] for box in (a, b)) for axis in (0, 1))
    return all(gap <= side for gap, side in zip(gaps, sides, strict=True))
