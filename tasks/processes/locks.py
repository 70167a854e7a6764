"""Locks between processes. All are flock's: the system frees those of a process that dies; over NFS they hold between
machines.

    exclusive   one holder, who is waited for, or not
    shared      any number of users; the last one knows that it is the last
    inherited   one holder; processes that it starts hold the lock on when it is killed
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ouro.core.errors import OuroError
from ouro.core.processes import is_alive

POLL = 0.1


class LockHeld(OuroError, RuntimeError):
    """Another process holds a lock, and did not let go in time."""


@contextmanager
def exclusive(path: Path, *, wait: bool = True) -> Generator[None]:
    """Hold a lock alone. Without `wait`, raises LockHeld at once when somebody else has it."""
    with opened(path) as lock:
        if wait:
            fcntl.flock(lock, fcntl.LOCK_EX)
        elif not try_exclusive(lock):
            raise LockHeld(f"{path}: held by another process")
        yield


@contextmanager
def shared(path: Path) -> Generator[IO[str]]:
    """Hold a lock together with other users; who has it alone is waited for. For `try_exclusive`: who is last."""
    with opened(path) as lock:
        share(lock)
        yield lock


@contextmanager
def inherited(path: Path, seconds: float, waiting: Callable[[], None]) -> Generator[int]:
    """Hold a lock alone until the end of this block and of all processes that were given its number (`pass_fds`).

    Raises LockHeld at once while who began another such block is alive. What one that was killed has left is waited
    for, after `waiting` was called; raises LockHeld when it is still there after so many seconds.
    """
    with opened(path) as lock:
        if not try_exclusive(lock):
            _wait(lock, path, seconds, waiting)
        _note_holder(lock, str(os.getpid()))
        try:
            yield lock.fileno()
        finally:
            _note_holder(lock, "")


def try_exclusive(lock: IO[str]) -> bool:
    """Take a lock alone, or see at once that others hold it; one that was shared is lost then."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def share(lock: IO[str]) -> None:
    """Take a lock, or keep one that was held alone, together with others."""
    fcntl.flock(lock, fcntl.LOCK_SH)


def release(lock: IO[str]) -> None:
    """Let go of a lock before its file is closed."""
    fcntl.flock(lock, fcntl.LOCK_UN)


def opened(path: Path) -> IO[str]:
    """The file of a lock that nobody holds by it yet; to close it lets go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+")


def _wait(lock: IO[str], path: Path, seconds: float, waiting: Callable[[], None]) -> None:
    deadline = time.monotonic() + seconds
    called = False
    while not try_exclusive(lock):
        if (holder := _holder(lock)) is not None:
            raise LockHeld(f"{path}: held by process {holder}")
        if not called:
            waiting()
            called = True
        if time.monotonic() > deadline:
            raise LockHeld(f"{path}: what a killed process left is still there after {seconds:.0f} s")
        time.sleep(POLL)


def _note_holder(lock: IO[str], pid: str) -> None:
    lock.truncate(0)
    lock.write(pid)  # at the end, as the file is open for appending
    lock.flush()


def _holder(lock: IO[str]) -> int | None:
    """The process that began the block, if it is alive."""
    lock.seek(0)
    pid = lock.read()
    return int(pid) if pid.isdigit() and is_alive(int(pid)) else None
