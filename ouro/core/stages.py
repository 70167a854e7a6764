"""The stages that write shards, in their order: each one's folder below the root of a run, and its kind of record."""

from __future__ import annotations

from typing import Any, NamedTuple

from ouro.core.records import Description, Image, QAPair, Region, Scene


class ShardStage(NamedTuple):
    """A stage of the method whose output is shards of one kind of record."""

    name: str
    folder: str
    kind: type[Any]


SHARD_STAGES = (
    ShardStage("ingest", "images", Image),
    ShardStage("propose", "regions", Region),
    ShardStage("describe", "descriptions", Description),
    ShardStage("merge", "scenes", Scene),
    ShardStage("synthesize", "qa", QAPair),
)
