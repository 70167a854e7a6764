"""Training in several processes on one machine (ouro.training.workers); one without DeepSpeed and workers trains in
place. Workers that decode are forked, which a process of Prefect's threads does not outlive: they get one of their own.

On CPUs two processes of one thread train about twice as fast as one process with two threads. The parent hands
over a JSON job and reads progress lines. For several machines a person's own launcher, such as torchrun, starts
`python -m ouro.training.launch JOB` on each of them (docs/training.md).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from ouro.core.files import write_json
from ouro.core.json_text import parse_json
from ouro.core.params import Train
from ouro.core.processes import end_with_starter
from ouro.training.group import STORE, join_group
from ouro.training.job import (
    NO_SAMPLES,
    OnLog,
    OutOfMemory,
    TrainingError,
    TrainingJob,
    TrainSummary,
    split_micro_batches,
)
from ouro.training.store import SampleFile, write_samples
from ouro.training.workers import run_workers


def train(job: TrainingJob, on_log: OnLog = lambda step, of, values: None) -> TrainSummary:
    """`ouro.training.lora.train_adapter` in `job.params.processes` processes, which share each step's rows.

    Raises what train_adapter raises, and RuntimeError with the end of a process's output when it ends otherwise.
    """
    if not len(job.samples):
        raise TrainingError(NO_SAMPLES)
    if job.params.processes == 1 and not job.params.deepspeed and not job.params.workers:
        from ouro.training.lora import train_adapter

        return train_adapter(job, on_log)
    path = job.checkpoints / f"job-{os.getpid()}.json"
    try:
        while True:
            write_job(path, job)
            try:
                return run_workers(path, job.params.processes, on_log)
            except OutOfMemory as error:
                job = split_micro_batches(job, error)
    finally:
        path.unlink(missing_ok=True)
        path.with_suffix(".arrow").unlink(missing_ok=True)


def write_job(path: Path, job: TrainingJob) -> None:
    """Write what `python -m ouro.training.launch` takes. Samples go by the path of their file; those that have none
    are written to one beside `path`."""
    samples = job.samples
    if not isinstance(samples, SampleFile):
        samples = write_samples(path.with_suffix(".arrow"), [samples])
    plain = {f.name: getattr(job, f.name) for f in fields(job)}
    plain |= {"samples": samples.path.resolve(), "params": job.params.model_dump(mode="json")}
    write_json(path, {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()})


def read_job(path: Path, environment: Mapping[str, str] = os.environ) -> TrainingJob:
    """A job for this launch: train.processes is the number of processes that there are. Raises TrainingError."""
    try:
        job = _from_json(parse_json(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"job {path}: {type(error).__name__}: {error}; expected what `ouro train-job {path}` writes, on a folder "
            "that every machine sees"
        ) from error
    processes = int(environment.get("WORLD_SIZE", "1"))
    return replace(job, params=job.params.model_copy(update={"processes": processes}))


def _from_json(value: dict[str, Any]) -> TrainingJob:
    plain: dict[str, Any] = {name: value[name] for name in ("base", "prompt", "seed", "pieces")}
    plain |= {name: Path(value[name]) for name in ("images", "out", "checkpoints")}
    plain |= {"start": Path(value["start"]) if value["start"] else None}
    return TrainingJob(SampleFile(Path(value["samples"])), params=Train.model_validate(value["params"]), **plain)


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """One process of a training, of Ouro's own launcher or of another: `python -m ouro.training.launch JOB`."""
    if STORE in os.environ:
        end_with_starter()
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


def _work(job: TrainingJob) -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    else:
        torch.set_num_threads(1)
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # before DeepSpeed is imported
    if STORE in os.environ:  # else the process group is the launcher's own: env://
        rank, processes = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
        join_group(Path(os.environ[STORE]), rank, processes, "nccl" if torch.cuda.is_available() else "gloo")
    from ouro.training.lora import train_once

    first = os.environ.get("RANK", "0") == "0"

    def on_log(step: int, of: int, values: dict[str, float]) -> None:
        if first:
            _say({"step": step, "of": of, "values": values})

    summary = train_once(job, on_log)
    if first:
        _say({"summary": asdict(summary)})
    if STORE in os.environ:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
