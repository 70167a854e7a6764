"""Where a run keeps what. Knows nothing of Prefect, so that the command line can use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ouro.core.artifacts import list_shards
from ouro.core.stages import SHARD_STAGES
from ouro.core.state import CHECKOUT, State, state_of


@dataclass(frozen=True)
class Layout:
    """Where a run keeps what: `data/` for the DVC pipeline, any folder for `ouro annotate`."""

    root: Path
    cache: Path

    @property
    def state(self) -> State:
        """What is kept beside the cache."""
        return State(self.cache.parent)

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def annotations(self) -> Path:
        return self.root / "annotations"

    @property
    def regions(self) -> Path:
        return self.root / "regions"

    @property
    def descriptions(self) -> Path:
        return self.root / "descriptions"

    @property
    def scenes(self) -> Path:
        return self.root / "scenes"

    @property
    def qa(self) -> Path:
        return self.root / "qa"

    @property
    def scores(self) -> Path:
        return self.root / "scores"

    @property
    def corrections(self) -> Path:
        """What people corrected (ouro.core.corrections): a layer over regions and scenes, which stay as they are."""
        return self.root / "corrections"

    def stages(self) -> dict[str, Path]:
        """Stage -> the folder of its shards, in the order of the stages."""
        return {stage.name: self.root / stage.folder for stage in SHARD_STAGES}


PIPELINE = Layout(Path("data"), CHECKOUT.cache)
ADAPTER = Path("models/adapter")


def layout_of(folder: Path) -> Layout:
    """Where `ouro annotate --out FOLDER` keeps what."""
    return Layout(folder, state_of(folder).cache)


def shard_names(folder: Path) -> list[str]:
    """The file names of a folder's shards: the units of work of the next stage."""
    return [p.name for p in list_shards(folder)]
