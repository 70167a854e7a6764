"""One arm of an ablation with one seed: train, ask, score. Everything in the arm's own folder, which DVC keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from ouro.ablation import Score
from ouro.artifacts import write_json
from ouro.benchmarks.evaluate import Prediction, Run
from ouro.benchmarks.loaders.registry import benchmark
from ouro.benchmarks.run_folder import read_run
from ouro.benchmarks.summary import Summary, summarise
from ouro.benchmarks.vqa import read_vqa
from ouro.params import Params
from tasks import tracking
from tasks.asking import open_source, run_benchmark
from tasks.benchmark import answer, arms, question_files, shown_regions
from tasks.layout import Layout
from tasks.shards import Progress
from tasks.train import Step, train

SCORES = "scores.json"


def train_arm(params: Params, seed: int, layout: Layout, out: Path, on_step: Step) -> Path:
    """Train with the arm's params and seed on everything below `layout`; returns the adapter. Raises TrainingError."""
    adapter = out / "adapter"
    train(layout, params.model_copy(update={"seed": seed, "round": 1}), adapter, on_step)
    return adapter


def score_arm(params: Params, layout: Layout, out: Path, adapter: Path, progress: Progress) -> dict[str, Any]:
    """Ask the held-out questions and benchmark.names as stage benchmark does, with the same wrong images for all arms;
    returns what scores.json gets: by benchmark the accuracy with interval and its controls."""
    made: dict[str, Any] = {}
    if len(read_vqa(*question_files(layout))):
        for arm in arms(params):
            done = json.loads(answer("bootstrapped", arm, layout, params, adapter, progress).read_text())
            run = Run(done["model"], done["arm"], tuple(Prediction(**p) for p in done["predictions"]))
            write_json(out / f"predictions-{arm}.json", run.to_json())
            summary = summarise(run, resamples=params.benchmark.bootstrap_samples, seed=params.seed)
            made["held-out" if arm == "image" else f"held-out, k = {params.benchmark.k} shown"] = _held_out(summary)
    for name in params.benchmark.names:
        for k in shown_regions(params):
            made[f"{name}, k = {k} shown" if k else name] = _named(name, k, params, layout, out, adapter, progress)
    return made


def _held_out(summary: Summary) -> dict[str, Any]:
    m = summary.macro
    return {
        "accuracy": m.accuracy.to_json(), "margin": m.margin.value, "shuffled": m.shuffled.value,
        "majority": m.majority, "by_type": {row.question_type: row.accuracy.value for row in summary.rows},
    }  # fmt: skip


def _named(
    name: str, k: int, params: Params, layout: Layout, out: Path, adapter: Path, progress: Progress
) -> dict[str, Any]:
    place = out / f"k{k}"
    source = open_source(benchmark(name), Path(params.benchmark.folder), params.ingest.max_pixels)
    model = params.model.model_copy(update={"dtype": params.benchmark.dtype, "backend": "hf", "adapter": ""})
    run_benchmark(
        source, params.model_copy(update={"model": model}), place, k=k, limit=params.benchmark.limit, protocol="",
        controls=True, cache=layout.cache.parent / "replies", adapter=adapter, progress=progress,
    )  # fmt: skip
    write_json(place / "run.json", {"label": str(out), "model": params.model.base, "k": k})
    scored = read_run(place)[name]
    shuffled = scored.scores["controls"]["shuffled"]
    margin = scored.reported.value - shuffled if shuffled is not None else float("nan")
    return {"accuracy": scored.reported.to_json(), "margin": margin, "shuffled": shuffled, "by_type": {}}


def log_arm(run: tracking.Run, made: dict[str, Any]) -> None:
    """The figures of scores.json as metrics: benchmark/what."""
    numbers: dict[str, float] = {}
    for name, values in made.items():
        e = values["accuracy"]
        numbers |= {f"{name}/accuracy": e["value"], f"{name}/low": e["low"], f"{name}/high": e["high"]}
        numbers[f"{name}/margin"] = values["margin"]
        numbers |= {f"{name}/{kind}": value for kind, value in values["by_type"].items()}
    run.metrics(numbers)


def read_scores(arm: str, seed: int, out: Path) -> tuple[str, list[Score]]:
    """The MLflow run of a finished arm, and its figures."""
    content = json.loads((out / SCORES).read_text())
    scored = cast("dict[str, Any]", content["scores"])
    return content["run"], [
        Score(arm, seed, name, values["accuracy"]["value"], values["margin"]) for name, values in scored.items()
    ]
