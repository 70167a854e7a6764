"""The processes of one training on one machine: started, listened to, and ended together.

Each is `python -m ouro.training.launch JOB`. They meet at a file and talk over loopback (ouro.training.group), and are
given no credentials. One that dies leaves the others waiting in an exchange: they are ended at once. When this process
dies, also by kill -9, their standard input closes and they end by themselves.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Queue
from typing import IO, Any, NamedTuple, cast

from ouro.core.processes import end, without_credentials
from ouro.training.group import OF_A_LAUNCHER, STORE, on_loopback
from ouro.training.job import OnLog, OutOfMemory, TrainingError, TrainSummary

TAIL = 60  # lines of what a process wrote to stderr that an error shows
READ_SECONDS = 2.0  # for the rest of an ended process's output; its own children may keep the pipe open


class Exit(NamedTuple):
    """A worker has ended, with this exit code; all that it said came before."""

    code: int


Event = tuple[int, dict[str, Any] | Exit]  # of which worker: a line of JSON that it said, or its end


class Worker:
    """One process, with the end of its stderr; what it says and its end go to `events`."""

    def __init__(self, rank: int, command: Sequence[str], environment: Mapping[str, str], events: Queue[Event]) -> None:
        self.rank, self.events = rank, events
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(environment),
            encoding="utf-8", errors="replace",
        )  # fmt: skip
        self.errors = deque[str](maxlen=TAIL)
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        assert self.process.stdout is not None and self.process.stderr is not None
        readers = [
            threading.Thread(target=self._read_messages, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self.process.stderr,), daemon=True),
        ]
        for reader in readers:
            reader.start()
        code = self.process.wait()
        for reader in readers:
            reader.join(READ_SECONDS)
        self.events.put((self.rank, Exit(code)))

    def _read_messages(self, stdout: IO[str]) -> None:
        with stdout:
            for line in stdout:
                if (message := _message(line)) is not None:
                    self.events.put((self.rank, message))

    def _read_errors(self, stderr: IO[str]) -> None:
        with stderr:
            self.errors.extend(stderr)


def _message(line: str) -> dict[str, Any] | None:
    """What the line says, if it is ours: libraries write to stdout, too."""
    try:
        value: Any = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return None
    return cast(dict[str, Any], value) if isinstance(value, dict) else None


def run_workers(job: Path, processes: int, on_log: OnLog) -> TrainSummary:
    """Train the job in so many processes; none is left when this returns or raises.

    Raises TrainingError and OutOfMemory as the first process to say so did, and RuntimeError with the end of what the
    first process to die wrote.
    """
    store = job.with_suffix(".store")
    store.unlink(missing_ok=True)  # one of an earlier attempt would have them meet its processes
    events, workers = Queue[Event](), list[Worker]()
    command = [sys.executable, "-m", "ouro.training.launch", str(job)]
    try:
        for rank in range(processes):
            workers.append(Worker(rank, command, worker_environment(os.environ, store, rank, processes), events))
        return _listen(workers, events, on_log)
    finally:
        end([worker.process for worker in workers])
        store.unlink(missing_ok=True)


def worker_environment(environment: Mapping[str, str], store: Path, rank: int, processes: int) -> dict[str, str]:
    """Of the launcher's environment what a worker needs, and its place among the others."""
    variables = {k: v for k, v in without_credentials(environment).items() if k not in OF_A_LAUNCHER}
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    fixed = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", STORE: str(store.resolve())}
    return {**variables, **on_loopback(), **fixed, **{name: str(value) for name, value in place.items()}}


def _listen(workers: Sequence[Worker], events: Queue[Event], on_log: OnLog) -> TrainSummary:
    summary: TrainSummary | None = None
    running = len(workers)
    while running:
        rank, event = events.get()
        if isinstance(event, Exit):
            running -= 1
            if event.code != 0:
                raise RuntimeError(_obituary(workers, rank, event.code))
        elif "error" in event:
            raise TrainingError(event["error"])
        elif "memory" in event:
            raise OutOfMemory(event["memory"])
        elif "summary" in event:
            summary = _summary(event["summary"])
        elif "step" in event:
            on_log(event["step"], event["of"], event["values"])
    if summary is None:
        raise RuntimeError(f"training in {len(workers)} processes ended with 0, but without a summary; expected one")
    return summary


def _summary(values: dict[str, Any]) -> TrainSummary:
    plain: dict[str, Any] = {**values, "curve": tuple(values["curve"]), "notes": tuple(values["notes"])}
    return TrainSummary(**plain)


def _obituary(workers: Sequence[Worker], rank: int, code: int) -> str:
    """Of the first process that died, and what it wrote; the others die of it."""
    fix = "look at what it wrote"
    if code == -signal.SIGKILL:
        fix = "if nobody killed it, the system did for want of memory: lower train.batch_size or train.processes"
    name = signal.Signals(-code).name if -code in signal.valid_signals() else f"exit code {code}"
    return (
        f"training in {len(workers)} processes: process {rank} ended with {name}, expected exit code 0; the others "
        f"were ended. Fix: {fix}. Its stderr ends:\n{''.join(workers[rank].errors) or '(it wrote nothing)'}"
    )
