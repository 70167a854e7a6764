"""Training in several processes on one machine, through torchrun; one process trains in place.

On CPUs two processes of one thread train about twice as fast as one process with two threads. The parent hands
over a JSON job and reads progress lines; when it dies, the next line has no reader and the workers end, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ouro.files import write_json
from ouro.params import Train
from ouro.training.samples import (
    NOTHING,
    Job,
    OnLog,
    OutOfMemory,
    TrainingError,
    TrainSummary,
    in_smaller_pieces,
)
from ouro.training.store import SampleFile, write_samples


def train(job: Job, on_log: OnLog = lambda step, of, values: None) -> TrainSummary:
    """`ouro.training.lora.train_adapter` in `job.params.processes` processes, which share each step's rows.

    Raises what train_adapter raises, and RuntimeError with the end of the workers' output when they end otherwise.
    """
    if not job.samples:
        raise TrainingError(NOTHING)
    if job.params.processes == 1:
        from ouro.training.lora import train_adapter

        return train_adapter(job, on_log)
    job.checkpoints.mkdir(parents=True, exist_ok=True)
    path = job.checkpoints / f"job-{os.getpid()}.json"
    try:
        while True:
            write_json(path, _to_json(job))
            try:
                return _watch(path, job.params.processes, on_log)
            except OutOfMemory as error:
                job = in_smaller_pieces(job, error)
    finally:
        path.unlink(missing_ok=True)
        (job.checkpoints / f"samples-{os.getpid()}.arrow").unlink(missing_ok=True)


def _to_json(job: Job) -> dict[str, Any]:
    """Samples go by the path of their file; those that have none are written to one beside the checkpoints."""
    samples = job.samples
    if not isinstance(samples, SampleFile):
        samples = write_samples(job.checkpoints / f"samples-{os.getpid()}.arrow", [samples])
    plain = {f.name: getattr(job, f.name) for f in fields(job)}
    plain |= {"samples": samples.path.resolve(), "params": job.params.model_dump(mode="json")}
    return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}


def _from_json(value: dict[str, Any]) -> Job:
    plain: dict[str, Any] = {name: value[name] for name in ("base", "prompt", "seed", "pieces")}
    plain |= {name: Path(value[name]) for name in ("images", "out", "checkpoints")}
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
    """One worker of torchrun: `python -m ouro.training.launch JOB`."""
    import torch

    from ouro.training.lora import train_once

    job = _from_json(json.loads(Path(sys.argv[1]).read_text()))
    first = os.environ.get("RANK", "0") == "0"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    else:
        torch.set_num_threads(1)

    def on_log(step: int, of: int, values: dict[str, float]) -> None:
        if first:
            _say({"step": step, "of": of, "values": values})

    try:
        summary = train_once(job, on_log)
    except TrainingError as error:
        _say({"error": str(error)})
        raise
    except OutOfMemory as error:  # all processes have to begin again with smaller pieces: the parent sees to it
        _say({"memory": str(error)})
        raise
    if first:
        _say({"summary": asdict(summary)})


if __name__ == "__main__":
    main()
