"""MLflow, and the only module that imports it: a parent run per round, nested runs for training and benchmark.

Runs are named by id through MlflowClient (the active run of `mlflow.start_run` is thread-local). The id of the
parent travels to the stages' processes in OURO_PARENT_RUN. The store is sqlite:///mlflow.db in the checkout,
unless MLFLOW_TRACKING_URI names another.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

EXPERIMENT = "rounds"
STORE = "sqlite:///mlflow.db"
PARENT = "OURO_PARENT_RUN"
UI_COMMAND = f"uv run mlflow ui --backend-store-uri {STORE} --host 127.0.0.1 --port 5000"
_PARAM_LIMIT = 100  # MLflow takes at most this many params a batch


@dataclass(frozen=True)
class Run:
    """One MLflow run, open. All writes go through its id."""

    client: MlflowClient
    run_id: str
    experiment_id: str

    def params(self, values: Mapping[str, Any]) -> None:
        """Log params, nested mappings as dotted keys."""
        from mlflow.entities import Param

        flat = [Param(key, str(value)) for key, value in flatten(values).items()]
        for start in range(0, len(flat), _PARAM_LIMIT):
            self.client.log_batch(self.run_id, params=flat[start : start + _PARAM_LIMIT])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log one point of each curve."""
        from time import time

        from mlflow.entities import Metric

        now = int(time() * 1000)
        self.client.log_batch(self.run_id, metrics=[Metric(_name(k), float(v), now, step) for k, v in values.items()])

    def tags(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in values.items()])

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file or a whole folder beside the run."""
        if path.is_dir():
            self.client.log_artifacts(self.run_id, str(path), folder or path.name)
        else:
            self.client.log_artifact(self.run_id, str(path), folder)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"k": 5}} -> {"train.k": 5}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return flat


def _name(key: str) -> str:
    """A metric name that MLflow takes: letters, digits and _ - . space / only."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in key)


def client() -> MlflowClient:
    """A client of the store; the first call ever creates the database (a few seconds)."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", STORE))


def _experiment(store: MlflowClient) -> str:
    found = store.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return found.experiment_id
    local = None if os.environ.get("MLFLOW_TRACKING_URI") else Path("mlartifacts").resolve().as_uri()
    return store.create_experiment(EXPERIMENT, artifact_location=local)


@contextmanager
def run(name: str, tags: Mapping[str, str] | None = None, parent: str | None = None) -> Generator[Run]:
    """Open a run, nested below `parent` (or below OURO_PARENT_RUN); it ends FINISHED, or FAILED on an error."""
    store = client()
    experiment = _experiment(store)
    above = parent or os.environ.get(PARENT)
    wanted = {"mlflow.runName": name, **provenance(), **(tags or {})}
    if above:
        wanted["mlflow.parentRunId"] = above
    created = store.create_run(experiment, run_name=name, tags=wanted)
    opened = Run(store, created.info.run_id, experiment)
    status = "FAILED"
    try:
        yield opened
        status = "FINISHED"
    finally:
        store.set_terminated(opened.run_id, status=status)


@contextmanager
def parent_of_children(parent: Run) -> Generator[None]:
    """Runs opened by processes that are started in this block are nested below `parent`."""
    os.environ[PARENT] = parent.run_id
    try:
        yield
    finally:
        os.environ.pop(PARENT, None)


def provenance() -> dict[str, str]:
    """The git commit and the digest of dvc.lock, as tags; "none" where there is none."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    lock = Path("dvc.lock")
    return {
        "git_commit": commit.stdout.strip() if commit.returncode == 0 else "none",
        "dvc_lock": sha256(lock.read_bytes()).hexdigest() if lock.is_file() else "none",
    }


def dataset_digests(lock: Path = Path("dvc.lock")) -> dict[str, str]:
    """Output path -> hash of every dataset that dvc.lock names, for a run's tags."""
    import yaml

    if not lock.is_file():
        return {}
    stages = (yaml.safe_load(lock.read_text()) or {}).get("stages", {})
    outs = [out for stage in stages.values() for out in stage.get("outs", [])]
    return {f"data.{out['path']}": str(out.get("md5", "")) for out in outs}
