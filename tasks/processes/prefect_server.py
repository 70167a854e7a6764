"""One local Prefect server on loopback for everything that runs together, started only when none is configured.

Without a server every process starts a temporary one (about 10 s each). The server's state file
.ouro/prefect-server.json names its pid and address; a live one is reused, also when who started it was killed. It
answers only to who has the string of tasks/processes/auth.py.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil
from filelock import FileLock

from ouro.core.artifacts import write_json
from ouro.core.errors import OuroError
from tasks import screen
from tasks.processes.auth import CLIENT, SERVER, admits, auth_string, login_hint, stored_auth
from tasks.processes.environments import prefect_server_environment, quiet_environment

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
PORT = 4200
NEXT = 20  # ports to try from the wanted one on, before any free one is taken
START_SECONDS = 120
WATCH_SECONDS = 2.0  # between two looks at whether the server is still there
ROUND = "OURO_ROUND"  # the number of the round that a stage's process works for
TASK_RUN = "OURO_TASK_RUN"  # the id of the Prefect task run that waits for it
URL = "PREFECT_API_URL"
FILE = Path("prefect-server.json")
USERS = "prefect-server.users.lock"


@dataclass(frozen=True)
class Server:
    """A Prefect server: its API address and, if Ouro started it, its pid."""

    api: str
    pid: int | None = None

    @property
    def ui(self) -> str:
        return self.api.removesuffix("/api")


class ServerError(OuroError, RuntimeError):
    """The local Prefect server did not come up."""


def configured_api() -> str | None:
    """The API address that the person has set: PREFECT_API_URL, or the active profile's."""
    if url := os.environ.get(URL):
        return url
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    try:
        profiles = tomllib.loads((home / "profiles.toml").read_text())
    except (OSError, tomllib.TOMLDecodeError):
        return None
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active", "")
    return profiles.get("profiles", {}).get(active, {}).get("PREFECT_API_URL")


def healthy(api: str, timeout: float = 2.0) -> bool:
    """Whether a Prefect API answers at `api`."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=timeout) as answer:
            return answer.status == 200 and answer.read().strip() == b"true"
    except (urllib.error.URLError, OSError, ValueError):
        return False


def free_port(preferred: int = PORT) -> int:
    """`preferred` if nothing listens there on loopback, else the next one that is free. Raises ServerError."""
    for port in (*range(preferred, min(preferred + NEXT, 65536)), 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise ServerError(f"no free port on {HOST}; got none from the system, expected one. Fix: close some programs")


def alive(pid: int | None) -> bool:
    """Whether a process of that id exists and is not a zombie."""
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:  # no /proc here, or the process vanished meanwhile
        return not Path("/proc/self/stat").exists()
    except ProcessLookupError:
        return False


def started_earlier(state: Path) -> Server | None:
    """The server of the state file, if it still answers, and to the string of this checkout alone."""
    server, auth = _noted(state), stored_auth(state)
    if server is None or auth is None or not (alive(server.pid) and healthy(server.api)):
        return None
    return server if admits(server.api, auth) and admits(server.api, None) is False else None


def launch(state: Path, port: int = PORT) -> tuple[Server, subprocess.Popen[bytes]]:
    """Start a server in the background, on `port` if that is free; it answers some 10 s later (see `wait`).

    It answers to the string of this checkout alone (`auth_string`), and a browser's requests from its own page alone.
    """
    port = free_port(port)
    api = f"http://{HOST}:{port}/api"
    state.mkdir(parents=True, exist_ok=True)
    environment = {
        **prefect_server_environment({**os.environ, **quiet_environment(state)}),
        SERVER: auth_string(state),
        "PREFECT_SERVER_UI_API_URL": api,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{port}",
    }
    environment.pop("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", None)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    with (state / "prefect-server.log").open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment,
            start_new_session=True,
        )  # fmt: skip
    server = Server(api, process.pid)
    write_json(state / FILE, asdict(server))
    return server, process


def wait(server: Server, process: subprocess.Popen[bytes], state: Path) -> None:
    """Block until the server answers. Raises ServerError with the end of its log."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if healthy(server.api):
            return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    stop(server, state)
    tail = (state / "prefect-server.log").read_text(errors="replace")[-1500:]
    raise ServerError(
        f"Prefect server at {server.api}: no answer after {START_SECONDS} s; its log ends:\n{tail}\n"
        "Fix: run `uv run ouro doctor`, or start one yourself and set PREFECT_API_URL"
    )


def stop(server: Server, state: Path) -> None:
    """Stop a server that Ouro started: its own process group only."""
    if server.pid is None:
        return
    (state / FILE).unlink(missing_ok=True)
    for sign, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(server.pid, sign)
        except (ProcessLookupError, PermissionError):
            return
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            _reap(server.pid)
            if not alive(server.pid):
                return
            time.sleep(0.05)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # started by an earlier, killed run: not our child


