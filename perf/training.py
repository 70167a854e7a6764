"""Joint training against what users run today, as ratios in one run: `uv run python perf/training.py [--images 48]`.

Same nano model, LoRA, data and pictures: the full image with k = 5 regions, a description and five questions. One
optimizer step sees 8 images in every arm:

    ours    one row an image: its pictures once, the description and each question a branch (ouro.training)
    plain   transformers' Trainer, one sample a question: 48 rows a step, the pictures repeated in each
    trl     TRL's SFTTrainer, prompt-completion rows of what `ouro export --format trl` wrote, with the same regions

The baselines are given their regions cropped and within their bounds of pixels; ours crops and resizes as it trains.
Each arm trains in a process of its own, in bfloat16 as params.yaml has it, with the same number of threads; the arms
take turns, `--rounds` times. Printed: images/s of each (median over the steps but the first two), the share of
padding, and the ratios of each round. Targets: at least 4 times plain, 3 times trl, padding under 2%; exit code 1 when
one is missed. What is annotated once is kept in --work.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image as PILImage

if TYPE_CHECKING:
    from ouro.core.params import Params
    from ouro.training.job import TrainingJob

ROOT = Path(__file__).resolve().parent.parent
BATCH = 8  # images a step
MICRO = 16  # rows of a baseline's micro-batch; 3 of them make a step of 8 images
WARM = 2  # steps that are not counted
TARGETS = {"plain": 4.0, "trl": 3.0}
PADDING = 0.02


class QuestionRow(NamedTuple):
    """One row of the baselines."""

    image_id: str
    pictures: list[PILImage.Image]
    question: str
    answer: str


def annotated(work: Path, images: int) -> Path:
    """A folder of drawn scenes as `ouro annotate` leaves it, and the same exported for TRL; made once."""
    from ouro.nano.scenes import draw_scene, render

    photos, out = work / "photos", work / "annotated"
    if not (work / "trl").is_dir():
        photos.mkdir(parents=True, exist_ok=True)
        for i in range(images):
            PILImage.fromarray(render(draw_scene(np.random.default_rng([5, i])))).save(photos / f"{i:03d}.png")
        ouro = [sys.executable, "-m", "cli.app"]
        subprocess.run([*ouro, "annotate", str(photos), "--out", str(out)], check=True, cwd=ROOT)
        contents = ["--contents", "description", "--contents", "questions", "--prompt", "describe the image."]
        subprocess.run(
            [*ouro, "export", str(out), "--format", "trl", "--out", str(work / "trl"), *contents], check=True
        )
    return out


def the_params(steps: int, images: int) -> Params:
    from ouro.core.params import load_params

    epochs = -(-steps * BATCH // images)
    knobs = {"region_dropout": 0, "batch_size": BATCH, "processes": 1, "epochs": epochs, "k": 5, "save_steps": 10_000}
    return load_params(ROOT / "params.yaml", tuple(f"train.{name}={value}" for name, value in knobs.items()))


def the_job(work: Path, images: int, steps: int) -> TrainingJob:
    from ouro.core.layout import Layout
    from tasks.train import training_job

    out = annotated(work, images)
    job = training_job(Layout(out, out / ".ouro/cache"), the_params(steps, images), work / f"adapter-{os.getpid()}")
    return replace(job, checkpoints=work / f"checkpoints-{os.getpid()}")  # each round trains


def ours(job: TrainingJob, steps: int, on_step: Callable[[], None]) -> dict[str, float]:
    """Runs the whole of train_adapter; the last values that it logged."""
    from ouro.training.lora import train_adapter

    last: dict[str, float] = {}

    def on_log(step: int, of: int, values: dict[str, float]) -> None:
        last.update(values)
        if not values:
            on_step()

    train_adapter(job, on_log)
    return {"padding": last.get("padding", float("nan")), "loss": last["loss"]}


def rows_of(job: TrainingJob, steps: int) -> list[list[QuestionRow]]:
    """The rows of every step, drawn as ours draws them."""
    from ouro.core.crops import crop
    from ouro.training.rows import RowDataset
    from ouro.vision.data_urls import scale_to_bound
    from ouro.vision.encoding import Encoder
    from ouro.vision.folders import load_processor

    rows = RowDataset(job, Encoder(load_processor(job.base)))
    rows_by_step: list[list[QuestionRow]] = []
    for step in range(steps):
        rows_by_step.append([])
        for index in range(step * BATCH, (step + 1) * BATCH):
            sample, selection = rows.drawn(index)
            with PILImage.open(job.images / sample.path) as file:
                whole = file.convert("RGB")
            pictures = [scale_to_bound(whole, job.params.max_pixels, 16)]
            pictures += [
                scale_to_bound(crop(whole, sample.boxes[i], 0.0), job.params.region_max_pixels, 16)
                for i in selection.regions
            ]
            pairs = [(job.prompt, sample.description)]
            pairs += [(sample.pairs[i].question, sample.pairs[i].answer) for i in selection.pairs]
            rows_by_step[-1] += [QuestionRow(sample.image_id, pictures, question, answer) for question, answer in pairs]
    return rows_by_step


def lora_model(job: TrainingJob) -> tuple[Any, Any]:
    """The base as transformers loads it, with the LoRA that ours trains, and its processor."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText, AutoProcessor

    config = LoraConfig(
        r=job.params.rank, lora_alpha=job.params.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    model = AutoModelForImageTextToText.from_pretrained(job.base, dtype="float32", local_files_only=True)
    processor = AutoProcessor.from_pretrained(job.base, local_files_only=True)
    processor.image_processor.size = {"shortest_edge": 48 * 48, "longest_edge": job.params.max_pixels}
    return get_peft_model(model, config), processor


def settings(job: TrainingJob, rows: int) -> dict[str, Any]:
    """What Trainer and SFTTrainer are both told."""
    return {
        "output_dir": str(job.out), "per_device_train_batch_size": MICRO,
        "gradient_accumulation_steps": -(-rows // MICRO), "num_train_epochs": 1, "bf16": job.params.bf16,
        "learning_rate": job.params.learning_rate, "lr_scheduler_type": "cosine", "warmup_steps": 0.1,
        "use_cpu": True, "remove_unused_columns": False, "report_to": [], "disable_tqdm": True, "save_strategy": "no",
        "logging_steps": 5, "gradient_checkpointing": False,
    }  # fmt: skip


def padding_of(seen: Sequence[Any]) -> float:
    """Share of tokens in attention masks that are 0."""
    return 1 - sum(int(mask.sum()) for mask in seen) / sum(mask.numel() for mask in seen)


def clock(on_step: Callable[[], None]) -> Any:
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            on_step()

    return Clock()


def plain(job: TrainingJob, steps: int, on_step: Callable[[], None]) -> dict[str, float]:
    from transformers import Trainer, TrainingArguments

    model, processor = lora_model(job)
    rows_by_step = rows_of(job, steps)
    masks: list[Any] = []

    def collate(batch: Sequence[QuestionRow]) -> dict[str, Any]:
        texts, prompts = [], []
        for row in batch:
            image_parts = [{"type": "image"}] * len(row.pictures)
            messages = [{"role": "user", "content": [*image_parts, {"type": "text", "text": row.question}]}]
            prompts.append(processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
            texts.append(prompts[-1] + row.answer + processor.tokenizer.eos_token)
        images = [row.pictures for row in batch]
        inputs = processor(text=texts, images=images, padding=True, padding_side="right", return_tensors="pt")
        answers = [len(processor.tokenizer(r.answer).input_ids) + 1 for r in batch]
        labels = inputs["input_ids"].clone()
        for i, n in enumerate(answers):
            length = int(inputs["attention_mask"][i].sum())
            labels[i, : length - n] = labels[i, length:] = -100
        masks.append(inputs["attention_mask"])
        return {**inputs, "labels": labels}

    rows = [row for step in rows_by_step for row in step]
    args = TrainingArguments(**settings(job, len(rows_by_step[0])))
    trainer = Trainer(model=model, args=args, train_dataset=rows, data_collator=collate, callbacks=[clock(on_step)])  # type: ignore[arg-type]
    out = trainer.train()
    return {"padding": padding_of(masks), "loss": out.training_loss}


def trl(job: TrainingJob, steps: int, on_step: Callable[[], None]) -> dict[str, float]:
    """The picture and the turns are the exported ones; those that ours drew are taken, and the regions added."""
    from datasets import Dataset, Features, Image, List, Value, load_dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    model, processor = lora_model(job)
    folder = job.images.parent.parent / "trl"
    exported = load_dataset(str(folder), split="train", cache_dir=str(folder.parent / "cache"))
    assert isinstance(exported, Dataset)
    messages = dict(zip(exported["image_id"], exported["messages"], strict=True))
    rows_by_step = rows_of(job, steps)
    turn = List({"role": Value("string"), "content": Value("string")})
    features = Features({"images": List(Image()), "prompt": turn, "completion": turn})
    rows = [_prompt_completion(row, messages[row.image_id]) for step in rows_by_step for row in step]
    dataset = Dataset.from_list(rows, features=features)
    args = SFTConfig(**settings(job, len(rows_by_step[0])), max_length=None)
    trainer = SFTTrainer(
        model=model, args=args, train_dataset=dataset, processing_class=processor, callbacks=[clock(on_step)]
    )
    masks: list[Any] = []
    collate = trainer.data_collator

    def watched(batch: Any) -> Any:
        inputs = collate(batch)
        masks.append(inputs["attention_mask"])
        return inputs

    trainer.data_collator = watched
    out = trainer.train()
    return {"padding": padding_of(masks), "loss": out.training_loss}


def _prompt_completion(row: QuestionRow, messages: Sequence[Any]) -> dict[str, Any]:
    texts = ["".join(part["text"] or "" for part in message["content"]) for message in messages]
    answer = texts[texts.index(row.question) + 1]
    return {
        "images": row.pictures,
        "prompt": [{"role": "user", "content": row.question}],
        "completion": [{"role": "assistant", "content": answer}],
    }


def run_arm(name: str, work: Path, images: int, steps: int, threads: int) -> dict[str, Any]:
    """Train one arm here; images/s, padding and loss."""
    import torch

    torch.set_num_threads(threads)
    job = the_job(work, images, steps)
    times: list[float] = []
    figures = {"ours": ours, "plain": plain, "trl": trl}[name](job, steps, lambda: times.append(time.perf_counter()))
    seconds = np.diff(times)[WARM:]
    return {"images/s": BATCH / statistics.median(seconds), "steps": len(times), **figures}


def main() -> int:
    """Measure all arms in turn and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--work", type=Path, default=ROOT / ".ouro/bench-training")
    parser.add_argument("--arm", choices=("ours", "plain", "trl"), help="run this one only, here")
    args = parser.parse_args()
    if args.arm:
        print(json.dumps(run_arm(args.arm, args.work, args.images, args.steps, args.threads)))
        return 0
    annotated(args.work, args.images)
    words = [f"--{name}={getattr(args, name)}" for name in ("images", "steps", "threads", "work")]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "HF_HUB_OFFLINE": "1"}
    rounds: list[dict[str, Any]] = []
    for _ in range(args.rounds):
        rounds.append({})
        for name in ("ours", "plain", "trl"):
            command = [sys.executable, __file__, *words, "--arm", name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            rounds[-1][name] = json.loads(done.stdout.splitlines()[-1])
            print(name, rounds[-1][name], file=sys.stderr, flush=True)
    ratios = {n: [r["ours"]["images/s"] / r[n]["images/s"] for r in rounds] for n in TARGETS}
    met = {f"{n}: at least {t}": statistics.median(ratios[n]) >= t for n, t in TARGETS.items()}
    met[f"padding under {PADDING}"] = all(r["ours"]["padding"] < PADDING for r in rounds)
    print(json.dumps({"rounds": rounds, "ours / baseline": ratios, "targets met": met}, indent=1))
    return 0 if all(met.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
