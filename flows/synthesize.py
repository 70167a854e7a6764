"""Stage synthesize: the annotator asks and answers questions about each scene. `python -m flows.synthesize`"""

from __future__ import annotations

from prefect import flow

from flows.session import run_stage, stage_run_name
from flows.shards import WHOLE, Share, Work, over_shards
from ouro.core.artifacts import read_shard, read_sidecar
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.records import QAPair
from tasks.prefect_artifacts import sample_artifact
from tasks.synthesize import synthesize as synthesize_shard


@flow(name="synthesize", flow_run_name=stage_run_name, validate_parameters=False)
def synthesize(params: Params, layout: Layout, share: Share = WHOLE) -> Work:
    def prompts(name: str) -> int:
        return read_sidecar(layout.scenes / name).n_out * len(params.synthesize.aspects)

    names, work = over_shards("synthesize", synthesize_shard, layout, params, share, size=prompts, unit="prompts")
    pairs = [p for name in names[:1] for p in read_shard(layout.qa / name, QAPair)][:12]
    sample_artifact(
        "synthesize", "Pairs of one shard", "\n".join(f"[{p.aspect}] {p.question} {p.answer}" for p in pairs)
    )
    return work


if __name__ == "__main__":
    run_stage(synthesize)
