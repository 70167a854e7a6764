"""A model and a benchmark's files -> RUN/<benchmark>: predictions, per-sample scores, scores."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ouro.benchmarks.answering import largest_regions
from ouro.benchmarks.asking import Asker, FilePictures, Pictures, Question, ReplyStore, Settings, ask
from ouro.benchmarks.controls import wrong_images
from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.judging import Metric, metric_of
from ouro.benchmarks.loaders.registry import Benchmark, benchmark, columns_of, locate, prompt_of
from ouro.benchmarks.predictions import read_predictions
from ouro.benchmarks.run_folder import PREDICTIONS, write_score
from ouro.benchmarks.scored import Account, Samples, Score, constant_score, judge, point, score
from ouro.core.params import Params
from ouro.core.records import Image, Rejected
from ouro.core.state import CHECKOUT
from tasks.annotator import annotator, fingerprint

if TYPE_CHECKING:
    import PIL.Image

    from ouro.core.records import Box

    Found = Item | Rejected

Progress = Callable[[int], None]
SHUFFLED = "shuffled.jsonl"  # replies to the same questions about other pictures


@dataclass(frozen=True)
class Source:
    """A benchmark's questions, read anew with every call, and its pictures."""

    bench: Benchmark
    load: Callable[[], Iterator[Found]]
    pictures: Pictures


def open_source(bench: Benchmark, data: Path, max_pixels: int, hub: str = "") -> Source:
    """The benchmark below `data`/<name> (official files, or its Hugging Face columns), or `hub`: NAME[@SPLIT].

    Raises BenchmarkFileError: what is missing, and where to get it.
    """
    folder = data / bench.name
    name, _, split = hub.partition("@")
    if name:
        return _hub_source(bench, name, split or "test")
    try:
        paths = locate(bench, folder)
    except BenchmarkFileError:
        if not _is_table(folder):
            raise
        return _hub_source(bench, str(folder), "test")
    return Source(bench, partial(bench.load, paths), FilePictures([folder, data], max_pixels))


def check_benchmarks(params: Params) -> None:
    """Raise BenchmarkFileError for an unknown one of benchmark.names, or one whose files are not there."""
    for name in params.benchmark.names:
        open_source(benchmark(name), Path(params.benchmark.folder), params.ingest.max_pixels)


def _is_table(folder: Path) -> bool:
    marks = ("state.json", "dataset_dict.json")
    return any((folder / mark).is_file() for mark in marks) or any(folder.rglob("*.parquet"))


def _hub_source(bench: Benchmark, name: str, split: str) -> Source:
    from ouro.benchmarks.loaders.hf import open_table

    table = open_table(name, columns_of(bench), split)
    return Source(bench, table.items, table)


def run_benchmark(
    source: Source, params: Params, out: Path, *, k: int, limit: int, protocol: str, controls: bool, cache: Path,
    adapter: Path | None, progress: Progress = lambda n: None,
) -> Score | None:  # fmt: skip
    """Ask, keep, judge; None where the benchmark has no metric (its replies are kept). Writes out/<benchmark>.

    `limit`: only the first so many questions. With `controls` the questions are asked about other pictures, too.
    Raises BenchmarkFileError when no question is left.
    """
    bench = source.bench
    metric = None if bench.metric == "contextual" else metric_of(bench, protocol)
    folder = out / bench.name
    with closing(ReplyStore(cache / "replies.db")) as store:
        asker, settings = _asker(params, adapter, store, k), _settings(bench, params, k)
        load = partial(_limited, source.load, limit)
        own = ((item, item.image) for item in _items(load()))
        broken = _keep(folder / PREDICTIONS, own, asker, source.pictures, settings, progress)
        load = partial(_without, load, broken)
        if metric is None:
            return None
        samples, account = _judged(load, metric, folder / PREDICTIONS)
        made = score(bench, protocol, metric, samples, account, seed=params.seed, resamples=_resamples(params))
        if controls:
            other = _shuffled(load, params.seed)
            _keep(folder / SHUFFLED, other, asker, source.pictures, settings, progress)
            made = replace(
                made, constant=constant_score(load, metric), shuffled=_shuffled_score(load, metric, folder / SHUFFLED)
            )
    write_score(folder, made, samples)
    return made


