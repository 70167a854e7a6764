"""One image of the gallery as plain values for its page: regions, the merged text in pieces, pairs, what was rejected.

Everything that a model, OCR or a file name produced stays a string here; the page shows it as text only.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ouro.core.records import Box, Region, Rejected, Scene
    from ouro.pages.gallery_data import ImageRecords

MAX_PER_REASON = 40  # rejected records of one image and reason that the page holds; a proposer may drop thousands

_BOX = re.compile(r"\bbox ((?:-?\d+(?:\.\d+)? ){3}-?\d+(?:\.\d+)?)(?![\d.])")


class Segment(NamedTuple):
    """A piece of the merged description: the region it was inserted from, and the regions its sentence describes."""

    text: str
    region_id: str | None
    sentence: tuple[str, ...]


def segments(scene: Scene) -> list[Segment]:
    """Scene.text cut where insertions and sentences start and end; of nested insertions the shortest counts."""
    n = len(scene.text)
    spans = sorted(((max(0, i.start), min(n, i.end), i.region_id) for i in scene.insertions), key=lambda s: s[1] - s[0])
    sentences = [(max(0, s.start), min(n, s.end), s.region_ids) for s in scene.sentences]
    edges = {0, n, *(p for a, b, _ in (*spans, *sentences) if a < b for p in (a, b))}
    pieces: list[Segment] = []
    for start, end in pairwise(sorted(edges)):
        origin = next((r for a, b, r in spans if a <= start and end <= b), None)
        sentence = next((ids for a, b, ids in sentences if a <= start and end <= b), ())
        pieces.append(Segment(scene.text[start:end], origin, sentence))
    return pieces


def image_view(records: ImageRecords) -> dict[str, Any]:
    """One image as plain values. Regions are named by their number in the list, which has parents before children."""
    ordered = sorted(records.regions, key=lambda r: r.level)
    numbers = {r.region_id: k for k, r in enumerate(ordered)}
    scene, image = records.scene, records.image
    rejected_sample = _sample(records.rejected)
    return {
        "id": image.image_id,
        "name": image.source,
        "split": image.split,
        "width": max(1, image.width),
        "height": max(1, image.height),
        "captions": list(image.captions),
        "regions": _regions(ordered, numbers, records),
        "text": _text(scene, numbers),
        "decisions": [
            {"kind": d.kind, "text": d.text, "rule": d.rule, "region": numbers.get(d.region_id, -1)}
            for d in (scene.decisions if scene else ())
        ],
        "pairs": [
            {"aspect": p.aspect, "question": p.question, "answer": p.answer, "confidence": _finite(p.confidence)}
            for p in records.pairs
        ],
        "rejected": [_rejected(r) for r in rejected_sample],
        "left_out": len(records.rejected) - len(rejected_sample),
    }


def _text(scene: Scene | None, numbers: Mapping[str, int]) -> list[dict[str, Any]] | None:
    if scene is None:
        return None
    return [
        {
            "text": s.text,
            "region": numbers.get(s.region_id, -1) if s.region_id is not None else -1,
            "tells": [numbers[r] for r in s.sentence if r in numbers],
        }
        for s in segments(scene)
    ]


def _regions(ordered: Sequence[Region], numbers: Mapping[str, int], records: ImageRecords) -> list[dict[str, Any]]:
    descriptions = {d.region_id: d for d in records.descriptions}
    merged = dict(records.scene.region_texts) if records.scene else {}
    views: list[dict[str, Any]] = []
    for number, region in enumerate(ordered):
        description = descriptions.get(region.region_id)
        parent = numbers.get(region.parent_id or "", -1)
        merged_text = merged.get(region.region_id, "")
        views.append(
            {
                "path": region.region_id.partition("/")[2],
                "parent": parent if parent < number else -1,  # a damaged tree may hold a loop
                "level": region.level,
                "box": _finite_box(region.box),
                "score": _finite(region.score),
                "source": region.source,
                "kind": region.kind,
                "ocr": region.text,
                "said": description.text if description else None,
                "prompt": description.prompt if description else "",
                "annotator": description.annotator if description else "",
                "merged": merged_text if description and merged_text != description.text else "",
            }
        )
    return views


def _sample(rejected: Sequence[Rejected]) -> list[Rejected]:
    """The first MAX_PER_REASON records of every stage and reason, in order."""
    counts: Counter[tuple[str, str]] = Counter()
    sample: list[Rejected] = []
    for record in rejected:
        counts[record.stage, record.reason] += 1
        if counts[record.stage, record.reason] <= MAX_PER_REASON:
            sample.append(record)
    return sample


def _rejected(record: Rejected) -> dict[str, Any]:
    return {
        "stage": record.stage,
        "id": record.record_id.partition("/")[2],
        "reason": record.reason,
        "detail": record.detail,
        "box": rejected_box(record),
    }


def rejected_box(record: Rejected) -> list[float] | None:
    """The box in the detail of a candidate that stage propose rejected; None if it cannot be drawn."""
    match = _BOX.search(record.detail) if record.stage == "propose" else None
    if match is None:
        return None
    x0, y0, x1, y1 = map(float, match[1].split())
    return _finite_box((x0, y0, x1, y1)) if x0 < x1 and y0 < y1 else None


def _finite_box(box: Box) -> list[float] | None:
    return [round(v, 1) for v in box] if all(math.isfinite(v) and abs(v) < 1e9 for v in box) else None


def _finite(value: float | None) -> float | None:
    return round(value, 4) if value is not None and math.isfinite(value) else None
