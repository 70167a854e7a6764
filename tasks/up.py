"""`ouro up`: the Prefect server, the MLflow server and the worker of the nightly deployment, until it is stopped.

All on loopback. Prefect's server is the one that every command of this checkout shares
(tasks/processes/prefect_server.py); MLflow's writes to the same store and folder as the commands do without it.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ouro.core.errors import OuroError
from ouro.core.state import CHECKOUT
from tasks import mlflow_pages, screen
from tasks.checkout import check_checkout
from tasks.mlflow_store import check_store
from tasks.processes import deployment
from tasks.processes.environments import round_environment
from tasks.processes.locks import LockHeld, inherited
from tasks.processes.mlflow_server import start_mlflow, wait_for_mlflow
from tasks.processes.prefect_server import (
    HOST,
    PORT,
    START_SECONDS,
    Server,
    configured_api,
    free_port,
    healthy,
    prefect_server,
    say_address,
    started_earlier,
    sweep_stale_runs,
)
from tasks.processes.supervised import CHILDREN_FIRST, LONGEST, ChildError, Supervised, end_of, start

STATE = CHECKOUT
MLFLOW_PORT = 5000
WORKER_SECONDS = 180.0
NEXT_SECONDS = 20.0  # Prefect's scheduler makes the runs of a new deployment every few seconds
PREFECT_SECONDS = START_SECONDS + 60.0  # without an answer
WATCH = 2.0


class UpError(OuroError, ValueError):
    """`ouro up` cannot begin: it runs already, or its options do not fit."""


class Options(NamedTuple):
    """The options of `ouro up`. At most one of `interval` (seconds) and `cron`; neither: as prefect.yaml says."""

    interval: int | None = None
    cron: str | None = None
    prefect_port: int = PORT
    mlflow_port: int = MLFLOW_PORT


class _StopSignal(BaseException):
    """SIGINT or SIGTERM."""


class _Mlflow(NamedTuple):
    """Where runs are tracked, and the server that was started for that, if one was."""

    uri: str
    child: Supervised | None


def run(options: Options) -> None:
    """The command `ouro up`; returns when it is stopped by a signal.

    Raises CheckoutError, UpError and StoreError before anything is started; PrefectAddressError, ServerError,
    ChildError and DeploymentError when something does not come up or ends by itself. Whatever it started is stopped
    before: worker, MLflow, Prefect.
    """
    check_checkout()
    schedule = schedule_options(options)
    check_store()
    try:
        with _signals(), _only_up() as lock:
            _serve(options, schedule, lock)
    except _StopSignal:
        screen.say("stopped: worker, MLflow, Prefect")


def schedule_options(options: Options) -> list[str]:
    """The options of `prefect deploy` for another schedule than the file's. Raises UpError."""
    if options.interval is not None and options.cron is not None:
        raise UpError(
            f"--interval {options.interval} and --cron {options.cron!r}: got both, expected one. Fix: leave one out"
        )
    if options.interval is not None:
        return ["--interval", str(options.interval)]
    if options.cron is None:
        return []
    try:
        deployment.check_cron(options.cron)
    except ValueError as error:
        raise UpError(
            f"--cron: got {options.cron!r}, expected minute, hour, day, month and weekday. "
            "Fix: for two in the morning, --cron '0 2 * * *'"
        ) from error
    return ["--cron", options.cron]


@contextmanager
def _only_up() -> Generator[int]:
    """A lock for what `ouro up` starts; what a killed one has left is waited for. Raises UpError."""
    try:
        with inherited(STATE.up_lock, LONGEST + 20, _say_waiting) as lock:
            yield lock
    except LockHeld as error:
        raise UpError(
            f"{Path.cwd()}: another `ouro up` runs in this checkout, expected one at most ({error}). Fix: use "
            "that one, or stop it first (Ctrl-C, or SIGTERM); of one that was killed, end what is left "
            "(ps -ef | grep supervisor)"
        ) from error


