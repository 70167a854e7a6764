"""`ouro ablate`: a grid over params, several seeds an arm, each a stage of a DVC matrix and a nested MLflow run.

The arms train on what the last round annotated. DVC says which of them are out of date, only those run, one after the
other: each holds DVC's lock, and its training uses all processes of train.processes anyway. What was finished before
the ablation was killed is neither run nor logged again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import yaml
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.arm import ARMS
from flows.matrix import FOLDER, PACKAGES, Job, jobs, scores_of, target, write_matrix
from flows.session import session
from ouro.ablations.figure import figure
from ouro.ablations.grid import NAMED, Arm, GridError, check_arms, check_name, default_name, grid
from ouro.ablations.results import Result, findings, page, paper_rows, paper_table, results, table, to_json
from ouro.core.artifacts import ArtifactError, write_bytes, write_json, write_text
from ouro.core.code import code_fingerprint
from ouro.core.errors import OuroError
from ouro.core.json_text import parse_json
from ouro.core.layout import PIPELINE
from ouro.core.params import Params, load_params
from ouro.core.state import CHECKOUT
from tasks import mlflow_pages, screen, tracking, versions
from tasks.benchmark_sources import check_benchmarks, question_files
from tasks.checkout import check_checkout, only_run
from tasks.mlflow_store import check_store
from tasks.models import model_fingerprint, require_model
from tasks.processes.dvc import supervise_dvc
from tasks.processes.stage import repro_target

ANNOTATION = ("ingest", "propose", "describe", "merge", "synthesize")
WORK = CHECKOUT.ablations


class StatusError(OuroError, RuntimeError):
    """DVC could not say what is up to date; it has printed why."""


class Plan(NamedTuple):
    """An ablation: its name, arms and number of seeds."""

    name: str
    arms: list[Arm]
    seeds: int

    @property
    def jobs(self) -> list[Job]:
        return jobs(self.arms, self.seeds)

    @property
    def folder(self) -> Path:
        return FOLDER / self.name


def plan(grid_name: str | None, sets: Sequence[str], seeds: int, epochs: int | None, name: str | None) -> Plan:
    """The ablation of a grid. A key of `sets` replaces that of a named grid. Raises GridError."""
    if grid_name is not None and grid_name not in NAMED:
        raise GridError(
            f"ablation {grid_name!r}: expected one of {', '.join(NAMED)}. Fix: for a grid of your own give none of "
            f"them, but --set KEY=V1,V2 and, if you like, --name {grid_name}"
        )
    settings = [*NAMED.get(grid_name or "", ()), *sets, *([f"train.epochs={epochs}"] if epochs else [])]
    arms = grid(settings)
    return Plan(check_name(name or grid_name or default_name(settings)), arms, seeds)


def run(grid_name: str | None, sets: Sequence[str], seeds: int, epochs: int | None, name: str | None) -> None:
    """The command. Bad input raises before anything is started: GridError, CheckoutError, ParamsError, StoreError,
    MissingModel, BenchmarkFileError, ArtifactError where the last round's annotations are missing or out of date."""
    check_checkout()
    ablation = plan(grid_name, sets, seeds, epochs, name)
    check_store()
    check_arms(ablation.arms, lambda overrides: _check_params(load_params(overrides=overrides)))
    with only_run():
        if name is None:
            check_overwrites(ablation)
        params = [load_params(overrides=arm.overrides) for arm in ablation.arms]
        raw = cast("dict[str, Any]", yaml.safe_load(Path("params.yaml").read_text()))
        matrix = write_matrix(ablation.name, ablation.arms, ablation.seeds, params, raw)
        stale = out_of_date([*ANNOTATION, str(matrix)])
        check_annotated(stale)
        stale_jobs = [job for job in ablation.jobs if target(ablation.name, job) in stale]
        screen.say(f"{len(ablation.jobs) - len(stale_jobs)} of {len(ablation.jobs)} arms and seeds are up to date")
        with session(f"ablation:{ablation.name}"):
            run_and_compare(ablation, stale_jobs, digest(ablation, params, raw))


def _check_params(params: Params) -> None:
    require_model(Path(params.model.base))
    check_benchmarks(params)


