"""Seconds of work of each stage, without orchestration and process start."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager

from ouro.core.files import write_json
from ouro.core.json_text import parse_json
from ouro.core.layout import PIPELINE, Layout
from ouro.core.state import CHECKOUT

TIMES = CHECKOUT.times
LAST_ROUND = CHECKOUT.last_round  # seconds of the last round, for `ouro estimate --measured`


def note_work(stage: str, seconds: float) -> None:
    """Write down the seconds that a stage spent on its shards, model loading included."""
    write_json(TIMES / f"{stage}.json", {"seconds": seconds})


def work_seconds() -> dict[str, float]:
    """Stage -> seconds of work in the current round."""
    return {path.stem: float(parse_json(path.read_text())["seconds"]) for path in sorted(TIMES.glob("*.json"))}


@contextmanager
def record_work(stage: str, layout: Layout) -> Generator[None]:
    """Record the wall seconds of this block as work of `stage`; only for the pipeline's own folders."""
    start_time = time.monotonic()
    yield
    if layout == PIPELINE:
        note_work(stage, time.monotonic() - start_time)


def forget_work() -> None:
    """Remove the times of earlier rounds: a stage that is up to date writes none."""
    shutil.rmtree(TIMES, ignore_errors=True)
