"""`ouro inspect DIR`: a gallery of a dataset and its statistics, on disk and, when asked, in MLflow.

Not flows/inspect.py: Prefect puts a flow file's folder first on sys.path, and that name would hide the standard
library's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from ouro.core.artifacts import read_sidecar
from ouro.core.layout import layout_of
from ouro.pages.gallery import Gallery, check_target, write_gallery
from ouro.pages.gallery_data import Folders, check_dataset
from ouro.pages.statistics import CaptionLength, StatisticsError, captions_from_json
from tasks import screen


def run(
    folder: Path, out: Path | None = None, round_: str | None = None, earlier: Sequence[Path] = (), mlflow: bool = False
) -> None:
    """The command. Raises GalleryError, StatisticsError or ArtifactError."""
    folders = _folders(folder)
    out = folder / "gallery" if out is None else out
    n = sum(read_sidecar(shard).n_out for shard in check_dataset(folder, folders))
    check_target(out)
    lengths = [row for path in earlier for row in _earlier(path)]
    name = _name(folder)
    with screen.progress("inspect", n, "images") as advance:
        made = write_gallery(folder, folders, out, title=name, round_=round_ or name, earlier=lengths, progress=advance)
    for note in made.notes:
        screen.say(f"note: {note}")
    if mlflow:
        screen.say(f"MLflow run: {_track(made, name)}")
    screen.say(_summary(made))


def _name(folder: Path) -> str:
    """The folder's own name as text that any file can hold: bytes that are no UTF-8 are escaped."""
    return os.fsencode(folder.resolve().name).decode("utf-8", "backslashreplace") or "dataset"


def _folders(folder: Path) -> Folders:
    layout = layout_of(folder)
    return Folders(layout.images, layout.regions, layout.descriptions, layout.scenes, layout.qa)


def _earlier(path: Path) -> tuple[CaptionLength, ...]:
    """The caption lengths of another round, from its statistics.json. Raises StatisticsError."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StatisticsError(
            f"{path}: cannot be read ({error}); expected a statistics.json that `ouro inspect` wrote"
        ) from error
    return captions_from_json(str(path), value)


def _track(made: Gallery, name: str) -> str:
    """Log the statistics as a run of MLflow; its id."""
    from tasks import tracking

    with tracking.run("inspect", {"dataset": name, "round": made.statistics.round}) as run:
        run.metrics(made.statistics.metrics())
        run.artifact(made.path.with_name("statistics.json"))
    return run.run_id


def _summary(made: Gallery) -> str:
    s = made.statistics
    return (
        f"gallery: {made.path} ({made.images:,} images on {made.pages:,} pages, {s.regions_mean:.1f} regions an image,"
        f" {s.pairs:,} question-answer pairs, {made.rejected:,} images rejected); open it in a browser"
    )
