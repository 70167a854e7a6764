"""Stage train while its own Prefect server is killed and started again: the training goes on and is told of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tiny_training import annotated

from ouro.core.state import State
from tasks.processes.auth import CLIENT, auth_string
from tasks.processes.environments import quiet_environment
from tasks.processes.prefect_server import Server, free_port, healthy, launch, stop, wait

ROOT = Path(__file__).resolve().parent.parent

TRAINING = """
import sys
from pathlib import Path
from tasks import screen
from flows import train
from ouro.core.params import Params
from ouro.core.layout import Layout

screen.LINE_SECONDS = 0.01  # a line for each step
train.EVERY = 0.5
root = Path(sys.argv[1])
knobs = {"epochs": int(sys.argv[2]), "batch_size": 2, "questions": 1, "bf16": False, "processes": 1}
params = Params.model_validate({"train": knobs})
train.train(params, Layout(root, root / ".ouro/cache"), root / "adapter", track=False)
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """A folder for a server's state, and an environment in which nothing else names a server."""
    for name in [name for name in os.environ if name.startswith("PREFECT")]:
        monkeypatch.delenv(name)
    return State(tmp_path / "state")


def up(state: State, port: int) -> Server:
    server, process = launch(state, port)
    wait(server, process, state)
    return server


def training(folder: Path, server: Server, state: State, epochs: int) -> subprocess.Popen[str]:
    env = {**os.environ, **quiet_environment(state), "PREFECT_API_URL": server.api, CLIENT: auth_string(state)}
    env["PYTHONUNBUFFERED"] = "1"
    command = [sys.executable, "-c", TRAINING, str(folder), str(epochs)]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


def steps_of(process: subprocess.Popen[str]) -> Iterator[int]:
    """The steps that it tells of, as it does."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("train: ") and " steps, " in line:
            yield int(line.split()[1].split("/")[0])


def fetch_records(server: Server, state: State, what: str, **body: Any) -> list[dict[str, Any]]:
    """What the server has of flow runs, task runs or artifacts."""
    import httpx

    user, _, password = auth_string(state).partition(":")
    answer = httpx.post(f"{server.api}/{what}/filter", json=body, auth=(user, password), timeout=20)
    answer.raise_for_status()
    return answer.json()


def within(seconds: float, true: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.2)
    return true()


def ended(server: Server, state: State) -> dict[str, str]:
    """The state of every flow run and task run, by name without its random part."""
    return {
        run["name"].split("-")[0] if what == "task_runs" else "flow": run["state_name"]
        for what in ("flow_runs", "task_runs")
        for run in fetch_records(server, state, what)
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_training_outlives_its_server_and_ends_completed(tmp_path: Path, state: State) -> None:
    """Each step used to wait for Prefect's client, which tries for a minute: the training stood still meanwhile."""
    annotated(tmp_path, 4)
    first = up(state, free_port(0))
    servers, process = [first], training(tmp_path, first, state, epochs=30)
    try:
        steps = steps_of(process)
        next(step for step in steps if step >= 5)
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        os.waitpid(first.pid, 0)
        assert not healthy(first.api)
        assert len(list(islice(steps, 10))) == 10, "it goes on without a server"
        servers.append(launch(state, int(first.ui.rpartition(":")[2]))[0])
        assert servers[-1].api == first.api
        assert within(200, lambda: healthy(first.api))
        assert list(steps)[-1] >= 50 and process.wait() == 0
        assert (tmp_path / "adapter/adapter_model.safetensors").is_file()
        within(30, lambda: set(ended(first, state).values()) == {"Completed"})
        assert ended(first, state) == {"flow": "Completed", "train": "Completed"}
        data_by_key = {artifact["key"]: artifact["data"] for artifact in fetch_records(first, state, "artifacts")}
        assert data_by_key.keys() == {"train-progress", "train-losses"} and data_by_key["train-progress"] == 100.0
    finally:
        process.kill()
        process.wait()
        for server in servers:
            stop(server, state)
