"""Label Studio: tasks with predictions to correct, and the labelling configuration that shows them.

    label_config.xml   https://labelstud.io/guide/setup, tags Image, RectangleLabels, TextArea
    tasks.json         https://labelstud.io/guide/predictions ("Basic Label Studio JSON format")

A rectangle and its text are two results of one id, the region's; the description of the whole image is a text of its
own. x, y, width and height are per cent of the sides. Pictures are served by Label Studio from this very folder
(/data/local-files/, for which LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT is this folder).

`data.ouro` says what was shown, for `ouro review`: of each region `box` (pixels), `shown` and the digest of the words
that the dataset has (`shown` may lack a control token).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from ouro.core.files import write_text
from ouro.core.records import KINDS, Box, Image
from ouro.export.json_stream import JsonArray, wrap_array
from ouro.export.regions import ShownRegion, get_caption, list_regions
from ouro.export.writers import ExportItem

CONFIG, TASKS = "label_config.xml", "tasks.json"
IMAGE, KIND, TEXT, CAPTION = "image", "kind", "description", "caption"  # names of the configuration's tags


def digest_words(text: str) -> str:
    """16 hex digits that tell whether words are still the same."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class LabelStudio:
    """The writer of the format `label-studio`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tasks = JsonArray(folder / ".tasks.part")
        self._kinds: set[str] = {kind for kind in KINDS if kind != "scene"}

    def write(self, stem: str, items: Sequence[ExportItem]) -> None:
        for item in items:
            regions = list_regions(item)
            self._kinds.update(shown.region.kind for shown in regions)
            self._tasks.add(_make_task(item, regions))
        self._tasks.flush()

    def close(self) -> None:
        wrap_array(self._folder / TASKS, self._tasks)
        write_text(self._folder / CONFIG, make_config(sorted(self._kinds)))


def make_config(kinds: Sequence[str]) -> str:
    """The labelling configuration: rectangles of these kinds, a text for each, and one for the whole image."""
    labels = "\n".join(f"    <Label value={quoteattr(kind)}/>" for kind in kinds)
    return f"""<View>
  <Image name="{IMAGE}" value="$image" zoom="true" zoomControl="true"/>
  <RectangleLabels name="{KIND}" toName="{IMAGE}" canRotate="false">
{labels}
  </RectangleLabels>
  <TextArea name="{TEXT}" toName="{IMAGE}" perRegion="true" editable="true" maxSubmissions="1" rows="3"/>
  <Header value="The whole image"/>
  <TextArea name="{CAPTION}" toName="{IMAGE}" editable="true" maxSubmissions="1" rows="8"/>
</View>
"""


def _make_task(item: ExportItem, regions: Sequence[ShownRegion]) -> dict[str, Any]:
    image, scene = item.about.image, item.about.scene
    words = dict(scene.region_texts)
    results: list[dict[str, Any]] = []
    shown_regions: dict[str, Any] = {}
    if caption := get_caption(item):
        whole = f"{image.image_id}/0"
        results.append(_make_result(whole, image, CAPTION, "textarea", {"text": [caption]}))
        shown_regions[whole] = {"shown": caption, "words": digest_words(scene.text)}
    for shown in regions:
        region_id = shown.region.region_id
        box = _to_percent(shown.box, image)
        results.append(_make_result(region_id, image, KIND, "rectanglelabels", {**box, KIND_KEY: [shown.region.kind]}))
        results.append(_make_result(region_id, image, TEXT, "textarea", {**box, "text": [shown.text]}))
        shown_regions[region_id] = {
            "shown": shown.text, "words": digest_words(words[region_id]), "box": list(shown.box),
        }  # fmt: skip
    about = {"image_id": image.image_id, "width": image.width, "height": image.height, "regions": shown_regions}
    return {
        "data": {"image": f"/data/local-files/?d={quote(item.path)}", "ouro": about},
        "predictions": [{"model_version": "ouro", "result": results}],
    }


KIND_KEY = "rectanglelabels"


def _make_result(result_id: str, image: Image, tag: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": result_id, "from_name": tag, "to_name": IMAGE, "type": kind, "original_width": image.width,
        "original_height": image.height, "image_rotation": 0, "value": value,
    }  # fmt: skip


def _to_percent(box: Box, image: Image) -> dict[str, float]:
    x0, y0, x1, y1 = box
    return {
        "x": 100 * x0 / image.width, "y": 100 * y0 / image.height,
        "width": 100 * (x1 - x0) / image.width, "height": 100 * (y1 - y0) / image.height, "rotation": 0,
    }  # fmt: skip
