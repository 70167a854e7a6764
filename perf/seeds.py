"""Three seeds of one training against another: `uv run python perf/seeds.py [--arms shared separate conversation]`.

Needs the outputs of `ouro bootstrap` in data/. Trains one adapter per seed and arm on the same images and regions, and
scores each, and the base, on the same held-out questions (image alone), with the same images shuffled:

    ours          merged descriptions and synthesized pairs, as params.yaml has them
    orig          the coarse captions and questions of the collection; its rows are shorter, so it is given as many
                  epochs more as bring it to the same number of tokens
    shared        as ours: an image once, its description and each question a branch of its own
    separate      the images repeated for each of them
    conversation  description and questions in one causal sequence, where answers can be copied from what stands before

Every arm after the first is compared with the first, on the same seed and over all seeds. Two processes of one thread
each run side by side; what is finished is kept in --work under a key of all that decides it, so that a killed run
continues. Writes --out and prints it as a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ouro.benchmarks.comparison import Comparison
    from ouro.core.params import Params
    from ouro.training.job import TrainingJob


ARMS = {
    "base": (),
    "ours": (),
    "orig": ("train.supervision=orig",),
    "shared": (),
    "separate": ("train.packing=separate",),
    "conversation": ("train.packing=conversation",),
}
# One process has what two had in a step, in one row that nothing pads.
BOTH = ("train.processes=1", "train.batch_size=16", "train.row_tokens=16384")


def _params(arm: str, epochs: int = 0) -> Params:
    from ouro.core.params import load_params

    epochs_override = (f"train.epochs={epochs}",) if epochs else ()
    return load_params(overrides=(*BOTH, *ARMS[arm], *epochs_override))


def _job(params: Params, seed: int, work: Path, out: Path) -> TrainingJob:
    from ouro.core.layout import PIPELINE
    from tasks.train import training_job

    return replace(training_job(PIPELINE, params, out), seed=seed, checkpoints=work / "checkpoints")


def tokens_a_row(arm: str, rows: int = 400) -> float:
    """Mean length of the first epoch's samples: compute is proportional to it, to a few percent."""
    from ouro.training.rows import RowDataset
    from ouro.vision.encoding import Encoder
    from ouro.vision.hf import load_model

    params = _params(arm)
    dataset = RowDataset(_job(params, 0, Path(), Path()), Encoder(load_model(params.model.base)[1]))
    lengths = [sum(row.ids.numel() for row in dataset[i].rows) for i in range(min(rows, len(dataset)))]
    return sum(lengths) / len(lengths)


def run_one(arm: str, seed: int, work: Path, epochs: int) -> None:
    """Train (unless it is the base) and answer the held-out questions; writes work/<arm>-<seed>.json."""
    import torch

    from ouro.benchmarks.items import HELD_OUT
    from ouro.benchmarks.run_folder import RUN
    from ouro.core.artifacts import write_json
    from ouro.core.layout import PIPELINE, Layout
    from ouro.training.checkpoints import checkpoint_key
    from ouro.training.lora import train_adapter
    from tasks.benchmark import ask_model

    torch.set_num_threads(1)
    params = _params(arm, epochs)
    out, run = work / f"{arm}-{seed}.json", work / "runs" / f"{arm}-{seed}"
    adapter = None if arm == "base" else work / f"{arm}-{seed}"
    job = _job(params, seed, work, adapter or work)
    key = [checkpoint_key(job), params.benchmark.model_dump_json(), *_digests()]
    if out.is_file() and json.loads(out.read_text())["key"] == key:
        return
    summary = train_adapter(job) if adapter else None
    params = params.model_copy(update={"model": params.model.model_copy(update={"processes": 1})})
    write_json(run / RUN, {"label": f"{arm}-{seed}", "k": 0})
    ask_model(HELD_OUT, run, 0, adapter, Layout(PIPELINE.root, work / "cache"), params, lambda n: None)
    write_json(out, {"key": key, **({"steps": summary.steps, "tokens": summary.tokens} if summary else {})})


def _digests() -> list[str]:
    from ouro.core.code import code_fingerprint
    from ouro.core.files import fingerprint_files
    from ouro.core.layout import PIPELINE
    from tasks.benchmark_sources import question_files

    files = [*question_files(PIPELINE), PIPELINE.images]
    return [code_fingerprint(["ouro.benchmarks.asking"], ("ouro",)), fingerprint_files(files)]


def table(work: Path, arms: list[str], seeds: list[int]) -> dict[str, Any]:
    """Accuracy and grounded margin (macro over question types) of every arm, and differences to base and first arm."""
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        rows += [_row(work, arm, seed) for arm in arms]
        rows += [_difference(work, arms[0], other, seed) for other in arms[1:]]
    return {"rows": rows, "all seeds": [_over_seeds(rows, arms[0], other) for other in arms[1:]]}


def _read(work: Path, name: str) -> dict[str, Any]:
    return json.loads((work / f"{name}.json").read_text())


