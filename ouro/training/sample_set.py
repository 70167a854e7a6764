"""All training samples of what a run has annotated, made shard by shard into one file, with an account of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.core.artifacts import ArtifactError, read_shard, write_json
from ouro.core.control_tokens import tokens_meta
from ouro.core.corrections import (
    DESCRIPTION,
    CorrectedRecords,
    apply_corrections,
    count_corrections,
    read_corrections,
    to_json,
)
from ouro.core.layout import Layout, shard_names
from ouro.core.records import Image, QAPair, Region, Rejected, Scene, regions_of, training_images
from ouro.training.admission import filter_samples, read_context_length
from ouro.training.job import NO_SAMPLES, TrainingError
from ouro.training.samples import Originals, Sample, SampleSet, count_tokens, make_samples
from ouro.training.store import SampleFile, store_samples

if TYPE_CHECKING:
    from ouro.core.params import Train


def keep_sample_set(
    layout: Layout, params: Train, base: str | Path, prompt: str, originals: Originals, folder: Path
) -> SampleFile:
    """The training samples of `layout` as one file in `folder`, beside it the account as JSON: counts and reasons.

    `base`: the model whose context they must fit into; `prompt`: what asks for a description; `originals`: the
    collection's own pairs. Raises TrainingError when no sample is left, or for a base that cannot be trained so.
    """
    from ouro.vision.encoding import Encoder
    from ouro.vision.folders import load_processor

    context = read_context_length(base, params)
    encoder = Encoder(load_processor(base), params.min_pixels)
    account = Account()

    def shards() -> Iterator[list[Sample]]:
        for images, sample_set, records in _make_shards(layout, params.supervision, originals):
            account.corrected.append(records._replace(regions=[], scenes=[]))
            fit = filter_samples(sample_set.samples, layout.images, encoder, params, prompt, context)
            account.add(images, [*sample_set.rejected, *fit.rejected], len(fit.samples), fit.removals)
            account.n_tokens += sum(map(count_tokens, fit.samples))
            yield fit.samples

    file = store_samples(folder, shards())
    write_json(account_of(file), account.to_json())
    if not len(file):
        raise TrainingError(
            f"{NO_SAMPLES}: {account.n_in} images in, rejected {account.reasons()}. Fix: for supervision ours look at "
            f"the .rejected.parquet in {layout.scenes}; for orig the collection must have captions"
        )
    return file


def account_of(samples: SampleFile) -> Path:
    """The JSON beside a sample file: what became samples, and why the rest did not."""
    return samples.path.with_suffix(".json")


@dataclass
class Account:
    """Images that became samples, and those that did not: in = out + rejected; control tokens broken in their texts.
    `corrected`: by people, a shard each."""

    n_in: int = 0
    n_out: int = 0
    rejected: list[Rejected] = field(default_factory=list[Rejected])
    removals: Counter[str] = field(default_factory=Counter[str])
    n_tokens: int = 0
    corrected: list[CorrectedRecords] = field(default_factory=list[CorrectedRecords])

    def add(self, n_in: int, rejected: list[Rejected], n_out: int, removals: Counter[str]) -> None:
        """Count one shard. Raises ArtifactError when an image has disappeared."""
        if n_in != n_out + len(rejected):
            raise ArtifactError(f"train: {n_in} images in, but {n_out} samples + {len(rejected)} rejected")
        self.n_in, self.n_out = self.n_in + n_in, self.n_out + n_out
        self.rejected += rejected
        self.removals += removals

    def reasons(self) -> dict[str, int]:
        return dict(sorted(Counter(r.reason for r in self.rejected).items()))

    def to_json(self) -> dict[str, Any]:
        records = [[r.record_id, r.reason, r.detail] for r in self.rejected]
        counts = {"n_in": self.n_in, "n_out": self.n_out, "rejected": self.reasons(), "given_up": dict(self.removals)}
        return {
            **counts,
            **to_json(count_corrections(self.corrected)),
            **tokens_meta(self.n_tokens),
            "records": records,
        }


def _make_shards(
    layout: Layout, supervision: str, originals: Originals
) -> Iterator[tuple[int, SampleSet, CorrectedRecords]]:
    """For every shard its number of training images, their samples, and what people corrected in them."""
    corrections = read_corrections(layout)
    if supervision == "orig":  # nothing that was described is read
        corrections = [c for c in corrections if c.field != DESCRIPTION]
    for name in shard_names(layout.images):
        images = training_images(read_shard(layout.images / name, Image))
        regions = regions_of(images, read_shard(layout.regions / name, Region))
        scenes = read_shard(layout.scenes / name, Scene) if supervision != "orig" else []
        pairs = read_shard(layout.qa / name, QAPair) if supervision != "orig" else []
        records = apply_corrections(corrections, regions, scenes)
        samples = make_samples(supervision, images, records.regions, records.scenes, pairs, originals)
        yield len(images), samples, records
