"""`ouro train-job FILE`: the training of params.yaml on data/, for a launcher of one's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ouro.core.layout import ADAPTER, PIPELINE
from ouro.core.params import Params
from ouro.training.launch import write_job
from tasks import screen
from tasks.models import require_model
from tasks.train import check_annotated, training_job


def run(params: Params, file: Path, out: Path | None = None) -> None:
    """Write `file`; its folders are absolute, the adapter goes to `out`.

    Raises MissingModel, ArtifactError where data/ is not annotated to its end, and TrainingError.
    """
    require_model(Path(params.model.base))
    check_annotated(PIPELINE, params)
    job = training_job(PIPELINE, params, (out or ADAPTER).resolve())
    base = Path(job.base)
    job = dataclasses.replace(
        job,
        images=job.images.resolve(),
        checkpoints=job.checkpoints.resolve(),
        base=base.resolve() if base.is_dir() else job.base,
    )
    write_job(file, job)
    screen.say(f"train-job: {len(job.samples)} samples, adapter to {job.out}")
    screen.say(
        f"{file}: on each machine of a private network, with your launcher: python -m ouro.training.launch {file} "
        "(docs/training.md, Several machines)"
    )
