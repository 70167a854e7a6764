"""Flow runs that a killed process left Running in Prefect: known by the process's tag, marked as crashed."""

from __future__ import annotations

import os
import socket

from ouro.core.processes import is_alive


def process_tag() -> str:
    """The tag by which `sweep_stale_runs` knows whose a run is."""
    return f"{_here()}{os.getpid()}"


def _here() -> str:
    return f"pid:{socket.gethostname()}:"


def sweep_stale_runs() -> int:
    """Mark as Crashed the flow runs that a killed process of this machine left Running. Returns how many.

    Only runs with our tag `pid:N` are touched, and only when that process is gone.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    running = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))
    here, swept = _here(), 0
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=running):
            if any(tag.startswith(here) and not is_alive(int(tag.removeprefix(here))) for tag in run.tags):
                client.set_flow_run_state(run.id, Crashed(message="its process is gone"), force=True)
                swept += 1
    return swept
