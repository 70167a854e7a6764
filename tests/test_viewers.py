"""`ouro export` for people who look and correct: COCO, Label Studio, FiftyOne, read back by what they are for."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from annotated_folder import NASTY_EXPORTED, write_annotated
from pictures import files_of
from pycocotools.coco import COCO
from pydantic import BaseModel, ConfigDict, Field

from cli import export as command
from ouro.core.artifacts import list_shards, read_shard, write_shard
from ouro.core.layout import layout_of
from ouro.core.records import Description, Region
from ouro.export.folder import ExportError
from ouro.export.label_studio import make_config


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of each image the first sub-region was called "a red table", and the others nothing."""
    root = write_annotated(tmp_path_factory.mktemp("annotated"))
    layout = layout_of(root)
    for shard in list_shards(layout.regions):
        regions = read_shard(shard, Region)
        descriptions = [
            Description(r.region_id, r.image_id, "x", "m", name="a red table" * r.region_id.endswith("/0.0"))
            for r in regions
        ]
        write_shard(layout.descriptions / shard.name, Description, descriptions, n_in=len(descriptions))
    return root


@pytest.fixture(scope="module")
def exported(annotated: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("viewers")

    def make(name: str) -> Path:
        if not (root / name).exists():
            command.run(annotated, root / name, name)
        return root / name

    return make


# ---- COCO -----------------------------------------------------------------------------------------


def read_coco(path: Path) -> Any:
    """By pycocotools; Any, since its stubs know no keys of ours."""
    return COCO(str(path))


def test_pycocotools_reads_regions_with_boxes_categories_and_captions(exported: Callable[[str], Path]) -> None:
    coco = read_coco(exported("coco") / "instances.json")
    assert len(coco.imgs) == 3
    categories = {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())}
    # the second image; a table at (0, 64, 128, 192), a star at (16, 80, 48, 112), one at (200, 8, 232, 40)
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[2]))
    assert [(a["bbox"], a["area"], categories[a["category_id"]], a["caption"]) for a in annotations] == [
        ([0.0, 64.0, 128.0, 128.0], 16384.0, "table", "a table"),
        ([16.0, 80.0, 32.0, 32.0], 1024.0, "object", "a red star ."),
        ([200.0, 8.0, 32.0, 32.0], 1024.0, "object", "a red star ."),
    ]
    assert coco.getCatIds(catNms=["table"]) == [1]
    assert all(a["iscrowd"] == 0 and a["ouro_id"].startswith(coco.imgs[2]["ouro_id"]) for a in annotations)


def test_pycocotools_reads_the_images_descriptions(exported: Callable[[str], Path]) -> None:
    coco = read_coco(exported("coco") / "captions.json")
    captions = {i: [a["caption"] for a in coco.loadAnns(coco.getAnnIds(imgIds=[i]))] for i in coco.getImgIds()}
    assert captions[2] == ["a table with a red star ."] and len(captions) == 3
    for image in coco.loadImgs(coco.getImgIds()):
        assert (exported("coco") / "images" / image["file_name"]).is_file()


def test_no_placeholder_that_was_read_in_a_picture_is_in_a_viewer(exported: Callable[[str], Path]) -> None:
    """Of the first image the last region says "a screen with <image> on it": a picture, for a trainer."""
    coco = read_coco(exported("coco") / "instances.json")
    captions = {a["ouro_id"].split("/")[1]: a["caption"] for a in coco.loadAnns(coco.getAnnIds(imgIds=[1]))}
    assert list(captions) == ["0.0", "0.0.0", "0.1"]
    assert captions["0.1"] == "a screen with < image> on it"
    for name in ("coco", "label-studio", "fiftyone"):
        assert not any("<image>" in path.read_text() for path in exported(name).glob("*.json"))


# ---- FiftyOne --------------------------------------------------------------------------------------


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Share = float


class _ImageMetadata(_Strict):
    cls: Literal["ImageMetadata"] = Field(alias="_cls")
    width: int
    height: int


class _Detection(_Strict):
    """fiftyone.core.labels.Detection, with two fields of ours."""

    cls: Literal["Detection"] = Field(alias="_cls")
    label: str
    bounding_box: list[Share] = Field(min_length=4, max_length=4)
    confidence: float
    tags: list[str]
    attributes: dict[str, Any]
    description: str
    kind: str
    region_id: str


class _Detections(_Strict):
    cls: Literal["Detections"] = Field(alias="_cls")
    detections: list[_Detection]


class _Sample(_Strict):
    filepath: str
    media_type: Literal["image"] = Field(alias="_media_type")
    tags: list[str]
    metadata: _ImageMetadata
    image_id: str
    description: str
    regions: _Detections


