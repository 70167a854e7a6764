"""`ouro annotate SOURCE --out DIR`: ingest to synthesize on a person's own images, everything below DIR.

No DVC here; what was finished is kept in DIR/.ouro/cache, so an interrupted run goes on where it was, and several
processes may work on one DIR (tasks/sharing.py).
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from prefect import flow

from flows.describe import describe
from flows.ingest import ingest
from flows.merge import merge
from flows.propose import propose
from flows.session import session
from flows.shards import Share
from flows.synthesize import synthesize
from ouro.core.layout import Layout, layout_of
from ouro.core.params import Params
from ouro.ingest.source import source_fingerprint
from tasks import screen
from tasks.annotation_results import annotator_notes, say_results, write_results
from tasks.ingest import check_source
from tasks.models import needs_hub
from tasks.processes.pool import pool
from tasks.settings import agreed, check_annotator, check_out, check_proposers, check_writer
from tasks.sharing import FolderLease, shared


def run(params: Params, out: Path, share: Share) -> None:
    """The command. Raises ParamsError, ImageError, ManifestError, DatasetError, MissingModel or FolderInUse; all but
    the last before anything is started."""
    check_source(params)
    check_out(params, out)
    check_annotator(params)
    check_writer(params)
    check_proposers(params)
    for note in annotator_notes(params):
        screen.say(f"note: {note}")
    layout = layout_of(out)
    with shared(layout, agreed(params)) as lease:
        with session(online=needs_hub(params)), pool(params.runner):
            seconds = annotate(params, layout, share, lease)
        summary = write_results(params, layout, seconds)
    say_results(summary, layout)


@flow(name="annotate", flow_run_name="annotate, {layout.root}", validate_parameters=False)
def annotate(params: Params, layout: Layout, share: Share, lease: FolderLease) -> dict[str, float]:
    """The stages in their order; the wall seconds of each."""
    seconds: dict[str, float] = {}
    with _clocked("ingest", seconds):
        with screen.waiting("look", "files") as advance:
            collection = source_fingerprint(params.ingest.source, advance)
        lease.ingest_once(collection, lambda: ingest(params, layout))
    for stage in (propose, describe, merge, synthesize):
        with _clocked(stage.name, seconds):
            stage(params, layout, share)
    return seconds


@contextmanager
def _clocked(stage: str, seconds: dict[str, float]) -> Generator[None]:
    started = time.monotonic()
    yield
    seconds[stage] = time.monotonic() - started
