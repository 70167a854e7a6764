"""A training of seconds on drawn scenes, run in a process of its own by tests; every step's losses are kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from ouro.core.artifacts import write_shard
from ouro.core.layout import Layout
from ouro.core.params import Train
from ouro.core.records import Image, QAPair, Region, Scene
from ouro.nano.ideal import merged_description
from ouro.nano.language import coarse_questions
from ouro.nano.scenes import draw_scene, render
from ouro.training.checkpoints import discard_checkpoints
from ouro.training.job import TrainingJob
from ouro.training.samples import QuestionAnswer, Sample, SampleRegion

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "models" / "nano"


def scene_job(folder: Path, n: int = 8, **params: Any) -> TrainingJob:
    """A job on `n` drawn scenes, two epochs in steps of two images, in float32 unless `params` say otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    samples: list[Sample] = []
    for i in range(n):
        scene = draw_scene(np.random.default_rng(i))
        PILImage.fromarray(render(scene)).save(folder / f"{i}.png")
        parts = tuple(SampleRegion(f"{i}/0.{m}", c.box, 1, "a box") for m, c in enumerate(scene.containers))
        pairs = tuple(QuestionAnswer(q.question, q.answer) for q in coarse_questions(scene))
        samples.append(Sample(str(i), f"{i}.png", (256, 256), parts, merged_description(scene), pairs))
    knobs: dict[str, Any] = {"processes": 2, "epochs": 2, "save_steps": 3, "questions": 2, "bf16": False, **params}
    train = Train(**{"batch_size": 2 // knobs["processes"], **knobs})
    return TrainingJob(
        samples, folder, str(BASE), folder / "adapter", train, "describe the image.", 3, folder / "checkpoints"
    )


def _four_images(processes: int) -> dict[str, Any]:
    """Steps of four images, a checkpoint after every second."""
    return {"processes": processes, "batch_size": 4 // processes, "save_steps": 2}


def drawn_job(folder: Path, n: int, **knobs: Any) -> TrainingJob:
    """A job on `n` drawn scenes in one process, in steps of four images."""
    return scene_job(folder, n, **{**_four_images(1), **knobs})


def annotated(root: Path, n: int = 8) -> Layout:
    """A folder as `ouro annotate` leaves it, for stage train: one shard of `n` drawn scenes, without sub-regions."""
    layout, name = Layout(root, root / ".ouro/cache"), "shard-00000"
    images, regions, scenes, pairs = list[Image](), list[Region](), list[Scene](), list[QAPair]()
    (layout.images / name).mkdir(parents=True)
    for i in range(n):
        scene, image_id = draw_scene(np.random.default_rng(i)), f"{i:016x}"
        PILImage.fromarray(render(scene)).save(layout.images / name / f"{image_id}.png")
        images.append(Image(image_id, f"{name}/{image_id}.png", 256, 256, f"{i}.png"))
        regions.append(Region(f"{image_id}/0", image_id, None, 0, (0.0, 0.0, 256.0, 256.0), 1.0, "image"))
        scenes.append(Scene(image_id, merged_description(scene), (), ()))
        questions = coarse_questions(scene)
        pairs += [QAPair(f"{image_id}-{m}", image_id, "coarse", q.question, q.answer) for m, q in enumerate(questions)]
    for folder, record, rows in (
        (layout.images, Image, images), (layout.regions, Region, regions),
        (layout.scenes, Scene, scenes), (layout.qa, QAPair, pairs),
    ):  # fmt: skip
        write_shard(folder / f"{name}.parquet", record, rows, n_in=len(rows))
    return layout


def train_scenes(folder: Path, **params: Any) -> TrainingJob:
    """Train `scene_job` and write every step's log to curve.json."""
    import torch

    from ouro.training.launch import train

    torch.set_num_threads(1)
    job = scene_job(folder, **params)
    summary = train(job, lambda step, of, values: print(step, flush=True))
    (folder / "curve.json").write_text(json.dumps(summary.curve, sort_keys=True))
    return job


def train_and_discard(folder: Path, **params: Any) -> None:
    """The same, and assert that checkpoints are there until they are discarded."""
    job = train_scenes(folder, **params)
    assert any(job.checkpoints.glob("*/checkpoint-*")), "they go once the adapter is safe"
    discard_checkpoints(job)
    assert not any(job.checkpoints.glob("*/checkpoint-*"))


def start(folder: Path, **params: Any) -> subprocess.Popen[str]:
    """`train_scenes` in a process of its own; its output has a line for each step."""
    return _start("train_scenes", folder, params)


def start_drawn(folder: Path, processes: int) -> subprocess.Popen[str]:
    """`train_and_discard` of 12 scenes in a process of its own: six steps, with a checkpoint after every second."""
    return _start("train_and_discard", folder, {**_four_images(processes), "n": 12})


def _start(function: str, folder: Path, params: dict[str, Any]) -> subprocess.Popen[str]:
    words = [sys.executable, __file__, function, str(folder), json.dumps(params)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def curve(folder: Path) -> list[dict[str, float]]:
    return json.loads((folder / "curve.json").read_text())


if __name__ == "__main__":
    function = {"train_scenes": train_scenes, "train_and_discard": train_and_discard}[sys.argv[1]]
    function(Path(sys.argv[2]), **json.loads(sys.argv[3]))
