"""`ouro ablate`: a grid over params as a DVC matrix, several seeds an arm, one nested MLflow run each.

ablations/NAME/dvc.yaml is written here from the grid: a stage an arm and seed, so that DVC repeats only what has
changed, and a killed ablation goes on. What has been annotated by the last round is what the arms train on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from flows import screen
from flows.arm import ARMS, FOLDER
from flows.bootstrap import check_checkout, check_inputs, only_run
from flows.delivery import deliver_events
from flows.stages import repro_target
from ouro.ablation import (
    KNOWN,
    PAPER_TABLE,
    Arm,
    GridError,
    Row,
    figure,
    findings,
    grid,
    markdown,
    paper_markdown,
    papers,
    summarise,
)
from ouro.artifacts import imported_files
from ouro.files import write_bytes, write_json, write_text
from ouro.params import Params, load_params
from tasks import tracking
from tasks.ablation import read_scores
from tasks.layout import PIPELINE
from tasks.models import needs_hub
from tasks.servers import prefect_server, process_tag, sweep_stale_runs
from tasks.train import check_annotated

if TYPE_CHECKING:
    from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("ouro", "tasks", "flows")
DATA = ("data/images", "data/annotations", "data/regions", "data/scenes", "data/qa")
PARAMS = ("seed", "model", "train", "benchmark", "describe.prompt")


def run(name: str | None, sets: Sequence[str], seeds: int, fixed: Sequence[str]) -> None:
    """The command. `fixed`: overrides that every arm has. Raises GridError, ParamsError, CheckoutError, ArtifactError,
    before anything is started, and StageFailed."""
    check_checkout()
    known = KNOWN.get(name or "", ())
    if name and not known and not sets:
        raise GridError(f"ablation {name!r}: expected one of {', '.join(KNOWN)}, or a grid by --set KEY=VALUE,VALUE")
    arms = [Arm(arm.name, arm.label, (*fixed, *arm.overrides)) for arm in grid(sets or known)]
    called = name or "__".join(text.partition("=")[0].rpartition(".")[2] for text in sets)
    for arm in arms:
        check_inputs(load_params(overrides=arm.overrides))
    check_annotated(PIPELINE, load_params())
    with only_run():
        write_matrix(called, arms, seeds, load_params())
        with prefect_server(online=needs_hub(load_params())) as server:
            screen.say(f"Prefect: {server.ui}")
            try:
                _ablate(called, arms, seeds)
            finally:
                deliver_events()


def write_matrix(name: str, arms: Sequence[Arm], seeds: int, params: Params) -> Path:
    """ablations/NAME/{arms.yaml, dvc.yaml}: the same grid and code give the same bytes; returns the latter."""
    folder = FOLDER / name
    described = {arm.name: {"label": arm.label, "set": list(arm.overrides)} for arm in arms}
    code = [path.relative_to(ROOT).as_posix() for path in imported_files(["flows.arm"], PACKAGES)]
    own = folder / "${item.arm}" / "seed-${item.seed}"
    stage = {
        "desc": "one arm with one seed: train, ask, score",
        "wdir": "../..",
        "matrix": {"arm": [arm.name for arm in arms], "seed": list(range(seeds))},
        "cmd": f"python -m flows.arm {name} ${{item.arm}} ${{item.seed}}",
        "deps": [*DATA, params.model.base, *sorted(code)],
        "params": [*PARAMS, {(folder / ARMS).as_posix(): ["${item.arm}"]}],
        "outs": [own.as_posix()],
    }
    head = f"# Written by `ouro ablate`; arms and their params are in {ARMS}.\n"
    _write(folder / ARMS, head + yaml.safe_dump(described, sort_keys=False, width=4096))
    _write(folder / "dvc.yaml", head + yaml.safe_dump({"stages": {"arm": stage}}, sort_keys=False, width=4096))
    return folder / "dvc.yaml"


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)


def _ablate(name: str, arms: Sequence[Arm], seeds: int) -> None:
    started = time.monotonic()
    kept = Path(f".ouro/ablations/{name}.mlflow")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with (
        tracking.experiment(tracking.ABLATIONS),
        tracking.run(f"ablation {name}", {"ablation": name}, continued=kept) as parent,
    ):
        with tracking.parent_of_children(parent):
            _run_arms(name, arms, seeds)
        runs, rows = _summary(name, arms, seeds)
        parent.metrics({f"{r.benchmark}/{r.label}": r.accuracy.value for r in rows if math.isfinite(r.accuracy.value)})
        parent.artifact(FOLDER / name / "figure.png")
        parent.artifact(FOLDER / name / "table.md")
        tracking.mark_compared(parent, runs)
        url = tracking.compare_url(parent, runs)
    _tell(name, arms, rows, url, time.monotonic() - started)
    write_text(kept, parent.run_id)  # the next time it is the same one


def _run_arms(name: str, arms: Sequence[Arm], seeds: int) -> None:
    """Every arm and seed through DVC, one after the other: what is up to date is not run."""
    from prefect import flow, tags, task

    total = len(arms) * seeds
    begun = time.monotonic()

    @task(name="arm", task_run_name="{arm} seed {seed}", persist_result=False)
    def one(arm: str, seed: int) -> None:
        repro_target(f"{FOLDER / name / 'dvc.yaml'}:arm@{arm}-{seed}")

    @flow(name="ablate", flow_run_name=f"ablation {name}", validate_parameters=False)
    def ablate() -> None:
        for number, (seed, arm) in enumerate([(s, a) for s in range(seeds) for a in arms]):
            left = (time.monotonic() - begun) / number * (total - number) / 60 if number else 0
            when = f", about {left:.0f} min left" if number else ""
            screen.say(f"{arm.label}, seed {seed}: {number + 1} of {total}{when}")
            one(arm.name, seed)

    screen.show_notices()
    sweep_stale_runs()
    with tags(process_tag(), f"ablation:{name}"):
        ablate()


def _summary(name: str, arms: Sequence[Arm], seeds: int) -> tuple[list[str], list[Row]]:
    """The arms' MLflow runs and the rows of the table; writes table.json, table.md and figure.png."""
    runs: list[str] = []
    scores: list[Any] = []
    for arm in arms:
        for seed in range(seeds):
            run_id, own = read_scores(arm.name, seed, FOLDER / name / arm.name / f"seed-{seed}")
            runs.append(run_id)
            scores += own
    rows = summarise(arms, scores)
    folder = FOLDER / name
    write_json(folder / "table.json", {"rows": [_finite(row.to_json()) for row in rows], "findings": findings(rows)})
    write_text(folder / "table.md", _page(name, arms, rows))
    title = f"measured here, {seeds} seed{'s' if seeds > 1 else ''}"
    write_bytes(folder / "figure.png", figure(title, arms, rows, papers(name, arms)))
    return runs, rows


