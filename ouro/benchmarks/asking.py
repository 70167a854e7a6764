"""A model's replies to a benchmark's questions, each asked once and kept.

A reply is kept under all that decides it: the model's fingerprint, the prompt, the bytes of the picture, which regions
are shown beside it, the bounds of pixels and the length. It is kept as soon as its batch is answered. So a repeat asks
nothing, a killed run goes on with the batch that it was at, and the same question in another run is not asked again.
Models answer greedily. An empty reply (all tokens went into reasoning, say) counts as one in this run, and is asked for
again in the next.

With k > 0 the picture's k largest sub-regions are shown beside it, cut and bounded as in training
(ouro.training.samples).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ouro.benchmarks.items import Item
from ouro.benchmarks.reply_keys import encodable
from ouro.benchmarks.reply_store import ReplyStore
from ouro.core.boxes import area
from ouro.core.crops import crop
from ouro.core.images import CHUNK_PIXELS, ImageError, chunks
from ouro.vision.protocols import Refused, Request

if TYPE_CHECKING:
    import PIL.Image

    from ouro.benchmarks.pictures import Pictures
    from ouro.core.records import Box, Region
    from ouro.vision.protocols import VisionLM

__all__ = ["Answer", "Asker", "Question", "ReplyStore", "Settings", "Tally", "ask", "largest_regions"]

CHUNK = 2048  # questions that are looked up, and kept, at once


class Settings(NamedTuple):
    """How a question is put.

    max_pixels: bounds of the picture and of each region
    k:          at most so many regions are shown; `regions` names what decides their boxes, "" where there are none
    """

    prompt: Callable[[Item], str]
    max_new_tokens: int
    max_pixels: tuple[int, int]
    k: int = 0
    regions: str = ""


@dataclass
class Tally:
    """Different questions by where their replies came from: `stored` from an earlier run, `asked` of the model; of the
    latter `empty` without a word in the reply, which are not kept, and `refused`."""

    stored: int = 0
    asked: int = 0
    empty: int = 0
    refused: int = 0

    def line(self) -> str:
        """ "120 replies from the store, 30 asked (2 empty and not kept)"."""
        parts = [f"{self.empty} empty and not kept"] if self.empty else []
        parts += [f"{self.refused} refused"] if self.refused else []
        return f"{self.stored} replies from the store, {self.asked} asked" + (f" ({', '.join(parts)})" if parts else "")


@dataclass(frozen=True)
class Asker:
    """A model that is loaded when the first question has no kept reply, and the regions it is shown."""

    fingerprint: str
    load: Callable[[], VisionLM]
    boxes: Callable[[Sequence[tuple[str, PIL.Image.Image]]], dict[str, list[Box]]]
    store: ReplyStore
    tally: Tally = field(default_factory=lambda: Tally())


Keep = Callable[[Mapping[str, str]], None]


class Question(NamedTuple):
    """An item as it is asked: about which picture, which need not be its own."""

    item: Item
    image: str


class Answer(NamedTuple):
    """A reply; or None, and why: missing_image, ambiguous_image, unreadable_image, refused; and in words."""

    item: Item
    reply: str | None
    reason: str
    detail: str = ""


def ask(
    questions: Iterable[Question],
    asker: Asker,
    pictures: Pictures,
    settings: Settings,
    progress: Callable[[int], None] = lambda n: None,
) -> Iterator[Answer]:
    """The answer to each question, in order. What a server refuses is not kept, nor is an empty reply."""
    waiting = iter(questions)
    while chunk := list(islice(waiting, CHUNK)):
        keys = [_key(q, asker, pictures, settings) for q in chunk]
        replies = asker.store.get([key for key in dict.fromkeys(keys) if key])
        asker.tally.stored += len(replies)
        progress(sum(not key or key in replies for key in keys))
        todo = {key: q for key, q in zip(keys, chunk, strict=True) if key and key not in replies}
        reasons = dict.fromkeys(todo, "unreadable_image")
        _ask_all(todo, asker, pictures, settings, _keeper(asker, replies, reasons, Counter(keys), progress))
        for key, q in zip(keys, chunk, strict=True):
            absent = (reasons.get(key, ""), q.image) if key else pictures.absence(q.image)
            yield Answer(q.item, replies.get(key), *absent)


def _keeper(
    asker: Asker, replies: dict[str, str], reasons: dict[str, str], times: Mapping[str, int],
    progress: Callable[[int], None],
) -> Keep:  # fmt: skip
    """What is done with the replies of a batch; `times`: how many questions share a key."""

    def keep(batch: Mapping[str, str]) -> None:
        texts = {key: encodable(reply) for key, reply in batch.items() if not isinstance(reply, Refused)}
        asker.store.put(texts)
        asker.tally.asked += len(batch)
        asker.tally.empty += sum(not reply.strip() for reply in texts.values())
        asker.tally.refused += len(batch) - len(texts)
        replies.update(texts)
        reasons.update(dict.fromkeys(batch, "refused"))
        progress(sum(times[key] for key in batch))

    return keep


def _key(q: Question, asker: Asker, pictures: Pictures, settings: Settings) -> str:
    """ "" for a missing picture."""
    digest = pictures.digest(q.image)
    if not digest:
        return ""
    decides = [
        asker.fingerprint, settings.prompt(q.item), digest, settings.regions, settings.max_pixels,
        settings.max_new_tokens,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


def _ask_all(todo: Mapping[str, Question], asker: Asker, pictures: Pictures, settings: Settings, keep: Keep) -> None:
    """Ask in runs of questions whose pictures, with the most that their regions can have, fit into CHUNK_PIXELS;
    questions about one picture together."""
    by_image: dict[str, list[str]] = {}
    for key, q in todo.items():
        by_image.setdefault(q.image, []).append(key)
    opened = ((image, picture) for image in by_image if (picture := _opened(pictures, image)) is not None)
    for chunk in chunks(opened, lambda pair: pair[1].width * pair[1].height * (1 + settings.k), CHUNK_PIXELS):
        _generate(chunk, by_image, todo, asker, settings, keep)


def _opened(pictures: Pictures, image: str) -> PIL.Image.Image | None:
    try:
        return pictures.open(image)
    except ImageError:
        return None


def _generate(
    opened: Sequence[tuple[str, PIL.Image.Image]], by_image: Mapping[str, Sequence[str]],
    todo: Mapping[str, Question], asker: Asker, settings: Settings, keep: Keep,
) -> None:  # fmt: skip
    boxes = asker.boxes(opened) if settings.k else {}
    keys: list[str] = []
    requests: list[Request] = []
    for image, picture in opened:
        pictures = (picture, *(crop(picture, box, 0.0) for box in boxes.get(image, ())))
        whole, region = settings.max_pixels
        bounds = (whole, *[region] * (len(pictures) - 1))
        keys += by_image[image]
        requests += [Request(pictures, settings.prompt(todo[key].item), bounds) for key in by_image[image]]

    def on_replies(batch: Mapping[int, str]) -> None:
        keep({keys[i]: reply for i, reply in batch.items()})

    asker.load().generate(requests, max_new_tokens=settings.max_new_tokens, on_replies=on_replies)


def largest_regions(regions: Iterable[Region], k: int) -> dict[str, list[Box]]:
    """image_id -> boxes of its k largest sub-regions, in the order of its tree; ties go to the earlier one.

    Training shows k random sub-regions (OURO section 3.2); a benchmark must not depend on a draw.
    """
    trees: dict[str, list[Region]] = {}
    for region in regions:
        if region.parent_id is not None:
            trees.setdefault(region.image_id, []).append(region)
    boxes_by_image: dict[str, list[Box]] = {}
    for image_id, tree in trees.items():
        ranked = sorted(range(len(tree)), key=lambda i: (-area(tree[i].box), i))
        boxes_by_image[image_id] = [tree[i].box for i in sorted(ranked[:k])]
    return boxes_by_image
