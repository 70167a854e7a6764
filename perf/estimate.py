"""Is `ouro estimate` right about the nano round? `uv run python perf/estimate.py` in a checkout whose round is done.

Predicts the seconds of every stage from a calibration that has not seen the round: a nano world of its own (--scenes,
another seed) is proposed, described, merged, asked about, trained on (some 30 steps) and benchmarked, each stage in a
process of its own; that gives its start-up, imports and models included (from a world of one scene), and its seconds a
unit of work (FLOPs where a VLM works, else images). The work of the round is then counted by ouro.costs.estimate from
the params and from what that small world looks like, and the product compared with .ouro/last-round.json. Of the round
itself only the params and the number of benchmark questions are used, which are known before anything is spent. The
machine has to be as quiet as it was during the round.

Prints predicted and measured seconds and their ratio; exit code 1 when the whole is off by more than 30%.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ouro.core.layout import PIPELINE, Layout, shard_names
from ouro.core.params import Params, load_params
from ouro.core.rates import rates
from ouro.costs.estimate import FLOP_STAGES, CostEstimate, EstimateInputs, estimate_costs
from ouro.nano.world import write_world
from ouro.vision.architecture import Grid
from ouro.vision.flops import step_flops
from tasks.estimating import done
from tasks.timing import LAST_ROUND

if TYPE_CHECKING:
    from ouro.training.rows import EncodedImage

TOLERANCE = 0.3
BEFORE = ("propose", "describe", "merge", "synthesize")
SEED = 1_000_003  # added to that of the round: scenes it has not drawn
UNUSED = rates("h100", 0.5, 0.5, False)  # an estimate wants some; its seconds are not looked at


class Pace(NamedTuple):
    """Seconds until a stage works, and then for a unit of its work."""

    startup: float
    unit: float


class World(NamedTuple):
    """A small nano world with its folders, and the params that drew it."""

    layout: Layout
    params: Params

    def work(self) -> CostEstimate:
        inputs, images = done(self.params, self.layout.root)
        return estimate_costs(inputs, images, UNUSED)


def world(root: Path, params: Params, train: int, test: int) -> World:
    """The world in a folder, of another seed than the round's."""
    sizes = params.ingest.model_copy(update={"train_images": train, "test_images": test})
    run_params = params.model_copy(update={"ingest": sizes, "seed": params.seed + SEED})
    return World(Layout(root / "data", root / ".ouro/cache"), run_params)


def worlds(root: Path, params: Params, scenes: int) -> tuple[World, World]:
    """One of one scene, and one of some, with held-out scenes in the round's proportion: propose works on them, too."""
    test = max(2, round(scenes * params.ingest.test_images / params.ingest.train_images))
    return world(root / "tiny", params, 1, 2), world(root / "small", params, scenes, test)


def seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def annotate(stage: str, one: World) -> None:
    """A stage before training, as its task does it, without Prefect around."""
    task = importlib.import_module(f"tasks.{stage}")
    for name in shard_names(one.layout.images):
        getattr(task, stage).fn(name, one.layout, one.params)


def answer(one: World) -> None:
    """The base answers, with regions and without, though it may have answered before."""
    from ouro.benchmarks.items import HELD_OUT
    from tasks.benchmark import ask_benchmark, shown_regions

    shutil.rmtree(one.layout.cache.parent / "replies", ignore_errors=True)
    for k in shown_regions(one.params):
        ask_benchmark.fn(HELD_OUT, "base", k, one.layout, one.params, Path("none"))


def loads_again(one: World) -> World:
    """The same world with another batch size, for which models are loaded anew."""
    b = one.params.benchmark
    changed = b.model_copy(update={"batch_size": b.batch_size - 1})
    return one._replace(params=one.params.model_copy(update={"benchmark": changed}))


def child(stage: str, root: Path, scenes: int) -> None:
    """Print what a stage takes in this process: the first time, then on some scenes; the benchmark: a second load."""
    tiny, small = worlds(root, load_params(), scenes)
    importlib.import_module(f"tasks.{stage}")  # the stage's own process has it before its clock starts
    if stage == "benchmark":
        took = [seconds(lambda: answer(tiny)), seconds(lambda: answer(small))]
        took.append(seconds(lambda: answer(loads_again(tiny))))
    else:
        took = [seconds(lambda: annotate(stage, tiny)), seconds(lambda: annotate(stage, small))]
    print(json.dumps(took))


def pace(stage: str, root: Path, params: Params, scenes: int) -> Pace:
    """Of a stage other than training, run in a process of its own."""
    command = [sys.executable, __file__, "--scenes", str(scenes), "--one", stage, str(root)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"calibrating {stage} ended with {ended.returncode}:\n{ended.stderr[-4000:]}")
    took: list[float] = json.loads(ended.stdout.splitlines()[-1])
    tiny, small = worlds(root, params, scenes)
    share = 0.5 if stage == "benchmark" else 1.0  # one model of two
    unit = took[1] / (share * units(stage, small.work()))
    idle = unit * share * units(stage, tiny.work())
    return Pace(sum(max(0.0, start - idle) for start in (took[0], *took[2:])), unit)