def out_of_date(targets: Sequence[str]) -> dict[str, Any]:
    """Stage -> what DVC says has changed. Raises StatusError."""
    status = supervise_dvc("status", "--json", *targets, captured=True)
    if status.returncode != 0:
        raise StatusError(
            f"dvc status {' '.join(targets)}: ended with {status.returncode}, printed above. Fix what it names"
        )
    return parse_json(status.stdout)


def check_overwrites(ablation: Plan) -> None:
    """Raise GridError where another grid has left its results in the folder that has this one's name by default."""
    path = ablation.folder / ARMS
    earlier = (
        yaml.safe_load(path.read_text()) if path.is_file() and (ablation.folder / "table.json").is_file() else None
    )
    if earlier is not None and earlier != {arm.name: arm.values for arm in ablation.arms}:
        raise GridError(
            f"{ablation.folder}: holds the results of another grid ({', '.join(earlier)}), which would be overwritten. "
            f"Fix: give this one a name of its own (--name NAME), or --name {ablation.name} to replace them"
        )


def check_annotated(stale: Mapping[str, Any]) -> None:
    """Raise ArtifactError unless what the arms train on is there and up to date, and what they are asked."""
    bad = [stage for stage in ANNOTATION if stage in stale]
    if bad:
        raise ArtifactError(
            f"data/: got stage{'s' if len(bad) > 1 else ''} {', '.join(bad)} out of date or without outputs, expected "
            "the annotations of a finished round with the params.yaml that is here. Fix: run `ouro bootstrap` first "
            "(`dvc status` says what has changed)"
        )
    questions = question_files(PIPELINE)[0]
    if not questions.is_file():
        raise ArtifactError(
            f"{questions}: not found; `ouro ablate` compares arms by held-out questions, and the images of "
            "ingest.source came without. Fix: run it on the nano world (ingest.source=nano), or compare benchmark "
            "scores of several `ouro bootstrap` with `ouro compare`"
        )


def digest(ablation: Plan, params: Sequence[Params], raw: Mapping[str, Any]) -> str:
    """A hash of everything that decides the results: an ablation with the same hash continues the same MLflow run."""
    files = [(ablation.folder / name).read_text() for name in ("dvc.yaml", "arms.yaml")]
    data = {key: value for key, value in versions.dataset_digests().items() if "scores" not in key}
    bases = [model_fingerprint(Path(base)) for base in dict.fromkeys(arm_params.model.base for arm_params in params)]
    code = code_fingerprint(["flows.arm"], PACKAGES)
    return hashlib.sha256(json.dumps([*files, raw, data, code, *bases], sort_keys=True).encode()).hexdigest()[:16]


def run_and_compare(ablation: Plan, stale_jobs: Sequence[Job], key: str) -> None:
    """Run the arms, write table and figure, and print where to compare."""
    work = WORK / f"{ablation.name}-{key}"
    work.mkdir(parents=True, exist_ok=True)
    run_file = work / "parent.mlflow"
    tags = {"ablation": ablation.name}
    with (
        tracking.experiment(tracking.ABLATIONS),
        tracking.run(f"ablation {ablation.name}", tags, continued=run_file) as parent,
    ):
        earlier_runs = {f"{run.tags.get('arm')}-{run.tags.get('seed')}": run for run in tracking.child_runs(parent)}
        runs = [run_id for run_id in ablate(ablation, stale_jobs, parent.tracked_as, earlier_runs, work) if run_id]
        arm_results = _write_results(ablation)
        parent.metrics({f"{r.arm.name}/{name}": s.mean for r in arm_results for name, s in r.figures.items()})
        for file in ("table.json", "table.md", "figure.png"):
            parent.artifact(ablation.folder / file)
        url = mlflow_pages.compare_url(parent.experiment_id, runs)
    if parent.tracked_as:
        write_text(run_file, parent.run_id)  # the same ablation, run again, is the same run
    _show_results(ablation, arm_results)
    screen.say(f"MLflow: {url if runs else 'nothing was tracked'}")
    if runs and mlflow_pages.is_local():
        screen.say(f"        after `{mlflow_pages.UI_COMMAND}`")


