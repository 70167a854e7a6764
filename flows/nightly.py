"""The nightly flow: a round of `ouro bootstrap`, started by the worker of `ouro up`. prefect.yaml schedules it.

What it says on the screen goes to .ouro/worker.log; the round itself is its subflow.
"""

from __future__ import annotations

from uuid import UUID

from prefect import flow, tags
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.session import sweep
from tasks import screen
from tasks.errors import is_ours
from tasks.processes.prefect_server import process_tag


def nightly_run_name() -> str:
    """ "nightly, 2026-11-29 02:00": the time for which it was scheduled, in UTC."""
    return f"nightly, {flow_run.get_scheduled_start_time():%Y-%m-%d %H:%M}"


@flow(name="nightly", flow_run_name=nightly_run_name, persist_result=False)
def nightly() -> State[None]:
    """Sweep what a crash left, then one round or nothing to do. Fails with one sentence on an error of ours."""
    from flows.bootstrap import run

    _tag_this_run()
    sweep()
    try:
        with tags(process_tag()):
            outcome = run(None, None, (), rounds=1, commit=True)
    except Exception as error:
        if not is_ours(error):
            raise
        screen.complain(str(error))
        return Failed(message=str(error))
    return Completed(message=outcome)


def _tag_this_run() -> None:
    """Tag a scheduled run with this process: without a tag no sweep would find it."""
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(flow_run.get_id()), tags=[*flow_run.get_tags(), process_tag()])
