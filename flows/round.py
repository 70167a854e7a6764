"""One round: run every stage through DVC in order, judge, keep the result.

Each stage is a Prefect task that runs `dvc repro -s STAGE` (tasks/processes/stage.py); DVC decides whether there is
something to do and starts `python -m flows.STAGE`, which reports to the same Prefect server. Afterwards `dvc repro` has
nothing left to do. params.yaml says which round it is and who annotates.
"""

from __future__ import annotations

import os
import time

from prefect import flow, tags, task
from prefect.cache_policies import NO_CACHE

from ouro.core.params import Params
from ouro.rounds.ledger import Round, annotator_of
from tasks import screen
from tasks.inbox import inbox_changed, inbox_fingerprint, note_inbox
from tasks.processes.prefect_server import ROUND
from tasks.processes.stage import STAGES, repro_stage
from tasks.publishing import commit_finished, push
from tasks.round_screen import show_round
from tasks.round_tracking import log_round, round_run
from tasks.timing import forget_work
from tasks.verdict import judge


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


SERVED = ("describe", "merge", "synthesize")
"""With a server these run each time, since DVC cannot see who answers there; shards that hold come from the cache."""


@flow(name="bootstrap", flow_run_name="round {params.round}", validate_parameters=False)
def bootstrap(params: Params, committing: bool, run_id: str) -> tuple[dict[str, float], Round]:
    """The stages in their order, then the verdict; wall seconds by stage, DVC and process start included."""
    forget_work()
    changed, inbox = inbox_changed(params), inbox_fingerprint(params)  # before ingest: what arrives meanwhile is new
    seconds: dict[str, float] = {}
    asking = SERVED if params.model.backend == "openai" else ()
    for stage in STAGES:
        seconds[stage] = repro(stage, force=(stage == "ingest" and changed) or stage in asking)
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
