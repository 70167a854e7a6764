"""Worker processes that neither outlive the process that started them nor stay broken. Imports nothing heavy."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor


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
