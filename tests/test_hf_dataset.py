"""Hugging Face datasets as collections: real datasets, written by the library, read back through ingest."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from ouro.core.artifacts import read_all, read_sidecar
from ouro.core.layout import Layout
from ouro.core.params import Params, load_params
from ouro.core.records import Image
from ouro.ingest.hf_dataset import DatasetError, count_rows, is_dataset, iterate_rows, open_dataset
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


def test_a_row_that_only_names_a_file_is_not_followed(saved: Path, tmp_path: Path) -> None:
    import datasets

    secret = tmp_path / "elsewhere.png"
    secret.write_bytes(_png(9))
    opened = datasets.Dataset.from_dict({"image": [{"bytes": None, "path": str(secret)}]})
    assert [r.data for r in iterate_rows(opened, "image")] == [None]


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
