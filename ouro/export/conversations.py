"""An annotated image as conversations, independent of the format: description, questions, regions, grounding.

    description   prompt -> the merged description d0
    questions     the synthesized pairs, one conversation an aspect
    regions       "Describe the region <bbox>." -> the region's merged description
    grounding     "Find <ref-object> in the image." -> the boxes of all regions with that description

`<bbox>` and `<ref-object>` stand for `boxes` and `refs`, in the order in which they appear (ms-swift's convention);
formats without placeholders get text instead (`spelled_out`). OURO trains on the first two alone (eq. 6, 7); regions
and grounding are our addition.

Control tokens in texts, which a trainer would read as a picture, a box or the end of a turn, are broken and counted
(ouro.core.control_tokens). A turn whose text is empty is rejected ("empty_text").
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ouro.core.control_tokens import break_control_tokens, remove_control_tokens
from ouro.core.records import Box, Image, QAPair, Region, Rejected, Scene

CONTENTS = ("description", "questions", "regions", "grounding")
PROMPT = "Describe the image in detail."
BBOX, REF = "<bbox>", "<ref-object>"
REGION_QUESTION = f"Describe the region {BBOX}."
GROUNDING_QUESTION = f"Find {REF} in the image."


class ConversationTurn(NamedTuple):
    """A question and its answer. `weight` in 0..1: how sure the answer is, `support` times `confidence` (see QAPair),
    either of which may be unknown."""

    question: str
    answer: str
    weight: float = 1.0
    support: float | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns about one image. `channel`: "description", an aspect, "regions" or "grounding". `boxes`: xyxy, pixels."""

    conversation_id: str
    channel: str
    turns: tuple[ConversationTurn, ...]
    refs: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()


class ImageAnnotations(NamedTuple):
    """All annotations of one image."""

    image: Image
    regions: Sequence[Region]
    scene: Scene
    pairs: Sequence[QAPair]


class _Piece(NamedTuple):
    """A turn, the texts in it that a model wrote, and the values of its placeholders."""

    channel: str
    turn: ConversationTurn
    model_texts: tuple[str, ...]
    refs: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()


def break_tokens(about: ImageAnnotations) -> tuple[ImageAnnotations, int]:
    """The annotations of an image with all control tokens in their texts broken, and how many there were. A text that
    is nothing but control tokens is empty."""
    n_tokens = 0

    def clean(text: str) -> str:
        nonlocal n_tokens
        cleaned = break_control_tokens(text)
        n_tokens += cleaned.n_tokens
        return cleaned.text if not cleaned.n_tokens or remove_control_tokens(text).text.strip() else ""

    image = replace(about.image, captions=tuple(map(clean, about.image.captions)))
    regions = [replace(region, text=clean(region.text)) for region in about.regions]
    texts = tuple((region_id, clean(text)) for region_id, text in about.scene.region_texts)
    scene = replace(about.scene, text=clean(about.scene.text), region_texts=texts)
    pairs = [replace(pair, question=clean(pair.question), answer=clean(pair.answer)) for pair in about.pairs]
    return ImageAnnotations(image, regions, scene, pairs), n_tokens


def build_conversations(
    about: ImageAnnotations, prompt: str, contents: Sequence[str]
) -> tuple[list[Conversation], list[Rejected]]:
    """One conversation per channel, channels and turns in the order of creation; and the rejected turns.

    No text holds a control token, also where `break_tokens` was not called before.
    """
    about = break_tokens(about)[0]
    pieces_by_channel: dict[str, list[_Piece]] = {}
    rejected: list[Rejected] = []
    for piece in _make_pieces(about, prompt, contents):
        if any(not text.strip() for text in piece.model_texts):
            name = f"{about.image.image_id}/{piece.channel}"
            rejected.append(Rejected("export", name, "empty_text", " ".join(piece.model_texts)[:200]))
        else:
            pieces_by_channel.setdefault(piece.channel, []).append(piece)
    conversations = [
        _join_pieces(about.image.image_id, channel, pieces) for channel, pieces in pieces_by_channel.items()
    ]
    return conversations, rejected


