"""How long each stage really worked, beside the wall time that orchestration and process start add."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ouro.core.files import write_json
from ouro.core.layout import PIPELINE, Layout

TIMES = Path(".ouro/times")
LAST_ROUND = Path(".ouro/last-round.json")  # seconds of the last round, for `ouro estimate --measured`


def note_work(stage: str, seconds: float) -> None:
    """Keep the seconds that a stage spent on its shards, model loading included."""
    write_json(TIMES / f"{stage}.json", {"seconds": seconds})


def work_seconds() -> dict[str, float]:
    """Stage -> seconds of work in the current round."""
    return {path.stem: float(json.loads(path.read_text())["seconds"]) for path in sorted(TIMES.glob("*.json"))}


@contextmanager
def measured(stage: str, layout: Layout) -> Generator[None]:
    """Note the seconds of work in this block, for the pipeline's account of where the time goes."""
    started = time.monotonic()
    yield
    if layout == PIPELINE:
        note_work(stage, time.monotonic() - started)


def forget_work() -> None:
    """Before a round: what a stage that is up to date took is of an earlier one."""
    shutil.rmtree(TIMES, ignore_errors=True)
