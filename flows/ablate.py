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

from flows.arm import ARMS
from flows.bootstrap import check_checkout, only_run
from flows.matrix import FOLDER, PACKAGES, Job, jobs, scores_of, target, write_matrix
from ouro.ablations.figure import figure
from ouro.ablations.grid import NAMED, Arm, GridError, check_arms, check_name, default_name, grid
from ouro.ablations.results import Result, findings, page, paper_rows, paper_table, results, table, to_json
from ouro.core.artifacts import ArtifactError, code_fingerprint, write_bytes, write_json, write_text
from ouro.core.layout import PIPELINE
from ouro.core.params import Params, load_params
from ouro.core.state import CHECKOUT
from tasks import screen, tracking
from tasks.asking import check_benchmarks
from tasks.benchmark import question_files
from tasks.models import model_fingerprint, require_model
from tasks.processes.delivery import deliver_events
from tasks.processes.dvc import supervise_dvc
from tasks.processes.prefect_server import prefect_server, process_tag, say_address, sweep_stale_runs
from tasks.processes.stage import repro_target

ANNOTATION = ("ingest", "propose", "describe", "merge", "synthesize")
WORK = CHECKOUT.ablations


class StatusError(RuntimeError):
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


def plan(known: str | None, sets: Sequence[str], seeds: int, epochs: int | None, name: str | None) -> Plan:
    """What was asked for. A key of `sets` replaces that of a known grid. Raises GridError."""
    if known is not None and known not in NAMED:
        raise GridError(
            f"ablation {known!r}: expected one of {', '.join(NAMED)}. Fix: for a grid of your own give none of them, "
            f"but --set KEY=V1,V2 and, if you like, --name {known}"
        )
    texts = [*NAMED.get(known or "", ()), *sets, *([f"train.epochs={epochs}"] if epochs else [])]
    arms = grid(texts)
    return Plan(check_name(name or known or default_name(texts)), arms, seeds)


def run(known: str | None, sets: Sequence[str], seeds: int, epochs: int | None, name: str | None) -> None:
    """The command. Bad input raises before anything is started: GridError, CheckoutError, ParamsError, MissingModel,
    BenchmarkFileError, ArtifactError where the last round's annotations are missing or out of date."""
    check_checkout()
    wanted = plan(known, sets, seeds, epochs, name)
    check_arms(wanted.arms, lambda overrides: _checked(load_params(overrides=overrides)))
    with only_run():
        if name is None:
            check_overwrites(wanted)
        params = [load_params(overrides=arm.overrides) for arm in wanted.arms]
        raw = cast("dict[str, Any]", yaml.safe_load(Path("params.yaml").read_text()))
        matrix = write_matrix(wanted.name, wanted.arms, wanted.seeds, params, raw)
        stale = out_of_date([*ANNOTATION, str(matrix)])
        check_annotated(stale)
        todo = [job for job in wanted.jobs if target(wanted.name, job) in stale]
        screen.say(f"{len(wanted.jobs) - len(todo)} of {len(wanted.jobs)} arms and seeds are up to date")
        with prefect_server() as server:
            say_address(server)
            try:
                _ablate(wanted, todo, digest(wanted, params, raw))
            finally:
                deliver_events()


def _checked(params: Params) -> None:
    require_model(Path(params.model.base))
    check_benchmarks(params)


def out_of_date(targets: Sequence[str]) -> dict[str, Any]:
    """Stage -> what DVC says has changed. Raises StatusError."""
    status = supervise_dvc("status", "--json", *targets, captured=True)
    if status.returncode != 0:
        raise StatusError(
            f"dvc status {' '.join(targets)}: ended with {status.returncode}, printed above. Fix what it names"
        )
    return json.loads(status.stdout)


