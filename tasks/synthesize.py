"""The task of stage synthesize: images and scenes of one shard -> question-answer pairs (eq. 5)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.annotate.synthesize import synthesize_images
from ouro.core.artifacts import read_shard, read_sidecar, write_shard
from ouro.core.control_tokens import tokens_meta
from ouro.core.corrections import Correction, correct_scenes, corrections_digest, read_corrections
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.records import Image, QAPair, Scene
from tasks.addresses import SHARDS, Address, code_of
from tasks.annotator import annotator, annotator_code, fingerprint
from tasks.shards import Progress, produce, shard_task
from tasks.weights import check_weights

if TYPE_CHECKING:
    from ouro.annotate.pairs.judging import Rules
    from ouro.vision.protocols import VisionLM

log = logging.getLogger(__name__)


def address(params: Params) -> Address:
    """`synthesize_images` asks the writer, reads, filters, and asks about pairs. With the template writer and nothing
    asked about them no model is in the address; nano's writer and rules are, where they are used. What people corrected
    decides, too: how is of the code, what of the params of a shard that has corrections. Raises MissingModel, and
    ServedAdapter."""
    settings, template = params.synthesize, params.synthesize.writer == "template"
    annotator_modules = [] if template and not settings.asks else [annotator_code(params.model)]
    nano = ["ouro.nano.writer"] * template + ["ouro.nano.support"] * (_rules(params) is not None)
    code = code_of("ouro.annotate.synthesize", "ouro.core.corrections", *nano, *annotator_modules, SHARDS)
    return Address(settings.model_dump(mode="json"), fingerprint(params.model) if annotator_modules else "", code)


@shard_task(name="synthesize", task_run_name="synthesize, {name}")
def synthesize(name: str, layout: Layout, params: Params, progress: Progress = lambda n: None) -> Path:
    """data/{images,scenes}/NAME -> data/qa/NAME. `progress` counts prompts, one an aspect of a scene.

    The answers of the round trip, of which nobody knows beforehand how many there will be, go to the log. Raises
    ModelChanged, and ScoringUnavailable.
    """
    images, scenes = layout.images / name, layout.scenes / name
    out = layout.qa / name
    where = address(params)
    corrections = read_corrections(layout)
    if digest := _digest_corrections(corrections, scenes):
        where = where._replace(params={**where.params, "corrections": digest})

    def make() -> None:
        described = correct_scenes(corrections, read_shard(scenes, Scene)).scenes
        tokens: list[int] = []
        result = synthesize_images(
            read_shard(images, Image), described, layout.images, params.ingest.max_pixels, partial(_writer, params),
            partial(annotator, params.model), params.synthesize, progress, _logged(name), _rules(params), tokens.append,
        )  # fmt: skip
        meta = {**result.meta(len(described)), **tokens_meta(sum(tokens))}
        write_shard(out, QAPair, result.pairs, n_in=result.n_in, rejected=result.rejected, meta=meta)

    if produce(
        "synthesize", out, inputs=[images, scenes], **where._asdict(), cache=layout.cache, make=make,
        check=partial(check_weights, "synthesize", layout, where.model, lambda: address(params).model),
    ):  # fmt: skip
        progress(read_sidecar(scenes).n_out * len(params.synthesize.aspects))
    return out


def _digest_corrections(corrections: Sequence[Correction], scenes: Path) -> str:
    """Of those that change a scene of this shard; "" where none does, and without reading the shard where none can."""
    if not corrections:
        return ""
    described = read_shard(scenes, Scene)
    held = correct_scenes(corrections, described).held
    return corrections_digest(held, {scene.image_id for scene in described})


def _writer(params: Params, batch_size: int) -> VisionLM:
    if params.synthesize.writer == "template":
        from ouro.nano.writer import TemplateWriter

        return TemplateWriter()
    return annotator(params.model, batch_size)


def _rules(params: Params) -> Rules | None:
    """Nano's own, for its language; None: the method's, for free text."""
    if params.synthesize.template != "nano" or params.synthesize.support != "rules":
        return None
    from ouro.nano.support import check_pair

    return check_pair


def _logged(name: str, every: int = 500) -> Callable[[int], None]:
    """A progress of the round trip that says so in the log, now and then."""
    done = 0

    def answered(n: int) -> None:
        nonlocal done
        done += n
        if done // every > (done - n) // every:
            log.info("synthesize %s: %d questions answered from the image alone", name, done)

    return answered
