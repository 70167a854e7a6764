"""One split of a Hugging Face data set, from a folder or from the hub. Its code is never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ouro.benchmarks.items import BenchmarkFileError
from ouro.core.hf_folders import DatasetNameError, choose_split, parquet_splits
from ouro.core.hub import explain_hub

USUAL = "test"  # the split that is read where none is named


def open_split(source: str, split: str = "", config: str = "") -> Any:
    """The rows of a split: of a folder that `Dataset.save_to_disk` wrote, of parquet files, or of a name on the hub.

    Without a split: test, or the only one that is there. Raises BenchmarkFileError for what cannot be opened, and that
    lists the splits or configs for one that is not there.
    """
    path = Path(source)
    try:
        if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
            return _saved(source, split, config)
        if path.is_dir():
            return _parquet(source, parquet_splits(source, config), split)
        if path.is_file():
            return _file(path, split, config)
        return _of_hub(source, split, config)
    except DatasetNameError as error:
        raise BenchmarkFileError(str(error)) from error
    except Exception as error:  # the library raises its own, the hub's, pyarrow's and the network's
        said = f"{type(error).__name__}: {str(error)[:300]}" if path.exists() else explain_hub(error)
        raise BenchmarkFileError(
            f"data set {source}, split {split or USUAL}: {said}; expected a folder "
            "of parquet files, one that Dataset.save_to_disk wrote, or a name of the hub, which needs a network"
        ) from error


def _saved(source: str, split: str, config: str) -> Any:
    import datasets

    _refuse_config(source, config)
    dataset: Any = datasets.load_from_disk(source)
    if hasattr(dataset, "keys"):
        return dataset[choose_split(source, list(dataset.keys()), split, USUAL)]
    if split and split != str(dataset.split or ""):
        raise DatasetNameError(
            f"data set {source}: no split {split!r}; it was saved as {dataset.split or 'one without a name'}. Fix: "
            "leave @SPLIT out"
        )
    return dataset


def _file(path: Path, split: str, config: str) -> Any:
    """A parquet file is the split that its folder has it in; one that is asked for must be that."""
    _refuse_config(str(path), config)
    if not split:
        return _parquet(str(path), {USUAL: [str(path)]}, "")
    by_split = parquet_splits(str(path.parent), "")
    own = [name for name, files in by_split.items() if str(path.resolve()) in {str(Path(f).resolve()) for f in files}]
    return _parquet(str(path), {name: [str(path)] for name in own}, split)


def _parquet(source: str, by_split: dict[str, list[str]], split: str) -> Any:
    """Only the files of the split are read."""
    import datasets

    chosen = choose_split(source, list(by_split), split, USUAL)
    base = chosen.partition("[")[0]
    return datasets.load_dataset("parquet", data_files={base: by_split[base]}, split=chosen)


def _of_hub(source: str, split: str, config: str) -> Any:
    import datasets

    if split:
        return datasets.load_dataset(source, config or None, split=split)  # its errors list configs and splits
    loaded: Any = datasets.load_dataset(source, config or None)
    return loaded[choose_split(source, list(loaded), "", USUAL)]


def _refuse_config(source: str, config: str) -> None:
    if config:
        raise DatasetNameError(f"data set {source}: no config {config!r}; it has none. Fix: leave :{config} out")


def check_columns(source: str, rows: Any, needed: tuple[str, ...]) -> None:
    """Raises BenchmarkFileError where a column is missing."""
    missing = [name for name in needed if name not in rows.column_names]
    if missing:
        raise BenchmarkFileError(
            f"data set {source}: no column {', '.join(missing)}; it has {', '.join(rows.column_names)}; is it another "
            "benchmark's, or a copy with other names? Rename its columns"
        )


def keep_encoded(rows: Any, column: str) -> Any:
    """Pictures as the bytes that the data set holds."""
    import datasets

    pictures = rows.select_columns([n for n in ("id", column) if n in rows.column_names])
    if isinstance(rows.features[column], datasets.Image):
        return pictures.cast_column(column, datasets.Image(decode=False))
    return pictures
