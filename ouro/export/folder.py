"""Writes a folder of one format atomically: shard by shard to a temporary folder, which is then renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from ouro.core.cards import README
from ouro.core.control_tokens import find_control_tokens
from ouro.core.errors import OuroError
from ouro.core.files import ArtifactError, remedy, write_json, write_text
from ouro.core.pictures import say_absence, stored_file
from ouro.core.records import Image, QAPair, Region, Scene
from ouro.export.coco import Coco
from ouro.export.conversations import (
    CONTENTS,
    Conversation,
    ImageAnnotations,
    break_tokens,
    build_conversations,
    write_boxes_of,
)
from ouro.export.fiftyone import FiftyOne
from ouro.export.label_studio import LabelStudio
from ouro.export.regions import VIEWER_CONTENTS
from ouro.export.writers import EMBEDDING_FORMATS, FORMATS, ExportItem, Writer
from ouro.pages.gallery import replacing
from ouro.vision.boxes import FAMILIES

PICTURES = ("copy", "link", "reference")
COUNTS = "counts.json"
# For people who look and correct: they hold regions and descriptions, no questions.
VIEWER_FORMATS: dict[str, Callable[[Path], Writer]] = {
    "coco": Coco, "label-studio": LabelStudio, "fiftyone": FiftyOne,
}  # fmt: skip
ALL_FORMATS = {**FORMATS, **VIEWER_FORMATS}


class ExportError(OuroError, ValueError):
    """An export that cannot be made with these options: what, got, expected, fix."""


def contents_of(format: str) -> tuple[str, ...]:
    """Which of CONTENTS a format can hold."""
    return VIEWER_CONTENTS if format in VIEWER_FORMATS else CONTENTS


class ExportShard(NamedTuple):
    """The records of one shard, as people left them; `names` as in ExportItem; `corrections`: how many changed it."""

    stem: str
    images: Sequence[Image]
    regions: Sequence[Region]
    scenes: Sequence[Scene]
    pairs: Sequence[QAPair]
    names: Mapping[str, str] = MappingProxyType({})
    corrections: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to write: `format` a key of ALL_FORMATS, `contents` some of CONTENTS, `pictures` one of PICTURES.

    copy: picture files are copied to images/; link: hard links in images/; reference: rows name the original files.
    boxes: the family of models in whose form boxes are written, of ouro.vision.boxes; "" is the format's own.
    """

    format: str
    contents: Sequence[str]
    prompt: str
    pictures: str = "copy"
    boxes: str = ""


@dataclass(frozen=True, slots=True)
class ExportCounts:
    """images_in == images_out + the sum over images_rejected. `conversations` and `turns`: numbers written, by
    channel; `turns_rejected`: by reason; `corrections`: what people corrected, by field, and what of it was stale;
    `control_tokens`: how many were broken in texts (ouro.core.control_tokens).

    Images are rejected as "held_out" (the test split), "not_described" (merge rejected them) or "nothing_said".
    """

    format: str
    images_in: int
    images_out: int
    images_rejected: dict[str, int]
    conversations: dict[str, int]
    turns: dict[str, int]
    turns_rejected: dict[str, int]
    corrections: dict[str, int]
    control_tokens: int = 0

    def line(self) -> str:
        """All counts in one line of text."""
        n_images, n_turns = sum(self.images_rejected.values()), sum(self.turns_rejected.values())
        return (
            f"export: {self.images_in} images in, {self.images_out} out, {n_images} rejected"
            f"{_format_counts(self.images_rejected)}; {sum(self.turns.values())} turns{_format_counts(self.turns)} in "
            f"{sum(self.conversations.values())} conversations, {n_turns} turns rejected"
            f"{_format_counts(self.turns_rejected)}"
            f"{f'; corrections by people{_format_counts(self.corrections)}' if self.corrections else ''}"
            + (f"; {self.control_tokens} control tokens in texts broken" if self.control_tokens else "")
        )


def _format_counts(counts: dict[str, int]) -> str:
    return f" ({', '.join(f'{name} {n}' for name, n in counts.items())})" if counts else ""


def export(
    shards: Iterable[ExportShard],
    images: Path,
    out: Path,
    options: ExportOptions,
    progress: Callable[[int], None] = lambda n: None,
    make_readme: Callable[[ExportCounts, Sequence[str]], str] | None = None,
) -> ExportCounts:
    """Write the export to `out`. `images` is the folder that image paths are relative to. `progress` gets image counts;
    `make_readme` the final ones and the names of the files beside it, and gives the text of README.md.

    An earlier export in `out` is replaced once the new one is complete. Raises ExportError if `out` is anything else.
    """
    _check_options(out, options)
    with replacing(out.resolve()) as folder:
        counts = _write_shards(shards, images, folder, options, progress)
        write_json(folder / COUNTS, {"ouro_export": asdict(counts), "pictures": options.pictures})
        if make_readme:
            write_text(folder / README, make_readme(counts, sorted(p.name for p in folder.iterdir())))
    return counts


