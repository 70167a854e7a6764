"""A command under a supervisor (tasks/processes/supervisor.py), which leaves nothing of it behind.

Supervisors hold the lock of who started them (`locks.inherited`): whoever gets that lock next knows that nothing of an
earlier run is left.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ouro.core.errors import OuroError
from tasks.processes.supervisor import end_tagged

TAIL = 1500  # characters of a log that an error shows
POLL = 0.2


class Grace(NamedTuple):
    """Seconds to end in: of the command's children before the command itself, and of all that is left then."""

    children: float
    rest: float


AT_ONCE = Grace(0.0, 5.0)
# Children: a round's stage takes up to 10 s to end, then the round tells Prefect and MLflow.
CHILDREN_FIRST = Grace(15.0, 5.0)
SLACK = 10.0  # for killed processes to be gone
LONGEST = sum(CHILDREN_FIRST) + SLACK


class ChildError(OuroError, RuntimeError):
    """A supervised command ended by itself, or did not come up."""


@dataclass(frozen=True)
class Supervised:
    """A command under its supervisor. `log`: of its output, where that does not go to this process's own."""

    name: str
    tag: str
    supervisor: subprocess.Popen[bytes]
    log: Path | None

    def check(self) -> None:
        """Raise ChildError with the end of its log when it has ended."""
        if (code := self.supervisor.poll()) is not None:
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
        """Let its supervisor end it with all that descends from it. A second time: nothing."""
        if self.supervisor.stdin is not None:
            self.supervisor.stdin.close()
        try:
            self.supervisor.wait(LONGEST)
        except subprocess.TimeoutExpired:
            self.supervisor.kill()
            self.supervisor.wait()
        end_tagged(self.tag)  # none is left, unless the supervisor itself was killed


def start(
    name: str, command: Sequence[str], environment: Mapping[str, str], lock: int, *,
    log: Path | None = None, stdout: int | None = None, grace: Grace = AT_ONCE,
) -> Supervised:  # fmt: skip
    """Start a command in the background. `lock`: the number of an inherited lock.

    All that it says goes to `log`, where what the one before it said is kept beside it as *.1; without a log to this
    process's output, or what it says on standard output to `stdout` (as of subprocess.Popen).
    """
    tag = uuid.uuid4().hex
    supervisor = [sys.executable, "-m", "tasks.processes.supervisor", tag, *map(str, grace), *command]
    if log is None:
        return Supervised(name, tag, _popen(supervisor, environment, lock, stdout, None), log)
    if log.is_file():
        log.replace(log.with_name(f"{log.name}.1"))
    with log.open("wb") as output:
        process = _popen(supervisor, environment, lock, output.fileno(), subprocess.STDOUT)
    return Supervised(name, tag, process, log)


def _popen(
    command: Sequence[str], environment: Mapping[str, str], lock: int, stdout: int | None, stderr: int | None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr, env=dict(environment),
        start_new_session=True, pass_fds=(lock,),
    )  # fmt: skip


def end_of(log: Path | None) -> str:
    """The end of a log, with its path, for an error."""
    if log is None:
        return "what it said is printed above"
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            text = file.read().decode(errors="replace").strip()
    except OSError as error:
        return f"its log {log} cannot be read ({error})"
    return f"its log {os.fspath(log)} ends:\n{text}" if text else f"its log {os.fspath(log)} is empty"
