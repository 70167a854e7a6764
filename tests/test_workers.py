"""A training's processes on one machine: they listen on loopback alone, get no credentials, and end together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from listening import Listeners, listeners
from tiny_training import ROOT, scene_job, start

from ouro.core.processes import end, without_credentials
from ouro.training.group import loopback_interface
from ouro.training.launch import train
from ouro.training.workers import worker_environment


def other_interface() -> str:
    """An interface that other machines reach, "" where there is none: what a person's GLOO_SOCKET_IFNAME may say."""
    names = (n for n, addresses in psutil.net_if_addrs().items() for a in addresses if a.family.name == "AF_INET")
    return next((name for name in names if name != loopback_interface()), "")


def workers_of(folder: Path) -> list[psutil.Process]:
    """This process's children that train in `folder`."""
    return [p for p in psutil.Process().children() if any(str(folder) in word for word in p.cmdline())]


def assert_loopback_alone(seen: Listeners, words: str, processes: int) -> None:
    """The processes whose command holds `words` were seen to listen (gloo does, in each), and nobody to others."""
    addresses = [at for at, commands in seen.commands.items() if any(words in command for command in commands)]
    assert len(addresses) >= processes, seen.commands
    assert {address for address, _ in addresses} == {"127.0.0.1"}
    assert not seen.open_to_others


class Watched(NamedTuple):
    folder: Path
    seen: Listeners
    environments: list[dict[str, str]]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A training in two processes, with its sockets, and each worker's environment as the system has it."""
    folder = tmp_path_factory.mktemp("watched")
    environments: list[dict[str, str]] = []

    def on_log(step: int, of: int, values: dict[str, float]) -> None:
        environments.extend(p.environ() for p in workers_of(folder) if len(environments) < 2)

    with pytest.MonkeyPatch.context() as patch, listeners() as seen:
        patch.setenv("OPENAI_API_KEY", "sk-not-for-workers")
        patch.setenv("MASTER_ADDR", "0.0.0.0")
        patch.setenv("GLOO_SOCKET_IFNAME", other_interface())
        summary = train(scene_job(folder, 2), on_log)
    assert summary.steps == 2
    yield Watched(folder, seen, environments)


def test_a_training_in_two_processes_listens_on_loopback_alone(watched: Watched) -> None:
    """torchrun's TCPStore listened on all interfaces, unauthenticated, with pickles in it."""
    assert_loopback_alone(watched.seen, str(watched.folder / "checkpoints"), 2)


def test_workers_get_no_credentials(watched: Watched) -> None:
    assert sorted(e["RANK"] for e in watched.environments) == ["0", "1"]
    for environment in watched.environments:
        assert "sk-not-for-workers" not in environment.values()
        assert environment["PATH"] == os.environ["PATH"]
        assert "MASTER_ADDR" not in environment


def test_nothing_of_the_rendezvous_stays(watched: Watched) -> None:
    assert not [p.name for p in (watched.folder / "checkpoints").iterdir() if p.name.startswith("job-")]


def test_a_killed_worker_ends_the_other_and_the_training_says_so(tmp_path: Path) -> None:
    """The other one would wait in the exchange of gradients."""
    killed: list[float] = []

    def on_log(step: int, of: int, values: dict[str, float]) -> None:
        if not killed:
            next(p for p in workers_of(tmp_path) if p.environ()["RANK"] == "1").kill()
            killed.append(time.monotonic())

    with pytest.raises(RuntimeError, match=r"process 1 ended with SIGKILL, expected exit code 0.*train\.batch_size"):
        train(scene_job(tmp_path, 8), on_log)
    assert time.monotonic() - killed[0] < 30
    assert not workers_of(tmp_path)
    assert not (tmp_path / "adapter").exists()


def test_an_interrupted_parent_leaves_no_worker(tmp_path: Path) -> None:
    def on_log(step: int, of: int, values: dict[str, float]) -> None:
        assert len(workers_of(tmp_path)) == 2
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(scene_job(tmp_path, 8), on_log)
    assert not workers_of(tmp_path)


def test_a_worker_that_cannot_start_is_named_with_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.stderr.write('no such luck\\n'); sys.exit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"(?s)process [01] ended with exit code \d.*no such luck"):
        train(scene_job(tmp_path / "a", 1))


CREDENTIALS = {
    "OPENAI_API_KEY": "a", "HF_TOKEN": "a", "hf_token": "a", "AWS_SECRET_ACCESS_KEY": "a", "PGPASSWORD": "a",
    "PREFECT_API_AUTH_STRING": "a", "SSH_AUTH_SOCK": "/a", "GOOGLE_APPLICATION_CREDENTIALS": "/a",
    "PROXY_AUTHORIZATION": "a", "SSH_PASSPHRASE": "a", "HTTPS_PROXY": "http://me:word@proxy:3128",
    "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://me:word@db/prefect",
}  # fmt: skip
NONE = {
    "PATH": "/bin", "HOME": "/root", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@b.c", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "0,1",
    "PWD": "/", "http_proxy": "http://proxy:3128", "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
}  # fmt: skip


def test_what_holds_credentials_is_left_out() -> None:
    assert without_credentials({**CREDENTIALS, **NONE}) == NONE


def test_a_worker_knows_its_place_and_uses_loopback(tmp_path: Path) -> None:
    environment = {
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "29500",
        "RANK": "7",
        "GLOO_SOCKET_IFNAME": "eth0",
        "HOME": "/h",
    }
    assert worker_environment(environment, tmp_path / "s", 1, 2) == {
        "HOME": "/h", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "OURO_STORE": str(tmp_path / "s"),
        "GLOO_SOCKET_IFNAME": loopback_interface(), "NCCL_SOCKET_IFNAME": f"={loopback_interface()}",
    }  # fmt: skip


STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_one_that_ignores_sigterm_is_killed_with_its_children() -> None:
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    end([process], seconds=0.5)
    assert process.returncode == -signal.SIGKILL
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    end([process])  # a second time: nothing


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("stage", "processes"), [("zero3", 2), ("zero2", 1)])
def test_a_training_under_deepspeed_listens_on_loopback_alone(tmp_path: Path, stage: str, processes: int) -> None:
    training = start(tmp_path, deepspeed=stage, processes=processes, n=2)
    with listeners(training.pid) as seen:
        training.communicate()
    assert training.returncode == 0
    assert_loopback_alone(seen, str(tmp_path / "checkpoints"), processes)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_pretraining_listens_on_loopback_alone(tmp_path: Path) -> None:
    """gloo took the interface of the environment, or the address that the machine's name resolves to."""
    command = [sys.executable, "-m", "ouro.nano.pretrain", "--max-steps", "1"]
    command += ["--out", str(tmp_path / "model"), "--work", str(tmp_path / "work")]
    environment: dict[str, Any] = {**os.environ, "GLOO_SOCKET_IFNAME": other_interface()}
    pretraining = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    with listeners(pretraining.pid) as seen:
        assert pretraining.wait() == 0
    assert json.loads((tmp_path / "model/config.json").read_text())["model_type"] == "qwen2_vl"
    assert_loopback_alone(seen, "multiprocessing", 2)
