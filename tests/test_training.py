"""Training: draws, supervision, and an adapter that survives kill -9 bit for bit."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock
from PIL import Image as PILImage
from tiny_training import BASE, drawn_job, start_drawn

from ouro.core.params import Train
from ouro.training.checkpoints import checkpoint_key
from ouro.training.job import TrainingError, TrainingJob
from ouro.training.samples import QuestionAnswer, Sample, SampleRegion


def _sample(n_parts: int = 8, n_pairs: int = 9) -> Sample:
    parts = tuple(SampleRegion(f"i/0.{n}", (0.0, 0.0, 20.0 + n, 20.0), 1) for n in range(n_parts))
    pairs = tuple(QuestionAnswer(f"q{n}?", "yes", "ab"[n % 2]) for n in range(n_pairs))
    return Sample("i", "i.png", (64, 64), parts, "a table", pairs)


def _workers(folder: Path) -> list[int]:
    """Ids of the processes whose command line names a file in `folder`."""
    named = str(folder / "checkpoints")
    everyone = psutil.process_iter(["cmdline"])
    return [one.pid for one in everyone if any(named in word for word in one.info["cmdline"] or ())]


def _digest(folder: Path) -> str:
    files = [*sorted((folder / "adapter").iterdir()), folder / "curve.json"]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_killed_training_continues_to_the_same_bytes(tmp_path: Path, processes: int) -> None:
    """With two, the workers see that the parent is gone and end by themselves."""
    undisturbed, killed = tmp_path / "a", tmp_path / "b"
    whole = start_drawn(undisturbed, processes)
    broken = start_drawn(killed, processes)
    assert broken.stdout is not None
    for line in broken.stdout:
        if line.strip().isdigit() and int(line) >= 3:
            assert len(_workers(killed)) == (0 if processes == 1 else processes)
            os.kill(broken.pid, signal.SIGKILL)
            break
    broken.wait()
    deadline = time.monotonic() + 60
    while _workers(killed) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _workers(killed)
    assert not (killed / "adapter").exists()
    assert list((killed / "checkpoints").glob("*/checkpoint-*"))
    second = start_drawn(killed, processes)
    steps = [int(line) for line in second.communicate()[0].splitlines() if line.isdigit()]
    whole.communicate()
    assert whole.returncode == 0 and second.returncode == 0
    assert min(steps) > 2, "the finished steps are not repeated"
    assert _digest(undisturbed) == _digest(killed)


def test_the_same_training_is_never_run_twice_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ouro.training import checkpoints, lora

    monkeypatch.setattr(checkpoints, "LOCK_SECONDS", 0.2)
    job = TrainingJob([_sample()], tmp_path, BASE, tmp_path / "out", Train(), "describe.", 0, tmp_path / "checkpoints")
    work = job.checkpoints / checkpoint_key(job)
    work.parent.mkdir()
    with FileLock(work.with_suffix(".lock")), pytest.raises(TrainingError, match="another process"):
        lora.train_adapter(job)


def test_workers_that_decode_train_the_same_adapter_also_beside_prefects_threads(
    tmp_path: Path, prefect_api: str
) -> None:
    """Forked in a process that had talked to Prefect's server, they ended at once."""
    import httpx
    from prefect import flow

    from ouro.training.launch import train

    @flow
    def trained(workers: int) -> bytes:
        job = drawn_job(tmp_path / str(workers), 4, workers=workers)
        train(job)
        return (job.out / "adapter_model.safetensors").read_bytes()

    assert httpx.get(f"{prefect_api}/health").status_code == 200
    assert trained(2) == trained(1)


def test_a_loss_that_is_no_number_in_one_of_two_processes_ends_both(tmp_path: Path) -> None:
    """The other one waits for it in the exchange of gradients: looking for the image must not wait for that one."""
    from ouro.training.launch import train

    PILImage.new("RGB", (64, 64)).save(tmp_path / "i.png")
    quiet = dataclasses.replace(_sample(), image_id="without questions", pairs=())
    params = Train(processes=2, epochs=1, batch_size=1, weight_qa=3e38)  # of no question it is 0
    job = TrainingJob(
        [_sample(), quiet], tmp_path, BASE, tmp_path / "out", params, "describe.", 0, tmp_path / "checkpoints"
    )
    with pytest.raises(TrainingError, match=r"step 1: the loss is inf, image i; .*No checkpoint was written yet"):
        train(job)


def test_a_refusal_in_a_worker_process_arrives_as_itself(tmp_path: Path) -> None:
    """Not as a RuntimeError, which would be tried again and reported as a defect."""
    from ouro.training.launch import train

    nothing = TrainingJob(
        [], tmp_path, BASE, tmp_path / "out", Train(processes=2), "describe.", 0, tmp_path / "checkpoints"
    )
    with pytest.raises(TrainingError, match="no training samples"):
        train(nothing)
    PILImage.new("RGB", (64, 64)).save(tmp_path / "i.png")
    params = Train(processes=2, epochs=2, batch_size=1, weight_desc=1e39)
    wild = TrainingJob([_sample()], tmp_path, BASE, tmp_path / "out", params, "describe.", 0, tmp_path / "checkpoints")
    with pytest.raises(TrainingError, match="loss is inf"):
        train(wild)


def test_a_champion_learns_on_from_its_own_weights_and_another_form_is_refused(tmp_path: Path) -> None:
    """With next to no learning rate what comes out is what went in."""
    import torch
    from safetensors.torch import load_file

    from ouro.training.lora import train_adapter

    def weights(job: TrainingJob) -> dict[str, Any]:
        return load_file(job.out / "adapter_model.safetensors")

    first = drawn_job(tmp_path / "first", 4)
    train_adapter(first)
    still = dataclasses.replace(drawn_job(tmp_path / "on", 4, learning_rate=1e-9), start=first.out)
    assert checkpoint_key(still) != checkpoint_key(dataclasses.replace(still, start=None))
    train_adapter(still)
    before, after = weights(first), weights(still)
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert any(torch.count_nonzero(after[name]) for name in after if "lora_B" in name), "a new adapter's B is zero"
    wide = dataclasses.replace(drawn_job(tmp_path / "wide", 4, rank=4), start=first.out)
    with pytest.raises(TrainingError, match=r"train\.from champion: .* has r 8, and the params ask for another"):
        train_adapter(wide)