def test_fiftyones_samples_have_its_schema(exported: Callable[[str], Path]) -> None:
    folder = exported("fiftyone")
    samples = [_Sample.model_validate(s) for s in json.loads((folder / "samples.json").read_text())["samples"]]
    assert [s.description for s in samples] == [
        NASTY_EXPORTED,
        "a table with a red star .",
        "a table with a red star .",
    ]
    assert all((folder / s.filepath).is_file() for s in samples)
    table = samples[1].regions.detections[0]
    assert (table.bounding_box, table.label, table.description) == ([0.0, 0.25, 0.5, 0.5], "table", "a table")
    assert "version" not in json.loads((folder / "metadata.json").read_text())


def test_fiftyone_reads_its_samples(exported: Callable[[str], Path]) -> None:
    importers = pytest.importorskip(
        "fiftyone.utils.data.importers", reason="fiftyone is not in the lock: uv run --with fiftyone pytest ..."
    )
    importer = importers.FiftyOneDatasetImporter(str(exported("fiftyone")))
    with importer._to_legacy_importer() if importer._is_legacy_format_data() else importer as reader:
        samples = list(reader)
    assert [len(s.regions.detections) for s in samples] == [3, 3, 3]
    assert samples[1].regions.detections[0].description == "a table"


# ---- Label Studio -----------------------------------------------------------------------------------


class _Result(_Strict):
    """One result of a prediction: labelstud.io/guide/predictions."""

    id: str
    from_name: str
    to_name: str
    type: Literal["rectanglelabels", "textarea"]
    original_width: int
    original_height: int
    image_rotation: int
    value: dict[str, Any]


class _Prediction(_Strict):
    model_version: str
    result: list[_Result]


class _Task(_Strict):
    data: dict[str, Any]
    predictions: list[_Prediction]


def test_label_studios_tasks_have_its_schema_and_its_percents(exported: Callable[[str], Path]) -> None:
    folder = exported("label-studio")
    tasks = [_Task.model_validate(task) for task in json.loads((folder / "tasks.json").read_text())]
    config = ElementTree.fromstring((folder / "label_config.xml").read_text())
    tags = {tag.get("name"): tag for tag in config.iter() if tag.get("name")}
    labels = {label.get("value") for label in config.iter("Label")}
    assert labels == {"object", "text", "table", "chart"} and len(tasks) == 3
    for task in tasks:
        prefix, path = task.data["image"].split("?d=")
        assert prefix == "/data/local-files/" and (folder / path).is_file()
        for result in task.predictions[0].result:
            assert tags[result.from_name].get("toName") == result.to_name == "image"
            assert set(result.value.get("rectanglelabels", [])) <= labels
    table = next(r for r in tasks[1].predictions[0].result if r.id.endswith("/0.0") and r.type == "rectanglelabels")
    # (0, 64, 128, 192) of 256 x 256
    assert table.value == {
        "x": 0.0, "y": 25.0, "width": 50.0, "height": 50.0, "rotation": 0, "rectanglelabels": ["object"],
    }  # fmt: skip
    kinds = [(r.id.split("/")[1], r.type) for r in tasks[1].predictions[0].result]
    assert kinds[:3] == [("0", "textarea"), ("0.0", "rectanglelabels"), ("0.0", "textarea")]


def test_label_studios_own_validator_takes_config_and_predictions(exported: Callable[[str], Path]) -> None:
    interface = pytest.importorskip(
        "label_studio_sdk.label_interface", reason="label-studio-sdk is not in the lock: uv run --with label-studio-sdk"
    ).LabelInterface((exported("label-studio") / "label_config.xml").read_text())
    interface.validate()
    for task in json.loads((exported("label-studio") / "tasks.json").read_text()):
        interface.validate_task({"data": task["data"]})
        assert all(interface.validate_prediction(prediction) for prediction in task["predictions"])


def test_a_kind_from_a_strangers_shard_stays_an_attribute() -> None:
    config = make_config(['"/><Text name="evil"/>', "a&b"])
    assert [tag.get("value") for tag in ElementTree.fromstring(config).iter("Label")] == [
        '"/><Text name="evil"/>', "a&b",
    ]  # fmt: skip


# ---- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["coco", "label-studio", "fiftyone"])
def test_a_repeated_export_is_byte_for_byte_the_same(
    annotated: Path, exported: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    command.run(annotated, tmp_path / "again", name)
    files = files_of(exported(name))
    assert files_of(tmp_path / "again") == files
    assert not any(str(path).endswith(".part") for path in files)


def test_what_a_viewer_cannot_hold_is_refused(annotated: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"got \['questions'\], expected some of description, regions, which coco"):
        command.run(annotated, tmp_path / "out", "coco", contents=["questions"])
    with pytest.raises(ExportError, match="label-studio serves pictures from the export"):
        command.run(annotated, tmp_path / "out", "label-studio", images="reference")
    assert not any(tmp_path.iterdir())
    command.run(annotated, tmp_path / "out", "coco", contents=["description"])
    assert json.loads((tmp_path / "out/instances.json").read_text())["annotations"] == []
