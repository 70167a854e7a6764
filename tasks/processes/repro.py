"""`python -m tasks.processes.repro STAGE [--force]`: one stage through DVC, as `ouro bootstrap` starts it; with
--status first, `python -m tasks.processes.repro --status STAGE...`, what is out of date, as JSON (`ouro ablate`).

It leads a session of its own. Who started it holds the other end of its standard input and writes nothing there: when
that end closes, also by kill -9, the whole session is killed (DVC, the stage, its workers), so that nothing goes on
unseen and DVC's locks are free. The next one waits for that.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from tasks import screen
from tasks.processes.prefect_server import alive

LOCK = Path(".ouro/stage.lock")
SECONDS = 30.0  # to wait for the stage of a killed run; it ends at once, but may have much memory to give back


def main(arguments: Sequence[str]) -> int:
    """Exit code: DVC's own, or 2 when another stage is at work."""
    threading.Thread(target=_end_with_starter, daemon=True).start()
    LOCK.parent.mkdir(exist_ok=True)
    lock = FileLock(LOCK)
    try:
        _acquire(lock)
    except Timeout:
        screen.complain(
            f"{LOCK}: the stage of an earlier run is still at work after {SECONDS:.0f} s; expected it to end with its "
            "`ouro bootstrap`. Fix: end it (see `ps -ef | grep flows`) and run the same command again"
        )
        return 2
    try:
        return _status(arguments[1:]) if arguments[:1] == ["--status"] else _repro(arguments)
    finally:
        lock.release()


def _end_with_starter() -> None:
    while os.read(0, 1):  # b"" when the other end is closed
        pass
    os.killpg(os.getpid(), signal.SIGKILL)  # this process leads the group; were it in another's, that one is spared


def _acquire(lock: FileLock) -> None:
    with contextlib.suppress(Timeout):
        lock.acquire(timeout=0)
    if not lock.is_locked:
        screen.say("waiting for the stage of an earlier run to end")
        lock.acquire(timeout=SECONDS)


def _repro(arguments: Sequence[str]) -> int:
    """`dvc repro` that says its errors on stderr and nothing else: its --quiet would not say those either."""
    with contextlib.redirect_stdout(None):  # DVC's; the stage writes to the file descriptor itself
        return _dvc(["repro", "--single-item", *arguments])


def _status(targets: Sequence[str]) -> int:
    return _dvc(["status", "--json", *targets])


def _dvc(arguments: Sequence[str]) -> int:
    from dvc import rwlock
    from dvc.cli import main as dvc

    rwlock.psutil.pid_exists = alive  # psutil counts the dead that init has not reaped: a killed DVC's lock would stay
    for name in ("dvc", "dvc_objects", "dvc_data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return dvc(list(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
