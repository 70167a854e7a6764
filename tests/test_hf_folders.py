"""Splits and configs of data sets in folders: as `datasets` has them, and never two poured together."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image as PILImage

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.hf import open_table
from ouro.benchmarks.loaders.registry import benchmark, columns_of
from ouro.ingest.hf_dataset import DatasetError, OpenDataset, open_dataset
from tasks import benchmark_sources

README = """---
configs:
- config_name: DocVQA
  data_files:
  - split: validation
    path: DocVQA/validation-*
  - split: test
    path: DocVQA/test-*
- config_name: InfographicVQA
  data_files:
  - split: validation
    path: InfographicVQA/validation-*
---
Two data sets.
"""


def picture(color: str = "red") -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", (30, 30), color).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder: Path, files: Mapping[str, str], readme: str = "") -> str:
    """DocVQA's rows: path of a parquet file -> the id of its only question."""
    import datasets

    folder.mkdir(parents=True, exist_ok=True)
    for path, name in files.items():
        row = {"questionId": [name], "question": ["What?"], "answers": [["x"]], "question_types": [["form"]]}
        dataset = datasets.Dataset.from_dict({**row, "image": [{"bytes": picture(), "path": None}]})
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        dataset.cast_column("image", datasets.Image()).to_parquet(str(folder / path))
    if readme:
        (folder / "README.md").write_text(readme)
    return str(folder)


def ids(text: str) -> list[str]:
    """Of the questions that --hub docvqa=TEXT asks."""
    source = benchmark_sources.open_source(benchmark("docvqa"), Path("nowhere"), 10**8, text)
    return [one.item_id for one in source.load() if isinstance(one, Item)]


CONVERTED = {"default/train/0000.parquet": "t", "default/validation/0000.parquet": "v"}
NAMED = {"train-00000-of-00001.parquet": "t", "val-00000-of-00001.parquet": "v"}
IN_DATA = {"data/val-00000-of-00001.parquet": "v", "data/testA-00000-of-00001.parquet": "a"}
OTHER = {"testdev-00000-of-00001.parquet": "d"}
CONFIGS = {
    "DocVQA/validation-00000-of-00001.parquet": "v", "DocVQA/test-00000-of-00001.parquet": "t",
    "InfographicVQA/validation-00000-of-00001.parquet": "i",
}  # fmt: skip
SPLIT_FOLDERS = {"train/a.parquet": "t", "validation/a.parquet": "v"}


@pytest.mark.parametrize(
    ("files", "readme", "tail", "expected"),
    [
        (CONVERTED, "", "@validation", ["v"]),
        (CONVERTED, "", "@train", ["t"]),
        (NAMED, "", "@validation", ["v"]),
        (SPLIT_FOLDERS, "", "@validation", ["v"]),
        (IN_DATA, "", "@val", ["v"]),
        (IN_DATA, "", "@testA", ["a"]),
        (OTHER, "", "@testdev", ["d"]),
        (OTHER, "", "", ["d"]),
        (CONFIGS, README, ":DocVQA@validation", ["v"]),
        (CONFIGS, README, ":InfographicVQA@validation", ["i"]),
        (CONFIGS, README, ":InfographicVQA", ["i"]),
        (CONFIGS, "", ":DocVQA@validation", ["v"]),
        (CONFIGS, "", ":InfographicVQA", ["i"]),
        (CONFIGS, "", ":DocVQA", ["t"]),
        ({**CONVERTED, "other/validation/0000.parquet": "o"}, "", "@validation", ["v"]),
        ({"rows.parquet": "r"}, "", "", ["r"]),
        (NAMED, "", "@validation[:1]", ["v"]),
    ],
)
def test_one_split_of_one_config_is_read(
    tmp_path: Path, files: dict[str, str], readme: str, tail: str, expected: list[str]
) -> None:
    folder = write(tmp_path / "rows", files, readme)
    assert ids(folder + tail) == expected


