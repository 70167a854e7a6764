"""Measures the assumptions on an annotated dataset, one shard in memory at a time; only counts are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ouro.core.boxes import area
from ouro.core.params import Params
from ouro.costs.workload import GridCounts, PictureGrids
from ouro.pages.gallery_data import ImageRecords, aspects_meta, check_dataset, read_dataset_shard
from ouro.pages.measure import written_by_aspect
from ouro.vision.architecture import Grid, PixelBounds

if TYPE_CHECKING:
    from ouro.core.layout import Layout
    from ouro.core.records import Box

PAIR_MARKUP_TOKENS = 4  # tokens of "Q:" and "A:" around a written pair


class DatasetProfile(NamedTuple):
    """A dataset: its number of training images, the assumptions measured on it, and the patch grids of its pictures."""

    images: int
    values: dict[str, float]
    seen: PictureGrids


def profile_dataset(
    layout: Layout, params: Params, sight: PixelBounds, tokens_of: Callable[[str], float]
) -> DatasetProfile:
    """Measure a folder of `ouro annotate`, or data/; `tokens_of` counts the tokens of a text.

    Values that need a stage that has not run are left out. Raises GalleryError and ArtifactError.
    """
    profile = _ProfileBuilder(params, sight, tokens_of)
    for shard in check_dataset(layout):
        records = read_dataset_shard(layout, shard.name)
        for image_records in records.images:
            if image_records.image.split == "train":
                profile.add_image(image_records)
        aspects = written_by_aspect(aspects_meta(layout, shard.name), records.pairs, records.dropped_pairs)
        profile.written_pairs += sum(written for _, written in aspects.values())
    return DatasetProfile(profile.images, profile.values(), profile.pictures())


class _Mean:
    def __init__(self) -> None:
        self.n = self.total = 0.0

    def add(self, value: float, n: float = 1.0) -> None:
        self.n += n
        self.total += value * n

    def to_dict(self, name: str) -> dict[str, float]:
        return {name: self.total / self.n} if self.n else {}


class _ProfileBuilder:
    def __init__(self, params: Params, sight: PixelBounds, tokens_of: Callable[[str], float]) -> None:
        self.params, self.sight, self.tokens_of = params, sight, tokens_of
        self.images = self.described = self.written_pairs = self.scenes = 0
        self._means = {name: _Mean() for name in ("width", "height", "image_reply", "region_reply", "merged")}
        self._means |= {name: _Mean() for name in ("question", "answer", "area1", "area2", "area3")}
        self._levels: Counter[str] = Counter()
        self._pairs = 0
        self._grids: dict[str, Counter[Grid]] = {name: Counter() for name in PictureGrids._fields}

    def add_image(self, records: ImageRecords) -> None:
        self.images += 1
        size = (records.image.width, records.image.height)
        self._means["width"].add(size[0])
        self._means["height"].add(size[1])
        self._count_picture(size)
        root_ids = {r.region_id for r in records.regions if r.parent_id is None}
        for region in (r for r in records.regions if r.parent_id is not None):
            level = min(region.level, 3)
            self._levels[f"regions{level}"] += 1
            self._means[f"area{level}"].add(area(region.box) / (size[0] * size[1]))
            self._count_region(size, region.box)
        for description in records.descriptions:
            self._means["image_reply" if description.region_id in root_ids else "region_reply"].add(
                self.tokens_of(description.text) + 1
            )
        if records.scene is not None:
            self.scenes += 1
            self._means["merged"].add(self.tokens_of(records.scene.text))
        self._pairs += len(records.pairs)
        for pair in records.pairs:
            self._means["question"].add(self.tokens_of(pair.question))
            self._means["answer"].add(self.tokens_of(pair.answer) + 1)

    def _count_picture(self, size: tuple[float, float]) -> None:
        params, grid_of = self.params, self.sight.grid
        self._grids["image"][grid_of(*size, params.describe.max_pixels)] += 1
        self._grids["trained_image"][grid_of(*size, params.train.max_pixels, params.train.min_pixels)] += 1
        self._grids["asked_image"][grid_of(*size, params.benchmark.max_pixels)] += 1
        self._grids["written"][grid_of(*size, params.synthesize.max_pixels)] += 1

    def _count_region(self, size: tuple[int, int], box: Box) -> None:
        params, grid_of = self.params, self.sight.grid
        crop_size = _crop_size(size, box, 0.0)
        self._grids["region"][
            grid_of(*_crop_size(size, box, params.describe.context), params.describe.region_max_pixels)
        ] += 1
        self._grids["trained_region"][grid_of(*crop_size, params.train.region_max_pixels)] += 1
        self._grids["asked_region"][grid_of(*crop_size, params.benchmark.region_max_pixels)] += 1

    def values(self) -> dict[str, float]:
        means: dict[str, float] = {}
        for name, mean in self._means.items():
            means |= mean.to_dict(name)
        n = max(1, self.images)
        means |= {f"regions{level}": self._levels[f"regions{level}"] / n for level in (1, 2, 3)}
        if self.scenes and self.written_pairs:
            means["pairs"] = self._pairs / n
            tokens_per_pair = means.get("question", 0.0) + means.get("answer", 0.0) + PAIR_MARKUP_TOKENS
            means["written"] = max(
                1.0, self.written_pairs / (n * len(self.params.synthesize.aspects)) * tokens_per_pair
            )
        return means

    def pictures(self) -> PictureGrids:
        shares: list[GridCounts] = [
            {g: n / counts.total() for g, n in sorted(counts.items())} for counts in self._grids.values()
        ]
        return PictureGrids(*shares)


def _crop_size(size: tuple[int, int], box: Box, context: float) -> tuple[int, int]:
    """Width and height, in pixels, of the crop that ouro.core.crops makes of a region."""
    (width, height), (x0, y0, x1, y1) = size, box
    dx, dy = (x1 - x0) * context, (y1 - y0) * context
    left, top = max(0, round(x0 - dx)), max(0, round(y0 - dy))
    return max(1, min(width, round(x1 + dx)) - left), max(1, min(height, round(y1 + dy)) - top)
