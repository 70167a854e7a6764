"""Stage merge: one hierarchical description an image, bottom-up. `python -m flows.merge`"""

from __future__ import annotations

from prefect import flow

from flows.runner import over_shards, run_stage, sample_artifact
from ouro.artifacts import read_shard, read_sidecar
from ouro.params import Params
from ouro.records import Scene
from tasks.layout import Layout, shard_names
from tasks.merge import merge as merge_shard


@flow(name="merge", validate_parameters=False)
def merge(params: Params, layout: Layout) -> None:
    names = shard_names(layout.descriptions)
    total = sum(read_sidecar(layout.images / name).n_out for name in names)
    over_shards("merge", names, merge_shard, layout, params, total=total, unit="images")
    scenes = [s for name in names[:1] for s in read_shard(layout.scenes / name, Scene)][:1]
    sample_artifact("merge", "A merged description", "\n".join(s.text for s in scenes))


if __name__ == "__main__":
    run_stage(merge)
