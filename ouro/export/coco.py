"""COCO JSON (https://cocodataset.org/#format-data), read back by pycocotools.

    instances.json   a category a name; an annotation a region: bbox (x, y, width, height, pixels), area, its
                     description as `caption`. There are no masks: `segmentation` is empty
    captions.json    COCO captions: the description of each image

`file_name` is relative to images/. Ids are numbers in the order of writing, as COCO has them; Ouro's own stand beside
them as `ouro_id`. `score` is the proposer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ouro.export.json_stream import JsonArray, join_arrays
from ouro.export.regions import ShownRegion, get_caption, list_regions
from ouro.export.writers import ExportItem

INSTANCES, CAPTIONS = "instances.json", "captions.json"


class Coco:
    """The writer of the format `coco`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        names = ("images", "instances", "captions")
        self._images, self._instances, self._captions = (JsonArray(folder / f".{name}.part") for name in names)
        self._copy = JsonArray(folder / ".images-of-captions.part")
        self._categories: dict[str, int] = {}

    def write(self, stem: str, items: Sequence[ExportItem]) -> None:
        for item in items:
            self._write_item(item)
        for array in (self._images, self._instances, self._captions, self._copy):
            array.flush()

    def _write_item(self, item: ExportItem) -> None:
        image, image_id = item.about.image, self._images.rows + 1
        row = {
            "id": image_id, "file_name": item.path.removeprefix("images/"), "width": image.width,
            "height": image.height, "ouro_id": image.image_id,
        }  # fmt: skip
        self._images.add(row)
        self._copy.add(row)
        for shown in list_regions(item):
            self._instances.add(self._make_annotation(shown, image_id))
        if caption := get_caption(item):
            self._captions.add({"id": self._captions.rows + 1, "image_id": image_id, "caption": caption})

    def _make_annotation(self, shown: ShownRegion, image_id: int) -> dict[str, Any]:
        x0, y0, x1, y1 = shown.box
        category = self._categories.setdefault(shown.name, len(self._categories) + 1)
        return {
            "id": self._instances.rows + 1, "image_id": image_id, "category_id": category,
            "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0, "segmentation": [],
            "score": shown.region.score, "caption": shown.text, "ouro_id": shown.region.region_id,
        }  # fmt: skip

    def close(self) -> None:
        info = {"info": {"description": "Ouro: regions and what a model says of them"}, "licenses": []}
        categories = [{"id": number, "name": name, "supercategory": ""} for name, number in self._categories.items()]
        instances = {"images": self._images, "annotations": self._instances}
        join_arrays(self._folder / INSTANCES, instances, {"categories": categories, **info})
        join_arrays(self._folder / CAPTIONS, {"images": self._copy, "annotations": self._captions}, info)
