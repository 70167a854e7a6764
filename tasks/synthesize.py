"""The task of stage synthesize: images and scenes of one shard -> question-answer pairs (eq. 5)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ouro.annotate.synthesize import synthesize_shard
from ouro.artifacts import read_shard, write_shard
from ouro.params import Params
from ouro.records import Image, QAPair, Rejected, Scene
from tasks.annotator import annotator, fingerprint
from tasks.layout import Layout
from tasks.shards import Pictures, Progress, chunks, produce, shard_task

if TYPE_CHECKING:
    from ouro.vision.protocols import VisionLM


@shard_task(name="synthesize")
def synthesize(name: str, layout: Layout, params: Params, progress: Progress = lambda n: None) -> Path:
    """data/{images,scenes}/NAME -> data/qa/NAME. `progress` counts prompts, one an aspect of a scene."""
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
        progress(len(described) * len(params.synthesize.aspects))
    return out


def _writer(params: Params) -> VisionLM:
    if params.synthesize.writer == "template":
        from ouro.nano.writer import TemplateWriter

        return TemplateWriter()
    return annotator(params.model, params.synthesize.batch_size)


def _synthesize(
    images: list[Image], scenes: list[Scene], layout: Layout, params: Params, progress: Progress
) -> tuple[list[QAPair], list[Rejected], int]:
    pairs: list[QAPair] = []
    rejected: list[Rejected] = []
    n_in = 0
    for chunk in chunks(images):
        pictures = Pictures(chunk, layout.images, params.ingest.max_pixels)
        mine = [scene for scene in scenes if scene.image_id in pictures]
        vlm = _writer(params)
        made, dropped, asked = synthesize_shard(pictures, mine, vlm, params.synthesize, progress=progress)
        pairs += made
        rejected += dropped
        n_in += asked
    return pairs, rejected, n_in
