"""The language of nano scenes: captions, questions, and the writer's training text.

Coarse captions and questions are what a human annotator would have written; fine ones are the held-out
benchmark. All text is lower-case English that the nano tokenizer covers.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from ouro.nano.scenes import COLORS, CONTAINERS, SHAPES, Container, Item, Scene

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
FINE_TYPES = ("color", "pattern", "shape", "count", "count_shape", "where", "neighbour", "existence", "sign")
DESCRIBE = "describe the image."


class QA(NamedTuple):
    """A question with its one right answer and its type."""

    type: str
    question: str
    answer: str


def plural(shape: str) -> str:
    return shape + ("es" if shape.endswith("s") else "s")


def listing(parts: list[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def on(holder: str) -> str:
    return f"in the {holder}" if holder == "box" else f"on the {holder}"


# ---- captions ------------------------------------------------------------------------------------------------


def item_caption(item: Item) -> str:
    return f"a {item.name}"


def container_caption(c: Container) -> str:
    parts = [f"a {i.shape}" for i in c.items] + (["a sign"] if c.sign else [])
    return f"a {c.kind} with {listing(parts)}"


def coarse_caption(scene: Scene) -> str:
    return f"{listing([f'a {c.kind}' for c in scene.containers])} with some objects"


# ---- questions -----------------------------------------------------------------------------------------------


def coarse_questions(scene: Scene) -> list[QA]:
    """What the collection's own annotators would have asked."""
    kinds = {c.kind for c in scene.containers}
    out = [QA("coarse", f"is there a {k}?", "yes" if k in kinds else "no") for k in CONTAINERS]
    out.append(QA("coarse", "how many containers are there?", NUMBERS[len(scene.containers)]))
    out.append(QA("coarse", "is there a sign?", "yes" if any(c.sign for c in scene.containers) else "no"))
    out.append(QA("coarse", "are there objects on the floor?", "yes" if scene.loose else "no"))
    return out


def item_questions(item: Item, holder: str, *, unique_color: bool = True) -> list[QA]:
    at = f" {on(holder)}" if holder else ""
    out = [
        QA("color", f"what color is the {item.shape}{at}?", item.color),
        QA("pattern", f"what pattern is the {item.shape}{at}?", item.pattern),
    ]
    if unique_color:
        out.append(QA("shape", f"what shape is the {item.color} object{at}?", item.shape))
    return out


def container_questions(c: Container) -> list[QA]:
    """Every fine question about a container's inside."""
    out: list[QA] = []
    for item in c.items:
        out += item_questions(item, c.kind)
        out.append(QA("where", f"where is the {item.shape} {on(c.kind)}?", item.slot))
    out += neighbours(c)
    if len(c.items) < len(NUMBERS):  # a description of something else may hold more than the world does
        out.append(QA("count", f"how many objects are {on(c.kind)}?", NUMBERS[len(c.items)]))
    if c.sign:
        out.append(QA("sign", f"what does the sign {on(c.kind)} say?", c.sign.word))
    return out


def neighbours(c: Container) -> list[QA]:
    by_slot = {i.slot: i for i in c.items}
    out: list[QA] = []
    for side in ("top", "bottom"):
        pair = by_slot.get(f"{side} left"), by_slot.get(f"{side} right")
        out += _pair(c, pair, ("left of", "right of"))
    for side in ("left", "right"):
        out += _pair(c, (by_slot.get(f"top {side}"), by_slot.get(f"bottom {side}")), ("above", "below"))
    return out


def _pair(c: Container, pair: tuple[Item | None, Item | None], words: tuple[str, str]) -> list[QA]:
    a, b = pair
    if a is None or b is None:
        return []
    ask = "what is {} the {} {}?".format
    return [
        QA("neighbour", ask(words[0], b.shape, on(c.kind)), a.shape),
        QA("neighbour", ask(words[1], a.shape, on(c.kind)), b.shape),
    ]


