"""Stage merge: one hierarchical description an image, bottom-up. `python -m flows.merge`"""

from __future__ import annotations

from prefect import flow

from flows.session import run_stage, stage_run_name
from flows.shards import WHOLE, Share, Work, over_shards
from ouro.core.artifacts import read_shard, read_sidecar
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.records import Scene
from tasks.merge import merge as merge_shard
from tasks.prefect_artifacts import sample_artifact


@flow(name="merge", flow_run_name=stage_run_name, validate_parameters=False)
def merge(params: Params, layout: Layout, share: Share = WHOLE) -> Work:
    def images(name: str) -> int:
        return read_sidecar(layout.images / name).n_out

    names, work = over_shards("merge", merge_shard, layout, params, share, size=images, unit="images")
    scenes = [s for name in names[:1] for s in read_shard(layout.scenes / name, Scene)][:1]
    sample_artifact("merge", "A merged description", "\n".join(s.text for s in scenes))
    return work


if __name__ == "__main__":
    run_stage(merge)