def units(stage: str, estimate: CostEstimate) -> float:
    """FLOPs where a VLM does the work, else images."""
    flops = next(s.flops for s in estimate.stages if s.stage == stage)
    return flops if stage in FLOP_STAGES and flops else estimate.images


def train_pace(one: World, root: Path) -> Pace:
    """Seconds until the first step and seconds a FLOP of the rows that the steps saw."""
    from ouro.training.launch import train
    from tasks.train import training_job

    job = training_job(one.layout, one.params, root / "adapter")
    started, at = time.monotonic(), list[float]()

    def on_log(step: int, of: int, values: dict[str, float]) -> None:
        if step > len(at):
            at.append(time.monotonic())

    train(job, on_log)
    ended = time.monotonic()
    t = one.params.train
    rows = t.batch_size * t.processes * t.accumulation
    flops = seen_flops(one, rows, (len(at) - 1) * rows)
    unit = (at[-1] - at[0]) / flops
    return Pace(max(0.0, ended - started - (at[-1] - at[0]) * len(at) / (len(at) - 1)), unit)


def seen_flops(one: World, start: int, n: int) -> float:
    """FLOPs of `n` samples from number `start` on, counted one by one."""
    from ouro.training.rows import RowDataset
    from ouro.vision.encoding import Encoder
    from ouro.vision.folders import load_processor
    from tasks.train import training_job

    inputs, _ = done(one.params, one.layout.root)
    job = training_job(one.layout, one.params, Path("none"))
    rows = RowDataset(job, Encoder(load_processor(one.params.model.base)))
    return sum(sample_flops(inputs, rows[i]) for i in range(start, min(start + n, len(rows))))


def sample_flops(inputs: EstimateInputs, encoded: EncodedImage) -> float:
    """FLOPs of one image's rows: every token sees the prefix and its own branch, up to itself."""
    grids: list[Grid] = [(int(t), int(h), int(w)) for t, h, w in encoded.pixels["image_grid_thw"].tolist()]
    tokens = sum(row.ids.numel() for row in encoded.rows)
    learnt = float(sum(int((row.weights > 0).sum()) for row in encoded.rows))
    attended = float(sum(row.attended() for row in encoded.rows))
    return step_flops(inputs.arch, grids, tokens, attended, learnt, inputs.params.train)


def calibrate(root: Path, params: Params, scenes: int) -> dict[str, Pace]:
    """The pace of every stage on this machine."""
    both = worlds(root, params, scenes)
    for one in both:
        write_world(one.layout.images, one.layout.annotations, one.params.ingest, one.params.seed)
    paces: dict[str, Pace] = {}
    for stage in (*BEFORE, "train", "benchmark"):
        paces[stage] = train_pace(both[1], root) if stage == "train" else pace(stage, root, params, scenes)
        print(f"calibrated {stage}: {paces[stage].startup:.1f} s to start", flush=True)
    return paces


def predict(paces: dict[str, Pace], small: World, params: Params) -> dict[str, float]:
    """Seconds of each stage of the round."""
    inputs, _ = done(small.params, small.layout.root)
    n_questions = len(json.loads((PIPELINE.annotations / "test_questions.json").read_text())["questions"])
    question_inputs = inputs._replace(params=params, values=replace(inputs.values, asked=float(n_questions)))
    estimate = estimate_costs(question_inputs, params.ingest.train_images, UNUSED)
    return {stage: p.startup + p.unit * units(stage, estimate) for stage, p in paces.items()}


def main() -> int:
    """Exit code 1 when the sum is off by more than TOLERANCE."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--one", nargs=2, metavar=("STAGE", "FOLDER"), help="calibrate this one only, for itself")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    if args.one:
        child(args.one[0], Path(args.one[1]), args.scenes)
        return 0
    if not LAST_ROUND.is_file():
        print(f"no {LAST_ROUND}: run `uv run ouro bootstrap` first", file=sys.stderr)
        return 2
    measured: dict[str, float] = json.loads(LAST_ROUND.read_text())["work"]
    with tempfile.TemporaryDirectory() as folder:
        params = load_params()
        paces = calibrate(Path(folder), params, args.scenes)
        predicted = predict(paces, worlds(Path(folder), params, args.scenes)[1], params)
    return compare(predicted, measured)


def compare(predicted: dict[str, float], measured: dict[str, float]) -> int:
    """The table; stages that the round did not run (they were up to date) are left out."""
    shared = [stage for stage in predicted if stage in measured]
    if not shared:
        print("the last round ran no stage: all were up to date", file=sys.stderr)
        return 2
    print(f"{'stage':<12}{'predicted s':>12}{'measured s':>12}{'ratio':>8}")
    for stage in shared:
        print(f"{stage:<12}{predicted[stage]:>12.1f}{measured[stage]:>12.1f}{predicted[stage] / measured[stage]:>8.2f}")
    ratio = sum(predicted[s] for s in shared) / sum(measured[s] for s in shared)
    print(
        f"{'all':<12}{sum(predicted[s] for s in shared):>12.1f}{sum(measured[s] for s in shared):>12.1f}{ratio:>8.2f}"
    )
    return int(abs(ratio - 1) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
