"""`ouro train DIR`: stage train on a folder that `ouro annotate` has filled, without DVC."""

from __future__ import annotations

import time
from pathlib import Path

from flows.session import session
from flows.train import train
from ouro.core.layout import layout_of
from ouro.core.params import Params
from tasks import screen
from tasks.mlflow_pages import how_to_see
from tasks.mlflow_store import check_store
from tasks.models import require_model
from tasks.train import Trained, check_annotated


def run(folder: Path, out: Path, params: Params, track: bool = True) -> None:
    """Train on what `ouro annotate` left in `folder`, without DVC; the adapter goes to `out`. `track`: in MLflow.

    Raises ArtifactError for a folder that is not annotated to its end, MissingModel, StoreError and TrainingError.
    """
    require_model(Path(params.model.base))
    layout = layout_of(folder)
    check_annotated(layout, params)
    if track:
        check_store()
    start_time = time.monotonic()
    with session():
        trained = train(params, layout, out, track=track)
    screen.say(summary_line(trained, time.monotonic() - start_time))
    screen.say(how_to_see(trained.run_id))
    screen.say(f"adapter: {out}, trained for {params.model.base}")


def summary_line(trained: Trained, seconds: float) -> str:
    """Steps, speed and duration of a training as one line of text."""
    minutes = f"{seconds / 60:.1f} minutes"
    if not trained.steps:
        return f"train: restored, it was finished before; {minutes}"
    return f"train: {trained.steps} steps, {trained.tokens_per_second:.0f} tokens/s (mean), {minutes}"
