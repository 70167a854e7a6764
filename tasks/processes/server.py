"""A Prefect server on loopback as a process: started, asked how it is, found again, stopped.

Its note .ouro/prefect-server.json names its pid and address. It answers only to who has the string of
tasks/processes/auth.py.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from ouro.core.endpoints import Answer, ask, masked, origin
from ouro.core.errors import OuroError
from ouro.core.files import write_json
from ouro.core.json_text import parse_json
from ouro.core.processes import end, is_alive
from ouro.core.state import State
from tasks.processes.auth import SERVER, admits, auth_string, stored_auth
from tasks.processes.environments import prefect_server_environment, quiet_environment
from tasks.processes.supervised import end_of

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
PORT = 4200
NEXT = 20  # ports to try from the wanted one on, before any free one is taken
START_SECONDS = 240  # 10 s on two idle cores
URL = "PREFECT_API_URL"


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


class PrefectAddressError(OuroError, ValueError):
    """No Prefect server answers at the address that the person has set."""


class PortTaken(ServerError):
    """Another server took the port between the look whether it is free and the start."""


def configured_api() -> str | None:
    """The API address that the person has set: PREFECT_API_URL, or the active profile's."""
    if url := os.environ.get(URL):
        return url
    try:
        profiles = tomllib.loads(_profiles().read_text())
    except (OSError, ValueError):
        return None
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active", "")
    return profiles.get("profiles", {}).get(active, {}).get("PREFECT_API_URL")


def _profiles() -> Path:
    return Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser() / "profiles.toml"


def address_problem(api: str, seconds: float = 10.0) -> str:
    """The sentence for an address at which no Prefect server answers, up to its "Fix:"; "" where one does."""
    answer = ask(f"{api}/health", seconds)
    if _is_healthy(answer):
        return ""
    where = origin(URL) if os.environ.get(URL) else f"{URL} (of {_profiles()})"
    return f"{where}: got {masked(api)}, {answer.what}, expected a Prefect server"


ADDRESS_FIX = "start that server, or unset it: Ouro then starts its own"


def refusal(api: str) -> str:
    """The sentence for a server that does not take the credentials that are set."""
    return (
        f"{origin(URL)}: got {masked(api)}, which refuses these credentials, expected ones that it takes. Fix: set "
        "PREFECT_API_AUTH_STRING to its user:password (PREFECT_API_KEY for Prefect Cloud)"
    )


def healthy(api: str, timeout: float = 2.0) -> bool:
    """Whether a Prefect API answers at `api`."""
    return _is_healthy(ask(f"{api}/health", timeout))


def _is_healthy(answer: Answer) -> bool:
    return answer.status == 200 and answer.body.strip() == b"true"


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


def started_earlier(state: State) -> Server | None:
    """The server of the state file, if it still answers, and to the string of this checkout alone."""
    server, auth = read_server(state), stored_auth(state)
    if server is None or auth is None or not (is_alive(server.pid) and healthy(server.api)):
        return None
    return server if admits(server.api, auth) and admits(server.api, None) is False else None


def launch(state: State, port: int = PORT) -> tuple[Server, subprocess.Popen[bytes]]:
    """Start a server in the background, on `port` if that is free; it answers some 10 s later (see `wait`).

    It answers to the string of this checkout alone (`auth_string`), and a browser's requests from its own page alone.
    """
    port = free_port(port)
    api = f"http://{HOST}:{port}/api"
    state.folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **prefect_server_environment({**os.environ, **quiet_environment(state)}),
        SERVER: auth_string(state),
        "PREFECT_SERVER_UI_API_URL": api,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{port}",
    }
    environment.pop("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", None)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    with state.prefect_log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment,
            start_new_session=True,
        )  # fmt: skip
    server = Server(api, process.pid)
    write_json(state.prefect_server, asdict(server))
    return server, process


def wait(server: Server, process: subprocess.Popen[bytes], state: State) -> None:
    """Block until the server answers, to this checkout's string. Raises ServerError with the end of its log: PortTaken
    where another checkout's server answers in its place."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if healthy(server.api) and admits(server.api, auth_string(state)):
            return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    kind = PortTaken if process.poll() is not None and healthy(server.api) else ServerError
    stop(server, state)
    raise kind(
        f"Prefect server at {server.api}: no answer after {START_SECONDS} s; {end_of(state.prefect_log)}\n"
        "Fix: run `uv run ouro doctor`, or start one yourself and set PREFECT_API_URL"
    )


def stop(server: Server, state: State) -> None:
    """Stop a server that Ouro started, with what it started. One that runs no more: its note goes."""
    if server.pid is None:
        return
    state.prefect_server.unlink(missing_ok=True)
    with suppress(psutil.NoSuchProcess):
        end([psutil.Process(server.pid)])


def read_server(state: State) -> Server | None:
    """The server of the note, whether it answers or not."""
    try:
        return Server(**parse_json(state.prefect_server.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def stop_unguarded(state: State) -> None:
    """Stop a server of this checkout that still runs and answers to anybody, or to a string that is gone.

    An earlier version started such ones. That the pid is another process's by now is ruled out: who is stopped is a
    Prefect server at that address, started in this folder.
    """
    server = read_server(state)
    if server is None or server.pid is None or not is_alive(server.pid):
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
