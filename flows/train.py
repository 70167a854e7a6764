"""Stage train: a LoRA adapter on full images and k regions. `python -m flows.train`"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from prefect import flow

from flows.session import run_stage, stage_run_name
from ouro.core.json_text import parse_json
from ouro.core.layout import ADAPTER, Layout
from ouro.core.params import Params
from tasks import screen
from tasks.timing import record_work
from tasks.train import LOG, SAMPLES, Step, Trained
from tasks.train import train as train_task

EVERY = 5.0  # seconds between two updates of Prefect's progress


@flow(name="train", flow_run_name=stage_run_name, validate_parameters=False)
def train(params: Params, layout: Layout, adapter: Path = ADAPTER, track: bool = True) -> Trained:
    with record_work("train", layout), screen.steps("train") as on_step, _report_to_prefect(on_step) as report_step:
        trained = train_task(layout, params, adapter, report_step, track)
    samples = parse_json((adapter / SAMPLES).read_text())
    screen.say(
        f"train: {samples['n_in']} images in, {samples['n_out']} samples, rejected {samples['rejected'] or 'none'}"
    )
    curve = parse_json((adapter / LOG).read_text())
    if curve:
        _curve_artifact(curve)
        last = curve[-1]
        screen.say(
            f"train: {adapter}, L_desc {last['loss_desc']:.3f}, L_qa {last['loss_qa']:.3f} at the end; "
            f"{last['tokens'] / 1e6:.2f} M tokens, {100 * last['padding']:.1f}% padding, "
            f"{100 * last['saved_by_sharing']:.0f}% of tokens saved by sharing"
        )
    return trained


@contextmanager
def _report_to_prefect(on_step: Step) -> Generator[Step]:
    """Update a progress artifact of the flow run every EVERY seconds.

    A step never waits for a server that is away (no retries); only the last update does. Prefect sends the events of
    the task separately and drops them after some 10 s: a task that ends meanwhile stays Running there.
    """
    from prefect.artifacts import create_progress_artifact, update_progress_artifact
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    artifact, last_update = (
        create_progress_artifact(0.0, key="train-progress", description="train: steps"),
        time.monotonic(),
    )

    def show(percent: float) -> None:
        _try(lambda: update_progress_artifact(artifact, progress=percent))  # type: ignore[arg-type]

    def report_step(step: int, total: int) -> None:
        nonlocal last_update
        on_step(step, total)
        if time.monotonic() - last_update >= EVERY:
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
                show(100 * step / total)
            last_update = time.monotonic()

    yield report_step
    show(100.0)


def _try(update: Callable[[], object]) -> None:
    """Call `update`; an error of the server never ends a training."""
    import httpx
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        update()
    except (httpx.HTTPError, PrefectHTTPStatusError, OSError):
        return


def _curve_artifact(curve: list[dict[str, float]]) -> None:
    from prefect.artifacts import create_table_artifact

    every = max(1, len(curve) // 40)
    _try(lambda: create_table_artifact(key="train-losses", table=curve[::every], description="train: losses by step"))


if __name__ == "__main__":
    run_stage(train)
