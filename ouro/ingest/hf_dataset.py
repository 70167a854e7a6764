"""Hugging Face datasets as collections: `hf:NAME[:CONFIG][@SPLIT]`, or a folder that `Dataset.save_to_disk` wrote.

Rows are read one after the other; a dataset of the hub is streamed. Pictures are read as encoded bytes and decoded by
ouro.core.images like any file, with its limits. A row that only names a file is rejected, since that path could point
anywhere. Dataset scripts are not run (the library no longer supports them).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.core.errors import OuroError
from ouro.core.hf_folders import PREFIX, DatasetNameError, config_arguments, parse_name
from ouro.core.hub import explain_hub
from ouro.ingest.collection import DatasetRow

if TYPE_CHECKING:
    from collections.abc import Iterator


class DatasetError(OuroError, ValueError):
    """A Hugging Face dataset that cannot be used, with what to do about it."""


def is_dataset(source: str) -> bool:
    """Whether a source names a Hugging Face dataset."""
    folder = Path(source)
    saved = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return source.startswith(PREFIX) or saved or (folder / "dataset_dict.json").is_file()


def open_dataset(source: str, image_column: str, caption_column: str = "") -> Any:
    """The dataset with undecoded images. Raises DatasetError: not found, no such split or column, no images."""
    import datasets

    try:
        name, config, split = parse_name(source)
        saved = Path(name).is_dir() and is_dataset(name)
        if saved and config:
            raise DatasetNameError(f"dataset {source}: no config {config!r}; a saved one has none")
        dataset: Any = (
            datasets.load_from_disk(name)
            if saved
            else datasets.load_dataset(name, **_config(name, config), streaming=True)
        )
    except DatasetNameError as error:
        raise DatasetError(str(error)) from error
    except Exception as error:  # the library raises its own, the hub's and the network's
        raise DatasetError(
            f"dataset {source}: {explain_hub(error)}; expected hf:NAME[:CONFIG][@SPLIT] of the "
            "hub (which needs a network) or a folder that Dataset.save_to_disk wrote"
        ) from error
    split_rows = _select_split(dataset, source, split)
    return _disable_decoding(split_rows, source, image_column, caption_column)


def _config(name: str, config: str) -> dict[str, Any]:
    """Of a folder or of the hub."""
    return config_arguments(name, config) if Path(name).is_dir() else {"name": config or None}


def _select_split(dataset: Any, source: str, split: str) -> Any:
    if not hasattr(dataset, "keys"):
        return dataset
    names = list(dataset.keys())
    split_name = split or ("train" if "train" in names else names[0])
    if split_name not in names:
        raise DatasetError(f"dataset {source}: no split {split_name!r}; it has {', '.join(names)}")
    return dataset[split_name]


def _disable_decoding(dataset: Any, source: str, image_column: str, caption_column: str) -> Any:
    import datasets

    columns = dataset.features or {}
    for column, knob in ((image_column, "ingest.image_column"), (caption_column, "ingest.caption_column")):
        if column and column not in columns:
            raise DatasetError(f"dataset {source}: no column {column!r}; it has {', '.join(columns)}; set {knob}")
    if not isinstance(columns[image_column], datasets.Image):
        raise DatasetError(
            f"dataset {source}: column {image_column!r} holds {columns[image_column]}, expected images; set "
            "ingest.image_column"
        )
    if caption_column and not _holds_texts(columns[caption_column]):
        raise DatasetError(
            f"dataset {source}: column {caption_column!r} holds {columns[caption_column]}, expected texts or lists of "
            "texts; set ingest.caption_column"
        )
    return dataset.cast_column(image_column, datasets.Image(decode=False))


def _holds_texts(feature: Any) -> bool:
    inner = getattr(feature, "feature", feature)
    return getattr(inner, "dtype", "") in ("string", "large_string")


def count_rows(dataset: Any) -> int:
    """The number of rows; 0 where the hub does not give it."""
    if hasattr(dataset, "__len__"):
        return len(dataset)
    splits = dataset.info.splits or {}
    return splits[dataset.split].num_examples if dataset.split in splits else 0


def iterate_rows(dataset: Any, image_column: str, caption_column: str = "") -> Iterator[DatasetRow]:
    """The rows in order, named "row 000000", ...; captions are a text or a list of texts."""
    for number, row in enumerate(dataset):
        picture = row[image_column] or {}
        captions: Any = row[caption_column] if caption_column else ()
        texts: list[str] = [captions] if isinstance(captions, str) else list(captions or ())
        yield DatasetRow(f"row {number:06d}", picture.get("bytes"), tuple(t for t in texts if t and t.strip()))
