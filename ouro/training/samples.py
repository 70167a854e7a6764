"""Training samples (OURO section 3.2): an image, its sub-regions, its description and its question-answer pairs.

Samples are built shard by shard and kept in one memory-mapped file (ouro.training.store), so that no collection is too
large. What an epoch shows of a sample is drawn in ouro.training.rows.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ouro.core.artifacts import code_fingerprint
from ouro.core.params import Train
from ouro.core.records import Box, Image, QAPair, Region, Rejected, Scene
from ouro.vision.hf import folder_fingerprint

log = logging.getLogger(__name__)

OnLog = Callable[[int, int, dict[str, float]], None]  # (step, steps in all, what was logged)
Originals = Mapping[str, Sequence[tuple[str, str]]]  # image id -> the collection's own questions and answers

NOTHING = "no training samples; expected at least one image with a description"


class TrainingError(ValueError):
    """Training cannot start, or did not do what it should have."""


class OutOfMemory(RuntimeError):
    """A step did not fit into memory."""


class Asked(NamedTuple):
    """A question, its answer, and the aspect it is about ("" where the collection names none)."""

    question: str
    answer: str
    aspect: str = ""


class Part(NamedTuple):
    """A sub-region: its box (pixels), its level in the tree, and its merged description ("" without one)."""

    region_id: str
    box: Box
    level: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its supervision. `size`: width and height, pixels; `path` is relative to the images' folder."""

    image_id: str
    path: str
    size: tuple[int, int]
    parts: tuple[Part, ...]
    description: str
    pairs: tuple[Asked, ...]

    @property
    def boxes(self) -> tuple[Box, ...]:
        return tuple(part.box for part in self.parts)


class Made(NamedTuple):
    """Samples and the images that are none: in = out + rejected."""

    samples: list[Sample]
    rejected: list[Rejected]


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


def make_samples(
    supervision: str,
    images: Sequence[Image],
    regions: Iterable[Region],
    scenes: Iterable[Scene] = (),
    pairs: Iterable[QAPair] = (),
    originals: Originals | None = None,
) -> Made:
    """One sample an image, by train.supervision:

    ours    the merged description and the synthesized pairs
    orig    the collection's first human caption and its own pairs (OURO Table 6, "Orig.")
    both    the caption, followed by the merged description as one text, and the pairs of both (VILA^2 section 2.1
            concatenates original and generated captions)

    Rejected: "no_description", for an image without any text to learn.
    """
    parts, texts, asked = _by_image(regions, list(scenes), pairs)
    own = originals or {}
    made = Made([], [])
    for image in images:
        described = [*image.captions[:1]] if supervision != "ours" else []
        described += [texts[image.image_id]] if supervision != "orig" and image.image_id in texts else []
        questions = [Asked(*pair) for pair in own.get(image.image_id, ())] if supervision != "ours" else []
        questions += asked[image.image_id] if supervision != "orig" else []
        if not "".join(described).strip():
            made.rejected.append(Rejected("train", image.image_id, "no_description", f"supervision {supervision}"))
            continue
        description = " ".join(text.strip() for text in described)
        size = (image.width, image.height)
        sample = Sample(image.image_id, image.path, size, tuple(parts[image.image_id]), description, tuple(questions))
        made.samples.append(sample)
    return made


def _by_image(
    regions: Iterable[Region], scenes: Sequence[Scene], pairs: Iterable[QAPair]
) -> tuple[Mapping[str, list[Part]], dict[str, str], Mapping[str, list[Asked]]]:
    said = {region_id: text for scene in scenes for region_id, text in scene.region_texts}
    parts: dict[str, list[Part]] = defaultdict(list)
    asked: dict[str, list[Asked]] = defaultdict(list)
    for r in regions:
        if r.parent_id is not None:
            parts[r.image_id].append(Part(r.region_id, r.box, r.level, said.get(r.region_id, "")))
    for p in pairs:
        asked[p.image_id].append(Asked(p.question, p.answer, p.aspect))
    return parts, {scene.image_id: scene.text for scene in scenes}, asked


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


def checkpoint_key(job: Job) -> str:
    """Content address of a training: resuming is only right for the very same one, code included."""
    from ouro.training.store import SampleFile, write_samples

    code = code_fingerprint(["ouro.training.lora"], ("ouro",))
    decisive = (code, folder_fingerprint(job.base), job.params.model_dump_json(), job.prompt, job.seed)
    digest = hashlib.sha256(repr(decisive).encode())
    if job.start:
        digest.update(folder_fingerprint(job.start).encode())
    if isinstance(job.samples, SampleFile):
        digest.update(job.samples.fingerprint.encode())
    else:
        with tempfile.TemporaryDirectory() as folder:
            digest.update(write_samples(Path(folder) / "samples.arrow", [job.samples]).fingerprint.encode())
    if job.params.deepspeed:
        from ouro.training.zero import deepspeed_file

        digest.update(deepspeed_file(job.params.deepspeed).read_bytes())
    return digest.hexdigest()[:24]


def discard_checkpoints(job: Job) -> None:
    """Remove what a killed run would have continued from."""
    shutil.rmtree(job.checkpoints / checkpoint_key(job), ignore_errors=True)
