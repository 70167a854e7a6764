"""Stage ingest: images with content ids, verified and upright; bad files rejected. `python -m flows.ingest`"""

from __future__ import annotations

from prefect import flow

from flows.session import run_stage, stage_run_name
from ouro.core.artifacts import read_shard, read_sidecar
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.pictures import stored_file
from ouro.core.records import Image
from ouro.ingest.collection import depth_notes
from ouro.ingest.sources import source_notes
from tasks import screen
from tasks.ingest import expected
from tasks.ingest import ingest as ingest_task
from tasks.prefect_artifacts import count_artifact, image_artifact
from tasks.timing import record_work


@flow(name="ingest", flow_run_name=stage_run_name, validate_parameters=False)
def ingest(params: Params, layout: Layout) -> None:
    with screen.waiting("count", "files") as advance:
        total = expected(params, advance)
    with record_work("ingest", layout), screen.progress("ingest", total, "files") as advance:
        shards = ingest_task(layout, params, advance)
    sidecars = [read_sidecar(shard) for shard in shards]
    screen.say(screen.count_line("ingest", sidecars))
    for note in [*source_notes(params.ingest), *depth_notes(sidecars)]:
        screen.say(f"note: {note}")
    count_artifact("ingest", [shard.name for shard in shards], sidecars)
    first = next((image for shard in shards for image in read_shard(shard, Image)), None)
    if first is not None:
        image_artifact("ingest", "The first image", stored_file(layout.images, first))


if __name__ == "__main__":
    run_stage(ingest)
