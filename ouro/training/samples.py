"""Training samples: the full image plus k random sub-regions, its description and up to n questions.

OURO section 3.2. Every draw (which regions, which questions, whether regions are shown) comes from
(seed, epoch, image), so that an interrupted run continues with the very rows it would have seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ouro.annotate.describe import crop
from ouro.params import Train
from ouro.records import Box, Image, QAPair, Region, Scene

if TYPE_CHECKING:
    from ouro.training.packing import Row
    from ouro.vision.encoding import Encoder

DESC, QA = 0, 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its supervision; `boxes` are its sub-regions (pixels), `pairs` (question, answer)."""

    image_id: str
    path: str
    boxes: tuple[Box, ...]
    description: str
    pairs: tuple[tuple[str, str], ...]


class Draw(NamedTuple):
    """What one epoch shows of a sample: indices into its boxes and its pairs."""

    regions: tuple[int, ...]
    pairs: tuple[int, ...]


class Encoded(NamedTuple):
    """A packed row and its images' model inputs."""

    row: Row
    pixels: dict[str, Any]


def our_samples(
    images: Sequence[Image], regions: Sequence[Region], scenes: Sequence[Scene], pairs: Sequence[QAPair]
) -> list[Sample]:
    """Supervision by Ouro's annotations: merged description and synthesized pairs."""
    boxes: dict[str, list[Box]] = defaultdict(list)
    asked: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for r in regions:
        if r.parent_id is not None:
            boxes[r.image_id].append(r.box)
    for p in pairs:
        asked[p.image_id].append((p.question, p.answer))
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
    for r in regions:
        if r.parent_id is not None:
            boxes[r.image_id].append(r.box)
    return [
        Sample(i.image_id, i.path, tuple(boxes[i.image_id]), i.captions[0], tuple(pairs.get(i.image_id, [])))
        for i in images
        if i.captions
    ]


def draw(sample: Sample, params: Train, rng: np.random.Generator) -> Draw:
    """k regions without replacement (none with probability region_dropout) and up to `questions` pairs."""
    shown = rng.random() >= params.region_dropout
    k = min(params.k, len(sample.boxes)) if shown else 0
    n = min(params.questions, len(sample.pairs))
    regions = rng.choice(len(sample.boxes), size=k, replace=False) if k else np.array([], dtype=int)
    pairs = rng.choice(len(sample.pairs), size=n, replace=False) if n else np.array([], dtype=int)
    return Draw(tuple(int(i) for i in sorted(regions)), tuple(int(i) for i in pairs))


class Rows:
    """A map-style dataset of packed rows: `epochs` shuffled passes over the samples, laid end to end."""

    def __init__(
        self, samples: Sequence[Sample], folder: Path, encoder: Encoder, params: Train, prompt: str, seed: int
    ) -> None:
        self.samples, self.folder, self.encoder, self.params = samples, folder, encoder, params
        self.prompt, self.seed = prompt, seed

    def __len__(self) -> int:
        return len(self.samples) * self.params.epochs

    def __getitem__(self, index: int) -> Encoded:
        epoch, at = divmod(index, len(self.samples))
        order = np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.samples))
        number = int(order[at])
        sample = self.samples[number]
        chosen = draw(sample, self.params, np.random.default_rng([self.seed, 2, epoch, number]))
        return self.encode(sample, chosen)

    def encode(self, sample: Sample, chosen: Draw) -> Encoded:
        """Full image first, then its regions; the description and each question are branches of their own."""
        from PIL import Image as PILImage

        from ouro.training.packing import Branch, pack_row

        enc = self.encoder
        with PILImage.open(self.folder / sample.path) as file:
            picture = file.convert("RGB")
        shown = [picture, *(crop(picture, sample.boxes[i], 0.0) for i in chosen.regions)]
        bounds = [self.params.max_pixels] + [self.params.region_max_pixels] * len(chosen.regions)
        pixels = enc.pixels(shown, bounds)
        grids = [(int(t), int(h), int(w)) for t, h, w in pixels["image_grid_thw"].tolist()]
        asked = [(self.prompt, sample.description, DESC)]
        asked += [(*sample.pairs[i], QA) for i in chosen.pairs]
        branches = [
            Branch(enc.asked(q, len(shown)), enc.reply(a), [1.0] * len(enc.reply(a)), task) for q, a, task in asked
        ]
        row = pack_row(enc.prefix(grids), grids, branches, image_token=enc.image_id, merge=enc.merge)
        return Encoded(row, pixels)
