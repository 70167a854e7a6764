"""The task of stage train: annotations -> a LoRA adapter (OURO section 3.2), with its loss curves."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import harmonic_mean
from typing import TYPE_CHECKING, Any

from ouro.benchmarks.vqa import read_vqa
from ouro.core.artifacts import ArtifactError, ShardCache, list_shards, read_shard, write_json
from ouro.core.layout import Layout, shard_names
from ouro.core.params import Params
from ouro.core.records import Image, QAPair, Region, Rejected, Scene
from tasks import tracking
from tasks.models import model_fingerprint
from tasks.shards import cache_key, shard_task

if TYPE_CHECKING:
    from ouro.training.job import Job, TrainSummary
    from ouro.training.samples import Made, Sample
    from ouro.training.store import SampleFile

log = logging.getLogger(__name__)

Step = Callable[[int, int], None]  # called with (steps done, steps in all)
LOG = "train_log.json"
SAMPLES = "samples.json"  # how many images became samples, and why the others did not
DRAWS = "draws.parquet"


@dataclass(frozen=True)
class Trained:
    """What a training came to. `steps`: of all its processes and restarts, 0 when it was restored; tokens per second:
    the mean since the last start; `run_id`: its MLflow run, None when nothing was tracked."""

    steps: int = 0
    tokens_per_second: float = 0.0
    run_id: str | None = None


@shard_task(name="train")
def train(
    layout: Layout, params: Params, adapter: Path, on_step: Step = lambda step, of: None, track: bool = True
) -> Trained:
    """Train on everything below `layout`; writes `adapter`. Checkpoints outlive a kill, in the cache's folder.

    Raises TrainingError, and ArtifactError when an image has disappeared.
    """
    store = ShardCache(layout.cache)
    settings = {
        "train": params.train.model_dump(mode="json"),
        "prompt": params.describe.prompt,
        "seed": params.training_seed,
        "start": model_fingerprint(start) if (start := begins_with(params)) else "",
    }
    from ouro.training.checkpoints import checkpoint_key, discard_checkpoints

    base = Path(params.model.base)
    key = cache_key(store, "train", adapter.name, settings, model_fingerprint(base), _inputs(layout, params))
    adapter.mkdir(parents=True, exist_ok=True)
    if store.get(key, adapter):
        log.info("train: restored, nothing to do")
        on_step(1, 1)
        return Trained()
    tags = {name: str(getattr(params.train, name)) for name in ("k", "supervision", "selection", "packing")}
    job = training_job(layout, params, adapter)
    kept = job.checkpoints / f"{checkpoint_key(job)}.mlflow"
    tracked = tracking.run("train", {**tags, **tracking.dataset_digests()}, continued=kept)
    with tracked if track else tracking.no_run() as run:
        run.params(
            {"seed": params.training_seed, "model": params.model.model_dump(), "train": params.train.model_dump()}
        )
        summary, rates = _train(job, run, on_step)
        store.put(key, sorted(p for p in adapter.iterdir() if p.is_file()))
        discard_checkpoints(job)  # only now: what follows may fail, and would train again
        run.metrics({"samples": summary.samples, "trainable": summary.trainable, "tokens": summary.tokens})
        run.tags({"notes": "; ".join(summary.notes)} if summary.notes else {})
        run.artifact(adapter, "adapter")
    return Trained(summary.steps, harmonic_mean(rates) if rates else 0.0, run.tracked_as)


def check_annotated(layout: Layout, params: Params) -> None:
    """Raise ArtifactError unless `layout` holds everything that the supervision reads, for every shard of images."""
    wanted = [layout.images, layout.regions]
    if params.train.supervision != "orig":
        wanted += [layout.scenes, layout.qa]
    names = {folder.name: set(shard_names(folder)) if folder.is_dir() else set[str]() for folder in wanted}
    for name, found in names.items():
        missing = sorted(names["images"] - found)
        if missing or not names["images"]:
            raise ArtifactError(
                f"{layout.root}: got no {name}{f' of {missing[0]}' if missing else ''}, expected what `ouro annotate` "
                f"leaves in a folder when it has ended. Fix: ouro annotate IMAGES --out {layout.root}"
            )


def _inputs(layout: Layout, params: Params) -> list[Path]:
    folders = [layout.images, layout.regions]
    if params.train.supervision != "orig":
        folders += [layout.scenes, layout.qa]
    shards = [shard for folder in folders for shard in list_shards(folder)]
    if params.train.deepspeed:
        from ouro.training.zero import deepspeed_file

        shards.append(deepspeed_file(params.train.deepspeed))
    files = [layout.annotations / f"train_{name}.json" for name in ("questions", "annotations")]
    return shards if params.train.supervision == "ours" else [*shards, *(f for f in files if f.is_file())]


def training_job(layout: Layout, params: Params, adapter: Path) -> Job:
    """What trains `adapter` on everything below `layout`."""
    from ouro.training.job import Job

    return Job(
        samples(layout, params),
        images=layout.images,
        base=params.model.base,
        out=adapter,
        params=params.train,
        prompt=params.describe.prompt,
        seed=params.training_seed,
        checkpoints=layout.state.checkpoints,
        start=begins_with(params),
    )


def begins_with(params: Params) -> Path | None:
    """The adapter that learns on: with train.from=champion the one that annotated; None: a new one."""
    return Path(params.model.adapter) if params.train.from_ == "champion" and params.model.adapter else None


def _train(job: Job, run: tracking.Run, on_step: Step) -> tuple[TrainSummary, list[float]]:
    """Train, and put beside the adapter its curve, what was drawn, and which images were no samples.

    The rates are tokens/s, each of about as many tokens: of as many steps.
    """
    from ouro.training.launch import train as train_adapter
    from ouro.training.rows import record_draws

    rates = list[float]()

    def on_log(step: int, of: int, values: dict[str, float]) -> None:
        on_step(step, of)
        if values:
            run.metrics(values, step)
        if values.get("tokens_per_second", 0.0) > 0:
            rates.append(values["tokens_per_second"])

    summary = train_adapter(job, on_log)
    write_json(job.out / LOG, list(summary.curve))
    write_json(job.out / SAMPLES, json.loads(_account_of(job).read_text()))
    run.metrics(record_draws(job, job.out / DRAWS))
    return summary, rates


def _account_of(job: Job) -> Path:
    """Written with the job's sample file."""
    from ouro.training.store import SampleFile

    assert isinstance(job.samples, SampleFile)
    return job.samples.path.with_suffix(".json")


