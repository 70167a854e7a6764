"""Plain files: atomic writes, and fingerprints of contents."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import uuid
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.core.errors import OuroError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SOURCE_ROOT = Path(__file__).resolve().parents[2]


class ArtifactError(OuroError, ValueError):
    """A stored file that is missing, damaged or not what was expected: names it and the fix."""


def remedy(path: Path, stage: str = "") -> str:
    """What makes a stored file anew: DVC in the checkout's own data, the same command in a person's folder."""
    own = Path("dvc.yaml").is_file() and path.resolve().is_relative_to(Path("data").resolve())
    if not own:
        return "run the `ouro annotate` that made it again"
    return f"rerun `dvc repro {stage}`" if stage else "rerun the stage that wrote it"


# ---- atomic writes -------------------------------------------------------------------------------


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: temporary file in the same folder, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a failed write does not say of which file
        raise
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, obj: Any) -> None:
    """Write strict JSON (no NaN), keys in the order given, atomically. Raises ArtifactError."""
    write_bytes(path, json_bytes(path, obj))


def json_bytes(path: Path, obj: Any) -> bytes:
    """The bytes that `write_json` writes to `path`. Raises ArtifactError for what JSON cannot hold."""
    try:
        return (json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: not JSON: {error}; expected plain finite values") from error


def publish(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files that belong together: a .json goes first and comes last, the sign of completeness.

    What an earlier version of the group "x.json" had beside it (x.*) and this one has not is removed.
    Raises ArtifactError for a name that leads elsewhere, before anything is written.
    """
    for name in files:
        if not is_plain_name(name):
            raise ArtifactError(f"{folder}: got the name {name!r}, expected a plain file name")
    for sign in (name for name in files if name.endswith(".json")):
        (folder / sign).unlink(missing_ok=True)
        for old in folder.glob(f"{glob.escape(sign.removesuffix('.json'))}.*"):
            if old.name not in files:
                old.unlink()
    for name in sorted(files, key=lambda n: (n.endswith(".json"), n)):
        write_bytes(folder / name, files[name])


def is_plain_name(name: object) -> bool:
    """Whether a name read from a file names an entry of one folder, on every system: no path, no "..", no NUL."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0")


def sync(*paths: Path) -> None:
    """Wait until files are on the disk with their contents, and folders with the names of what lies in them."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# ---- fingerprints --------------------------------------------------------------------------------


def fingerprint_files(paths: Iterable[Path]) -> str:
    """SHA-256 (hex) over names and contents, in any order and place; folders with all in them.

    Raises ArtifactError for a path that does not exist.
    """
    entries: list[tuple[str, str]] = []
    for path in paths:
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.is_file())
            entries += [(p.relative_to(path).as_posix(), _digest(p)) for p in inside]
        elif path.is_file():
            entries.append((path.name, _digest(path)))
        else:
            raise ArtifactError(f"{path}: not found; expected a file or folder to fingerprint")
    return hashlib.sha256(json.dumps(sorted(entries)).encode()).hexdigest()


def folder_fingerprint(folder: str | Path) -> str:
    """SHA-256 (hex) over the files of a model's folder (no subfolders, no README); over the name if it is no folder.

    Files are read again when one of them has changed its name, its size or a time.
    """
    path = Path(folder)
    if not path.is_dir():
        return hashlib.sha256(str(folder).encode()).hexdigest()
    files = sorted(p for p in path.iterdir() if p.is_file() and p.suffix != ".md")
    return _fingerprint_stamped(path, tuple(map(_stamp, files)))


@lru_cache(maxsize=8)
def _fingerprint_stamped(folder: Path, stamps: tuple[tuple[str, int, int, int], ...]) -> str:
    return fingerprint_files([folder / name for name, *_ in stamps])


def _stamp(file: Path) -> tuple[str, int, int, int]:
    """What changes with every way to put other bytes into a file: also where its time was set back afterwards."""
    status = file.stat()
    return file.name, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
