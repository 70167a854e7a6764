"""The task of stage train: annotations -> a LoRA adapter (OURO section 3.2), with its loss curves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import harmonic_mean
from typing import TYPE_CHECKING

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.general import own_questions
from ouro.core.artifacts import ArtifactError, list_shards, write_json, write_text
from ouro.core.cache import ShardCache
from ouro.core.cards import README
from ouro.core.corrections import corrections_file
from ouro.core.json_text import parse_json
from ouro.core.layout import Layout, shard_names
from ouro.core.params import Params
from ouro.training.samples import original_pairs
from tasks import tracking, versions
from tasks.addresses import SHARDS, Address, code_of
from tasks.cards import code_version, flatten, nano_limits, shard_digests
from tasks.models import model_fingerprint
from tasks.shards import cache_key, shard_task

if TYPE_CHECKING:
    from ouro.core.records import Rejected
    from ouro.training.job import TrainingJob, TrainSummary
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


def address(params: Params) -> Address:
    """`keep_sample_set` makes samples of shards, and a training is what names its checkpoints, too. Where the
    collection's own pairs supervise, who reads them decides. Raises MissingModel."""
    from ouro.training.checkpoints import CODE

    modules = ["ouro.benchmarks.loaders.general"] if params.train.supervision != "ours" else []
    start = begins_with(params)
    settings = {
        "train": params.train.model_dump(mode="json"),
        "prompt": params.describe.prompt,
        "seed": params.training_seed,
        "start": model_fingerprint(start) if start else "",
    }
    code = code_of(CODE, "ouro.training.sample_set", *modules, SHARDS)
    return Address(settings, model_fingerprint(Path(params.model.base)), code)


@shard_task(name="train")
def train(
    layout: Layout, params: Params, adapter: Path, on_step: Step = lambda step, of: None, track: bool = True
) -> Trained:
    """Train on everything below `layout`; writes `adapter`. Checkpoints outlive a kill, in the cache's folder.

    Raises TrainingError, and ArtifactError when an image has disappeared.
    """
    store = ShardCache(layout.cache)
    from ouro.training.checkpoints import checkpoint_key, discard_checkpoints

    where = address(params)
    inputs = _inputs(layout, params)
    key = cache_key(store, "train", adapter.name, where.params, where.model, inputs, where.code)
    adapter.mkdir(parents=True, exist_ok=True)
    if store.get(key, adapter):
        log.info("train: restored, nothing to do")
        on_step(1, 1)
        return Trained()
    tags = {name: str(getattr(params.train, name)) for name in ("k", "supervision", "selection", "packing")}
    job = training_job(layout, params, adapter)
    note = job.checkpoints / f"{checkpoint_key(job)}.mlflow"
    tracked = tracking.run("train", {**tags, **versions.dataset_digests()}, continued=note)
    with tracked if track else tracking.no_run() as run:
        run.params(
            {"seed": params.training_seed, "model": params.model.model_dump(), "train": params.train.model_dump()}
        )
        summary, rates = _train(job, run, on_step)
        write_text(adapter / README, _make_card(layout, params, where, summary, adapter))
        store.put(key, sorted(p for p in adapter.iterdir() if p.is_file()))
        discard_checkpoints(job)  # only now: what follows may fail, and would train again
        run.metrics({"samples": summary.samples, "trainable": summary.trainable, "tokens": summary.tokens})
        run.tags({"notes": "; ".join(summary.notes)} if summary.notes else {})
        run.artifact(adapter, "adapter")
    return Trained(summary.steps, harmonic_mean(rates) if rates else 0.0, run.tracked_as)


def check_annotated(layout: Layout, params: Params) -> None:
    """Raise ArtifactError unless `layout` holds everything that the supervision reads, for every shard of images."""
    folders = [layout.images, layout.regions]
    if params.train.supervision != "orig":
        folders += [layout.scenes, layout.qa]
    names = {folder.name: set(shard_names(folder)) if folder.is_dir() else set[str]() for folder in folders}
    for name, files in names.items():
        missing = sorted(names["images"] - files)
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
    files = [corrections_file(layout)]
    if params.train.supervision != "ours":
        files += [layout.annotations / f"train_{name}.json" for name in ("questions", "annotations")]
    return [*shards, *(f for f in files if f.is_file())]


def training_job(layout: Layout, params: Params, adapter: Path) -> TrainingJob:
    """What trains `adapter` on everything below `layout`."""
    from ouro.training.job import TrainingJob

    return TrainingJob(
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


def _train(job: TrainingJob, run: tracking.Run, on_step: Step) -> tuple[TrainSummary, list[float]]:
    """Train, and put beside the adapter its curve, what was drawn, and which images were no samples.

    The rates are tokens/s, each of about as many tokens: of as many steps.
    """
    from ouro.training.launch import train as train_adapter
    from ouro.training.rows import write_draws
    from ouro.training.sample_set import account_of
    from ouro.training.store import SampleFile

    assert isinstance(job.samples, SampleFile)

    rates = list[float]()

    def on_log(step: int, of: int, values: dict[str, float]) -> None:
        on_step(step, of)
        if values:
            run.metrics(values, step)
        if values.get("tokens_per_second", 0.0) > 0:
            rates.append(values["tokens_per_second"])

    summary = train_adapter(job, on_log)
    write_json(job.out / LOG, list(summary.curve))
    write_json(job.out / SAMPLES, parse_json(account_of(job.samples).read_text()))
    run.metrics(write_draws(job, job.out / DRAWS))
    return summary, rates


def _make_card(layout: Layout, params: Params, where: Address, summary: TrainSummary, adapter: Path) -> str:
    """README.md for the adapter: without dates and paths, so that the same training gives the same bytes."""
    from ouro.training.card import AdapterFacts, make_adapter_card

    base = Path(params.model.base)
    read = ["images", "regions", "corrections", *(["scenes", "qa"] if params.train.supervision != "orig" else [])]
    values = {"train": dict(where.params["train"]), "prompt": where.params["prompt"], "seed": where.params["seed"]}
    about = AdapterFacts(
        base=base.name,
        base_fingerprint=where.model,
        version=code_version(),
        code=where.code,
        params=dict(flatten(values)),
        account=parse_json((adapter / SAMPLES).read_text()),
        digests={name: digest for name, digest in shard_digests(layout).items() if name in read},
        notes=nano_limits(base),
    )
    return make_adapter_card(summary, about)


def samples(layout: Layout, params: Params) -> SampleFile:
    """The training samples, beside the checkpoints. Raises as ouro.training.sample_set.keep_sample_set."""
    from ouro.training.sample_set import keep_sample_set

    originals = _originals(layout) if params.train.supervision != "ours" else {}
    folder = layout.state.checkpoints
    return keep_sample_set(layout, params.train, params.model.base, params.describe.prompt, originals, folder)


def _originals(layout: Layout) -> dict[str, list[tuple[str, str]]]:
    """The collection's own questions with their most frequent answer, by image; none where it has no files of them."""
    files = [layout.annotations / f"train_{name}.json" for name in ("questions", "annotations")]
    items = own_questions(files) if all(map(Path.is_file, files)) else ()
    return original_pairs(_question(item, files[1]) for item in items)


def _question(item: Item | Rejected, file: Path) -> tuple[str, str, tuple[str, ...]]:
    """(image id, question, answers). Raises BenchmarkFileError for one that cannot be used."""
    if not isinstance(item, Item):
        raise BenchmarkFileError(f"{file}: {item.record_id} cannot be trained on: {item.reason} ({item.detail})")
    return item.image, item.question, item.references
