"""Whether MLflow can be written to where MLFLOW_TRACKING_URI says, before the work that is to be tracked begins."""

from __future__ import annotations

from ouro.core.errors import OuroError
from tasks import tracking
from tasks.mlflow_address import address_problem, is_address, problem_of
from tasks.problems import AddressProblem


class StoreError(OuroError, ValueError):
    """Nothing can be tracked where MLFLOW_TRACKING_URI says."""


def check_store(*, unattended: bool = False) -> None:
    """Raise StoreError unless runs can be written where MLFLOW_TRACKING_URI says; without it nothing is looked at.

    `unattended`: one that does not answer is no error: the work goes on without it, with a warning.
    """
    problem = store_problem()
    if problem.text and not (unattended and problem.passing):
        raise StoreError(problem.text)


def store_problem() -> AddressProblem:
    """What is wrong with the store that MLFLOW_TRACKING_URI names: its address asked once, for at most some 20 s; a
    database or a folder opened as it will be."""
    problem = address_problem()
    if problem.text or is_address():
        return problem
    what = tracking.try_store()
    return problem_of(f"which MLflow cannot use ({what})", passing=False) if what else problem
