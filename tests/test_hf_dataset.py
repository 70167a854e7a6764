"""Hugging Face datasets as collections: real datasets, written by the library, read back through ingest."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from ouro.core.artifacts import read_all, read_sidecar
from ouro.core.images import decode_image
from ouro.core.layout import Layout
from ouro.core.params import Params, load_params
from ouro.core.records import Image
from ouro.ingest.hf_dataset import DatasetError, count_rows, is_dataset, open_dataset
from ouro.ingest.sources import source_notes
from tasks.ingest import check_source, expected, ingest


def _png(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    PILImage.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _save(folder: Path, pictures: Sequence[Mapping[str, Any] | None], captions: list[Any]) -> Path:
    import datasets

    features = datasets.Features({"image": datasets.Image(), "caption": _caption_type(captions)})
    dataset = datasets.Dataset.from_dict({"image": pictures, "caption": captions}, features=features)
    dataset.save_to_disk(str(folder))
    return folder


def _caption_type(captions: list[Any]) -> Any:
    import datasets

    return datasets.Value("string") if isinstance(captions[0], str) else datasets.List(datasets.Value("string"))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    pictures = [{"bytes": _png(n), "path": None} for n in range(5)]
    return _save(tmp_path / "photos", pictures, [f"photo {n}" for n in range(5)])


def _params(source: Path | str, *sets: str) -> Params:
    params = load_params(overrides=sets)
    return params.model_copy(update={"ingest": params.ingest.model_copy(update={"source": str(source)})})


def test_a_saved_dataset_becomes_image_records_with_its_captions(saved: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "out", tmp_path / "cache")
    params = _params(saved, "ingest.caption_column=caption")
    assert expected(params) == 5
    ingest.fn(layout, params)
    images = read_all(layout.images, Image)
    assert [(i.source, i.captions, i.width, i.height) for i in images] == [
        (f"row {n:06d}", (f"photo {n}",), 30, 20) for n in range(5)
    ]


def test_limit_takes_the_first_rows(saved: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "out", tmp_path / "cache")
    params = _params(saved, "ingest.limit=2")
    assert expected(params) == 2
    ingest.fn(layout, params)
    assert [i.source for i in read_all(layout.images, Image)] == ["row 000000", "row 000001"]


def test_rows_without_a_picture_are_rejected_and_counted(tmp_path: Path) -> None:
    pictures = [{"bytes": _png(0), "path": None}, None, {"bytes": b"no picture", "path": None}]
    folder = _save(tmp_path / "photos", pictures, [["a", "b"], [], ["c"]])
    layout = Layout(tmp_path / "out", tmp_path / "cache")
    shards = ingest.fn(layout, _params(folder, "ingest.caption_column=caption"))
    assert [i.captions for i in read_all(layout.images, Image)] == [("a", "b")]
    assert read_sidecar(shards[0]).rejected == {"not_an_image": 1, "unreadable": 1}


# ---- loose files -----------------------------------------------------------------------------------


def _write(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(_png(number))
    return folder


def _parquet(file: Path, pictures: list[Any], feature: Any) -> None:
    import datasets
    import pyarrow.parquet

    rows = datasets.Dataset.from_dict({"image": pictures}, features=datasets.Features({"image": feature}))
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(rows.data.table, file)  # as it is: `to_parquet` puts the files' bytes in


def _lines(file: Path, rows: list[Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(map(json.dumps, rows)))


def _image_folder(folder: Path) -> str:
    return f"hf:{_write(folder, 'cat/0.png', 'dog/1.png')}"


def _metadata(folder: Path) -> str:
    _write(folder, "photos/0.png", "photos/1.png")
    _lines(folder / "metadata.jsonl", [{"file_name": f"photos/{n}.png", "text": "a"} for n in range(2)])
    return f"hf:{folder}"


def _archive(folder: Path) -> str:
    folder.mkdir()
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for n in range(2):
            archive.writestr(f"a/{n}.png", _png(n))
    return f"hf:{folder}"


def _paths_in_lines(folder: Path) -> str:
    _write(folder, "photos/0.png", "photos/1.png")
    _lines(folder / "train.jsonl", [{"image": f"photos/{n}.png"} for n in range(2)])
    return f"hf:{folder}"


def _structs_in_lines(folder: Path) -> str:
    _write(folder, "photos/0.png", "photos/1.png")
    _lines(folder / "train.jsonl", [{"image": {"path": f"photos/{n}.png", "bytes": None}} for n in range(2)])
    return f"hf:{folder}"


def _paths_in_parquet(folder: Path) -> str:
    """Beside the data file, which lies in a folder of its own."""
    import datasets

    _write(folder, "data/photos/0.png", "data/photos/1.png")
    pictures = [{"bytes": None, "path": f"photos/{n}.png"} for n in range(2)]
    _parquet(folder / "data/train-00000-of-00001.parquet", pictures, datasets.Image())
    return f"hf:{folder}"


def _saved_paths(folder: Path) -> str:
    import datasets

    _write(folder, "photos/0.png", "photos/1.png")
    column = {"image": [str(folder / f"photos/{n}.png") for n in range(2)]}
    datasets.Dataset.from_dict(column).cast_column("image", datasets.Image()).save_to_disk(str(folder))
    return str(folder)


LOOSE = [_image_folder, _metadata, _archive, _paths_in_lines, _structs_in_lines, _paths_in_parquet, _saved_paths]


@pytest.mark.parametrize("make", LOOSE)
def test_pictures_that_are_files_of_the_data_set_are_read(make: Callable[[Path], str], tmp_path: Path) -> None:
    layout = Layout(tmp_path / "out", tmp_path / "cache")
    shards = ingest.fn(layout, _params(make(tmp_path / "photos")))
    assert read_sidecar(shards[0]).rejected == {}
    stored = [decode_image((layout.images / i.path).read_bytes(), 1000) for i in read_all(layout.images, Image)]
    assert [picture.tobytes() for picture in stored] == [decode_image(_png(n), 1000).tobytes() for n in range(2)]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../elsewhere.png", "outside_folder"),
        ("photos/../../elsewhere.png", "outside_folder"),
        ("{parent}/elsewhere.png", "outside_folder"),
        ("link.png", "outside_folder"),
        ("zip://0.png::{parent}/elsewhere.zip", "outside_folder"),
        ("http://127.0.0.1:9/a.png", "outside_folder"),
        ("hf://datasets/someone/else@main/a.png", "outside_folder"),
        ("photos/none.png", "unreadable"),
        ("twice.png", "unreadable"),
    ],
)
def test_a_path_out_of_the_data_set_is_refused(tmp_path: Path, path: str, reason: str) -> None:
    folder = _write(tmp_path / "set", "photos/0.png", "../elsewhere.png", "twice.png", "data/twice.png")
    with zipfile.ZipFile(tmp_path / "elsewhere.zip", "w") as archive:
        archive.writestr("0.png", _png(9))
    (folder / "link.png").symlink_to(tmp_path / "elsewhere.png")
    rows = [{"image": "photos/0.png"}, {"image": path.format(parent=tmp_path)}]
    _lines(folder / "data/train.jsonl", rows)
    layout = Layout(tmp_path / "out", tmp_path / "cache")
    shards = ingest.fn(layout, _params(f"hf:{folder}"))
    assert read_sidecar(shards[0]).rejected == {reason: 1}


def test_paths_elsewhere_are_taken_with_the_option(tmp_path: Path) -> None:
    folder = _write(tmp_path / "set", "photos/0.png", "../elsewhere.png")
    (folder / "link.png").symlink_to(tmp_path / "elsewhere.png")
    paths = ["photos/0.png", str(tmp_path / "elsewhere.png"), "link.png", "../elsewhere.png"]
    _lines(folder / "train.jsonl", [{"image": path} for path in paths])
    shards = ingest.fn(Layout(tmp_path / "out", tmp_path / "cache"), _params(f"hf:{folder}", "ingest.links=follow"))
    sidecar = read_sidecar(shards[0])
    assert (sidecar.n_out, sidecar.rejected) == (2, {"duplicate": 1, "outside_folder": 1})


# ---- lists and several columns ---------------------------------------------------------------------


def _with_lists(folder: Path) -> Path:
    import datasets

    lists = [[{"bytes": _png(n), "path": None} for n in numbers] for numbers in ((0, 1, 2), (3,), ())]
    masks = [{"bytes": _png(9), "path": None}] * 3
    features = datasets.Features(
        {"images": datasets.List(datasets.Image()), "mask": datasets.Image(), "n": datasets.Value("int64")}
    )
    rows = datasets.Dataset.from_dict({"images": lists, "mask": masks, "n": [0, 1, 2]}, features=features)
    rows.save_to_disk(str(folder))
    return folder


@pytest.mark.parametrize(
    ("choice", "expected_names", "rejected"),
    [
        ("images[0]", ["row 000000[0]", "row 000001[0]"], 1),
        ("images[-1]", ["row 000000[-1]", "row 000001[-1]"], 1),
        ("images[2]", ["row 000000[2]"], 2),
        ("images[*]", ["row 000000[0]", "row 000000[1]", "row 000000[2]", "row 000001[0]"], 1),
    ],
)
def test_of_a_list_of_images_one_or_all_are_taken(
    tmp_path: Path, choice: str, expected_names: list[str], rejected: int
) -> None:
    layout = Layout(tmp_path / "out", tmp_path / "cache")
    shards = ingest.fn(layout, _params(_with_lists(tmp_path / "set"), f"ingest.image_column={choice}"))
    images = read_all(layout.images, Image)
    assert [image.source for image in images] == expected_names
    assert len({image.image_id for image in images}) == len(images)
    assert read_sidecar(shards[0]).rejected == {"unreadable": rejected}


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("image", r"no column 'image'; it has images, mask, n \(images: images, mask\); set ingest.image_column"),
        ("images", r"lists of images; set ingest.image_column=images\[0\] for the first of each row, or =images\[\*\]"),
        ("mask[0]", r"'mask' holds no lists; set ingest.image_column=mask"),
        ("n", r"'n' holds Value\('int64'\), expected images or paths of files \(images: images, mask\)"),
    ],
)
def test_which_columns_hold_images_is_said(tmp_path: Path, choice: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(_with_lists(tmp_path / "set")), choice)


def test_columns_of_images_that_are_not_taken_are_said(tmp_path: Path) -> None:
    params = _params(_with_lists(tmp_path / "set"), "ingest.image_column=mask")
    (note,) = source_notes(params.ingest)
    assert note == "images are taken from the column mask; others hold images, too: images (ingest.image_column)"


# ---- splits ----------------------------------------------------------------------------------------


def test_the_split_of_a_data_set_saved_by_itself_is_honoured_or_refused(tmp_path: Path) -> None:
    import datasets

    pictures = {"image": [{"bytes": _png(n), "path": None} for n in range(2)]}
    rows = datasets.Dataset.from_dict(pictures, split=datasets.NamedSplit("validation"))
    rows.cast_column("image", datasets.Image()).save_to_disk(str(tmp_path / "set"))
    assert count_rows(open_dataset(f"hf:{tmp_path}/set@validation", "image")) == 2
    assert count_rows(open_dataset(f"{tmp_path}/set", "image")) == 2
    with pytest.raises(DatasetError, match=r"no split 'test'; it was saved as validation\. Fix: leave @test out"):
        open_dataset(f"hf:{tmp_path}/set@test", "image")


def test_of_several_splits_without_a_train_one_is_to_be_named(saved: Path, tmp_path: Path) -> None:
    import datasets

    whole = datasets.load_from_disk(str(saved))
    assert isinstance(whole, datasets.Dataset)
    datasets.DatasetDict({"val": whole, "test": whole}).save_to_disk(str(tmp_path / "splits"))
    with pytest.raises(DatasetError, match="none of its splits is named; it has val, test"):
        open_dataset(str(tmp_path / "splits"), "image")


def test_a_split_is_chosen_by_name(saved: Path, tmp_path: Path) -> None:
    import datasets

    whole = datasets.load_from_disk(str(saved))
    assert isinstance(whole, datasets.Dataset)
    folder = tmp_path / "splits"
    datasets.DatasetDict({"train": whole.select(range(3)), "test": whole.select(range(3, 5))}).save_to_disk(str(folder))
    assert count_rows(open_dataset(str(folder), "image")) == 3
    assert count_rows(open_dataset(f"hf:{folder}@test", "image")) == 2
    with pytest.raises(DatasetError, match="no split 'validation'; it has train, test"):
        open_dataset(f"hf:{folder}@validation", "image")


def test_only_dataset_folders_and_hf_names_are_datasets(saved: Path, tmp_path: Path) -> None:
    assert is_dataset("hf:someone/photos@train")
    assert is_dataset(str(saved))
    assert not is_dataset(str(tmp_path))


@pytest.mark.parametrize(
    ("knob", "message"),
    [("ingest.image_column=picture", "no column 'picture'"), ("ingest.image_column=caption", "expected images")],
)
def test_a_wrong_column_is_said_before_anything_is_read(saved: Path, knob: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        check_source(_params(saved, knob))


def test_a_dataset_that_is_not_there_says_what_was_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config
    import huggingface_hub.constants

    for settings in (datasets.config, huggingface_hub.constants):  # the variable is read at import
        monkeypatch.setattr(settings, "HF_HUB_OFFLINE", True)
    with pytest.raises(DatasetError, match="expected hf:NAME"):
        check_source(_params("hf:nobody/no-such-photos"))
