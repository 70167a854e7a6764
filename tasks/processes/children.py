"""Long-running children of `ouro up`, each under a keeper (tasks/processes/keeper.py) that leaves nothing of it behind.

Their keepers hold a lock together: whoever gets it knows that nothing of an earlier `ouro up` is left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ouro.core.errors import OuroError
from tasks.processes.keeper import SECONDS, kill

TAIL = 1500  # characters of a log that an error shows
POLL = 0.2


class ChildError(OuroError, RuntimeError):
    """A child ended by itself, did not come up, or one of an earlier run is still there."""


@dataclass(frozen=True)
class Child:
    """A command under its keeper."""

    name: str
    mark: str
    keeper: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise ChildError with the end of its log when it has ended."""
        if (code := self.keeper.poll()) is not None:
            raise ChildError(
                f"{self.name}: ended by itself with exit code {code}, expected it to run until `ouro up` is stopped; "
                f"{end_of(self.log)}\nFix: what the log says, then `ouro up` again; `ouro doctor` checks this machine"
            )

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Block until it is ready. Raises ChildError when it ends before, or is not ready in time."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ChildError(
                    f"{self.name}: not ready after {seconds:.0f} s; {end_of(self.log)}\n"
                    "Fix: what the log says, or try again when this machine has less to do"
                )
            time.sleep(POLL)

    def stop(self) -> None:
        """Let its keeper end it and all that descends from it: SIGTERM, then SIGKILL. A second time: nothing."""
        if self.keeper.stdin is not None:
            self.keeper.stdin.close()
        try:
            self.keeper.wait(SECONDS + 10)
        except subprocess.TimeoutExpired:
            self.keeper.kill()
            self.keeper.wait()
        kill(self.mark)  # none is left, unless the keeper itself was killed


def start(name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, lock: int) -> Child:
    """Start a command in the background. `lock`: what `family` gave.

    Its output goes to `log`; what the one before it wrote there is kept beside it as *.1.
    """
    if log.is_file():
        log.replace(log.with_name(f"{log.name}.1"))
    mark = uuid.uuid4().hex
    kept = [sys.executable, "-m", "tasks.processes.keeper", mark, *command]
    with log.open("wb") as output:
        keeper = subprocess.Popen(
            kept, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=dict(environment),
            start_new_session=True, pass_fds=(lock,),
        )  # fmt: skip
    return Child(name, mark, keeper, log)


@contextmanager
def family(path: Path, waiting: Callable[[], None]) -> Generator[int]:
    """A lock that children inherit, and hold until their keepers have ended.

    `waiting` is called when those of an earlier run have to be waited for. Raises ChildError when those do
    not end in time.
    """
    with path.open("a") as file:
        if not _locked(file.fileno()):
            waiting()
            patience = SECONDS + 20
            deadline = time.monotonic() + patience
            while not _locked(file.fileno()):
                if time.monotonic() > deadline:
                    raise ChildError(
                        f"{path}: children of an earlier `ouro up` are still there after {patience:.0f} s, expected "
                        "them to end with it. Fix: end them (ps -ef | grep processes.keeper), then `ouro up` again"
                    )
                time.sleep(POLL)
        yield file.fileno()


def _locked(lock: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def end_of(log: Path) -> str:
    """The end of a log, with its path, for an error."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            text = file.read().decode(errors="replace").strip()
    except OSError as error:
        return f"its log {log} cannot be read ({error})"
    return f"its log {os.fspath(log)} ends:\n{text}" if text else f"its log {os.fspath(log)} is empty"
