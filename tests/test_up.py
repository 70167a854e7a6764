"""`ouro up`: its messages and parts, and (slow) the real servers and worker, with rounds whose work is quick."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from listening import Listeners, listeners

from cli.app import app, guarded
from ouro.core.processes import is_alive
from ouro.core.state import State
from tasks import screen, up
from tasks.processes.locks import inherited
from tasks.processes.prefect_server import START_SECONDS, free_port, healthy
from tasks.processes.supervised import LONGEST, ChildError, Supervised, start
from tasks.processes.supervisor import PREFIX, tagged

ROOT = Path(__file__).resolve().parent.parent


def within(seconds: float, true: Callable[[], object]) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.2)
    return bool(true())


@pytest.fixture
def screen_lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(screen, "say", lines.append)
    return lines


def test_a_busy_port_gives_way_to_the_next_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port(port) <= port + 20 or port > 65500


def test_a_busy_port_is_said(screen_lines: list[str]) -> None:
    up._say_port("MLflow", 5000, 5001)
    up._say_port("MLflow", 5000, 5000)
    up._say_port("Prefect", 4200, None)  # shares a server that runs already
    assert screen_lines == ["port 5000 is in use; MLflow takes 5001"]


def test_prefect_reads_prefect_yaml_as_it_is_meant() -> None:
    from prefect.cli.deploy._models import PrefectYamlModel

    (nightly,) = PrefectYamlModel.model_validate(yaml.safe_load((ROOT / "prefect.yaml").read_text())).deployments
    assert nightly.name == "nightly" and nightly.work_pool is not None and nightly.work_pool.name == "ouro"
    limit = nightly.concurrency_limit
    assert not isinstance(limit, int) and limit is not None
    assert limit.limit == 1 and limit.collision_strategy == "CANCEL_NEW"
    assert nightly.schedules is not None and [getattr(schedule, "cron", None) for schedule in nightly.schedules] == [
        "0 2 * * *"
    ]


def test_prefect_yaml_names_a_flow_that_is_there_and_no_folder_of_a_machine() -> None:
    from prefect.flows import load_flow_from_entrypoint

    text = (ROOT / "prefect.yaml").read_text()
    (nightly,) = yaml.safe_load(text)["deployments"]
    assert load_flow_from_entrypoint(nightly["entrypoint"]).name == "nightly"
    assert "pull" not in nightly and str(ROOT) not in text


def test_options_become_those_of_prefect_deploy() -> None:
    assert up.schedule_options(up.Options()) == []
    assert up.schedule_options(up.Options(interval=15)) == ["--interval", "15"]
    assert up.schedule_options(up.Options(cron="30 1 * * 1-5")) == ["--cron", "30 1 * * 1-5"]


def test_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(up.UpError, match="got both, expected one"):
        up.schedule_options(up.Options(interval=15, cron="0 2 * * *"))
    with pytest.raises(up.UpError, match="--cron: got 'at two', expected minute, hour"):
        up.schedule_options(up.Options(cron="at two"))


def test_outside_of_a_checkout_there_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert guarded(lambda: app(["up"])) == 2
    assert "expected Ouro's checkout" in capsys.readouterr().err
    assert not (tmp_path / ".ouro").exists()


def test_a_second_one_in_a_checkout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "STATE", State(tmp_path))
    with up._only_up(), pytest.raises(up.UpError, match="another `ouro up` runs in this checkout"), up._only_up():
        pass
    with up._only_up():
        pass


def child(folder: Path, script: str, lock: int, name: str = "worker") -> Supervised:
    return start(name, [sys.executable, "-c", script], os.environ, lock, log=folder / f"{name}.log")


def quiet() -> None:
    pass


def test_a_child_that_ends_by_itself_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    with inherited(tmp_path / "lock", 60, quiet) as lock:
        dying = child(tmp_path, "print('no such pool'); raise SystemExit(3)", lock)
        with pytest.raises(ChildError, match=r"worker: ended by itself with exit code 3(.|\n)*no such pool\nFix: "):
            dying.wait_until(lambda: False, 60)
        dying.stop()


def test_a_child_that_is_not_ready_in_time_is_named(tmp_path: Path) -> None:
    with inherited(tmp_path / "lock", 60, quiet) as lock:
        slow = child(tmp_path, "import time; time.sleep(600)", lock, "MLflow")
        with pytest.raises(ChildError, match="MLflow: not ready after 0 s"):
            slow.wait_until(lambda: False, 0)
        slow.stop()
        assert slow.supervisor.poll() == 128 + signal.SIGTERM


def test_the_log_of_the_last_time_is_kept(tmp_path: Path) -> None:
    with inherited(tmp_path / "lock", 60, quiet) as lock:
        for word in ("first", "second"):
            child(tmp_path, f"print('{word}')", lock).supervisor.wait()
    assert (tmp_path / "worker.log").read_text() == "second\n"
    assert (tmp_path / "worker.log.1").read_text() == "first\n"


def test_where_the_supervisor_itself_is_killed_stopping_leaves_nothing(tmp_path: Path) -> None:
    with inherited(tmp_path / "lock", 60, quiet) as lock:
        orphaned = child(tmp_path, WORKER, lock)
        assert within(60, lambda: (tmp_path / "worker.log").read_text() == "up\n")
        orphaned.supervisor.kill()
        orphaned.supervisor.wait()
        assert len(tagged(orphaned.tag)) == 2
        orphaned.stop()
        assert not tagged(orphaned.tag)


# Starts a grandchild in a session of its own, as Prefect's worker does, which does not hear SIGTERM.
WORKER = """
import subprocess, sys, time
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True)
time.sleep(600)
"""
STARTER = """
import os, sys, time
from pathlib import Path
from tasks.processes.locks import inherited
from tasks.processes.supervised import start
folder = Path(sys.argv[1])
with inherited(folder / "lock", 0, lambda: None) as lock:
    start("worker", [sys.executable, "-c", sys.argv[2]], os.environ, lock, log=folder / "worker.log")
    time.sleep(600)
