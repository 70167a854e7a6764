"""Hugging Face datasets as collections: `hf:NAME[:CONFIG][@SPLIT]`, or a folder that `Dataset.save_to_disk` wrote.

Rows are read one after the other; a dataset of the hub is streamed. Pictures are read as encoded bytes, or as files of
the data set (ouro/ingest/loose_files.py), and decoded by ouro.core.images like any file, with its limits. Dataset
scripts are not run (the library no longer supports them).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ouro.core.hf_folders import PREFIX, DatasetNameError, choose_split, config_arguments, parse_name
from ouro.core.hub import explain_hub
from ouro.ingest.collection import DatasetRow
from ouro.ingest.hf_columns import (
    ALL,
    DatasetError,
    ImageColumn,
    cells,
    check_image_column,
    check_paths,
    keep_encoded,
    other_image_columns,
    parse_column,
)
from ouro.ingest.loose_files import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

FORM = "hf:NAME[:CONFIG][@SPLIT]"


class OpenDataset(NamedTuple):
    """One split with undecoded images. `unused`: the columns of images that are not taken."""

    rows: Any
    column: ImageColumn
    caption_column: str
    origin: Origin
    unused: list[str]


def is_dataset(source: str) -> bool:
    """Whether a source names a Hugging Face dataset."""
    return source.startswith(PREFIX) or _is_saved(Path(source))


def _is_saved(folder: Path) -> bool:
    saved = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return saved or (folder / "dataset_dict.json").is_file()


def open_dataset(source: str, image_column: str, caption_column: str = "") -> OpenDataset:
    """The dataset with undecoded images. Raises DatasetError: not found, no such split or column, no images."""
    try:
        name, config, split = parse_name(source)
        dataset = _load(source, name, config)
        rows = _select_split(dataset, name, split)
    except DatasetNameError as error:
        raise DatasetError(str(error)) from error
    except Exception as error:  # the library raises its own, the hub's and the network's
        raise DatasetError(
            f"dataset {source}: {explain_hub(error)}; expected {FORM} of the "
            "hub (which needs a network) or a folder that Dataset.save_to_disk wrote"
        ) from error
    origin = Origin(name, Path(name).absolute() if Path(name).is_dir() else None)
    return _choose_columns(rows, source, origin, image_column, caption_column)


def _load(source: str, name: str, config: str) -> Any:
    import datasets

    if not (Path(name).is_dir() and _is_saved(Path(name))):
        is_folder = Path(name).is_dir()
        arguments: dict[str, Any] = config_arguments(name, config) if is_folder else {"name": config or None}
        return datasets.load_dataset(name, **arguments, streaming=True)
    if config:
        raise DatasetNameError(f"dataset {source}: no config {config!r}; a saved one has none")
    return datasets.load_from_disk(name)


def _select_split(dataset: Any, name: str, split: str) -> Any:
    """Raises DatasetNameError for a split that is not there, with those that are."""
    if hasattr(dataset, "keys"):
        names = [str(one) for one in dataset]
        chosen = choose_split(name, names, split, "train")
        if chosen not in names:  # a slice
            raise DatasetNameError(f"data set {name}: no split {split!r}; it has {', '.join(names)}. Fix: {FORM}")
        return dataset[chosen]
    saved_as = str(dataset.split or "")
    if split and split != saved_as:
        as_what = f"it was saved as {saved_as}" if saved_as else "it was saved without a split"
        raise DatasetNameError(f"data set {name}: no split {split!r}; {as_what}. Fix: leave @{split} out")
    return dataset


def _choose_columns(rows: Any, source: str, origin: Origin, image_column: str, caption_column: str) -> OpenDataset:
    columns = rows.features or {}
    column = parse_column(image_column, columns)
    check_image_column(source, columns, column)
    if caption_column and caption_column not in columns:
        listed = ", ".join(columns)
        raise DatasetError(
            f"dataset {source}: no column {caption_column!r}; it has {listed}; set ingest.caption_column"
        )
    if caption_column and not _holds_texts(columns[caption_column]):
        raise DatasetError(
            f"dataset {source}: column {caption_column!r} holds {columns[caption_column]}, expected texts or lists of "
            "texts; set ingest.caption_column"
        )
    encoded = keep_encoded(rows, columns, column, caption_column)
    check_paths(encoded, source, columns, column, origin)
    return OpenDataset(encoded, column, caption_column, origin, other_image_columns(columns, column))


def _holds_texts(feature: Any) -> bool:
    inner = getattr(feature, "feature", feature)
    return getattr(inner, "dtype", "") in ("string", "large_string")


def count_rows(dataset: OpenDataset) -> int:
    """The number of images; 0 where it is not known beforehand."""
    rows = dataset.rows
    if dataset.column.place == ALL:
        return 0
    if hasattr(rows, "__len__"):
        return len(rows)
    splits = rows.info.splits or {}
    return splits[rows.split].num_examples if rows.split in splits else 0


def iterate_rows(dataset: OpenDataset) -> Iterator[DatasetRow]:
    """The rows in order, named "row 000000", or "row 000000[0]" for one of a list; captions are a text or a list."""
    for number, row in enumerate(dataset.rows):
        captions: Any = row[dataset.caption_column] if dataset.caption_column else ()
        listed: Iterable[str] = [captions] if isinstance(captions, str) else list(captions or ())
        texts = tuple(text for text in listed if text and text.strip())
        for place, data, path in cells(row[dataset.column.name], dataset.column):
            yield DatasetRow(f"row {number:06d}{place}", data, texts, path=path, origin=dataset.origin)


def column_notes(dataset: OpenDataset) -> list[str]:
    """What is to be said of the columns that are not taken."""
    if not dataset.unused:
        return []
    listed = ", ".join(dataset.unused)
    return [f"images are taken from the column {dataset.column.name}; others hold images, too: {listed} "
            "(ingest.image_column)"]  # fmt: skip
