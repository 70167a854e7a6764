"""Prefect's server: who has no password gets nothing, no foreign page may ask, and nobody names a run's command.

One real server for all of it, started with keys of the person in the environment.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from listening import listeners

from ouro.core.processes import end, is_alive
from ouro.core.state import State, state_of
from tasks import screen
from tasks.processes import deployment
from tasks.processes.auth import CLIENT, admits, auth_string, login_hint, stored_auth
from tasks.processes.environments import mlflow_server_environment, prefect_server_environment, round_environment
from tasks.processes.prefect_server import (
    Server,
    free_port,
    launch,
    prefect_server,
    say_address,
    started_earlier,
    stop,
    wait,
)

ROOT = Path(__file__).resolve().parent.parent
FOREIGN = "http://attacker.example"
KEYS = {"OPENAI_API_KEY": "sk-person", "HF_TOKEN": "hf_person", "AWS_SECRET_ACCESS_KEY": "aws-person"}


class Running(NamedTuple):
    server: Server
    state: State

    def ask(self, method: str, path: str, auth: str | None = None, **more: Any) -> Any:
        import httpx

        login = None if auth is None else (auth.partition(":")[0], auth.partition(":")[2])
        with httpx.Client(auth=login, timeout=60, trust_env=False) as client:
            return client.request(method, f"{self.server.api}{path}", **more)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    state = state_of(tmp_path_factory.mktemp("checkout"))
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PREFECT")]:
            patch.delenv(name)
        for name, value in KEYS.items():
            patch.setenv(name, value)
        server, process = launch(state, free_port(0))
        wait(server, process, state)
    yield Running(server, state)
    stop(server, state)


def test_a_port_that_another_checkout_took_meanwhile_is_left_to_it(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both found it free, and the other was first: its server answers there, to another string."""
    for name in [name for name in os.environ if name.startswith("PREFECT")]:
        monkeypatch.delenv(name)
    state, port = State(tmp_path), int(running.server.ui.rpartition(":")[2])
    ports = iter([port, free_port(0)])
    monkeypatch.setattr("tasks.processes.server.free_port", lambda _: next(ports))
    with prefect_server(state) as server:
        assert server.api != running.server.api and admits(server.api, auth_string(state)) is True
    assert not is_alive(server.pid) and admits(running.server.api, auth_string(running.state)) is True


@pytest.fixture
def client(running: Running) -> Iterator[Any]:
    """Prefect's own client, with the string."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    settings: dict[Any, Any] = {
        PREFECT_API_URL: running.server.api,
        PREFECT_API_AUTH_STRING: auth_string(running.state),
    }
    with temporary_settings(settings), get_client(sync_client=True) as api_client:
        yield api_client


@pytest.mark.parametrize("auth", [None, "admin:wrong", "admin:"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/flow_runs/filter"),
        ("POST", "/deployments/00000000-0000-0000-0000-000000000000/create_flow_run"),
        ("POST", "/work_pools/"),
        ("POST", "/work_pools/filter"),
        ("GET", "/admin/settings"),
        ("GET", "/admin/version"),
    ],
)
def test_without_the_string_a_request_gets_401(running: Running, method: str, path: str, auth: str | None) -> None:
    answer = running.ask(method, path, auth, json={} if method == "POST" else None)
    assert answer.status_code == 401


def test_with_the_string_the_same_requests_are_answered(running: Running) -> None:
    auth = auth_string(running.state)
    assert running.ask("POST", "/flow_runs/filter", auth, json={}).json() == []
    assert running.ask("GET", "/admin/version", auth).status_code == 200
    assert running.ask("GET", "/health").json() is True, "open: it says no more than that"
    assert admits(running.server.api, auth) is True
    assert [admits(running.server.api, other) for other in (None, "admin:wrong")] == [False, False]
    assert admits("http://127.0.0.1:9/api", auth) is None
    assert started_earlier(running.state) == running.server


def test_a_foreign_host_needs_the_string_too(running: Running) -> None:
    """A name that an attacker's DNS turns into 127.0.0.1."""
    headers = {"Host": "attacker.example"}
    assert running.ask("POST", "/flow_runs/filter", json={}, headers=headers).status_code == 401