"""


def test_kill_9_of_the_starter_leaves_no_child_and_no_grandchild(tmp_path: Path) -> None:
    """And whoever comes next waits for that: the lock is free only when the last of them is gone."""
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path), WORKER], cwd=ROOT)
    log = tmp_path / "worker.log"
    assert within(60, lambda: log.is_file() and log.read_text() == "up\n")
    (supervisor,) = psutil.Process(starter.pid).children()
    tag = supervisor.cmdline()[3]
    assert len(tagged(tag)) == 2
    starter.kill()
    starter.wait()
    waited: list[bool] = []
    with inherited(tmp_path / "lock", LONGEST, lambda: waited.append(True)):
        assert waited and not tagged(tag)


# A round below `ouro up`: it supervises a stage of its own.
NESTED = """
import os, sys, time
from pathlib import Path
from tasks.processes.locks import inherited
from tasks.processes.supervised import start
with inherited(Path("LOCK"), 0, lambda: None) as lock:
    start("stage", [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"], os.environ, lock)
    time.sleep(600)
"""


def test_a_supervised_process_supervises_and_all_of_it_ends(tmp_path: Path) -> None:
    """The stage of a round carries both tags, so that either supervisor finds it."""
    with inherited(tmp_path / "lock", 60, quiet) as lock:
        outer = child(tmp_path, NESTED.replace("LOCK", str(tmp_path / "inner")), lock)
        assert within(60, lambda: (tmp_path / "worker.log").read_text() == "up\n")
        below = tagged(outer.tag)
        tags = sorted(len([name for name in one.environ() if name.startswith(PREFIX)]) for one in below)
        assert tags == [1, 1, 2], "round, supervisor of the stage, stage"
        outer.stop()
        assert not any(is_alive(one) for one in below)


def pids_in(folder: Path) -> set[int]:
    """Processes of this user that work in a folder, but for this one."""
    everyone = psutil.process_iter(["cwd"])
    here = [one for one in everyone if one.info["cwd"] == str(folder) and is_alive(one)]
    return {one.pid for one in here} - {os.getpid()}


# In the checkout of the slow tests a round is this: seconds of work, one MLflow run with a file.
QUICK = """

def run(params_path, profile, overrides, rounds=1, commit=None):
    import os
    import time

    from prefect import flow

    from tasks import tracking
    from tasks.checkout import CheckoutError, only_run
    from tasks.processes.delivery import deliver_events
    from tasks.processes.prefect_server import prefect_server

    assert (params_path, profile, overrides, rounds, commit) == (None, None, (), 1, True)
    if Path("fails").exists():
        raise CheckoutError("photos: found nothing. Fix: correct the path")

    @flow(name="bootstrap")
    def bootstrap():
        with tracking.run("round 1") as opened:
            opened.artifact(Path("prefect.yaml"), "made")
            if Path("slow").exists():
                Path("at-work").write_text(str(os.getpid()))
                time.sleep(600)

    with only_run(), prefect_server():
        bootstrap()
        deliver_events()
"""


KEYS = {"OPENAI_API_KEY": "sk-person", "SOME_OTHER_KEY": "person"}


def assert_round_out_of_turn(started: Up) -> None:
    """As docs/nightly.md says; a run that names a command is refused."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment["PREFECT_API_URL"] = f"{started.address('Prefect')}/api"
    environment["PREFECT_HOME"] = str(started.checkout / ".ouro/prefect")
    command = (
        'PREFECT_API_AUTH_STRING=$(cat .ouro/prefect-server.auth) exec "$0" -m prefect deployment run nightly/nightly'
    )
    for more, code in ((["--job-variable", "command=touch owned"], 1), ([], 0)):
        words = ["sh", "-c", f'{command} "$@"', sys.executable, *more]
        done = subprocess.run(words, cwd=started.checkout, env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
    assert not (started.checkout / "owned").exists()


class Up:
    """`ouro up` in a checkout, and what its servers know."""

    def __init__(self, checkout: Path, *options: str) -> None:
        self.checkout = checkout
        names = ("PREFECT", "MLFLOW", "OURO")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(names)}
        command = [sys.executable, "-m", "cli.app", "up", *options]
        self.process = subprocess.Popen(
            command, cwd=checkout, env={**environment, **KEYS, "PYTHONPATH": str(checkout), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.lines: list[str] = []
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if line.startswith("Ctrl-C"):
                return
        raise AssertionError("\n".join(self.lines))

    def address(self, of: str) -> str:
        return next(line.split()[1] for line in self.lines if line.startswith(f"{of}:"))

    def auth(self) -> tuple[str, str]:
        user, _, password = (self.checkout / ".ouro/prefect-server.auth").read_text().strip().partition(":")
        return user, password

    def runs(self, flow: str = "nightly") -> list[dict[str, Any]]:
        """The runs of a flow that have begun, first one first."""
        import httpx

        filters = {"sort": "START_TIME_ASC", "flows": {"name": {"any_": [flow]}}}
        begun = ["RUNNING", "COMPLETED", "FAILED", "CRASHED", "CANCELLING"]
        filters |= {"flow_runs": {"state": {"type": {"any_": begun}}}}
        answer = httpx.post(
            f"{self.address('Prefect')}/api/flow_runs/filter", json=filters, auth=self.auth(), timeout=60
        )
        answer.raise_for_status()
        return answer.json()

    def states(self, flow: str = "nightly") -> list[str]:
        return [run["state_name"] for run in self.runs(flow)]

    def until(self, state: str, times: int = 1, seconds: float = 240) -> list[dict[str, Any]]:
        assert within(seconds, lambda: self.states().count(state) >= times), self.log()
        return [run for run in self.runs() if run["state_name"] == state]

    def log(self) -> str:
        return (self.checkout / ".ouro/worker.log").read_text()

    def at_work(self) -> dict[str, Any]:
        """The run of a slow round that has just begun its work, and says so in a file, which is removed."""
        file = self.checkout / "at-work"
        assert within(240, file.is_file), self.log()
        (running,) = self.until("Running")
        file.unlink()
        return running


def process_of(run: dict[str, Any]) -> int:
    return next(int(tag.rpartition(":")[2]) for tag in run["tags"] if tag.startswith("pid:"))


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """The files of a checkout that `ouro up` needs, with quick rounds; at the end no process may work there."""
    folder = tmp_path / "checkout"
    names = ("cli", "flows", "tasks", "ouro", "prefect.yaml", "params.yaml", "dvc.yaml", ".dvc/config", ".gitignore")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *names]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    with (folder / "flows/bootstrap.py").open("a") as file:
        file.write(QUICK)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    yield folder
    left = pids_in(folder)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def ports() -> tuple[str, ...]:
    return ("--prefect-port", str(free_port(0)), "--mlflow-port", str(free_port(0)))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_schedule_fires_rounds_that_never_overlap_and_sigterm_ends_everything(checkout: Path) -> None:
    started = Up(checkout, "--interval", "15", *ports())
    with listeners(started.process.pid) as seen:
        rounds_of(started, checkout)
    assert_loopback(started, seen)


def rounds_of(started: Up, checkout: Path) -> None:
    second = subprocess.run([sys.executable, "-m", "cli.app", "up"], cwd=checkout, capture_output=True, text=True)
    assert second.returncode == 2 and "another `ouro up` runs" in second.stderr
    completed = started.until("Completed", times=2)
    assert all("auto-scheduled" in run["tags"] for run in completed)
    assert len(started.states("bootstrap")) >= 2, "the round is a subflow"
    assert_artifact_served(started)
    assert_foreign_refused(started)
    assert_keys_only_where_needed(checkout)

    (checkout / "fails").touch()
    (failed, *_) = started.until("Failed")
    assert failed["state"]["message"] == "photos: found nothing. Fix: correct the path"
    (checkout / "fails").unlink()

    (checkout / "slow").touch()
    running = started.at_work()
    os.kill(process_of(running), signal.SIGKILL)
    (crashed,) = started.until("Crashed")
    assert crashed["id"] == running["id"]
    started.at_work()
    runs = started.runs()

    password = started.auth()[1]
    assert not [path for path in (checkout / ".ouro").glob("*.log*") if password in path.read_text()]
    assert not [line for line in started.lines if password in line], "its output is no terminal"
    started.process.send_signal(signal.SIGTERM)
    assert started.process.wait(90) == 0
    assert not pids_in(checkout)
    assert len(runs) >= 5 and all(at(one["end_time"]) <= at(two["start_time"]) for one, two in pairwise(runs))
    assert_artifact_in_store(checkout)


def assert_loopback(started: Up, seen: Listeners) -> None:
    for server, command in (("Prefect", "prefect server start"), ("MLflow", "mlflow")):
        port = int(started.address(server).rpartition(":")[2])
        assert all(command in listener for listener in seen.commands[("127.0.0.1", port)])
    assert not seen.open_to_others


def assert_foreign_refused(started: Up) -> None:
    """Another page's request and another name for 127.0.0.1; the person's own goes through."""
    import httpx

    prefect, mlflow = started.address("Prefect"), started.address("MLflow")
    url = f"{mlflow}/api/2.0/mlflow/experiments/search"
    for headers, status in (
        ({}, 200), ({"Origin": mlflow}, 200), ({"Origin": "http://attacker.example"}, 403),
        ({"Host": "attacker.example"}, 403),
    ):  # fmt: skip
        answer = httpx.post(url, json={"max_results": 1}, headers=headers, timeout=60)
        assert answer.status_code == status, (headers, answer.text)
    assert httpx.post(f"{prefect}/api/flow_runs/filter", json={}, timeout=60).status_code == 401
    headers = {"Origin": "http://attacker.example", "Access-Control-Request-Method": "POST"}
    for api in (f"{prefect}/api/flow_runs/filter", url):
        assert "access-control-allow-origin" not in httpx.options(api, headers=headers, timeout=60).headers


def assert_keys_only_where_needed(checkout: Path) -> None:
    """The worker, whose rounds may ask a model server, has its key; the servers have none."""
    environments: dict[str, set[str]] = {}
    for pid in pids_in(checkout):
        process = psutil.Process(pid)
        words = process.cmdline()[1:4]
        if words[:2] == ["-m", "prefect"] or words[:3] == ["-m", "mlflow", "server"]:
            environments[" ".join(words[1:])] = KEYS.keys() & process.environ().keys()
    assert environments == {"prefect server": set(), "mlflow server": set(), "prefect worker": {"OPENAI_API_KEY"}}


def mlflow_runs(store: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("rounds")
    assert experiment is not None
    return client.search_runs([experiment.experiment_id])


def assert_artifact_served(started: Up) -> None:
    """The run went through the server, which shows its file."""
    import httpx

    address = started.address("MLflow")
    last_run = next(run for run in mlflow_runs(address) if run.info.status == "FINISHED")
    query = {"path": "made/prefect.yaml", "run_uuid": last_run.info.run_id}
    assert "CANCEL_NEW" in httpx.get(f"{address}/get-artifact", params=query, timeout=60).text


def assert_artifact_in_store(checkout: Path) -> None:
    """Without a server the same run and file are read from the checkout."""
    from mlflow import MlflowClient

    store = f"sqlite:///{checkout}/mlflow.db"
    runs = mlflow_runs(store)
    assert {run.info.status for run in runs} >= {"FINISHED", "FAILED"}, "a round that is stopped ends its run"
    (file,) = MlflowClient(tracking_uri=store).list_artifacts(runs[-1].info.run_id, "made")
    assert file.path == "made/prefect.yaml"
    assert runs[-1].info.artifact_uri.startswith((checkout / "mlartifacts").as_uri())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_after_kill_9_the_next_one_starts_and_marks_the_round_that_was_at_work(checkout: Path) -> None:
    (checkout / "slow").touch()
    first = Up(checkout, "--interval", "15", *ports())
    killed = first.at_work()
    first.process.kill()
    first.process.wait()
    (checkout / "slow").unlink()
    second = Up(checkout, "--interval", "15", *ports())
    assert second.address("Prefect") == first.address("Prefect"), "the server of the checkout is shared"
    assert next(run["state_name"] for run in second.runs() if run["id"] == killed["id"]) == "Crashed"
    second.until("Completed")
    assert_round_out_of_turn(second)

    note = checkout / ".ouro/prefect-server.json"
    server = json.loads(note.read_text())
    os.kill(server["pid"], signal.SIGKILL)
    assert within(60, lambda: note.is_file() and json.loads(note.read_text())["pid"] != server["pid"])
    assert within(START_SECONDS, lambda: healthy(server["api"])), "it is started again, and rounds go on"
    second.until("Completed", times=second.states().count("Completed") + 1, seconds=480)

    words = {pid: psutil.Process(pid).cmdline() for pid in pids_in(checkout)}
    (mlflow,) = (pid for pid, command in words.items() if command[1:4] == ["-m", "mlflow", "server"])
    os.kill(mlflow, signal.SIGKILL)
    assert second.process.wait(120) == 1
    assert second.process.stdout is not None
    assert "MLflow: ended by itself with exit code 137" in second.process.stdout.read()
    assert not healthy(server["api"])
