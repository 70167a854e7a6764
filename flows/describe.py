"""Stage describe: the annotator describes every region of the training images. `python -m flows.describe`"""

from __future__ import annotations

from prefect import flow

from flows.session import run_stage, stage_run_name
from flows.shards import WHOLE, Share, Work, over_shards
from ouro.core.artifacts import read_shard, read_sidecar
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.records import Description, Image, Region
from tasks.describe import describe as describe_shard
from tasks.prefect_artifacts import sample_artifact


@flow(name="describe", flow_run_name=stage_run_name, validate_parameters=False)
def describe(params: Params, layout: Layout, share: Share = WHOLE) -> Work:
    def regions(name: str) -> int:
        return _train_regions(layout, name)

    names, work = over_shards("describe", describe_shard, layout, params, share, size=regions, unit="regions")
    _sample(layout, names)
    return work


def _train_regions(layout: Layout, name: str) -> int:
    train = {image.image_id for image in read_shard(layout.images / name, Image) if image.split == "train"}
    if len(train) == read_sidecar(layout.images / name).n_out:
        return read_sidecar(layout.regions / name).n_out
    return sum(region.image_id in train for region in read_shard(layout.regions / name, Region))


def _sample(layout: Layout, names: list[str]) -> None:
    descriptions = [d for name in names[:1] for d in read_shard(layout.descriptions / name, Description)][:12]
    sample_artifact("describe", "What the annotator said", "\n".join(f"{d.region_id}: {d.text}" for d in descriptions))


if __name__ == "__main__":
    run_stage(describe)
