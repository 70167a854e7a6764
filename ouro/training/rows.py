"""The dataset of training rows: the regions and questions drawn from each sample in each epoch, cropped and packed.

Every draw (which regions, which questions, whether regions are shown) depends on (seed, epoch, sample) alone, so that a
resumed run continues with the same rows as an uninterrupted one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ouro.core.crops import crop
from ouro.core.files import remedy
from ouro.core.pictures import stored_path
from ouro.training.job import TrainingError, TrainingJob
from ouro.training.samples import Sample
from ouro.training.selection import Selection, draw_selection, question_coverage
from ouro.training.store import read_lengths

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image as PILImage

    from ouro.training.packing import Grid, PackedBranch, PackedRow
    from ouro.vision.encoding import Encoder

DESC, QA = 0, 1
WINDOW = 8  # steps; rows are sorted by length within so many
GROUP = 4096  # draws in one row group of the Parquet file


class EncodedImage(NamedTuple):
    """An image's packed rows (several with train.packing "separate", else one) and the model inputs of its pictures."""

    rows: tuple[PackedRow, ...]
    pixels: dict[str, Any]
    image_id: str


class RowDataset:
    """A map-style dataset of packed rows: `epochs` shuffled passes over the samples, one after the other."""

    def __init__(self, job: TrainingJob, encoder: Encoder) -> None:
        self.samples, self.folder, self.params = job.samples, job.images, job.params
        self.prompt, self.seed, self.encoder = job.prompt, job.seed, encoder
        self.order = lru_cache(maxsize=2)(self._order)

    def __len__(self) -> int:
        return len(self.samples) * self.params.epochs

    def __getitem__(self, index: int) -> EncodedImage:
        return self.encode(*self.drawn(index))

    def drawn(self, index: int) -> tuple[Sample, Selection]:
        """The sample of row `index`, and the regions and questions drawn from it."""
        epoch, position = divmod(index, len(self.samples))
        number = int(self.order(epoch)[position])
        sample = self.samples[number]
        rng = np.random.default_rng([self.seed, 2, epoch, number])
        return sample, draw_selection(sample, self.params, rng, with_regions=self.shows_regions(index))

    def _order(self, epoch: int) -> NDArray[np.int32]:
        """A shuffled pass over the samples in which the rows of a step have similar lengths.

        Samples are shuffled; each run of WINDOW steps is sorted by the length of its descriptions; then the steps of
        the run are shuffled. So processes wait little for each other, and no two passes have the same steps.
        """
        rng = np.random.default_rng([self.seed, 1, epoch])
        shuffled = rng.permutation(len(self.samples)).astype(np.int32)
        lengths = read_lengths(self.samples)
        step = self.params.batch_size * self.params.processes
        full_length = len(shuffled) // step * step
        for start in range(0, full_length, WINDOW * step):
            run = shuffled[start : min(start + WINDOW * step, full_length)]
            steps = run[np.argsort(lengths[run], kind="stable")].reshape(-1, step)
            shuffled[start : start + len(run)] = steps[rng.permutation(len(steps))].reshape(-1)
        return shuffled

    def shows_regions(self, index: int) -> bool:
        """Whether row `index` includes regions: one draw per step, so that a step's rows have similar lengths."""
        batch = index // (self.params.batch_size * self.params.processes)
        return bool(np.random.default_rng([self.seed, 3, batch]).random() >= self.params.region_dropout)

    def encode(self, sample: Sample, selection: Selection) -> EncodedImage:
        """Encode a sample: the full image first, then its regions; the description and each question are branches."""
        from ouro.training.packing import PackedBranch

        enc = self.encoder
        picture = _read_picture(stored_path(self.folder, sample.image_id, sample.path), sample.image_id)
        images = [picture, *(crop(picture, sample.parts[i].box, 0.0) for i in selection.regions)]
        bounds = [self.params.max_pixels] + [self.params.region_max_pixels] * len(selection.regions)
        pixels = enc.pixels(images, bounds)
        grids = [(int(t), int(h), int(w)) for t, h, w in pixels["image_grid_thw"].tolist()]
        exchanges = [(self.prompt, sample.description, DESC)]
        exchanges += [(sample.pairs[i].question, sample.pairs[i].answer, QA) for i in selection.pairs]
        branches = [
            PackedBranch(enc.prompt(q, len(images)), enc.reply(a), [1.0] * len(enc.reply(a)), task)
            for q, a, task in exchanges
        ]
        return EncodedImage(self._pack(enc.prefix(grids), grids, branches), pixels, sample.image_id)

    def _pack(
        self, prefix: list[int], grids: Sequence[Grid], branches: Sequence[PackedBranch]
    ) -> tuple[PackedRow, ...]:
        """Rows in the form of train.packing."""
        from ouro.training import packing

        options: dict[str, int] = {"image_token": self.encoder.image_id, "merge": self.encoder.merge}
        if self.params.packing == "separate":
            return tuple(packing.separate_rows(prefix, grids, branches, **options))
        if self.params.packing == "conversation":
            return (packing.conversation_row(prefix, grids, branches, self.encoder.between(), **options),)
        return (packing.pack_row(prefix, grids, branches, **options),)


