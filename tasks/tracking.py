"""MLflow, and the only module that imports it: a parent run per round, nested runs for training and benchmark.

Runs are named by id through MlflowClient (the active run of `mlflow.start_run` is thread-local). The id of the
parent travels to the stages' processes in OURO_PARENT_RUN. The store is sqlite:///mlflow.db in the checkout,
unless MLFLOW_TRACKING_URI names another.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.core.files import write_text
from tasks.mlflow_pages import STORE, URI
from tasks.versions import provenance

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

EXPERIMENT = "rounds"
ABLATIONS = "ablations"
EXPERIMENT_NAME = "OURO_EXPERIMENT"  # where runs go that processes open which are started for another experiment
PARENT = "OURO_PARENT_RUN"
REGISTERED = "ouro"  # the model of the registry whose versions are the rounds' adapters
_PARAM_LIMIT = 100  # MLflow takes at most this many params a batch


@dataclass
class Run:
    """One MLflow run, open. All writes go through its id.

    A store that does not answer never ends the work that is tracked: one warning, what can be is sent again with the
    next write, and without a run (`client` None) nothing is. `logged` is the last step of a run that is continued:
    points up to it are there already.
    """

    client: MlflowClient | None
    run_id: str
    experiment_id: str
    logged: int = -1
    waiting: list[Any] = field(default_factory=list[Any])
    warned: bool = False

    @property
    def tracked_as(self) -> str | None:
        """The id of the run in the store; None where nothing is written."""
        return self.run_id if self.client else None

    def params(self, values: Mapping[str, Any]) -> None:
        """Log params, nested mappings as dotted keys."""
        if self.client is None:
            return
        from mlflow.entities import Param

        flat = [Param(key, str(value)) for key, value in flatten(values).items()]
        for start in range(0, len(flat), _PARAM_LIMIT):
            part = flat[start : start + _PARAM_LIMIT]
            self._send(lambda client, part=part: client.log_batch(self.run_id, params=part))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log one point of each curve; `step` None: a figure of the whole run."""
        if self.client is None or (step is not None and step <= self.logged):
            return
        from time import time

        from mlflow.entities import Metric

        now = int(time() * 1000)
        self.waiting += [Metric(_name(k), float(v), now, step or 0) for k, v in values.items()]
        while self.waiting and self._send(lambda client: client.log_batch(self.run_id, metrics=self.waiting[:1000])):
            del self.waiting[:1000]

    def tags(self, values: Mapping[str, str]) -> None:
        if self.client is None:
            return
        from mlflow.entities import RunTag

        tags = [RunTag(key, value) for key, value in values.items()]
        self._send(lambda client: client.log_batch(self.run_id, tags=tags))

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file or a whole folder beside the run."""
        if path.is_dir():
            self._send(lambda client: client.log_artifacts(self.run_id, str(path), folder or path.name))
        else:
            self._send(lambda client: client.log_artifact(self.run_id, str(path), folder))

    def registry(self, write: Callable[[MlflowClient], object]) -> None:
        """Call `write` with the client, for changes of the model registry."""
        self._send(write)

    def end(self, status: str) -> None:
        self.metrics({})
        self._send(lambda client: client.set_terminated(self.run_id, status=status))

    def _send(self, write: Callable[[MlflowClient], object]) -> bool:
        """Whether a write arrived."""
        if self.client is None:
            return False
        from mlflow.exceptions import MlflowException

        try:
            write(self.client)
        except (MlflowException, OSError) as error:
            if not self.warned:
                cause = getattr(error.__cause__, "orig", error)  # the database's message
                log.warning("MLflow does not take what is logged (%s); the work goes on without it", cause)
                self.warned = True
            return False
        return True


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
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # of a server: some seconds, not minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints what it raises, with a traceback
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=os.environ.get(URI, STORE))


def _experiment(store: MlflowClient) -> str:
    name = os.environ.get(EXPERIMENT_NAME, EXPERIMENT)
    existing = store.get_experiment_by_name(name)
    if existing is not None:
        return existing.experiment_id
    local = None if os.environ.get(URI) else Path("mlartifacts").resolve().as_uri()
    return store.create_experiment(name, artifact_location=local)


@contextmanager
def no_run() -> Generator[Run]:
    """A run of which nothing is written, for work that is not to be tracked."""
    yield Run(None, "none", "none")


@contextmanager
def run(
    name: str, tags: Mapping[str, str] | None = None, parent: str | None = None, continued: Path | None = None
) -> Generator[Run]:
    """Open a run, nested below `parent` (or below OURO_PARENT_RUN); it ends FINISHED, or FAILED on an error.

    `continued`: a file that keeps the run's id, so that work that was killed goes on in the same run; it goes when the
    work is done.
    """
    parent_id = parent or os.environ.get(PARENT)
    run_tags = {"mlflow.runName": name, **provenance(), **(tags or {})}
    if parent_id:
        run_tags["mlflow.parentRunId"] = parent_id
    active_run = _open(name, run_tags, continued)
    status = "FAILED"
    try:
        yield active_run
        status = "FINISHED"
    finally:
        active_run.end(status)
        if continued and status == "FINISHED":
            continued.unlink(missing_ok=True)


def _open(name: str, tags: Mapping[str, str], continued: Path | None) -> Run:
    """The run that `continued` names, or a new one; one without a client where the store does not answer."""
    from mlflow.exceptions import MlflowException

    try:
        store = client()
        experiment = _experiment(store)
        if continued and continued.is_file():
            with contextlib.suppress(MlflowException):
                return _reopen(store, continued.read_text().strip(), experiment, tags)
        new_run = store.create_run(experiment, run_name=name, tags=dict(tags))
    except (MlflowException, OSError) as error:
        log.warning("MLflow at %s does not answer (%s); nothing is tracked", os.environ.get(URI, STORE), error)
        return Run(None, "none", "none")
    if continued:
        write_text(continued, new_run.info.run_id)
    return Run(store, new_run.info.run_id, experiment)


def _reopen(store: MlflowClient, run_id: str, experiment: str, tags: Mapping[str, str]) -> Run:
    store.update_run(run_id, status="RUNNING")
    history = store.get_metric_history(run_id, "loss")
    active_run = Run(store, run_id, experiment, max((point.step for point in history), default=-1))
    active_run.tags(tags)
    return active_run


@contextmanager
def parent_of_children(parent: Run) -> Generator[None]:
    """Runs opened by processes that are started in this block are nested below `parent`."""
    os.environ[PARENT] = parent.run_id
    try:
        yield
    finally:
        os.environ.pop(PARENT, None)


def register(run: Run, adapter: Path, tags: Mapping[str, str]) -> None:
    """Store an adapter with its run and make it a version of the registered model, alias `candidate`.

    Tag `round` names the version; a round that is run again gets a new one. Never raises for a store that does not
    answer.
    """
    run.artifact(adapter, "adapter")

    def write(store: MlflowClient) -> None:
        _ensure_registered_model(store)
        source = f"{store.get_run(run.run_id).info.artifact_uri}/adapter"
        version = store.create_model_version(REGISTERED, source, run.run_id, tags=dict(tags))
        store.set_registered_model_alias(REGISTERED, "candidate", version.version)

    run.registry(write)


def set_champion_alias(run: Run, number: str) -> None:
    """Set the alias `champion` to the newest version of a round. Never raises for a store that does not answer."""

    def write(store: MlflowClient) -> None:
        versions = [v for v in store.search_model_versions(f"name='{REGISTERED}'") if v.tags.get("round") == number]
        if versions:
            store.set_registered_model_alias(
                REGISTERED, "champion", max(versions, key=lambda v: int(v.version)).version
            )

    run.registry(write)


def _ensure_registered_model(store: MlflowClient) -> None:
    from mlflow.exceptions import MlflowException

    try:
        store.get_registered_model(REGISTERED)
    except MlflowException:
        store.create_registered_model(REGISTERED, description="LoRA adapters, one version a round")


@contextmanager
def experiment(name: str) -> Generator[None]:
    """Runs that are opened in this block, also by processes that are started in it, go to that experiment."""
    os.environ[EXPERIMENT_NAME] = name
    try:
        yield
    finally:
        os.environ.pop(EXPERIMENT_NAME, None)


@dataclass(frozen=True, slots=True)
class ChildRun:
    """A run right below another one, as stored."""

    run_id: str
    finished: bool
    tags: Mapping[str, str]


def child_runs(parent: Run) -> list[ChildRun]:
    """The runs right below `parent`; none where the store does not answer."""
    from mlflow.exceptions import MlflowException

    if parent.client is None:
        return []
    query = f"tags.`mlflow.parentRunId` = '{parent.run_id}'"
    try:
        runs = parent.client.search_runs([parent.experiment_id], query, max_results=10_000)
    except (MlflowException, OSError) as error:
        log.warning("MLflow does not tell its runs (%s); finished arms may be logged again", error)
        return []
    return [ChildRun(run.info.run_id, run.info.status == "FINISHED", run.data.tags) for run in runs]
