"""The tasks of stage benchmark: one per model and arm (answers, cached), and one that compares them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ouro.benchmarks.answering import largest_regions, vlm_answerer
from ouro.benchmarks.controls import wrong_images
from ouro.benchmarks.evaluate import Arm, Prediction, Run, evaluate
from ouro.benchmarks.figures import Series, bars
from ouro.benchmarks.intervals import Estimate
from ouro.benchmarks.loaders.registry import benchmark
from ouro.benchmarks.run_folder import RUN, Compared, ScoredFolder, compare_runs, read_run
from ouro.benchmarks.summary import Comparison, compare
from ouro.benchmarks.vqa import Question, read_vqa
from ouro.core.artifacts import list_shards, read_all, write_bytes, write_json
from ouro.core.layout import Layout
from ouro.core.params import Model, Params
from ouro.core.records import Image, Region
from ouro.rounds.gate import HELD_OUT, Measured
from tasks import tracking
from tasks.annotator import annotator, fingerprint
from tasks.asking import open_source, run_benchmark
from tasks.shards import Pictures, Progress, produce, shard_task

Contender = Literal["base", "champion", "bootstrapped"]


def question_files(layout: Layout) -> tuple[Path, Path]:
    """The held-out questions and their answers, VQAv2 format."""
    return layout.annotations / "test_questions.json", layout.annotations / "test_annotations.json"


def arms(params: Params) -> tuple[Arm, ...]:
    """The ways of asking: the image alone, and, with k > 0, its regions beside it."""
    return ("image", "image+regions") if params.benchmark.k else ("image",)


@shard_task(name="answer", task_run_name="answer {which} {arm}")
def answer(
    which: Contender, arm: Arm, layout: Layout, params: Params, adapter: Path, progress: Progress = lambda n: None
) -> Path:
    """One model's answers in one arm, and to wrong images. `progress` counts answers, two a question."""
    out = layout.state.answers / f"{which}-{arm}.json"
    files = question_files(layout)
    questions = read_vqa(*files)
    worn = _worn(which, params, adapter)

    def make() -> None:
        write_json(out, _answer(questions, which, arm, layout, params, worn, progress).to_json())

    shards = [*list_shards(layout.images), *(list_shards(layout.regions) if arm != "image" else [])]
    settings = {**params.benchmark.model_dump(mode="json"), "seed": params.seed, "which": which, "arm": arm}
    del settings["bootstrap_samples"]
    if produce(
        "benchmark", out, inputs=[*files, *shards], params=settings, model=fingerprint(_model(params), worn),
        cache=layout.cache, make=make,
    ):  # fmt: skip
        progress(2 * len(questions))
    return out


def _worn(which: Contender, params: Params, adapter: Path) -> Path | None:
    """The adapter of a contender; the champion's is the one that the annotator of this round wore."""
    return {"base": None, "champion": Path(params.model.adapter), "bootstrapped": adapter}[which]


def _model(params: Params) -> Model:
    return params.model.model_copy(update={"dtype": params.benchmark.dtype, "backend": "hf", "adapter": ""})


def _answer(
    questions: list[Question],
    which: Contender,
    arm: Arm,
    layout: Layout,
    params: Params,
    worn: Path | None,
    progress: Progress,
) -> Run:
    asked = {q.image_id for q in questions}
    images = [image for image in read_all(layout.images, Image) if image.image_id in asked]
    regions = read_all(layout.regions, Region) if arm != "image" else []
    said = vlm_answerer(
        annotator(_model(params), params.benchmark.batch_size, worn),
        Pictures(images, layout.images, params.ingest.max_pixels),
        largest_regions(regions, params.benchmark.k),
        params.benchmark,
        progress,
    )
    wrong = wrong_images(asked, np.random.default_rng(params.seed))
    return evaluate(questions, said, model=which, arm=arm, wrong=wrong)


@shard_task(name="compare")
def summarise(answers: list[Path], layout: Layout, params: Params) -> Path:
    """Base, and the champion if there is one, against bootstrapped in each arm -> data/scores/{scores.json,
    predictions.parquet}, and MLflow."""
    runs = {(run.model, run.arm): run for run in map(_read_run, answers)}
    settings = {"resamples": params.benchmark.bootstrap_samples, "seed": params.seed}
    over = {
        other: [compare(runs[other, arm], runs["bootstrapped", arm], **settings) for arm in arms(params)]
        for other in contenders(params)[:-1]
    }
    made = over["base"]
    scores = layout.scores / "scores.json"
    champion = [c.to_json() for c in over.get("champion", ())]
    write_json(scores, {"comparisons": [c.to_json() for c in made], "over champion": champion, "k": params.benchmark.k})
    _write_predictions(layout.scores / "predictions.parquet", [row for run in runs.values() for row in run.rows()])
    for c in made:
        write_bytes(layout.scores / f"{c.arm}.png", _by_type(c))
    with tracking.run("benchmark") as run:
        run.params({"seed": params.seed, "benchmark": params.benchmark.model_dump()})
        run.metrics({name: value for c in made for name, value in numbers(c).items()})
        for c in over.get("champion", ()):
            gain = c.macro.accuracy_gain
            run.metrics({f"{c.arm}/over champion {key}": getattr(gain, key) for key in ("value", "low", "high")})
        run.artifact(layout.scores, "scores")
    return scores


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
    """One model's replies to one of benchmark.names, scored -> data/scores/runs/<which>-k<k>/<name>."""
    out = layout.scores / "runs" / f"{which}-k{k}"
    write_json(out / RUN, {"label": f"{which}, k = {k}", "model": params.model.base, "k": k})
    source = open_source(benchmark(name), Path(params.benchmark.folder), params.ingest.max_pixels)
    run_benchmark(
        source, params.model_copy(update={"model": _model(params)}), out, k=k, limit=params.benchmark.limit,
        protocol="", controls=True, cache=layout.state.replies,
        adapter=_worn(which, params, adapter), progress=progress,
    )  # fmt: skip
    return out / name


