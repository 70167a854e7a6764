"""Training samples built by hand, a job on them, and the rows that worker processes make of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from PIL import Image as PILImage
from tiny_models import tiny_processor

from ouro.core.params import Train
from ouro.training.job import TrainingJob
from ouro.training.rows import RowDataset
from ouro.training.samples import QuestionAnswer, Sample, SampleRegion
from ouro.training.store import write_samples
from ouro.vision.encoding import Encoder

BASE = Path(__file__).resolve().parents[2] / "models" / "nano"


def sample(n_parts: int = 8, n_pairs: int = 9, name: str = "i", description: str = "a table") -> Sample:
    """Parts 40 px high and ever wider, at depths 1 to 3; pairs of two aspects in turn."""
    parts = tuple(
        SampleRegion(f"{name}/0.{n}", (0.0, 0.0, 40.0 + n, 40.0), 1 + n % 3, f"a thing{n}") for n in range(n_parts)
    )
    pairs = tuple(QuestionAnswer(f"q{n}?", "yes", "ab"[n % 2]) for n in range(n_pairs))
    return Sample(name, f"{name}.png", (64, 64), parts, description, pairs)


def job(samples: Any, folder: Path = Path(), **knobs: Any) -> TrainingJob:
    """A job on `samples`, whose images lie in `folder`: one process, two epochs in steps of two images."""
    defaults: dict[str, Any] = {"processes": 1, "batch_size": 2, "region_dropout": 0.0, "epochs": 2, **knobs}
    params = Train(**defaults)
    return TrainingJob(samples, folder, BASE, folder / "out", params, "describe.", 0, folder / "checkpoints")


def rows_of_workers(folder: Path) -> None:
    """Assert that two worker processes make the rows that this one makes."""
    import torch
    from torch.utils.data import DataLoader

    for i in range(4):
        PILImage.new("RGB", (64, 64), (60 * i, 0, 0)).save(folder / f"{i}.png")
    file = write_samples(folder / "a.arrow", [[sample(name=str(i)) for i in range(4)]])
    rows = RowDataset(job(file, folder), Encoder(tiny_processor("Qwen2VL")))
    here = [rows[i] for i in range(len(rows))]
    there = list(DataLoader(rows, batch_size=None, num_workers=2))  # type: ignore[arg-type]
    for a, b in zip(here, there, strict=True):
        assert a.image_id == b.image_id and torch.equal(a.rows[0].ids, b.rows[0].ids)
        assert torch.equal(a.pixels["pixel_values"], b.pixels["pixel_values"])


if __name__ == "__main__":  # workers are forked: in a process of its own, where no thread of a server is at work
    rows_of_workers(Path(sys.argv[1]))
