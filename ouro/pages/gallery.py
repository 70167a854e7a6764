"""The gallery: a folder of pages over a whole dataset, opened as a file, without a server and without a network.

index.html holds the program of the page; what it shows lies in data/*.js, small files that are loaded when they
are looked at (a page opened as a file may not fetch, but may load scripts):

    data/manifest.js       counts, notes, what can be filtered by
    data/page-00000.js     PAGE images of the overview: thumbnail, first words, facets for the filters
    data/images-00000.js   up to CHUNK images with everything: regions, text, pairs, decisions, rejected
    data/rejected-00000.js ROWS images that were rejected as a whole
    pictures/              copies of the pictures, so that the gallery can be moved and handed on
    statistics.html, .json ouro.pages.statistics

Hostile text is met three times: JSON in these files is ASCII without < > &, the program writes text with
textContent alone, and the Content-Security-Policy of the page forbids inline scripts and every network.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from ouro.core.artifacts import write_json
from ouro.pages.gallery_data import (
    GalleryError,
    ImageRecords,
    ShardRecords,
    aspects_meta,
    check_dataset,
    missing_stages,
    read_dataset_shard,
    stage_counts,
)
from ouro.pages.gallery_pictures import Copies, copy_pictures
from ouro.pages.gallery_view import image_view
from ouro.pages.measure import Collector, written_by_aspect

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from ouro.core.layout import Layout
    from ouro.core.records import Rejected
    from ouro.pages.statistics import CaptionLength, Statistics

PAGE, CHUNK, ROWS = 60, 20, 200
CHUNK_BYTES = 262_144  # a file of images is closed when it has grown beyond this
TEASER = 180  # characters
SIGN = "data/manifest.js"  # a folder with this file is a gallery
ASSETS = ("gallery.css", "gallery.js", "view.js")
_DAY = 86_400.0  # seconds
_SCRIPT_SAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


class Gallery(NamedTuple):
    """What was written. `unreadable`: pictures without a copy."""

    path: Path
    images: int
    pages: int
    rejected: int
    unreadable: int
    notes: list[str]
    statistics: Statistics


def write_gallery(
    layout: Layout,
    out: Path,
    *,
    title: str,
    round_: str,
    earlier: Sequence[CaptionLength] = (),
    progress: Callable[[int], None] = lambda n: None,
) -> Gallery:
    """Write the gallery of a dataset to `out`, whole or not at all; an older gallery is replaced.

    `round_` labels this dataset in the statistics, `earlier` are the caption lengths of other rounds. Same dataset,
    same bytes. Raises GalleryError (no dataset; `out` holds something else) or ArtifactError (damaged).
    """
    shards = check_dataset(layout)
    check_target(out)
    with replacing(out.resolve()) as folder:
        build = _Build(folder, round_)
        for shard in shards:
            build.shard(layout, shard.name, progress)
        gallery = build.close(title, missing_stages(layout), earlier)
    return gallery._replace(path=out / "index.html")


def check_target(out: Path) -> None:
    """Raise GalleryError when `out` is neither new, nor empty, nor a gallery."""
    if not out.exists() or (out / SIGN).is_file():
        return
    if not out.is_dir() or any(out.iterdir()):
        raise GalleryError(f"{out}: holds something that is no gallery; expected a new folder: choose another --out")


@contextmanager
def replacing(out: Path) -> Generator[Path]:
    """A new folder beside `out` that takes its place at the end; on an error it is removed and `out` is as it was."""
    out.parent.mkdir(parents=True, exist_ok=True)
    _sweep(out)
    folder = out.with_name(f".{out.name}-{uuid.uuid4().hex}.new")
    old = folder.with_suffix(".old")
    folder.mkdir()
    try:
        yield folder
        if out.exists():
            os.rename(out, old)
        try:
            os.rename(folder, out)
        except OSError:
            if old.exists():
                os.rename(old, out)
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _sweep(out: Path) -> None:
    """Remove what runs that were killed more than a day ago left beside `out`."""
    for leftover in (*out.parent.glob(f".{out.name}-*.new"), *out.parent.glob(f".{out.name}-*.old")):
        if time.time() - leftover.stat().st_mtime > _DAY:
            shutil.rmtree(leftover, ignore_errors=True)


# ---- data files --------------------------------------------------------------------------------------------


def script(kind: str, number: int, value: Any) -> bytes:
    """A data file: a call of the page's one function with JSON that is ASCII and holds no < > &."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":")).translate(_SCRIPT_SAFE)
    return f'ouro("{kind}",{number},{text});\n'.encode("ascii")


class _Files:
    """Numbered data files of one kind, each closed after `rows` rows or `CHUNK_BYTES` bytes."""

    def __init__(self, folder: Path, kind: str, rows: int, *, by_bytes: bool = False) -> None:
        self.folder, self.kind, self.rows, self.by_bytes = folder, kind, rows, by_bytes
        self.n_files = self.n_rows = 0
        self._open: list[Any] = []
        self._size = 0

    def add(self, row: Any) -> tuple[int, int]:
        """Add one row; returns the number of its file and its position there."""
        place = self.n_files, len(self._open)
        self._open.append(row)
        self.n_rows += 1
        self._size += len(json.dumps(row)) if self.by_bytes else 0
        if len(self._open) == self.rows or self._size > CHUNK_BYTES:
            self.close()
        return place

    def close(self) -> None:
        """Write the open rows as a file."""
        if self._open:
            path = self.folder / "data" / f"{self.kind}-{self.n_files:05d}.js"
            path.write_bytes(script(self.kind, self.n_files, self._open))
            self.n_files += 1
            self._open, self._size = [], 0


