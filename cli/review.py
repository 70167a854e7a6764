"""`ouro review DIR --from FILE`: what people corrected in Label Studio, back into a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Dataset

if TYPE_CHECKING:
    from ouro.core.corrections import Correction
    from ouro.core.layout import Layout


def review(
    folder: Dataset,
    from_: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="A JSON export of Label Studio; without: say what is.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove all corrections.")] = False,
) -> None:
    """Take what people corrected in Label Studio into a dataset, as a layer over the model's words.

    The tasks have to come from `ouro export --format label-studio`. Corrections are kept in DIR/corrections; the
    stages' own files stay as they are. `ouro export` and `ouro train` read through the layer, and so do questions that
    are made anew: `ouro annotate` with the same SOURCE and --out asks them where a description was corrected.
    The same file twice changes nothing. Without --from it says which corrections hold and which are stale.

    \b
    Examples:
      ouro export out/photos --format label-studio --out out/tasks
      ouro review out/photos --from project-1.json
      ouro review out/photos
      ouro review out/photos --remove
    """
    run(folder, from_, remove)


def run(folder: Path, file: Path | None = None, remove: bool = False) -> None:
    """The command. Raises ReviewError, and ArtifactError for a folder that was not annotated to its end."""
    from ouro.core.corrections import read_corrections, write_corrections
    from ouro.core.layout import layout_of
    from ouro.export.review import OUTCOMES, ReviewError, read_tasks, review_tasks
    from tasks import screen

    if remove and file:
        raise ReviewError("got --remove and --from, expected one of them")
    layout = layout_of(folder)
    if remove:
        write_corrections(layout, [])
        screen.say(f"review: no corrections in {layout.corrections} any more")
        return
    corrections = read_corrections(layout)
    tasks = read_tasks(file) if file else []
    image_ids = {task.image_id for task in tasks} | {c.image_id for c in corrections}
    model = _read_values(layout, image_ids)
    if file is not None:
        result = review_tasks(tasks, model, corrections)
        corrections = list(result.corrections.values())
        write_corrections(layout, corrections)
        counts = ", ".join(f"{result.counts[name]} {name}" for name in OUTCOMES if result.counts[name])
        screen.say(f"review: {counts or 'nothing in it'}")
    screen.say(_describe(layout, corrections, model))


def _read_values(layout: Layout, image_ids: set[str]) -> dict[tuple[str, str], str]:
    """Everything that can be corrected of these images of a dataset."""
    from ouro.core.artifacts import read_shard
    from ouro.core.corrections import list_values
    from ouro.core.layout import shard_names
    from ouro.core.records import Region, Scene

    values: dict[tuple[str, str], str] = {}
    for name in shard_names(layout.images):
        regions = [r for r in read_shard(layout.regions / name, Region) if r.image_id in image_ids]
        values |= list_values(regions, [s for s in read_shard(layout.scenes / name, Scene) if s.image_id in image_ids])
    return values


def _describe(layout: Layout, corrections: list[Correction], model: dict[tuple[str, str], str]) -> str:
    """Which corrections hold, by field, and how many are stale."""
    from collections import Counter

    from ouro.core.corrections import corrections_file

    if not corrections:
        return f"{layout.root}: no corrections"
    held = Counter(c.field if model.get((c.region_id, c.field)) == c.old else "stale" for c in corrections)
    counts = ", ".join(f"{name} {n}" for name, n in sorted(held.items()))
    return f"{corrections_file(layout)}: {len(corrections)} corrections ({counts})"
