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

from tasks import screen
from tasks.errors import is_ours
from tasks.processes.prefect_server import process_tag, sweep_stale_runs


@flow(name="nightly", persist_result=False)
def nightly() -> State[None]:
    """Sweep what a crash left, then one round or nothing to do. Fails with one sentence on an error of ours."""
    from flows.bootstrap import run

    _tag_own_run()
    if swept := sweep_stale_runs():
        screen.say(f"marked {swept} runs of killed processes as crashed")
    try:
        with tags(process_tag()):
            said = run(None, None, (), rounds=1, commit=True)
    except Exception as error:
        if not is_ours(error):
            raise
        screen.complain(str(error))
        return Failed(message=str(error))
    return Completed(message=said)


def _tag_own_run() -> None:
    """A run that the schedule made has no process's tag: without one no sweep would find it."""
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(flow_run.get_id()), tags=[*flow_run.get_tags(), process_tag()])
