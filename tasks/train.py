"""The task of stage train: annotations -> a LoRA adapter (OURO section 3.2), with its loss curves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.artifacts import ShardCache, list_shards, read_all, write_json
from ouro.benchmarks.vqa import read_vqa
from ouro.params import Params
from ouro.records import Image, QAPair, Region, Scene
from tasks import tracking
from tasks.layout import Layout
from tasks.models import model_fingerprint
from tasks.shards import cache_key, shard_task

if TYPE_CHECKING:
    from ouro.training.samples import Job, Sample, TrainSummary

log = logging.getLogger(__name__)

Step = Callable[[int, int], None]  # called with (steps done, steps in all)
LOG = "train_log.json"


@shard_task(name="train")
def train(layout: Layout, params: Params, adapter: Path, on_step: Step = lambda step, of: None) -> Path:
    """Train on everything below `layout`; writes `adapter`. Checkpoints outlive a kill, in the cache's folder."""
    store = ShardCache(layout.cache)
    settings = {
        "train": params.train.model_dump(mode="json"),
        "prompt": params.describe.prompt,
        "seed": params.seed,
    }
    from ouro.training.samples import discard_checkpoints

    base = Path(params.model.base)
    key = cache_key(store, "train", adapter.name, settings, model_fingerprint(base), _inputs(layout, params))
    adapter.mkdir(parents=True, exist_ok=True)
    if store.get(key, adapter):
        log.info("train: restored, nothing to do")
        on_step(1, 1)
        return adapter
    tags = {"k": str(params.train.k), "supervision": params.train.supervision}
    with tracking.run("train", {**tags, **tracking.dataset_digests()}) as run:
        run.params({"seed": params.seed, "model": params.model.model_dump(), "train": params.train.model_dump()})
        job = training_job(layout, params, adapter)
        summary = _train(job, run, on_step)
        store.put(key, sorted(p for p in adapter.iterdir() if p.is_file()))
        discard_checkpoints(job)  # only now: what follows may fail, and would train again
        run.metrics({"samples": summary.samples, "trainable": summary.trainable, "tokens": summary.tokens})
        run.artifact(adapter, "adapter")
    return adapter


def _inputs(layout: Layout, params: Params) -> list[Path]:
    folders = [layout.images, layout.regions]
    files: list[Path] = []
    if params.train.deepspeed:
        from ouro.training.zero import deepspeed_file

        files.append(deepspeed_file(params.train.deepspeed))
    if params.train.supervision == "ours":
        return [*(shard for folder in (*folders, layout.scenes, layout.qa) for shard in list_shards(folder)), *files]
    files += [layout.annotations / "train_questions.json", layout.annotations / "train_annotations.json"]
    return [*(shard for folder in folders for shard in list_shards(folder)), *files]


def training_job(layout: Layout, params: Params, adapter: Path) -> Job:
    """What trains `adapter` on everything below `layout`."""
    from ouro.training.samples import Job

    return Job(
        samples(layout, params),
        images=layout.images,
        base=params.model.base,
        out=adapter,
        params=params.train,
        prompt=params.describe.prompt,
        seed=params.seed,
        checkpoints=layout.cache.parent / "checkpoints",
    )


def _train(job: Job, run: tracking.Run, on_step: Step) -> TrainSummary:
    from ouro.training.launch import train as train_adapter

    def on_log(step: int, of: int, values: dict[str, float]) -> None:
        on_step(step, of)
        if values:
            run.metrics(values, step)

    summary = train_adapter(job, on_log)
    kept = ("step", "loss", "loss_desc", "loss_qa", "learning_rate", "grad_norm")
    write_json(job.out / LOG, [{name: row[name] for name in kept if name in row} for row in summary.curve])
    return summary


def samples(layout: Layout, params: Params) -> list[Sample]:
    """The training samples: Ouro's annotations, or the collection's own captions and questions ("orig")."""
    from ouro.training.samples import original_samples, our_samples

    images = [image for image in read_all(layout.images, Image) if image.split == "train"]
    regions = read_all(layout.regions, Region)
    if params.train.supervision == "ours":
        return our_samples(images, regions, read_all(layout.scenes, Scene), read_all(layout.qa, QAPair))
    asked = read_vqa(layout.annotations / "train_questions.json", layout.annotations / "train_annotations.json")
    pairs: dict[str, list[tuple[str, str]]] = {}
    for q in asked:
        pairs.setdefault(q.image_id, []).append((q.question, max(q.answers, key=q.answers.count)))
    return original_samples(images, regions, pairs)
