"""An annotated image as conversations, before any format: the description, questions, regions, and grounding.

    description   prompt -> the merged description d0
    questions     the synthesized pairs, one conversation an aspect
    regions       "Describe the region <bbox>." -> the region's merged description
    grounding     "Find <ref-object> in the image." -> the boxes of all regions that are described so

`<bbox>` and `<ref-object>` stand for `boxes` and `refs`, in the order in which they appear (ms-swift's convention);
formats without them spell both out (`spelled_out`). OURO trains on the first two alone (eq. 6, 7); regions and
grounding are ours, since the boxes and their descriptions are there.

Every turn is kept or rejected:

    reserved_text  it holds one of RESERVED, which a trainer would take for a picture or a box, or a control token
                   such as <|im_end|>, which would end a turn
    empty_text     nothing was said
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ouro.core.records import Box, Image, QAPair, Region, Rejected, Scene

CONTENTS = ("description", "questions", "regions", "grounding")
PROMPT = "Describe the image in detail."
BBOX, REF = "<bbox>", "<ref-object>"
REGION_QUESTION = f"Describe the region {BBOX}."
GROUNDING_QUESTION = f"Find {REF} in the image."
CONTROL = re.compile(r"<\|[^<>|]+\|>")
# Placeholders of ms-swift, of which LLaMA-Factory and LLaVA know the first three.
RESERVED = ("<image>", "<video>", "<audio>", BBOX, REF, "<cot-process>", "<start-image>")


class Turn(NamedTuple):
    """A question and its answer; `weight` in 0..1 is how far the answer is to be believed."""

    question: str
    answer: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns about one image. `channel`: "description", an aspect, "regions" or "grounding". `boxes`: xyxy, pixels."""

    conversation_id: str
    channel: str
    turns: tuple[Turn, ...]
    refs: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()


class Annotated(NamedTuple):
    """All that was said of one image."""

    image: Image
    regions: Sequence[Region]
    scene: Scene
    pairs: Sequence[QAPair]


class _Piece(NamedTuple):
    """A turn with the text in it that a model wrote, and what its placeholders stand for."""

    channel: str
    turn: Turn
    written: tuple[str, ...]
    refs: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()


def conversations(about: Annotated, prompt: str, contents: Sequence[str]) -> tuple[list[Conversation], list[Rejected]]:
    """One conversation a channel, channels and turns in the order they were made; the turns that were rejected."""
    kept: dict[str, list[_Piece]] = {}
    rejected: list[Rejected] = []
    for piece in _pieces(about, prompt, contents):
        flaw = _flaw(piece.written)
        if flaw:
            name = f"{about.image.image_id}/{piece.channel}"
            rejected.append(Rejected("export", name, flaw, " ".join(piece.written)[:200]))
        else:
            kept.setdefault(piece.channel, []).append(piece)
    return [_joined(f"{about.image.image_id}/{channel}", channel, pieces) for channel, pieces in kept.items()], rejected


def _joined(name: str, channel: str, pieces: Sequence[_Piece]) -> Conversation:
    refs = tuple(ref for piece in pieces for ref in piece.refs)
    boxes = tuple(box for piece in pieces for box in piece.boxes)
    return Conversation(name, channel, tuple(piece.turn for piece in pieces), refs, boxes)


def _pieces(about: Annotated, prompt: str, contents: Sequence[str]) -> Iterator[_Piece]:
    if "description" in contents:
        yield _Piece("description", Turn(prompt, about.scene.text), (about.scene.text,))
    if "questions" in contents:
        for p in about.pairs:
            weight = 1.0 if p.confidence is None else p.confidence
            yield _Piece(p.aspect, Turn(p.question, p.answer, weight), (p.question, p.answer))
    said = _said(about)
    if "regions" in contents:
        for region, text in said:
            yield _Piece("regions", Turn(REGION_QUESTION, text), (text,), boxes=(region.box,))
    if "grounding" in contents:
        places: dict[str, list[Box]] = {}
        for region, text in said:
            places.setdefault(text.rstrip(" ."), []).append(region.box)
        for ref, boxes in places.items():
            turn = Turn(GROUNDING_QUESTION, BBOX * len(boxes))
            yield _Piece("grounding", turn, (ref,), (ref,), tuple(boxes))


def _said(about: Annotated) -> list[tuple[Region, str]]:
    """Every region but the whole image, with its merged description."""
    texts = dict(about.scene.region_texts)
    return [(r, texts[r.region_id]) for r in about.regions if r.parent_id is not None and r.region_id in texts]


def _flaw(written: Sequence[str]) -> str:
    if any(not text.strip() for text in written):
        return "empty_text"
    reserved = any(CONTROL.search(text) or any(mark in text for mark in RESERVED) for text in written)
    return "reserved_text" if reserved else ""


def spelled_out(conversation: Conversation, image: Image) -> tuple[Turn, ...]:
    """The turns with references as they read and boxes as [x0, y0, x1, y1], shares of the image's sides.

    LLaVA-1.5's convention, with three decimals instead of two, so that small regions stay apart.
    """
    refs, boxes = iter(conversation.refs), iter(conversation.boxes)

    def fill(text: str) -> str:
        pieces = [f"{_shares(next(boxes), image)}{after}" for after in text.split(BBOX)[1:]]
        text = text.split(BBOX)[0] + "".join(pieces)
        return text.replace(REF, next(refs)) if REF in text else text

    if not conversation.boxes:
        return conversation.turns
    return tuple(Turn(fill(t.question), fill(t.answer), t.weight) for t in conversation.turns)


def _shares(box: Box, image: Image) -> str:
    sides = (image.width, image.height, image.width, image.height)
    return "[" + ", ".join(f"{value / side:.3f}" for value, side in zip(box, sides, strict=True)) + "]"
