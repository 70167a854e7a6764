"""Stage benchmark: base and bootstrapped on the held-out questions, beside their controls.

`python -m flows.benchmark`
"""

from __future__ import annotations

import json
from typing import Any

from prefect import flow

from flows.session import run_stage, stage_run_name
from ouro.benchmarks.vqa import read_vqa
from ouro.core.artifacts import write_json
from ouro.core.layout import ADAPTER, Layout
from ouro.core.params import Params
from tasks import screen
from tasks.asking import check_benchmarks
from tasks.benchmark import (
    answer,
    arms,
    ask_benchmark,
    clear_runs,
    compare_benchmarks,
    contenders,
    question_files,
    shown_regions,
    summarise,
)
from tasks.timing import measured


@flow(name="benchmark", flow_run_name=stage_run_name, validate_parameters=False)
def benchmark(params: Params, layout: Layout) -> None:
    check_benchmarks(params)
    clear_runs(layout)
    files = question_files(layout)
    asked = len(read_vqa(*files)) if files[0].is_file() else 0
    if not asked:
        screen.say(f"benchmark: nothing to ask, no questions in {files[0]}")
        empty = {"comparisons": [], "over champion": [], "k": params.benchmark.k}
        write_json(layout.scores / "scores.json", empty)
        _named(params, layout)
        return
    total = 2 * asked * len(contenders(params)) * len(arms(params))
    with measured("benchmark", layout), screen.progress("benchmark", total, "answers") as advance:
        answers = [
            answer(which, arm, layout, params, ADAPTER, advance) for which in contenders(params) for arm in arms(params)
        ]
    scores = summarise(answers, layout, params)
    _named(params, layout)
    _score_artifact(json.loads(scores.read_text())["comparisons"])


def _named(params: Params, layout: Layout) -> None:
    """The benchmarks of benchmark.names, asked of every model, with regions and without."""
    for name in params.benchmark.names:
        with measured("benchmark", layout), screen.progress(name, 0, "answers") as advance:
            for which in contenders(params):
                for k in shown_regions(params):
                    ask_benchmark(name, which, k, layout, params, ADAPTER, advance)
    gate = json.loads(compare_benchmarks(layout, params).read_text())["benchmarks"]
    for row in gate:
        screen.say(_line(row))
    if gate:
        _gate_artifact(gate)


def _line(row: dict[str, Any]) -> str:
    d, points = row["difference"]["macro" if row["macro"] else "micro"], row["points"]
    gain = f"{points * d['value']:+.1f} [{points * d['low']:+.1f}, {points * d['high']:+.1f}]"
    values = f"{points * row['first']:.1f} -> {points * row['second']:.1f}"
    which = " -> ".join(row["models"])
    return f"{row['title']}, k = {row['k']}, {which}: {row['figure']} {values}, gain {gain}, n = {d['n']}"


def _gate_artifact(gate: list[dict[str, Any]]) -> None:
    from prefect.artifacts import create_table_artifact

    table = [{"benchmark": row["title"], "k": row["k"], "what": _line(row)} for row in gate]
    create_table_artifact(key="benchmark-gate", table=table, description="benchmark: base against bootstrapped")


def _score_artifact(comparisons: list[dict[str, Any]]) -> None:
    from prefect.artifacts import create_table_artifact

    rows = [
        {"arm": c["arm"], "question type": row["question_type"], "n": row["n"], "base": row["base_accuracy"]["value"],
         "bootstrapped": row["boot_accuracy"]["value"], "gain": row["accuracy_gain"]["value"]}
        for c in comparisons for row in (*c["rows"], c["macro"])
    ]  # fmt: skip
    create_table_artifact(key="benchmark-scores", table=rows, description="benchmark: accuracy by question type")


if __name__ == "__main__":
    run_stage(benchmark)
