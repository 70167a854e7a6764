"""The task of stage merge: regions and descriptions of one shard -> one hierarchical description an image (eq. 4)."""

from __future__ import annotations

import logging
from pathlib import Path

from ouro.annotate.merge import merge_shard
from ouro.artifacts import read_shard, read_sidecar, write_shard
from ouro.params import Params
from ouro.records import Description, Image, Region, Scene
from tasks.layout import Layout
from tasks.shards import Progress, produce, shard_task

log = logging.getLogger(__name__)


@shard_task(name="merge")
def merge(name: str, layout: Layout, params: Params, progress: Progress = lambda n: None) -> Path:
    """data/{regions,descriptions}/NAME -> data/scenes/NAME, training images only. `progress` counts images."""
    inputs = [layout.images / name, layout.regions / name, layout.descriptions / name]
    out = layout.scenes / name
    images = [image for image in read_shard(inputs[0], Image) if image.split == "train"]

    def make() -> None:
        wanted = {image.image_id for image in images}
        regions = [region for region in read_shard(inputs[1], Region) if region.image_id in wanted]
        said = read_shard(inputs[2], Description)
        scenes, rejected, cut = merge_shard(images, regions, said, params.merge)
        write_shard(out, Scene, scenes, n_in=len(images), rejected=rejected, meta={"cut": cut})

    produce(
        "merge",
        out,
        inputs=inputs,
        params=params.merge.model_dump(mode="json"),
        cache=layout.cache,
        make=make,
    )
    cut = read_sidecar(out).meta["cut"]
    if cut:
        log.warning("merge %s: %d scenes with descriptions cut at %d words", name, cut, params.merge.max_words)
    progress(len(images))
    return out
