"""What answers at MLFLOW_TRACKING_URI, asked without MLflow."""

from __future__ import annotations

import json
import os
from urllib.parse import urlsplit

from ouro.core.endpoints import ask, masked, origin, reach
from tasks.mlflow_pages import URI
from tasks.problems import AddressProblem

PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_HOSTED = ("databricks", "uc", "azureml", "arn")  # their own clients know where they are
_FIX = "Fix: correct it, or unset it: runs go to mlflow.db in the checkout then"


def is_address() -> bool:
    """Whether all is known of MLFLOW_TRACKING_URI without opening it: a server's, a provider's, or none that is set."""
    uri = os.environ.get(URI, "")
    return not uri or uri.lower().startswith(("http:", "https:", *(f"{name}:" for name in _HOSTED))) or uri in _HOSTED


def address_problem() -> AddressProblem:
    """What is wrong at the address of the server or database that MLFLOW_TRACKING_URI names, if it names one."""
    uri = os.environ.get(URI, "")
    try:
        parts = urlsplit(uri)
        scheme, host, port = parts.scheme.partition("+")[0].lower(), parts.hostname, parts.port
    except ValueError:
        return problem_of("which is no address", passing=False)
    if scheme in ("http", "https"):
        return _of_server(uri)
    if scheme in PORTS and host and (what := reach(host, port or PORTS[scheme])):
        return problem_of(what, passing=True)
    return AddressProblem()


def _of_server(uri: str) -> AddressProblem:
    """An MLflow server says OK at /health; one behind a gateway may answer at its API alone."""
    answer = ask(f"{uri.rstrip('/')}/health")
    if answer.problem:
        return problem_of(answer.problem, passing="no address" not in answer.problem)
    if answer.status == 200 and answer.body.strip() == b"OK":
        return AddressProblem()
    api = ask(f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/get?experiment_id=0")
    if api.status in (401, 403) or (api.status in (200, 400, 404) and _is_json(api.body)):
        return AddressProblem()
    return problem_of(api.what, passing=api.status >= 500)


def problem_of(what: str, passing: bool) -> AddressProblem:
    """`what`: the end of "got URI, ..."."""
    uri = masked(os.environ.get(URI, ""))
    return AddressProblem(f"{origin(URI)}: got {uri}, {what}, expected an MLflow server or store. {_FIX}", passing)


def _is_json(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False
