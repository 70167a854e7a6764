"""MLflow, and the only module that imports it: a parent run per round, nested runs for training and benchmark.

Runs are named by id through MlflowClient (the active run of `mlflow.start_run` is thread-local). The id of the
parent travels to the stages' processes in OURO_PARENT_RUN. The store is sqlite:///mlflow.db in the checkout,
unless MLFLOW_TRACKING_URI names another.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.core.endpoints import masked
from ouro.core.files import write_text
from tasks.mlflow_address import address_problem
from tasks.mlflow_pages import STORE, URI
from tasks.versions import provenance

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

EXPERIMENT = "rounds"
ABLATIONS = "ablations"
EXPERIMENT_NAME = "OURO_EXPERIMENT"  # where runs go that processes open which are started for another experiment
PARENT = "OURO_PARENT_RUN"
PAUSE = 300.0  # seconds after a write that did not arrive, in which none is tried: each try may take a minute
_PARAM_LIMIT = 100  # MLflow takes at most this many params a batch


@dataclass
class Run:
    """One MLflow run, open. All writes go through its id.

    A store that does not answer never ends the work that is tracked: one warning, it is tried again every PAUSE, what
    did not arrive is sent at the end, and without a run (`client` None) nothing is. `logged` is the last step of a run
    that is continued:
    points up to it are there already.
    """

    client: MlflowClient | None
    run_id: str
    experiment_id: str
    logged: int = -1
    waiting: list[Any] = field(default_factory=list[Any])
    later: list[Callable[[MlflowClient], object]] = field(default_factory=list[Callable[["MlflowClient"], object]])
    retry_at: float = 0.0  # by time.monotonic
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
            self._write(lambda client, part=part: client.log_batch(self.run_id, params=part))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log one point of each curve; `step` None: a figure of the whole run."""
        if self.client is None or (step is not None and step <= self.logged):
            return
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.waiting += [Metric(_name(k), float(v), now, step or 0) for k, v in values.items()]
        while self.waiting and self._send(lambda client: client.log_batch(self.run_id, metrics=self.waiting[:1000])):
            del self.waiting[:1000]

    def tags(self, values: Mapping[str, str]) -> None:
        if self.client is None:
            return
        from mlflow.entities import RunTag

        tags = [RunTag(key, value) for key, value in values.items()]
        self._write(lambda client: client.log_batch(self.run_id, tags=tags))

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file or a whole folder beside the run."""
        if path.is_dir():
            self._write(lambda client: client.log_artifacts(self.run_id, str(path), folder or path.name))
        else:
            self._write(lambda client: client.log_artifact(self.run_id, str(path), folder))

    def registry(self, write: Callable[[MlflowClient], object]) -> None:
        """Call `write` with the client, for changes of the model registry."""
        self._write(write)

    def end(self, status: str) -> None:
        self.retry_at, later, self.later = 0.0, self.later, []
        self.metrics({})
        for write in later:
            self._send(write)
        self._send(lambda client: client.set_terminated(self.run_id, status=status))

    def _write(self, write: Callable[[MlflowClient], object]) -> None:
        if not self._send(write):
            self.later.append(write)

    def _send(self, write: Callable[[MlflowClient], object]) -> bool:
        """Whether a write arrived."""
        if self.client is None or time.monotonic() < self.retry_at:
            return False
        try:
            write(self.client)
        except Exception as error:  # of MLflow, requests, the database's driver, or of JSON that is none
            self.retry_at = time.monotonic() + PAUSE
            if not self.warned:
                log.warning("MLflow does not take what is logged (%s); the work goes on without it", _first_line(error))
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

    uri = os.environ.get(URI, STORE)
    if uri.startswith("http") and (problem := address_problem().text):
        log.warning("MLflow at %s does not answer (%s); nothing is tracked", masked(uri), problem)
        return Run(None, "none", "none")
    try:
        store = client()
        experiment = _experiment(store)
        if continued and continued.is_file():
            with contextlib.suppress(MlflowException):
                return _reopen(store, continued.read_text().strip(), experiment, tags)
        new_run = store.create_run(experiment, run_name=name, tags=dict(tags))
    except Exception as error:
        log.warning("MLflow at %s does not answer (%s); nothing is tracked", masked(uri), _first_line(error))
        return Run(None, "none", "none")
    if continued:
        write_text(continued, new_run.info.run_id)
    return Run(store, new_run.info.run_id, experiment)


def try_store() -> str:
    """Why the store cannot be opened; "" where it can."""
    try:
        _experiment(client())
    except Exception as error:  # of MLflow, sqlalchemy, or a database's driver that is not installed
        return _first_line(error)
    return ""


def _first_line(error: Exception) -> str:
    text = str(getattr(error.__cause__, "orig", error)) or type(error).__name__
    return text.strip().splitlines()[0][:200]


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
    if parent.client is None:
        return []
    query = f"tags.`mlflow.parentRunId` = '{parent.run_id}'"
    try:
        runs = parent.client.search_runs([parent.experiment_id], query, max_results=10_000)
    except Exception as error:
        log.warning("MLflow does not tell its runs (%s); finished arms may be logged again", error)
        return []
    return [ChildRun(run.info.run_id, run.info.status == "FINISHED", run.data.tags) for run in runs]
