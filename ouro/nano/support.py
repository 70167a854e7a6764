"""Whether a nano description bears out a pair of nano's language: by its facts, form by form, and exactly.

`check_pair` is for nano what `ouro.annotate.pairs.support.support` is for free text. A description is taken for
complete ("is there a red star?" is "no" where it names none), and within a holder shapes are distinct.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from ouro.annotate.pairs.replies import Written
from ouro.nano.facts import Fact, stated_facts
from ouro.nano.language import NUMBERS, plural
from ouro.nano.scenes import COLORS, CONTAINERS, SHAPES

_ON = r"(?: (?:on|in) the (?P<holder>\w+))?"
_SHAPE = rf"(?P<shape>{'|'.join(SHAPES)})"
_COLOR = rf"(?P<color>{'|'.join(COLORS)})"
_SIDES = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}
_AXES = (("left", "right"), ("top", "bottom"))


class Item(NamedTuple):
    """A shape that a description names: its holder ("floor": none) and what is told of it, "" where nothing is."""

    shape: str
    holder: str
    color: str
    pattern: str
    slot: str


class Facts(NamedTuple):
    """The facts of a description."""

    items: tuple[Item, ...]
    containers: dict[str, list[str]]  # kind -> slots of all that are told of
    signs: dict[str, list[str]]  # holder -> words
    words: frozenset[str]


@lru_cache(maxsize=256)
def read_facts(description: str) -> Facts:
    """The facts of a description in nano's language; what is in other words is not among them."""
    facts = stated_facts(description)
    named = sorted({tuple(name.split(" on ")) for kind, name, _ in facts if kind != "sign" and " on " in name})
    named += [n for n in _bare_items(description) if n not in named]
    items = tuple(
        Item(shape, holder, *(_value(facts, k, f"{shape} on {holder}") for k in ("color", "pattern", "where")))
        for shape, holder in named
    )
    containers: dict[str, list[str]] = {}
    signs: dict[str, list[str]] = {}
    for kind, name, value in sorted(facts):
        if kind == "where" and name in CONTAINERS:
            containers.setdefault(name, []).append(value)
        elif kind == "sign":
            signs.setdefault(name, []).append(value)
    return Facts(items, containers, signs, frozenset(re.findall(r"\w+", description)))


def _value(facts: set[Fact], kind: str, name: str) -> str:
    return next((value for k, n, value in sorted(facts) if (k, n) == (kind, name)), "")


def _bare_items(description: str) -> list[tuple[str, ...]]:
    """Shapes of which nothing is told: "a table with a star and a ring"."""
    items: list[tuple[str, ...]] = []
    for sentence in description.split(". "):
        holder = re.match(r"(?:the|a|an) (\w+)", sentence)
        kind = holder[1] if holder and holder[1] in CONTAINERS else "floor"
        items += [(shape, kind) for shape in re.findall(rf"\b(?:a|an) (?:\w+ ){{0,2}}({'|'.join(SHAPES)})\b", sentence)]
    return list(dict.fromkeys(items))


def check_pair(pair: Written, description: str) -> str:
    """ "" when the description bears the pair out, else the reason, one of `pairs.support.support`."""
    facts, answer = read_facts(description), pair.answer.lower().strip(" .")
    question = " ".join(pair.question.lower().rstrip("? ").split())
    for form, answers in _FORMS:
        if match := form.fullmatch(question):
            right = answers(facts, match.groupdict())
            return _judge(right, answer, facts)
    is_said = set(answer.split()) - {"yes", "no"} <= facts.words
    return "not_checkable" if is_said else "answer_not_in_description"


def _judge(right: list[str] | None, answer: str, facts: Facts) -> str:
    if right is None:
        return "question_names_unknown_object"
    if answer in right:
        return ""
    if answer in ("yes", "no"):
        return "contradicts_description"
    if answer in NUMBERS:
        return "count_not_supported"
    return "attribute_of_another_object" if set(answer.split()) <= facts.words else "answer_not_in_description"


def _find(facts: Facts, fields: dict[str, str | None]) -> list[Item]:
    return [
        i
        for i in facts.items
        if all(not fields.get(k) or fields[k] == getattr(i, k) for k in ("shape", "holder", "color"))
    ]


