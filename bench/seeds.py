"""Three seeds, Ouro's annotations against the collection's own, at equal compute: `uv run python bench/seeds.py`.

Needs the outputs of `ouro bootstrap` in data/. Trains one adapter per seed and supervision ("ours": merged
descriptions and synthesized pairs; "orig": the coarse captions and questions of the collection) on the same images
and regions, and scores each, and the base, on the same held-out questions (image alone), with the same images
shuffled. Rows of "orig" are shorter, so it is given as many epochs more as bring it to the same number of tokens.
Two processes of one thread each run side by side; what is finished is kept in --work under a key of all that
decides it, so that a killed run continues. Writes docs/seeds.json and prints the Markdown table of the README.
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
    from ouro.params import Params
    from ouro.training.samples import Job


def _params(supervision: str, longer: float = 1.0) -> Params:
    from ouro.params import load_params

    wanted = "ours" if supervision == "base" else supervision
    params = load_params(overrides=(f"train.supervision={wanted}", "train.processes=1", "train.batch_size=16"))
    epochs = round(params.train.epochs * longer)
    return params.model_copy(update={"train": params.train.model_copy(update={"epochs": epochs})})


def _job(params: Params, seed: int, work: Path, out: Path) -> Job:
    from tasks.layout import PIPELINE
    from tasks.train import training_job

    return replace(training_job(PIPELINE, params, out), seed=seed, checkpoints=work / "checkpoints")


def tokens_a_row(supervision: str, rows: int = 400) -> float:
    """Mean length of the first epoch's packed rows: compute is proportional to it, to a few percent."""
    from ouro.training.rows import Rows
    from ouro.vision.encoding import Encoder
    from ouro.vision.hf import load_model

    params = _params(supervision)
    made = Rows(_job(params, 0, Path(), Path()), Encoder(load_model(params.model.base)[1]))
    lengths = [made[i].rows[0].ids.numel() for i in range(min(rows, len(made)))]
    return sum(lengths) / len(lengths)


def run_one(supervision: str, seed: int, work: Path, longer: float) -> None:
    """Train (unless it is the base) and answer the held-out questions; writes work/<supervision>-<seed>.json."""
    import numpy as np
    import torch

    from ouro.artifacts import read_all, write_json
    from ouro.benchmarks.answering import vlm_answerer
    from ouro.benchmarks.controls import wrong_images
    from ouro.benchmarks.evaluate import evaluate
    from ouro.benchmarks.vqa import read_vqa
    from ouro.records import Image
    from ouro.training.lora import train_adapter
    from ouro.training.samples import checkpoint_key
    from ouro.vision.hf import HFVisionLM
    from tasks.layout import PIPELINE
    from tasks.shards import Pictures

    torch.set_num_threads(1)
    params = _params(supervision, longer)
    out = work / f"{supervision}-{seed}.json"
    adapter = None if supervision == "base" else work / f"{supervision}-{seed}"
    job = _job(params, seed, work, adapter or work)
    key = [checkpoint_key(job), params.benchmark.model_dump_json(), *_digests()]
    if out.is_file() and json.loads(out.read_text())["key"] == key:
        return
    summary = train_adapter(job) if adapter else None
    files = [PIPELINE.annotations / f"test_{name}.json" for name in ("questions", "annotations")]
    questions = read_vqa(files[0], files[1])
    asked = {q.image_id for q in questions}
    images = [i for i in read_all(PIPELINE.images, Image) if i.image_id in asked]
    settings = params.benchmark
    vlm = HFVisionLM(params.model.base, adapter, dtype=settings.dtype, batch_size=settings.batch_size)
    answer = vlm_answerer(vlm, Pictures(images, PIPELINE.images, 10**8), {}, settings)
    wrong = wrong_images(asked, np.random.default_rng(0))
    run = evaluate(questions, answer, model=f"{supervision}-{seed}", arm="image", wrong=wrong)
    cost = {"steps": summary.steps, "tokens": summary.tokens} if summary else {}
    write_json(out, {"key": key, **cost, **run.to_json()})


def _digests() -> list[str]:
    from ouro.artifacts import code_fingerprint
    from ouro.files import fingerprint_files
    from tasks.layout import PIPELINE

    files = [PIPELINE.annotations / f"test_{name}.json" for name in ("questions", "annotations")]
    return [code_fingerprint(["ouro.benchmarks.answering"], ("ouro",)), fingerprint_files([*files, PIPELINE.images])]


def table(work: Path, seeds: list[int]) -> dict[str, Any]:
    """Accuracy and grounded margin (macro over question types) of every arm, and differences to base and orig."""
    from ouro.benchmarks.evaluate import Prediction, Run
    from ouro.benchmarks.summary import compare

    def read(name: str) -> dict[str, Any]:
        return json.loads((work / f"{name}.json").read_text())

    def load(name: str) -> Run:
        value = read(name)
        return Run(value["model"], value["arm"], tuple(Prediction(**p) for p in value["predictions"]))

    base = load("base-0")
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        for supervision in ("ours", "orig"):
            c = compare(base, load(f"{supervision}-{seed}"), resamples=2000, seed=0)
            m = c.macro
            rows.append(
                {
                    "seed": seed, "supervision": supervision, "tokens": read(f"{supervision}-{seed}")["tokens"],
                    "steps": read(f"{supervision}-{seed}")["steps"], "n": m.n,
                    "images": c.n_images, "majority": m.majority,
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
    head = (
        "| seed | trained on | tokens | accuracy | shuffled images | gain over base | gain of the grounded margin |\n"
    )
    lines = [head + "|---|---|---|---|---|---|---|"]
    for r in result["rows"]:
        gain = _points(r["gain"], sign=True)
        if r["supervision"] == "ours - orig":
            lines.append(f"| {r['seed']} | difference ours - orig | | | | {gain} | |")
            continue
        cells = [
            str(r["seed"]), r["supervision"], f"{r['tokens'] / 1e6:.2f} M", _points(r["accuracy"]),
            f"{100 * r['shuffled']:.1f}", gain, _points(r["margin_gain"], sign=True),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
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
    parser.add_argument("--one", nargs=3, metavar=("SUPERVISION", "SEED", "LONGER"), help="run this one only")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.one:
        return run_one(args.one[0], int(args.one[1]), args.work, float(args.one[2]))
    jobs = [("base", 0), *((s, seed) for seed in args.seeds for s in ("ours", "orig"))]
    longer = {"base": 1.0, "ours": 1.0, "orig": tokens_a_row("ours") / tokens_a_row("orig")}

    def start(job: tuple[str, int]) -> None:
        command = [
            sys.executable,
            __file__,
            "--work",
            str(args.work),
            "--one",
            job[0],
            str(job[1]),
            str(longer[job[0]]),
        ]
        subprocess.run(command, check=True)
        print(f"{job[0]}, seed {job[1]}: done", flush=True)

    with ThreadPoolExecutor(args.side_by_side) as pool:
        list(pool.map(start, jobs))
    from ouro.artifacts import write_json

    result = table(args.work, args.seeds)
    write_json(Path("docs/seeds.json"), result)
    print(markdown(result))


if __name__ == "__main__":
    main()
