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
from flows.shards import Share, Work
from flows.synthesize import synthesize
from ouro.core.layout import Layout, layout_of
from ouro.core.params import Params
from ouro.ingest.source import source_fingerprint
from tasks import screen
from tasks.annotation_results import annotator_notes, say_results, write_results
from tasks.ingest import check_source
from tasks.models import needs_hub
from tasks.processes.pool import pool
from tasks.served import find_answerer
from tasks.settings import agreed, check_annotator, check_out, check_proposers, check_writer
from tasks.sharing import FolderLease, shared

ASKING = ("describe", "merge", "synthesize")  # what they make is what the annotator said


def run(params: Params, out: Path, share: Share, ask_again: bool = False) -> None:
    """The command. `ask_again`: what the annotator has said of the collection before is not used.

    Raises ParamsError, ImageError, ManifestError, DatasetError, MissingModel, ServerUnavailable, ServerRefused or
    FolderInUse; all but the last before anything is started.
    """
    check_source(params)
    check_out(params, out)
    check_annotator(params)
    check_writer(params)
    check_proposers(params)
    find_answerer(params.model, required=True)
    for note in annotator_notes(params):
        screen.say(f"note: {note}")
    layout = layout_of(out)
    with shared(layout, agreed(params), ASKING if ask_again else ()) as lease:
        with session(online=needs_hub(params)), pool(params.runner):
            seconds, work = annotate(params, layout, share, lease)
        summary = write_results(params, layout, seconds, work)
    say_results(summary, layout)


@flow(name="annotate", flow_run_name="annotate, {layout.root}", validate_parameters=False)
def annotate(
    params: Params, layout: Layout, share: Share, lease: FolderLease
) -> tuple[dict[str, float], dict[str, Work]]:
    """The stages in their order; of each the wall seconds, and what came from the cache."""
    seconds: dict[str, float] = {}
    work: dict[str, Work] = {}
    with _clocked("ingest", seconds):
        with screen.waiting("look", "files") as advance:
            collection = source_fingerprint(params.ingest.source, advance)
        lease.ingest_once(collection, lambda: ingest(params, layout))
    for stage in (propose, describe, merge, synthesize):
        with _clocked(stage.name, seconds):
            work[stage.name] = stage(params, layout, share)
    return seconds, work


@contextmanager
def _clocked(stage: str, seconds: dict[str, float]) -> Generator[None]:
    started = time.monotonic()
    yield
    seconds[stage] = time.monotonic() - started
