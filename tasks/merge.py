"""The task of stage merge: regions and descriptions of one shard -> one hierarchical description an image (eq. 4)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from ouro.annotate.merge import Merged, count_words, merge_shard
from ouro.core.artifacts import fingerprint_files, read_shard, read_sidecar, write_shard
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.records import Description, Image, Region, Scene
from ouro.core.tokens import TOKENIZER, load_token_counter
from tasks.models import served_base
from tasks.shards import Progress, produce, shard_task

log = logging.getLogger(__name__)


@shard_task(name="merge", task_run_name="merge, {name}")
def merge(name: str, layout: Layout, params: Params, progress: Progress = lambda n: None) -> Path:
    """data/{regions,descriptions}/NAME -> data/scenes/NAME, training images only. `progress` counts images."""
    inputs = [layout.images / name, layout.regions / name, layout.descriptions / name]
    out = layout.scenes / name
    images = [image for image in read_shard(inputs[0], Image) if image.split == "train"]
    tokenizer = _tokenizer(params)
    fingerprint = fingerprint_files([tokenizer]) if tokenizer.is_file() else ""

    def make() -> None:
        image_ids = {image.image_id for image in images}
        regions = [region for region in read_shard(inputs[1], Region) if region.image_id in image_ids]
        descriptions = read_shard(inputs[2], Description)
        merged = merge_shard(images, regions, descriptions, params.merge, token_counter(tokenizer, fingerprint))
        write_shard(out, Scene, merged.scenes, n_in=len(images), rejected=merged.rejected, meta=_meta(merged))

    produce(
        "merge",
        out,
        inputs=inputs,
        params=params.merge.model_dump(mode="json"),
        model=fingerprint,
        cache=layout.cache,
        make=make,
    )
    n_cut = read_sidecar(out).meta["cut"]
    if n_cut:
        log.warning("merge %s: %d scenes with descriptions over %d tokens", name, n_cut, params.merge.max_tokens)
    progress(len(images))
    return out


def _tokenizer(params: Params) -> Path:
    """The annotator's own; of a server's model only where model.base is that one."""
    model = params.model
    base = Path(model.base) if model.backend == "hf" else served_base(model.base, model.name)
    return (base or Path("none")) / TOKENIZER


def _meta(merged: Merged) -> dict[str, int]:
    """Scenes that were shortened, words of their descriptions, and decisions by kind."""
    kinds = Counter(d.kind for scene in merged.scenes for d in scene.decisions)
    words = sum(len(scene.text.split()) for scene in merged.scenes)
    return {"cut": merged.cut, "words": words} | {
        kind: kinds[kind] for kind in ("contradiction", "redundancy", "budget")
    }


@lru_cache(maxsize=4)
def token_counter(tokenizer: Path, _fingerprint: str) -> Callable[[str], int]:
    """Counts the annotator's own tokens; words and marks where there is no tokenizer (`_fingerprint` "")."""
    return load_token_counter(tokenizer) or count_words
