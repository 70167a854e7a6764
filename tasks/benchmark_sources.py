"""Where a benchmark's questions and pictures come from: official files, a Hugging Face data set, the collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.benchmarks.asking import largest_regions
from ouro.benchmarks.items import HELD_OUT, BenchmarkFileError, Item
from ouro.benchmarks.loaders.registry import Benchmark, benchmark, columns_of, locate
from ouro.benchmarks.pictures import FilePictures, Pictures, StoredPictures
from ouro.core.artifacts import read_all
from ouro.core.json_text import parse_json
from ouro.core.layout import PIPELINE, Layout
from ouro.core.params import Params
from ouro.core.pictures import stored_file
from ouro.core.records import Image, Region, Rejected

if TYPE_CHECKING:
    from ouro.core.records import Box

    Entry = Item | Rejected


@dataclass(frozen=True)
class Source:
    """A benchmark's questions, read anew with every call, and its pictures.

    regions: of k, the boxes of each picture's k largest sub-regions; None where they have to be proposed first
    """

    bench: Benchmark
    load: Callable[[], Iterator[Entry]]
    pictures: Pictures
    regions: Callable[[int], dict[str, list[Box]]] | None = None


def source_of(
    name: str, params: Params, data: Path | None = None, hub: str = "", hub_pictures: str = "",
    layout: Layout = PIPELINE,
) -> Source:  # fmt: skip
    """A benchmark by its name: the held-out questions of `layout`, any other as `open_source` has it.

    `data`: by default benchmark.folder. Raises BenchmarkFileError.
    """
    if name == HELD_OUT:
        return _held_out_source(layout, params)
    return open_source(
        benchmark(name), data or Path(params.benchmark.folder), params.ingest.max_pixels, hub, hub_pictures
    )


def question_files(layout: Layout) -> list[Path]:
    """The held-out questions and their answers."""
    (names,) = benchmark(HELD_OUT).files
    return [layout.annotations / name for name in names]


def held_out_count(layout: Layout) -> int:
    """How many held-out questions there are; 0 where the collection came without."""
    questions = question_files(layout)[0]
    return len(parse_json(questions.read_text(encoding="utf-8"))["questions"]) if questions.is_file() else 0


def _held_out_source(layout: Layout, params: Params) -> Source:
    """The held-out questions as params.benchmark words them, with the stored pictures and stage propose's regions."""
    if not held_out_count(layout):
        raise BenchmarkFileError(
            f"{question_files(layout)[0]}: got no questions, expected those of stage ingest; the collection came "
            "without. Fix: name other benchmarks"
        )
    b = params.benchmark
    suffix = b.suffix.replace("{", "{{").replace("}", "}}")
    bench = replace(benchmark(HELD_OUT), template="{question}" + suffix, max_new_tokens=b.max_new_tokens)
    files = {
        image.image_id: stored_file(layout.images, image)
        for image in read_all(layout.images, Image)
        if image.split == "test"
    }

    def regions(k: int) -> dict[str, list[Box]]:
        return largest_regions((r for r in read_all(layout.regions, Region) if r.image_id in files), k)

    pictures = StoredPictures(files, params.ingest.max_pixels)
    return Source(bench, partial(bench.load, question_files(layout)), pictures, regions)


def open_source(bench: Benchmark, data: Path, max_pixels: int, hub: str = "", hub_pictures: str = "") -> Source:
    """The benchmark below `data`/<name> (official files, or its Hugging Face columns), or the data set `hub`,
    NAME[:CONFIG][@SPLIT], whose pictures may stand in a second one.

    Raises BenchmarkFileError: what is missing, and where to get it.
    """
    folder = data / bench.name
    if hub:
        return _hub_source(bench, hub, hub_pictures)
    try:
        paths = locate(bench, folder)
    except BenchmarkFileError:
        if not _is_table(folder):
            raise
        return _hub_source(bench, str(folder), hub_pictures)
    load = partial(bench.load, paths)
    pictures = FilePictures(folder, max_pixels, lambda: (item.image for item in items_of(load())), bench.picture_parts)
    return Source(bench, load, pictures)


def check_benchmarks(params: Params) -> None:
    """Raise BenchmarkFileError for an unknown one of benchmark.names, or one whose files are not there."""
    for name in params.benchmark.names:
        if name != HELD_OUT:  # stage ingest brings them
            source_of(name, params)


def _is_table(folder: Path) -> bool:
    marks = ("state.json", "dataset_dict.json")
    return any((folder / mark).is_file() for mark in marks) or any(folder.rglob("*.parquet"))


def _hub_source(bench: Benchmark, hub: str, hub_pictures: str) -> Source:
    from ouro.benchmarks.loaders.hf import named, open_table

    name, config, split = named(hub)
    table = open_table(name, columns_of(bench), split, config, hub_pictures)
    return Source(bench, table.items, table)


def items_of(entries: Iterable[Entry]) -> Iterator[Item]:
    """The items, without what was rejected."""
    return (entry for entry in entries if isinstance(entry, Item))
