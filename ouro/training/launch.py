"""Training in several processes on one machine, through torchrun; one process without DeepSpeed and workers trains in
place. Workers that decode are forked, which a process of Prefect's threads does not outlive: they get one of their own.

On CPUs two processes of one thread train about twice as fast as one process with two threads. The parent hands
over a JSON job and reads progress lines; when it dies, the next line has no reader and the workers end, too.
A person's own launcher starts `python -m ouro.training.launch JOB` on every machine (docs/training.md).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from ouro.core.files import write_json
from ouro.core.params import Train
from ouro.training.job import NOTHING, Job, OnLog, OutOfMemory, TrainingError, TrainSummary, in_smaller_pieces
from ouro.training.store import SampleFile, write_samples


def train(job: Job, on_log: OnLog = lambda step, of, values: None) -> TrainSummary:
    """`ouro.training.lora.train_adapter` in `job.params.processes` processes, which share each step's rows.

    Raises what train_adapter raises, and RuntimeError with the end of the workers' output when they end otherwise.
    """
    if not len(job.samples):
        raise TrainingError(NOTHING)
    if job.params.processes == 1 and not job.params.deepspeed and not job.params.workers:
        from ouro.training.lora import train_adapter

        return train_adapter(job, on_log)
    path = job.checkpoints / f"job-{os.getpid()}.json"
    try:
        while True:
            write_job(path, job)
            try:
                return _watch(path, job.params.processes, on_log)
            except OutOfMemory as error:
                job = in_smaller_pieces(job, error)
    finally:
        path.unlink(missing_ok=True)
        path.with_suffix(".arrow").unlink(missing_ok=True)


def write_job(path: Path, job: Job) -> None:
    """Write what `python -m ouro.training.launch` takes. Samples go by the path of their file; those that have none
    are written to one beside `path`."""
    samples = job.samples
    if not isinstance(samples, SampleFile):
        samples = write_samples(path.with_suffix(".arrow"), [samples])
    plain = {f.name: getattr(job, f.name) for f in fields(job)}
    plain |= {"samples": samples.path.resolve(), "params": job.params.model_dump(mode="json")}
    write_json(path, {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()})


def read_job(path: Path, environment: Mapping[str, str] = os.environ) -> Job:
    """A job for this launch: train.processes is the number of processes that there are. Raises TrainingError."""
    try:
        job = _from_json(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"job {path}: {type(error).__name__}: {error}; expected what `ouro train-job {path}` writes, on a folder "
            "that every machine sees"
        ) from error
    processes = int(environment.get("WORLD_SIZE", "1"))
    return replace(job, params=job.params.model_copy(update={"processes": processes}))


def _from_json(value: dict[str, Any]) -> Job:
    plain: dict[str, Any] = {name: value[name] for name in ("base", "prompt", "seed", "pieces")}
    plain |= {name: Path(value[name]) for name in ("images", "out", "checkpoints")}
    plain |= {"start": Path(value["start"]) if value["start"] else None}
    return Job(SampleFile(Path(value["samples"])), params=Train.model_validate(value["params"]), **plain)


def _watch(job: Path, processes: int, on_log: OnLog) -> TrainSummary:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += ["-m", "ouro.training.launch", str(job)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    summary: TrainSummary | None = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as workers:
        assert workers.stdout is not None and workers.stderr is not None
        errors: list[str] = []
        refused: list[str] = []
        too_large: list[str] = []
        reader = threading.Thread(target=lambda: errors.extend(workers.stderr or []), daemon=True)
        reader.start()
        for line in workers.stdout:
            if not line.startswith("{"):
                continue
            message = json.loads(line)
            if "error" in message:
                refused.append(message["error"])
            elif "memory" in message:
                too_large.append(message["memory"])
            elif "summary" in message:
                values: dict[str, Any] = message["summary"]
                values |= {"curve": tuple(values["curve"]), "notes": tuple(values["notes"])}
                summary = TrainSummary(**values)
            else:
                on_log(message["step"], message["of"], message["values"])
    reader.join(timeout=5)
    if refused:
        raise TrainingError(refused[0])
    if too_large:
        raise OutOfMemory(too_large[0])
    if workers.returncode != 0 or summary is None:
        raise RuntimeError(
            f"training in {processes} processes ended with {workers.returncode}:\n{''.join(errors[-80:])}"
        )
    return summary


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """One worker of torchrun or another launcher: `python -m ouro.training.launch JOB`."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(f"got {sys.argv[1:]}, expected one job file: python -m ouro.training.launch JOB")
    try:
        _work(read_job(Path(sys.argv[1])))
    except TrainingError as error:
        _say({"error": str(error)})
        raise
    except OutOfMemory as error:  # all processes have to begin again with smaller pieces: the parent sees to it
        _say({"memory": str(error)})
        raise


def _work(job: Job) -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    else:
        torch.set_num_threads(1)
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # before DeepSpeed is imported
    from ouro.training.lora import train_once

    first = os.environ.get("RANK", "0") == "0"

    def on_log(step: int, of: int, values: dict[str, float]) -> None:
        if first:
            _say({"step": step, "of": of, "values": values})

    summary = train_once(job, on_log)
    if first:
        _say({"summary": asdict(summary)})


if __name__ == "__main__":
    main()
