"""The rows that training sees: what each epoch draws of each sample, read, cropped and packed.

Every draw (which regions, which questions, whether regions are shown) comes from (seed, epoch, sample), so that an
interrupted run continues with the very rows it would have seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ouro.core.crops import crop
from ouro.training.job import Job, TrainingError
from ouro.training.samples import Sample
from ouro.training.selection import Draw, coverage, draw
from ouro.training.store import lengths_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image as PILImage

    from ouro.training.packing import Branch, Grid, Row
    from ouro.vision.encoding import Encoder

DESC, QA = 0, 1
WINDOW = 8  # steps whose rows are sorted by length together
GROUP = 4096  # draws in one row group of a record


class Encoded(NamedTuple):
    """An image's rows, one unless its branches stand apart, and the model inputs of its pictures."""

    rows: tuple[Row, ...]
    pixels: dict[str, Any]
    image_id: str


class Rows:
    """A map-style dataset of packed rows: `epochs` shuffled passes over the samples, laid end to end."""

    def __init__(self, job: Job, encoder: Encoder) -> None:
        self.samples, self.folder, self.params = job.samples, job.images, job.params
        self.prompt, self.seed, self.encoder = job.prompt, job.seed, encoder
        self.order = lru_cache(maxsize=2)(self._order)

    def __len__(self) -> int:
        return len(self.samples) * self.params.epochs

    def __getitem__(self, index: int) -> Encoded:
        return self.encode(*self.drawn(index))

    def drawn(self, index: int) -> tuple[Sample, Draw]:
        """Which sample row `index` shows, and what of it."""
        epoch, at = divmod(index, len(self.samples))
        number = int(self.order(epoch)[at])
        sample = self.samples[number]
        rng = np.random.default_rng([self.seed, 2, epoch, number])
        return sample, draw(sample, self.params, rng, shown=self.shows_regions(index))

    def _order(self, epoch: int) -> NDArray[np.int32]:
        """A shuffled pass over the samples in which the rows of a step are of similar length.

        Samples are shuffled, runs of WINDOW steps sorted by the length of their descriptions, and the steps of a
        run shuffled again: processes wait little for each other, and still no two passes make the same steps.
        """
        rng = np.random.default_rng([self.seed, 1, epoch])
        shuffled = rng.permutation(len(self.samples)).astype(np.int32)
        lengths = lengths_of(self.samples)
        step = self.params.batch_size * self.params.processes
        whole = len(shuffled) // step * step
        for start in range(0, whole, WINDOW * step):
            run = shuffled[start : min(start + WINDOW * step, whole)]
            steps = run[np.argsort(lengths[run], kind="stable")].reshape(-1, step)
            shuffled[start : start + len(run)] = steps[rng.permutation(len(steps))].reshape(-1)
        return shuffled

    def shows_regions(self, index: int) -> bool:
        """Whether row `index` has its regions beside it: one draw a step, so that a step's rows are of one length."""
        batch = index // (self.params.batch_size * self.params.processes)
        return bool(np.random.default_rng([self.seed, 3, batch]).random() >= self.params.region_dropout)

    def encode(self, sample: Sample, chosen: Draw) -> Encoded:
        """Full image first, then its regions; the description and each question are branches of their own."""
        from ouro.training.packing import Branch

        enc = self.encoder
        picture = _picture(self.folder / sample.path, sample.image_id)
        shown = [picture, *(crop(picture, sample.parts[i].box, 0.0) for i in chosen.regions)]
        bounds = [self.params.max_pixels] + [self.params.region_max_pixels] * len(chosen.regions)
        pixels = enc.pixels(shown, bounds)
        grids = [(int(t), int(h), int(w)) for t, h, w in pixels["image_grid_thw"].tolist()]
        asked = [(self.prompt, sample.description, DESC)]
        asked += [(sample.pairs[i].question, sample.pairs[i].answer, QA) for i in chosen.pairs]
        branches = [
            Branch(enc.asked(q, len(shown)), enc.reply(a), [1.0] * len(enc.reply(a)), task) for q, a, task in asked
        ]
        return Encoded(self._laid_out(enc.prefix(grids), grids, branches), pixels, sample.image_id)

    def _laid_out(self, prefix: list[int], grids: Sequence[Grid], branches: Sequence[Branch]) -> tuple[Row, ...]:
        """Rows as train.packing has them."""
        from ouro.training import packing

        known: dict[str, int] = {"image_token": self.encoder.image_id, "merge": self.encoder.merge}
        if self.params.packing == "separate":
            return tuple(packing.separate_rows(prefix, grids, branches, **known))
        if self.params.packing == "conversation":
            return (packing.conversation_row(prefix, grids, branches, self.encoder.between(), **known),)
        return (packing.pack_row(prefix, grids, branches, **known),)


def _picture(path: Path, image_id: str) -> PILImage.Image:
    """Raises TrainingError for a file that is gone or no picture any more."""
    from PIL import Image as PILImage

    try:
        with PILImage.open(path) as file:
            return file.convert("RGB")
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"image {image_id}: {path} cannot be read ({error}); it was there when training began. Fix: "
            "`dvc checkout`, or run `ouro bootstrap` again"
        ) from error


def record_draws(job: Job, path: Path) -> dict[str, float]:
    """Write what every epoch shows of every sample (Parquet: epoch, image_id, region_ids, questions), without
    training: a draw depends on nothing but the seed, the epoch and the sample.

    Returns for the tracker: regions a row, their share by level, and the mean `coverage` of questions by them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema(
        [("epoch", pa.int32()), ("image_id", pa.string()), ("region_ids", pa.list_(pa.string())),
         ("questions", pa.list_(pa.int32()))]
    )  # fmt: skip
    seen = _Seen()
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for group in _groups(_draws(job, seen)):
            file.write_table(pa.Table.from_pylist(group, schema=schema))
    return seen.summary()


class _Seen:
    """Running totals over draws."""

    def __init__(self) -> None:
        self.rows, self.with_regions, self.covered = 0, 0, 0.0
        self.levels: Counter[int] = Counter()

    def add(self, sample: Sample, chosen: Draw) -> None:
        self.rows += 1
        if chosen.regions:
            self.with_regions += 1
            self.covered += coverage(sample, chosen)
            self.levels.update(sample.parts[i].level for i in chosen.regions)

    def summary(self) -> dict[str, float]:
        regions = self.levels.total()
        shares = {f"draws.level_{level}": n / regions for level, n in sorted(self.levels.items())}
        return {
            "draws.regions": regions / max(1, self.rows),
            "draws.coverage": self.covered / max(1, self.with_regions),
            **shares,
        }


def _draws(job: Job, seen: _Seen) -> Iterator[dict[str, Any]]:
    rows = Rows(job, None)  # type: ignore[arg-type]  # nothing is encoded
    for index in range(len(rows)):
        sample, chosen = rows.drawn(index)
        seen.add(sample, chosen)
        yield {
            "epoch": index // len(job.samples), "image_id": sample.image_id,
            "region_ids": [sample.parts[i].region_id for i in chosen.regions], "questions": list(chosen.pairs),
        }  # fmt: skip


def _groups(items: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for item in items:
        group.append(item)
        if len(group) == GROUP:
            yield group
            group = []
    if group:
        yield group
