"""Stage benchmark: base, champion and bootstrapped on the held-out questions and benchmark.names.

`python -m flows.benchmark`
"""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.session import run_stage, stage_run_name
from ouro.benchmarks.items import HELD_OUT
from ouro.core.json_text import parse_json
from ouro.core.layout import ADAPTER, Layout
from ouro.core.params import Params
from tasks import screen
from tasks.asking import check_benchmarks, held_out_count, question_files
from tasks.benchmark import (
    ask_benchmark,
    asked_names,
    clear_runs,
    compare_benchmarks,
    contenders,
    shown_regions,
)
from tasks.timing import record_work


@flow(name="benchmark", flow_run_name=stage_run_name, validate_parameters=False)
def benchmark(params: Params, layout: Layout) -> None:
    check_benchmarks(params)
    clear_runs(layout)
    names = asked_names(layout, params)
    if HELD_OUT not in names:
        screen.say(f"benchmark: nothing to ask, no questions in {question_files(layout)[0]}")
    for name in names:
        _ask(name, params, layout)
    gate = parse_json(compare_benchmarks(layout, params).read_text())["benchmarks"]
    for row in gate:
        screen.say(_line(row))
    _score_artifact(parse_json((layout.scores / "scores.json").read_text())["comparisons"])
    _gate_artifact(gate)


def _ask(name: str, params: Params, layout: Layout) -> None:
    """Ask every model one benchmark, with regions and without."""
    models, ks = contenders(params), shown_regions(params)
    total = 2 * held_out_count(layout) * len(models) * len(ks) if name == HELD_OUT else 0
    title = "benchmark" if name == HELD_OUT else name
    with record_work("benchmark", layout), screen.progress(title, total, "answers") as advance:
        for which in models:
            for k in ks:
                ask_benchmark(name, which, k, layout, params, ADAPTER, advance)


def _line(row: dict[str, Any]) -> str:
    d, points = row["difference"]["macro" if row["macro"] else "micro"], row["points"]
    gain = f"{points * d['value']:+.1f} [{points * d['low']:+.1f}, {points * d['high']:+.1f}]"
    values = f"{points * row['first']:.1f} -> {points * row['second']:.1f}"
    which = " -> ".join(row["models"])
    return f"{row['title']}, k = {row['k']}, {which}: {row['figure']} {values}, gain {gain}, n = {d['n']}"


def _gate_artifact(gate: list[dict[str, Any]]) -> None:
    from prefect.artifacts import create_table_artifact

    if not gate:
        return
    table = [{"benchmark": row["title"], "k": row["k"], "what": _line(row)} for row in gate]
    create_table_artifact(key="benchmark-gate", table=table, description="benchmark: base against bootstrapped")


def _score_artifact(comparisons: list[dict[str, Any]]) -> None:
    from prefect.artifacts import create_table_artifact

    if not comparisons:
        return
    rows = [
        {"arm": c["arm"], "question type": row["question_type"], "n": row["n"], "base": row["base_accuracy"]["value"],
         "bootstrapped": row["boot_accuracy"]["value"], "gain": row["accuracy_gain"]["value"]}
        for c in comparisons for row in (*c["rows"], c["macro"])
    ]  # fmt: skip
    create_table_artifact(key="benchmark-scores", table=rows, description="benchmark: accuracy by question type")


if __name__ == "__main__":
    run_stage(benchmark)
