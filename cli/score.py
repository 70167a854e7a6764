"""`ouro score`: predictions of any model, scored as the benchmark's official evaluator does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from cli.options import AsJson

if TYPE_CHECKING:
    from ouro.benchmarks.intervals import Estimate
    from ouro.benchmarks.items import BenchmarkFileError, Item
    from ouro.benchmarks.ratios import Ratios
    from ouro.benchmarks.scored import Account, Score
    from ouro.core.records import Rejected

    Load = Callable[[], Iterator[Item | Rejected]]


def score(
    benchmark: Annotated[str, typer.Argument(metavar="BENCHMARK", help="Its name, e.g. docvqa; any other lists them.")],
    annotations: Annotated[
        list[Path],
        typer.Option("--annotations", metavar="PATH", help="Its official file, or their folder. May be repeated."),
    ],
    predictions: Annotated[
        Path, typer.Option(metavar="FILE", help='JSON Lines: {"question_id": ..., "prediction": "..."}.')
    ],
    protocol: Annotated[
        str, typer.Option(metavar="NAME", help="Another way to count, e.g. vqaeval, lenient, plain.")
    ] = "",
    reply_key: Annotated[
        str, typer.Option(metavar="KEY", help="Where each reply stands, if several keys of a line could hold it.")
    ] = "",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Questions without a prediction count as wrong.")
    ] = False,
    controls: Annotated[bool, typer.Option(help="Score the best constant answer, too.")] = True,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Writes scores.json, samples.parquet.")] = None,
    json_: AsJson = False,
) -> None:
    """Score any model's predictions as the benchmark's official evaluator does.

    Ids of captions stand under image_id. Missing, unknown and repeated ids are errors. docs/benchmarks.md has the
    benchmarks, their files, protocols and ids.

    \b
    Examples:
      ouro score docvqa --annotations val_v1.0_withQT.json --predictions replies.jsonl
      ouro score vqav2 --annotations data/benchmarks/vqav2 --predictions replies.jsonl --protocol vqaeval
      ouro score textcaps --annotations TextCaps_0.1_val.json --predictions replies.jsonl --protocol plain --json
    """
    run(Options(benchmark, annotations, predictions, protocol, allow_missing, controls, out, json_, reply_key))


class Options(NamedTuple):
    """Options of the command."""

    benchmark: str
    annotations: Sequence[Path]
    predictions: Path
    protocol: str
    allow_missing: bool
    controls: bool
    out: Path | None
    json: bool
    reply_key: str = ""
    seed: int = 0
    resamples: int = 2000


def run(options: Options) -> None:
    """Print the figures with n and interval, and write them below --out.

    Raises BenchmarkFileError for files that cannot be read, and ids that are missing, unknown or twice there.
    """
    import json

    from ouro.benchmarks.judging import metric_of
    from ouro.benchmarks.loaders.registry import benchmark, locate
    from ouro.benchmarks.predictions import read_predictions
    from ouro.benchmarks.run_folder import check_folder, write_score
    from ouro.benchmarks.scored import MissingPredictions, judge, with_constant
    from ouro.benchmarks.scored import score as score_samples
    from tasks import screen

    bench = benchmark(options.benchmark)
    metric = metric_of(bench, options.protocol)
    if options.out:
        check_folder(options.out)
    annotations = options.annotations
    paths = locate(bench, annotations[0]) if len(annotations) == 1 and annotations[0].is_dir() else annotations
    load = partial(bench.load, paths)
    with read_predictions(options.predictions, key=options.reply_key) as predictions, _progress(options) as advance:
        reply_to = predictions.reply
        try:
            samples, account = judge(
                load(),
                metric,
                lambda item: reply_to(item.item_id),
                allow_missing=options.allow_missing,
                progress=advance,
            )
        except MissingPredictions as error:
            raise _missing_error(options, error, predictions.unknown()) from error
        _check_unknown(options, predictions.unknown(), account)
        null_counts = dict(predictions.rejected)
    if options.controls:
        samples = with_constant(samples, load, metric)
    result = score_samples(
        bench, options.protocol, metric, samples, account, seed=options.seed, resamples=options.resamples
    )
    if options.out:
        write_score(options.out, result, samples)
    if options.json:
        print(json.dumps({**result.to_json(), "null_predictions": sum(null_counts.values())}, indent=1))
        return
    for line in lines(result):
        screen.say(line)
    if null_counts:
        screen.say(f"  predictions of null, counted as missing: {sum(null_counts.values())}")
    if options.out:
        screen.say(f"written: {options.out}")


def _progress(options: Options) -> AbstractContextManager[Callable[[int], None]]:
    from tasks import screen

    return nullcontext(lambda n: None) if options.json else screen.progress("score", 0, "questions")


def _check_unknown(options: Options, unknown: tuple[int, list[str]], account: Account) -> None:
    from ouro.benchmarks.items import BenchmarkFileError
    from ouro.benchmarks.predictions import listed

    count, examples = unknown
    if count:
        left_out = f"; not scored: {_rejected(account)}" if account.rejected else ""
        raise BenchmarkFileError(
            f"{options.predictions}: {listed('id', count, examples)} that {options.benchmark} has no question for "
            f"(it has {account.n_out}{left_out}). Fix: take them out, or name the benchmark that they are of"
        )


def _missing_error(options: Options, error: BenchmarkFileError, unknown: tuple[int, list[str]]) -> BenchmarkFileError:
    """An error for missing predictions that also names ids without a question."""
    from ouro.benchmarks.items import BenchmarkFileError
    from ouro.benchmarks.predictions import listed

    count, examples = unknown
    others = f"; it has {listed('id', count, examples)} that {options.benchmark} has no question for" if count else ""
    return BenchmarkFileError(f"{options.predictions}: {error}{others}")


def lines(result: Score) -> list[str]:
    """A score for people: the reported figure first, then by kind, then what stands beside it."""
    account, points = result.account, result.metric.points
    head = f"{result.bench.title} ({result.bench.split}, protocol {result.protocol}): {result.metric.names[0]}"
    out = [f"{head} {figure(result.reported, points)}, n = {account.n_out} on {result.images} pictures"]
    out += _kinds(result.metric.names[0], result.figures[result.metric.names[0]], points)
    for name in result.metric.names[1:]:
        out.append(f"  {name}: {figure(result.figures[name].micro, points)}")
    controls = {"best constant answer": result.constant, "other pictures": result.shuffled}
    control_texts = [f"{what} {points * value:.1f}" for what, value in controls.items() if value is not None]
    out += [f"  controls: {', '.join(control_texts)}"] if control_texts else []
    if result.margin:
        out.append(
            f"  grounded margin (above other pictures): {figure(result.margin.reported(result.metric.macro), points)}"
        )
    out.append(f"  replies that could not be read: {100 * result.unreadable:.1f}%; missing: {account.missing}")
    out += [f"  note: {note}" for note in result.notes]
    if account.forms:
        mixed = "a mixture: " if len(account.forms) > 1 else ""
        out.append(f"  boxes written as: {mixed}{', '.join(f'{form} {n}' for form, n in account.forms.items())}")
    if account.thought:
        length = "; ask with a larger --max-new-tokens" if account.cut else ""
        out.append(f"  replies with thinking: {account.thought}, cut before an answer (wrong): {account.cut}{length}")
    if account.rejected:
        out.append(f"  {account.n_in} records in, {account.n_out} scored, rejected: {_rejected(account)}")
        out += [f"    {reason}: {one}" for reason, details in account.details.items() for one in details]
    return out


def _rejected(account: Account) -> str:
    return ", ".join(f"{reason} {n}" for reason, n in account.rejected.items())


def figure(e: Estimate, points: float) -> str:
    """49.0 [47.0, 51.1]"""
    return f"{points * e.value:.1f} [{points * e.low:.1f}, {points * e.high:.1f}]"


def _kinds(name: str, ratios: Ratios[Estimate], points: float) -> list[str]:
    if len(ratios.kinds) == 1:  # one of ChartQA's or POPE's files is not the benchmark
        return [
            f"  {name}, {kind}: {figure(e, points)}, n = {e.n}" for kind, e in ratios.kinds.items() if kind != "all"
        ]
    rows = [("all questions", ratios.micro), ("mean of kinds", ratios.macro), *sorted(ratios.kinds.items())]
    return [f"  {name}, {kind}: {figure(e, points)}, n = {e.n}" for kind, e in rows]
