"""A Prefect server for several `ouro annotate` of one checkout: one starts it, the last to leave stops it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from flows.sharing import try_alone
from tasks.servers import Server, alive, configured_api, launch, prefect_server, started_earlier, stop, wait

STATE = Path(".ouro")


@contextmanager
def shared_server(state: Path = STATE) -> Generator[Server]:
    """A Prefect API for this process and its children: configured, running, or started here. Raises ServerError."""
    if configured_api():
        with prefect_server(state) as server:
            yield server
        return
    state.mkdir(parents=True, exist_ok=True)
    with (state / "prefect-server.users.lock").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with FileLock(state / "prefect-server.start.lock"):
            server = started_earlier(state) or _started(state)
        os.environ["PREFECT_API_URL"] = server.api
        try:
            with prefect_server(state):
                yield server
        finally:
            os.environ.pop("PREFECT_API_URL", None)
            ours = server.owner == os.getpid() or not alive(server.owner)  # else a round of this checkout runs it
            if try_alone(users) and ours:
                stop(server, state)


def _started(state: Path) -> Server:
    server, process = launch(state)
    try:
        wait(server, process, state)
    except BaseException:
        stop(server, state)
        raise
    return server
