"""The task of stage describe: regions of one shard -> what the annotator says of each (eq. 3)."""

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
    wanted = {image.image_id for image in train}
    every = read_shard(regions, Region)
    ours = [region for region in every if region.image_id in wanted]

    def make() -> None:
        said, rejected = _describe(train, ours, layout, params, progress)
        meta = {"held_out_regions": len(every) - len(ours), **word_counts(said)}
        write_shard(out, Description, said, n_in=len(ours), rejected=rejected, meta=meta)

    if produce(
        "describe", out, inputs=[images, regions],
        params={"seed": params.seed, **params.describe.model_dump(mode="json")},
        model=fingerprint(params.model), cache=layout.cache, make=make,
    ):  # fmt: skip
        progress(len(ours))
    return out


def _describe(
    images: list[Image], regions: list[Region], layout: Layout, params: Params, progress: Progress
) -> tuple[list[Description], list[Rejected]]:
    said: list[Description] = []
    rejected: list[Rejected] = []
    for chunk in chunks(images):
        pictures = Pictures(chunk, layout.images, params.ingest.max_pixels)
        mine = [region for region in regions if region.image_id in pictures]
        vlm = annotator(params.model, params.describe.batch_size, batch_tokens=params.describe.batch_tokens)
        texts, dropped = describe_shard(mine, pictures, vlm, params.describe, progress, params.seed)
        said += texts
        rejected += dropped
    return said, rejected
