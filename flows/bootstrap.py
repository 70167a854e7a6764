"""Rounds: promote, run every stage through DVC in order, judge, keep what came of it. `ouro bootstrap --rounds N`.

Each stage is a Prefect task that runs `dvc repro -s STAGE` (tasks/processes/stage.py); DVC decides whether there is
something to do and starts `python -m flows.STAGE`, which reports to the same Prefect server. Afterwards `dvc repro` has
nothing left to do. params.yaml says which round it is and who annotates; a round is finished when rounds/round-NNN.json
is there. So whatever ends this process, the same command goes on where it was.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from flows.report import comparisons, counts, notes, pipeline_report
from flows.round_screen import say_times, say_verdict, show
from ouro.core.layout import ADAPTER, PIPELINE
from ouro.core.params import Params, load_params
from ouro.core.state import CHECKOUT
from ouro.rounds.gate import check_gate
from ouro.rounds.ledger import Round, barren, read_round, read_rounds, tag
from tasks import screen, tracking, versioning
from tasks.asking import check_benchmarks
from tasks.ingest import check_source, inbox_digest
from tasks.models import MissingModel, needs_hub, require_model
from tasks.processes.delivery import deliver_events
from tasks.processes.locks import Held, exclusive
from tasks.processes.prefect_server import ROUND, prefect_server, process_tag, say_address, sweep_stale_runs
from tasks.processes.stage import STAGES, repro_stage
from tasks.promotion import is_candidate, promote
from tasks.settings import check_proposers, check_writer, params_file, set_params, write_params
from tasks.timing import TIMES
from tasks.verdict import headline, judge

INBOX = CHECKOUT.inbox
UNPUSHED = CHECKOUT.unpushed


class CheckoutError(ValueError):
    """Ouro is not run from a git checkout with its DVC files."""


def run(
    params_path: Path | None, profile: str | None, overrides: Sequence[str], rounds: int = 1, commit: bool | None = None
) -> str:
    """The command `ouro bootstrap`; returns in one line how it ended. Bad input raises before anything is started.

    `commit` None: as bootstrap.commit says.
    """
    check_checkout()
    with only_run():
        return _bootstrap(params_path, profile, overrides, rounds, commit)


def _bootstrap(
    params_path: Path | None, profile: str | None, overrides: Sequence[str], rounds: int, commit: bool | None
) -> str:
    wanted = load_params(params_file(params_path, profile), tuple(overrides))
    check_inputs(wanted)
    committing = wanted.bootstrap.commit if commit is None else commit
    number = load_params().round
    if committing:
        _commit_what_ended(number)
        _check_commit()
    if UNPUSHED.exists():
        _push()
    _tell_what_ended(number)
    params, difference = write_params(params_path, profile, overrides)
    if difference:
        screen.say(f"params.yaml now says:\n{difference.rstrip()}")
    for note in notes(params):
        screen.say(f"note: {note}")
    if reason := nothing_to_do(params):
        screen.say(f"nothing to do: {reason}")
        return f"nothing to do: {reason}"
    with ThreadPoolExecutor(1) as pool:
        ready: Future[object] = pool.submit(tracking.client)  # some 10 s, while the server comes up
        with prefect_server(while_waiting=_import_prefect, online=needs_hub(params)) as server:
            ready.result()
            say_address(server)
            screen.say(f"MLflow:  {tracking.where()}")
            try:
                return _rounds(rounds, committing, any(text.startswith("model.adapter=") for text in overrides))
            finally:
                deliver_events()


def _rounds(rounds: int, committing: bool, own_annotator: bool) -> str:
    said = ""
    for number in range(rounds):
        if number and (reason := nothing_to_do(load_params())):
            screen.say(f"ended after {number} of {rounds} rounds: {reason}")
            break
        if number and committing:
            _check_commit()
        made = _round(begin(promoting=number > 0 or not own_annotator), committing)
        said = f"round {made.number}: {'promoted' if made.verdict.promoted else 'refused'}; {made.verdict.reasons[0]}"
    return said


def _check_commit() -> None:
    """Raise VersioningError when the round that comes next could not be committed."""
    number = load_params().round
    versioning.check_commit(tag(number + 1 if is_finished(number) else number))


def is_finished(number: int) -> bool:
    """Whether a round has its file."""
    return any(made.number == number for made in read_rounds())


def nothing_to_do(params: Params) -> str | None:
    """Why no round need begin: the last bootstrap.patience of them gained nothing, and nothing has changed since.

    None where a round has been begun, passed its gate or may still gain. Raises VersioningError, LedgerError.
    """
    if not is_finished(params.round):
        return None
    barren_rounds, patience = barren(read_rounds()), params.bootstrap.patience
    if barren_rounds < patience:
        return None
    known = inbox_digest(params) is not None  # of a Hugging Face dataset it cannot be told
    if (known and _inbox_changed(params)) or not versioning.is_up_to_date():
        return None
    return (
        f"saturated after round {params.round}: {barren_rounds} round{'s' if barren_rounds > 1 else ''} in a row "
        f"without a gain beyond the interval (bootstrap.patience: {patience}), and no image, param or code has "
        "changed since"
    )


def _inbox_changed(params: Params) -> bool:
    found = inbox_digest(params)
    return found is None or (found != "" and (not INBOX.is_file() or INBOX.read_text() != found))


def begin(promoting: bool = True) -> Params:
    """Go on with the round that has not ended, or begin the next one: promote the candidate whose gate has passed.

    Not without `promoting`, where a person has just set model.adapter, and not an adapter of another base than the
    one that is set now. params.yaml is written once, at the end. Raises PromotionError and VersioningError.
    """
    params = load_params()
    if not is_finished(params.round):
        return params
    last = read_round(params.round)
    changes: dict[str, object] = {"round": params.round + 1}
    base = last.annotator.partition(" + ")[0]
    if last.verdict.promoted and not promoting:
        screen.say(f"round {last.number}'s candidate is not promoted: model.adapter was set to another annotator")
    elif last.verdict.promoted and base != params.model.base:
        screen.say(f"round {last.number}'s candidate is not promoted: it is of {base}, model.base is another now")
    elif last.verdict.promoted:
        changes["model.adapter"] = str(promote(last))
        screen.say(f"round {last.number}'s candidate is the champion now: {changes['model.adapter']}")
    set_params(changes)
    return load_params()


def check_checkout() -> None:
    """Raise CheckoutError unless this is a git checkout with dvc.yaml, and git is there."""
    here = Path.cwd()
    if shutil.which("git") is None:
        raise CheckoutError("git: not found on the PATH; DVC and the rounds need it. Fix: install git")
    if not Path("dvc.yaml").is_file() or not Path(".dvc/config").is_file():
        raise CheckoutError(f"{here}: no dvc.yaml and .dvc/config here; expected Ouro's checkout. Fix: cd into it")
    inside = subprocess.run(["git", "rev-parse", "--git-dir"], capture_output=True, text=True, check=False)
    if inside.returncode != 0:
        raise CheckoutError(
            f"{here}: not a git repository (an unpacked archive?); DVC needs one. Fix: git clone, or git init here"
        )


@contextlib.contextmanager
def only_run() -> Generator[None]:
    """Hold this checkout's lock; the system frees it when the holder dies. Raises CheckoutError when it is held."""
    try:
        with exclusive(CHECKOUT.bootstrap_lock, wait=False):
            yield
    except Held as error:
        raise CheckoutError(
            f"{Path.cwd()}: another `ouro bootstrap` is at work in this checkout, or an `ouro ablate`. Fix: wait for "
            "it to end, or run in a second clone"
        ) from error


