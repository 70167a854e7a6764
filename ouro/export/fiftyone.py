"""FiftyOne's dataset layout (docs.voxel51.com, Importing data, FiftyOneDataset): samples.json and metadata.json.

samples.json holds samples as `Sample.to_dict` writes them, without ids of its database: with a metadata.json that names
no `version`, FiftyOne makes them anew (read back with 1.22). Of its import formats this one alone takes the description
of the whole image, too; its COCO import takes regions only. Boxes are [x, y, width, height], shares of the sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ouro.core.files import write_json
from ouro.core.records import Image
from ouro.export.json_stream import JsonArray, join_arrays
from ouro.export.regions import ShownRegion, get_caption, list_regions
from ouro.export.writers import ExportItem

SAMPLES, METADATA = "samples.json", "metadata.json"


class FiftyOne:
    """The writer of the format `fiftyone`: per image `image_id`, `description` and the detections `regions`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._samples = JsonArray(folder / ".samples.part")

    def write(self, stem: str, items: Sequence[ExportItem]) -> None:
        for item in items:
            self._samples.add(_make_sample(item))
        self._samples.flush()

    def close(self) -> None:
        join_arrays(self._folder / SAMPLES, {"samples": self._samples}, {})
        write_json(self._folder / METADATA, {"media_type": "image", "info": {"made_by": "ouro"}})


def _make_sample(item: ExportItem) -> dict[str, Any]:
    image = item.about.image
    detections = [_make_detection(shown, image) for shown in list_regions(item)]
    return {
        "filepath": item.path, "_media_type": "image", "tags": [image.split],
        "metadata": {"_cls": "ImageMetadata", "width": image.width, "height": image.height},
        "image_id": image.image_id, "description": get_caption(item),
        "regions": {"_cls": "Detections", "detections": detections},
    }  # fmt: skip


def _make_detection(shown: ShownRegion, image: Image) -> dict[str, Any]:
    x0, y0, x1, y1 = shown.box
    box = [x0 / image.width, y0 / image.height, (x1 - x0) / image.width, (y1 - y0) / image.height]
    return {
        "_cls": "Detection", "label": shown.name, "bounding_box": box, "confidence": shown.region.score, "tags": [],
        "attributes": {}, "description": shown.text, "kind": shown.region.kind, "region_id": shown.region.region_id,
    }  # fmt: skip
