"""Beyond the paper's tables: POPE, RefCOCO, ConTextual, and probes of reporting bias.

POPE (Li et al. 2023), coco_pope_{random,popular,adversarial}.json, JSON lines, one to three files:

    {"question_id": 1, "image": "COCO_val2014_000000000007.jpg", "text": "Is there a cup in the image?", "label": "yes"}

RefCOCO, RefCOCO+, RefCOCOg (Yu et al. 2016; Mao et al. 2016), JSON lines of either shape:

    {"question_id": 7, "file_name": "COCO_train2014_000000000007.jpg", "answer": ["left cup", "white cup"],
     "bbox": [10.0, 20.0, 30.0, 40.0], "width": 640, "height": 480}
    {"image": "COCO_train2014_000000000007.jpg", "sent": "left cup", "bbox": [10.0, 20.0, 40.0, 60.0], "width": 640,
     "height": 480}

ConTextual (Wadhawan et al. 2024), contextual_val.csv, or the same keys as JSON lines:

    image_url,instruction,response,category

Probes (Kamath et al., reporting bias), JSON lines of ours, since no file of theirs is at hand: the contrastive form, a
choice among captions of one picture (spatial and negation 4, counting 9 from 2 to 10, temporal 2):

    {"id": "s1", "probe": "spatial", "image": "mug.png", "captions": ["a mug on a table", ...4], "answer": 0}

Quirks: a box of a record with "answer" is x, y, width, height as in COCO, with "sent" it is x1, y1, x2, y2. Every
expression is an item. The original refs(unc).p is a pickle, which can run code when it is opened: it is refused.
ConTextual's pictures stand under addresses, whose path is taken as theirs; the answers of its test split are hidden.
POPE's and RefCOCO's splits are told by the names of the files alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.fields import (
    box_xywh,
    box_xyxy,
    identity,
    kind_from_name,
    letter,
    numbers,
    optional,
    record,
    strings,
    text,
    texts,
    wrong,
)
from ouro.benchmarks.loaders.json_stream import Entry
from ouro.benchmarks.loaders.reading import Unusable, checked, comma_table, each, expect, numbered_lines, records
from ouro.benchmarks.loaders.reading import rejected as rejection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ouro.benchmarks.loaders.reading import ItemOrRejected

POPE_SPLITS = ("random", "popular", "adversarial")
REFCOCO_SPLITS = ("testA", "testB", "test", "val", "train")
PROBES = {"spatial": 4, "negation": 4, "counting": 9, "temporal": 2}  # number of captions
_PICKLES = (".p", ".pkl", ".pickle")


def pope(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """POPE: one to three of coco_pope_random.json, coco_pope_popular.json, coco_pope_adversarial.json."""
    expect(paths, 3, "one to three files, coco_pope_{random,popular,adversarial}.json", least=1)
    return checked((item for path in paths for item in _pope(path)), paths)


def _pope(path: Path) -> Iterator[ItemOrRejected]:
    kind = kind_from_name(path.name, POPE_SPLITS)

    def make(entry: Entry) -> Item:
        answer = (yes_or_no(entry, "label"),)
        item_id = f"{kind}-{identity(entry, 'question_id')}"
        return Item(item_id, text(entry, "image"), text(entry, "text", "question"), answer, kind=kind)

    return each(records(path), make)


def yes_or_no(entry: Entry, *names: str) -> str:
    """A label "yes" or "no"."""
    label = text(entry, *names)
    if label not in ("yes", "no"):
        raise wrong(entry, names[0], label, "yes or no")
    return label


# ---- RefCOCO ---------------------------------------------------------------------------------------


def refcoco(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """RefCOCO, RefCOCO+ or RefCOCOg: JSON lines of one or more splits."""
    expect(paths, len(REFCOCO_SPLITS), "JSON lines of one or more splits", least=1)
    for path in paths:
        _refuse_pickle(path)
    return checked((item for path in paths for item in _refcoco(path)), paths)


def _refuse_pickle(path: Path) -> None:
    head = b""
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(2)
    if path.suffix in _PICKLES or head[:1] == b"\x80" or head in (b"(l", b"(d"):
        raise BenchmarkFileError(
            f"{path}: a pickle, which can run code when it is opened: not read. Use the Hugging Face data set (columns "
            "question_id, image, answer, bbox), or JSON lines with file_name, answer, bbox (x, y, width, height), "
            "width and height"
        )


def _refcoco(path: Path) -> Iterator[ItemOrRejected]:
    kind = kind_from_name(path.name, REFCOCO_SPLITS)
    for number, entry in enumerate(records(path)):
        try:
            size = _size(entry)
            name = identity(entry, "question_id") if "question_id" in record(entry) else str(number)
            image = text(entry, "file_name", "image")
            yield from referred(entry, f"{kind}-{name}", image, size, kind)
        except Unusable as flaw:
            yield rejection(entry, flaw)


def _size(entry: Entry) -> tuple[int, int]:
    sides = {"size": [record(entry).get("width"), record(entry).get("height")]}
    width, height = numbers(entry.inner("", sides), "size", 2)
    return int(width), int(height)


def referred(entry: Entry, name: str, image: str, size: tuple[int, int], kind: str) -> Iterator[Item]:
    """An item for every expression of a record."""
    alone = "sent" in record(entry)
    box = box_xyxy(entry, "bbox") if alone else box_xywh(entry, "bbox")
    for number, expression in enumerate(texts(entry, "sent", "answer")):
        item_id = name if alone else f"{name}-{number}"
        yield Item(item_id, image, expression, (), kind=kind, box=box, size=size)


# ---- ConTextual, probes ----------------------------------------------------------------------------


def contextual(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """ConTextual: contextual_val.csv, or JSON lines."""
    expect(paths, 1, "one file, contextual_val.csv")
    _, line = next(numbered_lines(paths[0]))
    entries = records(paths[0]) if line.lstrip().startswith(("{", "[")) else comma_table(paths[0])
    return checked(each(entries, _contextual), paths)


def _contextual(entry: Entry) -> Item:
    address = text(entry, "image_url")
    image = urlsplit(address).path.lstrip("/")
    kind = optional(entry, "category") or "all"
    return Item(address, image, text(entry, "instruction"), (text(entry, "response"),), kind=kind)


def reporting_bias(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """Probes of reporting bias: JSON lines of ours, one file or one a probe."""
    expect(paths, len(PROBES), "JSON lines, one file or one a probe", least=1)
    return checked((item for path in paths for item in each(records(path), _probe)), paths)


def _probe(entry: Entry) -> Item:
    probe = text(entry, "probe")
    if probe not in PROBES:
        raise wrong(entry, "probe", probe, f"one of {', '.join(PROBES)}")
    captions = strings(entry, "captions")
    if len(captions) != PROBES[probe]:
        raise wrong(entry, "captions", list(captions), f"{PROBES[probe]} captions for the probe {probe}")
    answer = (letter(entry, "answer", captions),)
    return Item(identity(entry, "id"), text(entry, "image"), "", answer, kind=probe, choices=captions)
