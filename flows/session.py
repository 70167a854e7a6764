"""What stands around every flow: Prefect's server and its address, notices, the sweep, tags, delivery; and the main of
`python -m flows.STAGE`.

DVC runs each stage as such a command. With PREFECT_API_URL set (`ouro bootstrap` sets it) the stage reports there;
alone, it starts a local server for itself.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ouro.core.layout import PIPELINE, Layout
from ouro.core.params import load_params
from ouro.core.proxy import spare_loopback
from tasks import screen, tracking
from tasks.errors import explain
from tasks.models import needs_hub
from tasks.processes.delivery import deliver_events
from tasks.processes.prefect_server import (
    ROUND,
    TASK_RUN,
    Server,
    prefect_server,
    process_tag,
    say_address,
    sweep_stale_runs,
)

if TYPE_CHECKING:
    from prefect import Flow


def import_libraries() -> None:
    """MLflow and its store take some 10 s, Prefect's engine 2 s: both while a server comes up."""
    with ThreadPoolExecutor(1) as threads:
        store = threads.submit(tracking.client)
        importlib.import_module("prefect.flow_engine")
        store.result()


def nothing() -> None:
    """Nothing to do while a server comes up."""


@contextmanager
def session(
    *labels: str, online: bool = False, while_waiting: Callable[[], None] = nothing, is_stage: bool = False
) -> Generator[Server]:
    """A Prefect server for the flows that are run in this block; their runs carry `labels` and this process's tag.

    `online`: something is fetched from the hub. `while_waiting` runs while a new server comes up (some 10 s).
    `is_stage`: this process works for a command that has printed the address and swept already. Raises ServerError.
    """
    with prefect_server(while_waiting=while_waiting, online=online) as server:
        from prefect import tags

        if not is_stage:
            say_address(server)
        screen.show_notices()
        try:
            if not is_stage:
                sweep()
            with tags(process_tag(), *labels):
                yield server
        finally:
            deliver_events()


def sweep() -> None:
    """Mark the runs of killed processes as crashed, and say how many."""
    if n_crashed := sweep_stale_runs():
        screen.say(f"marked {n_crashed} runs of killed processes as crashed")


def stage_run_name() -> str:
    """How Prefect's page calls the run of a stage: "describe, round 3" in a round, "describe, OUT" on a person's own
    folder, else "describe"."""
    from prefect.runtime import flow_run

    parameters: Mapping[str, Any] = flow_run.get_parameters()
    layout = parameters.get("layout", PIPELINE)
    name = flow_run.get_flow_name() or "stage"
    if isinstance(layout, Layout) and layout != PIPELINE:
        return f"{name}, {layout.root}"
    number = os.environ.get(ROUND)
    return f"{name}, round {number}" if number else name


def run_stage(body: Flow[..., Any], parameters: Mapping[str, Any] | None = None) -> None:
    """The main of `python -m flows.STAGE`: with params.yaml on data/, or with other `parameters` of the flow.

    Exits 2 on an error of the person's making.
    """
    spare_loopback()
    try:
        params = load_params()
        number = os.environ.get(ROUND)
        labels = [f"round:{number}"] if number else []
        with session(*labels, online=needs_hub(params), is_stage=True):
            _run_below(os.environ.get(TASK_RUN), body, parameters or {"params": params, "layout": PIPELINE})
    except Exception as error:
        sys.exit(explain(error))


def _run_below(task_run: str | None, body: Flow[..., Any], parameters: Mapping[str, Any]) -> None:
    """Run a stage's flow, as a subflow of the task run of a round that waits for it, in another process.

    Prefect nests by itself only what one process calls; an id that the server does not know changes nothing but that.
    """
    from uuid import UUID

    from prefect.client.orchestration import get_client
    from prefect.context import TagsContext
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.flow_engine import run_flow
    from prefect.states import Pending

    if task_run is None:
        body(**parameters)
        return
    flow_run = None
    with suppress(PrefectHTTPStatusError), get_client(sync_client=True) as client:
        flow_run = client.create_flow_run(
            body,
            name=body.name,
            parent_task_run_id=UUID(task_run),
            tags=TagsContext.get().current_tags,
            state=Pending(),
        )
    run_flow(body, flow_run=flow_run, parameters=dict(parameters))