@pytest.mark.parametrize(
    ("files", "readme", "tail", "message"),
    [
        (CONVERTED, "", "@val", r"no split 'val'; it has train, validation"),
        (CONVERTED, "", "@test", r"no split 'test'; it has train, validation"),
        (CONVERTED, "", "", r"none of its splits is named; it has train, validation"),
        (NAMED, "", "@dev", r"no split 'dev'; it has train, validation"),
        (IN_DATA, "", "@validation", r"no split 'validation'; it has testA, val"),
        (CONFIGS, README, "@validation", r"the configs DocVQA, InfographicVQA: name one"),
        (CONFIGS, "", "@validation", r"the configs DocVQA, InfographicVQA: name one"),
        (CONFIGS, README, ":DocVQB@validation", r"no config 'DocVQB'; it has DocVQA, InfographicVQA"),
        (CONFIGS, "", ":DocVQB", r"no config 'DocVQB'; it has DocVQA, InfographicVQA"),
        (NAMED, "", ":DocVQA@train", r"no config 'DocVQA'; it has none of its own"),
        (CONFIGS, README, ":InfographicVQA@test", r"no split 'test'; it has validation"),
    ],
)
def test_a_split_or_config_that_is_not_there_is_an_error_that_lists_those_that_are(
    tmp_path: Path, files: dict[str, str], readme: str, tail: str, message: str
) -> None:
    folder = write(tmp_path / "rows", files, readme)
    with pytest.raises(BenchmarkFileError, match=message):
        ids(folder + tail)


def test_a_file_is_the_split_that_its_name_says(tmp_path: Path) -> None:
    folder = write(tmp_path / "rows", NAMED)
    file = f"{folder}/val-00000-of-00001.parquet"
    assert ids(file) == ids(f"{file}@validation") == ["v"]
    with pytest.raises(BenchmarkFileError, match="no split 'train'; it has validation"):
        ids(f"{file}@train")


def test_the_split_of_a_saved_data_set_is_honoured_or_refused(tmp_path: Path) -> None:
    import datasets

    rows = write(tmp_path / "rows", NAMED)
    loaded = datasets.load_dataset(rows)
    assert isinstance(loaded, datasets.DatasetDict)
    loaded.save_to_disk(str(tmp_path / "both"))
    loaded["validation"].save_to_disk(str(tmp_path / "one"))
    assert ids(f"{tmp_path}/both@validation") == ids(f"{tmp_path}/one@validation") == ids(f"{tmp_path}/one") == ["v"]
    for text, message in (("both@val", "it has train, validation"), ("one@train", "it was saved as validation")):
        with pytest.raises(BenchmarkFileError, match=message):
            ids(f"{tmp_path}/{text}")


def test_the_pictures_of_gqa_are_a_table_of_their_own(tmp_path: Path) -> None:
    """As the hub has them: two configs of one data set, both with the split testdev."""
    import datasets

    folder = tmp_path / "GQA"
    places = {part: folder / f"testdev_balanced_{part}/testdev-00000-of-00001.parquet" for part in ("rows", "images")}
    for place in places.values():
        place.parent.mkdir(parents=True)
    row = {"id": ["1"], "imageId": ["n7"], "question": ["Red?"], "answer": ["yes"], "types": [{"structural": "verify"}]}
    datasets.Dataset.from_dict(row).to_parquet(str(places["rows"]))
    images = {"id": ["n7", "n8", "n8"], "image": [{"bytes": picture(), "path": None}] * 3}
    pictures = datasets.Dataset.from_dict(images).cast_column("image", datasets.Image())
    pictures.to_parquet(str(places["images"]))
    hub = (f"{folder}:testdev_balanced_rows@testdev", f"{folder}:testdev_balanced_images")
    source = benchmark_sources.open_source(benchmark("gqa"), tmp_path, 10**8, *hub)
    (item,) = [one for one in source.load() if isinstance(one, Item)]
    assert source.pictures.open(item.image).getpixel((0, 0)) == (255, 0, 0)
    assert [bool(source.pictures.digest(name)) for name in ("n7", "n8", "n9")] == [True, False, False]
    assert source.pictures.absence("n8").reason == "ambiguous_image", "two pictures of one id"
    assert source.pictures.absence("n9").reason == "missing_image"


def test_the_columns_are_those_of_the_config(tmp_path: Path) -> None:
    folder = write(tmp_path / "rows", CONFIGS, README)
    table = open_table(folder, columns_of(benchmark("docvqa")), "validation", "InfographicVQA")
    assert table.rows["questionId"] == ["i"]


@pytest.mark.parametrize("readme", [README, ""])
def test_a_collection_takes_a_config_too(tmp_path: Path, readme: str) -> None:
    """`ouro annotate hf:FOLDER:CONFIG@SPLIT`."""
    folder = write(tmp_path / "rows", CONFIGS, readme)

    def first(opened: OpenDataset) -> str:
        return next(iter(opened.rows))["questionId"]

    tails = (":DocVQA@validation", ":DocVQA@test", ":InfographicVQA@validation")
    assert [first(open_dataset(f"hf:{folder}{tail}", "image", "questionId")) for tail in tails] == [
        "v", "t", "i",
    ]  # fmt: skip
    with pytest.raises(DatasetError, match="the configs DocVQA, InfographicVQA: name one"):
        open_dataset(f"hf:{folder}@validation", "image")
