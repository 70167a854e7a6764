"""The task of stage merge: regions and descriptions of one shard -> one hierarchical description an image (eq. 4)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.annotate.merge import merge_images
from ouro.core.artifacts import fingerprint_files, read_shard, read_sidecar, write_shard
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.pictures import Pictures
from ouro.core.records import Description, Image, Region, Scene, training_images
from ouro.core.tokens import TOKENIZER, token_counter
from ouro.vision.served import served_base
from tasks.addresses import SHARDS, Address, code_of
from tasks.annotator import annotator, annotator_code, fingerprint
from tasks.shards import Progress, produce, shard_task
from tasks.weights import check_weights

if TYPE_CHECKING:
    from ouro.annotate.merge import Template
    from ouro.vision.protocols import VisionLM

log = logging.getLogger(__name__)


def address(params: Params) -> Address:
    """`merge_images` chooses the training images, matches, settles, writes and counts; ouro.core.tokens counts tokens
    with the file of `_tokenizer`, whose content is in the address. The annotator is there only where it is asked, and
    nano's own module where it writes. Raises MissingModel and ServedAdapter."""
    file, asks = _tokenizer(params), params.merge.asks
    annotator_modules = [annotator_code(params.model)] if asks else []
    template = ["ouro.nano.merging"] if params.merge.writer == "template" else []
    code = code_of("ouro.annotate.merge", "ouro.core.tokens", *template, *annotator_modules, SHARDS)
    tokenizer = fingerprint_files([file]) if file.is_file() else ""
    model = f"{tokenizer}+{fingerprint(params.model)}" if asks else tokenizer
    return Address(params.merge.model_dump(mode="json"), model, code)


def _tokenizer(params: Params) -> Path:
    """The annotator's own; of a server's model only where model.base is that one."""
    model = params.model
    base = Path(model.base) if model.backend == "hf" else served_base(model.base, model.name)
    return (base or Path("none")) / TOKENIZER


def _annotator(params: Params) -> VisionLM | None:
    return annotator(params.model, params.merge.batch_size) if params.merge.asks else None


def _pictures(params: Params, images: Sequence[Image], layout: Layout) -> Pictures | None:
    looks = params.merge.settle == "look"
    return Pictures(training_images(images), layout.images, params.ingest.max_pixels) if looks else None


def _template(params: Params) -> Template | None:
    if params.merge.writer != "template":
        return None
    from ouro.nano.merging import merge_nano

    return merge_nano


@shard_task(name="merge", task_run_name="merge, {name}")
def merge(name: str, layout: Layout, params: Params, progress: Progress = lambda n: None) -> Path:
    """data/{regions,descriptions}/NAME -> data/scenes/NAME, training images only. `progress` counts images.

    The annotator is loaded only where `merge` asks it, pictures are opened only to look at. Raises ModelChanged, of the
    annotator or its tokenizer, and ScoringUnavailable.
    """
    images, regions, descriptions = layout.images / name, layout.regions / name, layout.descriptions / name
    out = layout.scenes / name
    where = address(params)

    def make() -> None:
        count = token_counter(_tokenizer(params), where.model)
        every = read_shard(images, Image)
        merged = merge_images(
            every, read_shard(regions, Region), read_shard(descriptions, Description),
            params.merge, count, vlm=_annotator(params), pictures=_pictures(params, every, layout),
            template=_template(params),
        )  # fmt: skip
        write_shard(
            out, Scene, merged.scenes, n_in=len(training_images(every)), rejected=merged.rejected, meta=merged.meta()
        )

    produce(
        "merge", out, inputs=[images, regions, descriptions], **where._asdict(), cache=layout.cache, make=make,
        check=partial(check_weights, "merge", layout, where.model, lambda: address(params).model),
    )  # fmt: skip
    sidecar = read_sidecar(out)
    if cut := sidecar.meta["cut"]:
        log.warning("merge %s: %d scenes with descriptions over %d tokens", name, cut, params.merge.max_tokens)
    progress(sidecar.n_in)
    return out