def _field(name: str) -> Callable[[Facts, dict[str, str | None]], list[str] | None]:
    def values(facts: Facts, fields: dict[str, str | None]) -> list[str] | None:
        items = _find(facts, fields)
        return [value for i in items if (value := str(getattr(i, name)))] if items else None

    return values


def _container(facts: Facts, fields: dict[str, str | None]) -> list[str] | None:
    kind = str(fields["kind"])
    return facts.containers.get(kind)


def _beside(facts: Facts, fields: dict[str, str | None]) -> list[str] | None:
    axis, step = _SIDES[str(fields["side"])]
    out: list[str] = []
    items = _find(facts, fields)
    for one in items:
        places = [(o, _spot(o.slot)) for o in facts.items if o.holder == one.holder and o != one and o.slot]
        spot = _spot(one.slot)
        there = [(o, s) for o, s in places if one.slot and (s[axis] - spot[axis]) * step > 0]
        in_line = [o.shape for o, s in there if s[1 - axis] == spot[1 - axis]]
        out += in_line or [o.shape for o, _ in there]
    return out if items else None


def _spot(slot: str) -> tuple[int, int]:
    column, row = ((axis[1] in slot) - (axis[0] in slot) for axis in _AXES)
    return column, row


def _count(facts: Facts, fields: dict[str, str | None]) -> list[str] | None:
    """Of "objects" on a holder, shapes by name, containers together or by name."""
    what = str(fields["plural"])
    if what == "containers":
        n = len(facts.containers)
    elif kind := next((k for k in CONTAINERS if what in (plural(k), _plural_of_f(k))), None):
        n = int(kind in facts.containers)
    else:
        shape = next((s for s in SHAPES if plural(s) == what), "")
        if not shape and what != "objects":
            return None
        items = _find(facts, {"shape": shape, "holder": fields.get("holder")})
        n = len(items)
    return [NUMBERS[n]] if 0 < n < len(NUMBERS) else None


def _plural_of_f(word: str) -> str:
    return f"{word[:-1]}ves" if word.endswith("f") else f"{word}es"


def _sign(facts: Facts, fields: dict[str, str | None]) -> list[str] | None:
    return [w for holder, words in facts.signs.items() if fields["holder"] in (None, holder) for w in words] or None


def _exists(facts: Facts, fields: dict[str, str | None]) -> list[str] | None:
    if fields.get("kind"):
        exists = fields["kind"] in facts.containers or (fields["kind"] == "sign" and bool(facts.signs))
        return ["yes" if exists else "no"]
    items = _find(facts, {"shape": fields["shape"]})
    right = any(i.color == fields["color"] for i in items)
    return ["yes"] if right else [] if any(not i.color and not i.pattern for i in items) else ["no"]


def _loose(facts: Facts, fields: dict[str, str | None]) -> list[str] | None:
    return ["yes" if any(i.holder == "floor" for i in facts.items) else "no"]


_KIND = rf"(?P<kind>{'|'.join(CONTAINERS)})"
_FORMS: list[tuple[re.Pattern[str], Callable[[Facts, dict[str, str | None]], list[str] | None]]] = [
    (re.compile(rf"what color is the (?:{_COLOR} )?{_SHAPE}{_ON}"), _field("color")),
    (re.compile(rf"what pattern is the (?:{_COLOR} )?{_SHAPE}{_ON}"), _field("pattern")),
    (re.compile(rf"what shape is the {_COLOR} object{_ON}"), _field("shape")),
    (re.compile(rf"where is the {_KIND}"), _container),
    (re.compile(rf"where is the (?:{_COLOR} )?{_SHAPE}{_ON}"), _field("slot")),
    (re.compile(rf"what holds the {_COLOR} {_SHAPE}"), _field("holder")),
    (re.compile(rf"what is (?P<side>left of|right of|above|below) the {_SHAPE}{_ON}"), _beside),
    (re.compile(rf"how many (?P<plural>objects) are{_ON}"), _count),
    (re.compile(r"how many (?P<plural>\w+) are there"), _count),
    (re.compile(rf"what does the sign{_ON} say"), _sign),
    (re.compile(rf"is there an? (?:{_COLOR} {_SHAPE}|(?P<kind>{'|'.join(CONTAINERS)}|sign))"), _exists),
    (re.compile(r"are there objects on the floor"), _loose),
]
