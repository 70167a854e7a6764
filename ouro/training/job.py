"""One training: what decides its result, what came of it, and the errors it ends with."""

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

OnLog = Callable[[int, int, dict[str, float]], None]  # (step, steps in all, what was logged)


NOTHING = "no training samples; expected at least one image with a description"


class TrainingError(OuroError, ValueError):
    """Training cannot start, or did not do what it should have."""


class OutOfMemory(OuroError, RuntimeError):
    """A step did not fit into memory."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training: what decides its result, and the folders it reads and writes.

    `samples` is any sequence; a SampleFile travels between processes by its path. `prompt` asks for the description;
    `images` holds the files that samples name; the adapter goes to `out`, and checkpoints to a subfolder of
    `checkpoints`. `pieces`: into how many a micro-batch is cut to fit into memory; it decides nothing. `start`: the
    adapter that learns on; None begins with a new one.
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
    """Steps taken, samples per epoch, trainable and all parameters, tokens seen by all, and the loss curve.

    `notes`: what was done otherwise than asked, such as a smaller micro-batch.
    """

    steps: int
    samples: int
    trainable: int
    parameters: int
    tokens: int
    curve: tuple[dict[str, float], ...]
    notes: tuple[str, ...] = field(default=())


def in_smaller_pieces(job: Job, error: OutOfMemory) -> Job:
    """The job with twice as many pieces a micro-batch. Raises TrainingError when a piece is one image already, or
    DeepSpeed counts the micro-batches itself."""
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
