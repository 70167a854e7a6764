"""What all stage flows share: their loop over shards, their artifacts, and `python -m flows.<stage>`.

DVC runs each stage as such a command. With PREFECT_API_URL set (`ouro bootstrap` sets it) the stage reports
there; alone, it starts a local server for itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ouro.core.artifacts import Sidecar, prune_shards, read_sidecar
from ouro.core.layout import PIPELINE, Layout, shard_names
from ouro.core.params import Params, ParamsError, load_params
from tasks import screen
from tasks.errors import explain
from tasks.models import needs_hub
from tasks.processes.delivery import deliver_events
from tasks.processes.pool import pool
from tasks.processes.prefect_server import ROUND, TASK_RUN, prefect_server, process_tag
from tasks.timing import note_work

if TYPE_CHECKING:
    from prefect import Flow, Task

    Work = Task[[str, Layout, Params, Callable[[int], None]], Path]


class Share(NamedTuple):
    """Which shards are this process's: every `of`-th, beginning with number `first`."""

    first: int = 0
    of: int = 1

    def names(self, every: Sequence[str]) -> list[str]:
        return list(every[self.first :: self.of])


WHOLE = Share()


def parse_share(text: str) -> Share:
    """ "1/4" -> the second of four shares. Raises ParamsError."""
    index, _, of = text.partition("/")
    if not (index.isdecimal() and of.isdecimal() and int(index) < int(of)):
        raise ParamsError(f"--shards {text!r}: expected I/N with 0 <= I < N, such as 0/4 for the first of four")
    return Share(int(index), int(of))


def over_shards(
    stage: str, work: Work, layout: Layout, params: Params, share: Share, *,
    size: Callable[[str], int], unit: str,
) -> list[str]:  # fmt: skip
    """Run a shard task on each shard of the share; show progress and counts; returns the shards' names.

    `size`: how many `unit` a shard holds. What a larger earlier run left in the output folder is removed.
    """
    every = shard_names(layout.images)
    sizes = {name: size(name) for name in share.names(every)}
    with measured(stage, layout), screen.progress(stage, sum(sizes.values()), unit) as advance:
        outs = _worked(work, sizes, layout, params, advance)
    if outs:
        prune_shards(outs[0].parent, [Path(name) for name in every])
    sidecars = [read_sidecar(out) for out in outs]
    screen.say(screen.count_line(stage, sidecars))
    count_artifact(stage, list(sizes), sidecars)
    return list(sizes)


def _worked(
    work: Work, sizes: Mapping[str, int], layout: Layout, params: Params, advance: Callable[[int], None]
) -> list[Path]:
    """The task's result for each shard, in order, whichever way params.runner has them run.

    Progress cannot be told across processes: with Ray it moves by whole shards. Raises the first error of a task;
    shards that had not begun by then do not begin.
    """
    with pool(params.runner) as runner:
        if runner is None:
            return [work(name, layout, params, advance) for name in sizes]
        from prefect.futures import as_completed

        threads = params.runner.kind == "threads"
        told = {"progress": advance} if threads else {}
        jobs = {
            runner.submit(work, {"name": name, "layout": layout, "params": params, **told}): n
            for name, n in sizes.items()
        }
        for job in as_completed(list(jobs)):
            job.result()
            if not threads:
                advance(jobs[job])
        return [job.result() for job in jobs]


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


def _round_tag() -> list[str]:
    """round:N where `ouro bootstrap` started this process."""
    number = os.environ.get(ROUND)
    return [f"round:{number}"] if number else []


def _run_below(task_run: str | None, body: Flow[..., Any], params: Params) -> None:
    """Run a stage's flow, as a subflow of the task run of a round that waits for it, in another process.

    Prefect nests by itself only what one process calls; an id that the server does not know changes nothing but that.
    """
    from uuid import UUID

    from prefect.client.orchestration import get_client
    from prefect.context import TagsContext
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.flow_engine import run_flow
    from prefect.states import Pending

    if task_run is None:
        body(params, PIPELINE)
        return
    made = None
    with contextlib.suppress(PrefectHTTPStatusError), get_client(sync_client=True) as client:
        made = client.create_flow_run(
            body,
            name=body.name,
            parent_task_run_id=UUID(task_run),
            tags=TagsContext.get().current_tags,
            state=Pending(),
        )
    run_flow(body, flow_run=made, parameters={"params": params, "layout": PIPELINE})


def run_stage(body: Flow[..., Any]) -> None:
    """The main of `python -m flows.<stage>`: params.yaml, data/. Exits 2 on an error of the person's making."""
    try:
        params = load_params()
        with prefect_server(online=needs_hub(params)):
            from prefect import tags

            screen.show_notices()
            try:
                with tags(process_tag(), *_round_tag()):
                    _run_below(os.environ.get(TASK_RUN), body, params)
            finally:
                deliver_events()
    except Exception as error:
        sys.exit(explain(error))
