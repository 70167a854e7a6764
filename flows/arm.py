"""One arm of an ablation with one seed, as a stage of ablations/NAME/dvc.yaml: `python -m flows.arm NAME ARM SEED`.

Trains on what the last round annotated, or what is annotated anew in the arm's params, with that seed; then asks and
scores. Checkpoints and the cache lie outside of what DVC removes before a run, so a killed arm goes on.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import yaml
from prefect import flow

from flows.describe import describe
from flows.merge import merge
from flows.propose import propose
from flows.session import run_stage
from flows.synthesize import synthesize
from ouro.ablations.grid import GridError, annotates, overrides
from ouro.core.json_text import parse_json
from ouro.core.layout import PIPELINE, Layout
from ouro.core.params import Params, load_params
from ouro.core.state import CHECKOUT
from tasks import screen
from tasks.ablation import place, score_arm
from tasks.asking import held_out_count
from tasks.benchmark import shown_regions
from tasks.train import train
from tasks.versions import dataset_digests

ARMS = "arms.yaml"


def read_arm(name: str, arm: str) -> dict[str, Any]:
    """The params that an arm sets, by key, from ablations/NAME/arms.yaml. Raises GridError."""
    path = Path("ablations") / name / ARMS
    content = yaml.safe_load(path.read_text()) if path.is_file() else {}
    if arm not in content:
        raise GridError(
            f"{path}: got no arm {arm!r}, expected one of {', '.join(content) or 'none'}. Fix: `ouro ablate` writes it"
        )
    return content[arm]


def annotated(params: Params, values: dict[str, Any], layout: Layout) -> Layout:
    """The layout of the arm's annotations: the round's, or new ones of the round's images with the arm's params.

    Unchanged shards come from the cache."""
    if not annotates(values):
        return layout
    parts = {"seed", "model", "ingest", "propose", "describe", "merge", "synthesize"}
    images = [dataset_digests().get(f"data.{folder}") for folder in (layout.images, layout.annotations)]
    fingerprint_input = json.dumps([params.model_dump(mode="json", include=parts), images], sort_keys=True)
    annotations = Layout(
        CHECKOUT.annotations / hashlib.sha256(fingerprint_input.encode()).hexdigest()[:16], layout.cache
    )
    annotations.root.mkdir(parents=True, exist_ok=True)
    for link, folder in ((annotations.images, layout.images), (annotations.annotations, layout.annotations)):
        if not link.is_symlink():
            link.symlink_to(folder.resolve())
    for stage in (propose, describe, merge, synthesize):
        stage(params, annotations)
    return annotations


@flow(name="arm", flow_run_name="{name} {arm} seed {seed}", validate_parameters=False)
def arm_flow(name: str, arm: str, seed: int, layout: Layout = PIPELINE) -> None:
    """Train, ask, score. Raises what these raise."""
    values = read_arm(name, arm)
    params = load_params(overrides=overrides(values))
    paths = place(name, arm, seed)
    layout = annotated(params, values, layout)
    with screen.steps("train") as on_step:
        train(layout, params.model_copy(update={"seed": seed, "round": 1}), paths.adapter, on_step)
    answers = 4 * held_out_count(layout) * len(shown_regions(params))
    about = {
        "arm": arm, "seed": seed, "set": values, "k": params.train.k, "supervision": params.train.supervision,
    }  # fmt: skip
    with screen.progress("benchmark", answers, "answers") as advance:
        scores = score_arm(about, layout, params, paths, advance)
    figures = parse_json(scores.read_text())["figures"]
    accuracy, base = (100 * figures[f"image/{what}/macro-average"] for what in ("accuracy", "base"))
    screen.say(f"{arm}, seed {seed}: image alone {accuracy:.1f}, the base {base:.1f}")


def main(arguments: list[str]) -> None:
    """Exits 2 on an error of the person's making."""
    if len(arguments) != 3 or not arguments[2].isdecimal():
        sys.exit(f"got {' '.join(arguments) or 'nothing'}, expected: python -m flows.arm NAME ARM SEED")
    run_stage(arm_flow, {"name": arguments[0], "arm": arguments[1], "seed": int(arguments[2])})


if __name__ == "__main__":
    main(sys.argv[1:])