@pytest.mark.parametrize("path", ["/flow_runs/filter", "/work_pools/", "/admin/version"])
def test_a_foreign_pages_preflight_is_refused_and_the_own_pages_is_not(running: Running, path: str) -> None:
    request_headers = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    foreign = running.ask("OPTIONS", path, headers={**request_headers, "Origin": FOREIGN})
    assert foreign.status_code == 400 and "access-control-allow-origin" not in foreign.headers
    answer = running.ask("OPTIONS", path, headers={**request_headers, "Origin": running.server.ui})
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == running.server.ui
    assert "authorization" in answer.headers["access-control-allow-headers"]


def test_a_foreign_page_may_read_no_answer_and_the_own_one_may(running: Running) -> None:
    auth = auth_string(running.state)
    for origin, allowed in ((FOREIGN, None), (running.server.ui, running.server.ui)):
        answer = running.ask("POST", "/flow_runs/filter", auth, json={}, headers={"Origin": origin})
        assert answer.headers.get("access-control-allow-origin") == allowed


def test_the_page_loads_and_asks_for_the_password(running: Running) -> None:
    import httpx

    settings = httpx.get(f"{running.server.ui}/ui-settings", timeout=60, trust_env=False).json()
    assert settings["auth"] == "BASIC" and settings["api_url"] == running.server.api
    page = httpx.get(running.server.ui, headers={"Accept": "text/html"}, follow_redirects=True, trust_env=False)
    assert page.status_code == 200 and "<html" in page.text


@pytest.mark.parametrize("path", ["/events/in", "/events/out", "/logs/out"])
def test_events_and_logs_need_the_string(running: Running, path: str) -> None:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    def enters(token: str | None) -> bool:
        address = running.server.api.replace("http", "ws", 1) + path
        try:
            with connect(address, subprotocols=[Subprotocol("prefect")], proxy=None) as socket:
                socket.send(json.dumps({"type": "auth", "token": token}))
                return json.loads(socket.recv(timeout=30))["type"] == "auth_success"
        except WebSocketException:
            return False

    assert [enters(token) for token in (auth_string(running.state), "admin:wrong", None)] == [True, False, False]


def test_the_string_is_in_a_file_of_its_owner_and_nowhere_else(running: Running) -> None:
    auth = auth_string(running.state)
    assert stat.S_IMODE(running.state.prefect_auth.stat().st_mode) == 0o600
    user, _, password = auth.partition(":")
    assert user == "admin" and len(password) == 32  # 24 random bytes
    assert password not in " ".join(psutil.Process(running.server.pid).cmdline())
    others = [path for path in running.state.folder.rglob("*") if path.is_file() and path != running.state.prefect_auth]
    assert len(others) >= 3 and not [path for path in others if password.encode() in path.read_bytes()]


def test_the_server_finds_none_of_the_persons_keys(running: Running) -> None:
    environment = psutil.Process(running.server.pid).environ()
    assert not KEYS.keys() & environment.keys() and CLIENT not in environment
    assert environment["PREFECT_HOME"] == str(running.state.prefect_home) and environment["PATH"] == os.environ["PATH"]


def test_it_listens_on_loopback_alone(running: Running) -> None:
    with listeners(running.server.pid) as seen:
        time.sleep(0.3)
    assert ("127.0.0.1", int(running.server.ui.rpartition(":")[2])) in seen.commands
    assert not seen.open_to_others


# ---- the work pool ---------------------------------------------------------------------------------------------------


