"""The task of stage synthesize: images and scenes of one shard -> question-answer pairs (eq. 5)."""

from __future__ import annotations

from pathlib import Path

from ouro.annotate.synthesize import synthesize_shard
from ouro.artifacts import read_shard, write_shard
from ouro.params import Params
from ouro.records import Image, QAPair, Rejected, Scene
from tasks.annotator import annotator, fingerprint
from tasks.layout import Layout
from tasks.shards import Pictures, Progress, chunks, produce, shard_task


@shard_task(name="synthesize")
def synthesize(name: str, layout: Layout, params: Params, progress: Progress = lambda n: None) -> Path:
    """data/{images,scenes}/NAME -> data/qa/NAME. `progress` counts scenes."""
    images, scenes = layout.images / name, layout.scenes / name
    out = layout.qa / name
    described = read_shard(scenes, Scene)

    def make() -> None:
        pairs, rejected, n_in = _synthesize(read_shard(images, Image), described, layout, params, progress)
        write_shard(out, QAPair, pairs, n_in=n_in, rejected=rejected, meta={"scenes": len(described)})

    if produce(
        "synthesize", out, inputs=[images, scenes], params=params.synthesize.model_dump(mode="json"),
        model=fingerprint(params.model), cache=layout.cache, make=make,
    ):  # fmt: skip
        progress(len(described))
    return out


def _synthesize(
    images: list[Image], scenes: list[Scene], layout: Layout, params: Params, progress: Progress
) -> tuple[list[QAPair], list[Rejected], int]:
    pairs: list[QAPair] = []
    rejected: list[Rejected] = []
    n_in = 0
    for chunk in chunks(images):
        pictures = Pictures(chunk, layout.images, params.ingest.max_pixels)
        mine = [scene for scene in scenes if scene.image_id in pictures]
        vlm = annotator(params.model, params.synthesize.batch_size)
        made, dropped, asked = synthesize_shard(pictures, mine, vlm, params.synthesize, progress=progress)
        pairs += made
        rejected += dropped
        n_in += asked
    return pairs, rejected, n_in
