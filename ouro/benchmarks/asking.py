"""A model's replies to a benchmark's questions, each asked once and kept.

A reply is kept under all that decides it: the model's fingerprint, the prompt, the bytes of the picture, which regions
are shown beside it, the bounds of pixels and the length. It is kept as soon as its batch is answered. So a repeat asks
nothing, a killed run goes on with the batch that it was at, and the same question in another run is not asked again.
Models answer greedily.

With k > 0 the picture's k largest sub-regions are shown beside it, cut and bounded as in training
(ouro.training.samples).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ouro.benchmarks.items import Item
from ouro.benchmarks.reply_keys import encodable
from ouro.core.boxes import area
from ouro.core.crops import crop
from ouro.core.images import CHUNK_PIXELS, ImageError, chunks
from ouro.vision.protocols import Refused, Request

if TYPE_CHECKING:
    import PIL.Image

    from ouro.benchmarks.pictures import Pictures
    from ouro.core.records import Box, Region
    from ouro.vision.protocols import VisionLM

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


@dataclass(frozen=True)
class Asker:
    """A model that is loaded when the first question has no kept reply, and the regions it is shown."""

    fingerprint: str
    load: Callable[[], VisionLM]
    boxes: Callable[[Sequence[tuple[str, PIL.Image.Image]]], dict[str, list[Box]]]
    store: ReplyStore


class ReplyStore:
    """Replies by key, in SQLite: several processes may write to it, and what is committed survives a kill."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # what a killed process committed is there all the same
        self._db.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT) WITHOUT ROWID")

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """The kept ones."""
        replies: dict[str, str] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            marks = ",".join("?" * len(part))
            replies.update(self._db.execute(f"SELECT key, reply FROM replies WHERE key IN ({marks})", part))
        return replies

    def put(self, replies: dict[str, str]) -> None:
        """All of them, or none."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?)", replies.items())
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()


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
    """The answer to each question, in order. What a server refuses is not kept."""
    waiting = iter(questions)
    while chunk := list(islice(waiting, CHUNK)):
        keys = [_key(q, asker, pictures, settings) for q in chunk]
        replies = asker.store.get([key for key in dict.fromkeys(keys) if key])
        progress(sum(not key or key in replies for key in keys))
        todo = {key: q for key, q in zip(keys, chunk, strict=True) if key and key not in replies}
        reasons = dict.fromkeys(todo, "unreadable_image")
        _ask_all(todo, asker, pictures, settings, _keeper(asker.store, replies, reasons, Counter(keys), progress))
        for key, q in zip(keys, chunk, strict=True):
            absent = (reasons.get(key, ""), q.image) if key else pictures.absence(q.image)
            yield Answer(q.item, replies.get(key), *absent)


def _keeper(
    store: ReplyStore, replies: dict[str, str], reasons: dict[str, str], times: Mapping[str, int],
    progress: Callable[[int], None],
) -> Keep:  # fmt: skip
    """What is done with the replies of a batch; `times`: how many questions share a key."""

    def keep(batch: Mapping[str, str]) -> None:
        texts = {key: encodable(reply) for key, reply in batch.items() if not isinstance(reply, Refused)}
        store.put(texts)
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