def samples(layout: Layout, params: Params) -> SampleFile:
    """The training samples, made shard by shard into one file beside the checkpoints, with counts and reasons in JSON.

    Raises TrainingError when none is left, or for a base that cannot be trained so.
    """
    from ouro.training.admission import admit, context_length
    from ouro.training.job import NOTHING, TrainingError
    from ouro.training.store import keep_samples
    from ouro.vision.encoding import Encoder
    from ouro.vision.folders import load_processor

    context = context_length(params.model.base, params.train)
    encoder = Encoder(load_processor(params.model.base), params.train.min_pixels)
    account = Account()

    def shards() -> Iterator[list[Sample]]:
        for images, made in _made(layout, params):
            fit = admit(made.samples, layout.images, encoder, params.train, params.describe.prompt, context)
            account.add(images, [*made.rejected, *fit.rejected], len(fit.samples), fit.given_up)
            yield fit.samples

    file = keep_samples(layout.state.checkpoints, shards())
    write_json(file.path.with_suffix(".json"), account.to_json())
    if not len(file):
        raise TrainingError(
            f"{NOTHING}: {account.n_in} images in, rejected {account.reasons()}. Fix: for supervision ours look at "
            f"the .rejected.parquet in {layout.scenes}; for orig the collection must have captions"
        )
    return file


@dataclass
class Account:
    """Images that became samples, and those that did not: in = out + rejected."""

    n_in: int = 0
    n_out: int = 0
    rejected: list[Rejected] = field(default_factory=list[Rejected])
    given_up: Counter[str] = field(default_factory=Counter[str])

    def add(self, n_in: int, rejected: list[Rejected], n_out: int, given_up: Counter[str]) -> None:
        """Count one shard. Raises ArtifactError when an image has disappeared."""
        if n_in != n_out + len(rejected):
            raise ArtifactError(f"train: {n_in} images in, but {n_out} samples + {len(rejected)} rejected")
        self.n_in, self.n_out = self.n_in + n_in, self.n_out + n_out
        self.rejected += rejected
        self.given_up += given_up

    def reasons(self) -> dict[str, int]:
        return dict(sorted(Counter(r.reason for r in self.rejected).items()))

    def to_json(self) -> dict[str, Any]:
        records = [[r.record_id, r.reason, r.detail] for r in self.rejected]
        counts = {"n_in": self.n_in, "n_out": self.n_out, "rejected": self.reasons(), "given_up": dict(self.given_up)}
        return {**counts, "records": records}


def _made(layout: Layout, params: Params) -> Iterator[tuple[int, Made]]:
    """For every shard its number of training images, and their samples."""
    from ouro.training.samples import make_samples

    supervision = params.train.supervision
    own = _originals(layout) if supervision != "ours" else {}
    for name in shard_names(layout.images):
        images = [image for image in read_shard(layout.images / name, Image) if image.split == "train"]
        wanted = {image.image_id for image in images}
        regions = (region for region in read_shard(layout.regions / name, Region) if region.image_id in wanted)
        scenes = read_shard(layout.scenes / name, Scene) if supervision != "orig" else []
        pairs = read_shard(layout.qa / name, QAPair) if supervision != "orig" else []
        yield len(images), make_samples(supervision, images, regions, scenes, pairs, own)


def _originals(layout: Layout) -> dict[str, list[tuple[str, str]]]:
    """The collection's own questions with their most frequent answer, by image; none where it has no files of them."""
    files = [layout.annotations / f"train_{name}.json" for name in ("questions", "annotations")]
    pairs: dict[str, list[tuple[str, str]]] = {}
    for q in read_vqa(files[0], files[1]) if all(f.is_file() for f in files) else ():
        pairs.setdefault(q.image_id, []).append((q.question, max(q.answers, key=q.answers.count)))
    return pairs
