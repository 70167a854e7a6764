"""A folder of four shards of one described image each, as stage describe leaves it."""

from __future__ import annotations

from pathlib import Path

from ouro.core.artifacts import write_shard
from ouro.core.layout import Layout
from ouro.core.records import Description, Image, Region

NAMES = [f"shard-{n:05d}.parquet" for n in range(4)]


def described(root: Path) -> Layout:
    """Four shards of one described image each: a table that holds a star."""
    layout = Layout(root, root / ".ouro/cache")
    for number, name in enumerate(NAMES):
        image_id = f"{number:016x}"
        regions = [
            Region(f"{image_id}/0", image_id, None, 0, (0.0, 0.0, 64.0, 64.0), 1.0, "image"),
            Region(f"{image_id}/0.0", image_id, f"{image_id}/0", 1, (4.0, 4.0, 40.0, 40.0), 0.9, "rpn"),
        ]
        texts = ["a scene with a table.", "a table with a star."]
        descriptions = [Description(r.region_id, image_id, t, "test") for r, t in zip(regions, texts, strict=True)]
        write_shard(layout.images / name, Image, [Image(image_id, f"{image_id}.png", 64, 64, f"{number}.png")], n_in=1)
        write_shard(layout.regions / name, Region, regions, n_in=2)
        write_shard(layout.descriptions / name, Description, descriptions, n_in=2)
    return layout
