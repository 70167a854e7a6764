"""Worker processes that neither outlive the process that started them nor stay broken, and their environment.
Imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import Any

import psutil

# AUTH, but not GIT_AUTHOR_NAME
CREDENTIAL_NAME = re.compile(r"key|token|secret|passw|passphrase|credential|auth(?!ors?(_|$))", re.IGNORECASE)
NO_CREDENTIALS = frozenset({"TOKENIZERS_PARALLELISM", "HF_HUB_DISABLE_IMPLICIT_TOKEN"})  # though they sound like some
URL_WITH_USER = re.compile(r"://[^/\s]+@")


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


def end(processes: Sequence[subprocess.Popen[Any]], seconds: float = 5.0) -> None:
    """End children of this process and all that descends from them: SIGTERM, after so many seconds SIGKILL.

    Returns when all of them are gone; those that have ended before are left alone.
    """
    running = [process for process in processes if process.poll() is None]
    descendants = [one for process in running for one in _descendants(process.pid)]
    deadline = time.monotonic() + seconds
    for one in (*running, *descendants):
        with contextlib.suppress(psutil.NoSuchProcess):
            one.terminate()
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    _, alive = psutil.wait_procs(descendants, max(0.0, deadline - time.monotonic()))
    for one in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(alive, seconds)


def _descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


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
