"""What all stage flows share: their loop over shards, their artifacts, and `python -m flows.<stage>`.

DVC runs each stage as such a command. With PREFECT_API_URL set (`ouro bootstrap` sets it) the stage reports
there; alone, it starts a local server for itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flows import screen
from flows.errors import explain
from flows.timing import note_work
from ouro.artifacts import Sidecar, prune_shards, read_sidecar
from ouro.params import Params, load_params
from tasks.layout import PIPELINE, Layout
from tasks.servers import prefect_server, process_tag

Work = Callable[[str, Layout, Params, Callable[[int], None]], Path]


def over_shards(
    stage: str, names: Sequence[str], work: Work, layout: Layout, params: Params, *, total: int, unit: str
) -> list[Sidecar]:
    """Run a shard task on each shard in order; show progress and counts; returns the shards' sidecars.

    What a larger earlier run left in the output folder is removed.
    """
    with measured(stage, layout), screen.progress(stage, total, unit) as advance:
        outs = [work(name, layout, params, advance) for name in names]
    if outs:
        prune_shards(outs[0].parent, outs)
    sidecars = [read_sidecar(out) for out in outs]
    screen.say(screen.count_line(stage, sidecars))
    count_artifact(stage, names, sidecars)
    return sidecars


@contextmanager
def measured(stage: str, layout: Layout) -> Generator[None]:
    """Note the seconds of work in this block, for the pipeline's account of where the time goes."""
    started = time.monotonic()
    yield
    if layout == PIPELINE:
        note_work(stage, time.monotonic() - started)


def count_artifact(stage: str, names: Sequence[str], sidecars: Sequence[Sidecar]) -> None:
    """In, out and rejected of every shard, as a table in Prefect."""
    from prefect.artifacts import create_table_artifact

    create_table_artifact(
        key=f"{stage}-counts",
        table=screen.count_rows(names, sidecars),
        description=f"{stage}: records by shard",
    )


def sample_artifact(stage: str, title: str, text: str) -> None:
    """Show one sample of a stage's result in Prefect. The text may come from a model: it is fenced."""
    from prefect.artifacts import create_markdown_artifact

    fenced = text.replace("```", "'''")
    create_markdown_artifact(
        key=f"{stage}-sample",
        markdown=f"# {title}\n\n```text\n{fenced}\n```\n",
        description=f"{stage}: one sample",
    )


def image_artifact(stage: str, title: str, path: Path, side: int = 512) -> None:
    """Show a stored PNG in Prefect, scaled to at most `side` pixels, embedded in the artifact itself."""
    import base64
    import io

    from PIL import Image as PILImage
    from prefect.artifacts import create_image_artifact

    with PILImage.open(path) as file:
        picture = file.convert("RGB")
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    uri = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
    create_image_artifact(image_url=uri, key=f"{stage}-image", description=title)


def run_stage(body: Callable[[Params, Layout], object]) -> None:
    """The main of `python -m flows.<stage>`: params.yaml, data/. Exits 2 on an error of the person's making."""
    try:
        params = load_params()
        with prefect_server():
            from prefect import tags

            screen.show_notices()
            with tags(process_tag()):
                body(params, PIPELINE)
    except Exception as error:
        sys.exit(explain(error))