def _compared(work: Path, first: str, second: str) -> Comparison:
    from ouro.benchmarks.comparison import compare_runs
    from ouro.benchmarks.run_folder import read_run

    runs = [read_run(work / "runs" / name, name) for name in (first, second)]
    (comparison,) = compare_runs(*runs, resamples=2000, seed=0)
    return comparison


def _row(work: Path, arm: str, seed: int) -> dict[str, Any]:
    c = _compared(work, "base-0", f"{arm}-{seed}")
    m = c.macro
    cost = {name: _read(work, f"{arm}-{seed}")[name] for name in ("tokens", "steps")}
    assert m.margin_gain is not None
    return {
        "seed": seed, "arm": arm, **cost, "n": m.n, "images": c.n_images, "majority": m.majority,
        "base": m.base_accuracy.to_json(), "base_shuffled": m.base_shuffled,
        "accuracy": m.boot_accuracy.to_json(), "shuffled": m.boot_shuffled,
        "gain": m.accuracy_gain.to_json(), "margin_gain": m.margin_gain.to_json(),
        "by_type": {r.question_type: [r.base_accuracy.value, r.boot_accuracy.value] for r in c.rows},
    }  # fmt: skip


def _difference(work: Path, arm: str, other: str, seed: int) -> dict[str, Any]:
    c = _compared(work, f"{other}-{seed}", f"{arm}-{seed}")
    return {"seed": seed, "arm": f"{arm} - {other}", "gain": c.macro.accuracy_gain.to_json()}


def _over_seeds(rows: list[dict[str, Any]], arm: str, other: str) -> dict[str, Any]:
    """Mean difference over the seeds with Student's 95% interval: seeds are what is drawn here, not questions."""
    import numpy as np
    from scipy.stats import t

    gains = np.array([r["gain"]["value"] for r in rows if r["arm"] == f"{arm} - {other}"])
    half = t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    mean = float(gains.mean())
    return {"arm": f"{arm} - {other}", "gain": {"value": mean, "low": mean - half, "high": mean + half}}


def markdown(result: dict[str, Any]) -> str:
    """The table of the README, in percentage points."""
    head = (
        "| seed | trained on | tokens | accuracy | shuffled images | gain over base | gain of the grounded margin |\n"
    )
    lines = [head + "|---|---|---|---|---|---|---|"]
    for r in result["rows"]:
        gain = _points(r["gain"], sign=True)
        if "accuracy" not in r:
            lines.append(f"| {r['seed']} | difference {r['arm']} | | | | {gain} | |")
            continue
        cells = [
            str(r["seed"]), r["arm"], f"{r['tokens'] / 1e6:.2f} M", _points(r["accuracy"]),
            f"{100 * r['shuffled']:.1f}", gain, _points(r["margin_gain"], sign=True),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        f"| all | mean difference {r['arm']} | | | | {_points(r['gain'], sign=True)} | |" for r in result["all seeds"]
    ]
    r = result["rows"][0]
    foot = f"\nbase: {_points(r['base'])}, shuffled images {100 * r['base_shuffled']:.1f}, most frequent answer "
    foot += f"{100 * r['majority']:.1f}; {r['n']} questions on {r['images']} images, mean over question types"
    return "\n".join([*lines, foot])


def _points(e: dict[str, float], *, sign: bool = False) -> str:
    f = "+.1f" if sign else ".1f"
    return f"{100 * e['value']:{f}} [{100 * e['low']:{f}}, {100 * e['high']:{f}}]"


def main() -> None:
    """Command line: arms, seeds, where to keep the finished parts, how many run side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=[a for a in ARMS if a != "base"], default=["ours", "orig"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="instead of those of params.yaml")
    parser.add_argument("--work", type=Path, default=Path(".ouro/seeds"))
    parser.add_argument("--out", type=Path, default=Path("docs/seeds.json"))
    parser.add_argument("--side-by-side", type=int, default=2)
    parser.add_argument("--one", nargs=3, metavar=("ARM", "SEED", "EPOCHS"), help="run this one only")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.one:
        return run_one(args.one[0], int(args.one[1]), args.work, int(args.one[2]))
    epochs = {arm: args.epochs or _params(arm).train.epochs for arm in args.arms}
    if "orig" in args.arms:
        epochs["orig"] = round(epochs["orig"] * tokens_a_row("ours") / tokens_a_row("orig"))

    def start(job: tuple[str, int]) -> None:
        one = [job[0], str(job[1]), str(epochs.get(job[0], 0))]
        subprocess.run([sys.executable, __file__, "--work", str(args.work), "--one", *one], check=True)
        print(f"{job[0]}, seed {job[1]}: done", flush=True)

    with ThreadPoolExecutor(args.side_by_side) as pool:
        list(pool.map(start, [("base", 0), *((arm, seed) for seed in args.seeds for arm in args.arms)]))
    from ouro.core.artifacts import write_json

    result = table(args.work, args.arms, args.seeds)
    write_json(args.out, result)
    print(markdown(result))


if __name__ == "__main__":
    main()
