"""One arm of an ablation with one seed: what it scores on the held-out questions and on benchmark.names.

Everything goes into one folder, which DVC keeps: scores.json, predictions.parquet, and a folder for each benchmark.
`figures` of scores.json are flat, as MLflow's metrics: "image/accuracy/color", "docvqa/k5/score", shares of one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ouro.benchmarks.comparison import Arm as View
from ouro.benchmarks.comparison import Comparison, compare
from ouro.benchmarks.intervals import Estimate
from ouro.benchmarks.items import HELD_OUT
from ouro.benchmarks.run_folder import RUN, prediction_rows, read_run, reported, write_rows
from ouro.core.artifacts import write_json
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.state import CHECKOUT
from tasks.benchmark import ask_model, asked_names, held_out_items, shown_regions
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
    folder = Path(name) / arm / f"seed-{seed}"
    return Place(Path("ablations") / folder, CHECKOUT.ablations / folder)


def score_arm(about: Mapping[str, Any], layout: Layout, params: Params, here: Place, progress: Progress) -> Path:
    """Ask base and adapter, the image alone and with regions; the base's replies are kept after the first time. Writes
    scores.json and predictions.parquet; `about` is put in front of the scores.

    The wrong images are drawn by the params' own seed: the same for every arm and seed. Raises BenchmarkFileError.
    """
    names, label = asked_names(layout, params), f"{about['arm']}, seed {about['seed']}"
    settings = {"seed": params.seed, "resamples": params.benchmark.bootstrap_samples}
    views: dict[str, Comparison] = {}
    rows: list[dict[str, Any]] = []
    named: dict[str, Any] = {name: {} for name in params.benchmark.names}
    for k in shown_regions(params):
        base, arm_folder = (_ask(names, k, layout, params, here, who, progress) for who in ("base", "arm"))
        runs = {"base": read_run(base, "base"), "arm": read_run(arm_folder, label)}
        for name in runs["arm"]:
            if name == HELD_OUT:
                c = compare(runs["base"][name], runs["arm"][name], **settings)
                views[VIEWS[c.arm]] = c
                rows += prediction_rows(runs["arm"][name], arm_folder / name, held_out_items(layout, params))
            else:
                named[name][f"k{k}"] = {who: run[name].scores for who, run in runs.items()}
    tokens = _tokens(here.adapter)
    figures = {**_figures(views), **_named_figures(named), **({"tokens": tokens} if tokens else {})}
    write_rows(here.out / PREDICTIONS, rows)
    comparisons = {view: c.to_json() for view, c in views.items()}
    path = here.out / SCORES
    write_json(path, {**about, "views": comparisons, "benchmarks": named, "figures": figures})
    return path


def _ask(
    names: Sequence[str], k: int, layout: Layout, params: Params, here: Place, who: str, progress: Progress
) -> Path:
    """Everything asked of base or arm with k regions; returns the folder of the run."""
    out = here.out / f"k{k}" if who == "arm" else here.work / f"base-k{k}"
    write_json(out / RUN, {"label": who, "model": params.model.base, "k": k})
    for name in names:
        ask_model(name, out, k, here.adapter if who == "arm" else None, layout, params, progress)
    return out


def _figures(views: Mapping[str, Comparison]) -> dict[str, float]:
    """Of the held-out questions, by type and as their mean."""
    flat: dict[str, float] = {}
    for view, c in views.items():
        for row in (*c.rows, c.macro):
            values = {
                "accuracy": row.boot_accuracy, "margin": row.boot_margin, "shuffled": row.boot_shuffled,
                "majority": row.majority, "base": row.base_accuracy, "gain": row.accuracy_gain,
                "margin gain": row.margin_gain,
            }  # fmt: skip
            for what, value in values.items():
                if value is not None:
                    number = value.value if isinstance(value, Estimate) else value
                    flat[f"{view}/{what}/{row.question_type}"] = number
    return flat


def _named_figures(named: Mapping[str, Any]) -> dict[str, float]:
    return {f"{name}/{k}/{what}": value for name, ks in named.items() for k, runs in ks.items()
            for what, value in _points(runs["arm"], runs["base"]).items()}  # fmt: skip


def _points(arm: dict[str, Any], base: dict[str, Any]) -> dict[str, float]:
    """The figure that tables print, its controls, and the base's."""
    controls = {control: value for control, value in arm["controls"].items() if value is not None}
    return {"score": reported(arm).value, "base": reported(base).value, **controls}


def _tokens(adapter: Path) -> float:
    """Tokens that the training saw."""
    curve = json.loads((adapter / LOG).read_text())
    return float(curve[-1]["tokens"]) if curve else 0.0
