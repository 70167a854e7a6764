"""One local Prefect server for everything that runs together, started only when none is configured.

Without a server every process starts a temporary one (about 10 s each). A live one of this checkout is reused, also
when who started it was killed; who uses it starts it again when it is killed itself.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

from ouro.core.endpoints import masked
from ouro.core.processes import is_alive
from ouro.core.state import CHECKOUT, State
from tasks import screen
from tasks.processes.auth import CLIENT, auth_string, login_hint
from tasks.processes.environments import quiet_environment
from tasks.processes.locks import exclusive, shared, try_exclusive
from tasks.processes.server import (
    ADDRESS_FIX,
    HOST,
    PORT,
    START_SECONDS,
    URL,
    PortTaken,
    PrefectAddressError,
    Server,
    ServerError,
    address_problem,
    configured_api,
    free_port,
    healthy,
    launch,
    read_server,
    refusal,
    started_earlier,
    stop,
    stop_unguarded,
    wait,
)
from tasks.processes.stale_runs import process_tag, sweep_stale_runs

__all__ = [
    "ADDRESS_FIX",
    "HOST",
    "PORT",
    "ROUND",
    "START_SECONDS",
    "TASK_RUN",
    "PrefectAddressError",
    "Server",
    "ServerError",
    "address_problem",
    "configured_api",
    "free_port",
    "healthy",
    "launch",
    "prefect_server",
    "process_tag",
    "refusal",
    "say_address",
    "started_earlier",
    "stop",
    "sweep_stale_runs",
    "wait",
]  # fmt: skip

log = logging.getLogger(__name__)

STARTS = 3  # of a server, where others take its port
OWN_SECONDS = 120.0  # for a server of this checkout that was killed and is started again by who uses it
WATCH_SECONDS = 2.0  # between two looks at whether the server is still there
ROUND = "OURO_ROUND"  # the number of the round that a stage's process works for
TASK_RUN = "OURO_TASK_RUN"  # the id of the Prefect task run that waits for it


@contextmanager
def prefect_server(
    state: State = CHECKOUT, while_waiting: Callable[[], None] = lambda: None, *, online: bool = False,
    port: int = PORT,
) -> Generator[Server]:  # fmt: skip
    """A Prefect API for this process and its children: configured, still running, or started here.

    `while_waiting` runs while a new server comes up (some 10 s); `online`: something has to be fetched from the hub;
    `port`: of a new server, if it is free.
    Processes of one checkout share a server, whatever they do, and the last to leave stops it; the system frees the
    locks of those that are killed. Raises ServerError, and PrefectAddressError for an address where none answers.
    """
    os.environ.update(quiet_environment(state, online=online))
    if configured := configured_api():
        _check_address(configured, state)
        while_waiting()
        with _reporting_to({URL: configured}):
            _check_credentials(configured)
            yield Server(configured)
        return
    with shared(state.server_users_lock) as users:
        with exclusive(state.server_start_lock):
            server = started_earlier(state) or _started(state, while_waiting, port)
        try:
            with _reporting_to({URL: server.api, CLIENT: auth_string(state)}), _watched(server, state):
                yield server
        finally:
            if try_exclusive(users):  # nobody else uses it, and nobody can begin to until this block ends
                stop(read_server(state) or server, state)


def _check_address(api: str, state: State) -> None:
    """Raise PrefectAddressError unless a Prefect server answers; this checkout's own may be starting again."""
    note = read_server(state)
    own = note is not None and note.api == api
    deadline = time.monotonic() + (OWN_SECONDS if own else 0.0)
    problem = address_problem(api, 2.0)
    if problem:
        screen.say(f"waiting for the Prefect server at {masked(api)}")
        problem = address_problem(api)
    while problem and time.monotonic() < deadline:
        time.sleep(WATCH_SECONDS)
        problem = address_problem(api)
    if problem:
        raise PrefectAddressError(f"{problem}. Fix: {ADDRESS_FIX}")


def _check_credentials(api: str) -> None:
    """Raise PrefectAddressError unless the server takes the credentials that Prefect's settings hold."""
    from tasks.processes.deployment import is_admitted

    if not is_admitted():
        raise PrefectAddressError(refusal(api))


def _started(state: State, while_waiting: Callable[[], None], port: int, attempts: int = STARTS) -> Server:
    stop_unguarded(state)
    server, process = launch(state, port)
    try:
        while_waiting()
        wait(server, process, state)
    except PortTaken:
        if attempts == 1:
            raise
        return _started(state, while_waiting, port, attempts - 1)
    except BaseException:
        stop(server, state)
        raise
    return server


@contextmanager
def _watched(server: Server, state: State) -> Generator[None]:
    """Start a server that was killed again, at its address, while it is used: Prefect's clients try for two minutes."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(WATCH_SECONDS):
            if not is_alive((read_server(state) or server).pid):
                with exclusive(state.server_start_lock):
                    if not is_alive((read_server(state) or server).pid) and not over.is_set():  # nobody else was first
                        _start_again(server, state)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _start_again(server: Server, state: State) -> None:
    """Start it at the same address, or leave it for the next look where that is not free yet."""
    log.warning("the Prefect server at %s is gone; it is started again", server.api)
    new, _ = launch(state, int(server.ui.rpartition(":")[2]))
    if new.api != server.api:
        stop(new, state)


@contextmanager
def _reporting_to(settings: Mapping[str, str]) -> Generator[None]:
    """Prefect's settings in the environment of this process and its children; afterwards as they were."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    _read_settings_again()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _read_settings_again() -> None:
    """Prefect reads its settings at import: where that has happened already, let it read them again."""
    if "prefect" not in sys.modules:
        return
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging

    refresh_global_settings_context()
    setup_logging(incremental=False)


def say_address(server: Server, state: State = CHECKOUT) -> None:
    """Where the page of the Prefect server is, and, for one of Ouro's own, how to get in."""
    screen.say(f"Prefect: {server.ui}{'' if server.pid is None else login_hint(state, sys.stdout.isatty())}")
