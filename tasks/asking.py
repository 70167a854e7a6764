"""A model and a benchmark's files -> RUN/<benchmark>: predictions, per-sample scores, scores."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ouro.benchmarks.asking import Asker, Question, ReplyStore, Settings, Tally, ask, largest_regions
from ouro.benchmarks.controls import wrong_images
from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.judging import Metric, metric_of
from ouro.benchmarks.loaders.reading import STAGE
from ouro.benchmarks.loaders.registry import Benchmark, prompt_of
from ouro.benchmarks.pictures import Pictures
from ouro.benchmarks.predictions import read_predictions
from ouro.benchmarks.run_folder import OTHER_PREDICTIONS, PREDICTIONS, write_score
from ouro.benchmarks.scored import SHUFFLED, Account, Samples, Score, judge, score, with_constant
from ouro.core.json_text import parse_json
from ouro.core.params import Model, Params
from ouro.core.records import Image, Rejected
from ouro.core.state import CHECKOUT
from ouro.vision.box_conventions import convention_of, resized
from tasks import screen
from tasks.addresses import code_of
from tasks.annotator import annotator, annotator_code, fingerprint
from tasks.benchmark_sources import Source, items_of
from tasks.served import find_answerer

if TYPE_CHECKING:
    import PIL.Image

    from ouro.core.records import Box

    Entry = Item | Rejected

QWEN = "qwen2.5-vl"  # the protocol whose boxes are pixels of the picture as the model sees it
Progress = Callable[[int], None]


def run_benchmark(
    source: Source, params: Params, out: Path, *, k: int, limit: int, protocol: str, controls: bool, cache: Path,
    adapter: Path | None, max_new_tokens: int = 0, progress: Progress = lambda n: None,
    ask_again: bool = False, tally: Tally | None = None, look: bool = True,
) -> Score | None:  # fmt: skip
    """Ask, store, judge; None where the benchmark has no metric (its replies are stored). Writes out/<benchmark>.

    `limit`: only the first so many questions; `max_new_tokens`: length of a reply (0: the benchmark's own). With
    `controls` the questions are asked about other pictures, too. `ask_again`: no kept reply is used; `tally` counts
    those that are; `look`: find out anew who answers at a server. Raises BenchmarkFileError when no question is left.
    """
    bench = source.bench
    bench = replace(bench, max_new_tokens=max_new_tokens or bench.max_new_tokens)
    protocol = protocol or convention(bench, params)
    metric = None if bench.metric == "contextual" else metric_of(bench, protocol)
    folder = out / bench.name
    boxes = source.regions(k) if source.regions and k else None
    if look:
        find_answerer(params.model)
    with closing(ReplyStore(cache / "replies.db", anew=ask_again, say=screen.say)) as store:
        asker = _asker(params, adapter, store, k, boxes, tally or Tally())
        settings = _settings(bench, params, k, boxes)
        load = partial(_limited, partial(_shown, source.load, params) if protocol == QWEN else source.load, limit)
        questions = ((item, item.image) for item in items_of(load()))
        rejected = _write_replies(folder / PREDICTIONS, questions, asker, source.pictures, settings, progress)
        load = partial(_reject_unasked, load, rejected)
        if metric is None:
            return None
        samples, account = _judge_replies(load, metric, folder / PREDICTIONS)
        if controls:
            wrong_image_of = _wrong_images(load, params.seed)
            control_questions = (
                (item, wrong_image_of[item.image]) for item in items_of(load()) if item.image in wrong_image_of
            )
            _write_replies(folder / OTHER_PREDICTIONS, control_questions, asker, source.pictures, settings, progress)
            samples = with_constant(samples, load, metric)
            samples = _with_shuffled(samples, load, metric, folder / OTHER_PREDICTIONS, wrong_image_of)
    resamples = params.benchmark.bootstrap_samples
    result = score(bench, protocol, metric, samples, account, seed=params.seed, resamples=resamples)
    write_score(folder, result, samples)
    return result


def convention(bench: Benchmark, params: Params) -> str:
    """RefCOCO: the protocol that reads boxes as the model's family writes them; "" for a family that is not known,
    which leaves it to the replies' form, and for other benchmarks."""
    if bench.metric != "refcoco":
        return ""
    name, config = params.model.name, Path(params.model.base) / "config.json"
    if params.model.backend != "openai":
        name = str(parse_json(config.read_bytes()).get("model_type", "")) if config.is_file() else params.model.base
    return convention_of(name) or ""


def _shown(load: Callable[[], Iterator[Entry]], params: Params) -> Iterator[Entry]:
    """The entries with the size at which Qwen2.5-VL sees each picture, within benchmark.max_pixels."""
    for entry in load():
        if isinstance(entry, Item) and entry.size:
            entry = replace(entry, shown=resized(entry.size, params.benchmark.max_pixels))
        yield entry


def _limited(load: Callable[[], Iterator[Entry]], limit: int) -> Iterator[Entry]:
    return islice(load(), limit or None)


def _reject_unasked(load: Callable[[], Iterator[Entry]], rejected: Mapping[str, Rejected]) -> Iterator[Entry]:
    """The entries, with items whose picture could not be shown as rejected records."""
    for entry in load():
        yield rejected.get(entry.item_id, entry) if isinstance(entry, Item) else entry


def _settings(bench: Benchmark, params: Params, k: int, boxes: Mapping[str, Sequence[Box]] | None) -> Settings:
    b = params.benchmark
    region_settings = [k, params.propose.model_dump(mode="json"), params.model.proposer]
    regions = json.dumps(region_settings) if boxes is None else hashlib.sha256(json.dumps(boxes).encode()).hexdigest()
    bounds = (b.max_pixels, b.region_max_pixels)
    return Settings(partial(prompt_of, bench), bench.max_new_tokens, bounds, k, regions if k else "")


def reply_code(model: Model) -> str:
    """What puts a question to the model, and what the model replies with; judging is not in it."""
    return code_of("ouro.benchmarks.asking", annotator_code(model))


def _asker(
    params: Params, adapter: Path | None, store: ReplyStore, k: int, boxes: Mapping[str, list[Box]] | None, tally: Tally
) -> Asker:
    b = params.benchmark
    model = params.model.model_copy(update={"dtype": b.dtype})
    return Asker(
        f"{fingerprint(model, adapter)} {reply_code(model)}",
        lambda: annotator(model, b.batch_size, adapter),
        partial(_propose_regions, params, k) if boxes is None else partial(_look_up_regions, boxes),
        store,
        tally,
    )


def _look_up_regions(
    boxes: Mapping[str, list[Box]], pictures: Sequence[tuple[str, PIL.Image.Image]]
) -> dict[str, list[Box]]:
    return {name: boxes.get(name, []) for name, _ in pictures}


def _propose_regions(params: Params, k: int, pictures: Sequence[tuple[str, PIL.Image.Image]]) -> dict[str, list[Box]]:
    """The k largest sub-regions of each picture, by the proposers of params.propose."""
    from ouro.annotate.recurse import propose_shard
    from tasks.proposers import proposers

    tools = proposers(params.propose, params.model.proposer, CHECKOUT.ocr, params.model.processes)
    records = [(Image(name, name, p.width, p.height, "benchmark", "test"), p) for name, p in pictures]
    return largest_regions(propose_shard(records, tools, params.propose).regions, k)


def _write_replies(
    path: Path,
    questions: Iterable[tuple[Item, str]],
    asker: Asker,
    pictures: Pictures,
    settings: Settings,
    progress: Progress,
) -> dict[str, Rejected]:
    """Write the reply to each question as a line of JSON; returns why others have none, by their ids."""
    rejected: dict[str, Rejected] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            requests = (Question(item, image) for item, image in questions)
            for item, reply, reason, detail in ask(requests, asker, pictures, settings, progress):
                if reply is None:
                    rejected[item.item_id] = Rejected(STAGE, item.item_id, reason, detail)
                else:
                    line = {"question_id": item.item_id, "prediction": reply}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    os.replace(temporary, path)
    return rejected


def _judge_replies(load: Callable[[], Iterator[Entry]], metric: Metric, path: Path) -> tuple[Samples, Account]:
    if not path.stat().st_size:
        every = [entry for entry in load() if isinstance(entry, Rejected)]
        reasons = Counter(entry.reason for entry in every)
        first = f", the first: {every[0].detail}" if every else ""
        raise BenchmarkFileError(
            f"{path.parent.name}: no question could be asked; rejected: {dict(reasons) or 'none'}{first}"
        )
    with read_predictions(path) as predictions:
        return judge(load(), metric, lambda item: predictions.reply(item.item_id))


def _wrong_images(load: Callable[[], Iterator[Entry]], seed: int) -> dict[str, str]:
    """Every picture -> another one; nothing where all questions are about one picture."""
    images = {item.image for item in items_of(load())}
    return wrong_images(images, np.random.default_rng(seed)) if len(images) > 1 else {}


def _with_shuffled(
    samples: Samples, load: Callable[[], Iterator[Entry]], metric: Metric, path: Path, wrong: Mapping[str, str]
) -> Samples:
    """The samples with those of the replies about other pictures beside them; unchanged without such replies."""
    if not path.stat().st_size:
        return samples
    with read_predictions(path) as predictions:
        control, _ = judge(load(), metric, lambda item: predictions.reply(item.item_id), allow_missing=True)
    return samples.beside(SHUFFLED, control, [wrong[item.image] for item in items_of(load())])
