"""A model's replies to a benchmark's questions, each asked once and kept.

A reply is kept under all that decides it: the model's fingerprint, the prompt, the bytes of the picture, which regions
are shown beside it, the bounds of pixels and the length. So a repeat asks nothing, a killed run goes on where it was,
and the same question in another run is not asked again. Models answer greedily.

With k > 0 the picture's k largest sub-regions are shown beside it, as ouro.benchmarks.answering does for the stage.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ouro.benchmarks.items import Item
from ouro.benchmarks.predictions import encodable
from ouro.core.crops import crop
from ouro.core.images import ImageError, chunks, load_image
from ouro.vision.protocols import Refused, Request

if TYPE_CHECKING:
    import PIL.Image

    from ouro.core.records import Box
    from ouro.vision.protocols import VisionLM

CHUNK = 2048  # questions that are looked up, and kept, at once


class Pictures(Protocol):
    """The pictures of a benchmark, by Item.image."""

    def digest(self, image: str) -> str:
        """Of the encoded picture; "" when it is missing."""
        ...

    def open(self, image: str) -> PIL.Image.Image:
        """Decoded, RGB. Raises ImageError for one that cannot be."""
        ...


class Settings(NamedTuple):
    """How a question is put. `regions` names what decides the boxes of a picture; "" shows none.

    max_pixels: bounds of the picture and of each region.
    """

    prompt: Callable[[Item], str]
    max_new_tokens: int
    max_pixels: tuple[int, int]
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
        self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT) WITHOUT ROWID")

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """The kept ones."""
        found: dict[str, str] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            marks = ",".join("?" * len(part))
            found.update(self._db.execute(f"SELECT key, reply FROM replies WHERE key IN ({marks})", part))
        return found

    def put(self, replies: dict[str, str]) -> None:
        """All of them, or none."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?)", replies.items())
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()


class Question(NamedTuple):
    """An item as it is asked: about which picture, which need not be its own."""

    item: Item
    image: str


class Answer(NamedTuple):
    """A reply; or None, and why: missing_image, unreadable_image, refused."""

    item: Item
    reply: str | None
    reason: str


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
        known = asker.store.get([key for key in dict.fromkeys(keys) if key])
        progress(sum(not key or key in known for key in keys))
        todo = {key: q for key, q in zip(keys, chunk, strict=True) if key and key not in known}
        reasons = dict.fromkeys(todo, "unreadable_image") | {"": "missing_image"}
        for said in _asked(todo, asker, pictures, settings):
            asker.store.put({key: str(reply) for key, reply in said.items() if not isinstance(reply, Refused)})
            known |= {key: str(reply) for key, reply in said.items() if not isinstance(reply, Refused)}
            reasons |= dict.fromkeys(said, "refused")
            progress(sum(key in said for key in keys))
        yield from (Answer(q.item, known.get(key), reasons.get(key, "")) for key, q in zip(keys, chunk, strict=True))


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


def _asked(todo: dict[str, Question], asker: Asker, pictures: Pictures, settings: Settings) -> Iterator[dict[str, str]]:
    """Replies in runs of questions whose pictures fit into CHUNK_PIXELS, questions about one picture together."""
    by_image: dict[str, list[str]] = {}
    for key, q in todo.items():
        by_image.setdefault(q.image, []).append(key)
    opened = ((image, picture) for image in by_image if (picture := _opened(pictures, image)) is not None)
    for held in chunks(opened, lambda pair: pair[1].width * pair[1].height):
        yield _generate(held, by_image, todo, asker, settings)


def _opened(pictures: Pictures, image: str) -> PIL.Image.Image | None:
    try:
        return pictures.open(image)
    except ImageError:
        return None


def _generate(
    held: Sequence[tuple[str, PIL.Image.Image]],
    by_image: dict[str, list[str]],
    todo: dict[str, Question],
    asker: Asker,
    settings: Settings,
) -> dict[str, str]:
    boxes = asker.boxes(held) if settings.regions else {}
    keys: list[str] = []
    requests: list[Request] = []
    for image, picture in held:
        shown = (picture, *(crop(picture, box, 0.0) for box in boxes.get(image, ())))
        whole, region = settings.max_pixels
        bounds = (whole, *[region] * (len(shown) - 1))
        keys += by_image[image]
        requests += [Request(shown, settings.prompt(todo[key].item), bounds) for key in by_image[image]]
    said = asker.load().generate(requests, max_new_tokens=settings.max_new_tokens)
    return {
        key: reply if isinstance(reply, Refused) else encodable(reply) for key, reply in zip(keys, said, strict=True)
    }


class FilePictures:
    """Pictures below folders, by their path there or by their file name."""

    def __init__(self, folders: Sequence[Path], max_pixels: int) -> None:
        self._folders, self._max_pixels = folders, max_pixels
        self._by_name: dict[str, Path] = {}
        self._digests: dict[str, str] = {}

    def path(self, image: str) -> Path | None:
        """Where a picture lies; the folders are searched once when it is not where its path says."""
        name = Path(image).name
        for folder in self._folders:
            for place in (folder / image, folder / "images" / image, folder / name, folder / "images" / name):
                if place.is_file():
                    return place
        if not self._by_name:
            files = (p for folder in self._folders for p in sorted(folder.rglob("*")) if p.is_file())
            self._by_name = {p.name: p for p in files} or {"": Path()}
        return self._by_name.get(name)

    def digest(self, image: str) -> str:
        if image not in self._digests:
            path = self.path(image)
            self._digests[image] = hashlib.sha256(path.read_bytes()).hexdigest() if path else ""
        return self._digests[image]

    def open(self, image: str) -> PIL.Image.Image:
        path = self.path(image)
        assert path is not None  # `digest` found it
        return load_image(path, self._max_pixels)