def check_inputs(params: Params) -> None:
    """Raise for a missing model, adapter, proposer, folder, manifest or benchmark, before anything is started."""
    require_model(Path(params.model.base))
    if params.model.adapter:
        require_model(Path(params.model.adapter))
    _check_proposer_file(params)
    check_writer(params)
    check_proposers(params)
    check_source(params)
    check_benchmarks(params)
    check_gate(params.gate, params.benchmark.names, held_out=params.ingest.source == "nano")


def _check_proposer_file(params: Params) -> None:
    """Raise MissingModel for a torchvision network by its name: DVC watches files, and this is none."""
    if not Path(params.model.proposer).exists():
        raise MissingModel(
            f"model.proposer: got {params.model.proposer!r}, no file or folder here; `ouro bootstrap` expects one, "
            "which DVC can watch. Fix: set model.proposer to a folder such as models/nano/rpn and propose.proposers to "
            "what finds the regions (selective-search, grounding, ocr), or annotate with `ouro annotate`, which takes "
            "torchvision's networks by name"
        )


def _import_prefect() -> None:
    importlib.import_module("prefect.flow_engine")  # 2 s, while the server comes up


def _round(params: Params, committing: bool) -> Round:
    started = time.monotonic()
    screen.show_notices()
    screen.say(f"round {params.round}: annotated by {annotator_of(params)}, trained from the {params.train.from_}")
    tags = {"round": str(params.round), "k": str(params.train.k), "supervision": params.train.supervision}
    with tracking.run(f"round {params.round}", tags, continued=_tracked(params.round)) as parent:
        parent.params(params.model_dump(mode="json"))
        with tracking.parent_of_children(parent):
            seconds, made = _run_stages(params, parent, committing)
        report = _tell(params, parent, made, seconds)
        compared = comparisons(PIPELINE.scores / "scores.json")
    for comparison in compared:
        show(comparison)
    for name, path in {**paths(parent), "report": str(report)}.items():
        screen.say(f"{name}: {path}")
    say_verdict(made)
    say_times(seconds, time.monotonic() - started)
    if committing:
        _push()
    return made


def _tracked(number: int) -> Path:
    """Keeps the id of a round's MLflow run until that has been told everything."""
    return CHECKOUT.round_run(tag(number))


