"""Rows for the pretraining of the nano VLM: pictures with captions and questions.

The gap of real VLMs is imitated by omission: close-ups and container crops come with fine captions
and questions, whole scenes with coarse ones only. Every draw comes from the passed Generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ouro.annotate.prompts import ASPECTS, NANO
from ouro.nano import language as say
from ouro.nano.ideal import merged_description
from ouro.nano.scenes import (
    COLORS,
    PATTERNS,
    SHAPES,
    SIZE,
    SLOTS,
    Box,
    Item,
    Pixels,
    Scene,
    draw_scene,
    paste_item,
    render,
    tint,
)  # fmt: skip

Rng = np.random.Generator


class Turn(NamedTuple):
    """A prompt with its reply; `kind` is "caption", "writer" or the question's type."""

    kind: str
    prompt: str
    reply: str


class Lesson(NamedTuple):
    """One picture, an optional text beside it that all turns share, and the turns."""

    picture: Pixels
    context: str
    turns: tuple[Turn, ...]
    whole: bool = False


def _ask(questions: Sequence[say.QA], rng: Rng, n: int) -> list[Turn]:
    """Up to n questions; types are drawn evenly so that rare ones appear often enough."""
    if not questions:
        return []
    kinds = [q.type for q in questions]
    weight = np.array([1 / kinds.count(k) for k in kinds])
    indices = rng.choice(len(questions), size=min(n, len(questions)), replace=False, p=weight / weight.sum())
    return [Turn(questions[i].type, questions[i].question, questions[i].answer) for i in indices]


def _caption(text: str) -> Turn:
    return Turn("caption", say.DESCRIBE, text)


_BACKGROUNDS = ((232, 232, 224), (205, 170, 125), (224, 224, 216), (200, 214, 230), (232, 205, 160))