def _join_pieces(image_id: str, channel: str, pieces: Sequence[_Piece]) -> Conversation:
    refs = tuple(ref for piece in pieces for ref in piece.refs)
    boxes = tuple(box for piece in pieces for box in piece.boxes)
    return Conversation(f"{image_id}/{channel}", channel, tuple(piece.turn for piece in pieces), refs, boxes)


def _make_pieces(about: ImageAnnotations, prompt: str, contents: Sequence[str]) -> Iterator[_Piece]:
    if "description" in contents:
        yield _Piece("description", ConversationTurn(prompt, about.scene.text), (about.scene.text,))
    if "questions" in contents:
        for p in about.pairs:
            weight = math.prod((known for known in (p.support, p.confidence) if known is not None), start=1.0)
            turn = ConversationTurn(p.question, p.answer, weight, p.support, p.confidence)
            yield _Piece(p.aspect, turn, (p.question, p.answer))
    region_texts = _list_region_texts(about)
    if "regions" in contents:
        for region, text in region_texts:
            yield _Piece("regions", ConversationTurn(REGION_QUESTION, text), (text,), boxes=(region.box,))
    if "grounding" in contents:
        boxes_by_text: dict[str, list[Box]] = {}
        for region, text in region_texts:
            boxes_by_text.setdefault(text.rstrip(" ."), []).append(region.box)
        for ref, boxes in boxes_by_text.items():
            turn = ConversationTurn(GROUNDING_QUESTION, BBOX * len(boxes))
            yield _Piece("grounding", turn, (ref,), (ref,), tuple(boxes))


def _list_region_texts(about: ImageAnnotations) -> list[tuple[Region, str]]:
    """Every region but the whole image, with its merged description."""
    texts = dict(about.scene.region_texts)
    return [(r, texts[r.region_id]) for r in about.regions if r.parent_id is not None and r.region_id in texts]


def replace_placeholders(conversation: Conversation, image: Image) -> tuple[ConversationTurn, ...]:
    """The turns with placeholders replaced: references by their text, boxes by [x0, y0, x1, y1] as shares of the sides.

    LLaVA-1.5's convention, with three decimals instead of two, so that small regions stay distinct.
    """
    refs, boxes = iter(conversation.refs), iter(conversation.boxes)

    def fill(text: str) -> str:
        pieces = [f"{_format_box(next(boxes), image)}{after}" for after in text.split(BBOX)[1:]]
        text = text.split(BBOX)[0] + "".join(pieces)
        return text.replace(REF, next(refs)) if REF in text else text

    if not conversation.boxes:
        return conversation.turns
    return tuple(t._replace(question=fill(t.question), answer=fill(t.answer)) for t in conversation.turns)


def write_boxes_of(conversation: Conversation, image: Image, family: str) -> Conversation:
    """The conversation with its boxes as text of a family of `ouro.vision.boxes.FAMILIES`, boxes that stand together as
    one. Raises KeyError for another family."""
    from ouro.vision.boxes import LabelledBox, write_boxes

    refs, boxes = iter(conversation.refs), iter(conversation.boxes)
    size = (image.width, image.height)

    def fill(text: str, ref: str) -> str:
        def write(run: re.Match[str]) -> str:
            return write_boxes([LabelledBox(ref, next(boxes)) for _ in range(run[0].count(BBOX))], size, family)

        return re.sub(f"(?:{BBOX})+", write, text)

    turns: list[ConversationTurn] = []
    for turn in conversation.turns:
        ref = next(refs) if REF in turn.question else ""
        question = fill(turn.question.replace(REF, ref), "")
        turns.append(turn._replace(question=question, answer=fill(turn.answer, ref)))
    return replace(conversation, turns=tuple(turns), refs=(), boxes=())


def _format_box(box: Box, image: Image) -> str:
    sides = (image.width, image.height, image.width, image.height)
    return "[" + ", ".join(f"{value / side:.3f}" for value, side in zip(box, sides, strict=True)) + "]"
