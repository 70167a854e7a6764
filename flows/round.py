"""`ouro bootstrap --rounds N`: promote, run every stage through DVC in order, judge, keep the result.

Each stage is a Prefect task that runs `dvc repro -s STAGE` (tasks/processes/stage.py); DVC decides whether there is
something to do and starts `python -m flows.STAGE`, which reports to the same Prefect server. Afterwards `dvc repro` has
nothing left to do. params.yaml says which round it is and who annotates; a round is finished when rounds/round-NNN.json
is there. So whatever ends this process, the same command goes on where it was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from prefect import flow, tags, task
from prefect.cache_policies import NO_CACHE

from flows.session import import_libraries, session
from ouro.core.params import Params, load_params
from ouro.rounds.ledger import Round, annotator_of
from tasks import mlflow_pages, screen
from tasks.checkout import check_checkout, only_run
from tasks.inbox import inbox_changed, inbox_fingerprint, note_inbox
from tasks.inputs import check_inputs
from tasks.models import needs_hub
from tasks.processes.prefect_server import ROUND
from tasks.processes.stage import STAGES, repro_stage
from tasks.promotion import begin_round
from tasks.publishing import check_next_commit, commit_finished, finish_pending, push
from tasks.round_screen import say_params, show_round
from tasks.round_tracking import log_round, round_run
from tasks.saturation import nothing_to_do
from tasks.settings import params_file, write_params
from tasks.timing import forget_work
from tasks.verdict import judge


def run(file: Path | None, profile: str | None, overrides: Sequence[str], rounds: int = 1,
        commit: bool | None = None) -> str:  # fmt: skip
    """The command; returns its outcome as one line of text. Bad input raises before anything is started.

    `commit` None: as bootstrap.commit says.
    """
    check_checkout()
    with only_run():
        requested_params = load_params(params_file(file, profile), tuple(overrides))
        check_inputs(requested_params)
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


def run_round(params: Params, committing: bool) -> Round:
    """One round, in MLflow, on the screen, in git and in DVC's remote."""
    start_time = time.monotonic()
    screen.say(f"round {params.round}: annotated by {annotator_of(params)}, trained from the {params.train.from_}")
    os.environ[ROUND] = str(params.round)
    with round_run(params) as parent:
        with tags(f"round:{params.round}"):
            seconds, record = bootstrap(params, committing, parent.run_id)
        report = log_round(params, parent, record, seconds)
    show_round(record, parent, report, seconds, time.monotonic() - start_time)
    if committing:
        push()
    return record


@flow(name="bootstrap", flow_run_name="round {params.round}", validate_parameters=False)
def bootstrap(params: Params, committing: bool, run_id: str) -> tuple[dict[str, float], Round]:
    """The stages in their order, then the verdict; wall seconds by stage, DVC and process start included."""
    forget_work()
    changed, inbox = inbox_changed(params), inbox_fingerprint(params)  # before ingest: what arrives meanwhile is new
    seconds: dict[str, float] = {}
    for stage in STAGES:
        seconds[stage] = repro(stage, force=stage == "ingest" and changed)
        if stage == "ingest":
            note_inbox(inbox)
    return seconds, judge_round(params, seconds, run_id, committing)


@task(name="repro", task_run_name="repro {stage}", persist_result=False, cache_policy=NO_CACHE)
def repro(stage: str, force: bool) -> float:
    """One stage through DVC, if it is out of date; its wall seconds."""
    return repro_stage(stage, force=force)


@task(name="judge", task_run_name="judge round {params.round}", persist_result=False, cache_policy=NO_CACHE)
def judge_round(params: Params, seconds: dict[str, float], run_id: str, committing: bool) -> Round:
    """The verdict, the round's file and its commit."""
    record = judge(params, annotator_of(params), seconds, run_id)
    if committing:
        commit_finished(record)
    return record
