"""What the stage tasks share: the retry policy and the cache of shards.

A task is given ONE shard as paths and typed params; it reads records, lets `ouro` decide, and writes records.
Nothing here holds a formula of the method.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock
from prefect import task
from prefect.cache_policies import NO_CACHE

from ouro.core.artifacts import fingerprint_files, shard_files
from ouro.core.cache import ShardCache
from ouro.core.files import publish, write_bytes
from ouro.core.pictures import Pictures

__all__ = ["Pictures", "Progress", "Work", "cache_key", "made_mark", "produce", "shard_task", "worth_retrying"]

log = logging.getLogger(__name__)

Progress = Callable[[int], None]


class Work(NamedTuple):
    """How many `unit` of a stage came from the cache of earlier runs, and how many were made (asked) in this one."""

    unit: str
    kept: int
    made: int


def worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Whether a failure may pass by itself: bad input (the ValueError family, a missing file) does not."""
    try:
        state.result()
    except (ValueError, TypeError, KeyError, FileNotFoundError):
        return False
    except Exception:
        return True
    return True


shard_task = partial(
    task,
    retries=2,
    retry_delay_seconds=[1, 5],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=False,
)


def cache_key(
    store: ShardCache, stage: str, name: str, params: Mapping[str, Any], model: str, inputs: Sequence[Path], code: str
) -> str:
    """The key of one result: all that decides it, which is code (with its imports), params, model, input bytes."""
    return store.key(stage, code, {**params, "name": name}, model, [fingerprint_files([p]) for p in inputs])


def produce(
    stage: str, out: Path, *, inputs: Sequence[Path], params: Mapping[str, Any], model: str = "",
    code: str, cache: Path, make: Callable[[], object], check: Callable[[], None] = lambda: None,
) -> bool:  # fmt: skip
    """Restore the shard `out` from the cache, or make it and keep it. True when it was restored.

    The cache lies outside DVC's outputs, so a run killed in the middle of a stage resumes at its first missing
    shard, and a repeated run repeats nothing. A shard that another process is making is waited for, and then
    restored; the lock of a process that died holds nobody up. `params`, `model`, `code`: as in tasks.addresses.Address.
    `check` raises when the shard may not be made, or, called again
    when it was, not be kept: then nothing is.
    """
    store = ShardCache(cache)
    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_lock_file(cache, stage, out.name)):
        check()
        key = cache_key(store, stage, out.name, params, model, inputs, code)
        if _restored(store, key, out):
            log.info("%s %s: restored, nothing to do", stage, out.name)
            return True
        _remove(out)
        write_bytes(made_mark(cache, stage, out.name), b"")
        make()
        try:
            check()
        except Exception:
            _remove(out)
            raise
        store.put(key, list(dict.fromkeys(shard_files(out))), stage)  # of a JSON result, sidecar and file are one
        return False


def made_mark(cache: Path, stage: str, name: str) -> Path:
    """The file that is there when a shard was made, and not restored, since whoever counts removed it."""
    return cache / "made" / f"{stage}-{name}"


def _remove(out: Path) -> None:
    """The sidecar first: without it the shard counts as unfinished."""
    for stale in reversed(shard_files(out)):
        stale.unlink(missing_ok=True)


def _lock_file(cache: Path, stage: str, name: str) -> Path:
    path = cache / "locks" / f"{stage}-{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _restored(store: ShardCache, key: str, out: Path) -> bool:
    """Whether `out` now is what the cache has under `key`. Files that are so already stay untouched: another process
    may be reading them for its next stage."""
    with tempfile.TemporaryDirectory() as folder:
        if not store.get(key, Path(folder)):
            return False
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    if files != {path.name: path.read_bytes() for path in shard_files(out)}:
        publish(out.parent, files)
    return True