def existence(items: tuple[Item, ...], rng: np.random.Generator, n: int) -> list[QA]:
    """n questions, half of them about a colour that no such shape has."""
    out: list[QA] = []
    for k in range(n if items else 0):
        item = items[int(rng.integers(len(items)))]
        present = {i.color for i in items if i.shape == item.shape}
        absent = [c for c in COLORS if c not in present]
        color = item.color if k % 2 == 0 else str(rng.choice(absent))
        out.append(QA("existence", f"is there a {color} {item.shape}?", "yes" if k % 2 == 0 else "no"))
    return out


def count_shapes(scene: Scene) -> list[QA]:
    counts: dict[str, int] = defaultdict(int)
    for item in scene.items:
        counts[item.shape] += 1
    ask = "how many {} are there?".format
    return [QA("count_shape", ask(plural(s)), NUMBERS[counts[s]]) for s in SHAPES if 0 < counts[s] < len(NUMBERS)]


def fine_questions(scene: Scene, rng: np.random.Generator) -> list[QA]:
    """Every fine question about a whole scene (existence: two, one of each answer)."""
    out: list[QA] = [QA("where", f"where is the {c.kind}?", c.slot) for c in scene.containers]
    for c in scene.containers:
        out += container_questions(c)
    for item in scene.loose:
        out += item_questions(item, "floor")
    return out + count_shapes(scene) + existence(scene.items, rng, 2)


def aspect_pairs(scene: Scene, aspect: str, rng: np.random.Generator) -> list[QA]:
    """What the nano writer should ask about one aspect, in the order of the merged description."""
    placements = [(i, c.kind) for c in scene.containers for i in c.items] + [(i, "floor") for i in scene.loose]
    if aspect == "object details":
        return [q for i, h in placements for q in item_questions(i, h) if q.type in ("color", "shape")]
    if aspect == "style":
        return [q for i, h in placements for q in item_questions(i, h) if q.type == "pattern"]
    if aspect == "spatial relationships":
        where = [QA("where", f"where is the {c.kind}?", c.slot) for c in scene.containers]
        inner = [q for c in scene.containers for q in container_questions(c) if q.type == "where"]
        return where + inner + [q for c in scene.containers for q in neighbours(c)]
    if aspect == "scene context":
        types = ("count", "sign")
        per = [q for c in scene.containers for q in container_questions(c) if q.type in types]
        return per + count_shapes(scene)
    out: list[QA] = []  # interactions: what is there, as often denied as affirmed, and what holds what
    for i, h in placements:
        absent = [c for c in COLORS if all((c, i.shape) != (o.color, o.shape) for o in scene.items)]
        out.append(QA("existence", f"is there a {i.color} {i.shape}?", "yes"))
        out.append(QA("existence", f"is there a {rng.choice(absent)} {i.shape}?", "no"))
        if h != "floor":
            out.append(QA("holder", f"what holds the {i.color} {i.shape}?", h))
    return out[:24]


def write_pairs(pairs: list[QA]) -> str:
    """The writer's output form: 'question? answer. question? answer.'"""
    return " ".join(f"{q.question} {q.answer}." for q in pairs)


def vocabulary() -> list[str]:
    """Every word of the nano language, sorted."""
    from ouro.annotate.prompts import ASPECTS
    from ouro.nano.scenes import PATTERNS, WORDS

    fixed = (
        "a an and are assistant at box bottom by center color containers count describe does floor from holds how "
        "image in is it left like look looks many no not object objects of on pattern question questions right "
        "say says shape sign some system that the there top unknown user what where which with write yes you "
        "above below next to about answer"
    ).split()  # fmt: skip
    words = {*fixed, *COLORS, *SHAPES, *(plural(s) for s in SHAPES), *PATTERNS, *CONTAINERS, *NUMBERS, *WORDS}
    return sorted(words | {w for a in ASPECTS for w in a.split()})
