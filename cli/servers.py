"""The servers and addresses that `ouro doctor` looks at: Prefect, MLflow, the hub, DVC's remote."""

from __future__ import annotations

import os

from cli.findings import Finding
from ouro.core.state import CHECKOUT


def servers() -> list[Finding]:
    """The Prefect server that would be used, and whether the usual ports are free."""
    from tasks.processes import deployment
    from tasks.processes.prefect_server import (
        ADDRESS_FIX,
        PORT,
        address_problem,
        configured_api,
        refusal,
        started_earlier,
    )

    api = configured_api()
    if api:
        problem = address_problem(api)
        if not problem and not deployment.is_admitted():
            problem = refusal(api)
        elif problem:
            problem = f"{problem}. Fix: {ADDRESS_FIX}"
        return [_of_address("Prefect server", api, problem)]
    running = started_earlier(CHECKOUT)
    text = running.api if running else "none configured: ouro starts one"
    return [Finding("Prefect server", "ok", text), _port(PORT, "Prefect"), _port(5000, "MLflow")]


def _of_address(what: str, address: str, problem: str) -> Finding:
    """`problem`: a sentence with its "Fix:", or ""."""
    from ouro.core.endpoints import masked

    if not problem:
        return Finding(what, "ok", masked(address))
    sentence, _, mend = problem.partition(" Fix: ")
    return Finding(what, "missing", sentence, mend or "see its text")


def addresses() -> list[Finding]:
    """MLflow's store, the hub and DVC's remote, where the environment or DVC's config name other ones than usual."""
    from ouro.core.hub import ENDPOINT, endpoint_problem
    from tasks.mlflow_pages import URI
    from tasks.mlflow_store import store_problem
    from tasks.remotes import default_remote, remote_problem

    findings: list[Finding] = []
    if uri := os.environ.get(URI):
        findings.append(_of_address("MLflow", uri, store_problem().text))
    if endpoint := os.environ.get(ENDPOINT):
        findings.append(_of_address("Hugging Face hub", endpoint, endpoint_problem()))
    if remote := default_remote():
        findings.append(_of_address("DVC remote", remote.url, remote_problem(remote).text))
    return findings


def _port(port: int, whose: str) -> Finding:
    import socket

    from tasks.processes.prefect_server import HOST

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        in_use = probe.connect_ex((HOST, port)) == 0
    mend = f"nothing to do: {whose} then takes another port (mlflow ui --port N)" if in_use else ""
    return Finding(f"port {port} ({whose})", "note" if in_use else "ok", "taken" if in_use else "free", mend)
