"""The task of stage ingest: a collection -> image shards and, for the nano world, annotations.

One task for the whole collection: duplicates are found over all of it, and it is cheap beside what follows.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.core.layout import Layout
from ouro.ingest.collection import Row, find_images, ingest_files
from ouro.ingest.hf_dataset import is_dataset, n_rows, open_dataset, rows
from ouro.ingest.manifest import Entry, read_manifest
from tasks.shards import Progress, shard_task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ouro.core.params import Ingest, Params

MANIFESTS = (".csv", ".jsonl")


def expected(params: Params) -> int:
    """How many files ingest is going to look at; 0: not known beforehand.

    Raises ImageError, ManifestError or DatasetError for a bad source.
    """
    wanted = params.ingest
    if wanted.source == "nano":
        return wanted.train_images + wanted.test_images
    if is_dataset(wanted.source):
        n = n_rows(open_dataset(wanted.source, wanted.image_column, wanted.caption_column))
    else:
        n = sum(1 for _ in _items(wanted))
    return min(n, wanted.limit) if n and wanted.limit else n


def check_source(params: Params) -> None:
    """Raise ImageError, ManifestError or DatasetError when the source cannot be read at all; reads no image."""
    if params.ingest.source != "nano":
        next(iter(_items(params.ingest)), None)


@shard_task(name="ingest", task_run_name="ingest")
def ingest(layout: Layout, params: Params, progress: Progress = lambda n: None) -> list[Path]:
    """-> data/images (shards, PNG files) and data/annotations (empty unless the source brings some)."""
    layout.annotations.mkdir(parents=True, exist_ok=True)
    wanted = params.ingest
    if wanted.source == "nano":
        from ouro.nano.world import write_world

        return write_world(layout.images, layout.annotations, wanted, params.seed, progress)
    source = Path(wanted.source)
    root = source.parent if _is_manifest(source) else source
    items = islice(_items(wanted), wanted.limit or None)
    return ingest_files(items, root, layout.images, wanted, progress)


def _items(params: Ingest) -> Iterable[Path | Entry | Row]:
    if is_dataset(params.source):
        opened = open_dataset(params.source, params.image_column, params.caption_column)
        return rows(opened, params.image_column, params.caption_column)
    source = Path(params.source)
    return read_manifest(source) if _is_manifest(source) else find_images(source)


def _is_manifest(source: Path) -> bool:
    return source.suffix.lower() in MANIFESTS and not source.is_dir()