def _check_options(out: Path, options: ExportOptions) -> None:
    if options.format not in ALL_FORMATS:
        raise ExportError(f"--format {options.format}: not a format; expected one of {', '.join(ALL_FORMATS)}")
    if unknown := [name for name in options.contents if name not in contents_of(options.format)]:
        known = ", ".join(contents_of(options.format))
        raise ExportError(f"--contents: got {unknown}, expected some of {known}, which {options.format} can hold")
    if options.boxes and options.boxes not in FAMILIES:
        raise ExportError(f"--boxes {options.boxes}: no family; expected one of {', '.join(FAMILIES)}")
    if options.pictures not in PICTURES:
        raise ExportError(f"--images {options.pictures}: expected one of {', '.join(PICTURES)}")
    if options.pictures != "copy" and options.format in EMBEDDING_FORMATS:
        raise ExportError(
            f"--images {options.pictures}: {options.format} holds its pictures in its own files; leave --images out"
        )
    if spans := find_control_tokens(options.prompt):
        start, end = spans[0]
        raise ExportError(
            f"--prompt: got the control token {options.prompt[start:end]} in it, expected words alone. Fix: leave it "
            "out; each format adds its own placeholder of the picture"
        )
    if options.pictures == "reference" and options.format == "label-studio":
        raise ExportError("--images reference: label-studio serves pictures from the export. Fix: --images link")
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or _is_export(out))):
        raise ExportError(f"--out {out}: got something that is no earlier export, expected a new or empty folder")


def _is_export(folder: Path) -> bool:
    try:
        return "ouro_export" in json.loads((folder / COUNTS).read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def _write_shards(
    shards: Iterable[ExportShard], images: Path, folder: Path, options: ExportOptions, progress: Callable[[int], None]
) -> ExportCounts:
    writer = ALL_FORMATS[options.format](folder)
    tally = _Tally()
    try:
        for shard in shards:
            writer.write(
                shard.stem, [_place_picture(item, folder, options) for item in tally.items(shard, images, options)]
            )
            progress(len(shard.images))
    finally:
        writer.close()
    return tally.counts(options.format)


def _place_picture(item: ExportItem, folder: Path, options: ExportOptions) -> ExportItem:
    """Copy or link the item's picture to the path that the rows name; returns the item with its final path."""
    if absence := say_absence(item.picture):
        raise ArtifactError(f"{absence}; expected the picture of an image record; {remedy(item.picture, 'ingest')}")
    if options.format in EMBEDDING_FORMATS:
        return item
    if options.pictures == "reference":
        return item._replace(path=str(item.picture.resolve()))
    target = folder / item.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if options.pictures == "link":
        _link(item.picture, target)
    else:
        shutil.copyfile(item.picture, target)
    return item


def _link(picture: Path, target: Path) -> None:
    try:
        os.link(picture.resolve(), target)
    except OSError as error:
        raise ExportError(f"--images link: {error}; expected both folders on one disk. Fix: --images copy") from error


class _Tally:
    """Builds export items out of records, and counts them."""

    def __init__(self) -> None:
        self.images_in = self.images_out = 0
        self.images_rejected: Counter[str] = Counter()
        self.conversations: Counter[str] = Counter()
        self.turns: Counter[str] = Counter()
        self.turns_rejected: Counter[str] = Counter()
        self.control_tokens = 0
        self.corrections: Counter[str] = Counter()

    def items(self, shard: ExportShard, images: Path, options: ExportOptions) -> list[ExportItem]:
        """The images of a shard that are in the training split and have at least one turn."""
        scenes = {scene.image_id: scene for scene in shard.scenes}
        regions, pairs = _group_by_image(shard.regions), _group_by_image(shard.pairs)
        export_items: list[ExportItem] = []
        for image in shard.images:
            image_id = image.image_id
            if image.split != "train" or image_id not in scenes:
                self.images_rejected["held_out" if image.split != "train" else "not_described"] += 1
                continue
            about, n_tokens = break_tokens(
                ImageAnnotations(image, regions.get(image_id, []), scenes[image_id], pairs.get(image_id, []))
            )
            self.control_tokens += n_tokens
            kept_conversations = self._build_conversations(about, options)
            if kept_conversations:
                picture, path = stored_file(images, image), f"images/{image.path}"
                export_items.append(ExportItem(about, kept_conversations, picture, path, shard.names))
            else:
                self.images_rejected["nothing_said"] += 1
        self.corrections.update(shard.corrections)
        self.images_in += len(shard.images)
        self.images_out += len(export_items)
        return export_items

    def _build_conversations(self, about: ImageAnnotations, options: ExportOptions) -> list[Conversation]:
        kept_conversations, rejected = build_conversations(about, options.prompt, options.contents)
        if options.boxes:
            kept_conversations = [write_boxes_of(c, about.image, options.boxes) for c in kept_conversations]
        for conversation in kept_conversations:
            self.conversations[conversation.channel] += 1
            self.turns[conversation.channel] += len(conversation.turns)
        self.turns_rejected.update(r.reason for r in rejected)
        return kept_conversations

    def counts(self, format: str) -> ExportCounts:
        """The final counts. Raises ExportError when images in and out do not add up."""
        if self.images_in != self.images_out + self.images_rejected.total():
            raise ExportError(
                f"{self.images_in} images in, but {self.images_out} out + {self.images_rejected.total()} rejected"
            )
        counters = (self.images_rejected, self.conversations, self.turns, self.turns_rejected, self.corrections)
        by_reason, by_channel, turns, rejected, corrected = (dict(sorted(tally.items())) for tally in counters)
        return ExportCounts(
            format, self.images_in, self.images_out, by_reason, by_channel, turns, rejected, corrected,
            self.control_tokens,
        )  # fmt: skip


R = TypeVar("R", Region, QAPair)


def _group_by_image(records: Sequence[R]) -> dict[str, list[R]]:
    grouped: dict[str, list[R]] = {}
    for record in records:
        grouped.setdefault(record.image_id, []).append(record)
    return grouped
