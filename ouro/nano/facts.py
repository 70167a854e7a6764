"""Facts of nano scenes, read from ground truth and from descriptions: how true and how complete is an annotation?

A fact is a tuple: ("where", container, slot), ("color" | "pattern" | "where", "shape on holder", value) or
("sign", container, word). Precision is the share of stated facts that hold, recall the share of true ones stated.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ouro.nano.scenes import COLORS, CONTAINERS, PATTERNS, SHAPES

Fact = tuple[str, str, str]

_COLOR, _PATTERN, _SHAPE = ("|".join(names) for names in (COLORS, PATTERNS, SHAPES))
_SLOT = "(?:top|bottom|left|right|center)(?: left| right)?"
_ITEM = re.compile(
    rf"(?:a|an) (?:(?P<color>{_COLOR}) )?(?:(?P<pattern>{_PATTERN}) )?(?P<shape>{_SHAPE})"
    rf"(?: (?:at|in) the (?P<slot>{_SLOT}))?"
)
_CONTAINER = re.compile(rf"(?:a|an) (?P<kind>{'|'.join(CONTAINERS)})(?: (?:at|in) the (?P<slot>{_SLOT}))?")
_SIGN = re.compile(r"sign that says ([^ .,]+)")


class Quality(NamedTuple):
    """Counts over descriptions: facts stated, true ones, those both stated and true, and repetitions of stated ones."""

    stated: int
    true: int
    right: int
    repeated: int = 0

    @property
    def precision(self) -> float:
        return self.right / max(self.stated, 1)

    @property
    def recall(self) -> float:
        return self.right / max(self.true, 1)

    @property
    def redundancy(self) -> float:
        """Share of all statements of facts, in 0..1, that say a fact again."""
        return self.repeated / max(self.stated + self.repeated, 1)


def true_facts(scene: Mapping[str, Any]) -> set[Fact]:
    """The facts of one scene of facts.json (dataclasses.asdict of ouro.nano.scenes.Scene)."""
    facts: set[Fact] = set()
    for c in scene["containers"]:
        facts.add(("where", c["kind"], c["slot"]))
        for item in c["items"]:
            facts |= _item_facts(item["shape"], c["kind"], item)
        if c["sign"]:
            facts.add(("sign", c["kind"], c["sign"]["word"]))
    for item in scene["loose"]:
        facts |= _item_facts(item["shape"], "floor", item)
    return facts


def _item_facts(shape: str, holder: str, values: Mapping[str, Any]) -> set[Fact]:
    name = f"{shape} on {holder}"
    return {(kind, name, str(values[key])) for kind, key in _KEYS if values.get(key)}


_KEYS = (("color", "color"), ("pattern", "pattern"), ("where", "slot"))


_HAS = rf"the (\w+)(?: (?:at|in) the {_SLOT})? has "  # the place tells namesakes apart


def stated_facts(text: str) -> set[Fact]:
    """The facts that a merged description states; facts in other words are not counted."""
    return set(_statements(text))


def repeated_facts(text: str) -> dict[Fact, int]:
    """The facts that it states more than once, and how many times more.

    Shapes are distinct within a container and on the floor, so that a repeated fact is about one thing.
    """
    return {fact: n - 1 for fact, n in Counter(_statements(text)).items() if n > 1}


def _statements(text: str) -> Iterator[Fact]:
    """Every statement of a fact, sentence by sentence."""
    for sentence in re.split(r"\.(?:\s|$)", text):
        match = re.match(_HAS, sentence) or re.match(r"(?:a|an) (\w+)(?: [a-z ]+?)? with ", sentence)
        holder = match.group(1) if match and match.group(1) in CONTAINERS else "floor"
        for item in _ITEM.finditer(sentence):
            yield from sorted(_item_facts(item["shape"], holder, item.groupdict()))
        if not sentence.startswith("the "):
            yield from (("where", c["kind"], c["slot"]) for c in _CONTAINER.finditer(sentence) if c["slot"])
        yield from (("sign", holder, word) for word in _SIGN.findall(sentence))


def quality(pairs: Iterable[tuple[str, Mapping[str, Any]]]) -> Quality:
    """Micro-averaged over (description, true scene)."""
    stated = true = right = repeated = 0
    for text, scene in pairs:
        statements, truths = stated_facts(text), true_facts(scene)
        stated, true, right = stated + len(statements), true + len(truths), right + len(statements & truths)
        repeated += sum(repeated_facts(text).values())
    return Quality(stated, true, right, repeated)