def _resamples(params: Params) -> int:
    return params.benchmark.bootstrap_samples


def _limited(load: Callable[[], Iterator[Found]], limit: int) -> Iterator[Found]:
    return islice(load(), limit or None)


def _items(found: Iterable[Found]) -> Iterator[Item]:
    return (one for one in found if isinstance(one, Item))


def _without(load: Callable[[], Iterator[Found]], broken: dict[str, str]) -> Iterator[Found]:
    """Items whose picture could not be shown are rejected, with the reason."""
    for one in load():
        reason = broken.get(one.item_id, "") if isinstance(one, Item) else ""
        yield Rejected("benchmark", one.item_id, reason, one.image) if reason and isinstance(one, Item) else one


def _settings(bench: Benchmark, params: Params, k: int) -> Settings:
    b = params.benchmark
    regions = json.dumps([k, params.propose.model_dump(mode="json"), params.model.proposer]) if k else ""
    return Settings(partial(prompt_of, bench), bench.max_new_tokens, (b.max_pixels, b.region_max_pixels), regions)


def _asker(params: Params, adapter: Path | None, store: ReplyStore, k: int) -> Asker:
    b = params.benchmark
    model = params.model.model_copy(update={"dtype": b.dtype})
    return Asker(
        fingerprint(model, adapter),
        lambda: annotator(model, b.batch_size, adapter),
        partial(_boxes, params, k),
        store,
    )


def _boxes(params: Params, k: int, pictures: Sequence[tuple[str, PIL.Image.Image]]) -> dict[str, list[Box]]:
    """The k largest sub-regions of each picture, by the proposers of params.propose."""
    from ouro.annotate.recurse import propose_shard
    from tasks.proposers import proposers

    tools = proposers(params.propose, params.model.proposer, CHECKOUT.ocr, params.model.processes)
    records = [(Image(name, name, p.width, p.height, "benchmark", "test"), p) for name, p in pictures]
    return largest_regions(propose_shard(records, tools, params.propose).regions, k)


def _keep(
    path: Path,
    questions: Iterable[tuple[Item, str]],
    asker: Asker,
    pictures: Pictures,
    settings: Settings,
    progress: Progress,
) -> dict[str, str]:
    """Write the reply to each question as a line; ids of those without one, and why."""
    broken: dict[str, str] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            asked = (Question(item, image) for item, image in questions)
            for item, reply, reason in ask(asked, asker, pictures, settings, progress):
                if reply is None:
                    broken[item.item_id] = reason
                else:
                    line = {"question_id": item.item_id, "prediction": reply}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    os.replace(temporary, path)
    return broken


def _judged(load: Callable[[], Iterator[Found]], metric: Metric, path: Path) -> tuple[Samples, Account]:
    if not path.stat().st_size:
        reasons = Counter(one.reason for one in load() if isinstance(one, Rejected))
        raise BenchmarkFileError(f"{path.parent.name}: no question could be asked; rejected: {dict(reasons) or 'none'}")
    with read_predictions(path) as predictions:
        return judge(load(), metric, lambda item: predictions.reply(item.item_id))


def _shuffled(load: Callable[[], Iterator[Found]], seed: int) -> Iterator[tuple[Item, str]]:
    """Every item with another item's picture; nothing where all are about one picture."""
    images = {item.image for item in _items(load())}
    wrong = wrong_images(images, np.random.default_rng(seed)) if len(images) > 1 else {}
    return ((item, wrong[item.image]) for item in _items(load()) if item.image in wrong)


def _shuffled_score(load: Callable[[], Iterator[Found]], metric: Metric, path: Path) -> float | None:
    if not path.stat().st_size:
        return None
    with read_predictions(path) as predictions:
        samples, _ = judge(load(), metric, lambda item: predictions.reply(item.item_id), allow_missing=True)
    return point(samples, metric)
