"""The tasks of stage benchmark: one per benchmark, model and number of regions, and one that compares the models."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from ouro.benchmarks.asking import Tally
from ouro.benchmarks.comparison import Comparison, compare_runs
from ouro.benchmarks.figures import Series, bars
from ouro.benchmarks.intervals import Estimate
from ouro.benchmarks.items import HELD_OUT, Item
from ouro.benchmarks.run_folder import RUN, ScoredFolder, prediction_rows, read_run, write_rows
from ouro.core.artifacts import write_bytes, write_json
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.rounds.gate import Measured
from tasks import screen, tracking
from tasks.asking import run_benchmark
from tasks.benchmark_sources import held_out_count, source_of
from tasks.shards import Progress, shard_task

Contender = Literal["base", "champion", "bootstrapped"]
Runs = Mapping[str, Mapping[str, ScoredFolder]]  # of every contender, the benchmarks by name


def asked_names(layout: Layout, params: Params) -> list[str]:
    """The benchmarks that are asked: the held-out questions, where there are any, and benchmark.names."""
    held_out = [HELD_OUT] if held_out_count(layout) else []
    return list(dict.fromkeys([*held_out, *params.benchmark.names]))


def contenders(params: Params) -> tuple[Contender, ...]:
    """The models that are asked, the candidate last. There is a champion where the annotator has an adapter."""
    return ("base", "champion", "bootstrapped") if params.model.adapter else ("base", "bootstrapped")


def shown_regions(params: Params) -> tuple[int, ...]:
    """The numbers of regions shown: none, and with benchmark.k > 0 that many."""
    return (0, params.benchmark.k) if params.benchmark.k else (0,)


def ask_model(
    name: str, out: Path, k: int, adapter: Path | None, layout: Layout, params: Params, progress: Progress
) -> None:
    """The replies of the base, with an adapter or without, to one benchmark, scored -> out/<name>. benchmark.limit
    holds for named ones alone. Says how many replies were kept. Raises BenchmarkFileError."""
    model = params.model.model_copy(update={"dtype": params.benchmark.dtype, "backend": "hf", "adapter": ""})
    tally = Tally()
    run_benchmark(
        source_of(name, params, layout=layout), params.model_copy(update={"model": model}), out, k=k,
        limit=0 if name == HELD_OUT else params.benchmark.limit, protocol="", controls=True,
        cache=layout.state.replies, adapter=adapter, progress=progress, tally=tally,
    )  # fmt: skip
    screen.say(f"{name}, {out.name}: {tally.line()}")


@shard_task(name="ask", task_run_name="ask {name} {which} k={k}")
def ask_benchmark(
    name: str,
    which: Contender,
    k: int,
    layout: Layout,
    params: Params,
    adapter: Path,
    progress: Progress = lambda n: None,
) -> Path:
    """One model's replies to one benchmark, scored -> data/scores/runs/<which>-k<k>/<name>.

    `progress` counts answers, two a question: about its own picture and about another one.
    """
    out = _run_folder(layout, which, k)
    write_json(out / RUN, {"label": f"{which}, k = {k}", "model": params.model.base, "k": k})
    ask_model(name, out, k, _adapter_of(which, params, adapter), layout, params, progress)
    return out / name


def _run_folder(layout: Layout, which: Contender, k: int) -> Path:
    return layout.scores / "runs" / f"{which}-k{k}"


def _adapter_of(which: Contender, params: Params, adapter: Path) -> Path | None:
    """The champion's is the one with which this round was annotated."""
    return {"base": None, "champion": Path(params.model.adapter), "bootstrapped": adapter}[which]


def clear_runs(layout: Layout) -> None:
    """Remove the run folders of an earlier list of benchmarks; the reply store stays."""
    shutil.rmtree(layout.scores / "runs", ignore_errors=True)


@shard_task(name="compare benchmarks")
def compare_benchmarks(layout: Layout, params: Params) -> Path:
    """Base and champion against bootstrapped, with and without regions -> data/scores, and MLflow.

    scores.json, predictions.parquet: the held-out questions. gate.json: what a promotion is decided by
    (ouro.rounds.gate): `measured` holds the paired difference of every benchmark, the held-out questions first,
    `benchmarks` the named ones by kind, with p and the grounded margin. Figures lie beside them.
    """
    names = asked_names(layout, params)
    runs = {k: _read_runs(layout, params, k) for k in shown_regions(params)} if names else {}
    comparisons = _compare(runs, params)
    held_out_comparisons, named_comparisons = (
        [c for c in comparisons if (c.benchmark == HELD_OUT) is held_out] for held_out in (True, False)
    )
    _write_held_out(held_out_comparisons, runs, layout, params)
    rows = [{"k": c.k, **c.summary(), "models": [c.base, c.boot]} for c in named_comparisons]
    gate = layout.scores / "gate.json"
    write_json(
        gate,
        {
            "measured": [_measurement(c).to_json() for c in (*held_out_comparisons, *named_comparisons)],
            "benchmarks": rows,
        },
    )
    for k in runs if named_comparisons else ():
        write_bytes(layout.scores / f"benchmarks-k{k}.png", _figure(k, runs[k]))
    with tracking.run("benchmark") as run:
        run.params({"seed": params.seed, "benchmark": params.benchmark.model_dump()})
        for c in comparisons:
            run.metrics(held_out_numbers(c) if c.benchmark == HELD_OUT else numbers(c))
        run.artifact(layout.scores, "scores")
    return gate


