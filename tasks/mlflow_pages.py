"""Where a person sees the runs: MLflow's store and the addresses of its pages."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from urllib.parse import quote

from ouro.core.endpoints import masked

STORE = "sqlite:///mlflow.db"
URI = "MLFLOW_TRACKING_URI"
UI_COMMAND = f"uv run mlflow ui --backend-store-uri {STORE} --host 127.0.0.1 --port 5000"


def where() -> str:
    """Where MLflow's page is, or how to open it."""
    uri = masked(os.environ.get(URI, STORE))
    return uri if uri.startswith("http") else f"http://127.0.0.1:5000 after `{UI_COMMAND.replace(STORE, uri)}`"


def how_to_see(run_id: str | None) -> str:
    """A line for the person: where a run is to be seen, or that nothing was tracked (None)."""
    if run_id is None:
        return "MLflow: nothing was tracked"
    uri = masked(os.environ.get(URI, STORE))
    where = f"at {uri}" if uri.startswith("http") else f"seen after `{UI_COMMAND.replace(STORE, uri)}`"
    return f"MLflow: run {run_id}, {where}"


def is_local() -> bool:
    """Whether runs go into the checkout's own file, which UI_COMMAND shows."""
    return URI not in os.environ


def compare_url(experiment_id: str, run_ids: Sequence[str]) -> str:
    """The page of MLflow that compares runs, once its server is up (UI_COMMAND)."""
    uri = os.environ.get(URI, STORE)
    address = uri.rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"
    runs, experiments = (quote(json.dumps(ids)) for ids in (list(run_ids), [experiment_id]))
    return f"{address}/#/compare-runs?runs={runs}&experiments={experiments}"
