"""Hugging Face data sets by name: NAME[:CONFIG][@SPLIT]; and which files of a local folder are which split.

NAME is one of the hub, or a folder. A folder's splits and configs are those that `datasets` itself makes of it
(`datasets.load.LocalDatasetModuleFactory`): by the configs of its README.md, by folders and files named after a split
(`val` is validation). Beyond that, where there is no README.md: two folders of data beside each other (DocVQA/,
InfographicVQA/) are two configs, which `datasets` would pour together; and files such as testdev-00000-of-00001.parquet
are the split testdev in any folder, not in data/ alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple, cast

from ouro.core.errors import OuroError

PREFIX = "hf:"
FORM = "NAME[:CONFIG][@SPLIT]"
DATA = (".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tar")
USUAL = ("default", "data")  # of several configs, those that are meant where none is named
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?\.parquet")


class DatasetNameError(OuroError, ValueError):
    """A data set's name, config or split that is not there: what is, and how it is named."""


class DatasetName(NamedTuple):
    """The parts of NAME[:CONFIG][@SPLIT]; "" for what is not said."""

    name: str
    config: str = ""
    split: str = ""


def parse_name(text: str) -> DatasetName:
    """The parts of a name, with or without `hf:`. What exists as a path is one, whatever signs it holds.

    Raises DatasetNameError for an empty part, and for a split before the config.
    """
    whole = text.removeprefix(PREFIX)
    if whole and Path(whole).exists():
        return DatasetName(whole)
    head, at, split = whole.rpartition("@") if "@" in whole else (whole, "", "")
    if head and Path(head).exists():
        name, colon, config = head, "", ""
    else:
        name, colon, config = head.rpartition(":") if ":" in head else (head, "", "")
    if not name or (at and not split) or (colon and not config) or ":" in split.partition("[")[0]:
        raise DatasetNameError(f"data set {text!r}: expected {FORM}, such as lmms-lab/DocVQA:DocVQA@validation")
    return DatasetName(name, config, split)


def choose_split(source: str, names: list[str], split: str, usual: str) -> str:
    """A split that is there: the one that is asked for; else the usual one, else the only one.

    Raises DatasetNameError that lists those that are there.
    """
    base = split.partition("[")[0]  # train[:100]
    if base in names:
        return split
    if not split and (usual in names or len(names) == 1):
        return usual if usual in names else names[0]
    problem = f"no split {split!r}" if split else "none of its splits is named"
    raise DatasetNameError(f"data set {source}: {problem}; it has {', '.join(names)}. Fix: {FORM}")


def config_arguments(folder: str, config: str) -> dict[str, Any]:
    """What `datasets.load_dataset` has to be told beside a folder, so that only one config of it is read.

    Raises DatasetNameError that lists the configs, where it is not there, or one of several is to be named.
    """
    named = [str(config.name) for config in _configs(folder)]
    below = [] if named != ["default"] else _folders_of_data(Path(folder))
    every = below or named
    if config in every:
        return {"data_dir": config} if below else {"name": config}
    if config and config != "default":
        listed = ", ".join(every) if every != ["default"] else "none of its own"
        raise DatasetNameError(f"data set {folder}: no config {config!r}; it has {listed}. Fix: {FORM}")
    usual = next((one for one in USUAL if one in every), "")
    if len(every) > 1 and not usual:
        raise DatasetNameError(f"data set {folder}: it has the configs {', '.join(every)}: name one. Fix: {FORM}")
    return {"data_dir": usual} if below and usual else {}


def _configs(folder: str, data_dir: str | None = None) -> list[Any]:
    """The configs that `datasets` makes of a folder, with their data files; a loading script in it is not looked at."""
    from datasets.load import LocalDatasetModuleFactory

    parameters = LocalDatasetModuleFactory(folder, data_dir=data_dir).get_module().builder_configs_parameters
    configs = cast("list[Any]", parameters.builder_configs)
    return sorted(configs, key=lambda config: config.name != parameters.default_config_name)


def _folders_of_data(folder: Path) -> list[str]:
    """Folders directly below one that hold data and are not named after a split, where there are two or more."""
    from datasets.data_files import SPLIT_KEYWORDS

    splits = {word for words in SPLIT_KEYWORDS.values() for word in words}
    places = sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    names = [one.name for one in places if one.name.lower() not in splits and _holds_data(one)]
    return names if len(names) > 1 else []


def _holds_data(folder: Path) -> bool:
    return any(path.suffix in DATA for path in folder.rglob("*"))


def parquet_splits(folder: str, config: str) -> dict[str, list[str]]:
    """The parquet files of each split of a folder.

    Raises DatasetNameError as `config_arguments`, and for a folder of anything but parquet; whatever `datasets` raises
    for a folder without data.
    """
    from datasets.data_files import DataFilesPatternsDict

    arguments = config_arguments(folder, config)
    configs = _configs(folder, arguments.get("data_dir"))
    chosen = next(one for one in configs if one.name == arguments.get("name", configs[0].name))
    files_of = chosen.data_files
    if isinstance(files_of, DataFilesPatternsDict):  # of README.md
        files_of = files_of.resolve(folder)
    by_split = {str(split): list(map(str, files)) for split, files in files_of.items()}
    others = [file for files in by_split.values() for file in files if not file.endswith(".parquet")]
    if others:
        raise DatasetNameError(f"data set {folder}: holds {others[0]}, expected parquet files")
    return _sharded(by_split["train"]) or by_split if list(by_split) == ["train"] else by_split


def _sharded(files: list[str]) -> dict[str, list[str]]:
    """Files by the split that their names say; {} where one says none."""
    by_split: dict[str, list[str]] = {}
    for file in files:
        match = _SHARD.fullmatch(Path(file).name)
        if not match:
            return {}
        by_split.setdefault(match[1], []).append(file)
    return by_split
