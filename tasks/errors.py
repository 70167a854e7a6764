"""Errors for a person: one message, an exit code, and a traceback only for a defect."""

from __future__ import annotations

import errno
import sys
import traceback
from pathlib import Path

from ouro.core.errors import OuroError
from ouro.core.printable import printable
from tasks import screen


def explain(error: Exception) -> int:
    """Print an error for the person and return the exit code: 2 for ours, 1 (with a traceback) for a defect."""
    if isinstance(error, (ValueError, ImportError, FileNotFoundError)) and is_ours(error):
        screen.complain(str(error))
        return 2
    if is_ours(error):
        screen.complain(str(error))
        return 1
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        screen.complain(
            f"{error.filename or Path.cwd()}: no space left on the disk; what was finished is kept. Fix: make "
            "some room and run the same command again"
        )
        return 1
    print(printable("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    screen.complain(f"{type(error).__name__}: {error}. This is a defect of Ouro, or of a library below it")
    return 1


def is_ours(error: BaseException) -> bool:
    """Whether Ouro raised it: then its message says what, got, expected, fix."""
    return isinstance(error, OuroError)
