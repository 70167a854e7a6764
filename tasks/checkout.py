"""Checks that a command runs in a checkout, and its lock against a second command."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ouro.core.errors import OuroError
from ouro.core.state import CHECKOUT
from tasks.processes.locks import LockHeld, exclusive


class CheckoutError(OuroError, ValueError):
    """Ouro is not run from a git checkout with its DVC files."""


def check_checkout() -> None:
    """Raise CheckoutError unless this is a git checkout with dvc.yaml, and git is there."""
    here = Path.cwd()
    if shutil.which("git") is None:
        raise CheckoutError("git: not found on the PATH; DVC and the rounds need it. Fix: install git")
    if not Path("dvc.yaml").is_file() or not Path(".dvc/config").is_file():
        raise CheckoutError(f"{here}: no dvc.yaml and .dvc/config here; expected Ouro's checkout. Fix: cd into it")
    inside = subprocess.run(["git", "rev-parse", "--git-dir"], capture_output=True, text=True, check=False)
    if inside.returncode != 0:
        raise CheckoutError(
            f"{here}: not a git repository (an unpacked archive?); DVC needs one. Fix: git clone, or git init here"
        )


@contextmanager
def only_run() -> Generator[None]:
    """Hold this checkout's lock; the system frees it when the process dies. Raises CheckoutError when it is locked."""
    try:
        with exclusive(CHECKOUT.bootstrap_lock, wait=False):
            yield
    except LockHeld as error:
        raise CheckoutError(
            f"{Path.cwd()}: another `ouro bootstrap` is at work in this checkout, or an `ouro ablate`. Fix: wait for "
            "it to end, or run in a second clone"
        ) from error
