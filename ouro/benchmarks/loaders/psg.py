"""Panoptic scene graphs (PSG, Yang et al., ECCV 2022): psg.json of OpenPSG.

    {"data": [{"image_id": "7", "file_name": "val2017/000000000007.jpg", "height": 480, "width": 640,
               "segments_info": [{"category_id": 0, "isthing": 1}], "annotations": [{"bbox": [x1, y1, x2, y2],
               "category_id": 0}], "relations": [[0, 1, 20]]}],
     "thing_classes": [..80], "stuff_classes": [..53], "predicate_classes": [..56], "test_image_ids": ["7"]}

Quirks: a relation is subject, object (indexes into `annotations`) and predicate, from 0 on disk and from 1 in OpenPSG's
evaluator; classes are things, then stuff. Boxes are enough for sgdet on boxes; masks stand in the panoptic PNGs that
`pan_seg_file_name` names and are not read here.
Kept as OpenPSG's test set has them: several predicates of one pair. A triple that stands twice is one (OpenPSG removes
those on test; `match_relations` does). Images without a relation are yielded, and skipped by the metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ouro.benchmarks.items import BenchmarkFileError
from ouro.benchmarks.loaders.fields import box_xyxy, field, identity, text, wrong
from ouro.benchmarks.loaders.reading import Unusable, document, named, rejected
from ouro.benchmarks.scoring.relations import Graph, Relation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ouro.benchmarks.loaders.json_stream import Entry
    from ouro.core.records import Box, Rejected

CLASS_LISTS = ("thing_classes", "stuff_classes", "predicate_classes")


@dataclass(frozen=True, slots=True)
class Names:
    """Of objects (things, then stuff) and of predicates, by their numbers; `test` holds the ids of the test images."""

    objects: tuple[str, ...]
    predicates: tuple[str, ...]
    test: frozenset[str]


@dataclass(frozen=True, slots=True)
class TrueGraph:
    """The scene graph of one image; `boxes` of its objects, xyxy, pixels; `size`: width, height."""

    image_id: str
    image: str
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    graph: Graph


def names(path: Path) -> Names:
    """Raises BenchmarkFileError for a file that is not psg.json."""
    lists: dict[str, list[str]] = {name: [] for name in (*CLASS_LISTS, "test_image_ids")}
    for entry in document(path):
        if entry.section in lists:
            lists[entry.section].append(str(entry.value))
    missing = [name for name in CLASS_LISTS if not lists[name]]
    if missing:
        raise BenchmarkFileError(
            f"{path}: got no {missing[0]}, expected the lists {', '.join(CLASS_LISTS)}; is it psg.json?"
        )
    objects = (*lists["thing_classes"], *lists["stuff_classes"])
    return Names(objects, tuple(lists["predicate_classes"]), frozenset(lists["test_image_ids"]))


def psg(path: Path, *, split: str = "test") -> Iterator[TrueGraph | Rejected]:
    """The graphs of a split: "test" (the ids in test_image_ids), "train" (all others) or "all".

    Rejected: an object without an area (bad_box), a relation of an object with itself (self_relation). Raises
    BenchmarkFileError for a broken file, an index that there is not, an id twice, and a split without an image.
    """
    expected = names(path)
    if split not in ("test", "train", "all"):
        raise BenchmarkFileError(f"PSG: got the split {split!r}, expected test, train or all")
    ids: set[str] = set()
    for entry in document(path):
        if entry.section != "data":
            continue
        image_id = identity(entry, "image_id")
        if split != "all" and (image_id in expected.test) != (split == "test"):
            continue
        if image_id in ids:
            raise wrong(entry, "image_id", image_id, "every id once")
        ids.add(image_id)
        try:
            yield _graph(entry, image_id, expected)
        except Unusable as flaw:
            yield rejected(entry, flaw)
    if not ids:
        raise BenchmarkFileError(f"{named([path])}: no image of the split {split!r}; take another split or file")


def _graph(entry: Entry, image_id: str, expected: Names) -> TrueGraph:
    size = (_whole(entry, "width"), _whole(entry, "height"))
    objects = [entry.inner(f" annotations[{i}]", value) for i, value in enumerate(_list(entry, "annotations"))]
    boxes = tuple(box_xyxy(each, "bbox") for each in objects)
    classes = tuple(_below(each, _whole(each, "category_id"), len(expected.objects), "a class") for each in objects)
    relations = tuple(_relation(entry, value, len(objects), expected) for value in _list(entry, "relations"))
    return TrueGraph(image_id, text(entry, "file_name"), size, boxes, Graph(classes, relations))


def _relation(entry: Entry, value: Any, n_objects: int, expected: Names) -> Relation:
    triple = cast("list[Any]", value)
    if not isinstance(value, list) or len(triple) != 3 or any(type(n) is not int for n in triple):
        raise wrong(entry, "relations", value, "[subject, object, predicate]")
    subject, target = (_below(entry, n, n_objects, "an object") for n in triple[:2])
    if subject == target:
        raise Unusable("self_relation", f"relation {triple} is of object {subject} with itself")
    return Relation(subject, target, _below(entry, triple[2], len(expected.predicates), "a predicate"))


def _list(entry: Entry, name: str) -> list[Any]:
    value = field(entry, name)
    if not isinstance(value, list):
        raise wrong(entry, name, value, "a list")
    return cast("list[Any]", value)


def _whole(entry: Entry, name: str) -> int:
    value = field(entry, name)
    if type(value) is not int:
        raise wrong(entry, name, value, "a whole number")
    return value


def _below(entry: Entry, number: int, count: int, what: str) -> int:
    if not 0 <= number < count:
        raise wrong(entry, what, number, f"0 to {count - 1}")
    return number
