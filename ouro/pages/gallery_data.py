"""What the gallery reads of a dataset: the shards of all stages, grouped by image.

A folder may be unfinished: the records of a stage that has not run on every shard are missing, and a note says so.
A damaged shard raises.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ouro.core.artifacts import list_shards, read_shard, read_sidecar, rejected_path, sidecar_path
from ouro.core.counts import StageCount, count_records
from ouro.core.errors import OuroError
from ouro.core.records import Description, Image, QAPair, Record, Region, Rejected, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ouro.core.layout import Layout

R = TypeVar("R", bound=Record)


class GalleryError(OuroError, ValueError):
    """A folder that is no dataset of ours, or a place where no gallery may be written."""


@dataclass(frozen=True, slots=True)
class ImageRecords:
    """One image with its records of every finished stage."""

    image: Image
    regions: tuple[Region, ...] = ()
    descriptions: tuple[Description, ...] = ()
    scene: Scene | None = None
    pairs: tuple[QAPair, ...] = ()
    rejected: tuple[Rejected, ...] = ()


@dataclass(slots=True)
class ShardRecords:
    """One shard of every stage. `whole`: rejected records of whole images; `n_stray`: records of other images."""

    images: list[ImageRecords]
    whole: list[Rejected]
    pairs: list[QAPair] = field(default_factory=list[QAPair])
    dropped_pairs: list[Rejected] = field(default_factory=list[Rejected])
    n_stray: int = 0


def finished(folder: Path) -> list[Path]:
    """The shards of a folder that a stage has finished; none where it has not run."""
    return [p for p in list_shards(folder) if sidecar_path(p).is_file()] if folder.is_dir() else []


def check_dataset(layout: Layout) -> list[Path]:
    """The finished image shards. Raises GalleryError when there are none."""
    shards = finished(layout.images)
    if not shards:
        got = "no such folder" if not layout.root.is_dir() else f"no finished shard in {layout.images}"
        raise GalleryError(
            f"{layout.root}: {got}; expected a folder that `ouro annotate --out` or the pipeline wrote (its data/), "
            "with images/shard-00000.parquet; name that folder, or annotate some images first"
        )
    return shards


def missing_stages(layout: Layout) -> list[str]:
    """A note for every stage after ingest that has finished fewer shards than ingest."""
    n_images = len(finished(layout.images))
    brings = {
        "propose": "regions", "describe": "descriptions", "merge": "merged descriptions",
        "synthesize": "question-answer pairs",
    }  # fmt: skip
    notes: list[str] = []
    for stage, what in brings.items():
        n_finished = len(finished(layout.stages()[stage]))
        if n_finished < n_images:
            extent = f"no {what} yet" if not n_finished else f"{what} of {n_finished} of {n_images} shards only"
            notes.append(f"{extent}: stage {stage} has not {'run' if not n_finished else 'finished'}.")
    return notes


def read_dataset_shard(layout: Layout, name: str) -> ShardRecords:
    """All records of one shard, grouped by image. Raises ArtifactError."""
    images = read_shard(layout.images / name, Image)
    image_ids = {i.image_id for i in images}
    regions = _by_image(_read_finished(layout.regions / name, Region))
    descriptions = _by_image(_read_finished(layout.descriptions / name, Description))
    scenes = _by_image(_read_finished(layout.scenes / name, Scene))
    pairs = _read_finished(layout.qa / name, QAPair)
    pairs_by_image = _by_image(pairs)
    stages = [(stage, _read_rejected(folder / name)) for stage, folder in layout.stages().items()]
    rejected_by_image = _by_owner([r for stage, records in stages if stage != "ingest" for r in records])
    grouped = (regions, descriptions, scenes, pairs_by_image, rejected_by_image)
    return ShardRecords(
        [
            ImageRecords(
                i, tuple(regions[i.image_id]), tuple(descriptions[i.image_id]), next(iter(scenes[i.image_id]), None),
                tuple(pairs_by_image[i.image_id]), tuple(rejected_by_image[i.image_id]),
            )
            for i in images
        ],
        [r for stage, records in stages for r in records if stage == "ingest" or r.record_id in image_ids],
        pairs,
        next(records for stage, records in stages if stage == "synthesize"),
        sum(len(records) for group in grouped for owner, records in group.items() if owner not in image_ids),
    )  # fmt: skip


def _read_finished(path: Path, kind: type[R]) -> list[R]:
    return read_shard(path, kind) if path.is_file() and sidecar_path(path).is_file() else []


def _read_rejected(path: Path) -> list[Rejected]:
    there = rejected_path(path).is_file() and sidecar_path(path).is_file()
    return read_shard(rejected_path(path), Rejected) if there else []


def _by_image(records: Sequence[Any]) -> defaultdict[str, list[Any]]:
    grouped: defaultdict[str, list[Any]] = defaultdict(list)
    for record in records:
        grouped[record.image_id].append(record)
    return grouped


def _by_owner(records: Sequence[Rejected]) -> defaultdict[str, list[Rejected]]:
    """Rejected records by the image that their ids begin with: "<image>", "<image>/<path>", "<image>/<aspect>/<n>"."""
    grouped: defaultdict[str, list[Rejected]] = defaultdict(list)
    for record in records:
        grouped[record.record_id.partition("/")[0]].append(record)
    return grouped


def stage_counts(layout: Layout, name: str) -> Iterator[StageCount]:
    """The counts of one shard in every stage that has finished it."""
    for stage, folder in layout.stages().items():
        if sidecar_path(folder / name).is_file():
            yield count_records(stage, [read_sidecar(folder / name)])


def aspects_meta(layout: Layout, name: str) -> Mapping[str, Any]:
    """The metadata of stage synthesize for one shard; {} where it has not run."""
    return read_sidecar(layout.qa / name).meta if sidecar_path(layout.qa / name).is_file() else {}
