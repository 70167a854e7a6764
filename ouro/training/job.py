"""The description of one training job, its summary, and its errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.core.errors import OuroError

if TYPE_CHECKING:
    from ouro.core.params import Train
    from ouro.training.samples import Sample

log = logging.getLogger(__name__)

OnLog = Callable[[int, int, dict[str, float]], None]  # (step, total steps, logged values)


NO_SAMPLES = "no training samples; expected at least one image with a description"


class TrainingError(OuroError, ValueError):
    """Training cannot start, or its result is not usable."""


class OutOfMemory(OuroError, RuntimeError):
    """A step did not fit into memory."""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training: everything its result depends on, and the folders it reads and writes.

    `samples` is any sequence; a SampleFile is passed between processes by its path. `prompt` asks for the description;
    `images` is the folder of the samples' image files. The adapter is written to `out`, checkpoints to a subfolder of
    `checkpoints`. `pieces`: the number of pieces that a micro-batch is split into to fit into memory; the result does
    not depend on it. `start`: the adapter to continue from; None starts a new one.
    """

    samples: Sequence[Sample]
    images: Path
    base: str | Path
    out: Path
    params: Train
    prompt: str
    seed: int
    checkpoints: Path
    pieces: int = 1
    start: Path | None = None


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """Steps taken, samples per epoch, trainable and all parameters, tokens over all processes, and the loss curve.

    `notes`: deviations from the params, such as a smaller micro-batch.
    """

    steps: int
    samples: int
    trainable: int
    parameters: int
    tokens: int
    curve: tuple[dict[str, float], ...]
    notes: tuple[str, ...] = field(default=())


def split_micro_batches(job: TrainingJob, error: OutOfMemory) -> TrainingJob:
    """The job with twice as many pieces per micro-batch. Raises TrainingError when a piece is already one image, or
    with DeepSpeed, which splits micro-batches itself."""
    if job.params.deepspeed:
        raise TrainingError(
            f"out of memory ({error}). Fix: with train.deepspeed, halve train.batch_size and double train.accumulation"
        ) from error
    if job.pieces >= job.params.batch_size:
        raise TrainingError(
            f"out of memory with one image at a time ({error}). Fix: lower train.max_pixels, region_max_pixels, k or "
            "questions, or set train.gradient_checkpointing=true"
        ) from error
    pieces = min(2 * job.pieces, job.params.batch_size)
    log.warning("out of memory (%s): each micro-batch is now trained in %d pieces", error, pieces)
    return replace(job, pieces=pieces)
