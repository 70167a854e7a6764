"""The task of stage describe: regions of one shard -> the annotator's description of each (eq. 3)."""

from __future__ import annotations

from pathlib import Path

from ouro.annotate.describe import describe_shard, word_counts
from ouro.core.artifacts import read_shard, write_shard
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.records import Description, Image, Region, Rejected
from tasks.annotator import annotator, fingerprint
from tasks.shards import Pictures, Progress, chunks, produce, shard_task


@shard_task(name="describe", task_run_name="describe, {name}")
def describe(name: str, layout: Layout, params: Params, progress: Progress = lambda n: None) -> Path:
    """data/regions/NAME -> data/descriptions/NAME, training images only. `progress` counts regions."""
    images, regions = layout.images / name, layout.regions / name
    out = layout.descriptions / name
    train = [image for image in read_shard(images, Image) if image.split == "train"]
    train_ids = {image.image_id for image in train}
    all_regions = read_shard(regions, Region)
    train_regions = [region for region in all_regions if region.image_id in train_ids]

    def make() -> None:
        descriptions, rejected = _describe(train, train_regions, layout, params, progress)
        meta = {"held_out_regions": len(all_regions) - len(train_regions), **word_counts(descriptions)}
        write_shard(out, Description, descriptions, n_in=len(train_regions), rejected=rejected, meta=meta)

    if produce(
        "describe", out, inputs=[images, regions],
        params={"seed": params.seed, **params.describe.model_dump(mode="json")},
        model=fingerprint(params.model), cache=layout.cache, make=make,
    ):  # fmt: skip
        progress(len(train_regions))
    return out


def _describe(
    images: list[Image], regions: list[Region], layout: Layout, params: Params, progress: Progress
) -> tuple[list[Description], list[Rejected]]:
    descriptions: list[Description] = []
    rejected: list[Rejected] = []
    for chunk in chunks(images):
        pictures = Pictures(chunk, layout.images, params.ingest.max_pixels)
        chunk_regions = [region for region in regions if region.image_id in pictures]
        vlm = annotator(params.model, params.describe.batch_size, batch_tokens=params.describe.batch_tokens)
        chunk_descriptions, chunk_rejected = describe_shard(
            chunk_regions, pictures, vlm, params.describe, progress, params.seed
        )
        descriptions += chunk_descriptions
        rejected += chunk_rejected
    return descriptions, rejected
