"""A training under a person's own launcher: the job file, and two machines' worth of torchrun on loopback."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_training import ROOT, curve, scene_job, start

from cli.app import app, guarded
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.training.job import TrainingError, TrainingJob
from ouro.training.launch import read_job, write_job


def test_a_job_file_counts_the_processes_that_there_are(tmp_path: Path) -> None:
    job = scene_job(tmp_path, 1, deepspeed="zero2")
    write_job(tmp_path / "job.json", job)
    read = read_job(tmp_path / "job.json", {"WORLD_SIZE": "16"})
    assert read.params.processes == 16 and read.params.deepspeed == "zero2"
    second = read_job(tmp_path / "job.json", {"WORLD_SIZE": "2"})
    assert list(second.samples) == list(job.samples)
    assert dataclasses.replace(second, samples=job.samples) == job
    assert read_job(tmp_path / "job.json", {}).params.processes == 1


@pytest.mark.parametrize("text", ["{", "{}", '{"samples": [{}]}', "[]"])
def test_a_file_that_is_no_job(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(TrainingError, match="expected what `ouro train-job"):
        read_job(tmp_path / "job.json")
    with pytest.raises(TrainingError, match=r"none\.json: FileNotFoundError"):
        read_job(tmp_path / "none.json")


def test_train_job_writes_folders_that_every_process_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cli import train_job
    from tasks import models, train

    def job(layout: Layout, params: Params, adapter: Path) -> TrainingJob:
        training_job = scene_job(Path("data"), 1)
        return dataclasses.replace(training_job, out=adapter, checkpoints=layout.cache, base=Path("models/nano"))

    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/nano").mkdir(parents=True)
    monkeypatch.setattr(train, "training_job", job)
    monkeypatch.setattr(models, "require_model", lambda *_: None)
    monkeypatch.setattr(train, "check_annotated", lambda *_: None)
    train_job.run(Params(), tmp_path / "job.json", Path("adapter"))
    read = read_job(tmp_path / "job.json", {})
    folders = (read.images, read.out, read.checkpoints, Path(read.base))
    assert folders == tuple(tmp_path / name for name in ("data", "adapter", ".ouro/cache", "models/nano"))


def test_train_job_without_annotations_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    assert guarded(lambda: app(["train-job", "job.json"], standalone_mode=False)) == 2
    assert not (tmp_path / "job.json").exists()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _node(rank: int, port: int, job: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(rank)]
    command += ["--master-addr", "127.0.0.1", "--master-port", str(port), "--nproc-per-node", "1"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command += ["-m", "ouro.training.launch", str(job)]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("deepspeed", ["", "zero3"])
def test_two_nodes_of_one_process_train_what_one_node_of_two_does(tmp_path: Path, deepspeed: str) -> None:
    alone = start(tmp_path / "alone", deepspeed=deepspeed)
    alone.communicate()
    job = scene_job(tmp_path / "nodes", deepspeed=deepspeed, processes=1, batch_size=1)  # the launch counts them
    write_job(tmp_path / "job.json", job)
    port = _free_port()
    nodes = [_node(rank, port, tmp_path / "job.json") for rank in (0, 1)]
    outputs = [node.communicate()[0] for node in nodes]
    assert [node.returncode for node in nodes] == [alone.returncode, 0] == [0, 0]
    lines = [json.loads(line) for line in outputs[0].splitlines() if line.startswith("{")]
    assert not [line for line in outputs[1].splitlines() if line.startswith("{")], "the first process alone reports"
    summary = lines[-1]["summary"]
    assert summary["steps"] == 8
    names = ("step", "loss_desc", "loss_qa")
    got, expected = ([[row[n] for n in names] for row in c] for c in (summary["curve"], curve(tmp_path / "alone")))
    print(deepspeed, got)
    assert got == [pytest.approx(row, rel=1e-3, abs=1e-5) for row in expected]
    ours, theirs = (f / "adapter" / "adapter_model.safetensors" for f in (tmp_path / "nodes", tmp_path / "alone"))
    assert ours.stat().st_size == theirs.stat().st_size
