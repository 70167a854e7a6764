"""The assumptions measured on a dataset that was annotated: one shard in memory at a time, only counts stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ouro.core.boxes import area
from ouro.core.params import Params
from ouro.costs.workload import Pictures, Shown
from ouro.pages.gallery_data import ImageRecords, aspects_meta, check_dataset, read_dataset_shard
from ouro.pages.measure import written_by_aspect
from ouro.vision.architecture import Grid, Sight

if TYPE_CHECKING:
    from ouro.core.layout import Layout
    from ouro.core.records import Box

PIECE = 4  # tokens of "Q:" and "A:" around a written pair


class Like(NamedTuple):
    """A dataset: how many training images, the assumptions it tells, and the patch grids of its pictures."""

    images: int
    values: dict[str, float]
    seen: Pictures


def measure(layout: Layout, params: Params, sight: Sight, tokens_of: Callable[[str], float]) -> Like:
    """Count a folder of `ouro annotate`, or data/; `tokens_of` says how many tokens a text has.

    What a stage that has not run would tell is left out. Raises GalleryError and ArtifactError.
    """
    counted = _Counted(params, sight, tokens_of)
    for shard in check_dataset(layout):
        records = read_dataset_shard(layout, shard.name)
        for one in records.images:
            if one.image.split == "train":
                counted.image(one)
        aspects = written_by_aspect(aspects_meta(layout, shard.name), records.pairs, records.dropped_pairs)
        counted.pieces += sum(written for _, written in aspects.values())
    return Like(counted.images, counted.values(), counted.pictures())


class _Mean:
    def __init__(self) -> None:
        self.n = self.total = 0.0

    def add(self, value: float, n: float = 1.0) -> None:
        self.n += n
        self.total += value * n

    def told(self, name: str) -> dict[str, float]:
        return {name: self.total / self.n} if self.n else {}


class _Counted:
    def __init__(self, params: Params, sight: Sight, tokens_of: Callable[[str], float]) -> None:
        self.params, self.sight, self.tokens_of = params, sight, tokens_of
        self.images = self.described = self.pieces = self.scenes = 0
        self._means = {name: _Mean() for name in ("width", "height", "image_reply", "region_reply", "merged")}
        self._means |= {name: _Mean() for name in ("question", "answer", "area1", "area2", "area3")}
        self._levels: Counter[str] = Counter()
        self._pairs = 0
        self._grids: dict[str, Counter[Grid]] = {name: Counter() for name in Pictures._fields}

    def image(self, one: ImageRecords) -> None:
        self.images += 1
        size = (one.image.width, one.image.height)
        self._means["width"].add(size[0])
        self._means["height"].add(size[1])
        self._picture(size)
        whole = {r.region_id for r in one.regions if r.parent_id is None}
        for region in (r for r in one.regions if r.parent_id is not None):
            level = min(region.level, 3)
            self._levels[f"regions{level}"] += 1
            self._means[f"area{level}"].add(area(region.box) / (size[0] * size[1]))
            self._region(size, region.box)
        for said in one.descriptions:
            self._means["image_reply" if said.region_id in whole else "region_reply"].add(self.tokens_of(said.text) + 1)
        if one.scene is not None:
            self.scenes += 1
            self._means["merged"].add(self.tokens_of(one.scene.text))
        self._pairs += len(one.pairs)
        for pair in one.pairs:
            self._means["question"].add(self.tokens_of(pair.question))
            self._means["answer"].add(self.tokens_of(pair.answer) + 1)

    def _picture(self, size: tuple[float, float]) -> None:
        p, see = self.params, self.sight.grid
        self._grids["image"][see(*size, p.describe.max_pixels)] += 1
        self._grids["trained_image"][see(*size, p.train.max_pixels, p.train.min_pixels)] += 1
        self._grids["asked_image"][see(*size, p.benchmark.max_pixels)] += 1
        self._grids["written"][see(*size, p.synthesize.max_pixels)] += 1

    def _region(self, size: tuple[int, int], box: Box) -> None:
        p, see = self.params, self.sight.grid
        bare = _cut(size, box, 0.0)
        self._grids["region"][see(*_cut(size, box, p.describe.context), p.describe.region_max_pixels)] += 1
        self._grids["trained_region"][see(*bare, p.train.region_max_pixels)] += 1
        self._grids["asked_region"][see(*bare, p.benchmark.region_max_pixels)] += 1

    def values(self) -> dict[str, float]:
        told: dict[str, float] = {}
        for name, mean in self._means.items():
            told |= mean.told(name)
        n = max(1, self.images)
        told |= {f"regions{level}": self._levels[f"regions{level}"] / n for level in (1, 2, 3)}
        if self.scenes and self.pieces:
            told["pairs"] = self._pairs / n
            each = told.get("question", 0.0) + told.get("answer", 0.0) + PIECE
            told["written"] = max(1.0, self.pieces / (n * len(self.params.synthesize.aspects)) * each)
        return told

    def pictures(self) -> Pictures:
        shares: list[Shown] = [
            {g: n / counts.total() for g, n in sorted(counts.items())} for counts in self._grids.values()
        ]
        return Pictures(*shares)


def _cut(size: tuple[int, int], box: Box, context: float) -> tuple[int, int]:
    """Width and height of a region's crop, as ouro.core.crops cuts it."""
    (width, height), (x0, y0, x1, y1) = size, box
    dx, dy = (x1 - x0) * context, (y1 - y0) * context
    left, top = max(0, round(x0 - dx)), max(0, round(y0 - dy))
    return max(1, min(width, round(x1 + dx)) - left), max(1, min(height, round(y1 + dy)) - top)
