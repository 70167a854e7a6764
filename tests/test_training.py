"""Training: draws, supervision, and an adapter that survives kill -9 bit for bit."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image as PILImage

from ouro.nano.language import coarse_questions, merged_description
from ouro.nano.scenes import draw_scene, render
from ouro.params import Train
from ouro.records import Image, QAPair, Region, Scene
from ouro.training.samples import (
    Asked,
    Job,
    Rows,
    Sample,
    TrainingError,
    checkpoint_key,
    discard_checkpoints,
    draw,
    original_samples,
    our_samples,
)

BASE = Path(__file__).parent.parent / "models" / "nano"


def _sample(n_boxes: int = 8, n_pairs: int = 9) -> Sample:
    boxes = tuple((0.0, 0.0, 20.0 + i, 20.0) for i in range(n_boxes))
    return Sample("i", "i.png", boxes, "a table", tuple(Asked(f"q{i}?", "yes", "ab"[i % 2]) for i in range(n_pairs)))


def test_k_regions_and_questions_are_drawn_without_replacement() -> None:
    chosen = draw(_sample(), Train(k=5, questions=5), np.random.default_rng(0))
    assert len(set(chosen.regions)) == 5 and len(set(chosen.pairs)) == 5
    few = draw(_sample(2, 1), Train(k=5, questions=5), np.random.default_rng(0))
    assert len(few.regions) == 2 and len(few.pairs) == 1


def test_questions_are_diverse_one_of_each_aspect_before_a_second_of_any() -> None:
    sample = _sample(0, 9)  # aspects a, b, a, b, ...
    for seed in range(20):
        chosen = draw(sample, Train(questions=4), np.random.default_rng(seed)).pairs
        assert sorted(sample.pairs[i].aspect for i in chosen) == ["a", "a", "b", "b"]


def test_region_dropout_shows_the_image_alone_in_that_share_of_batches() -> None:
    params = Train(k=5, region_dropout=0.75, batch_size=4, epochs=1, processes=1)
    job = Job([_sample()], Path(), BASE, Path(), params, "describe.", 0, Path())
    rows = Rows(job, None)  # type: ignore[arg-type]
    shown = [rows.shows_regions(i) for i in range(8000)]
    assert 1800 < sum(shown) < 2200
    assert all(len(set(shown[i : i + 4])) == 1 for i in range(0, 8000, 4))
    assert not draw(_sample(), params, np.random.default_rng(0), shown=False).regions
    assert not draw(_sample(), Train(k=0), np.random.default_rng(0)).regions


def test_every_epoch_shows_every_sample_once_in_steps_of_similar_length() -> None:
    samples = [
        dataclasses.replace(_sample(), description="a " * int(n)) for n in np.random.default_rng(0).integers(1, 200, 70)
    ]
    params = Train(batch_size=2, processes=2, epochs=2)
    rows = Rows(Job(samples, Path(), BASE, Path(), params, "describe.", 0, Path()), None)  # type: ignore[arg-type]
    assert all(sorted(rows.order(epoch)) == list(range(70)) for epoch in (0, 1))
    assert rows.order(0) != rows.order(1)
    lengths = [len(samples[i].description) for i in rows.order(0)[:68]]
    padded = sum(4 * max(lengths[i : i + 4]) for i in range(0, 68, 4))
    assert padded < 1.15 * sum(lengths)
    shuffled = [len(samples[i].description) for i in np.random.default_rng(1).permutation(70)[:68]]
    assert sum(4 * max(shuffled[i : i + 4]) for i in range(0, 68, 4)) > 1.4 * sum(shuffled)


def test_supervision_by_ours_and_by_the_collection() -> None:
    image = Image("i", "i.png", 256, 256, "s", "train", ("a table with some objects",))
    regions = [
        Region("i/0", "i", None, 0, (0.0, 0.0, 256.0, 256.0), 1.0, "image"),
        Region("i/0.0", "i", "i/0", 1, (0.0, 0.0, 99.0, 99.0), 1.0, "rpn"),
    ]
    pair = QAPair("q", "i", "style", "what color is the star?", "red")
    [ours] = our_samples([image], regions, [Scene("i", "a merged text", (), ())], [pair])
    [orig] = original_samples([image], regions, {"i": [("is there a table?", "yes")]})
    assert (ours.description, ours.pairs) == ("a merged text", (("what color is the star?", "red", "style"),))
    assert (orig.description, orig.pairs) == ("a table with some objects", (("is there a table?", "yes", ""),))
    assert ours.boxes == orig.boxes == ((0.0, 0.0, 99.0, 99.0),)


def train_here(folder: Path, processes: int) -> None:
    """Run in a subprocess by the tests below: eight steps with a checkpoint after every second."""
    import torch

    from ouro.training.launch import train

    torch.set_num_threads(1)
    samples: list[Sample] = []
    for i in range(16):
        scene = draw_scene(np.random.default_rng(i))
        PILImage.fromarray(render(scene)).save(folder / f"{i}.png")
        boxes = tuple(tuple(map(float, c.box)) for c in scene.containers)
        pairs = tuple(Asked(q.question, q.answer) for q in coarse_questions(scene))
        samples.append(Sample(str(i), f"{i}.png", boxes, merged_description(scene), pairs))  # type: ignore[arg-type]
    params = Train(processes=processes, epochs=2, batch_size=4 // processes, save_steps=2, questions=2)
    job = Job(samples, folder, BASE, folder / "adapter", params, "describe the image.", 3, folder / "checkpoints")
    summary = train(job, lambda step, of, values: print(step, flush=True))
    (folder / "curve.json").write_text(json.dumps(summary.curve, sort_keys=True))
    assert any(job.checkpoints.glob("*/checkpoint-*")), "they go once the adapter is safe"
    discard_checkpoints(job)
    assert not any(job.checkpoints.glob("*/checkpoint-*"))


def _start(folder: Path, processes: int) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    call = f"train_here(Path({str(folder)!r}), {processes})"
    code = f"from pathlib import Path; from tests.test_training import train_here\n{call}"
    root = Path(__file__).parent.parent
    return subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True)


def _workers(folder: Path) -> list[int]:
    """Ids of the processes whose command line names a file in `folder`."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(folder / "checkpoints").encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found


