"""Image captions (OURO, table 4): COCO Caption, Flickr30K, TextCaps. An item is a picture with all its captions.

Karpathy's split (2015), dataset_coco.json and dataset_flickr30k.json (the test split is taken):

    {"images": [{"filename": "COCO_val2014_000000000007.jpg", "filepath": "val2014", "imgid": 3, "cocoid": 7,
     "split": "test", "sentences": [{"raw": "A cup.", "tokens": ["a", "cup"]}, ...5]}], "dataset": "coco"}

COCO (Chen et al. 2015), captions_val2014.json:

    {"images": [{"id": 7, "file_name": "COCO_val2014_000000000007.jpg"}],
     "annotations": [{"id": 1, "image_id": 7, "caption": "A cup."}]}

TextCaps (Sidorov et al. 2020), TextCaps_0.1_val.json:

    {"data": [{"image_id": "00ab", "caption_id": 1, "caption_str": "A sign says stop.",
     "reference_strs": ["A sign says stop.", ...5]}]}

Quirks: captions_val2014.json is the whole validation set, of which Karpathy's 5,000 test pictures are a part: CIDEr
differs, since document frequencies do. TextCaps has a row for each caption, all of which name the five. Captions of
COCO and TextCaps are gathered before the first item is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.fields import field, identity, optional, record, strings, text, wrong
from ouro.benchmarks.loaders.json_stream import Entry
from ouro.benchmarks.loaders.reading import MAX_LISTED, STAGE, Unusable, checked, document, expect, rejected, section
from ouro.core.records import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ouro.benchmarks.loaders.reading import ItemOrRejected

SPLIT = "test"


def coco(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """COCO Caption: dataset_coco.json or captions_val2014.json."""
    expect(paths, 1, "one file, dataset_coco.json or captions_val2014.json")
    return checked(_coco_validation(paths[0]) if _has_sentences(paths[0]) is False else _karpathy(paths[0]), paths)


def flickr30k(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """Flickr30K: dataset_flickr30k.json."""
    expect(paths, 1, "one file, dataset_flickr30k.json")
    return checked(_karpathy(paths[0]), paths)


def _has_sentences(path: Path) -> bool | None:
    """Whether the pictures of a file carry their captions (Karpathy); None when it has no pictures."""
    first = next((entry for entry in document(path) if entry.section in ("images", "annotations")), None)
    return None if first is None else "sentences" in record(first)


def _karpathy(path: Path) -> Iterator[ItemOrRejected]:
    for entry in section(path, "images"):
        if identity(entry, "split") == SPLIT:
            try:
                yield _karpathy_item(entry)
            except Unusable as flaw:
                yield rejected(entry, flaw)


def _karpathy_item(entry: Entry) -> Item:
    listed = field(entry, "sentences")
    if not isinstance(listed, list):
        raise wrong(entry, "sentences", listed, "a list of captions")
    captions = tuple(_caption(entry.inner(f".sentences[{n}]", one), "raw") for n, one in enumerate(listed))
    if not captions:
        raise Unusable("no_caption", "sentences is []")
    folder, name = optional(entry, "filepath"), text(entry, "filename")
    return Item(identity(entry, "cocoid", "imgid"), f"{folder}/{name}" if folder else name, "", captions)


def _coco_validation(path: Path) -> Iterator[ItemOrRejected]:
    pictures: dict[str, str] = {}
    captions: dict[str, list[str]] = {}
    for entry in document(path):
        if entry.section == "images":
            pictures[identity(entry, "id")] = identity(entry, "file_name")
        elif entry.section == "annotations":
            captions.setdefault(identity(entry, "image_id"), []).append(_caption(entry))
    unknown = [image_id for image_id in captions if image_id not in pictures]
    if unknown:
        examples = ", ".join(unknown[:MAX_LISTED])
        raise BenchmarkFileError(f"{path}: captions of {len(unknown)} pictures that it does not list: {examples}")
    for image_id, name in pictures.items():
        yield _caption_item(image_id, name, captions.get(image_id, []))


def _caption(entry: Entry, name: str = "caption") -> str:
    caption = field(entry, name)
    if not isinstance(caption, str):
        raise wrong(entry, name, caption, "text")
    return caption


def _caption_item(image_id: str, name: str, captions: Sequence[str]) -> ItemOrRejected:
    if not captions:
        return Rejected(STAGE, image_id, "no_caption", "a picture without captions")
    return Item(image_id, name, "", tuple(captions))


# ---- TextCaps --------------------------------------------------------------------------------------


def textcaps(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """TextCaps: TextCaps_0.1_val.json."""
    expect(paths, 1, "one file, TextCaps_0.1_val.json")
    return checked(_textcaps(paths[0]), paths)


def _textcaps(path: Path) -> Iterator[ItemOrRejected]:
    captions: dict[str, tuple[str, ...]] = {}
    for entry in section(path, "data"):
        image_id = identity(entry, "image_id")
        references_of_row = strings(entry, "reference_strs")
        caption = optional(entry, "caption_str")
        earlier = captions.get(image_id, ())
        captions[image_id] = references_of_row or (earlier + ((caption,) if caption and caption not in earlier else ()))
    for image_id, references in captions.items():
        yield _caption_item(image_id, f"{image_id}.jpg", references)