class _Build:
    """Builds one gallery shard by shard; holds counts of the images, not the images."""

    def __init__(self, folder: Path, round_: str) -> None:
        (folder / "data").mkdir()
        self.folder = folder
        self.pages = _Files(folder, "page", PAGE)
        self.images = _Files(folder, "images", CHUNK, by_bytes=True)
        self.rejected = _Files(folder, "rejected", ROWS)
        self.collector = Collector(round_)
        self.unreadable = self.n_stray = 0
        self.whole: Counter[str] = Counter()

    def shard(self, layout: Layout, name: str, progress: Callable[[int], None]) -> None:
        """Add one shard of all stages."""
        shard = read_dataset_shard(layout, name)
        first = self.pages.n_rows
        images = [r.image for r in shard.images]
        for number, copies in enumerate(copy_pictures(images, layout.images, self.folder, first)):
            self._image(shard.images[number], copies)
            progress(1)
        self._counts(layout, name, shard)
        numbers = {r.image.image_id: first + k for k, r in enumerate(shard.images)}
        for record in shard.whole:
            self.whole[_reason(record)] += 1
            self.rejected.add(
                {
                    "stage": record.stage, "name": record.record_id, "reason": record.reason,
                    "detail": record.detail, "image": numbers.get(record.record_id, -1),
                }
            )  # fmt: skip

    def _counts(self, layout: Layout, name: str, shard: ShardRecords) -> None:
        for count in stage_counts(layout, name):
            self.collector.stage(count)
        meta = aspects_meta(layout, name)
        self.collector.aspects(written_by_aspect(meta, shard.pairs, shard.dropped_pairs))
        self.n_stray += shard.n_stray

    def _image(self, records: ImageRecords, copies: Copies) -> None:
        self.collector.image(records.image, records.regions, records.descriptions, records.scene, records.pairs)
        self.unreadable += bool(copies.problem)
        view = image_view(records)
        chunk, at = self.images.add({**view, "picture": copies.display, "problem": copies.problem})
        parts = [r for r in records.regions if r.parent_id is not None]
        self.pages.add(
            {
                "chunk": chunk, "at": at, "thumb": copies.thumb, "name": view["name"], "teaser": _teaser(records),
                "regions": len(parts), "pairs": len(records.pairs),
                "facets": [list(f) for f in sorted({(str(r.level), r.source, r.kind) for r in parts})],
                "reasons": sorted({_reason(r) for r in records.rejected}),
            }
        )  # fmt: skip

    def close(self, title: str, notes: list[str], earlier: Sequence[CaptionLength]) -> Gallery:
        """Write the rest: the last data files, the manifest, statistics, the pages and their assets."""
        for data_files in (self.pages, self.images, self.rejected):
            data_files.close()
        statistics = self.collector.result()
        if self.unreadable:
            notes = [*notes, f"{self.unreadable} pictures could not be read again and are not shown."]
        if self.n_stray:
            notes = [*notes, f"{self.n_stray} records belong to no image of their shard and are not shown."]
        (self.folder / SIGN).write_bytes(script("manifest", 0, self._manifest(title, notes, statistics)))
        write_json(self.folder / "statistics.json", statistics.to_json())
        self._write_pages(title, notes, statistics, earlier)
        return Gallery(
            self.folder, self.pages.n_rows, self.pages.n_files, self.rejected.n_rows, self.unreadable, notes, statistics
        )

    def _manifest(self, title: str, notes: list[str], statistics: Statistics) -> dict[str, Any]:
        facets = {by: [[r.value, r.n] for r in statistics.regions if r.by == by] for by in ("level", "source", "kind")}
        reasons = [
            [f"{s.stage}: {reason}", n] for s in statistics.stages if s.stage != "ingest" for reason, n in s.rejected
        ]
        return {
            "title": title, "notes": notes, "images": self.pages.n_rows, "page": PAGE, "pages": self.pages.n_files,
            "chunks": self.images.n_files, "rejected": self.rejected.n_rows, "rejected_files": self.rejected.n_files,
            "facets": {**facets, "reason": reasons}, "whole": sorted(map(list, self.whole.items())),
        }  # fmt: skip

    def _write_pages(
        self, title: str, notes: list[str], statistics: Statistics, earlier: Sequence[CaptionLength]
    ) -> None:
        (self.folder / "assets").mkdir()
        for name in ASSETS:
            (self.folder / "assets" / name).write_text(_source(name), "utf-8")
        values = {"title": title, "notes": notes, "s": statistics, "captions": [*earlier, *statistics.captions]}
        for name, page in (("gallery.html", "index.html"), ("statistics.html", "statistics.html")):
            (self.folder / page).write_bytes(_render(name, values).encode("utf-8", "replace"))


def _reason(record: Rejected) -> str:
    return f"{record.stage}: {record.reason}"


def _teaser(records: ImageRecords) -> str:
    """The first words about an image: merged, or of the whole image, or of its captions."""
    root = next((r.region_id for r in records.regions if r.parent_id is None), "")
    description = next((d.text for d in records.descriptions if d.region_id == root), "")
    texts = (records.scene.text if records.scene else "", description, *records.image.captions)
    return next((t for t in texts if t), "")[:TEASER]


def _source(name: str) -> str:
    return files("ouro.pages").joinpath("templates", f"{name}.j2").read_text(encoding="utf-8")


def _render(name: str, values: dict[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    env = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    env.filters["number"] = number
    return env.from_string(_source(name)).render(values)


def number(value: float) -> str:
    """1234.5 -> "1,234.5", 20 -> "20": one decimal where there is one."""
    return f"{value:,.1f}".removesuffix(".0")
