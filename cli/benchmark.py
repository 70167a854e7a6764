"""`ouro benchmark`: any model's replies to any of the benchmarks, kept, scored, and compared with `ouro compare`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from cli.options import AskAgain, ParamsFile, Profile, Set, Url, WhoRuns, read_params
from cli.score import figure, lines
from ouro.core.state import CHECKOUT

if TYPE_CHECKING:
    from ouro.benchmarks.scored import Score
    from ouro.core.params import Params

CACHE = CHECKOUT.benchmark


def benchmark(
    benchmarks: Annotated[
        list[str], typer.Option("--benchmarks", metavar="LIST", help="Names with commas between; may be repeated.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where predictions and scores go.")],
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Holds a folder for each, named as it is: files and pictures.")
    ] = Path("data/benchmarks"),
    model: Annotated[str | None, typer.Option(metavar="NAME", help="By default model.base of the params.")] = None,
    adapter: Annotated[Path | None, typer.Option(metavar="DIR", help="A peft adapter for the model.")] = None,
    backend: WhoRuns = None,
    url: Url = None,
    k: Annotated[int, typer.Option(min=0, metavar="K", help="Largest regions shown beside each picture.")] = 0,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="Only the first N questions of each (0: all).")] = 0,
    max_new_tokens: Annotated[
        int, typer.Option(min=0, metavar="N", help="Length of a reply, thinking included (0: the benchmark's own).")
    ] = 0,
    protocol: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PROTOCOL", help="Another way to count one of them.")
    ] = None,
    hub: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DATASET[:CONFIG][@SPLIT]", help="A Hugging Face dataset, or its folder, instead of --data."
        ),
    ] = None,
    hub_pictures: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DATASET[:CONFIG][@SPLIT]", help="The second table with its pictures (GQA)."),
    ] = None,
    controls: Annotated[bool, typer.Option(help="Also: best constant answer, and other pictures (asks twice).")] = True,
    track: Annotated[bool, typer.Option(help="Log the scores to MLflow.")] = True,
    ask_again: AskAgain = False,
    set_: Set = None,
    params: ParamsFile = None,
    profile: Profile = None,
) -> None:
    """Ask a model the questions of benchmarks and score its replies, with n and 95% intervals.

    Replies are kept by model, prompt and picture: a repeat asks nothing, a killed run goes on. Of a server's model it
    is found out at the beginning who answers (a list and eight short requests).

    \b
    Examples:
      ouro benchmark --benchmarks docvqa,chartqa --data data/benchmarks --out runs/base
      ouro benchmark --benchmarks docvqa --adapter models/adapter --k 5 --limit 500 --out runs/boot
      ouro benchmark --benchmarks gqa --backend openai --url http://127.0.0.1:8000/v1 \\
        --model Qwen/Qwen2-VL-7B-Instruct --profile paper --out runs/served
      ouro benchmark --benchmarks docvqa --hub docvqa=lmms-lab/DocVQA:DocVQA@validation --out runs/base
      ouro benchmark --benchmarks gqa --hub gqa=lmms-lab/GQA:testdev_balanced_instructions@testdev \\
        --hub-pictures gqa=lmms-lab/GQA:testdev_balanced_images@testdev --out runs/base
    """
    from tasks.settings import CommandOptions, apply_options

    run_params = apply_options(
        read_params(params, profile, set_), CommandOptions("nano", model, backend, url, None, None, None)
    )
    names = [name.strip() for part in benchmarks for name in part.split(",") if name.strip()]
    options = Options(
        names, data, out, k, limit, _pairs("--protocol", protocol), _pairs("--hub", hub),
        _pairs("--hub-pictures", hub_pictures), controls, adapter, track, max_new_tokens, ask_again,
    )  # fmt: skip
    run(run_params, options)


def _pairs(option: str, assignments: list[str] | None) -> dict[str, str]:
    from ouro.core.params_text import ParamsError

    pairs: dict[str, str] = {}
    for text in assignments or []:
        name, sign, value = text.partition("=")
        if not (sign and name and value):
            raise ParamsError(f"{option} {text!r}: expected NAME=VALUE, such as vqav2=vqaeval")
        pairs[name] = value
    return pairs


class Options(NamedTuple):
    """Options of the command; the model is in the params."""

    benchmarks: Sequence[str]
    data: Path
    out: Path
    k: int
    limit: int
    protocols: Mapping[str, str]
    hubs: Mapping[str, str]
    hub_pictures: Mapping[str, str]
    controls: bool
    adapter: Path | None
    track: bool
    max_new_tokens: int = 0
    ask_again: bool = False


def run(params: Params, options: Options) -> None:
    """Ask the model, score its replies, write OUT; a benchmark whose files are missing ends the run before it begins.

    Raises BenchmarkFileError, MissingModel, ModelError, ServerRefused, StoreError; of a benchmark that no question of
    could be asked, after the others are done.
    """
    from ouro.benchmarks.items import BenchmarkFileError
    from ouro.benchmarks.judging import metric_of
    from ouro.benchmarks.run_folder import check_folder
    from tasks import screen
    from tasks.benchmark_sources import source_of
    from tasks.mlflow_store import check_store
    from tasks.served import find_answerer

    check_folder(options.out)
    if options.track:
        check_store()
    hubs, pictures = options.hubs, options.hub_pictures
    sources = [
        source_of(name, params, options.data, hubs.get(name, ""), pictures.get(name, ""))
        for name in dict.fromkeys(options.benchmarks)
    ]
    for source in sources:
        if source.bench.metric != "contextual":
            metric_of(source.bench, options.protocols.get(source.bench.name, ""))
    find_answerer(params.model, required=True)
    _write_run(params, options)
    start_time = time.monotonic()
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
        f"written: {options.out} in {time.monotonic() - start_time:.0f} s; compare: ouro compare OTHER {options.out}"
    )


def _one(source: object, params: Params, options: Options) -> list[Score]:
    from ouro.benchmarks.asking import Tally
    from tasks import screen
    from tasks.asking import run_benchmark
    from tasks.benchmark_sources import Source

    assert isinstance(source, Source)
    name = source.bench.name
    tally = Tally()
    with screen.progress(name, 0, "answers") as advance:
        score = run_benchmark(
            source, params, options.out, k=options.k, limit=options.limit,
            protocol=options.protocols.get(name, ""), controls=options.controls, cache=CACHE,
            adapter=options.adapter, max_new_tokens=options.max_new_tokens, progress=advance,
            ask_again=options.ask_again, tally=tally, look=False,
        )  # fmt: skip
    screen.say(f"{name}: {tally.line()}")
    if score is None:
        screen.say(f"{source.bench.title}: no metric of its own; its replies are in {options.out / name}")
        return []
    for line in lines(score):
        screen.say(line)
    return [score]


def _write_run(params: Params, options: Options) -> None:
    from ouro.benchmarks.run_folder import RUN
    from ouro.core.artifacts import write_json
    from tasks.annotator import fingerprint

    model = params.model.name if params.model.backend == "openai" else params.model.base
    adapter = str(options.adapter or params.model.adapter)
    label = f"{model} + {adapter}" if adapter else model
    content = {"label": label, "model": model, "adapter": adapter, "k": options.k, "limit": options.limit}
    served = params.model.model_copy(update={"dtype": params.benchmark.dtype, "max_new_tokens": options.max_new_tokens})
    content |= {"fingerprint": fingerprint(served, options.adapter), "seed": params.seed}
    write_json(
        options.out / RUN, {**content, "dtype": params.benchmark.dtype, "max_new_tokens": options.max_new_tokens}
    )


def table(scores: Sequence[Score]) -> list[str]:
    """One line a benchmark."""
    width = max((len(s.bench.title) for s in scores), default=0)
    heads = [f"{s.bench.title:<{width}}  {figure(s.reported, s.metric.points):<22}" for s in scores]
    return [f"{head} {s.metric.names[0]}, n = {s.account.n_out}" for s, head in zip(scores, heads, strict=True)]


def _track(params: Params, options: Options, scores: Sequence[Score]) -> None:
    from tasks import tracking

    with tracking.run("benchmark model") as run:
        run.params(
            {
                "model": params.model.model_dump(),
                "k": options.k,
                "limit": options.limit,
                "max_new_tokens": options.max_new_tokens,
            }
        )
        for s in scores:
            e, name = s.reported, s.bench.name
            values = {"value": e.value, "low": e.low, "high": e.high, "n": e.n, "unreadable": s.unreadable}
            controls = {"constant": s.constant, "shuffled": s.shuffled}
            values |= {key: value for key, value in controls.items() if value is not None}
            if s.margin:
                margin = s.margin.reported(s.metric.macro).to_json()
                values |= {f"margin {key}": value for key, value in margin.items()}
            run.metrics({f"{name}/{key}": value for key, value in values.items()})
        run.artifact(options.out, "benchmarks")