def deployed(running: Running, client: Any, entrypoint: str = "nowhere.nothing") -> str:
    """The id of a new deployment in the pool, of a flow in this folder."""
    auth = auth_string(running.state)
    deployment.make_pool(client)
    flow = running.ask("POST", "/flows/", auth, json={"name": "nightly"}).json()["id"]
    body = {"name": f"d{time.time_ns()}", "flow_id": flow, "entrypoint": entrypoint, "path": str(ROOT)}
    body |= {"pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}]}
    answer = running.ask("POST", "/deployments/", auth, json={**body, "work_pool_name": deployment.POOL})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@pytest.mark.parametrize(
    "job_variables",
    [
        {"command": "touch owned"},
        {"env": {"LD_PRELOAD": "owned.so"}},
        {"env.LD_PRELOAD": "owned.so"},
        {"working_dir": "/"},
        {"stream_output": False},
        {"name": "owned"},
    ],
)
def test_a_run_that_names_its_command_environment_or_folder_is_refused(
    running: Running, client: Any, job_variables: dict[str, Any]
) -> None:
    auth, deployment = auth_string(running.state), deployed(running, client)
    body = {"job_variables": job_variables}
    assert running.ask("POST", f"/deployments/{deployment}/create_flow_run", auth, json=body).status_code == 422
    assert running.ask("POST", f"/deployments/{deployment}/create_flow_run", auth, json={}).status_code == 201


def test_the_pool_of_an_earlier_version_is_mended_and_stays_paused(running: Running, client: Any) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.workers.process import ProcessWorker

    running.ask("DELETE", f"/work_pools/{deployment.POOL}", auth_string(running.state))
    earlier = ProcessWorker.get_default_base_job_template()
    client.create_work_pool(WorkPoolCreate(name=deployment.POOL, type="process", base_job_template=earlier))
    client.update_work_pool(deployment.POOL, WorkPoolUpdate(is_paused=True))
    deployment.make_pool(client)
    pool = client.read_work_pool(deployment.POOL)
    client.update_work_pool(deployment.POOL, WorkPoolUpdate(is_paused=False))
    assert pool.base_job_template == deployment.TEMPLATE and pool.is_paused


FLOW = """
import os
from pathlib import Path
from prefect import flow

@flow
def harmless():
    Path(os.environ["OURO_TEST_OUT"]).write_text(f"{os.getcwd()} {os.environ.get('OWNED')}")
"""


def within(seconds: float, true: Callable[[], object]) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.5)
    return bool(true())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_real_worker_runs_no_command_that_a_run_carries(running: Running, client: Any, tmp_path: Path) -> None:
    """Neither its own nor its deployment's: the server took both before the pool was mended, the worker heeds none."""
    from prefect.client.schemas.actions import WorkPoolUpdate
    from prefect.workers.process import ProcessWorker

    auth, owned, out = auth_string(running.state), tmp_path / "owned", tmp_path / "out"
    (tmp_path / "harmless_flow.py").write_text(FLOW)
    flow_deployment = deployed(running, client, "harmless_flow.harmless")
    earlier = ProcessWorker.get_default_base_job_template()
    client.update_work_pool(deployment.POOL, WorkPoolUpdate(base_job_template=earlier))
    carried = {"job_variables": {"command": f"touch {owned}", "env": {"OWNED": "1"}, "working_dir": "/"}}
    assert running.ask("PATCH", f"/deployments/{flow_deployment}", auth, json=carried).status_code == 204
    answers = [
        running.ask("POST", f"/deployments/{flow_deployment}/create_flow_run", auth, json=it) for it in (carried, {})
    ]
    assert [answer.status_code for answer in answers] == [201, 201], "as Prefect's default template takes it"
    runs = [answer.json()["id"] for answer in answers]
    deployment.make_pool(client)

    settings = {"PREFECT_API_URL": running.server.api, CLIENT: auth, "PREFECT_HOME": str(running.state.prefect_home)}
    more = {"OURO_TEST_OUT": str(out), "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", deployment.POOL, "--type", "process"]
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(
            [*command, "--install-policy", "never"], cwd=ROOT, stdout=log, stderr=log,
            env={**round_environment(os.environ), **settings, **more},
        )  # fmt: skip
    try:

        def states() -> set[str]:
            return {running.ask("GET", f"/flow_runs/{run}", auth).json()["state_type"] for run in runs}

        assert within(200, lambda: states() <= {"COMPLETED", "FAILED", "CRASHED"}), (tmp_path / "log").read_text()
    finally:
        end([worker], 60)  # as `ouro up` ends it; on a busy machine it takes leave of its server slowly
    assert states() == {"COMPLETED"}, (tmp_path / "log").read_text()
    assert out.read_text() == f"{ROOT} None", "the flow itself ran, in its folder, without the added variable"
    assert not owned.exists()


# ---- the string, from start to start ---------------------------------------------------------------------------------


