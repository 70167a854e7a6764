"""Where shard tasks run (params.runner): one after the other here, on threads, or on Ray. Never changes a result.

A local Ray listens on loopback alone, shows no dashboard and reports nothing to anybody. On a running cluster
(runner.address) every node needs this checkout, the models and the folder of the run at the same paths, and
PREFECT_API_URL has to name a server that all of them reach, with its PREFECT_API_AUTH_STRING.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ouro.core.errors import OuroError

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

    from ouro.core.params import Runner

RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` workers would be started by uv, in another environment
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # tasks ask for no GPU, but the annotator wants to see it
}
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # whatever its name: one node, all its sockets on 127.0.0.1
OBJECT_STORE = 100 * 2**20  # bytes; only paths and params travel


class NoRay(OuroError, ImportError):
    """runner.kind is ray, and prefect-ray is not installed."""


@contextmanager
def pool(runner: Runner) -> Generator[TaskRunner[Any] | None]:
    """A started Prefect task runner; None for "local". Raises NoRay.

    Ray takes some 10 s to start: held by a caller for several stages, it is started once and keeps loaded models.
    """
    if runner.kind == "local":
        yield None
    elif runner.kind == "threads":
        from prefect.task_runners import ThreadPoolTaskRunner

        with ThreadPoolTaskRunner(max_workers=runner.workers) as threads:
            yield threads
    else:
        with _ray(runner) as ray:
            yield ray


def _ray(runner: Runner) -> TaskRunner[Any]:
    variables = RAY if runner.address else RAY | ALONE
    os.environ.update({name: value for name, value in variables.items() if name not in os.environ})
    try:
        from prefect_ray import RayTaskRunner
    except ImportError as error:
        raise NoRay(f"runner.kind is ray: {error}; expected prefect-ray. Fix: uv sync --extra ray") from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if runner.address:
        return RayTaskRunner(runner.address, init_kwargs=quiet)
    local = {"num_cpus": runner.workers, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    return RayTaskRunner(init_kwargs={**quiet, **local})
