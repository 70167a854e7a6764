"""Kept replies: a cache in SQLite that several processes write to, and that survives a kill.

A file that is damaged is set aside under another name and said, and asking goes on with a new one: all that is lost is
a cache. Of several processes that find the damage one sets the file aside, the others open what that one made.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from ouro.core.errors import OuroError

T = TypeVar("T")

_MANY = 500  # keys of one query
_WITH_IT = ("-wal", "-shm", "")  # SQLite's own files beside a database, before the database
_INTACT = ("locked", "busy", "is full", "readonly", "unable to open", "disk I/O", "interrupted", "out of memory")


class ReplyStoreError(OuroError, ValueError):
    """A file of replies that cannot be used, and that is not damaged."""


class ReplyStore:
    """Replies by key. `anew`: only replies that this one was given count as kept; they replace earlier ones.

    `say` is told when a damaged file is set aside. Raises ReplyStoreError for a file that cannot be read or written.
    """

    def __init__(self, path: Path, *, anew: bool = False, say: Callable[[str], None] = lambda text: None) -> None:
        self.path, self._say = path, say
        self._own: set[str] | None = set() if anew else None
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock():
            self._db = self._open_or_set_aside()

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """The kept ones."""
        wanted = [key for key in keys if self._own is None or key in self._own]
        return self._do(lambda: self._read(wanted))

    def put(self, replies: Mapping[str, str]) -> None:
        """All of them, or none; an empty reply is no reply, and is not kept."""
        kept = {key: reply for key, reply in replies.items() if reply.strip()}
        if kept:
            self._do(lambda: self._write(kept))
        if self._own is not None:
            self._own.update(kept)

    def close(self) -> None:
        self._db.close()

    def _read(self, keys: Sequence[str]) -> dict[str, str]:
        replies: dict[str, str] = {}
        for start in range(0, len(keys), _MANY):
            part = keys[start : start + _MANY]
            marks = ",".join("?" * len(part))
            replies.update(self._db.execute(f"SELECT key, reply FROM replies WHERE key IN ({marks})", part))
        return {key: reply for key, reply in replies.items() if reply.strip()}

    def _write(self, replies: Mapping[str, str]) -> None:
        with self._db:  # commits, or rolls back
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?)", replies.items())

    def _do(self, work: Callable[[], T]) -> T:
        """What `work` returns, done again with another file where this one is damaged."""
        try:
            return work()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise self._unusable(error) from error
        with self._lock():
            self._db.close()
            self._db = self._open_or_set_aside(whole=True)
        return work()

    def _lock(self) -> FileLock:
        return FileLock(f"{self.path}.lock")

    def _open_or_set_aside(self, whole: bool = False) -> sqlite3.Connection:
        """The database, a new one where it is damaged. `whole`: all of its pages are looked at. Under the lock."""
        try:
            return self._open(whole)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise self._unusable(error) from error
            damage = str(error)
        place = self._set_aside()
        self._say(
            f"note: {self.path}: damaged ({damage}); it is now {place.name} beside it. The replies in it are asked for "
            "again, and nothing else is lost; remove it when you like"
        )
        try:
            return self._open(whole=False)
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error

    def _open(self, whole: bool) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")  # what a killed process committed is there all the same
            db.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT) WITHOUT ROWID")
            db.execute("SELECT key, reply FROM replies LIMIT 1").fetchall()
            if whole and (finding := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(finding)
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self) -> Path:
        """Rename the file, and what SQLite keeps beside it; returns its new path."""
        number = 1
        while (place := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists():
            number += 1
        for end in _WITH_IT:
            if (file := Path(f"{self.path}{end}")).exists():
                os.replace(file, f"{place}{end}")
        return place

    def _unusable(self, error: sqlite3.Error) -> sqlite3.Error | ReplyStoreError:
        if "is full" in str(error):
            return error  # of the disk, which has its own sentence
        return ReplyStoreError(
            f"{self.path}: the file of kept replies cannot be used ({error}); expected an SQLite database that this "
            "user may write to. Fix: give the right to it and its folder, wait for a process that holds it, or rename "
            "it: all that it holds can be asked for again"
        )


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether another file is needed: not where this one is only locked, or its disk is full or read-only."""
    return not any(words in str(error) for words in _INTACT)
