"""Training samples: the full image plus k random sub-regions, its description and up to n questions.

OURO section 3.2. Every draw (which regions, which questions, whether regions are shown) comes from
(seed, epoch, image), so that an interrupted run continues with the very rows it would have seen.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ouro.artifacts import code_fingerprint
from ouro.crops import crop
from ouro.params import Train
from ouro.records import Box, Image, QAPair, Region, Scene
from ouro.vision.hf import folder_fingerprint

if TYPE_CHECKING:
    from ouro.training.packing import Branch, Grid, Row
    from ouro.vision.encoding import Encoder

DESC, QA = 0, 1
WINDOW = 8  # steps whose rows are sorted by length together
OnLog = Callable[[int, int, dict[str, float]], None]  # (step, steps in all, what was logged)


NOTHING = "no training samples: data/scenes and data/qa are empty; look at their .rejected.parquet"


class TrainingError(ValueError):
    """Training cannot start, or did not do what it should have."""


class Asked(NamedTuple):
    """A question, its answer, and the aspect it is about ("" where the collection names none)."""

    question: str
    answer: str
    aspect: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its supervision; `boxes` are its sub-regions (pixels)."""

    image_id: str
    path: str
    boxes: tuple[Box, ...]
    description: str
    pairs: tuple[Asked, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """One training: what decides its result, and the folders it reads and writes.

    `prompt` asks for the description; `images` holds the files that samples name; the adapter goes to `out`, and
    checkpoints to a subfolder of `checkpoints`.
    """

    samples: Sequence[Sample]
    images: Path
    base: str | Path
    out: Path
    params: Train
    prompt: str
    seed: int
    checkpoints: Path


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """Steps taken, samples per epoch, trainable and all parameters, tokens seen by all, and the loss curve."""

    steps: int
    samples: int
    trainable: int
    parameters: int
    tokens: int
    curve: tuple[dict[str, float], ...]


class Draw(NamedTuple):
    """What one epoch shows of a sample: indices into its boxes and its pairs."""

    regions: tuple[int, ...]
    pairs: tuple[int, ...]


class Encoded(NamedTuple):
    """An image's rows, one unless its branches stand apart, and the model inputs of its pictures."""

    rows: tuple[Row, ...]
    pixels: dict[str, Any]


def our_samples(
    images: Sequence[Image], regions: Sequence[Region], scenes: Sequence[Scene], pairs: Sequence[QAPair]
) -> list[Sample]:
    """Supervision by Ouro's annotations: merged description and synthesized pairs."""
    boxes: dict[str, list[Box]] = defaultdict(list)
    asked: dict[str, list[Asked]] = defaultdict(list)
    for r in regions:
        if r.parent_id is not None:
            boxes[r.image_id].append(r.box)
    for p in pairs:
        asked[p.image_id].append(Asked(p.question, p.answer, p.aspect))
    text = {s.image_id: s.text for s in scenes}
    return [
        Sample(i.image_id, i.path, tuple(boxes[i.image_id]), text[i.image_id], tuple(asked[i.image_id]))
        for i in images
        if i.image_id in text
    ]


def original_samples(
    images: Sequence[Image], regions: Sequence[Region], pairs: dict[str, list[tuple[str, str]]]
) -> list[Sample]:
    """Supervision by the collection itself: its own captions and question-answer pairs (OURO Table 6, "Orig.")."""
    boxes: dict[str, list[Box]] = defaultdict(list)
    asked = {image_id: tuple(Asked(q, a) for q, a in own) for image_id, own in pairs.items()}
    for r in regions:
        if r.parent_id is not None:
            boxes[r.image_id].append(r.box)
    return [
        Sample(i.image_id, i.path, tuple(boxes[i.image_id]), i.captions[0], asked.get(i.image_id, ()))
        for i in images
        if i.captions
    ]


def draw(sample: Sample, params: Train, rng: np.random.Generator, *, shown: bool = True) -> Draw:
    """k regions without replacement (none unless `shown`) and up to `questions` pairs."""
    k = min(params.k, len(sample.boxes)) if shown else 0
    regions = rng.choice(len(sample.boxes), size=k, replace=False) if k else np.array([], dtype=int)
    return Draw(tuple(int(i) for i in sorted(regions)), _diverse(sample.pairs, params.questions, rng))


def _diverse(pairs: Sequence[Asked], n: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Up to n pairs, one of each aspect before a second of any ("up to five diverse questions", section 3.2)."""
    by_aspect: dict[str, list[int]] = defaultdict(list)
    for i in rng.permutation(len(pairs)):
        by_aspect[pairs[i].aspect].append(int(i))
    ranked = [(rank, i) for members in by_aspect.values() for rank, i in enumerate(members)]
    return tuple(i for _, i in sorted(ranked, key=lambda r: r[0])[:n])


class Rows:
    """A map-style dataset of packed rows: `epochs` shuffled passes over the samples, laid end to end."""

    def __init__(self, job: Job, encoder: Encoder) -> None:
        self.samples, self.folder, self.params = job.samples, job.images, job.params
        self.prompt, self.seed, self.encoder = job.prompt, job.seed, encoder
        self.order = lru_cache(maxsize=2)(self._order)

    def __len__(self) -> int:
        return len(self.samples) * self.params.epochs

    def __getitem__(self, index: int) -> Encoded:
        epoch, at = divmod(index, len(self.samples))
        number = self.order(epoch)[at]
        sample = self.samples[number]
        rng = np.random.default_rng([self.seed, 2, epoch, number])
        return self.encode(sample, draw(sample, self.params, rng, shown=self.shows_regions(index)))

    def _order(self, epoch: int) -> list[int]:
        """A shuffled pass over the samples in which the rows of a step are of similar length.

        Samples are shuffled, runs of WINDOW steps sorted by the length of their descriptions, and the steps of a
        run shuffled again: a step pads little, and still no two passes make the same steps.
        """
        rng = np.random.default_rng([self.seed, 1, epoch])
        shuffled = [int(i) for i in rng.permutation(len(self.samples))]
        step = self.params.batch_size * self.params.processes
        whole = len(shuffled) // step * step
        out: list[int] = []
        for start in range(0, whole, WINDOW * step):
            run = sorted(shuffled[start : min(start + WINDOW * step, whole)], key=self._length)
            steps = [run[i : i + step] for i in range(0, len(run), step)]
            out += [i for k in rng.permutation(len(steps)) for i in steps[int(k)]]
        return out + shuffled[whole:]

    def _length(self, number: int) -> int:
        return len(self.samples[number].description)

    def shows_regions(self, index: int) -> bool:
        """Whether row `index` has its regions beside it: one draw a step, so that a step's rows are of one length."""
        batch = index // (self.params.batch_size * self.params.processes)
        return bool(np.random.default_rng([self.seed, 3, batch]).random() >= self.params.region_dropout)

    def encode(self, sample: Sample, chosen: Draw) -> Encoded:
        """Full image first, then its regions; the description and each question are branches of their own."""
        from PIL import Image as PILImage

        from ouro.training.packing import Branch

        enc = self.encoder
        with PILImage.open(self.folder / sample.path) as file:
            picture = file.convert("RGB")
        shown = [picture, *(crop(picture, sample.boxes[i], 0.0) for i in chosen.regions)]
        bounds = [self.params.max_pixels] + [self.params.region_max_pixels] * len(chosen.regions)
        pixels = enc.pixels(shown, bounds)
        grids = [(int(t), int(h), int(w)) for t, h, w in pixels["image_grid_thw"].tolist()]
        asked = [(self.prompt, sample.description, DESC)]
        asked += [(sample.pairs[i].question, sample.pairs[i].answer, QA) for i in chosen.pairs]
        branches = [
            Branch(enc.asked(q, len(shown)), enc.reply(a), [1.0] * len(enc.reply(a)), task) for q, a, task in asked
        ]
        return Encoded(self._laid_out(enc.prefix(grids), grids, branches), pixels)

    def _laid_out(self, prefix: list[int], grids: Sequence[Grid], branches: Sequence[Branch]) -> tuple[Row, ...]:
        """Rows as train.packing has them."""
        from ouro.training import packing

        known: dict[str, int] = {"image_token": self.encoder.image_id, "merge": self.encoder.merge}
        if self.params.packing == "separate":
            return tuple(packing.separate_rows(prefix, grids, branches, **known))
        if self.params.packing == "conversation":
            return (packing.conversation_row(prefix, grids, branches, self.encoder.between(), **known),)
        return (packing.pack_row(prefix, grids, branches, **known),)


def checkpoint_key(job: Job) -> str:
    """Content address of a training: resuming is only right for the very same one, code included."""
    code = code_fingerprint(["ouro.training.lora"], ("ouro",))
    decisive = (code, folder_fingerprint(job.base), job.params.model_dump_json(), job.prompt, job.seed)
    digest = hashlib.sha256(repr(decisive).encode())
    for sample in job.samples:
        digest.update(repr(sample).encode())
    if job.params.deepspeed:
        from ouro.training.zero import deepspeed_file

        digest.update(deepspeed_file(job.params.deepspeed).read_bytes())
    return digest.hexdigest()[:24]


def discard_checkpoints(job: Job) -> None:
    """Remove what a killed run would have continued from."""
    shutil.rmtree(job.checkpoints / checkpoint_key(job), ignore_errors=True)