@contextmanager
def _signals() -> Generator[None]:
    """The first SIGINT or SIGTERM raises _StopSignal; later ones are ignored while everything is stopped."""

    def stop(*_: object) -> None:
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, signal.SIG_IGN)
        screen.say("stopping")
        raise _StopSignal

    before = {sign: signal.signal(sign, stop) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def _serve(options: Options, schedule: list[str], lock: int) -> None:
    with ExitStack() as first:
        screen.say("starting Prefect and MLflow, some 30 s")
        mlflow = _start_mlflow(options.mlflow_port, lock)
        if mlflow.child:
            first.callback(mlflow.child.stop)
        _say_port("Prefect", options.prefect_port, _port_of_prefect(options.prefect_port))
        with (
            prefect_server(while_waiting=_import_prefect, online=True, port=options.prefect_port) as server,
            ExitStack() as last,
        ):
            if mlflow.child:
                last.callback(mlflow.child.stop)  # before Prefect's server; `first` has nothing left to do then
            screen.show_notices()
            say_address(server)
            _deploy(schedule, server)
            if mlflow.child:
                wait_for_mlflow(mlflow.child, mlflow.uri)
            screen.say(f"MLflow:  {mlflow.uri}")
            worker = _start_worker(mlflow.uri, lock)
            last.callback(_stop_worker, worker, server)
            worker.wait_until(lambda: deployment.worker_online(worker_name()), WORKER_SECONDS)
            screen.say(f"worker:  {worker_name()}, its log and that of the rounds is {worker.log}")
            _say_next()
            screen.say("Ctrl-C stops all of it; a round that is at work then goes on with the next one")
            _watch(server, [worker, *([mlflow.child] if mlflow.child else [])])


def _say_waiting() -> None:
    screen.say("waiting for what an earlier `ouro up` left to end")


def _import_prefect() -> None:
    importlib.import_module("prefect.client.orchestration")  # 2 s, while the server comes up


def _port_of_prefect(requested_port: int) -> int | None:
    """The port that a new server would get; None when there is one already."""
    return None if configured_api() or started_earlier(STATE) else free_port(requested_port)


def _say_port(what: str, requested_port: int, port: int | None) -> None:
    if port not in (None, requested_port):
        screen.say(f"port {requested_port} is in use; {what} takes {port}")


def _start_mlflow(requested_port: int, lock: int) -> _Mlflow:
    """Start a server on the store that the commands use; none if that store is a server already."""
    store = os.environ.get(mlflow_pages.URI, mlflow_pages.STORE)
    if store.startswith("http"):
        return _Mlflow(store, None)
    port = free_port(requested_port)
    _say_port("MLflow", requested_port, port)
    return _Mlflow(f"http://{HOST}:{port}", start_mlflow(store, port, STATE.mlflow_log, lock))


def _is_shared(server: Server) -> bool:
    """Whether other machines may report to it, or to one with the same database."""
    return server.pid is None or "PREFECT_API_DATABASE_CONNECTION_URL" in os.environ


def _deploy(schedule: list[str], server: Server) -> None:
    """Mark the unfinished runs of earlier workers, then register the deployment."""
    n_crashed = sweep_stale_runs()
    n_begun, n_missed = deployment.sweep(_is_shared(server))
    if n_crashed + n_begun:
        screen.say(f"marked {n_crashed + n_begun} runs of killed processes as crashed")
    if n_missed:
        screen.say(f"cancelled {n_missed} runs whose time went by without `ouro up`")
    deployment.register(schedule)


def worker_name() -> str:
    """A name of this process, so that the last heartbeat of an earlier worker does not count as this one's."""
    return f"ouro-up-{os.getpid()}"


def _start_worker(mlflow: str, lock: int) -> Supervised:
    environment = {
        **round_environment(os.environ),
        mlflow_pages.URI: mlflow,
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
        "PYTHONUNBUFFERED": "1",
    }
    command = [
        sys.executable, "-m", "prefect", "worker", "start", "--pool", deployment.POOL, "--type", "process",
        "--name", worker_name(), "--install-policy", "never",
    ]  # fmt: skip
    return start("worker", command, environment, lock, log=STATE.worker_log, grace=CHILDREN_FIRST)


def _stop_worker(worker: Supervised, server: Server) -> None:
    """Stop the worker and its round; runs that ended without a final state are marked, now or by the next `ouro up`."""
    worker.stop()
    if healthy(server.api):
        sweep_stale_runs()
        deployment.sweep(_is_shared(server))


def _say_next() -> None:
    end = time.monotonic() + NEXT_SECONDS
    while (at := deployment.next_start()) is None and time.monotonic() < end:
        time.sleep(WATCH)
    screen.say(f"next round: {_when(at)}" if at else "next round: none is scheduled (see prefect.yaml)")


def _when(at: datetime) -> str:
    """2026-11-27 02:00:00 UTC, 03:00:00 here."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC, {at.astimezone():%H:%M:%S} here"


def _watch(server: Server, children: list[Supervised]) -> None:
    """Return never; raises ChildError when something ends by itself.

    A server of Prefect's that is killed is started again at its address (tasks/processes/prefect_server.py): only one
    that stays away is an error.
    """
    last_answer = time.monotonic()
    while True:
        for child in children:
            child.check()
        now = time.monotonic()
        if server.pid is None or healthy(server.api):
            last_answer = now
        if now - last_answer > PREFECT_SECONDS:
            raise ChildError(
                f"Prefect: its server at {server.api} has not answered for {PREFECT_SECONDS:.0f} s, expected it to run "
                f"until `ouro up` is stopped; {end_of(STATE.prefect_log)}\n"
                "Fix: what the log says, then `ouro up` again"
            )
        time.sleep(WATCH)
