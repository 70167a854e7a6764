"""`python -m tasks.processes.keeper MARK COMMAND...`: run a command and leave nothing of it behind.

It leads a session of its own. Who started it holds the other end of its standard input and writes nothing there: when
that end closes, also by kill -9, the command's children get SIGTERM, then the command (Prefect's worker, asked to end,
kills its runs at once: they would not end their stage and say that they crashed), and what is left SIGKILL: every
process that descends from them, in whichever session. They are known by MARK in their environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

MARK = "OURO_KEPT"
CHILDREN = 15.0  # seconds to end in: a round's stage takes up to 10, then it tells Prefect and MLflow
SECONDS = CHILDREN + 10.0  # for all of it
POLL = 0.2


def main(arguments: Sequence[str]) -> int:
    """The exit code of the command, as a shell has it: 128 + N for one that signal N ended."""
    mark, *command = arguments
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: None)  # not SIG_IGN, which the command would inherit
    process = subprocess.Popen(command, env={**os.environ, MARK: mark}, stdin=subprocess.DEVNULL)
    asked = threading.Event()
    threading.Thread(target=_wait_for_end_of_input, args=(asked,), daemon=True).start()
    while process.poll() is None and not asked.wait(POLL):
        pass
    _end(process, mark)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _wait_for_end_of_input(ended: threading.Event) -> None:
    while os.read(0, 1):  # b"" when the other end is closed
        pass
    ended.set()


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    """Its children, then the command itself, then whatever is left."""
    end = time.monotonic() + SECONDS
    children = _children(process.pid, mark)
    _signal(children, signal.SIGTERM)
    while marked(mark) & children and time.monotonic() < end - SECONDS + CHILDREN:
        time.sleep(POLL)
    if process.poll() is None:
        process.terminate()
    while (process.poll() is None or marked(mark)) and time.monotonic() < end:
        time.sleep(POLL)
    process.poll()
    kill(mark)
    if process.poll() is None:  # where there is no /proc
        process.kill()
        process.wait()


def kill(mark: str) -> None:
    """SIGKILL to every process that carries a mark, until none is left."""
    while left := marked(mark):
        _signal(left, signal.SIGKILL)
        time.sleep(POLL)


def marked(mark: str) -> set[int]:
    """The processes of this user that carry a mark in their environment; none where there is no /proc."""
    wanted = f"{MARK}={mark}".encode()
    found: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another's, or gone
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
    return found


def _children(pid: int, mark: str) -> set[int]:
    found: set[int] = set()
    for child in marked(mark):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1] == str(pid):
                found.add(child)
    return found


def _signal(pids: Iterable[int], sign: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
