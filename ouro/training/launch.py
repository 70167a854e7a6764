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
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ouro.files import write_json
from ouro.params import Train
from ouro.training.samples import Asked, OnLog, Sample, TrainSummary


def train(
    samples: Sequence[Sample],
    *,
    images: Path,
    base: str | Path,
    out: Path,
    params: Train,
    prompt: str,
    seed: int,
    checkpoints: Path,
    on_log: OnLog = lambda step, of, values: None,
) -> TrainSummary:
    """`ouro.training.lora.train_adapter` in `params.processes` processes; same arguments, same summary.

    Raises RuntimeError with the end of the workers' output when they fail.
    """
    settings: dict[str, Any] = {"prompt": prompt, "seed": seed}
    folders = {"images": images, "base": base, "out": out, "checkpoints": checkpoints}
    if params.processes == 1:
        from ouro.training.lora import train_adapter

        return train_adapter(samples, params=params, on_log=on_log, **folders, **settings)  # type: ignore[arg-type]
    checkpoints.mkdir(parents=True, exist_ok=True)
    job = checkpoints / f"job-{os.getpid()}.json"
    write_json(
        job,
        {
            "samples": [asdict(s) for s in samples], "params": params.model_dump(mode="json"), "settings": settings,
            "folders": {name: str(path) for name, path in folders.items()},
        },
    )  # fmt: skip
    try:
        return _watch(job, params.processes, on_log)
    finally:
        job.unlink(missing_ok=True)


def _watch(job: Path, processes: int, on_log: OnLog) -> TrainSummary:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += ["-m", "ouro.training.launch", str(job)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    summary: TrainSummary | None = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as workers:
        assert workers.stdout is not None and workers.stderr is not None
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.extend(workers.stderr or []), daemon=True)
        reader.start()
        for line in workers.stdout:
            if not line.startswith("{"):
                continue
            message = json.loads(line)
            if "summary" in message:
                values: dict[str, Any] = message["summary"]
                values["curve"] = tuple(values["curve"])
                summary = TrainSummary(**values)
            else:
                on_log(message["step"], message["of"], message["values"])
    reader.join(timeout=5)
    if workers.returncode != 0 or summary is None:
        raise RuntimeError(
            f"training in {processes} processes ended with {workers.returncode}:\n{''.join(errors[-40:])}"
        )
    return summary


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """One worker of torchrun: `python -m ouro.training.launch JOB`."""
    import torch

    from ouro.training.lora import train_adapter

    job = json.loads(Path(sys.argv[1]).read_text())
    first = os.environ.get("RANK", "0") == "0"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    else:
        torch.set_num_threads(1)
    samples = [
        Sample(
            s["image_id"], s["path"], tuple(tuple(b) for b in s["boxes"]), s["description"],
            tuple(Asked(*p) for p in s["pairs"]),
        )
        for s in job["samples"]
    ]  # fmt: skip

    def on_log(step: int, of: int, values: dict[str, float]) -> None:
        if first:
            _say({"step": step, "of": of, "values": values})

    folders = {name: Path(path) for name, path in job["folders"].items()}
    summary = train_adapter(
        samples, params=Train.model_validate(job["params"]), on_log=on_log, **folders, **job["settings"]
    )
    if first:
        _say({"summary": asdict(summary)})


if __name__ == "__main__":
    main()
