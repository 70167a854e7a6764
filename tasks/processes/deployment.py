"""The nightly deployment in Prefect: registering it and its work pool, what a crash left of its runs, what comes next.

Needs PREFECT_API_URL (tasks/processes/prefect_server.py sets it).
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ouro.core.errors import OuroError
from tasks.processes.environments import round_environment

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, StateType

NAME = "nightly"
POOL = "ouro"

# The whole of what the worker is told of a run: its command, environment and folder are the worker's own. Prefect's
# default takes all three from whoever asks for a run (`job_variables`); here such a request is refused with 422.
TEMPLATE: dict[str, Any] = {
    "job_configuration": {"stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}


class DeploymentError(OuroError, RuntimeError):
    """Prefect did not take the deployment."""


def register(schedule: list[str]) -> None:
    """Register prefect.yaml's deployment, and the work pool it names. Raises DeploymentError.

    `schedule`: options of `prefect deploy` that replace the file's schedule; none keep it.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        make_pool(client)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--name", NAME, *schedule]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env=round_environment(os.environ),
    )  # fmt: skip
    if done.returncode != 0:
        raise DeploymentError(
            f"prefect.yaml: Prefect did not take the deployment {NAME}; it says:\n"
            f"{(done.stderr + done.stdout).strip()[-1500:]}\nFix: what it names in prefect.yaml, or the schedule given"
        )


def is_admitted() -> bool:
    """Whether the server takes the credentials that Prefect's settings hold."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    with get_client(sync_client=True) as client:
        try:
            client.hello()
        except PrefectHTTPStatusError as error:
            if error.response.status_code in (401, 403):
                return False
            raise
    return True


def make_pool(client: SyncPrefectClient) -> None:
    """The work pool with TEMPLATE; one that is there gets it, as an earlier version made it with Prefect's default."""
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectAlreadyExists

    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=TEMPLATE))
    except ObjectAlreadyExists:
        client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=TEMPLATE))


def check_cron(text: str) -> None:
    """Raise ValueError unless Prefect reads it as a cron expression."""
    from prefect.client.schemas.schedules import CronSchedule

    CronSchedule(cron=text)


def sweep(shared: bool = False) -> tuple[int, int]:
    """Settle what earlier workers left: how many runs were begun and are Crashed now, and how many were missed.

    For the time before a worker starts: then no run of the deployment on this machine can be alive, and none at all
    unless the server is `shared` with other machines. (The name of this one may have changed since: a container that
    was made anew has another.) A run that is left Running or Pending holds the only slot, and every later one would be
    cancelled; those whose time went by while nothing ran would all start at once.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled, Crashed

    begun = missed = 0
    with get_client(sync_client=True) as client:
        for run in _runs(client, [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]):
            if not (shared and _of_another_machine(run)):
                client.set_flow_run_state(run.id, Crashed(message="its worker is gone"), force=True)
                begun += 1
        for run in _runs(client, [StateType.SCHEDULED]):
            if run.auto_scheduled and run.next_scheduled_start_time and run.next_scheduled_start_time < _now():
                client.set_flow_run_state(run.id, Cancelled(message="missed: no `ouro up` at its time"), force=True)
                missed += 1
    return begun, missed


def _of_another_machine(run: FlowRun) -> bool:
    return any(t.startswith("pid:") and not t.startswith(f"pid:{socket.gethostname()}:") for t in run.tags)


def next_start() -> datetime | None:
    """When the next run is scheduled; None as long as the scheduler has made none."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType

    with get_client(sync_client=True) as client:
        starts = [run.next_scheduled_start_time for run in _runs(client, [StateType.SCHEDULED])]
    return min((start for start in starts if start and start > _now()), default=None)


def _runs(client: SyncPrefectClient, states: list[StateType]) -> list[FlowRun]:
    """The deployment's runs in these states: at most 200, earliest first."""
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterName,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.sorting import FlowRunSort

    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states))),
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[NAME])),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=200,
    )


def _now() -> datetime:
    return datetime.now(UTC)


def worker_online(name: str) -> bool:
    """Whether a worker of that name has reported to the server and polls the pool."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            workers = client.read_workers_for_work_pool(POOL)
        except ObjectNotFound:
            return False
    return any(worker.name == name and str(worker.status) in ("ONLINE", "WorkerStatus.ONLINE") for worker in workers)
