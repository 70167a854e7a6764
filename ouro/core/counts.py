"""Records in, out and rejected of a stage: the sum of its sidecars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import NamedTuple

from ouro.core.artifacts import Sidecar, list_shards, read_sidecar
from ouro.core.layout import Layout


class StageCount(NamedTuple):
    """Records of a stage: n_in == n_out + the sum over `rejected` (reason -> count)."""

    stage: str
    n_in: int = 0
    n_out: int = 0
    rejected: Mapping[str, int] = {}

    def plus(self, other: Sidecar | StageCount) -> StageCount:
        """With the counts of one more shard."""
        rejected = Counter(self.rejected)
        rejected.update(other.rejected)
        return StageCount(self.stage, self.n_in + other.n_in, self.n_out + other.n_out, dict(rejected))


def count_records(stage: str, sidecars: Iterable[Sidecar]) -> StageCount:
    """The sum over shards."""
    return reduce(StageCount.plus, sidecars, StageCount(stage))


def count_stages(layout: Layout) -> list[StageCount]:
    """In the order of the stages; those that have not run are left out. Raises ArtifactError."""
    return [
        count_records(stage, map(read_sidecar, list_shards(folder)))
        for stage, folder in layout.stages().items()
        if folder.is_dir()
    ]
