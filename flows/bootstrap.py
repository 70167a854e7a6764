"""A round: every stage through DVC in order, then base against bootstrapped, the MLflow run and the report.

Each stage is a Prefect task that runs `dvc repro -s STAGE` (flows/repro.py); DVC decides whether there is something
to do and starts `python -m flows.STAGE`, which reports to the same Prefect server. Afterwards `dvc repro` has
nothing left to do.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from flows import screen
from flows.delivery import deliver_events
from flows.report import comparisons, counts, notes, pipeline_report
from flows.settings import check_proposers, check_writer, params_file, write_params
from flows.timing import TIMES, work_seconds
from ouro.params import Params, load_params
from tasks import tracking
from tasks.asking import check_benchmarks
from tasks.ingest import check_source
from tasks.layout import ADAPTER, PIPELINE
from tasks.models import MissingModel, needs_hub, require_model
from tasks.servers import prefect_server, process_tag, sweep_stale_runs

if TYPE_CHECKING:
    from ouro.benchmarks.intervals import Estimate
    from ouro.benchmarks.summary import Comparison

STAGES = ("ingest", "propose", "describe", "merge", "synthesize", "train", "benchmark")

LOCK = Path(".ouro/bootstrap.lock")
GRACE = 5.0  # seconds that an interrupted stage has to end by itself


class CheckoutError(ValueError):
    """Ouro is not run from a git checkout with its DVC files."""


class StageFailed(RuntimeError):
    """A stage ended with an error, which it has printed itself."""


def run(params_path: Path | None, profile: str | None, overrides: Sequence[str]) -> None:
    """The command `ouro bootstrap`. Bad input raises before anything is started."""
    check_checkout()
    with only_run():
        _bootstrap(params_path, profile, overrides)


def _bootstrap(params_path: Path | None, profile: str | None, overrides: Sequence[str]) -> None:
    check_inputs(load_params(params_file(params_path, profile), tuple(overrides)))
    params, difference = write_params(params_path, profile, overrides)
    if difference:
        screen.say(f"params.yaml now says:\n{difference.rstrip()}")
    for note in notes(params):
        screen.say(f"note: {note}")
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        ready: Future[object] = pool.submit(tracking.client)  # some 10 s, while the server comes up
        with prefect_server(while_waiting=_import_prefect, online=needs_hub(params)) as server:
            ready.result()
            screen.say(f"Prefect: {server.ui}")
            screen.say(f"MLflow:  http://127.0.0.1:5000 after `{tracking.UI_COMMAND}`")
            try:
                _round(params, started)
            finally:
                deliver_events()


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
    LOCK.parent.mkdir(exist_ok=True)
    try:
        with FileLock(LOCK, timeout=0):
            yield
    except Timeout as error:
        raise CheckoutError(
            f"{Path.cwd()}: another `ouro bootstrap` is at work in this checkout. Fix: wait for it to end, or run in a "
            "second clone"
        ) from error


def check_inputs(params: Params) -> None:
    """Raise for a missing model, proposer, folder or manifest, before anything is started."""
    require_model(Path(params.model.base))
    _check_proposer_file(params)
    check_writer(params)
    check_proposers(params)
    check_source(params)
    check_benchmarks(params)


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


def _round(params: Params, started: float) -> None:
    tags = {"round": "1", "k": str(params.train.k), "supervision": params.train.supervision}
    with tracking.run("round 1", tags) as parent:
        parent.params(params.model_dump(mode="json"))
        with tracking.parent_of_children(parent):
            seconds = _run_stages(params)
        made = comparisons(PIPELINE.scores / "scores.json")
        numbers = {
            f"{c.stage}.{name}": float(n) for c in counts(PIPELINE) for name, n in (("in", c.n_in), ("out", c.n_out))
        }
        parent.metrics({**numbers, **{f"seconds.{stage}": s for stage, s in seconds.items()}, **_headline(made)})
        annotations = next((c.n_out for c in counts(PIPELINE) if c.stage == "synthesize"), 0)
        parent.tags({**tracking.provenance(), **tracking.dataset_digests(), "annotations": str(annotations)})
        paths = {
            "adapter": str(ADAPTER), "datasets": str(PIPELINE.root),
            "MLflow run": f"experiment {tracking.EXPERIMENT}, run {parent.run_id}",
        }  # fmt: skip
        report = pipeline_report(params, paths)
        parent.artifact(report, "report")
    for comparison in made:
        show(comparison)
    for name, path in {**paths, "report": str(report)}.items():
        screen.say(f"{name}: {path}")
    _say_times(seconds, time.monotonic() - started)


def _run_stages(params: Params) -> dict[str, float]:
    """Wall seconds of every stage, DVC and process start included."""
    from prefect import flow, tags, task

    shutil.rmtree(TIMES, ignore_errors=True)

    @task(name="repro", task_run_name="repro {stage}", persist_result=False)
    def repro(stage: str) -> float:
        return repro_stage(stage, force=stage == "ingest" and params.ingest.source != "nano")

    @flow(name="bootstrap", validate_parameters=False)
    def bootstrap() -> dict[str, float]:
        return {stage: repro(stage) for stage in STAGES}

    screen.show_notices()
    if swept := sweep_stale_runs():
        screen.say(f"marked {swept} runs of killed processes as crashed")
    with tags(process_tag()):
        return bootstrap()


def repro_stage(stage: str, *, force: bool = False) -> float:
    """Run one stage through DVC if it is out of date; returns its wall seconds. Raises StageFailed.

    `force`: a folder outside of the checkout may have changed without DVC seeing it; ingest looks itself.
    """
    started = time.monotonic()
    if _dvc([stage, *(["--force"] if force else [])]) != 0:
        raise StageFailed(
            f"stage {stage}: ended with an error, printed above; what was finished is kept. Fix what it names and run "
            "the same command again"
        )
    if stage not in work_seconds():
        screen.say(f"{stage}: up to date")
    return time.monotonic() - started


def repro_target(target: str) -> None:
    """Run one stage of any dvc.yaml through DVC if it is out of date. Raises StageFailed."""
    if _dvc([target]) != 0:
        raise StageFailed(
            f"{target}: ended with an error, printed above; what was finished is kept. Fix what it names and run the "
            "same command again"
        )


def _dvc(arguments: Sequence[str]) -> int:
    """The exit code of flows.repro. Whatever happens here or to it, nothing of its session goes on afterwards."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "flows.repro", *arguments]
    environment = {**os.environ, "PATH": path}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True) as process:
        try:
            return process.wait()
        finally:
            if process.returncode is None or process.returncode < 0:
                _end_session(process)