def _read_picture(path: Path, image_id: str) -> PILImage.Image:
    """An RGB picture. Raises TrainingError for a file that is missing or cannot be decoded any more."""
    from PIL import Image as PILImage

    try:
        with PILImage.open(path) as file:
            return file.convert("RGB")
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"image {image_id}: {path} cannot be read ({error}); it was there when training began. Fix: "
            f"{remedy(path, 'ingest')}"
        ) from error


def write_draws(job: TrainingJob, path: Path) -> dict[str, float]:
    """Write the draw of every sample in every epoch (Parquet: epoch, image_id, region_ids, questions), without
    training: a draw depends on the seed, the epoch and the sample alone.

    Returns values for the tracker: regions per row, their share by level, and their mean `coverage` of questions.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema(
        [("epoch", pa.int32()), ("image_id", pa.string()), ("region_ids", pa.list_(pa.string())),
         ("questions", pa.list_(pa.int32()))]
    )  # fmt: skip
    statistics = _DrawStatistics()
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for group in _group_draws(_iterate_draws(job, statistics)):
            file.write_table(pa.Table.from_pylist(group, schema=schema))
    return statistics.summary()


class _DrawStatistics:
    """Running totals over all draws."""

    def __init__(self) -> None:
        self.rows, self.with_regions, self.covered = 0, 0, 0.0
        self.levels: Counter[int] = Counter()

    def add(self, sample: Sample, selection: Selection) -> None:
        self.rows += 1
        if selection.regions:
            self.with_regions += 1
            self.covered += question_coverage(sample, selection)
            self.levels.update(sample.parts[i].level for i in selection.regions)

    def summary(self) -> dict[str, float]:
        regions = self.levels.total()
        shares = {f"draws.level_{level}": n / regions for level, n in sorted(self.levels.items())}
        return {
            "draws.regions": regions / max(1, self.rows),
            "draws.coverage": self.covered / max(1, self.with_regions),
            **shares,
        }


def _iterate_draws(job: TrainingJob, statistics: _DrawStatistics) -> Iterator[dict[str, Any]]:
    rows = RowDataset(job, None)  # type: ignore[arg-type]  # nothing is encoded
    for index in range(len(rows)):
        sample, selection = rows.drawn(index)
        statistics.add(sample, selection)
        yield {
            "epoch": index // len(job.samples), "image_id": sample.image_id,
            "region_ids": [sample.parts[i].region_id for i in selection.regions], "questions": list(selection.pairs),
        }  # fmt: skip


def _group_draws(items: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for item in items:
        group.append(item)
        if len(group) == GROUP:
            yield group
            group = []
    if group:
        yield group
