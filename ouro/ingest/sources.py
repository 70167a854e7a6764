"""What ingest.source names, opened: a folder of images, a manifest, or a Hugging Face dataset."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.ingest.collection import DatasetRow, find_images, ingest_files
from ouro.ingest.hf_dataset import column_notes, count_rows, is_dataset, iterate_rows, open_dataset
from ouro.ingest.manifest import ManifestEntry, read_manifest
from ouro.ingest.source import STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ouro.core.params import Ingest

MANIFESTS = (".csv", ".jsonl")


def ingest_source(params: Ingest, out: Path, progress: Callable[[int], None] | None = None) -> list[Path]:
    """Store what the source holds, at most ingest.limit items, as shards in `out`; returns them.

    Raises as ouro.ingest.collection.ingest_files, and ManifestError or DatasetError.
    """
    source = Path(params.source)
    root = source.parent if is_manifest(source) else source
    return ingest_files(islice(items(params), params.limit or None), root, out, params, progress)


def items(params: Ingest) -> Iterable[Path | ManifestEntry | DatasetRow]:
    """All that the source holds, in order. Raises ImageError, ManifestError or DatasetError."""
    if is_dataset(params.source):
        return iterate_rows(open_dataset(params.source, params.image_column, params.caption_column))
    source = Path(params.source)
    return read_manifest(source) if is_manifest(source) else find_images(source)


def count_items(params: Ingest, progress: Callable[[int], None] = lambda n: None) -> int:
    """How many items the source holds; 0: not known beforehand. `progress` is told how many were found.

    Raises as `items`.
    """
    if is_dataset(params.source):
        return count_rows(open_dataset(params.source, params.image_column, params.caption_column))
    n = 0
    for n, _ in enumerate(items(params), 1):
        if n % STEP == 0:
            progress(STEP)
    return n


def source_notes(params: Ingest) -> list[str]:
    """What is to be said of the source before it is read. Raises DatasetError."""
    if not is_dataset(params.source):
        return []
    return column_notes(open_dataset(params.source, params.image_column, params.caption_column))


def is_manifest(source: Path) -> bool:
    return source.suffix.lower() in MANIFESTS and not source.is_dir()