def closeup(rng: Rng, low: int, high: int, side: int, p_caption: float, n_turns: int) -> Lesson:
    """`low` to `high` objects in a 2 x 2 arrangement on plain ground, `side` px wide."""
    n = int(rng.integers(low, high + 1))
    shapes, colors = rng.permutation(SHAPES)[:n], rng.permutation(list(COLORS))[:n]
    slots = sorted(rng.permutation(4)[:n])
    cell = side // 2
    items: list[Item] = []
    for slot, shape, color in zip(slots, shapes, colors, strict=True):
        size = int(rng.integers(26, min(37, cell - 1)))
        x0 = (slot % 2) * cell + int(rng.integers(0, cell - size + 1))
        y0 = (slot // 2) * cell + int(rng.integers(0, cell - size + 1))
        look = (str(shape), str(color), str(rng.choice(PATTERNS)))
        items.append(Item(*look, (x0, y0, x0 + size, y0 + size), SLOTS[slot]))
    base = np.array(_BACKGROUNDS[int(rng.integers(len(_BACKGROUNDS)))], dtype=np.float32)
    canvas = np.broadcast_to(base, (side, side, 3)).copy()
    for item in items:
        paste_item(canvas, item)
    canvas *= tint(side)
    canvas *= np.linspace(1.0, 0.86, side, dtype=np.float32)[None, :, None] * rng.uniform(0.84, 1.0)
    canvas += rng.standard_normal((side, side, 1), dtype=np.float32) * 2.5
    picture = np.clip(canvas, 0, 255).astype(np.uint8)
    if rng.random() < p_caption:
        return Lesson(picture, "", (_caption(say.listing([say.item_caption(i) for i in items])),))
    questions = [q for i in items for q in say.item_questions(i, "")]
    questions += [say.QA("where", f"where is the {i.shape}?", i.slot) for i in items]
    if n > 2:
        questions += say.existence(tuple(items), rng, 2)
    return Lesson(picture, "", tuple(_ask(questions, rng, n_turns)))


def _crop(picture: Pixels, box: Box, rng: Rng, context: float) -> Pixels:
    """The box with `context` around it and the jitter of a real proposal, clipped to the picture."""
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    grow = np.array([-context * w, -context * h, context * w, context * h])
    edge = np.array([x0, y0, x1, y1]) + grow + rng.normal(0, 0.025, 4) * np.array([w, h, w, h])
    ax, ay, bx, by = np.clip(np.round(edge), 0, SIZE).astype(int)
    return picture[ay:by, ax:bx]


def crops(scene: Scene, picture: Pixels, rng: Rng, n_turns: int) -> list[Lesson]:
    """All container crops of a scene, two of its objects and one of its signs, each described or asked about."""
    out: list[Lesson] = []
    for c in scene.containers:
        questions = say.container_questions(c) + say.existence(c.items, rng, 2)
        turns = [_caption(say.container_caption(c)), *_ask(questions, rng, n_turns)]
        out.append(Lesson(_crop(picture, c.box, rng, 0.06), "", tuple(turns)))
    for k in rng.permutation(len(scene.items))[:2]:
        item = scene.items[int(k)]
        turns = [_caption(say.item_caption(item)), *_ask(say.item_questions(item, ""), rng, 1)]
        out.append(Lesson(_crop(picture, item.box, rng, 0.06), "", tuple(turns)))
    signs = [c.sign for c in scene.containers if c.sign]
    if signs and rng.random() < 0.5:
        out.append(Lesson(_crop(picture, signs[0].box, rng, 0.06), "", (_caption("a sign"),)))
    return out


def coarse(scene: Scene, picture: Pixels, rng: Rng, n_turns: int) -> Lesson:
    """A whole scene, described and asked about coarsely."""
    turns = [_caption(say.coarse_caption(scene)), *_ask(say.coarse_questions(scene), rng, n_turns)]
    return Lesson(picture, "", tuple(turns), whole=True)


def writer(described: Scene, picture: Pixels, rng: Rng) -> Lesson:
    """Write question-answer pairs from a description. The picture shows another scene: look in the text."""
    text = merged_description(described)
    turns: list[Turn] = []
    for aspect in rng.permutation(ASPECTS)[:2]:
        prompt = NANO.format(description="", aspect=str(aspect)).strip()
        reply = say.write_pairs(say.aspect_pairs(described, str(aspect), rng))
        if reply:
            turns.append(Turn("writer", prompt, reply))
    return Lesson(picture, text, tuple(turns), whole=True)


def phase_lessons(phase: int, rng: Rng, rows: int) -> tuple[list[Lesson], list[Lesson]]:
    """(short lessons, writer lessons) of one step of phase 1 to 5. Look-up appears in phases 1 and 2.

    Phase 5 dwells on coarse questions about whole scenes, which phase 4 asks too few of.
    """
    short: dict[int, Callable[[], Lesson]] = {
        1: lambda: closeup(rng, 1, 2, 64, 0.25, 4),
        2: lambda: closeup(rng, 2, 2, 64, 0.10, 4),
        3: lambda: closeup(rng, 2, 4, 64, 0.15, 5) if rng.random() < 0.5 else closeup(rng, 1, 4, 96, 0.15, 5),
    }
    if phase in short:
        return [short[phase]() for _ in range(rows)], []
    p_coarse, n_coarse, n_writers = (0.6, 3, max(1, rows // 8)) if phase == 4 else (1.0, 7, 1)
    lessons: list[Lesson] = []
    scenes: list[tuple[Scene, Pixels]] = []
    while len(lessons) < rows:
        scene = draw_scene(rng)
        picture = render(scene)
        scenes.append((scene, picture))
        lessons += crops(scene, picture, rng, 4)
        if rng.random() < p_coarse:
            lessons.append(coarse(scene, picture, rng, n_coarse))
        if rng.random() < 0.5:
            lessons.append(closeup(rng, 1, 2, 64, 0.25, 4))
    writers = [writer(draw_scene(rng), scenes[k % len(scenes)][1], rng) for k in range(n_writers)]
    return lessons[:rows], writers
