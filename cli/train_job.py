"""`ouro train-job FILE`: the training of params.yaml on data/, for a launcher of one's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import ParamsFile, Profile, Set, read_params

if TYPE_CHECKING:
    from ouro.core.params import Params


def train_job(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the job goes (JSON).")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the adapter goes; by default the pipeline's place.")
    ] = None,
    set_: Set = None,
    params: ParamsFile = None,
    profile: Profile = None,
) -> None:
    """Write the training on data/ as a job, to start it with torchrun or DeepSpeed's launcher on several machines.

    On one machine `train.processes` needs no launcher. See docs/training.md.

    \b
    Examples:
      ouro train-job job.json
      ouro train-job /shared/job.json --out /shared/adapter --profile paper --set train.deepspeed=zero3
    """
    run(read_params(params, profile, set_), file, out)


def run(params: Params, file: Path, out: Path | None) -> None:
    """Write `file`; its folders are absolute, the adapter goes to `out`.

    Raises MissingModel, ArtifactError where data/ is not annotated to its end, and TrainingError.
    """
    from ouro.core.layout import ADAPTER, PIPELINE
    from ouro.training.launch import write_job
    from tasks import screen
    from tasks.models import require_model
    from tasks.train import check_annotated, training_job

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
