"""Is `ouro estimate` right about the nano round? `uv run python bench/estimate.py` in a checkout whose round is done.

Predicts the seconds of every stage from a calibration that has not seen the round: a nano world of its own (--scenes,
another seed) is proposed, described, merged, asked about, trained on (some 30 steps) and benchmarked; that gives each
stage's start-up (from a world of one scene) and its seconds a unit of work (FLOPs where a VLM works, else images). The
work of the round is then counted by ouro.estimate from the params and from what that small world looks like, and the
product compared with .ouro/last-round.json. Of the round itself only the params and the number of benchmark questions
are used, which are known before anything is spent. The machine has to be as quiet as it was during the round.

Prints predicted and measured seconds and their ratio; exit code 1 when the whole is off by more than 30%.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flows.estimate import LAST, done
from ouro.architecture import Grid
from ouro.estimate import COUNTED, Estimate, Inputs, estimate
from ouro.flops import step_flops
from ouro.nano.world import write_world
from ouro.params import Params, load_params
from ouro.rates import rates
from tasks.layout import PIPELINE, Layout, shard_names

TOLERANCE = 0.3
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

    def work(self) -> Estimate:
        given, images = done(self.params, self.layout.root)
        return estimate(given, images, UNUSED)


def draw(root: Path, params: Params, train: int, test: int) -> World:
    """Scenes of another seed than the round's."""
    sizes = params.ingest.model_copy(update={"train_images": train, "test_images": test})
    own = params.model_copy(update={"ingest": sizes, "seed": params.seed + SEED})
    layout = Layout(root / "data", root / ".ouro/cache")
    write_world(layout.images, layout.annotations, own.ingest, own.seed)
    return World(layout, own)


def seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def annotation_stages() -> dict[str, Callable[[World], None]]:
    """The stages before training, as their tasks do them, without Prefect around."""
    from tasks.describe import describe
    from tasks.merge import merge
    from tasks.propose import propose
    from tasks.synthesize import synthesize

    def over(task: Callable[..., object]) -> Callable[[World], None]:
        def run(world: World) -> None:
            for name in shard_names(world.layout.images):
                task(name, world.layout, world.params)

        return run

    tasks = {"propose": propose, "describe": describe, "merge": merge, "synthesize": synthesize}
    return {stage: over(task.fn) for stage, task in tasks.items()}


def answer(world: World) -> None:
    """The base answers in every arm."""
    from tasks.benchmark import answer as task
    from tasks.benchmark import arms

    for arm in arms(world.params):
        task.fn("base", arm, world.layout, world.params, Path("none"))


def pace(stage: str, run: Callable[[World], None], tiny: World, small: World) -> Pace:
    """From a world of one scene and one of some."""
    first, then = seconds(lambda: run(tiny)), seconds(lambda: run(small))
    share = 0.5 if stage == "benchmark" else 1.0  # one model of two
    unit = then / (share * units(stage, small.work()))
    return Pace(max(0.0, first - unit * share * units(stage, tiny.work())), unit)


def units(stage: str, made: Estimate) -> float:
    """FLOPs where a VLM does the work, else images."""
    flops = next(s.flops for s in made.stages if s.stage == stage)
    return flops if stage in COUNTED and flops else made.images


def train_pace(world: World, root: Path) -> Pace:
    """Seconds until the first step and seconds a FLOP of the rows that the steps saw."""
    from ouro.training.launch import train
    from tasks.train import training_job

    job = training_job(world.layout, world.params, root / "adapter")
    started, at = time.monotonic(), list[float]()

    def on_log(step: int, of: int, values: dict[str, float]) -> None:
        if step > len(at):
            at.append(time.monotonic())

    train(job, on_log)
    ended = time.monotonic()
    t = world.params.train
    rows = t.batch_size * t.processes * t.accumulation
    flops = seen_flops(world, rows, (len(at) - 1) * rows)
    unit = (at[-1] - at[0]) / flops
    return Pace(max(0.0, ended - started - (at[-1] - at[0]) * len(at) / (len(at) - 1)), unit)


def seen_flops(world: World, start: int, n: int) -> float:
    """FLOPs of `n` rows from number `start` on, counted row by row."""
    from ouro.training.samples import Rows
    from ouro.vision.encoding import Encoder
    from ouro.vision.hf import load_processor
    from tasks.train import training_job

    given, _ = done(world.params, world.layout.root)
    job = training_job(world.layout, world.params, Path("none"))
    rows = Rows(job, Encoder(load_processor(world.params.model.base)))
    return sum(row_flops(given, rows[i]) for i in range(start, min(start + n, len(rows))))


def row_flops(given: Inputs, encoded: object) -> float:
    """FLOPs of one packed row: every token sees the prefix and its own branch, up to itself."""
    from ouro.training.packing import tree_mask
    from ouro.training.samples import Encoded

    assert isinstance(encoded, Encoded)
    grids: list[Grid] = [(int(t), int(h), int(w)) for t, h, w in encoded.pixels["image_grid_thw"].tolist()]
    attended = float(tree_mask(encoded.row.branch[None]).sum())
    learnt = float((encoded.row.weights > 0).sum())
    return step_flops(given.arch, grids, encoded.row.ids.numel(), attended, learnt, given.params.train)


def calibrate(root: Path, params: Params, scenes: int) -> tuple[dict[str, Pace], World]:
    """The pace of every stage on this machine."""
    tiny, small = draw(root / "tiny", params, 1, 2), draw(root / "small", params, scenes, scenes)
    paces: dict[str, Pace] = {}
    for stage, run in annotation_stages().items():
        paces[stage] = pace(stage, run, tiny, small)
        print(f"calibrated {stage}: {paces[stage].startup:.1f} s to start", flush=True)
    paces["train"] = train_pace(small, root)
    paces["benchmark"] = pace("benchmark", answer, tiny, small)
    return paces, small


def predict(paces: dict[str, Pace], small: World, params: Params) -> dict[str, float]:
    """Seconds of each stage of the round."""
    given, _ = done(small.params, small.layout.root)
    asked = len(json.loads((PIPELINE.annotations / "test_questions.json").read_text())["questions"])
    known = given._replace(params=params, values=given.values.__class__(**{**vars(given.values), "asked": asked}))
    made = estimate(known, params.ingest.train_images, UNUSED)
    starts = {"benchmark": 2}  # the base, and the base with the adapter
    return {stage: p.startup * starts.get(stage, 1) + p.unit * units(stage, made) for stage, p in paces.items()}


def main() -> int:
    """Exit code 1 when the sum is off by more than TOLERANCE."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=20)
    args = parser.parse_args()
    if not LAST.is_file():
        print(f"no {LAST}: run `uv run ouro bootstrap` first", file=sys.stderr)
        return 2
    measured: dict[str, float] = json.loads(LAST.read_text())["work"]
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(sys.stderr):
        params = load_params()
        predicted = predict(*calibrate(Path(folder), params, args.scenes), params)
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
