"""Checkpoints of a training: which is the last good one, and who may write.

The Trainer writes its state file, MARKER, last. All else is on the disk before that, and MARKER is before the older
checkpoint is removed, so whatever happens while one is written (kill -9, a full disk, a power cut), one is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ouro.core.code import code_fingerprint
from ouro.core.files import sync
from ouro.training.job import Job, TrainingError
from ouro.training.store import SampleFile, write_samples
from ouro.vision.folders import folder_fingerprint

MARKER = "trainer_state.json"
CODE = "ouro.training.launch"  # with what it imports, all that turns samples into an adapter
LOCK_SECONDS = 60  # longer than the workers of a killed parent need to notice


@contextmanager
def alone(work: Path) -> Generator[None]:
    """Hold the lock of this very training (the first process does); the system frees it when the holder dies.

    Raises TrainingError when another process holds it.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    work.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work.with_suffix(".lock"), timeout=LOCK_SECONDS):
            yield
    except Timeout as error:
        raise TrainingError(
            f"{work}: another process has been at this very training for {LOCK_SECONDS} s and more; wait for it to "
            "end, or end it"
        ) from error


def last_checkpoint(work: Path, processes: int = 1) -> Path | None:
    """The newest complete checkpoint in the folder of a training in so many processes."""
    found = [p for p in work.glob("checkpoint-*") if is_complete(p, processes)]
    return max(found, key=lambda p: int(p.name.rsplit("-", 1)[1])) if found else None


def sync_checkpoint(folder: Path) -> None:
    """Bring a checkpoint to the disk, with all that lies in it and its own name."""
    sync(*sorted(folder.rglob("*")), folder, folder.parent)


def keep_only(folder: Path) -> None:
    """Remove the other checkpoints beside a complete one, once it is on the disk."""
    sync_checkpoint(folder)
    for older in folder.parent.glob("checkpoint-*"):
        if older != folder:
            shutil.rmtree(older, ignore_errors=True)


def is_complete(folder: Path, processes: int = 1) -> bool:
    """Whether nothing of a checkpoint is missing. Of several processes each writes the state of its own generators."""
    try:
        json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        return False
    if processes > 1 and not all((folder / f"rng_state_{i}.pth").is_file() for i in range(processes)):
        return False
    if (folder / "latest").is_file():  # DeepSpeed's own layout
        from ouro.training.zero import is_complete as all_shards

        return all_shards(folder)
    return (folder / "optimizer.pt").is_file() and (folder / "scheduler.pt").is_file()


def checkpoint_key(job: Job) -> str:
    """Content address of a training: resuming is only right for the very same one, code included."""
    code = code_fingerprint([CODE])
    decisive = (code, folder_fingerprint(job.base), job.params.model_dump_json(), job.prompt, job.seed)
    digest = hashlib.sha256(repr(decisive).encode())
    if job.start:
        digest.update(folder_fingerprint(job.start).encode())
    if isinstance(job.samples, SampleFile):
        digest.update(job.samples.fingerprint.encode())
    else:
        with tempfile.TemporaryDirectory() as folder:
            digest.update(write_samples(Path(folder) / "samples.arrow", [job.samples]).fingerprint.encode())
    if job.params.deepspeed:
        from ouro.training.zero import deepspeed_file

        digest.update(deepspeed_file(job.params.deepspeed).read_bytes())
    return digest.hexdigest()[:24]


def discard_checkpoints(job: Job) -> None:
    """Remove what a killed run would have continued from."""
    shutil.rmtree(job.checkpoints / checkpoint_key(job), ignore_errors=True)
