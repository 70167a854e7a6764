"""Stage propose: every image's region tree, by the proposers of params, recursively. `python -m flows.propose`"""

from __future__ import annotations

from prefect import flow

from flows.session import run_stage, stage_run_name
from flows.shards import WHOLE, Share, Work, over_shards
from ouro.core.artifacts import read_shard, read_sidecar
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.records import Region
from tasks.prefect_artifacts import sample_artifact
from tasks.propose import propose as propose_shard


@flow(name="propose", flow_run_name=stage_run_name, validate_parameters=False)
def propose(params: Params, layout: Layout, share: Share = WHOLE) -> Work:
    def images(name: str) -> int:
        return read_sidecar(layout.images / name).n_out

    names, work = over_shards("propose", propose_shard, layout, params, share, size=images, unit="images")
    _sample(layout, names)
    return work


def _sample(layout: Layout, names: list[str]) -> None:
    regions = [r for name in names[:1] for r in read_shard(layout.regions / name, Region)]
    tree = [r for r in regions if r.image_id == regions[0].image_id]
    lines = [
        f"{'  ' * r.level}{r.region_id.rpartition('/')[2]} {r.box} {r.source} {r.score:.2f} {r.text}" for r in tree
    ]
    sample_artifact("propose", "The regions of one image", "\n".join(lines))


if __name__ == "__main__":
    run_stage(propose)
