"""Stage benchmark: base and bootstrapped on the held-out questions, beside their controls.

`python -m flows.benchmark`
"""

from __future__ import annotations

import json
from typing import Any

from prefect import flow

from flows import screen
from flows.runner import measured, run_stage
from ouro.artifacts import write_json
from ouro.benchmarks.vqa import read_vqa
from ouro.params import Params
from tasks.benchmark import MODELS, answer, arms, question_files, summarise
from tasks.layout import ADAPTER, Layout


@flow(name="benchmark", validate_parameters=False)
def benchmark(params: Params, layout: Layout) -> None:
    files = question_files(layout)
    asked = len(read_vqa(*files)) if files[0].is_file() else 0
    if not asked:
        screen.say(f"benchmark: nothing to ask, no questions in {files[0]}")
        write_json(layout.scores / "scores.json", {"comparisons": []})
        return
    total = 2 * asked * len(MODELS) * len(arms(params))
    with measured("benchmark", layout), screen.progress("benchmark", total, "answers") as advance:
        answers = [answer(which, arm, layout, params, ADAPTER, advance) for which in MODELS for arm in arms(params)]
    scores = summarise(answers, layout, params)
    _score_artifact(json.loads(scores.read_text())["comparisons"])


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
