"""`ouro inspect DIR`: a gallery of a dataset and its statistics, on disk and, when asked, in MLflow.

Not cli/inspect.py: where this folder stands on sys.path, that name would hide the standard library's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Dataset

if TYPE_CHECKING:
    from ouro.pages.gallery import Gallery
    from ouro.pages.statistics import CaptionLength


def inspect(
    folder: Dataset,
    out: Annotated[Path | None, typer.Option(help="Where the gallery goes; by default DIR/gallery.")] = None,
    round_: Annotated[
        str | None, typer.Option("--round", metavar="NAME", help="What to call this dataset in the statistics.")
    ] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="statistics.json of an earlier round, to compare. May be repeated."),
    ] = None,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Log the statistics to MLflow, too.")] = False,
) -> None:
    """Make a gallery of a dataset, to be opened in a browser without a server, and its statistics.

    \b
    Examples:
      ouro inspect out/photos
      ouro inspect data --out report/gallery --mlflow
      ouro inspect out/second --round second --earlier out/first/gallery/statistics.json
    """
    run(folder, out, round_, earlier or [], mlflow)


def run(
    folder: Path, out: Path | None = None, round_: str | None = None, earlier: Sequence[Path] = (), mlflow: bool = False
) -> None:
    """The command. Raises GalleryError, StatisticsError or ArtifactError."""
    from ouro.core.artifacts import read_sidecar
    from ouro.core.layout import layout_of
    from ouro.pages.gallery import check_target, write_gallery
    from ouro.pages.gallery_data import check_dataset
    from tasks import screen

    layout = layout_of(folder)
    out = folder / "gallery" if out is None else out
    n = sum(read_sidecar(shard).n_out for shard in check_dataset(layout))
    check_target(out)
    lengths = [row for path in earlier for row in _earlier(path)]
    name = _name(folder)
    with screen.progress("inspect", n, "images") as advance:
        gallery = write_gallery(layout, out, title=name, round_=round_ or name, earlier=lengths, progress=advance)
    for note in gallery.notes:
        screen.say(f"note: {note}")
    if mlflow:
        screen.say(f"MLflow run: {_track(gallery, name)}")
    screen.say(_summary(gallery))


def _name(folder: Path) -> str:
    """The folder's own name as text that any file can hold: bytes that are no UTF-8 are escaped."""
    return os.fsencode(folder.resolve().name).decode("utf-8", "backslashreplace") or "dataset"


def _earlier(path: Path) -> tuple[CaptionLength, ...]:
    """The caption lengths of another round, from its statistics.json. Raises StatisticsError."""

    from ouro.core.json_text import parse_json
    from ouro.pages.statistics import StatisticsError, captions_from_json

    try:
        value = parse_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StatisticsError(
            f"{path}: cannot be read ({error}); expected a statistics.json that `ouro inspect` wrote"
        ) from error
    return captions_from_json(str(path), value)


def _track(gallery: Gallery, name: str) -> str:
    """Log the statistics as a run of MLflow; its id."""
    from tasks import tracking

    with tracking.run("inspect", {"dataset": name, "round": gallery.statistics.round}) as run:
        run.metrics(gallery.statistics.metrics())
        run.artifact(gallery.path.with_name("statistics.json"))
    return run.run_id


def _summary(gallery: Gallery) -> str:
    s = gallery.statistics
    return (
        f"gallery: {gallery.path} ({gallery.images:,} images on {gallery.pages:,} pages, "
        f"{s.regions_mean:.1f} regions an image, {s.pairs:,} question-answer pairs, "
        f"{gallery.rejected:,} images rejected); open it in a browser"
    )
