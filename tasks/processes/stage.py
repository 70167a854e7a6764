"""One stage of the method through DVC, in a process of its own that ends with whoever started it."""

from __future__ import annotations

import time

from tasks import screen
from tasks.processes.dvc import StageFailed, supervise_dvc
from tasks.processes.prefect_server import TASK_RUN
from tasks.timing import work_seconds

STAGES = ("ingest", "propose", "describe", "merge", "synthesize", "train", "benchmark")


def repro_stage(stage: str, *, force: bool = False) -> float:
    """Run one stage through DVC if it is out of date; returns its wall seconds. Raises StageFailed.

    `force`: a folder outside of the checkout may have changed without DVC seeing it; ingest looks itself.
    """
    started = time.monotonic()
    _repro(f"stage {stage}", stage, *(["--force"] if force else []))
    if stage not in work_seconds():
        screen.say(f"{stage}: up to date")
    return time.monotonic() - started


def repro_target(target: str) -> None:
    """Run one stage of any dvc.yaml through DVC if it is out of date. Raises StageFailed."""
    _repro(target, target)


def _repro(name: str, *arguments: str) -> None:
    if supervise_dvc("repro", "--single-item", *arguments, environment=_task_run()).returncode != 0:
        raise StageFailed(
            f"{name}: ended with an error, printed above; what was finished is kept. Fix what it names and run the "
            "same command again"
        )


def _task_run() -> dict[str, str]:
    """The id of the task run that waits here, for the stage's process to nest below."""
    from prefect.context import TaskRunContext

    context = TaskRunContext.get()
    return {TASK_RUN: str(context.task_run.id)} if context else {}
