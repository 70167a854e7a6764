"""`ouro review`: what people corrected in Label Studio is a layer over what the stages wrote."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from annotated_folder import rows_of, scene_of, write_annotated
from label_studio_export import annotate, find, results_of, save
from pictures import files_of

from cli import export, review
from ouro.core.artifacts import ArtifactError, list_shards, read_shard, write_shard
from ouro.core.corrections import (
    Correction,
    apply_corrections,
    corrections_file,
    count_corrections,
    parse_box,
    read_corrections,
    write_corrections,
)
from ouro.core.layout import Layout, layout_of
from ouro.core.params import Params
from ouro.core.records import QAPair, Region, Scene
from ouro.export.review import ReviewError
from ouro.training.sample_set import _make_shards
from tasks import synthesize, train


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layout_of(write_annotated(tmp_path / "photos"))


@pytest.fixture
def answered(layout: Layout, tmp_path: Path) -> tuple[list[dict[str, Any]], Path]:
    """The tasks as Label Studio exports them when everybody agreed with everything, and that file."""
    export.run(layout.root, tmp_path / "tasks", "label-studio")
    return annotate(tmp_path / "tasks/tasks.json", tmp_path / "export.json"), tmp_path / "export.json"


Answered = tuple[list[dict[str, Any]], Path]


def second_image(layout: Layout) -> str:
    """An image of which every text is plain: the table, a star on it, another star."""
    return read_shard(list_shards(layout.scenes)[0], Scene)[1].image_id


def correct(layout: Layout, answered: Answered) -> str:
    """Three corrections of the second image: the star's text, the table's box, and the other star is none."""
    exported, file = answered
    image_id = second_image(layout)
    results = results_of(exported, image_id)
    find(results, f"{image_id}/0.0.0", "textarea")["value"]["text"] = ["a blue star"]
    find(results, f"{image_id}/0.0", "rectanglelabels")["value"].update(x=10.0, width=40.0)
    results[:] = [r for r in results if r["id"] != f"{image_id}/0.1"]
    save(exported, file)
    return image_id


def test_corrections_come_back_and_the_stages_files_stay(
    layout: Layout, answered: Answered, capfd: pytest.CaptureFixture[str]
) -> None:
    image_id = correct(layout, answered)
    before = {path: data for path, data in files_of(layout.root).items()}
    review.run(layout.root, answered[1])
    # 10 % of 256 is 25.6, 10 + 40 % is 128
    assert read_corrections(layout) == [
        Correction(f"{image_id}/0.0", "box", "0.0 64.0 128.0 192.0", "25.6 64.0 128.0 192.0", "1"),
        Correction(f"{image_id}/0.0.0", "description", "a red star .", "a blue star", "1"),
        Correction(f"{image_id}/0.1", "region", "kept", "", "1"),
    ]
    assert {p: d for p, d in files_of(layout.root).items() if not str(p).startswith("corrections")} == before
    # of 11 shown texts and boxes (three images: 3 + 4 + 4 regions with the whole) three were corrected
    assert "review: 3 corrected, 9 unchanged\n" in capfd.readouterr().out


def test_the_same_file_twice_changes_nothing(
    layout: Layout, answered: Answered, capfd: pytest.CaptureFixture[str]
) -> None:
    correct(layout, answered)
    review.run(layout.root, answered[1])
    before = corrections_file(layout).read_bytes()
    capfd.readouterr()
    review.run(layout.root, answered[1])
    assert corrections_file(layout).read_bytes() == before
    assert "review: 12 unchanged\n" in capfd.readouterr().out


def test_an_export_reads_through_the_layer(layout: Layout, answered: Answered, tmp_path: Path) -> None:
    image_id = correct(layout, answered)
    review.run(layout.root, answered[1])
    export.run(layout.root, tmp_path / "swift", "ms-swift", contents=["regions"])
    row = next(r for r in rows_of(tmp_path / "swift/grounding.jsonl") if image_id in r["images"][0])
    assert [m["content"] for m in row["messages"] if m["role"] == "assistant"] == ["a table", "a blue star"]
    assert row["objects"]["bbox"] == [[25.6, 64.0, 128.0, 192.0], [16.0, 80.0, 48.0, 112.0]]
    counts = json.loads((tmp_path / "swift/counts.json").read_text())["ouro_export"]
    assert counts["corrections"] == {"box": 1, "description": 1, "region": 1}
    assert "| `description` | 1 |" in (tmp_path / "swift/README.md").read_text()


def test_a_corrected_description_of_the_whole_image_has_no_spans(layout: Layout, answered: Answered) -> None:
    exported, file = answered
    image_id = second_image(layout)
    find(results_of(exported, image_id), f"{image_id}/0", "textarea")["value"]["text"] = ["a shelf."]
    save(exported, file)
    review.run(layout.root, file)
    scene = next(s for s in read_shard(list_shards(layout.scenes)[0], Scene) if s.image_id == image_id)
    corrected = apply_corrections(read_corrections(layout), [], [scene]).scenes[0]
    assert (corrected.text, corrected.insertions, corrected.sentences) == ("a shelf.", (), ())
    assert dict(corrected.region_texts)[f"{image_id}/0"] == "a shelf."


def test_a_sub_region_of_a_removed_region_goes_to_its_parent() -> None:
    regions = [
        Region("i/0", "i", None, 0, (0, 0, 9, 9), 1, "image"),
        Region("i/0.0", "i", "i/0", 1, (0, 0, 5, 5), 1, "rpn"),
        Region("i/0.0.0", "i", "i/0.0", 2, (0, 0, 2, 2), 1, "rpn"),
    ]
    records = apply_corrections([Correction("i/0.0", "region", "kept", "")], regions, [scene_of("i")])
    assert [(r.region_id, r.parent_id) for r in records.regions] == [("i/0", None), ("i/0.0.0", "i/0")]
    assert "i/0.0" not in dict(records.scenes[0].region_texts)


def change_words(layout: Layout, image_id: str) -> None:
    """As if the stage had been run again with another model."""
    shard = list_shards(layout.scenes)[0]
    scenes = [s if s.image_id != image_id else scene_of(image_id, "a new text .") for s in read_shard(shard, Scene)]
    texts = tuple((r, "another star ." if r.endswith("0.0.0") else t) for r, t in scenes[1].region_texts)
    write_shard(shard, Scene, [scenes[0], replace(scenes[1], region_texts=texts)], n_in=2)


def test_what_was_said_anew_since_is_stale_when_taken_and_when_read(
    layout: Layout, answered: Answered, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image_id = correct(layout, answered)
    review.run(layout.root, answered[1])
    change_words(layout, image_id)
    export.run(layout.root, tmp_path / "coco", "coco")
    counts = json.loads((tmp_path / "coco/counts.json").read_text())["ouro_export"]["corrections"]
    assert counts == {"box": 1, "region": 1, "stale": 1}
    assert "another star ." in (tmp_path / "coco/instances.json").read_text()
    capfd.readouterr()
    review.run(layout.root)
    assert "3 corrections (box 1, region 1, stale 1)" in capfd.readouterr().out
    review.run(layout.root, remove=True)
    capfd.readouterr()
    review.run(layout.root, answered[1])
    assert "2 corrected, 9 unchanged, 1 stale" in capfd.readouterr().out


def test_a_person_can_take_a_correction_back(layout: Layout, answered: Answered, tmp_path: Path) -> None:
    image_id = correct(layout, answered)
    review.run(layout.root, answered[1])
    export.run(layout.root, tmp_path / "again", "label-studio")
    exported = annotate(tmp_path / "again/tasks.json", tmp_path / "second.json")
    text = find(results_of(exported, image_id), f"{image_id}/0.0.0", "textarea")["value"]
    assert text["text"] == ["a blue star"]  # people see what the dataset has now
    text["text"] = ["a red star ."]
    save(exported, tmp_path / "second.json")
    review.run(layout.root, tmp_path / "second.json")
    assert [c.field for c in read_corrections(layout)] == ["box", "region"]


def test_an_older_task_that_was_left_as_it_was_takes_nothing_back(
    layout: Layout, answered: Answered, tmp_path: Path
) -> None:
    untouched = tmp_path / "untouched.json"
    shutil.copyfile(answered[1], untouched)
    correct(layout, answered)
    review.run(layout.root, answered[1])
    before = read_corrections(layout)
    review.run(layout.root, untouched)
    assert read_corrections(layout) == before


def test_what_is_no_correction_is_counted(
    layout: Layout, answered: Answered, capfd: pytest.CaptureFixture[str]
) -> None:
    exported, file = answered
    first, image_id, third = (task["data"]["ouro"]["image_id"] for task in exported)
    results_of(exported, first)[:] = []  # somebody began with an empty page
    results = results_of(exported, image_id)
    rectangle = find(results, f"{image_id}/0.0", "rectanglelabels")
    results.append({**rectangle, "id": "new", "value": {**rectangle["value"], "x": 5.0}})
    rectangle["value"]["rotation"] = 12
    exported[2]["annotations"][0]["was_cancelled"] = True  # skipped
    stranger = json.loads(json.dumps(exported[1]).replace(image_id, "f" * 16))
    save([*exported, stranger], file)
    review.run(layout.root, file)
    assert read_corrections(layout) == [] and third
    # of the second image's four: one turned, three as they were
    assert "review: 3 unchanged, 1 unknown, 1 no_box, 1 drawn, 1 not_annotated, 1 blank\n" in capfd.readouterr().out


def test_of_several_annotations_the_last_one_counts(layout: Layout, answered: Answered) -> None:
    exported, file = answered
    image_id = correct(layout, answered)
    task = next(t for t in exported if t["data"]["ouro"]["image_id"] == image_id)
    later = json.loads(json.dumps(task["annotations"][0]))
    later |= {"id": 7, "updated_at": "2026-11-02T00:00:00.000000Z", "completed_by": {"id": 2, "email": "b@example.org"}}
    find(later["result"], f"{image_id}/0.0.0", "textarea")["value"]["text"] = ["a green star"]
    task["annotations"] = [later, task["annotations"][0]]
    save(exported, file)
    review.run(layout.root, file)
    stars = [(c.new, c.by) for c in read_corrections(layout) if c.field == "description"]
    assert stars == [("a green star", "b@example.org")]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "[1]", '[{"data": {}}]', '[{"data": {"image": "x"}, "annotations": []}]',
     '[{"image": "x", "id": 1, "description": ["JSON-MIN"]}]', "[" * 100_000],
)  # fmt: skip
def test_another_file_is_refused_and_nothing_changes(layout: Layout, tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ReviewError, match="expected a JSON export of Label Studio"):
        review.run(layout.root, tmp_path / "x.json")
    assert not corrections_file(layout).exists()


def test_a_damaged_annotation_is_refused(layout: Layout, answered: Answered) -> None:
    exported, file = answered
    del find(results_of(exported, second_image(layout)), f"{second_image(layout)}/0.0", "rectanglelabels")["value"]["x"]
    save(exported, file)
    with pytest.raises(ReviewError, match="the annotation of image"):
        review.run(layout.root, file)
    assert not corrections_file(layout).exists()


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"region_id": 1}', '{"region_id": "i/0.0", "field": "x", "old": "", "new": ""}',
             '{"region_id": "i/0.0", "field": "box", "old": "", "new": "nan 0 1 1"}'],
)  # fmt: skip
def test_a_damaged_layer_is_said_with_its_line(layout: Layout, line: str, tmp_path: Path) -> None:
    corrections_file(layout).parent.mkdir()
    corrections_file(layout).write_text(line + "\n")
    with pytest.raises(ArtifactError, match=r"corrections\.jsonl line 1: no correction"):
        export.run(layout.root, tmp_path / "out", "llava")


def test_without_corrections_everything_is_as_it_was(layout: Layout, answered: Answered, tmp_path: Path) -> None:
    export.run(layout.root, tmp_path / "before", "sharegpt")
    correct(layout, answered)
    review.run(layout.root, answered[1])
    review.run(layout.root, remove=True)
    assert not corrections_file(layout).exists()
    export.run(layout.root, tmp_path / "after", "sharegpt")
    assert files_of(tmp_path / "after") == files_of(tmp_path / "before")


def test_training_reads_through_the_layer(layout: Layout, answered: Answered) -> None:
    image_id = correct(layout, answered)
    review.run(layout.root, answered[1])
    shards = list(_make_shards(layout, "ours", {}))
    sample = next(s for _, samples, _ in shards for s in samples.samples if s.image_id == image_id)
    assert [(part.text, part.box) for part in sample.parts] == [
        ("a table", (25.6, 64.0, 128.0, 192.0)), ("a blue star", (16.0, 80.0, 48.0, 112.0)),
    ]  # fmt: skip
    assert count_corrections(records for _, _, records in shards) == {"description": 1, "box": 1, "region": 1}
    # of what was said nothing is read, so nothing of it is stale
    assert count_corrections(records for _, _, records in _make_shards(layout, "orig", {})) == {"box": 1, "region": 1}


def test_new_corrections_are_another_training(layout: Layout, answered: Answered) -> None:
    before = train._inputs(layout, Params())
    correct(layout, answered)
    review.run(layout.root, answered[1])
    assert set(train._inputs(layout, Params())) - set(before) == {corrections_file(layout)}


NANO_TEXT = (
    "a box at the bottom left. there is a red striped circle at the top left. the box has a purple striped cross at "
    "the top left and a sign that says milk in the center."
)


def test_questions_that_are_made_anew_ask_about_corrected_descriptions(layout: Layout) -> None:
    """By nano's template: of its own sentences, in which a person says that the red circle is a blue one."""
    name, params, image_id = "shard-00000.parquet", Params(), second_image(layout)
    first, second = read_shard(layout.scenes / name, Scene)
    write_shard(layout.scenes / name, Scene, [first, replace(second, text=NANO_TEXT)], n_in=2)
    synthesize.synthesize.fn(name, layout, params)
    before = read_shard(layout.qa / name, QAPair)
    corrected = NANO_TEXT.replace("red", "blue")
    write_corrections(layout, [Correction(f"{image_id}/0", "description", NANO_TEXT, corrected)])
    synthesize.synthesize.fn(name, layout, params)
    colours = {pair.answer for pair in read_shard(layout.qa / name, QAPair)} & {"red", "blue"}
    assert colours == {"blue"} and "red" in {pair.answer for pair in before}
    write_corrections(layout, [])
    synthesize.synthesize.fn(name, layout, params)
    assert read_shard(layout.qa / name, QAPair) == before


def test_only_the_shards_that_were_corrected_are_asked_about_anew(layout: Layout) -> None:
    image_id = second_image(layout)
    corrections = [Correction(f"{image_id}/0.0", "description", "a table", "a shelf")]
    first, second = list_shards(layout.scenes)
    assert synthesize._digest_corrections(corrections, first) and not synthesize._digest_corrections(
        corrections, second
    )
    stale = [replace(corrections[0], old="a chair")]
    assert synthesize._digest_corrections(stale, first) == ""


def test_a_box_keeps_its_numbers_as_text() -> None:
    assert parse_box("0.1 2.0 3.5 4.25") == (0.1, 2.0, 3.5, 4.25)
    for text in ("1 2 3", "0 0 0 1", "0 0 inf 1", "nan 0 1 1", "a b c d"):
        with pytest.raises(ValueError):
            parse_box(text)
