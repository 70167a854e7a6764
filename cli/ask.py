"""`ouro benchmark`: any model's replies to any of the benchmarks, kept, scored, and compared with `ouro compare`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cli.score import figure, lines
from ouro.core.state import CHECKOUT
from tasks import screen

if TYPE_CHECKING:
    from ouro.benchmarks.scored import Score
    from ouro.core.params import Params

CACHE = CHECKOUT.benchmark


class Options(NamedTuple):
    """What the command line says beside the model, which is in the params."""

    benchmarks: Sequence[str]
    data: Path
    out: Path
    k: int
    limit: int
    protocols: Mapping[str, str]
    hubs: Mapping[str, str]
    controls: bool
    adapter: Path | None
    track: bool


def run(params: Params, options: Options) -> None:
    """Ask the model, score its replies, write OUT; a benchmark whose files are missing ends the run before it begins.

    Raises BenchmarkFileError, MissingModel, ModelError, ServerRefused; of a benchmark that no question of could be
    asked, after the others are done.
    """
    from ouro.benchmarks.items import BenchmarkFileError
    from ouro.benchmarks.judging import metric_of
    from ouro.benchmarks.loaders.registry import benchmark
    from ouro.benchmarks.run_folder import check_folder
    from tasks.asking import open_source

    check_folder(options.out)
    sources = [
        open_source(benchmark(name), options.data, params.ingest.max_pixels, options.hubs.get(name, ""))
        for name in dict.fromkeys(options.benchmarks)
    ]
    for source in sources:
        if source.bench.metric != "contextual":
            metric_of(source.bench, options.protocols.get(source.bench.name, ""))
    _write_run(params, options)
    started = time.monotonic()
    scores: list[Score] = []
    failed: list[BenchmarkFileError] = []
    for source in sources:
        try:
            scores += _one(source, params, options)
        except BenchmarkFileError as error:  # of one benchmark: the others are worth having
            screen.complain(str(error))
            failed.append(error)
    for line in table(scores):
        screen.say(line)
    if options.track and scores:
        _track(params, options, scores)
    screen.say(
        f"written: {options.out} in {time.monotonic() - started:.0f} s; compare: ouro compare OTHER {options.out}"
    )


def _one(source: object, params: Params, options: Options) -> list[Score]:
    from tasks.asking import Source, run_benchmark

    assert isinstance(source, Source)
    name = source.bench.name
    with screen.progress(name, 0, "answers") as advance:
        made = run_benchmark(
            source, params, options.out, k=options.k, limit=options.limit,
            protocol=options.protocols.get(name, ""), controls=options.controls, cache=CACHE,
            adapter=options.adapter, progress=advance,
        )  # fmt: skip
    if made is None:
        screen.say(f"{source.bench.title}: no metric of its own; its replies are in {options.out / name}")
        return []
    for line in lines(made):
        screen.say(line)
    return [made]


def _write_run(params: Params, options: Options) -> None:
    from ouro.benchmarks.run_folder import RUN
    from ouro.core.artifacts import write_json
    from tasks.annotator import fingerprint

    model = params.model.name if params.model.backend == "openai" else params.model.base
    adapter = str(options.adapter or params.model.adapter)
    label = f"{model} + {adapter}" if adapter else model
    known = {"label": label, "model": model, "adapter": adapter, "k": options.k, "limit": options.limit}
    served = params.model.model_copy(update={"dtype": params.benchmark.dtype})
    known |= {"fingerprint": fingerprint(served, options.adapter), "seed": params.seed}
    write_json(options.out / RUN, {**known, "dtype": params.benchmark.dtype})


def table(scores: Sequence[Score]) -> list[str]:
    """One line a benchmark."""
    width = max((len(s.bench.title) for s in scores), default=0)
    made = [(s, f"{s.bench.title:<{width}}  {figure(s.reported, s.metric.points):<22}") for s in scores]
    return [f"{said} {s.metric.names[0]}, n = {s.account.n_out}" for s, said in made]


def _track(params: Params, options: Options, scores: Sequence[Score]) -> None:
    from tasks import tracking

    with tracking.run("benchmark model") as run:
        run.params({"model": params.model.model_dump(), "k": options.k, "limit": options.limit})
        for s in scores:
            e, name = s.reported, s.bench.name
            values = {"value": e.value, "low": e.low, "high": e.high, "n": e.n, "unreadable": s.unreadable}
            controls = {"constant": s.constant, "shuffled": s.shuffled}
            values |= {key: value for key, value in controls.items() if value is not None}
            run.metrics({f"{name}/{key}": value for key, value in values.items()})
        run.artifact(options.out, "benchmarks")
