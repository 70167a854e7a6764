"""The task of stage ingest looks before it reads: what lies there by the same collection, code and params stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from ouro.core.layout import Layout
from ouro.core.params import Params
from tasks.ingest import ingest

SMALL = {"train_images": 3, "test_images": 2, "shard_images": 2}


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    return Layout(tmp_path / "data", tmp_path / ".ouro/cache")


def params(**knobs: object) -> Params:
    return Params.model_validate({"ingest": {**SMALL, **knobs}})


def contents(layout: Layout) -> dict[str, bytes]:
    return {str(p.relative_to(layout.root)): p.read_bytes() for p in layout.root.rglob("*") if p.is_file()}


def times(layout: Layout) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in layout.images.rglob("*") if p.is_file()}


def test_a_repeat_reads_nothing_and_brings_removed_annotations_back(layout: Layout) -> None:
    """DVC keeps data/images and removes data/annotations before it runs the stage."""
    ingest.fn(layout, params())
    before, written = contents(layout), times(layout)
    for path in layout.annotations.iterdir():
        path.unlink()
    seen: list[int] = []
    shards = ingest.fn(layout, params(), seen.append)
    assert (contents(layout), times(layout), seen) == (before, written, [5])
    assert [p.name for p in shards] == [f"shard-{n:05d}.parquet" for n in range(3)]


@pytest.mark.parametrize("damage", ["image", "shard", "cut", "note"])
def test_what_is_missing_or_other_is_made_again(layout: Layout, damage: str) -> None:
    ingest.fn(layout, params())
    before, written = contents(layout), times(layout)
    image = next(layout.images.rglob("*.png"))
    if damage == "image":
        image.unlink()
    elif damage == "shard":
        (layout.images / "shard-00001.json").unlink()
    elif damage == "cut":
        image.write_bytes(image.read_bytes()[:-1])
    else:
        (layout.cache.parent / "ingest.json").unlink()
    ingest.fn(layout, params())
    assert contents(layout) == before
    assert times(layout) != written


def test_other_params_and_a_new_file_are_read(layout: Layout, tmp_path: Path) -> None:
    first = len(ingest.fn(layout, params()))
    assert len(ingest.fn(layout, params(train_images=8))) == first + 2  # 10 images, 2 a shard
    photos = tmp_path / "photos"
    photos.mkdir()
    images = sorted(layout.images.rglob("*.png"))
    (photos / "a.png").write_bytes(images[0].read_bytes())
    (photos / "b.png").write_bytes(images[1].read_bytes())
    assert len(ingest.fn(layout, params(source=str(photos)))) == 1
    (photos / "c.png").write_bytes((layout.images / "shard-00000").joinpath(images[0].name).read_bytes())
    written = times(layout)
    ingest.fn(layout, params(source=str(photos)))
    assert times(layout) != written  # read again; c.png is a duplicate
    assert len(list(layout.images.rglob("*.png"))) == 2
