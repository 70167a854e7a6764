"""The task of stage describe: regions of one shard -> what the annotator says of each (eq. 3)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.annotate.describe import describe_images
from ouro.core.artifacts import read_shard, read_sidecar, write_shard
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.records import Description, Image, Region
from tasks.addresses import SHARDS, Address, code_of
from tasks.annotator import annotator, annotator_code, fingerprint
from tasks.shards import Progress, produce, shard_task
from tasks.weights import check_weights

if TYPE_CHECKING:
    from ouro.annotate.describe import DeriveName
    from ouro.vision.protocols import VisionLM


def address(params: Params) -> Address:
    """`describe_images` chooses the training images, cuts, asks, reads replies and counts words; names are derived by
    nano's own module. The annotator builds itself from params.model, of which base, adapter and dtype (or address and
    name) decide replies: they are in its fingerprint. Raises MissingModel, and ServedAdapter."""
    settings = {"seed": params.seed, **params.describe.model_dump(mode="json")}
    derived = ["ouro.nano.naming"] if params.describe.name == "derived" else []
    code = code_of("ouro.annotate.describe", *derived, annotator_code(params.model), SHARDS)
    return Address(settings, fingerprint(params.model), code)


@shard_task(name="describe", task_run_name="describe, {name}")
def describe(name: str, layout: Layout, params: Params, progress: Progress = lambda n: None) -> Path:
    """data/regions/NAME -> data/descriptions/NAME, training images only. `progress` counts regions.

    Raises ModelChanged.
    """
    images, regions = layout.images / name, layout.regions / name
    out = layout.descriptions / name
    where = address(params)

    def load(batch_size: int, batch_tokens: int | None) -> VisionLM:
        return annotator(params.model, batch_size, batch_tokens=batch_tokens)

    def make() -> None:
        result = describe_images(
            read_shard(images, Image), read_shard(regions, Region), layout.images, params.ingest.max_pixels, load,
            params.describe, params.seed, progress, _derive_name(params),
        )  # fmt: skip
        write_shard(
            out,
            Description,
            result.descriptions,
            n_in=result.n_in,
            rejected=result.rejected,
            meta=result.meta,
        )

    if produce(
        "describe", out, inputs=[images, regions], **where._asdict(), cache=layout.cache, make=make,
        check=partial(check_weights, "describe", layout, where.model, lambda: address(params).model),
    ):  # fmt: skip
        progress(read_sidecar(out).n_in)
    return out


def _derive_name(params: Params) -> DeriveName | None:
    if params.describe.name != "derived":
        return None
    from ouro.nano.naming import derive_name

    return derive_name