@flow(name="ablate", flow_run_name="ablation {ablation.name}", validate_parameters=False)
def ablate(
    ablation: Plan,
    stale_jobs: Sequence[Job],
    parent: str | None,
    earlier_runs: Mapping[str, tracking.ChildRun],
    work: Path,
) -> list[str]:
    """Run what is out of date, log what is not logged; the ids of the arms' MLflow runs, in the order of the jobs.

    `parent`: the ablation's MLflow run; `earlier_runs`: those below it, by job;
    `work`: the folder with the ids of unfinished runs.
    """
    run_ids: list[str] = []
    start_time, n_done = time.monotonic(), 0
    for job in ablation.jobs:
        is_stale = job in stale_jobs
        if is_stale:
            screen.say(progress_line(job, n_done, len(stale_jobs), time.monotonic() - start_time))
        run_ids.append(run_and_log(ablation, job, is_stale, parent, earlier_runs.get(job.name), work))
        n_done += is_stale
    return run_ids


@task(name="arm", task_run_name="{arm} seed {seed}", persist_result=False, cache_policy=NO_CACHE)
def run_job(arm: str, seed: int, stage: str) -> None:
    """One stage of the ablation's matrix, through DVC."""
    repro_target(stage)


def progress_line(job: Job, n_done: int, total: int, seconds: float) -> str:
    """ "arm 3 of 18, about 20 min left: k = 0, seed 2"."""
    remaining = f", about {seconds / n_done * (total - n_done) / 60:.0f} min left" if n_done else ""
    return f"arm {n_done + 1} of {total}{remaining}: {job.arm.label}, seed {job.seed}"


def run_and_log(
    ablation: Plan, job: Job, is_stale: bool, parent: str | None, earlier_run: tracking.ChildRun | None, work: Path
) -> str:
    """Run one arm if it is out of date and log its scores; the id of its MLflow run, "" without one."""
    scores = scores_of(ablation.name, job)
    if not is_stale and earlier_run and earlier_run.finished and earlier_run.tags.get("scores") == _digest_of(scores):
        return earlier_run.run_id
    run_file = work / f"{job.name}.mlflow"
    if earlier_run:
        write_text(run_file, earlier_run.run_id)
    title = f"{job.arm.label}, seed {job.seed}"
    tags = {"ablation": ablation.name, "arm": job.arm.name, "seed": str(job.seed)}
    with tracking.run(title, tags, parent=parent, continued=run_file) as run:
        with tracking.parent_of_children(run) if run.tracked_as else contextlib.nullcontext():
            if is_stale:
                run_job(job.arm.name, job.seed, target(ablation.name, job))
        content = parse_json(scores.read_text())
        run.tags({"k": str(content["k"]), "supervision": content["supervision"], "scores": _digest_of(scores)})
        run.params({"seed": job.seed, "set": content["set"]})
        run.metrics(content["figures"])
        run.artifact(scores)
    return run.tracked_as or ""


def _digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _write_results(ablation: Plan) -> list[Result]:
    """table.json, table.md and figure.png from every arm's scores.json."""
    figures_by_job = {
        (job.arm.name, job.seed): parse_json(scores_of(ablation.name, job).read_text())["figures"]
        for job in ablation.jobs
    }
    arm_results = results(ablation.arms, figures_by_job)
    write_json(ablation.folder / "table.json", to_json(ablation.name, arm_results))
    write_text(ablation.folder / "table.md", page(ablation.name, arm_results))
    write_bytes(ablation.folder / "figure.png", figure(ablation.name, arm_results))
    return arm_results


def _show_results(ablation: Plan, arm_results: Sequence[Result]) -> None:
    heads, rows = table(arm_results)
    _show(f"ablation {ablation.name}, measured here: points, mean over seeds [Student's 95%]", heads, rows)
    for text in findings(arm_results):
        screen.say(text)
    if paper := paper_table(ablation.arms):
        heads, rows = paper_rows(paper)
        _show(f"Table {paper.number} of the paper, its own figures of OURO-7B: {paper.title}", heads, rows)
    files = ", ".join(str(ablation.folder / file) for file in ("table.md", "table.json", "figure.png"))
    screen.say(f"written: {files}")


def _show(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    rich_table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, head in enumerate(heads):
        rich_table.add_column(escape(head), justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        rich_table.add_row(*map(escape, row))
    screen.print_table(rich_table)
