"""Checkpoints of a training: find the last complete one, and lock the folder they are written to.

The Trainer writes its state file, MARKER, last. All other files are synced to disk before it, and MARKER before the
older checkpoint is removed. So one checkpoint is complete whatever happens (kill -9, a full disk, a power cut).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ouro.core.code import code_fingerprint
from ouro.core.files import folder_fingerprint, sync
from ouro.core.json_text import parse_json
from ouro.training.job import TrainingError, TrainingJob
from ouro.training.store import SampleFile, write_samples

MARKER = "trainer_state.json"
CODE = "ouro.training.launch"  # with what it imports, all that turns samples into an adapter
LOCK_SECONDS = 60  # longer than the workers of a killed parent need to notice


@contextmanager
def lock_training(work: Path) -> Generator[None]:
    """Hold the lock of this training (in the first process only); the system frees it when that process dies.

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
    """The newest complete checkpoint in the folder of a training that runs in so many processes, or None."""
    complete = [p for p in work.glob("checkpoint-*") if is_complete(p, processes)]
    return max(complete, key=lambda p: int(p.name.rsplit("-", 1)[1])) if complete else None


def sync_checkpoint(folder: Path) -> None:
    """Sync a checkpoint to disk: its files, its folder and the folder's name."""
    sync(*sorted(folder.rglob("*")), folder, folder.parent)


def keep_only(folder: Path) -> None:
    """Sync a complete checkpoint to disk, then remove all others beside it."""
    sync_checkpoint(folder)
    for other in folder.parent.glob("checkpoint-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def is_complete(folder: Path, processes: int = 1) -> bool:
    """Whether a checkpoint is complete. With several processes, each writes its own RNG state."""
    try:
        parse_json((folder / MARKER).read_text())
    except (OSError, ValueError):
        return False
    if processes > 1 and not all((folder / f"rng_state_{i}.pth").is_file() for i in range(processes)):
        return False
    if (folder / "latest").is_file():  # DeepSpeed's own layout
        from ouro.training.zero import is_complete as all_shards

        return all_shards(folder)
    return (folder / "optimizer.pt").is_file() and (folder / "scheduler.pt").is_file()


def checkpoint_key(job: TrainingJob) -> str:
    """Content address of a training, code included: only the same training may resume from a checkpoint."""
    code, base = code_fingerprint([CODE]), folder_fingerprint(job.base)
    inputs = (code, base, job.params.model_dump_json(), job.prompt, job.seed)
    digest = hashlib.sha256(repr(inputs).encode())
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


def discard_checkpoints(job: TrainingJob) -> None:
    """Remove the checkpoints of a job."""
    shutil.rmtree(job.checkpoints / checkpoint_key(job), ignore_errors=True)