def annotator_of(params: Params) -> str:
    """models/nano, or models/nano + models/champions/round-001."""
    return " + ".join(name for name in (params.model.base, params.model.adapter) if name)


def paths(parent: tracking.Run) -> dict[str, str]:
    """Where the person finds what a round made."""
    run = f"experiment {tracking.EXPERIMENT}, run {parent.run_id}"
    return {"adapter": str(ADAPTER), "datasets": str(PIPELINE.root), "MLflow run": run}


def _tell(params: Params, parent: tracking.Run, made: Round, seconds: dict[str, float]) -> Path:
    """Give MLflow what came of the round, and write the report; returns its path."""
    numbers = {
        f"{c.stage}.{name}": float(n) for c in counts(PIPELINE) for name, n in (("in", c.n_in), ("out", c.n_out))
    }
    compared = comparisons(PIPELINE.scores / "scores.json")
    parent.metrics({**numbers, **{f"seconds.{stage}": s for stage, s in seconds.items()}, **headline(compared)})
    about = {"verdict": "promoted" if made.verdict.promoted else "refused", "annotator": made.annotator}
    about |= {
        "why": "; ".join(made.verdict.reasons),
        "git_tag": tag(made.number) if versioning.has_tag(made.tag) else "",
    }
    annotations = str(made.counts.get("pairs", 0))
    parent.tags({**tracking.provenance(), **tracking.dataset_digests(), **about, "annotations": annotations})
    parent.artifact(Path("rounds") / f"{made.tag}.json")
    keys = ("git_commit", "dvc_lock")
    version = {key: tracking.provenance()[key] for key in keys} | {"round": str(made.number), **about}
    tracking.register(parent, ADAPTER, version)
    if params.model.adapter:
        tracking.crown(parent, Path(params.model.adapter).name.removeprefix("round-").lstrip("0"))
    report = pipeline_report(params, paths(parent))
    parent.artifact(report, "report")
    return report


def _run_stages(params: Params, parent: tracking.Run, committing: bool) -> tuple[dict[str, float], Round]:
    """Run every stage and judge; the wall seconds of each, DVC and process start included, and the finished round."""
    from prefect import flow, tags, task

    shutil.rmtree(TIMES, ignore_errors=True)
    look, inbox = _inbox_changed(params), inbox_digest(params)  # before ingest: what arrives meanwhile is new

    @task(name="repro", task_run_name="repro {stage}", persist_result=False)
    def repro(stage: str) -> float:
        seconds = repro_stage(stage, force=stage == "ingest" and look)
        if stage == "ingest":
            _note_inbox(inbox)
        return seconds

    @task(name="judge", persist_result=False)
    def judged(seconds: dict[str, float]) -> Round:
        made = judge(params, annotator_of(params), seconds, parent.run_id)
        if committing:
            _commit(made)
        return made

    @flow(name="bootstrap", flow_run_name=f"round {params.round}", validate_parameters=False)
    def bootstrap() -> tuple[dict[str, float], Round]:
        seconds = {stage: repro(stage) for stage in STAGES}
        return seconds, judged(seconds)

    if swept := sweep_stale_runs():
        screen.say(f"marked {swept} runs of killed processes as crashed")
    os.environ[ROUND] = str(params.round)
    with tags(process_tag(), f"round:{params.round}"):
        return bootstrap()


def _note_inbox(found: str | None) -> None:
    """What ingest has read in: looked at before the next round."""
    INBOX.parent.mkdir(exist_ok=True)
    INBOX.write_text(found or "")


def _commit(made: Round) -> None:
    """Commit and tag a finished round."""
    verdict = "promoted" if made.verdict.promoted else "refused"
    UNPUSHED.touch()
    commit = versioning.commit_round(made.tag, f"{made.tag}: {verdict}; {made.verdict.reasons[0]}")
    screen.say(f"git: {made.tag} is commit {commit}")


def _commit_what_ended(number: int) -> None:
    """Commit the round that ended without: its process was killed in between, or ran without --commit."""
    if is_finished(number) and not versioning.has_tag(tag(number)):
        if versioning.is_up_to_date():
            _commit(read_round(number))
        else:
            screen.say(f"round {number} ended without a commit, and something has changed since: it gets no tag")


def _tell_what_ended(number: int) -> None:
    """Tell MLflow of the round that ended without: its process was killed in between."""
    if not (_tracked(number).is_file() and is_finished(number)):
        return
    made = read_round(number)
    if is_candidate(made):
        screen.say(f"round {number} ended before MLflow was told; its figures and its adapter are added now")
        with tracking.run(f"round {number}", continued=_tracked(number)) as parent:
            _tell(load_params(), parent, made, dict(made.seconds))
    else:
        _tracked(number).unlink()


def _push() -> None:
    """Send the round's data to the remote, if one is set. Raises VersioningError."""
    if versioning.has_remote():
        versioning.push_data()
        screen.say("dvc push: the remote has everything")
    UNPUSHED.unlink(missing_ok=True)
