"""What people corrected, a layer over what the stages wrote: their shards stay as they are.

    DIR/corrections/corrections.jsonl    {"region_id", "field", "old", "new", "by"} a line, in the order of the ids

    description   the region's merged description; of the whole image, d0
    box           "x0 y0 x1 y1", pixels of the full image
    region        new is "": the region is no longer one, and its sub-regions become those of its parent

`old` is what the stages said when it was corrected. A correction holds as long as they still say so; else it is stale,
left out and counted. Without the file, everything is as the stages wrote it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ouro.core.artifacts import ArtifactError
from ouro.core.files import write_text
from ouro.core.json_text import parse_json
from ouro.core.records import Box, Region, Scene

if TYPE_CHECKING:
    from ouro.core.layout import Layout

FILE = "corrections.jsonl"
DESCRIPTION, BOX, REGION = "description", "box", "region"
FIELDS = (DESCRIPTION, BOX, REGION)
KEPT = "kept"  # the value of the field `region` of a region that is one


@dataclass(frozen=True, slots=True)
class Correction:
    """One corrected field of one region. `by`: who did it, as the tool for corrections names people."""

    region_id: str
    field: str
    old: str
    new: str
    by: str = ""

    @property
    def image_id(self) -> str:
        return self.region_id.split("/")[0]


class CorrectedRecords(NamedTuple):
    """Regions and scenes as people left them, and which corrections hold and which are stale."""

    regions: list[Region]
    scenes: list[Scene]
    held: list[Correction]
    stale: list[Correction]


def corrections_file(layout: Layout) -> Path:
    return layout.corrections / FILE


def read_corrections(layout: Layout) -> list[Correction]:
    """All corrections of a dataset; none where there is no file. Raises ArtifactError for a damaged line."""
    path = corrections_file(layout)
    if not path.is_file():
        return []
    try:
        lines = path.read_text("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: not UTF-8 ({error}); {_FIX}") from error
    return [_read_line(path, number, line) for number, line in enumerate(lines, start=1) if line]


_FIX = "put it right, or remove the file and take the corrections in again with `ouro review --from`"


def _read_line(path: Path, number: int, line: str) -> Correction:
    try:
        correction = Correction(**parse_json(line))
        values = asdict(correction).values()
        if not all(isinstance(value, str) for value in values) or correction.field not in FIELDS:
            raise TypeError(f"expected texts, and a field of {', '.join(FIELDS)}")
        if correction.field == BOX:
            parse_box(correction.new)
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{path} line {number}: no correction ({error}); {_FIX}") from error
    return correction


def write_corrections(layout: Layout, corrections: Iterable[Correction]) -> None:
    """Write the layer anew, atomically; without corrections its file is removed. The same ones give the same bytes."""
    path = corrections_file(layout)
    rows = sorted(corrections, key=lambda c: (c.region_id, c.field))
    if not rows:
        path.unlink(missing_ok=True)
        return
    write_text(path, "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows))


def corrections_digest(corrections: Sequence[Correction], image_ids: Collection[str]) -> str:
    """SHA-256 (hex) over the corrections of these images; "" where there are none."""
    rows = sorted([c.region_id, c.field, c.old, c.new] for c in corrections if c.image_id in image_ids)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest() if rows else ""


# ---- values -------------------------------------------------------------------------------------


def format_box(box: Box) -> str:
    """Four numbers, x0 y0 x1 y1, from which `parse_box` makes the same box."""
    return " ".join(repr(float(value)) for value in box)


def parse_box(text: str) -> Box:
    """The box of `format_box`. Raises ValueError for anything but four finite numbers of a box that is not empty."""
    values = [float(word) for word in text.split()]
    if len(values) != 4 or not (values[0] < values[2] and values[1] < values[3]) or max(map(abs, values)) > 1e9:
        raise ValueError(f"got {text[:80]!r}, expected x0 y0 x1 y1 of a box that is not empty")
    return values[0], values[1], values[2], values[3]


def is_whole(region_id: str) -> bool:
    """Whether it is the whole image, which can be described anew, but neither moved nor removed."""
    return region_id.endswith("/0") and region_id.count("/") == 1


def list_values(regions: Iterable[Region], scenes: Iterable[Scene]) -> dict[tuple[str, str], str]:
    """(region id, field) -> its value, of everything in these records that can be corrected."""
    values: dict[tuple[str, str], str] = {}
    for scene in scenes:
        texts = dict(scene.region_texts) | {f"{scene.image_id}/0": scene.text}
        values |= {(region_id, DESCRIPTION): text for region_id, text in texts.items()}
        values |= {(region_id, REGION): KEPT for region_id in texts if not is_whole(region_id)}
    for region in regions:
        if not is_whole(region.region_id):
            values[region.region_id, BOX] = format_box(region.box)
            values[region.region_id, REGION] = KEPT
    return values


# ---- the layer ------------------------------------------------------------------------------------


def apply_corrections(
    corrections: Iterable[Correction], regions: Sequence[Region], scenes: Sequence[Scene]
) -> CorrectedRecords:
    """The records of some images as people left them; corrections of other images are left out of the counts, too."""
    image_ids = {region.image_id for region in regions} | {scene.image_id for scene in scenes}
    values = list_values(regions, scenes)
    held: list[Correction] = []
    stale: list[Correction] = []
    for correction in corrections:
        if correction.image_id in image_ids:
            is_fresh = values.get((correction.region_id, correction.field)) == correction.old
            (held if is_fresh else stale).append(correction)
    if not held:
        return CorrectedRecords(list(regions), list(scenes), held, stale)
    by_field = {field: {c.region_id: c.new for c in held if c.field == field} for field in FIELDS}
    kept = _correct_regions(regions, by_field[BOX], by_field[REGION])
    corrected = [_correct_scene(scene, by_field[DESCRIPTION], by_field[REGION]) for scene in scenes]
    return CorrectedRecords(kept, corrected, held, stale)


def _correct_regions(regions: Sequence[Region], boxes: Mapping[str, str], removed: Collection[str]) -> list[Region]:
    parents = {region.region_id: region.parent_id for region in regions}

    def find_parent(parent_id: str | None) -> str | None:
        while parent_id is not None and parent_id in removed:
            parent_id = parents.get(parent_id)
        return parent_id

    moved = {region_id: parse_box(text) for region_id, text in boxes.items()}
    return [
        replace(r, parent_id=find_parent(r.parent_id), box=moved.get(r.region_id, r.box))
        for r in regions
        if r.region_id not in removed
    ]


def correct_scenes(corrections: Iterable[Correction], scenes: Sequence[Scene]) -> CorrectedRecords:
    """As `apply_corrections`, where nothing but the scenes is at hand: boxes are left alone."""
    return apply_corrections([c for c in corrections if c.field != BOX], [], scenes)


def _correct_scene(scene: Scene, texts: Mapping[str, str], removed: Collection[str]) -> Scene:
    """A person's description has no provenance in the regions' texts, so the spans go with the text they are of."""
    region_texts = tuple((r, texts.get(r, text)) for r, text in scene.region_texts if r not in removed)
    whole = f"{scene.image_id}/0"
    if whole not in texts:
        return replace(scene, region_texts=region_texts)
    return replace(scene, text=texts[whole], region_texts=region_texts, insertions=(), sentences=())


def count_corrections(records: Iterable[CorrectedRecords]) -> dict[str, int]:
    """Corrections that hold, by field, and those that are stale; without those that are 0."""
    counts: Counter[str] = Counter()
    for record in records:
        counts.update(c.field for c in record.held)
        counts["stale"] += len(record.stale)
    return {name: counts[name] for name in (*FIELDS, "stale") if counts[name]}


def to_json(counts: Mapping[str, int]) -> dict[str, Any]:
    """The counts under one key, for an account that is JSON; nothing where nothing was corrected."""
    return {"corrections": dict(counts)} if counts else {}