def _finite(value: Any) -> Any:
    """JSON has no nan: the interval of a single seed is null."""
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _page(name: str, arms: Sequence[Arm], rows: Sequence[Row]) -> str:
    theirs = paper_markdown(name, arms)
    table = (
        f"\n\nTable {PAPER_TABLE[name]} of the paper, its own figures of another model:\n\n{theirs}" if theirs else ""
    )
    said = "\n".join(f"- {text}" for text in findings(rows))
    note = "Mean over seeds with Student's 95% interval; differences are paired by seed."
    return f"{markdown(rows)}\n\n{note}\n\n{said}{table}\n"


def _tell(name: str, arms: Sequence[Arm], rows: Sequence[Row], url: str, seconds: float) -> None:
    from rich.measure import Measurement

    console, table = screen.console(), _table(rows)
    table.width = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    console.print(table, soft_wrap=True)
    for text in findings(rows):
        screen.say(text)
    if theirs := paper_markdown(name, arms):
        screen.say(f"Table {PAPER_TABLE[name]} of the paper, its own figures:")
        screen.say(theirs)
    screen.say(f"table: {FOLDER / name / 'table.md'}; figure: {FOLDER / name / 'figure.png'}")
    screen.say(f"MLflow: {url}")
    screen.say(f"time: {seconds:.0f} s for {len(arms) * rows[0].seeds if rows else 0} arms and seeds")


def _table(rows: Sequence[Row]) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    lines = [line.strip("| ").split(" | ") for line in markdown(rows).splitlines()]
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in lines[0]:
        made.add_column(head, no_wrap=True)
    for cells in lines[2:]:
        made.add_row(*(escape(cell.strip(" |")) for cell in cells))
    return made