def check_overwrites(wanted: Plan) -> None:
    """Raise GridError where another grid has left its results in the folder that has this one's name by default."""
    path = wanted.folder / ARMS
    there = yaml.safe_load(path.read_text()) if path.is_file() and (wanted.folder / "table.json").is_file() else None
    if there is not None and there != {arm.name: arm.values for arm in wanted.arms}:
        raise GridError(
            f"{wanted.folder}: holds the results of another grid ({', '.join(there)}), which would be overwritten. "
            f"Fix: give this one a name of its own (--name NAME), or --name {wanted.name} to replace them"
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


def digest(wanted: Plan, params: Sequence[Params], raw: Mapping[str, Any]) -> str:
    """Of all that decides the results: the same one goes on in the same MLflow run."""
    files = [(wanted.folder / name).read_text() for name in ("dvc.yaml", "arms.yaml")]
    data = {key: value for key, value in tracking.dataset_digests().items() if "scores" not in key}
    bases = [model_fingerprint(Path(base)) for base in dict.fromkeys(own.model.base for own in params)]
    code = code_fingerprint(["flows.arm"], PACKAGES)
    return hashlib.sha256(json.dumps([*files, raw, data, code, *bases], sort_keys=True).encode()).hexdigest()[:16]


def _ablate(wanted: Plan, todo: Sequence[Job], key: str) -> None:
    """Arms, table, figure, and where to compare."""
    kept = WORK / f"{wanted.name}-{key}"
    kept.mkdir(parents=True, exist_ok=True)
    mark = kept / "parent.mlflow"
    tags = {"ablation": wanted.name}
    with (
        tracking.experiment(tracking.ABLATIONS),
        tracking.run(f"ablation {wanted.name}", tags, continued=mark) as parent,
    ):
        runs = _run_arms(wanted, todo, parent, kept)
        made = _write_results(wanted)
        parent.metrics({f"{r.arm.name}/{name}": s.mean for r in made for name, s in r.figures.items()})
        for file in ("table.json", "table.md", "figure.png"):
            parent.artifact(wanted.folder / file)
        url = tracking.compare_url(parent, runs)
    if parent.tracked_as:
        write_text(mark, parent.run_id)  # the same ablation, run again, is the same run
    _tell(wanted, made)
    screen.say(f"MLflow: {url if runs else 'nothing was tracked'}")
    if runs and tracking.is_local():
        screen.say(f"        after `{tracking.UI_COMMAND}`")


def _run_arms(wanted: Plan, todo: Sequence[Job], parent: tracking.Run, kept: Path) -> list[str]:
    """Run what is out of date, log what is not logged; the ids of the arms' MLflow runs, in the order of the jobs."""
    from prefect import flow, tags, task

    @task(name="arm", task_run_name="{arm} seed {seed}", persist_result=False)
    def arm_task(arm: str, seed: int, stage: str) -> None:
        repro_target(stage)

    def work(job: Job) -> None:
        arm_task(job.arm.name, job.seed, target(wanted.name, job))

    @flow(name="ablate", flow_run_name=f"ablation {wanted.name}", validate_parameters=False)
    def ablate() -> list[str]:
        logged = {(n.tags.get("arm"), n.tags.get("seed")): n for n in tracking.nested(parent)}
        ids: list[str] = []
        started, done = time.monotonic(), 0
        for job in wanted.jobs:
            before = logged.get((job.arm.name, str(job.seed)))
            if job not in todo:
                ids.append(_arm(wanted, job, None, parent, kept, before))
                continue
            screen.say(progress_line(job, done, len(todo), time.monotonic() - started))
            ids.append(_arm(wanted, job, work, parent, kept, before))
            done += 1
        return ids

    screen.show_notices()
    if swept := sweep_stale_runs():
        screen.say(f"marked {swept} runs of killed processes as crashed")
    with tags(process_tag(), f"ablation:{wanted.name}"):
        return [run_id for run_id in ablate() if run_id]


def progress_line(job: Job, done: int, total: int, seconds: float) -> str:
    """ "arm 3 of 18, about 20 min left: k = 0, seed 2"."""
    left = f", about {seconds / done * (total - done) / 60:.0f} min left" if done else ""
    return f"arm {done + 1} of {total}{left}: {job.arm.label}, seed {job.seed}"


def _arm(
    wanted: Plan, job: Job, work: Any, parent: tracking.Run, kept: Path, before: tracking.Nested | None
) -> str:  # fmt: skip
    """Run one arm (`work` None: it is up to date) and log its scores; the id of its MLflow run, "" without one."""
    scores = scores_of(wanted.name, job)
    if work is None and before and before.finished and before.tags.get("scores") == _digest_of(scores):
        return before.run_id
    mark = kept / f"{job.arm.name}-{job.seed}.mlflow"
    if before:
        write_text(mark, before.run_id)
    title = f"{job.arm.label}, seed {job.seed}"
    tags = {"ablation": wanted.name, "arm": job.arm.name, "seed": str(job.seed)}
    above = parent.run_id if parent.tracked_as else None
    with tracking.run(title, tags, parent=above, continued=mark) as run:
        with tracking.parent_of_children(run) if run.tracked_as else contextlib.nullcontext():
            if work is not None:
                work(job)
        content = json.loads(scores.read_text())
        run.tags({"k": str(content["k"]), "supervision": content["supervision"], "scores": _digest_of(scores)})
        run.params({"seed": job.seed, "set": content["set"]})
        run.metrics(content["figures"])
        run.artifact(scores)
    return run.tracked_as or ""


def _digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _write_results(wanted: Plan) -> list[Result]:
    """table.json, table.md and figure.png from every arm's scores.json."""
    measured = {
        (job.arm.name, job.seed): json.loads(scores_of(wanted.name, job).read_text())["figures"] for job in wanted.jobs
    }
    made = results(wanted.arms, measured)
    write_json(wanted.folder / "table.json", to_json(wanted.name, made))
    write_text(wanted.folder / "table.md", page(wanted.name, made))
    write_bytes(wanted.folder / "figure.png", figure(wanted.name, made))
    return made


def _tell(wanted: Plan, made: Sequence[Result]) -> None:
    heads, rows = table(made)
    _show(f"ablation {wanted.name}, measured here: points, mean over seeds [Student's 95%]", heads, rows)
    for text in findings(made):
        screen.say(text)
    if paper := paper_table(wanted.arms):
        heads, rows = paper_rows(paper)
        _show(f"Table {paper.number} of the paper, its own figures of OURO-7B: {paper.title}", heads, rows)
    files = ", ".join(str(wanted.folder / file) for file in ("table.md", "table.json", "figure.png"))
    screen.say(f"written: {files}")


def _show(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """As wide as its figures, however narrow the screen."""
    from rich import box
    from rich.markup import escape
    from rich.measure import Measurement
    from rich.table import Table

    console = screen.console()
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, head in enumerate(heads):
        shown.add_column(escape(head), justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        shown.add_row(*map(escape, row))
    shown.width = Measurement.get(console, console.options.update(max_width=10_000), shown).maximum
    console.print(shown)
