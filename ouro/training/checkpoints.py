"""Checkpoints of a training: which is the last good one, and who may write.

The Trainer writes its state file last and removes the older checkpoint after that, so whatever happens while one is
written (kill -9, a full disk), the one before it is whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ouro.training.samples import TrainingError

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


def is_complete(folder: Path, processes: int = 1) -> bool:
    """Whether nothing of a checkpoint is missing. Of several processes each writes the state of its own generators."""
    try:
        json.loads((folder / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    if processes > 1 and not all((folder / f"rng_state_{i}.pth").is_file() for i in range(processes)):
        return False
    if (folder / "latest").is_file():  # DeepSpeed's own layout
        from ouro.training.zero import is_complete as all_shards

        return all_shards(folder)
    return (folder / "optimizer.pt").is_file() and (folder / "scheduler.pt").is_file()
