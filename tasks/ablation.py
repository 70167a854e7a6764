"""One arm of an ablation with one seed: what it scores on the held-out questions and on benchmark.names.

Everything goes into one folder, which DVC keeps: scores.json, predictions.parquet, and a folder for each benchmark.
`figures` of scores.json are flat, as MLflow's metrics: "image/accuracy/color", "docvqa/k5/score", shares of one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ouro.benchmarks.evaluate import Arm as View
from ouro.benchmarks.evaluate import Prediction, Run
from ouro.benchmarks.loaders.registry import benchmark
from ouro.benchmarks.scored import Score
from ouro.benchmarks.summary import compare, summarise
from ouro.core.artifacts import write_bytes, write_json
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.state import CHECKOUT
from tasks.asking import open_source, run_benchmark
from tasks.benchmark import answer, arms, shown_regions
from tasks.shards import Progress
from tasks.train import LOG

SCORES, PREDICTIONS = "scores.json", "predictions.parquet"
VIEWS: dict[View, str] = {"image": "image", "image+regions": "regions"}  # as MLflow takes them in a metric's name


class Place(NamedTuple):
    """Where one training of an arm has its things: `out` is DVC's, `work` outlives what DVC removes before a run."""

    out: Path
    work: Path

    @property
    def adapter(self) -> Path:
        """Of the pipeline adapter's name, so that equal trainings share the cache."""
        return self.work / "adapter"


def place(name: str, arm: str, seed: int) -> Place:
    own = Path(name) / arm / f"seed-{seed}"
    return Place(Path("ablations") / own, CHECKOUT.ablations / own)


def score_arm(about: Mapping[str, Any], layout: Layout, params: Params, here: Place, progress: Progress) -> Path:
    """Ask base and adapter, the image alone and with regions; the base's answers come from the cache after the first
    time. Writes scores.json and predictions.parquet; `about` is put in front of the scores.

    The wrong images are drawn by the params' own seed: the same for every arm and seed. Raises BenchmarkFileError.
    """
    views: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for view in arms(params):
        asking = params if view != "image" else _without_regions(params)
        base, own = (
            _read(answer(which, view, layout, asking, here.adapter, progress)) for which in ("base", "bootstrapped")
        )
        views[VIEWS[view]] = _view(base, own, params)
        rows += replace(own, model=f"{about['arm']}, seed {about['seed']}").rows()
    named = {name: _named(name, layout, params, here, progress) for name in params.benchmark.names}
    tokens = _tokens(here.adapter)
    figures = {**_figures(views), **_named_figures(named), **({"tokens": tokens} if tokens else {})}
    _write_rows(here.out / PREDICTIONS, rows)
    scores = here.out / SCORES
    write_json(scores, {**about, "views": views, "benchmarks": named, "figures": figures})
    return scores


def _without_regions(params: Params) -> Params:
    """k = 0, so that arms of different k share what was asked about the image alone."""
    return params.model_copy(update={"benchmark": params.benchmark.model_copy(update={"k": 0})})


def _read(path: Path) -> Run:
    value = json.loads(path.read_text())
    return Run(value["model"], value["arm"], tuple(Prediction(**p) for p in value["predictions"]))


def _view(base: Run, own: Run, params: Params) -> dict[str, Any]:
    settings = {"resamples": params.benchmark.bootstrap_samples, "seed": params.seed}
    return {
        "arm": summarise(own, **settings).to_json(), "base": summarise(base, **settings).to_json(),
        "over base": compare(base, own, **settings).to_json(),
    }  # fmt: skip


def _figures(views: Mapping[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for view, made in views.items():
        for row in (*made["arm"]["rows"], made["arm"]["macro"]):
            kind = row["question_type"]
            flat |= {f"{view}/{what}/{kind}": row[what]["value"] for what in ("accuracy", "margin", "shuffled")}
            flat[f"{view}/majority/{kind}"] = row["majority"]
        for row in (*made["over base"]["rows"], made["over base"]["macro"]):
            kind = row["question_type"]
            flat[f"{view}/base/{kind}"] = row["base_accuracy"]["value"]
            flat |= {f"{view}/gain/{kind}": row["accuracy_gain"]["value"]}
            flat |= {f"{view}/margin gain/{kind}": row["margin_gain"]["value"]}
    return flat


def _named(name: str, layout: Layout, params: Params, here: Place, progress: Progress) -> dict[str, Any]:
    """One of benchmark.names: k regions shown -> scores of the arm and of the base."""
    made: dict[str, Any] = {}
    for k in shown_regions(params):
        folders = {"arm": here.out / f"k{k}", "base": here.work / f"base-k{k}"}
        scores = {who: _asked(name, k, layout, params, here, who, out, progress) for who, out in folders.items()}
        made[f"k{k}"] = {who: score.to_json() for who, score in scores.items() if score}
    return made


def _asked(
    name: str, k: int, layout: Layout, params: Params, here: Place, who: str, out: Path, progress: Progress
) -> Score | None:
    source = open_source(benchmark(name), Path(params.benchmark.folder), params.ingest.max_pixels)
    model = params.model.model_copy(update={"dtype": params.benchmark.dtype, "backend": "hf", "adapter": ""})
    return run_benchmark(
        source, params.model_copy(update={"model": model}), out, k=k, limit=params.benchmark.limit, protocol="",
        controls=True, cache=layout.state.replies, adapter=here.adapter if who == "arm" else None,
        progress=progress,
    )  # fmt: skip


def _named_figures(named: Mapping[str, Any]) -> dict[str, float]:
    return {f"{name}/{k}/{what}": value for name, ks in named.items() for k, who in ks.items()
            for what, value in _points(who)}  # fmt: skip


def _points(who: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The figure that tables print, its controls, and the base's."""
    for name, what in (("arm", "score"), ("base", "base")):
        if name in who:
            scores = who[name]
            which = "macro" if scores["macro"] else "micro"
            yield what, scores["figures"][scores["reported"]][which]["value"]
    for control, value in who.get("arm", {}).get("controls", {}).items():
        if value is not None:
            yield control, value


def _tokens(adapter: Path) -> float:
    """Tokens that the training saw."""
    curve = json.loads((adapter / LOG).read_text())
    return float(curve[-1]["tokens"]) if curve else 0.0


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink, compression="zstd")
    write_bytes(path, sink.getvalue().to_pybytes())
