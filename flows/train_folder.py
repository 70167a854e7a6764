"""`ouro train DIR`: stage train on a folder that `ouro annotate` has filled, without DVC."""

from __future__ import annotations

import time
from pathlib import Path

from prefect import tags

from flows import screen
from flows.delivery import deliver_events
from flows.train import train
from ouro.params import Params
from tasks.layout import Layout
from tasks.models import require_model
from tasks.servers import prefect_server, process_tag, sweep_stale_runs
from tasks.train import check_annotated


def run(folder: Path, out: Path, params: Params) -> None:
    """Train on what `ouro annotate` left in `folder`, without DVC; the adapter goes to `out`.

    Raises ArtifactError for a folder that is not annotated to its end, MissingModel and TrainingError.
    """
    require_model(Path(params.model.base))
    layout = Layout(folder, folder / ".ouro/cache")
    check_annotated(layout, params)
    started = time.monotonic()
    with prefect_server() as server:
        screen.say(f"Prefect: {server.ui}")
        screen.show_notices()
        sweep_stale_runs()
        try:
            with tags(process_tag()):
                train(params, layout, out)
        finally:
            deliver_events()
    screen.say(f"adapter: {out}, trained for {params.model.base}, in {time.monotonic() - started:.0f} s")
