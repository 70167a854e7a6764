"""How long each stage really worked, beside the wall time that orchestration and process start add."""

from __future__ import annotations

import json

from ouro.core.files import write_json
from ouro.core.state import CHECKOUT

TIMES = CHECKOUT.times


def note_work(stage: str, seconds: float) -> None:
    """Keep the seconds that a stage spent on its shards, model loading included."""
    write_json(TIMES / f"{stage}.json", {"seconds": seconds})


def work_seconds() -> dict[str, float]:
    """Stage -> seconds of work in the current round."""
    return {path.stem: float(json.loads(path.read_text())["seconds"]) for path in sorted(TIMES.glob("*.json"))}
