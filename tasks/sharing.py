"""Several `ouro annotate` on one folder: one ingests, the others wait for it, and all make the same.

Who finds nobody else at work looks whether the collection and the params are those of DIR/.ouro/annotate.json. If the
collection or the way to ingest has changed, it ingests again; if anything has, it removes what was made before (what
still holds comes back from the cache). Who comes while others are at work takes the shards that are there, provided
that all agree on what is to be made of them. The operating system frees the locks of a process that dies. They are
flock's: over NFS they hold between machines.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from ouro.core.artifacts import fingerprint_files, list_shards, prune_shards, write_json
from ouro.core.cache import ShardCache
from ouro.core.errors import OuroError
from ouro.core.layout import Layout
from ouro.ingest.stored import find_damaged
from tasks import screen
from tasks.processes.locks import opened, release, share, try_exclusive
from tasks.weights import read_state

INGESTING = "ingesting"  # a key of the state while its shards are not to be used


class FolderInUse(OuroError, ValueError):
    """Another process is making something else of the same folder."""


class FolderLease:
    """What a process knows of the folder that it shares. `agreed`: all that decides the results, in flat keys."""

    def __init__(
        self, layout: Layout, lock: IO[str], alone: bool, agreed: Mapping[str, Any], again: Sequence[str] = ()
    ) -> None:
        self.layout, self.alone, self.agreed = layout, alone, dict(agreed)
        self._again = again
        self._lock, self._state = lock, layout.state.annotate

    def ingest_once(self, collection: str | None, ingest: Callable[[], object]) -> None:
        """Ingest if it is on this process and there is something new, then let the others in.

        `collection`: fingerprint of the source; None: it cannot be told, so it is read again. Raises FolderInUse.
        """
        if self.alone:
            self._forget()
            before = read_state(self.layout)
            damaged = self._say_damaged()
            if collection is None or damaged or before != self._now(collection):
                write_json(self._state, {**before, INGESTING: True})
                if collection is None or damaged or _ingested(before) != _ingested(self._now(collection)):
                    ingest()
                self._begin(before, self._now(collection))
            else:
                screen.say("ingest: nothing new")
            share(self._lock)
        self.agree()

    def _forget(self) -> None:
        """What is to be made again: its stages' shards go, here and in the cache."""
        if self._again:
            ShardCache(self.layout.cache).forget(self._again)
            clear(self.layout)
            screen.say(f"{self.layout.root}: {', '.join(self._again)}: what was kept is made again")

    def _say_damaged(self) -> bool:
        """Whether stored images are damaged; says which."""
        damaged = find_damaged(self.layout.images)
        if damaged:
            names = "; ".join(damaged[:3]) + (f"; and {len(damaged) - 3} more" if len(damaged) > 3 else "")
            screen.say(f"{self.layout.images}: damaged since it was made ({names}): the images are read in again")
        return bool(damaged)

    def _begin(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """From here on the folder is that of `now`."""
        if any(before.get(key) != now[key] for key in ("images", "agreed")):
            if different := _differences(before.get("agreed", now["agreed"]), now["agreed"]):
                names = ", ".join(different[:3])
                screen.say(f"{self.layout.root}: its shards were made with another {names}; they are made anew")
            clear(self.layout)
        write_json(self._state, now)

    def _now(self, collection: str | None) -> dict[str, Any]:
        images = list_shards(self.layout.images) if self.layout.images.is_dir() else []
        return {"collection": collection, "images": fingerprint_files(images), "agreed": self.agreed}

    def agree(self) -> None:
        """Raise FolderInUse unless what is being made is what this process is to make."""
        theirs: dict[str, Any] = read_state(self.layout).get("agreed", {})
        if theirs == self.agreed:
            return
        names = _differences(theirs, self.agreed)
        examples = "; ".join(f"{k}: {theirs.get(k)!r} there, {self.agreed.get(k)!r} here" for k in names[:3])
        raise FolderInUse(
            f"{self.layout.root}: another `ouro annotate` is at work on it and makes something else ({examples}); "
            "expected the same. Fix: wait for it to end, give the same params, or another --out"
        )


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    return sorted(k for k in {*theirs, *ours} if theirs.get(k) != ours.get(k))


@contextmanager
def shared(layout: Layout, agreed: Mapping[str, Any], again: Sequence[str] = ()) -> Generator[FolderLease]:
    """Be one of the processes that work on this folder, until the end of the block. `again`: stages whose kept shards
    are not used, unless others are at work already. Raises FolderInUse."""
    with opened(layout.state.annotate_lock) as lock:
        lease = FolderLease(layout, lock, _alone(lock, layout), agreed, again)
        if not lease.alone:
            lease.agree()
        yield lease


def _alone(lock: IO[str], layout: Layout) -> bool:
    """Hold the lock: exclusively if nobody else is there, else with the others, after the one that ingests."""
    while not try_exclusive(lock):
        screen.say("another `ouro annotate` is at work on this folder: sharing it")
        share(lock)
        if _ready(layout):
            return False
        release(lock)  # who ingested has died; of those who waited one will be alone
        time.sleep(random.uniform(0.05, 0.5))
    return True


def _ready(layout: Layout) -> bool:
    """Whether the collection has been ingested, by whom ever."""
    state = read_state(layout)
    return bool(state) and INGESTING not in state


def clear(layout: Layout) -> None:
    """Remove the shards that were made of earlier images; the cache keeps what still holds."""
    made_of_images = [folder for stage, folder in layout.stages().items() if stage != "ingest"]
    for folder in reversed(made_of_images):
        if folder.is_dir():
            prune_shards(folder, keep=())


def _ingested(state: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the state that decides what ingest makes."""
    decides = {k: v for k, v in state.get("agreed", {}).items() if k.startswith(("seed", "ingest.", "code.ingest"))}
    return {**state, "agreed": decides}
