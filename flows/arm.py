"""One arm of an ablation with one seed: `python -m flows.arm ABLATION ARM SEED`, as DVC's matrix starts it."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import yaml
from prefect import flow

from flows import screen
from flows.describe import describe
from flows.ingest import ingest
from flows.merge import merge
from flows.propose import propose
from flows.runner import run_stage
from flows.synthesize import synthesize
from ouro.ablation import Arm
from ouro.artifacts import write_json
from ouro.benchmarks.vqa import read_vqa
from ouro.params import Params, load_params
from tasks import tracking
from tasks.ablation import SCORES, log_arm, score_arm, train_arm
from tasks.benchmark import arms, question_files
from tasks.layout import PIPELINE, Layout

FOLDER = Path("ablations")
ARMS = "arms.yaml"


def read_arm(ablation: str, name: str) -> Arm:
    """What arms.yaml says of an arm."""
    content = yaml.safe_load((FOLDER / ablation / ARMS).read_text())[name]
    return Arm(name, content["label"], tuple(content["set"]))


def annotated(params: Params, arm: Arm) -> Layout:
    """Where the arm's annotations are: the round's own, or made for its params, unchanged shards from the cache."""
    if not arm.annotates:
        return PIPELINE
    decisive = json.dumps(params.model_dump(mode="json", exclude={"train", "benchmark", "gate", "bootstrap", "round"}))
    layout = Layout(Path(".ouro/ablations") / hashlib.sha256(decisive.encode()).hexdigest()[:16], PIPELINE.cache)
    for stage in (ingest, propose, describe, merge, synthesize):
        stage(params, layout)
    return layout


def run_arm(ablation: str, name: str, seed: int) -> None:
    """Train and score one arm; writes ablations/ABLATION/NAME/seed-N. Raises what its stages raise."""
    arm = read_arm(ablation, name)
    params = load_params(overrides=arm.overrides)
    out = FOLDER / ablation / name / f"seed-{seed}"
    tags = {"ablation": ablation, "arm": arm.label, "seed": str(seed), "k": str(params.train.k)}
    kept = Path(f".ouro/ablations/{ablation}-{name}-{seed}.mlflow")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tracking.run(
        f"{arm.label}, seed {seed}", {**tags, "supervision": params.train.supervision}, continued=kept
    ) as run:
        run.params({"seed": seed, "train": params.train.model_dump(), "benchmark": params.benchmark.model_dump()})
        layout = annotated(params, arm)
        with tracking.parent_of_children(run), screen.steps("train") as on_step:
            adapter = train_arm(params, seed, layout, out, on_step)
        asked = 2 * len(read_vqa(*question_files(layout))) * len(arms(params))
        with screen.progress("benchmark", asked, "answers") as advance:
            made = score_arm(params, layout, out, adapter, advance)
        log_arm(run, made)
        write_json(out / SCORES, {"arm": arm.label, "seed": seed, "run": run.run_id, "scores": made})
        run.artifact(out / SCORES)


def main(arguments: list[str]) -> None:
    """Exits 2 on an error of the person's making."""
    if len(arguments) != 3 or not arguments[2].isdecimal():
        sys.exit(f"got {arguments}, expected: python -m flows.arm ABLATION ARM SEED")

    ablation, name, seed = arguments

    @flow(name="arm", flow_run_name=f"{ablation} {name} seed {seed}", validate_parameters=False)
    def body(params: Params, layout: Layout) -> None:
        run_arm(ablation, name, int(seed))

    run_stage(body)


if __name__ == "__main__":
    main(sys.argv[1:])
