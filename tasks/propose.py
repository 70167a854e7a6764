"""The task of stage propose: images of one shard -> their region trees (Algorithm 1, eq. 1 and 2)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ouro.annotate.recurse import propose_images
from ouro.core.artifacts import read_shard, read_sidecar, write_shard
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.records import Image, Region
from ouro.core.state import CHECKOUT
from tasks.addresses import SHARDS, Address, code_of
from tasks.proposers import proposers, proposers_code, weights
from tasks.shards import Progress, produce, shard_task
from tasks.weights import check_weights


def address(params: Params) -> Address:
    """`propose_images` opens images, runs the recursion and counts; each proposer in use builds itself from params.
    Raises MissingModel."""
    settings, rpn = params.propose, params.model.proposer
    code = code_of("ouro.annotate.recurse", *proposers_code(settings, rpn), SHARDS)
    return Address(settings.model_dump(mode="json"), weights(settings, rpn), code)


@shard_task(name="propose", task_run_name="propose, {name}")
def propose(name: str, layout: Layout, params: Params, progress: Progress = lambda n: None) -> Path:
    """data/images/NAME -> data/regions/NAME. `progress` counts images. Raises ModelChanged."""
    source, out = layout.images / name, layout.regions / name
    where = address(params)

    def make() -> None:
        tools = proposers(params.propose, params.model.proposer, CHECKOUT.ocr, params.model.processes)
        images = read_shard(source, Image)
        result = propose_images(images, layout.images, params.ingest.max_pixels, tools, params.propose, progress)
        write_shard(out, Region, result.regions, n_in=result.n_in, rejected=result.rejected, meta=result.meta)

    if produce(
        "propose", out, inputs=[source], **where._asdict(), cache=layout.cache, make=make,
        check=partial(check_weights, "propose", layout, where.model, lambda: address(params).model),
    ):  # fmt: skip
        progress(read_sidecar(source).n_out)
    return out
