"""The cache of shard results."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.core.files import ArtifactError, is_plain_name, publish, write_bytes, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DAY = 86_400.0  # seconds


class ShardCache:
    """Content-addressed results of shard tasks, outside DVC's outputs: a killed run resumes from here.

    An entry is a folder `<root>/<key[:2]>/<key>` of plain files and `entry.json` with their SHA-256.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def key(self, stage: str, code: str, params: Mapping[str, Any], model: str, inputs: Sequence[str]) -> str:
        """SHA-256 (hex) of everything that the result of one shard depends on; `inputs` keep their order."""
        parts = {"stage": stage, "code": code, "params": params, "model": model, "inputs": list(inputs)}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def put(self, key: str, files: Sequence[Path], stage: str = "") -> None:
        """Store copies of `files`, which `stage` made, under `key`. When two writers meet, one entry wins whole."""
        if len({f.name for f in files}) != len(files):
            raise ArtifactError(f"cache entry {key}: file names repeat in {[str(f) for f in files]}")
        self._sweep()
        temporary = self.root / "tmp" / uuid.uuid4().hex
        hashes: dict[str, str] = {}
        for file in files:
            data = file.read_bytes()
            hashes[file.name] = hashlib.sha256(data).hexdigest()
            write_bytes(temporary / file.name, data)
        write_json(temporary / "entry.json", {"files": hashes, "stage": stage})
        entry = self._entry(key)
        entry.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(temporary, entry)
        except OSError:  # the entry exists already: somebody else stored the same result
            shutil.rmtree(temporary)
            if not entry.is_dir():
                raise

    def get(self, key: str, folder: Path) -> bool:
        """Restore the files of `key` into `folder`; False on a miss. A damaged entry is dropped: a miss.

        So is one that names anything but plain files of its own folder: nothing is written beside `folder`.
        """
        entry = self._entry(key)
        if not entry.is_dir():
            return False
        contents = _read_entry(entry)
        if contents is None:
            return self._drop(entry)
        publish(folder, contents)
        return True

    def forget(self, stages: Sequence[str]) -> None:
        """Drop what these stages made, and what does not say which stage made it."""
        for file in self.root.glob("??/*/entry.json"):
            try:
                stage = json.loads(file.read_bytes()).get("stage", "")
            except (OSError, ValueError, AttributeError, RecursionError):
                stage = ""
            if not stage or stage in stages:
                self._drop(file.parent)

    def _entry(self, key: str) -> Path:
        return self.root / key[:2] / key

    def _drop(self, entry: Path) -> bool:
        grave = self.root / "tmp" / uuid.uuid4().hex
        grave.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another reader dropped it first
            os.rename(entry, grave)
            shutil.rmtree(grave)
        return False

    def _sweep(self) -> None:
        """Remove the unfinished entries of writers that were killed more than a day ago."""
        folder = self.root / "tmp"
        for leftover in folder.iterdir() if folder.is_dir() else ():
            if time.time() - leftover.stat().st_mtime > _DAY:
                shutil.rmtree(leftover, ignore_errors=True)


def _read_entry(entry: Path) -> dict[str, bytes] | None:
    """File name -> contents of an entry, None when anything about it is not as `put` wrote it."""
    try:
        hashes: dict[str, str] = json.loads((entry / "entry.json").read_bytes())["files"]
        if not all(is_plain_name(name) and (entry / name).is_file() for name in hashes):
            return None
        contents = {name: (entry / name).read_bytes() for name in hashes}
        intact = all(hashlib.sha256(contents[name]).hexdigest() == digest for name, digest in hashes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return contents if intact else None