def contenders(params: Params) -> tuple[Contender, ...]:
    """The models that are asked, the candidate last. There is a champion where the annotator wore an adapter."""
    return ("base", "champion", "bootstrapped") if params.model.adapter else ("base", "bootstrapped")


def clear_runs(layout: Layout) -> None:
    """Remove what benchmarks of another list left; replies are kept elsewhere."""
    shutil.rmtree(layout.scores / "runs", ignore_errors=True)


@shard_task(name="compare benchmarks")
def compare_benchmarks(layout: Layout, params: Params) -> Path:
    """Base and champion against bootstrapped on benchmark.names, with and without regions -> data/scores/gate.json, and
    figures. gate.json is what a promotion is decided by (ouro.rounds.gate): `measured` holds the paired difference of
    every benchmark, the held-out questions first; `benchmarks` the named ones by kind, with p.
    """
    measured = _held_out(layout)
    rows: list[dict[str, Any]] = []
    settings = {"seed": params.seed, "resamples": params.benchmark.bootstrap_samples}
    *others, candidate = contenders(params)
    for k in shown_regions(params) if params.benchmark.names else ():
        runs = {which: read_run(layout.scores / "runs" / f"{which}-k{k}") for which in contenders(params)}
        for other in others:
            made = compare_runs(runs[other], runs[candidate], **settings)
            rows += [{"k": k, **c.to_json(), "models": [other, candidate]} for c in made]
            measured += [_measured(c, k, other) for c in made]
        write_bytes(layout.scores / f"benchmarks-k{k}.png", _figure(k, runs))
    gate = layout.scores / "gate.json"
    write_json(gate, {"measured": [m.to_json() for m in measured], "benchmarks": rows})
    with tracking.run("benchmarks") as run:
        for row in rows:
            d = row["difference"]["macro" if row["macro"] else "micro"]
            prefix = f"{row['benchmark']}/k{row['k']}"
            first, second = row["models"]
            run.metrics({f"{prefix}/{first}": row["first"], f"{prefix}/{second}": row["second"]})
            run.metrics({f"{prefix}/over {first} {key}": float(value) for key, value in d.items()})
        run.artifact(layout.scores, "scores")
    return gate


def _held_out(layout: Layout) -> list[Measured]:
    """The held-out questions as rows of the gate, mean over question types; none where nothing was asked."""
    scores = layout.scores / "scores.json"
    if not scores.is_file():
        return []
    content = json.loads(scores.read_text())
    made = [Comparison.from_json(value) for key in ("comparisons", "over champion") for value in content[key]]
    return [
        Measured(
            HELD_OUT, 0 if c.arm == "image" else content["k"], (c.base, c.boot), c.macro.base_accuracy.value,
            c.macro.boot_accuracy.value, c.macro.accuracy_gain,
        )
        for c in made
    ]  # fmt: skip


def _measured(c: Compared, k: int, other: Contender) -> Measured:
    d = c.reported
    return Measured(
        c.benchmark, k, (other, "bootstrapped"), c.first, c.second, Estimate(d.value, d.low, d.high, d.n), c.points
    )


def shown_regions(params: Params) -> tuple[int, ...]:
    """The numbers of regions shown: none, and with benchmark.k > 0 that many."""
    return (0, params.benchmark.k) if params.benchmark.k else (0,)


def _figure(k: int, runs: Mapping[str, Mapping[str, ScoredFolder]]) -> bytes:
    names = list(runs["base"])
    labels = [str(runs["base"][name].scores["title"]) for name in names]
    series = [
        Series(
            which, [run[name].reported for name in names],
            {"other pictures": [run[name].scores["controls"]["shuffled"] for name in names]},
        )
        for which, run in runs.items()
    ]  # fmt: skip
    return bars(f"benchmarks, {k} regions beside the image", labels, series)


def _read_run(path: Path) -> Run:
    value = json.loads(path.read_text())
    return Run(value["model"], value["arm"], tuple(Prediction(**p) for p in value["predictions"]))


def _write_predictions(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink, compression="zstd")
    write_bytes(path, sink.getvalue().to_pybytes())


def _by_type(c: Comparison) -> bytes:
    rows = (*c.rows, c.macro)
    labels = [row.question_type for row in rows]
    constant = [row.majority for row in rows]
    base = Series("base", [r.base_accuracy for r in rows], {"most frequent answer": constant})
    boot = Series("bootstrapped", [r.boot_accuracy for r in rows], {"other pictures": [r.boot_shuffled for r in rows]})
    return bars(f"held-out questions, {c.arm}, by type", labels, [base, boot])


def numbers(c: Comparison) -> dict[str, float]:
    """A comparison as flat metrics: arm/question type/what."""
    flat: dict[str, float] = {}
    for row in (*c.rows, c.macro, c.overall):
        values = {
            "majority": row.majority, "base": row.base_accuracy.value, "boot": row.boot_accuracy.value,
            "gain": row.accuracy_gain.value, "gain low": row.accuracy_gain.low, "gain high": row.accuracy_gain.high,
            "margin base": row.base_margin.value, "margin boot": row.boot_margin.value,
            "margin gain": row.margin_gain.value, "margin gain low": row.margin_gain.low,
        }  # fmt: skip
        flat.update({f"{c.arm}/{row.question_type}/{name}": value for name, value in values.items()})
    return flat
