"""`ouro annotate FOLDER --out DIR`: ingest to synthesize on a person's own images, everything below DIR.

No DVC here; what was finished is kept in DIR/.ouro/cache, so an interrupted run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flows import screen
from flows.delivery import deliver_events
from flows.report import counts, notes, samples, writer
from flows.settings import check_writer, params_file
from ouro.collection import find_images
from ouro.params import Params, load_params
from ouro.report import write_report
from tasks.layout import Layout
from tasks.models import require_model
from tasks.servers import prefect_server, process_tag, sweep_stale_runs


def run(
    folder: Path,
    out: Path,
    model: str | None,
    params_path: Path | None,
    profile: str | None,
    overrides: Sequence[str],
) -> None:
    """The command. Raises ParamsError, ImageError or MissingModel before anything is started."""
    params = pointed_at(load_params(params_file(params_path, profile), tuple(overrides)), folder, model)
    find_images(folder)
    require_model(Path(params.model.base))
    check_writer(params)
    for note in notes(params):
        screen.say(f"note: {note}")
    layout = Layout(out, out / ".ouro/cache")
    with prefect_server() as server:
        screen.say(f"Prefect: {server.ui}")
        try:
            _stages(params, layout)
        finally:
            deliver_events()
    report = write_report(
        out / "report",
        title="Ouro: annotations",
        facts={"annotator": params.model.base, "questions and answers by": writer(params), "images": str(folder)},
        notes=notes(params),
        samples=samples(layout, params),
        counts=counts(layout),
        paths={"dataset": str(out)},
    )
    for name, path in {"regions": layout.regions, "descriptions": layout.descriptions, "scenes": layout.scenes,
                       "question-answer pairs": layout.qa, "report": report}.items():  # fmt: skip
        screen.say(f"{name}: {path}")


def pointed_at(params: Params, folder: Path, model: str | None) -> Params:
    """The params with the folder (absolute, so that none is taken for the nano world) and, if given, the model.

    They never go through YAML, which reads "photos #2" or "2024" in its own way.
    """
    ingest = params.ingest.model_copy(update={"source": str(folder.resolve())})
    base = params.model.model_copy(update={"base": model} if model else {})
    return params.model_copy(update={"ingest": ingest, "model": base})


def _stages(params: Params, layout: Layout) -> None:
    from prefect import flow, tags

    from flows.describe import describe
    from flows.ingest import ingest
    from flows.merge import merge
    from flows.propose import propose
    from flows.synthesize import synthesize

    @flow(name="annotate", validate_parameters=False)
    def annotate(params: Params, layout: Layout) -> None:
        for stage in (ingest, propose, describe, merge, synthesize):
            stage(params, layout)

    screen.show_notices()
    sweep_stale_runs()
    with tags(process_tag()):
        annotate(params, layout)
