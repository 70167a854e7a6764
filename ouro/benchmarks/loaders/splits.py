"""One split of a Hugging Face data set, from a folder or from the hub. Its code is never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ouro.benchmarks.items import BenchmarkFileError


def open_split(source: str, split: str, config: str) -> Any:
    """The rows of a split: of a folder that `Dataset.save_to_disk` wrote, of parquet files, or of a name on the hub.

    Raises BenchmarkFileError for what cannot be opened.
    """
    import datasets

    path = Path(source)
    try:
        if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
            dataset: Any = datasets.load_from_disk(source)
            return dataset[split] if hasattr(dataset, "keys") else dataset
        if path.exists():
            return datasets.load_dataset("parquet", data_files={split: _parquet(path, split)}, split=split)
        return datasets.load_dataset(source, config or None, split=split)
    except BenchmarkFileError:
        raise
    except Exception as error:  # the library raises its own, the hub's, pyarrow's and the network's
        raise BenchmarkFileError(
            f"data set {source}, split {split}: {type(error).__name__}: {str(error)[:300]}; expected a folder of "
            "parquet files, one that Dataset.save_to_disk wrote, or a name of the hub, which needs a network"
        ) from error


def _parquet(path: Path, split: str) -> list[str]:
    """The parquet files of a split: those that are named after it, else all."""
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    if not files:
        raise BenchmarkFileError(f"{path}: no parquet files, expected *.parquet; download the data set's files")
    return [str(file) for file in [f for f in files if f.name.startswith(split)] or files]