@contextmanager
def prefect_server(
    state: Path = Path(".ouro"), while_waiting: Callable[[], None] = lambda: None, *, online: bool = False,
    port: int = PORT,
) -> Generator[Server]:  # fmt: skip
    """A Prefect API for this process and its children: configured, still running, or started here.

    `while_waiting` runs while a new server comes up (some 10 s); `online`: something has to be fetched from the hub;
    `port`: of a new server, if it is free.
    Processes of one checkout share a server, whatever they do, and the last to leave stops it; the system frees the
    locks of those that are killed. Raises ServerError.
    """
    os.environ.update(quiet_environment(state, online=online))
    if configured := configured_api():
        while_waiting()
        with _reporting_to({URL: configured}):
            yield Server(configured)
        return
    state.mkdir(parents=True, exist_ok=True)
    with (state / USERS).open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with FileLock(state / "prefect-server.start.lock"):
            server = started_earlier(state) or _started(state, while_waiting, port)
        try:
            with _reporting_to({URL: server.api, CLIENT: auth_string(state)}), _watched(server, state):
                yield server
        finally:
            if _is_last(users):
                stop(_noted(state) or server, state)


@contextmanager
def _watched(server: Server, state: Path) -> Generator[None]:
    """Start a server that was killed again, at its address, while it is used: Prefect's clients try for two minutes."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(WATCH_SECONDS):
            now = _noted(state) or server
            if now.pid is None or alive(now.pid):
                continue
            _reap(now.pid)
            with FileLock(state / "prefect-server.start.lock"):
                if _noted(state) in (None, now) and not ended.is_set():  # nobody else has
                    _again(server, state)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _again(server: Server, state: Path) -> None:
    """Start it at the same address, or leave it for the next look where that is not free yet."""
    log.warning("the Prefect server at %s is gone; it is started again", server.api)
    made, _ = launch(state, int(server.api.removesuffix("/api").rpartition(":")[2]))
    if made.api != server.api:
        stop(made, state)


def _noted(state: Path) -> Server | None:
    """The server of the state file, whether it answers or not."""
    try:
        return Server(**json.loads((state / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _stop_unguarded(state: Path) -> None:
    """Stop a server of this checkout that still runs and answers to anybody, or to a string that is gone.

    An earlier version started such ones. That the pid is another process's by now is ruled out: who is stopped is a
    Prefect server at that address, started in this folder.
    """
    server = _noted(state)
    if server is None or server.pid is None or not alive(server.pid):
        return
    auth = stored_auth(state)
    if not (admits(server.api, None) or (auth is None or admits(server.api, auth)) is False):
        return
    with suppress(psutil.Error):
        process = psutil.Process(server.pid)
        started = process.cmdline()[1:4] == ["-m", "prefect", "server"] and server.ui.endswith(process.cmdline()[-1])
        if started and Path(process.cwd()) == Path.cwd():
            log.warning("the Prefect server at %s answers without this checkout's string; it is stopped", server.api)
            stop(server, state)


def _started(state: Path, while_waiting: Callable[[], None], port: int) -> Server:
    _stop_unguarded(state)
    server, process = launch(state, port)
    try:
        while_waiting()
        wait(server, process, state)
    except BaseException:
        stop(server, state)
        raise
    return server


@contextmanager
def _reporting_to(settings: Mapping[str, str]) -> Generator[None]:
    """Prefect's settings in the environment of this process and its children; afterwards as they were."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    _use_environment()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _is_last(users: IO[str]) -> bool:
    """Whether nobody else uses the server; then nobody else can begin to until `users` is closed."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _use_environment() -> None:
    """Prefect reads its settings at import: where that has happened already, let it read them again."""
    if "prefect" not in sys.modules:
        return
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging

    refresh_global_settings_context()
    setup_logging(incremental=False)


def say_address(server: Server, state: Path = Path(".ouro")) -> None:
    """Where the page of the Prefect server is, and, for one of Ouro's own, how to get in."""
    screen.say(f"Prefect: {server.ui}{'' if server.pid is None else login_hint(state, sys.stdout.isatty())}")


def sweep_stale_runs() -> int:
    """Mark as Crashed the flow runs that a killed process of this machine left Running. Returns how many.

    Only runs with our tag `pid:N` are touched, and only when that process is gone.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    running = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))
    swept = 0
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=running):
            if any(
                t.startswith(f"pid:{socket.gethostname()}:") and not alive(int(t.rpartition(":")[2])) for t in run.tags
            ):
                client.set_flow_run_state(run.id, Crashed(message="its process is gone"), force=True)
                swept += 1
    return swept


def process_tag() -> str:
    """The tag by which `sweep_stale_runs` knows whose a run is."""
    return f"pid:{socket.gethostname()}:{os.getpid()}"
