"""Processes that are ended with all that descends from them, and workers that neither outlive the process that started
them nor stay broken, and their environment. Imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import Any

import psutil

# AUTH, but not GIT_AUTHOR_NAME
CREDENTIAL_NAME = re.compile(r"key|token|secret|passw|passphrase|credential|auth(?!ors?(_|$))", re.IGNORECASE)
NO_CREDENTIALS = frozenset({"TOKENIZERS_PARALLELISM", "HF_HUB_DISABLE_IMPLICIT_TOKEN"})  # though they sound like some
URL_WITH_USER = re.compile(r"://[^/\s]+@")
POLL = 0.05  # seconds between two looks at whether a process has ended
KILL_SECONDS = 5.0  # for the system to take back what a killed process held


def without_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child that needs no credentials.

    Left out is a variable whose name holds KEY, TOKEN, SECRET, PASSWORD, PASSPHRASE, CREDENTIAL or AUTH, in upper or
    lower case, and one whose value is an address with a user in it (a proxy's or a database's, with its password).
    """
    return {
        name: value
        for name, value in environment.items()
        if name in NO_CREDENTIALS or not (CREDENTIAL_NAME.search(name) or URL_WITH_USER.search(value))
    }


def end_with_starter() -> None:
    """Let this process end as soon as its standard input closes.

    Who started it holds the other end and writes nothing there; the system closes it, also after kill -9.
    """

    def wait() -> None:
        while os.read(0, 1):  # b"" when the other end is closed; not sys.stdin, whose lock would be held at exit
            pass
        os._exit(1)

    threading.Thread(target=wait, name="end with starter", daemon=True).start()


Started = subprocess.Popen[Any] | psutil.Process


def is_alive(process: Started | int | None) -> bool:
    """Whether a process, or one of that id, exists and has not ended; a zombie has."""
    try:
        if isinstance(process, subprocess.Popen):
            return process.poll() is None
        if isinstance(process, int):
            process = psutil.Process(process)
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # another user's
        return True


def wait_for_end(processes: Iterable[Started], seconds: float) -> list[Started]:
    """Wait until all have ended, or so many seconds; returns those that are left."""
    deadline = time.monotonic() + seconds
    while (left := [one for one in processes if is_alive(one)]) and time.monotonic() < deadline:
        time.sleep(POLL)
    return left


def send(processes: Iterable[Started], number: signal.Signals) -> None:
    """Send a signal to those that are still there."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.send_signal(number)


def end(processes: Iterable[Started], seconds: float = 5.0) -> None:
    """End processes and all that descends from them, in whichever session: SIGTERM, after so many seconds SIGKILL.

    Returns when all of them are gone (of what SIGKILL does not end, after so many seconds more); those that have ended
    before are left alone.
    """
    running = _with_descendants([process for process in processes if is_alive(process)])
    send(running, signal.SIGTERM)
    stubborn = _with_descendants(wait_for_end(running, seconds))
    send(stubborn, signal.SIGKILL)
    wait_for_end(stubborn, max(seconds, KILL_SECONDS))


def _with_descendants(processes: Sequence[Started]) -> list[Started]:
    members = list(processes)
    pids = {process.pid for process in processes}
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            below = psutil.Process(process.pid).children(recursive=True)
            members += [child for child in below if child.pid not in pids]
            pids |= {child.pid for child in below}
    return members


def end_with_parent() -> None:
    """Let this worker end as soon as its parent is gone, also by kill -9. For the initializer of a pool.

    Without it the workers of a killed process wait for work for ever: each holds both ends of the queue itself. Only
    for spawned workers; a forked one would hold its siblings' sign of life. Raises RuntimeError outside of a worker.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("end_with_parent: this process was not started by multiprocessing; expected a pool's worker")

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="end with parent", daemon=True).start()


class Workers:
    """Spawned worker processes, started when there is work; they end with this process.

    Jobs load what they need themselves, and keep it (lru_cache): an error there is raised by the job's future, while
    an initializer's would only break the pool.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool = _pool(processes)

    def pool(self) -> ProcessPoolExecutor:
        """The workers' pool, to be asked for at each use: after the death of a worker it is a new one."""
        try:
            self._pool.submit(_nothing)
        except BrokenExecutor:
            self._pool = _pool(self._processes)
        return self._pool


def _pool(processes: int) -> ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, mp_context=spawn, initializer=end_with_parent)


def _nothing() -> None: ...