def _digest(folder: Path) -> str:
    files = [*sorted((folder / "adapter").iterdir()), folder / "curve.json"]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_training_continues_to_the_same_bytes(tmp_path: Path, processes: int) -> None:
    """With two, torchrun's workers see that the parent is gone and end by themselves."""
    undisturbed, killed = tmp_path / "a", tmp_path / "b"
    whole = _start(undisturbed, processes)
    broken = _start(killed, processes)
    assert broken.stdout is not None
    for line in broken.stdout:
        if line.strip().isdigit() and int(line) >= 5:
            assert len(_workers(killed)) == (0 if processes == 1 else processes + 1), "torchrun's agent and workers"
            os.kill(broken.pid, signal.SIGKILL)
            break
    broken.wait()
    deadline = time.monotonic() + 60
    while _workers(killed) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _workers(killed)
    assert not (killed / "adapter").exists()
    assert list((killed / "checkpoints").glob("*/checkpoint-*"))
    again = _start(killed, processes)
    steps = [int(line) for line in again.communicate()[0].splitlines() if line.isdigit()]
    whole.communicate()
    assert whole.returncode == 0 and again.returncode == 0
    assert min(steps) > 2, "the finished steps are not repeated"
    assert _digest(undisturbed) == _digest(killed)


def test_the_same_training_is_never_run_twice_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ouro.training import lora

    monkeypatch.setattr(lora, "LOCK_SECONDS", 0.2)
    job = Job([_sample()], tmp_path, BASE, tmp_path / "out", Train(), "describe.", 0, tmp_path / "checkpoints")
    work = job.checkpoints / checkpoint_key(job)
    work.parent.mkdir()
    with FileLock(work.with_suffix(".lock")), pytest.raises(TrainingError, match="another process"):
        lora.train_adapter(job)


def test_a_refusal_in_a_worker_process_arrives_as_itself(tmp_path: Path) -> None:
    """Not as a RuntimeError, which would be tried again and reported as a defect."""
    from ouro.training.launch import train

    nothing = Job([], tmp_path, BASE, tmp_path / "out", Train(processes=2), "describe.", 0, tmp_path / "checkpoints")
    with pytest.raises(TrainingError, match="no training samples"):
        train(nothing)
    PILImage.new("RGB", (64, 64)).save(tmp_path / "i.png")
    params = Train(processes=2, epochs=2, batch_size=1, weight_desc=1e39)
    wild = Job([_sample()], tmp_path, BASE, tmp_path / "out", params, "describe.", 0, tmp_path / "checkpoints")
    with pytest.raises(TrainingError, match="loss is inf"):
        train(wild)
