"""One stage of the method through DVC, in a process of its own (repro.py) that ends with whoever started it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ouro.core.errors import OuroError
from tasks import screen
from tasks.processes.prefect_server import TASK_RUN
from tasks.timing import work_seconds

STAGES = ("ingest", "propose", "describe", "merge", "synthesize", "train", "benchmark")

GRACE = 5.0  # seconds that an interrupted stage has to end by itself


class StageFailed(OuroError, RuntimeError):
    """A stage ended with an error, which it has printed itself."""


def repro_stage(stage: str, *, force: bool = False) -> float:
    """Run one stage through DVC if it is out of date; returns its wall seconds. Raises StageFailed.

    `force`: a folder outside of the checkout may have changed without DVC seeing it; ingest looks itself.
    """
    started = time.monotonic()
    if _dvc([stage, *(["--force"] if force else [])]) != 0:
        raise StageFailed(
            f"stage {stage}: ended with an error, printed above; what was finished is kept. Fix what it names and run "
            "the same command again"
        )
    if stage not in work_seconds():
        screen.say(f"{stage}: up to date")
    return time.monotonic() - started


def repro_target(target: str) -> None:
    """Run one stage of any dvc.yaml through DVC if it is out of date. Raises StageFailed."""
    if _dvc([target]) != 0:
        raise StageFailed(
            f"{target}: ended with an error, printed above; what was finished is kept. Fix what it names and run the "
            "same command again"
        )


def _dvc(arguments: Sequence[str]) -> int:
    """The exit code of repro.py. Whatever happens here or to it, nothing of its session goes on afterwards."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "tasks.processes.repro", *arguments]
    environment = {**os.environ, "PATH": path, **_task_run()}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True) as process:
        try:
            return process.wait()
        finally:
            if process.returncode is None or process.returncode < 0:
                _end_session(process)


def _task_run() -> dict[str, str]:
    """The id of the task run that waits here, for the stage's process to nest below."""
    from prefect.context import TaskRunContext

    context = TaskRunContext.get()
    return {TASK_RUN: str(context.task_run.id)} if context else {}


def _end_session(leader: subprocess.Popen[bytes]) -> None:
    """SIGTERM to every process of a session, and SIGKILL to those that are left GRACE seconds later."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(leader.pid, sign)
            end = time.monotonic() + GRACE
            while time.monotonic() < end:
                leader.poll()
                os.killpg(leader.pid, 0)
                time.sleep(0.05)
