"""`python -m tasks.processes.supervisor TAG CHILDREN REST COMMAND...`: run a command and leave nothing of it behind.

It leads a session of its own. Who started it holds the other end of its standard input and writes nothing there: when
that end closes, also by kill -9, the command is ended with every process that descends from it, in whichever session.
They are known by a variable in their environment, whose name ends with TAG; supervised processes may supervise others.

CHILDREN: seconds that the command's own children have to end before the command is asked to (Prefect's worker, asked to
end, kills its runs at once: they would not end their stage and say that they crashed); 0: all are asked at once. REST:
seconds until what is left is killed. The command is this process's child: a dead one is reaped, so that DVC, which
looks whether the process that holds its lock exists, takes that of a killed DVC for free.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

import psutil

from ouro.core.processes import end, send, wait_for_end

PREFIX = "OURO_TAG_"  # and the tag: a variable each, as a process may have several
POLL = 0.1


def main(arguments: Sequence[str]) -> int:
    """The exit code of the command, as a shell has it: 128 + N for one that signal N ended."""
    tag, children, rest, *command = arguments
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which the command would inherit
    process = subprocess.Popen(command, env={**os.environ, PREFIX + tag: "1"}, stdin=subprocess.DEVNULL)
    stop_event = threading.Event()
    threading.Thread(target=_wait_for_end_of_input, args=(stop_event,), daemon=True).start()
    while process.poll() is None and not stop_event.wait(POLL):
        pass
    _end(process, tag, float(children), float(rest))
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _wait_for_end_of_input(ended: threading.Event) -> None:
    while os.read(0, 1):  # b"" when the other end is closed
        pass
    ended.set()


def _end(command: subprocess.Popen[bytes], tag: str, children: float, rest: float) -> None:
    """Its children, if they go first, then the command with all below it, then whoever has left that tree."""
    if children:
        first = _children(command)
        send(first, signal.SIGTERM)
        wait_for_end(first, children)
    end([command], rest)
    end_tagged(tag)
    command.wait()


def _children(command: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(command.pid).children()
    return []


def end_tagged(tag: str) -> None:
    """End every process that carries a tag, until none is left."""
    while left := tagged(tag):
        end(left, seconds=1.0)


def tagged(tag: str) -> list[psutil.Process]:
    """The processes of this user that carry a tag in their environment."""
    everyone = psutil.process_iter(["environ", "status"])
    return [one for one in everyone if PREFIX + tag in (one.info["environ"] or ()) and _runs(one.info["status"])]


def _runs(status: str) -> bool:
    return status != psutil.STATUS_ZOMBIE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
