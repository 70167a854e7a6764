"""Errors for a person: one message, an exit code, and a traceback only for a defect."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import tempfile
import traceback
from pathlib import Path

from ouro.core.errors import OuroError
from ouro.core.printable import printable
from tasks import screen

_FULL = (errno.ENOSPC, errno.EDQUOT)
_ROOM = 2**24  # bytes free on a disk below which it counts as full
_PLACES = {  # what the machine answers of a path -> what to do
    errno.EACCES: "give the right to it, or name another path",
    errno.EPERM: "give the right to it, or name another path",
    errno.EROFS: "name a path on a disk that can be written to",
    errno.ENOTDIR: "name a path whose every part but the last is a folder",
    errno.EEXIST: "name another path, or remove what is there",
    errno.EISDIR: "name a file",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.ELOOP: "remove the link that leads to itself",
    errno.ENOENT: "name a path that is there, below a folder in which files can be made",
    errno.EIO: "look after the disk",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EINVAL: "name another path",
}


def explain(error: Exception) -> int:
    """Print an error for the person and return the exit code: 2 for ours, 1 (with a traceback) for a defect."""
    if isinstance(error, (ValueError, ImportError, FileNotFoundError)) and is_ours(error):
        screen.complain(str(error))
        return 2
    if is_ours(error):
        screen.complain(str(error))
        return 1
    if _is_full(error):
        screen.complain(
            f"{_full_disk(error)}: no space left on the disk; what was finished is kept. Fix: make "
            "some room and run the same command again"
        )
        return 1
    if said := _say_place(error) or _say_input(error) or _say_server(error):
        screen.complain(said)
        return 2
    print(printable("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    screen.complain(f"{type(error).__name__}: {error}. This is a defect of Ouro, or of a library below it")
    return 1


def _is_full(error: Exception) -> bool:
    full = isinstance(error, sqlite3.Error) and "is full" in str(error)
    return full or (isinstance(error, OSError) and error.errno in _FULL)


def _full_disk(error: Exception) -> str:
    """The disk that is full, and the file that did not fit: of the error's file, or of where files are written."""
    file = error.filename if isinstance(error, OSError) else None
    if file:
        return f"{mount_of(Path(os.fsdecode(file)))} (at {os.fsdecode(file)})"
    disks = list(dict.fromkeys(mount_of(place) for place in (Path.cwd(), Path(tempfile.gettempdir()))))
    return " or ".join(str(disk) for disk in [d for d in disks if _free(d) < _ROOM] or disks)


def mount_of(path: Path) -> Path:
    """Where the disk is mounted that holds `path`, or would hold it."""
    place = path.absolute()
    while not os.path.ismount(place) and place != place.parent:
        place = place.parent
    return place


def _free(place: Path) -> int:
    try:
        status = os.statvfs(place)
    except OSError:
        return 0
    return 0 if status.f_files and not status.f_favail else status.f_bavail * status.f_frsize


def _say_place(error: Exception) -> str:
    """The sentence for a path that cannot be used as it was to be; "" for another error."""
    if not isinstance(error, OSError) or error.filename is None or error.errno not in _PLACES:
        return ""
    name = os.fsencode(error.filename) if isinstance(error.filename, (str, bytes)) else str(error.filename).encode()
    return f"{name.decode('utf-8', 'backslashreplace')}: {error.strerror}. Fix: {_PLACES[error.errno]}"


def _say_input(error: Exception) -> str:
    """The sentence for a text from outside that no rule of a file's own reader caught; "" for another error."""
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        name = str(error.object).encode("utf-8", "backslashreplace").decode()
        return f"{name[:300]}: holds a name that is not UTF-8; expected one that is. Fix: rename it"
    if isinstance(error, RecursionError) and _below_json(error):
        return "a JSON or YAML text is nested too deeply to be read; expected plain records. Fix: look at what was read"
    if isinstance(error, sqlite3.DatabaseError) and any(w in str(error) for w in ("malformed", "not a database")):
        return f"a database of replies is damaged ({error}). Fix: remove the .db file that was in use, and run again"
    return ""


def _say_server(error: Exception) -> str:
    """The sentence for Prefect's server that went away while it was used; "" for another error."""
    if not _is_of_network(error):
        return ""
    from tasks.processes.server import ADDRESS_FIX, address_problem, configured_api

    api = configured_api()
    problem = address_problem(api) if api else ""
    return (
        f"{problem}; what was finished is kept. Fix: {ADDRESS_FIX}; then run the same command again" if problem else ""
    )


def _is_of_network(error: BaseException | None) -> bool:
    """Whether httpx, by which Prefect's client asks, or Prefect itself raised it, or what it came from."""
    while error is not None:
        if type(error).__module__.partition(".")[0] in ("httpx", "httpcore", "prefect") or "reach API" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _below_json(error: RecursionError) -> bool:
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    return "decoding a JSON" in str(error) or any(f"{os.sep}{name}{os.sep}" in last for name in ("json", "yaml"))


def is_ours(error: BaseException) -> bool:
    """Whether Ouro raised it: then its message says what, got, expected, fix."""
    return isinstance(error, OuroError)
