"""A server of MLflow on loopback, on the store that commands write to without it; it ends with who started it."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tasks.processes.environments import mlflow_server_environment
from tasks.processes.server import HOST
from tasks.processes.supervised import Supervised, start

SECONDS = 240.0  # until it answers; 26 s on two idle cores


def start_mlflow(store: str, port: int, log: Path, lock: int) -> Supervised:
    """Start a server on a store, a database's address. `lock`: the number of an inherited lock."""
    artifacts = Path("mlartifacts").resolve().as_uri()
    environment = {
        **mlflow_server_environment(os.environ),
        "MLFLOW_BACKEND_STORE_URI": store,  # not on the command line, which everybody sees: it may hold a password
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": artifacts,  # files as without the server, so that runs can be read both ways
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # processes for what Ouro does not use
    }
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    return start("MLflow", command, environment, lock, log=log)


def wait_for_mlflow(server: Supervised, address: str) -> None:
    """Block until it answers. Raises ChildError."""
    server.wait_until(lambda: _answers(f"{address}/health"), SECONDS)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2.0) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
