"""`ouro annotate SOURCE --out DIR`: ingest to synthesize on a person's own images, everything below DIR.

No DVC here; what was finished is kept in DIR/.ouro/cache, so an interrupted run goes on where it was, and several
processes may work on one DIR (tasks/sharing.py).
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from flows.report import counts, notes, samples, writer
from flows.runner import Share
from flows.summary import Summary, lines, summarise
from ouro.core.artifacts import write_json
from ouro.core.layout import Layout, layout_of
from ouro.core.params import Params
from ouro.pages.report import write_report
from tasks import screen
from tasks.ingest import check_source
from tasks.models import needs_hub
from tasks.processes.delivery import deliver_events
from tasks.processes.locks import exclusive
from tasks.processes.pool import pool
from tasks.processes.prefect_server import prefect_server, process_tag, say_address, sweep_stale_runs
from tasks.settings import agreed, annotator_name, check_annotator, check_out, check_proposers, check_writer
from tasks.sharing import Door, fingerprint, shared


def run(params: Params, out: Path, share: Share) -> None:
    """The command. Raises ParamsError, ImageError, ManifestError, DatasetError, MissingModel or FolderInUse; all but
    the last before anything is started."""
    check_source(params)
    check_out(params, out)
    check_annotator(params)
    check_writer(params)
    check_proposers(params)
    for note in notes(_as_annotator(params)):
        screen.say(f"note: {note}")
    layout = layout_of(out)
    with shared(layout, agreed(params)) as door, prefect_server(online=needs_hub(params)) as server:
        say_address(server)
        try:
            with pool(params.runner):
                seconds = _stages(params, layout, share, door)
        finally:
            deliver_events()
        with exclusive(layout.state.summary_lock):
            summary = _end(params, layout, seconds)
    for line in lines(summary):
        screen.say(line)
    for name, path in {"regions": layout.regions, "descriptions": layout.descriptions, "scenes": layout.scenes,
                       "question-answer pairs": layout.qa, "summary": out / "summary.json"}.items():  # fmt: skip
        screen.say(f"{name}: {path}")
    if summary.shards_done == summary.shards:
        screen.say(f"report: {out / 'report/index.html'}")


def _stages(params: Params, layout: Layout, share: Share, door: Door) -> dict[str, float]:
    """Run all stages; the wall seconds of each."""
    from prefect import flow, tags

    from flows.describe import describe
    from flows.ingest import ingest
    from flows.merge import merge
    from flows.propose import propose
    from flows.synthesize import synthesize

    seconds: dict[str, float] = {}

    @flow(name="annotate", validate_parameters=False)
    def annotate(params: Params, layout: Layout) -> None:
        with _clocked("ingest", seconds):
            door.admit(fingerprint(params.ingest.source), lambda: ingest(params, layout))
        for stage in (propose, describe, merge, synthesize):
            with _clocked(stage.name, seconds):
                stage(params, layout, share)

    screen.show_notices()
    sweep_stale_runs()
    with tags(process_tag()):
        annotate(params, layout)
    return seconds


@contextmanager
def _clocked(stage: str, seconds: dict[str, float]) -> Generator[None]:
    started = time.monotonic()
    yield
    seconds[stage] = time.monotonic() - started


def _as_annotator(params: Params) -> Params:
    """The params with model.base being who annotates, also where that is a server's model."""
    return params.model_copy(update={"model": params.model.model_copy(update={"base": annotator_name(params.model)})})


def _end(params: Params, layout: Layout, seconds: dict[str, float]) -> Summary:
    """Write summary.json and, when all shards are done, the report."""
    summary = summarise(layout, Path(annotator_name(params.model)), seconds)
    write_json(layout.root / "summary.json", summary.to_json())
    if summary.shards_done == summary.shards:
        write_report(
            layout.root / "report",
            title="Ouro: annotations",
            facts={
                "annotator": annotator_name(params.model),
                "questions and answers by": writer(params),
                "images": params.ingest.source,
            },
            notes=notes(_as_annotator(params)),
            samples=samples(layout, params),
            counts=counts(layout),
            paths={"dataset": str(layout.root)},
        )
    return summary
