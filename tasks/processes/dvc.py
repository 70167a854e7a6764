"""DVC, the one way in which it is called: `python -m tasks.processes.dvc ARGUMENTS`, in this Python's environment.

It says its errors and no more than those: its own --quiet would leave them out, too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ouro.core.errors import OuroError
from ouro.core.state import CHECKOUT
from tasks import screen
from tasks.processes.locks import LockHeld, inherited
from tasks.processes.supervised import start

PATIENCE = 30.0  # seconds for the stage of a killed run, which ends at once, but may have much memory to give back


class StageFailed(OuroError, RuntimeError):
    """A stage ended with an error, which it has printed itself, or could not begin."""


def call_dvc(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of DVC to its end; what it says is in the result."""
    return subprocess.run(
        _command(arguments), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=_environment()
    )


def supervise_dvc(
    *arguments: str, environment: Mapping[str, str] | None = None, captured: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """Run a command of DVC that needs DVC's locks, once the stage of a killed run has ended.

    What it and the stage say goes to the screen, or, `captured`, what it says on standard output into the result.
    Whatever happens here or to DVC, nothing of it goes on afterwards. Raises StageFailed.
    """
    command, output = _command(arguments), subprocess.PIPE if captured else None
    try:
        with inherited(CHECKOUT.stage_lock, PATIENCE, _say_waiting) as lock:
            dvc = start("dvc", command, {**_environment(), **(environment or {})}, lock, stdout=output)
            try:
                # not communicate(), which closes the supervisor's standard input: it would end DVC
                text = dvc.supervisor.stdout.read() if dvc.supervisor.stdout else b""
                return subprocess.CompletedProcess(command, dvc.supervisor.wait(), text)
            finally:
                dvc.stop()
    except LockHeld as error:
        raise StageFailed(
            f"{error}; expected no other stage to be at work here. Fix: wait for it, or end it (see `ps -ef | grep "
            "flows`), and run the same command again"
        ) from error


def _say_waiting() -> None:
    screen.say("waiting for the stage of an earlier run to end")


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "tasks.processes.dvc", *arguments]


def _environment() -> dict[str, str]:
    """With this Python first on the PATH: stages are `python -m flows.STAGE`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path}


def main(arguments: Sequence[str]) -> int:
    """DVC's own exit code. Of `repro` nothing is printed but errors; the stage writes to the file descriptor itself."""
    from dvc.cli import main as dvc

    for name in ("dvc", "dvc_objects", "dvc_data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with contextlib.redirect_stdout(None) if arguments[0] == "repro" else contextlib.nullcontext():
        return dvc(list(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
