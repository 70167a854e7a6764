"""The task of stage synthesize: images and scenes of one shard -> question-answer pairs (eq. 5)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.annotate.pairs.filters import acceptance
from ouro.annotate.synthesize import Synthesized, synthesize_shard
from ouro.core.artifacts import read_shard, write_shard
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.records import Image, QAPair, Rejected, Scene
from tasks.annotator import annotator, fingerprint
from tasks.shards import Pictures, Progress, chunks, produce, shard_task

if TYPE_CHECKING:
    from ouro.vision.protocols import VisionLM

log = logging.getLogger(__name__)


@shard_task(name="synthesize", task_run_name="synthesize, {name}")
def synthesize(name: str, layout: Layout, params: Params, progress: Progress = lambda n: None) -> Path:
    """data/{images,scenes}/NAME -> data/qa/NAME. `progress` counts prompts, one an aspect of a scene.

    The answers of the round trip, of which nobody knows beforehand how many there will be, go to the log.
    """
    images, scenes = layout.images / name, layout.scenes / name
    out = layout.qa / name
    scene_records = read_shard(scenes, Scene)

    def make() -> None:
        result = _synthesize(read_shard(images, Image), scene_records, layout, params, progress, name)
        meta = {"scenes": len(scene_records), "aspects": acceptance(result.pairs, result.rejected)}
        write_shard(out, QAPair, result.pairs, n_in=result.n_in, rejected=result.rejected, meta=meta)

    if produce(
        "synthesize", out, inputs=[images, scenes], params=params.synthesize.model_dump(mode="json"),
        model=fingerprint(params.model), cache=layout.cache, make=make,
    ):  # fmt: skip
        progress(len(scene_records) * len(params.synthesize.aspects))
    return out


def _writer(params: Params) -> VisionLM:
    if params.synthesize.writer == "template":
        from ouro.nano.writer import TemplateWriter

        return TemplateWriter()
    return _annotator(params)


def _annotator(params: Params) -> VisionLM:
    return annotator(params.model, params.synthesize.batch_size)


def _synthesize(
    images: list[Image], scenes: list[Scene], layout: Layout, params: Params, progress: Progress, name: str
) -> Synthesized:
    pairs: list[QAPair] = []
    rejected: list[Rejected] = []
    n_in = 0
    for chunk in chunks(images):
        pictures = Pictures(chunk, layout.images, params.ingest.max_pixels)
        chunk_scenes = [scene for scene in scenes if scene.image_id in pictures]
        result = synthesize_shard(
            pictures, chunk_scenes, _writer(params), params.synthesize, progress,
            answerer=_annotator(params) if params.synthesize.round_trip else None, answered=_log_answers(name),
        )  # fmt: skip
        pairs += result.pairs
        rejected += result.rejected
        n_in += result.n_in
    return Synthesized(pairs, rejected, n_in)


def _log_answers(name: str, every: int = 500) -> Callable[[int], None]:
    """A progress function of the round trip: logs the count at every `every` answers."""
    n_answered = 0

    def count_answers(n: int) -> None:
        nonlocal n_answered
        n_answered += n
        if n_answered // every > (n_answered - n) // every:
            log.info("synthesize %s: %d questions answered from the image alone", name, n_answered)

    return count_answers
