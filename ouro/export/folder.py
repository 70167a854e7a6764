"""A folder of one format, whole or not at all: written beside its place, shard by shard, then renamed into it."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from ouro.core.errors import OuroError
from ouro.core.files import ArtifactError, write_json
from ouro.core.records import Image, QAPair, Region, Scene
from ouro.export.conversations import Annotated, Conversation, conversations
from ouro.export.writers import CARRIES_PICTURES, FORMATS, Item
from ouro.pages.gallery import replacing

PICTURES = ("copy", "link", "reference")
COUNTS = "counts.json"


class ExportError(OuroError, ValueError):
    """An export that cannot be made as asked: what, got, expected, fix."""


class Shard(NamedTuple):
    """The records of one shard."""

    stem: str
    images: Sequence[Image]
    regions: Sequence[Region]
    scenes: Sequence[Scene]
    pairs: Sequence[QAPair]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to write: `format` a key of FORMATS, `contents` some of CONTENTS, `pictures` one of PICTURES.

    copy: picture files lie in images/; link: as hard links; reference: rows name the files where they are.
    """

    format: str
    contents: Sequence[str]
    prompt: str
    pictures: str = "copy"


@dataclass(frozen=True, slots=True)
class Counts:
    """images_in == images_out + the sum over images_rejected. `conversations` and `turns`: what was written, by
    channel; `turns_rejected`: by reason.

    Images are rejected as "held_out" (the test split), "not_described" (merge rejected them) or "nothing_said".
    """

    format: str
    images_in: int
    images_out: int
    images_rejected: dict[str, int]
    conversations: dict[str, int]
    turns: dict[str, int]
    turns_rejected: dict[str, int]

    def line(self) -> str:
        """All of it in one line."""
        n_images, n_turns = sum(self.images_rejected.values()), sum(self.turns_rejected.values())
        return (
            f"export: {self.images_in} images in, {self.images_out} out, {n_images} rejected"
            f"{_reasons(self.images_rejected)}; {sum(self.turns.values())} turns{_reasons(self.turns)} in "
            f"{sum(self.conversations.values())} conversations, {n_turns} turns rejected{_reasons(self.turns_rejected)}"
        )


def _reasons(counts: dict[str, int]) -> str:
    return f" ({', '.join(f'{name} {n}' for name, n in counts.items())})" if counts else ""


def export(
    shards: Iterable[Shard], images: Path, out: Path, wanted: Wanted, progress: Callable[[int], None] = lambda n: None
) -> Counts:
    """Write `out`; `images` is the folder that image paths start from. `progress` counts images.

    An earlier export in `out` is replaced once the new one is whole; anything else there is refused (ExportError).
    """
    _check(out, wanted)
    with replacing(out.resolve()) as folder:
        counts = _write(shards, images, folder, wanted, progress)
        write_json(folder / COUNTS, {"ouro_export": asdict(counts)})
    return counts


def _check(out: Path, wanted: Wanted) -> None:
    if wanted.format not in FORMATS:
        raise ExportError(f"--format {wanted.format}: not a format; expected one of {', '.join(FORMATS)}")
    if wanted.pictures not in PICTURES:
        raise ExportError(f"--images {wanted.pictures}: expected one of {', '.join(PICTURES)}")
    if wanted.pictures != "copy" and wanted.format in CARRIES_PICTURES:
        raise ExportError(
            f"--images {wanted.pictures}: {wanted.format} holds its pictures in its own files; leave --images out"
        )
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or _is_export(out))):
        raise ExportError(f"--out {out}: got something that is no earlier export, expected a new or empty folder")


def _is_export(folder: Path) -> bool:
    try:
        return "ouro_export" in json.loads((folder / COUNTS).read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def _write(
    shards: Iterable[Shard], images: Path, folder: Path, wanted: Wanted, progress: Callable[[int], None]
) -> Counts:
    writer = FORMATS[wanted.format](folder)
    tally = _Tally()
    try:
        for shard in shards:
            writer.write(shard.stem, [_placed(item, folder, wanted) for item in tally.items(shard, images, wanted)])
            progress(len(shard.images))
    finally:
        writer.close()
    return tally.counts(wanted.format)


def _placed(item: Item, folder: Path, wanted: Wanted) -> Item:
    """The item with its picture file where the rows say it is."""
    inside = not PurePosixPath(item.path).is_absolute() and ".." not in PurePosixPath(item.path).parts
    if not inside or PurePosixPath(item.path.removeprefix("images/")).is_absolute():
        raise ExportError(f"{item.path}: got a path out of the dataset's folder, expected one below it; rerun ingest")
    if not item.picture.is_file():
        raise ArtifactError(f"{item.picture}: not found; expected the picture of an image record; rerun ingest")
    if wanted.format in CARRIES_PICTURES:
        return item
    if wanted.pictures == "reference":
        return item._replace(path=str(item.picture.resolve()))
    place = folder / item.path
    place.parent.mkdir(parents=True, exist_ok=True)
    if wanted.pictures == "link":
        _link(item.picture, place)
    else:
        shutil.copyfile(item.picture, place)
    return item


def _link(picture: Path, place: Path) -> None:
    try:
        os.link(picture.resolve(), place)
    except OSError as error:
        raise ExportError(f"--images link: {error}; expected both folders on one disk. Fix: --images copy") from error


class _Tally:
    """Counts while it makes items out of records."""

    def __init__(self) -> None:
        self.images_in = self.images_out = 0
        self.images: Counter[str] = Counter()
        self.conversations: Counter[str] = Counter()
        self.turns: Counter[str] = Counter()
        self.turns_rejected: Counter[str] = Counter()

    def items(self, shard: Shard, images: Path, wanted: Wanted) -> list[Item]:
        """The images of a shard that something is said about, of the training split."""
        scenes = {scene.image_id: scene for scene in shard.scenes}
        regions, pairs = _by_image(shard.regions), _by_image(shard.pairs)
        made: list[Item] = []
        for image in shard.images:
            own = image.image_id
            if image.split != "train" or own not in scenes:
                self.images["held_out" if image.split != "train" else "not_described"] += 1
                continue
            about = Annotated(image, regions.get(own, []), scenes[own], pairs.get(own, []))
            said = self._said(about, wanted)
            if said:
                made.append(Item(about, said, images / image.path, f"images/{image.path}"))
            else:
                self.images["nothing_said"] += 1
        self.images_in += len(shard.images)
        self.images_out += len(made)
        return made

    def _said(self, about: Annotated, wanted: Wanted) -> list[Conversation]:
        said, rejected = conversations(about, wanted.prompt, wanted.contents)
        for conversation in said:
            self.conversations[conversation.channel] += 1
            self.turns[conversation.channel] += len(conversation.turns)
        self.turns_rejected.update(r.reason for r in rejected)
        return said

    def counts(self, format: str) -> Counts:
        """All of it. Raises ExportError when an image got lost."""
        if self.images_in != self.images_out + self.images.total():
            raise ExportError(f"{self.images_in} images in, but {self.images_out} out + {self.images.total()} rejected")
        tallies = (self.images, self.conversations, self.turns, self.turns_rejected)
        by_reason, conversations, turns, rejected = (dict(sorted(tally.items())) for tally in tallies)
        return Counts(format, self.images_in, self.images_out, by_reason, conversations, turns, rejected)


R = TypeVar("R", Region, QAPair)


def _by_image(records: Sequence[R]) -> dict[str, list[R]]:
    grouped: dict[str, list[R]] = {}
    for record in records:
        grouped.setdefault(record.image_id, []).append(record)
    return grouped
