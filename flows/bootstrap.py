"""`ouro bootstrap --rounds N`: check what is asked, write params.yaml, then round after round while there is work.

A round is finished when rounds/round-NNN.json is there. So whatever ends this process, the same command goes on where
it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flows.round import run_round
from flows.session import import_libraries, session
from ouro.core.params import load_params
from tasks import mlflow_pages, screen
from tasks.checkout import check_checkout, only_run
from tasks.inputs import check_inputs
from tasks.mlflow_store import check_store
from tasks.models import needs_hub
from tasks.promotion import begin_round
from tasks.publishing import check_next_commit, finish_pending
from tasks.round_screen import say_params
from tasks.saturation import nothing_to_do
from tasks.settings import params_file, write_params


def run(file: Path | None, profile: str | None, overrides: Sequence[str], rounds: int = 1,
        commit: bool | None = None) -> str:  # fmt: skip
    """The command; returns its outcome as one line of text. Bad input raises before anything is started.

    `commit` None: as bootstrap.commit says.
    """
    check_checkout()
    with only_run():
        requested_params = load_params(params_file(file, profile), tuple(overrides))
        check_inputs(requested_params)
        check_store(unattended=True)
        committing = requested_params.bootstrap.commit if commit is None else commit
        finish_pending(load_params().round, committing)
        params, difference = write_params(file, profile, overrides)
        say_params(params, difference)
        if reason := nothing_to_do(params):
            screen.say(f"nothing to do: {reason}")
            return f"nothing to do: {reason}"
        with session(online=needs_hub(params), while_waiting=import_libraries):
            screen.say(f"MLflow:  {mlflow_pages.where()}")
            promoting = not any(text.startswith("model.adapter=") for text in overrides)
            return run_rounds(rounds, committing, promoting)


def run_rounds(rounds: int, committing: bool, promoting: bool) -> str:
    """At most so many rounds, as long as there is something to do; how the last one ended. `promoting`: see
    begin_round, for the first one."""
    outcome = ""
    for number in range(rounds):
        if number and (reason := nothing_to_do(load_params())):
            screen.say(f"ended after {number} of {rounds} rounds: {reason}")
            break
        if number and committing:
            check_next_commit()
        record = run_round(begin_round(promoting or number > 0), committing)
        verdict = "promoted" if record.verdict.promoted else "refused"
        outcome = f"round {record.number}: {verdict}; {record.verdict.reasons[0]}"
    return outcome
