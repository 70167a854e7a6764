"""Whether a collection has changed, told without reading its images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from ouro.ingest.collection import list_files
from ouro.ingest.manifest import read_manifest

STEP = 500  # files between two calls of progress


def source_fingerprint(source: str, progress: Callable[[int], None] = lambda n: None) -> str | None:
    """SHA-256 (hex) over names, sizes and times of all files that ingest looks at below a folder or that a manifest
    lists, and over the manifest's own text.

    None when the source is no such thing: a data set by its name. A file that is written over in place with another of
    the same size and time is not seen. `progress` is told how many files were looked at. Raises ManifestError.
    """
    path = Path(source)
    if not path.exists():
        return None
    if path.is_dir():
        return _fingerprint(b"", list_files(path), progress)
    return _fingerprint(path.read_bytes(), (entry.path for entry in read_manifest(path)), progress)


def _fingerprint(text: bytes, files: Iterable[Path], progress: Callable[[int], None]) -> str:
    sha = hashlib.sha256(text)
    for number, file in enumerate(files, 1):
        if number % STEP == 0:
            progress(STEP)
        try:
            stat = file.stat()
            seen = (str(file), stat.st_size, stat.st_mtime_ns)
        except OSError as error:
            seen = (str(file), type(error).__name__, 0)
        sha.update(repr(seen).encode("utf-8", "surrogateescape"))
    return sha.hexdigest()