def _end_session(leader: subprocess.Popen[bytes]) -> None:
    """SIGTERM to every process of a session, and SIGKILL to those that are left GRACE seconds later."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(leader.pid, sign)
            end = time.monotonic() + GRACE
            while time.monotonic() < end:
                leader.poll()
                os.killpg(leader.pid, 0)
                time.sleep(0.05)


def _headline(made: Sequence[Comparison]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for c in made:
        row = c.macro
        values = {
            "accuracy.base": row.base_accuracy.value, "accuracy.boot": row.boot_accuracy.value,
            "accuracy.gain": row.accuracy_gain.value, "margin.base": row.base_margin.value,
            "margin.boot": row.boot_margin.value, "margin.gain": row.margin_gain.value,
        }  # fmt: skip
        numbers.update({f"{c.arm}.{name}": value for name, value in values.items()})
    return numbers


def show(c: Comparison) -> None:
    """The table of one arm, in percentage points; in brackets 95% intervals over images."""
    from rich.markup import escape
    from rich.table import Table

    from ouro.report import points, signed

    def at(e: Estimate) -> str:
        return f"{points(e.value)}\n[dim]{points(e.low)}..{points(e.high)}[/]"

    def by(e: Estimate) -> str:
        return f"{signed(e.value)}\n[dim]{signed(e.low)}..{signed(e.high)}[/]"

    table = Table(
        title=f"{c.arm}: {c.base} and {c.boot} on {c.n_images} held-out images", box=None, padding=(0, 0, 0, 1)
    )
    table.add_column("type", no_wrap=True)
    for name in ("n", "most\nfreq.", "base", "boot-\nstrapped", "gain", "shuf-\nfled", "margin\ngain"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in (*c.rows, c.macro, c.overall):
        shuffled = f"{points(row.base_shuffled)}\n{points(row.boot_shuffled)}"
        table.add_row(
            escape(row.question_type), str(row.n), points(row.majority), at(row.base_accuracy),
            at(row.boot_accuracy), by(row.accuracy_gain), shuffled, by(row.margin_gain),
        )  # fmt: skip
    screen.console().print(table, soft_wrap=False)


def _say_times(seconds: dict[str, float], wall: float) -> None:
    work = sum(work_seconds().values())
    stages = ", ".join(f"{stage} {s:.0f} s" for stage, s in seconds.items())
    screen.say(f"time: {wall:.0f} s in all ({stages}); of it {wall - work:.0f} s orchestration and process start")
    Path(".ouro").mkdir(exist_ok=True)
    Path(".ouro/last-round.json").write_text(
        json.dumps({"wall": wall, "stages": seconds, "work": work_seconds()}, indent=2)
    )
