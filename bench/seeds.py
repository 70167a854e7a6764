"""Three seeds, Ouro's annotations against the collection's own, at equal compute: `uv run python bench/seeds.py`.

Needs the outputs of `ouro bootstrap` in data/. Trains one adapter per seed and supervision ("ours": merged
descriptions and synthesized pairs; "orig": the coarse captions and questions of the collection) with the same
steps, rows and regions, and scores each, and the base, on the same held-out questions (image alone), with the
same images shuffled. Two processes of one thread each run side by side; what is finished is kept in --work, so
that a killed run continues. Writes docs/seeds.json and prints the Markdown table of the README.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ARMS = ("base", "ours", "orig")


def run_one(supervision: str, seed: int, work: Path) -> None:
    """Train (unless it is the base) and answer the held-out questions; writes work/<supervision>-<seed>.json."""
    import numpy as np
    import torch

    from ouro.artifacts import read_all, write_json
    from ouro.benchmarks.answering import vlm_answerer
    from ouro.benchmarks.controls import wrong_images
    from ouro.benchmarks.evaluate import evaluate
    from ouro.benchmarks.vqa import read_vqa
    from ouro.params import load_params
    from ouro.records import Image
    from ouro.vision.hf import HFVisionLM
    from tasks.layout import PIPELINE
    from tasks.shards import Pictures
    from tasks.train import samples

    torch.set_num_threads(1)
    wanted = "ours" if supervision == "base" else supervision
    params = load_params(overrides=(f"train.supervision={wanted}", "train.processes=1", "train.batch_size=16"))
    adapter = None
    if supervision != "base":
        from ouro.training.lora import train_adapter

        adapter = work / f"{supervision}-{seed}"
        train_adapter(
            samples(PIPELINE, params),
            images=PIPELINE.images,
            base=params.model.base,
            out=adapter,
            params=params.train,
            prompt=params.describe.prompt,
            seed=seed,
            checkpoints=work / "checkpoints",
        )
    files = [PIPELINE.annotations / f"test_{name}.json" for name in ("questions", "annotations")]
    questions = read_vqa(files[0], files[1])
    asked = {q.image_id for q in questions}
    images = [i for i in read_all(PIPELINE.images, Image) if i.image_id in asked]
    vlm = HFVisionLM(params.model.base, adapter, batch_size=params.benchmark.batch_size)
    answer = vlm_answerer(vlm, Pictures(images, PIPELINE.images, 10**8), {}, params.benchmark)
    wrong = wrong_images(asked, np.random.default_rng(0))
    run = evaluate(questions, answer, model=f"{supervision}-{seed}", arm="image", wrong=wrong)
    write_json(work / f"{supervision}-{seed}.json", run.to_json())


def table(work: Path, seeds: list[int]) -> dict[str, Any]:
    """Accuracy and grounded margin (macro over question types) of every arm, and differences to base and orig."""
    from ouro.benchmarks.evaluate import Prediction, Run
    from ouro.benchmarks.summary import compare

    def load(name: str) -> Run:
        value = json.loads((work / f"{name}.json").read_text())
        return Run(value["model"], value["arm"], tuple(Prediction(**p) for p in value["predictions"]))

    base = load("base-0")
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        for supervision in ("ours", "orig"):
            c = compare(base, load(f"{supervision}-{seed}"), resamples=2000, seed=0)
            m = c.macro
            rows.append(
                {
                    "seed": seed, "supervision": supervision, "n": m.n, "images": c.n_images, "majority": m.majority,
                    "base": m.base_accuracy.to_json(), "base_shuffled": m.base_shuffled,
                    "accuracy": m.boot_accuracy.to_json(), "shuffled": m.boot_shuffled,
                    "gain": m.accuracy_gain.to_json(), "margin_gain": m.margin_gain.to_json(),
                    "by_type": {r.question_type: [r.base_accuracy.value, r.boot_accuracy.value] for r in c.rows},
                }
            )  # fmt: skip
        c = compare(load(f"orig-{seed}"), load(f"ours-{seed}"), resamples=2000, seed=0)
        rows.append({"seed": seed, "supervision": "ours - orig", "gain": c.macro.accuracy_gain.to_json()})
    return {"rows": rows}


def markdown(result: dict[str, Any]) -> str:
    """The table of the README, in percentage points."""
    head = "| seed | trained on | accuracy | shuffled images | gain over base | gain of the grounded margin |\n"
    lines = [head + "|---|---|---|---|---|---|"]
    for r in result["rows"]:
        gain = _points(r["gain"], sign=True)
        if r["supervision"] == "ours - orig":
            lines.append(f"| {r['seed']} | difference ours - orig | | | {gain} | |")
            continue
        lines.append(
            f"| {r['seed']} | {r['supervision']} | {_points(r['accuracy'])} | {100 * r['shuffled']:.1f} | {gain} "
            f"| {_points(r['margin_gain'], sign=True)} |"
        )
    r = result["rows"][0]
    foot = f"\nbase: {_points(r['base'])}, shuffled images {100 * r['base_shuffled']:.1f}, most frequent answer "
    foot += f"{100 * r['majority']:.1f}; {r['n']} questions on {r['images']} images, mean over question types"
    return "\n".join([*lines, foot])


def _points(e: dict[str, float], *, sign: bool = False) -> str:
    f = "+.1f" if sign else ".1f"
    return f"{100 * e['value']:{f}} [{100 * e['low']:{f}}, {100 * e['high']:{f}}]"


def main() -> None:
    """Command line: seeds, where to keep the finished parts, how many run side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path(".ouro/seeds"))
    parser.add_argument("--side-by-side", type=int, default=2)
    parser.add_argument("--one", nargs=2, metavar=("SUPERVISION", "SEED"), help="run this one only")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.one:
        return run_one(args.one[0], int(args.one[1]), args.work)
    jobs = [("base", 0), *((s, seed) for seed in args.seeds for s in ("ours", "orig"))]
    todo = [job for job in jobs if not (args.work / f"{job[0]}-{job[1]}.json").is_file()]

    def start(job: tuple[str, int]) -> None:
        command = [sys.executable, __file__, "--work", str(args.work), "--one", job[0], str(job[1])]
        subprocess.run(command, check=True)
        print(f"{job[0]}, seed {job[1]}: done", flush=True)

    with ThreadPoolExecutor(args.side_by_side) as pool:
        list(pool.map(start, todo))
    from ouro.artifacts import write_json

    result = table(args.work, args.seeds)
    write_json(Path("docs/seeds.json"), result)
    print(markdown(result))


if __name__ == "__main__":
    main()
