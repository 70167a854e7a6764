"""Measure a dataset: records of one image after the other in, ouro.pages.statistics.Statistics out.

Only counts stay, so memory does not grow with the collection. VILA^2 does not say how it counts words; here they
are separated by white space, so that a text in Chinese counts as one.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ouro.core.counts import StageCount
from ouro.pages.statistics import (
    MERGED,
    ORIGINAL,
    Acceptance,
    CaptionLength,
    OCRCoverage,
    RegionCount,
    StageRow,
    Statistics,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ouro.core.records import Box, Description, Image, QAPair, Region, Rejected, Scene


class Collector:
    """Takes the records of one image after the other, and the counts of stages; `result` sums up."""

    def __init__(self, round_: str) -> None:
        self.round = round_
        self._images = self._scenes = self._pairs = 0
        self._words: dict[str, Counter[int]] = defaultdict(Counter)
        self._regions: dict[str, Counter[str]] = {"level": Counter(), "source": Counter(), "kind": Counter()}
        self._per_image: Counter[int] = Counter()
        self._with_text = self._characters = 0
        self._text_area = self._confidence = 0.0
        self._n_confidences = 0
        self._aspects: dict[str, Counter[str]] = defaultdict(Counter)
        self._decisions: Counter[str] = Counter()
        self._stages: dict[str, StageCount] = {}

    def image(
        self,
        image: Image,
        regions: Sequence[Region],
        descriptions: Sequence[Description],
        scene: Scene | None,
        pairs: Sequence[QAPair],
    ) -> None:
        """Count one image and all that was made of it."""
        self._images += 1
        self._captions(image, regions, descriptions, scene)
        self._count_regions(image, regions)
        if scene is not None:
            self._scenes += 1
            self._decisions.update(d.kind for d in scene.decisions)
        self._pairs += len(pairs)
        confidences = [p.confidence for p in pairs if p.confidence is not None and math.isfinite(p.confidence)]
        self._n_confidences += len(confidences)
        self._confidence += sum(confidences)

    def _captions(
        self, image: Image, regions: Sequence[Region], descriptions: Sequence[Description], scene: Scene | None
    ) -> None:
        level = {r.region_id: str(r.level) for r in regions}
        texts = [(ORIGINAL, text) for text in image.captions]
        texts += [(level.get(d.region_id, "unknown"), d.text) for d in descriptions]
        texts += [(MERGED, scene.text)] if scene is not None else []
        for row, text in texts:
            self._words[row][len(text.split())] += 1

    def _count_regions(self, image: Image, regions: Sequence[Region]) -> None:
        parts = [r for r in regions if r.parent_id is not None]
        self._per_image[len(parts)] += 1
        for region in parts:
            self._regions["level"][str(region.level)] += 1
            self._regions["source"][region.source] += 1
            self._regions["kind"][region.kind] += 1
        texts = [r for r in regions if r.text.strip()]
        if not texts:
            return
        self._with_text += 1
        self._text_area += covered([r.box for r in texts], image.width, image.height)
        self._characters += sum(len(r.text) for r in outermost_texts(regions))

    def stage(self, count: StageCount) -> None:
        """Add the counts of one shard of a stage."""
        self._stages[count.stage] = self._stages.get(count.stage, StageCount(count.stage)).plus(count)

    def aspects(self, counts: Mapping[str, tuple[int, int]]) -> None:
        """Add (kept, written) by aspect of one shard: see `written_by_aspect`."""
        for aspect, (n_kept, written) in counts.items():
            self._aspects[aspect].update({"kept": n_kept, "written": written})

    def result(self) -> Statistics:
        """The statistics of all that was added so far."""
        n = max(1, self._images)
        _, _, median, p95 = spread(self._per_image)
        return Statistics(
            round=self.round,
            images=self._images,
            scenes=self._scenes,
            pairs=self._pairs,
            captions=tuple(
                CaptionLength(self.round, level, words.total(), *spread(words))
                for level, words in sorted(self._words.items(), key=lambda item: _order(item[0]))
            ),
            regions_mean=sum(self._regions["level"].values()) / n,
            regions_median=median,
            regions_p95=p95,
            regions=tuple(
                RegionCount(by, value, count, count / n)
                for by, values in self._regions.items()
                for value, count in sorted(values.items(), key=lambda item: _order(item[0]))
            ),
            ocr=OCRCoverage(self._with_text / n, self._text_area / n, self._characters),
            acceptance=tuple(Acceptance(a, c["kept"], c["written"]) for a, c in sorted(self._aspects.items())),
            decisions=tuple(sorted(self._decisions.items())),
            confidence=self._confidence / self._n_confidences if self._n_confidences else None,
            stages=tuple(
                StageRow(count.stage, count.n_in, count.n_out, tuple(sorted(count.rejected.items())))
                for count in self._stages.values()
            ),
        )


def _order(name: str) -> tuple[int, int, str]:
    """Original captions, levels by number, anything else by name, merged last."""
    if name.isascii() and name.isdigit():
        return (1, int(name), "")
    return ({ORIGINAL: 0, MERGED: 3}.get(name, 2), 0, name)


def spread(counts: Mapping[int, int]) -> tuple[float, float, float, float]:
    """Mean, population standard deviation, median and 95th percentile (nearest rank) of counted values; 0 of none."""
    values = np.array(sorted(counts), dtype=np.float64)
    weights = np.array([counts[int(v)] for v in values], dtype=np.int64)
    n = int(weights.sum())
    if not n:
        return 0.0, 0.0, 0.0, 0.0
    mean = float((values * weights).sum() / n)
    std = math.sqrt(float(((values - mean) ** 2 * weights).sum() / n))
    upto = np.cumsum(weights)

    def at(rank: int) -> float:
        """The value of this rank, from 0, in ascending order."""
        return float(values[int(np.searchsorted(upto, rank, side="right"))])

    return mean, std, (at((n - 1) // 2) + at(n // 2)) / 2, at(math.ceil(0.95 * n) - 1)


def covered(boxes: Sequence[Box], width: int, height: int) -> float:
    """Share of a width x height image under the union of `boxes`, exactly: by compressed coordinates."""
    rows = np.array([b for b in boxes if all(map(math.isfinite, b))], dtype=np.float64).reshape(-1, 4)
    rows = np.clip(rows, 0.0, [width, height, width, height])
    xs, ys = np.unique(rows[:, [0, 2]]), np.unique(rows[:, [1, 3]])
    if not len(xs) or width < 1 or height < 1:
        return 0.0
    under = np.zeros((len(ys) - 1, len(xs) - 1), dtype=bool)  # cells between neighbouring coordinates
    for x0, y0, x1, y1 in rows:
        a, b = np.searchsorted(ys, (y0, y1)), np.searchsorted(xs, (x0, x1))
        under[a[0] : a[1], b[0] : b[1]] = True
    cells = np.diff(ys)[:, None] * np.diff(xs)[None, :]
    return min(1.0, float(cells[under].sum()) / (width * height))


def outermost_texts(regions: Sequence[Region]) -> list[Region]:
    """Regions in which OCR read something, without those inside of another such region."""
    regions_by_id = {r.region_id: r for r in regions}

    def inside_text(region: Region) -> bool:
        seen = {region.region_id}
        above = regions_by_id.get(region.parent_id or "")
        while above is not None and above.region_id not in seen:  # a damaged tree may hold a loop
            if above.text.strip():
                return True
            seen.add(above.region_id)
            above = regions_by_id.get(above.parent_id or "")
        return False

    return [r for r in regions if r.text.strip() and not inside_text(r)]


def written_by_aspect(
    meta: Mapping[str, Any], pairs: Iterable[QAPair], rejected: Iterable[Rejected]
) -> dict[str, tuple[int, int]]:
    """Aspect -> (kept, written) of one shard: the sidecar's meta["aspects"], or counted from the records.

    A rejected piece names its aspect in its id, "<image id>/<aspect>/<number>".
    """
    aspects = meta.get("aspects")
    if isinstance(aspects, dict) and all(_is_count(value) for value in aspects.values()):
        return {str(aspect): (int(value[0]), int(value[1])) for aspect, value in aspects.items()}
    counts = Counter(pair.aspect for pair in pairs)
    dropped = Counter(r.record_id.partition("/")[2].rpartition("/")[0] or "unknown" for r in rejected)
    return {aspect: (counts[aspect], counts[aspect] + dropped[aspect]) for aspect in sorted({*counts, *dropped})}


def _is_count(value: Any) -> bool:
    """Whether a value is [kept, written] with 0 <= kept <= written."""
    if not isinstance(value, list) or len(value) != 2 or not all(type(v) is int for v in value):
        return False
    return 0 <= value[0] <= value[1]