def test_a_checkout_keeps_its_string_and_another_has_another(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = State(tmp_path / "a"), State(tmp_path / "b")
    assert stored_auth(one) is None
    first = auth_string(one)
    assert auth_string(one) == first == stored_auth(one) != auth_string(other)
    assert list(one.folder.iterdir()) == [one.prefect_auth]


def test_the_string_is_shown_on_a_terminal_and_its_file_is_named_in_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = auth_string(State(tmp_path))
    assert login_hint(State(tmp_path), terminal=True) == f"  (password when asked: {auth})"
    assert login_hint(State(tmp_path), terminal=False) == f"  (password when asked: in {State(tmp_path).prefect_auth})"
    lines: list[str] = []
    monkeypatch.setattr(screen, "say", lines.append)
    say_address(Server("http://127.0.0.1:4200/api", 1), State(tmp_path))
    say_address(Server("http://elsewhere:4200/api"), State(tmp_path))
    assert lines == [
        f"Prefect: http://127.0.0.1:4200  (password when asked: in {State(tmp_path).prefect_auth})",
        "Prefect: http://elsewhere:4200",
    ]


def test_a_server_of_the_persons_own_gets_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere:4200/api")
    for check in ("_check_address", "_check_credentials"):  # no such server is there
        monkeypatch.setattr(f"tasks.processes.prefect_server.{check}", lambda *_: None)
    monkeypatch.setenv(CLIENT, "ann:hers")
    with prefect_server(State(tmp_path)) as server:
        assert server.pid is None and os.environ[CLIENT] == "ann:hers"
    assert os.environ[CLIENT] == "ann:hers" and not (State(tmp_path).prefect_auth).exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_open_server_of_an_earlier_version_is_stopped_and_not_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PREFECT")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    port = free_port(0)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    earlier = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    api = f"http://127.0.0.1:{port}/api"
    assert within(120, lambda: admits(api, None))
    (tmp_path / "prefect-server.json").write_text(json.dumps({"api": api, "pid": earlier.pid}))
    with prefect_server(State(tmp_path), port=port) as server:
        assert server.pid != earlier.pid and not is_alive(earlier.pid)
        assert os.environ[CLIENT] == auth_string(State(tmp_path)) and admits(server.api, None) is False
    assert CLIENT not in os.environ


# ---- the environment -------------------------------------------------------------------------------------------------

PERSON = {
    "PATH": "/bin", "LC_ALL": "C", "VIRTUAL_ENV": "/v", "https_proxy": "http://p", "PGPASSWORD": "pg",
    "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://u:p@db/x", "PREFECT_API_URL": "http://h/api",
    "PREFECT_API_KEY": "pnu", "PREFECT_API_AUTH_STRING": "a:b", "MLFLOW_TRACKING_URI": "http://m",
    "MLFLOW_TRACKING_PASSWORD": "m", "MLFLOW_S3_ENDPOINT_URL": "http://s3", "AWS_SECRET_ACCESS_KEY": "aws",
    "OPENAI_API_KEY": "sk", "HF_TOKEN": "hf", "SSH_AUTH_SOCK": "/s", "CUDA_VISIBLE_DEVICES": "1", "OURO_ROUND": "2",
    "ANTHROPIC_API_KEY": "other", "AZURE_OPENAI_API_KEY": "other", "GOOGLE_API_KEY": "other", "GITHUB_TOKEN": "other",
    "DATABASE_URL": "other", "PATHS": "other",
}  # fmt: skip
BASICS = {"PATH", "LC_ALL", "VIRTUAL_ENV", "https_proxy", "PGPASSWORD"}


def test_prefects_server_gets_its_settings_and_database_alone() -> None:
    assert prefect_server_environment(PERSON).keys() == BASICS | {"PREFECT_API_DATABASE_CONNECTION_URL"}


def test_mlflows_server_gets_its_settings_and_stores_alone() -> None:
    assert mlflow_server_environment(PERSON).keys() == BASICS | {"MLFLOW_S3_ENDPOINT_URL", "AWS_SECRET_ACCESS_KEY"}


def test_a_round_gets_what_its_work_needs_and_no_other_key() -> None:
    others = {name for name, value in PERSON.items() if value == "other"}
    assert len(others) == 6
    assert round_environment(PERSON) == {name: value for name, value in PERSON.items() if name not in others}