def _read_runs(layout: Layout, params: Params, k: int) -> Runs:
    return {which: read_run(_run_folder(layout, which, k), which) for which in contenders(params)}


def _compare(runs: Mapping[int, Runs], params: Params) -> list[Comparison]:
    """Every other contender against the candidate."""
    *others, candidate = contenders(params)
    settings = {"seed": params.seed, "resamples": params.benchmark.bootstrap_samples}
    comparisons = [
        c for k in runs for other in others for c in compare_runs(runs[k][other], runs[k][candidate], **settings)
    ]
    rank = {other: i for i, other in enumerate(map(str, others))}
    return sorted(comparisons, key=lambda c: rank[c.base] if c.benchmark == HELD_OUT else len(rank))


def _write_held_out(
    comparisons: Sequence[Comparison], runs: Mapping[int, Runs], layout: Layout, params: Params
) -> None:
    """scores.json (empty where nothing was asked), predictions.parquet, and a figure for each arm."""
    against = {other: [c.to_json() for c in comparisons if c.base == other] for other in ("base", "champion")}
    content = {"comparisons": against["base"], "over champion": against["champion"], "k": params.benchmark.k}
    write_json(layout.scores / "scores.json", content)
    if not comparisons:
        return
    items = held_out_items(layout, params)
    rows = [
        row for which in contenders(params) for k in runs
        for row in prediction_rows(runs[k][which][HELD_OUT], _run_folder(layout, which, k) / HELD_OUT, items)
    ]  # fmt: skip
    write_rows(layout.scores / "predictions.parquet", rows)
    for c in comparisons:
        if c.base == "base":
            write_bytes(layout.scores / f"{c.arm}.png", _by_type(c))


def held_out_items(layout: Layout, params: Params) -> list[Item]:
    """The held-out questions that can be asked."""
    return [item for item in source_of(HELD_OUT, params, layout=layout).load() if isinstance(item, Item)]


def _measurement(c: Comparison) -> Measured:
    base, boot, gain = c.reported.base_accuracy, c.reported.boot_accuracy, c.reported.accuracy_gain
    estimate = Estimate(gain.value, gain.low, gain.high, gain.n)
    return Measured(c.benchmark, c.k, (c.base, c.boot), base.value, boot.value, estimate, c.points)


def _figure(k: int, runs: Runs) -> bytes:
    """All named benchmarks."""
    names = [name for name in runs["base"] if name != HELD_OUT]
    labels = [str(runs["base"][name].scores["title"]) for name in names]
    series = [
        Series(
            which, [run[name].reported for name in names],
            {"other pictures": [run[name].scores["controls"]["shuffled"] for name in names]},
        )
        for which, run in runs.items()
    ]  # fmt: skip
    return bars(f"benchmarks, {k} regions beside the image", labels, series)


def _by_type(c: Comparison) -> bytes:
    rows = (*c.rows, c.macro)
    labels = [row.question_type for row in rows]
    constant = [row.majority for row in rows]
    base = Series("base", [r.base_accuracy for r in rows], {"most frequent answer": constant})
    boot = Series("bootstrapped", [r.boot_accuracy for r in rows], {"other pictures": [r.boot_shuffled for r in rows]})
    return bars(f"held-out questions, {c.arm}, by type", labels, [base, boot])


def numbers(c: Comparison) -> dict[str, float]:
    """A named benchmark as flat metrics: benchmark/k/what."""
    prefix, row = f"{c.benchmark}/k{c.k}", c.reported
    flat = {f"{prefix}/{c.base}": row.base_accuracy.value, f"{prefix}/{c.boot}": row.boot_accuracy.value}
    flat |= {f"{prefix}/over {c.base} {key}": float(value) for key, value in row.accuracy_gain.to_json().items()}
    if row.base_margin and row.boot_margin and row.margin_gain:
        flat |= {f"{prefix}/margin {c.base}": row.base_margin.value, f"{prefix}/margin {c.boot}": row.boot_margin.value}
        gains = row.margin_gain.to_json()
        flat |= {f"{prefix}/margin over {c.base} {key}": float(value) for key, value in gains.items()}
    return flat


def held_out_numbers(c: Comparison) -> dict[str, float]:
    """The held-out questions as flat metrics: arm/question type/what; over the champion the mean over types alone."""
    if c.base != "base":
        gain = c.macro.accuracy_gain
        return {f"{c.arm}/over {c.base} {key}": getattr(gain, key) for key in ("value", "low", "high")}
    flat: dict[str, float] = {}
    for row in (*c.rows, c.macro, c.overall):
        values = {
            "majority": row.majority, "base": row.base_accuracy.value, "boot": row.boot_accuracy.value,
            "gain": row.accuracy_gain.value, "gain low": row.accuracy_gain.low, "gain high": row.accuracy_gain.high,
        }  # fmt: skip
        if row.base_margin and row.boot_margin and row.margin_gain:
            values |= {
                "margin base": row.base_margin.value, "margin boot": row.boot_margin.value,
                "margin gain": row.margin_gain.value, "margin gain low": row.margin_gain.low,
            }  # fmt: skip
        metrics = {name: value for name, value in values.items() if value is not None}
        flat |= {f"{c.arm}/{row.question_type}/{name}": value for name, value in metrics.items()}
    return flat
