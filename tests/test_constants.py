"""The best constant answer, and figures that are what they are by definition."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cli.score import Options, run

Capture = pytest.CaptureFixture[str]


def scored(name: str, files: Sequence[Path], reply: str, capsys: Capture, lines: bool = False, **knobs: Any) -> Any:
    """The score of one reply to every question; with `lines` as people see it."""
    from ouro.benchmarks.items import Item
    from ouro.benchmarks.loaders.registry import benchmark

    ids = [one.item_id for one in benchmark(name).load(files) if isinstance(one, Item)]
    file = files[0].with_suffix(".predictions")
    file.write_text("".join(json.dumps({"question_id": i, "prediction": reply}) + "\n" for i in ids))
    run(Options(name, files, file, knobs.get("protocol", ""), False, True, None, not lines))
    out = capsys.readouterr()
    return out.out + out.err if lines else json.loads(out.out)


def pope(folder: Path, labels: dict[str, list[str]]) -> list[Path]:
    files: list[Path] = []
    for split, truths in labels.items():
        rows = [{"question_id": i, "image": f"{i}.jpg", "text": "A cup?", "label": t} for i, t in enumerate(truths)]
        files.append(folder / f"coco_pope_{split}.json")
        files[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return files


@pytest.mark.parametrize(
    ("labels", "best"),
    [
        ({"random": ["yes", "no"]}, 2 / 3),  # balanced: always yes has 2 * 1 / (2 + 1), always no has 0
        ({"random": ["yes", "no"], "popular": ["yes", "no"], "adversarial": ["no", "yes"]}, 2 / 3),
        ({"random": ["yes", "no", "no"]}, 2 * 1 / (3 + 1)),  # also where no is the more frequent
        ({"random": ["yes", "no"], "popular": ["no", "no", "yes"]}, (2 / 3 + 1 / 2) / 2),
        ({"random": ["no", "no"]}, 0.0),
    ],
)
def test_the_control_of_pope_is_the_better_constant(
    tmp_path: Path, capsys: Capture, labels: dict[str, list[str]], best: float
) -> None:
    scores = scored("pope", pope(tmp_path, labels), "no", capsys)
    assert scores["controls"]["constant"] == pytest.approx(best)


def test_the_control_of_pairs_predicts_none_where_that_is_better(tmp_path: Path, capsys: Capture) -> None:
    """Ten documents, all by ACME, and ten contract numbers: 'ACME' for the one and None for the rest has 2 * 10 / (10
    + 20); with a number for each document, too, 2 * 11 / (20 + 20), which is less."""
    rows = [
        {"name": f"d{i}", "language": "en", "split": "test", "annotations": [
            {"id": "1", "key": "advertiser", "values": [{"value": "ACME", "value_variants": []}]},
            {"id": "2", "key": "contract_num", "values": [{"value": str(i), "value_variants": []}]},
        ]} for i in range(10)
    ]  # fmt: skip
    (tmp_path / "document.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    scores = scored("deepform", [tmp_path / "document.jsonl"], "None", capsys)
    assert scores["controls"]["constant"] == pytest.approx(20 / 30)


def test_the_control_of_charts_is_the_number_that_is_near_most(tmp_path: Path, capsys: Capture) -> None:
    """7 twice; 100, 101, 102 once each: 101 is within 5% of three."""
    rows = [{"imgname": f"{i}.png", "query": "?", "label": t} for i, t in enumerate(("7", "7", "100", "101", "102"))]
    (tmp_path / "test_human.json").write_text(json.dumps(rows))
    scores = scored("chartqa", [tmp_path / "test_human.json"], "7", capsys)
    assert scores["controls"]["constant"] == pytest.approx(3 / 5)


def captions(folder: Path, pictures: int) -> Path:
    images = [
        {"filename": f"{i}.jpg", "imgid": i, "cocoid": i, "split": "test",
         "sentences": [{"raw": f"A cup number {i} stands on the table.", "tokens": []}]} for i in range(pictures)
    ]  # fmt: skip
    (folder / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    return folder / "dataset_coco.json"


@pytest.mark.parametrize(("pictures", "noted"), [(1, True), (2, False)])
def test_a_single_picture_has_a_note_on_its_cider(tmp_path: Path, capsys: Capture, pictures: int, noted: bool) -> None:
    file, reply = captions(tmp_path, pictures), "A cup number 0 stands on the table."
    scores = scored("coco-caption", [file], reply, capsys, protocol="plain")
    assert any("CIDEr of a single picture is 0 by definition" in note for note in scores["notes"]) is noted
    assert (scores["figures"]["CIDEr"]["micro"]["value"] == 0.0) is noted
    said = scored("coco-caption", [file], reply, capsys, lines=True, protocol="plain")
    assert ("note: CIDEr of a single picture" in said) is noted


def test_an_f1_of_nothing_has_a_note(tmp_path: Path, capsys: Capture) -> None:
    """All right, and 0: no picture has what is asked for, and none was said to."""
    files = pope(tmp_path, {"random": ["no", "no"], "popular": ["yes", "no"]})
    scores = scored("pope", files, "no", capsys)
    assert scores["notes"] == ["F1 of random is 0 by definition: there is nothing to divide by"]
