"""The task of stage ingest: the nano world, a folder or a manifest -> image shards and, for nano, annotations.

One task for the whole collection: duplicates are found over all of it, and it is cheap beside what follows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ouro.images import Entry, find_images, ingest_files, read_manifest
from ouro.params import Params
from tasks.layout import Layout
from tasks.shards import Progress, shard_task

if TYPE_CHECKING:
    from collections.abc import Sequence

MANIFESTS = (".csv", ".jsonl")


def expected(params: Params) -> int:
    """How many files ingest is going to look at. Raises ImageError or ManifestError for a bad source."""
    if params.ingest.source == "nano":
        return params.ingest.train_images + params.ingest.test_images
    return len(_files(Path(params.ingest.source)))


@shard_task(name="ingest")
def ingest(layout: Layout, params: Params, progress: Progress = lambda n: None) -> list[Path]:
    """-> data/images (shards, PNG files) and data/annotations (empty unless the source brings some)."""
    layout.annotations.mkdir(parents=True, exist_ok=True)
    if params.ingest.source == "nano":
        from ouro.nano.world import write_world

        return write_world(layout.images, layout.annotations, params.ingest, params.seed, progress)
    source = Path(params.ingest.source)
    root = source.parent if _is_manifest(source) else source
    return ingest_files(_files(source), root, layout.images, params.ingest, progress)


def _files(source: Path) -> Sequence[Path | Entry]:
    return read_manifest(source) if _is_manifest(source) else find_images(source)


def _is_manifest(source: Path) -> bool:
    return source.suffix.lower() in MANIFESTS
