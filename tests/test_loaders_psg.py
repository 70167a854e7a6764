"""psg.json: graphs of a split, and R@K by hand over a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ouro.benchmarks.items import BenchmarkFileError
from ouro.benchmarks.loaders.psg import TrueGraph, names, psg
from ouro.benchmarks.scoring.relations import Graph, Relation, match_relations, mean_recall_at, recall_at
from ouro.core import boxes
from ouro.core.records import Rejected

PERSON, DOG, GRASS = 0, 1, 2
ON, BESIDE, HOLDING, WALKING, CHASING = range(5)


def image(image_id: str, relations: list[Any], **changes: Any) -> dict[str, Any]:
    return {
        "image_id": image_id, "file_name": f"val2017/{image_id}.jpg", "width": 640, "height": 480,
        "pan_seg_file_name": f"panoptic_val2017/{image_id}.png",
        "segments_info": [{"id": 1, "category_id": 0, "isthing": 1, "iscrowd": 0, "area": 9}],
        "annotations": [
            {"bbox": [0, 0, 100, 200], "category_id": PERSON}, {"bbox": [200, 0, 300, 100], "category_id": DOG},
        ],
        "relations": relations, **changes,
    }  # fmt: skip


def write(path: Path, data: list[dict[str, Any]], test: list[str], **changes: Any) -> Path:
    file = path / "psg.json"
    lists = {"thing_classes": ["person", "dog"], "stuff_classes": ["grass"], "predicate_classes": list("abcde")}
    file.write_text(json.dumps({"data": data, **lists, "test_image_ids": test, **changes}))
    return file


def test_a_split_is_told_by_its_ids(tmp_path: Path) -> None:
    file = write(tmp_path, [image("7", [[0, 1, 4]]), image("8", [])], ["7"])
    assert names(file).objects == ("person", "dog", "grass")
    (test,) = psg(file)
    assert test == TrueGraph(
        "7", "val2017/7.jpg", (640, 480), ((0, 0, 100, 200), (200, 0, 300, 100)),
        Graph((PERSON, DOG), (Relation(0, 1, CHASING),)),
    )  # fmt: skip
    assert [each.image_id for each in psg(file, split="train") if isinstance(each, TrueGraph)] == ["8"]
    assert len(list(psg(file, split="all"))) == 2


def test_several_rows_may_name_a_pair_and_each_takes_a_place(tmp_path: Path) -> None:
    """Truth: relation 4 between objects 0 and 1; predicted are 3 with 0.9 and 4 with 0.8."""
    (truth,) = psg(write(tmp_path, [image("7", [[0, 1, 4]])], ["7"]))
    assert isinstance(truth, TrueGraph)
    overlap = boxes.iou_matrix(boxes.as_array(truth.boxes), boxes.as_array(truth.boxes))
    predicted = Graph((PERSON, DOG), (Relation(0, 1, WALKING, 0.9), Relation(0, 1, CHASING, 0.8)))
    hits = match_relations(predicted, truth.graph, overlap)
    assert hits is not None
    assert recall_at([hits], 20) == 1.0
    assert recall_at([hits], 1) == 0.0
    assert mean_recall_at([hits], 20) == pytest.approx(1 / 56)


def test_what_cannot_be_scored_is_rejected_with_its_reason(tmp_path: Path) -> None:
    flat = {"annotations": [{"bbox": [0, 0, 0, 10], "category_id": 0}]}
    data = [image("1", [], **flat), image("2", [[0, 0, 1]]), image("3", [[0, 1, 1]])]
    results = list(psg(write(tmp_path, data, ["1", "2", "3"])))
    assert [each.reason if isinstance(each, Rejected) else each.image_id for each in results] == [
        "bad_box", "self_relation", "3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([image("1", [[0, 2, 1]])], "an object is 2, expected 0 to 1"),
        ([image("1", [[0, 1, 5]])], "a predicate is 5, expected 0 to 4"),
        ([image("1", [[0, 1]])], r"relations is \[0, 1\], expected \[subject, object, predicate\]"),
        ([image("1", [[0, 1, True]])], "relations is"),
        ([image("1", [], annotations=[{"bbox": [0, 0, 1, 1], "category_id": 3}])], "a class is 3, expected 0 to 2"),
        ([image("1", [], annotations={})], "annotations is {}, expected a list"),
        ([image("1", [], width="640")], "width is '640', expected a whole number"),
        ([image("1", []), image("1", [])], "image_id is '1', expected every id once"),
        ([image("2", [])], "no image of the split 'test'"),
    ],
)
def test_a_broken_file_is_an_error(tmp_path: Path, data: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(BenchmarkFileError, match=message):
        list(psg(write(tmp_path, data, ["1"])))


def test_another_file_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path, [image("1", [])], ["1"], predicate_classes=[])
    with pytest.raises(BenchmarkFileError, match="got no predicate_classes"):
        list(psg(file))
    with pytest.raises(BenchmarkFileError, match="got the split 'val'"):
        list(psg(write(tmp_path, [image("1", [])], ["1"]), split="val"))
