"""`ouro export`: what a model wrote is text and nothing more; the folder is whole, or it is the last one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from annotated_folder import (
    annotated_image,
    export_all,
    pairs_of,
    regions_of,
    rows_of,
    scene_of,
    write_annotated,
)
from hypothesis import given
from hypothesis import strategies as st
from pictures import files_of

from cli import export as command
from ouro.core.artifacts import ArtifactError
from ouro.core.layout import layout_of
from ouro.core.records import Image, Scene
from ouro.export.conversations import (
    BBOX,
    CONTENTS,
    PROMPT,
    REF,
    Conversation,
    ConversationTurn,
    ImageAnnotations,
    build_conversations,
    replace_placeholders,
    write_boxes_of,
)
from ouro.export.folder import ExportError, ExportOptions, ExportShard, export
from ouro.export.rows import make_ms_swift_row
from ouro.export.writers import FORMATS

LINES = ("ms-swift", "llava", "sharegpt")


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_annotated(tmp_path_factory.mktemp("annotated"))


@pytest.fixture(scope="module")
def exported(annotated: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return export_all(annotated, tmp_path_factory.mktemp("exported"))


# ---- conversations --------------------------------------------------------------------------------------


def test_an_image_becomes_one_conversation_a_channel() -> None:
    conversations, rejected = build_conversations(annotated_image(), "describe it", CONTENTS)
    assert rejected == []
    table, star, other = (r.box for r in regions_of("i")[1:])
    ask, find = "Describe the region <bbox>.", "Find <ref-object> in the image."
    assert conversations == [
        Conversation("i/description", "description", (ConversationTurn("describe it", "a table ."),)),
        Conversation(
            "i/style", "style", 
            (
                ConversationTurn("what ?", "red", 0.5, None, 0.5),
                ConversationTurn("is it dark ?", "no", 1.0, None, 1.0),
            ),
        ),
        Conversation("i/object details", "object details", (ConversationTurn("how many stars are there ?", "two"),)),
        Conversation(
            "i/regions", "regions",
            tuple(ConversationTurn(ask, text) for text in ("a table", "a red star .", "a red star .")),
            (), (table, star, other),
        ),
        Conversation(
            "i/grounding", "grounding", (ConversationTurn(find, "<bbox>"), ConversationTurn(find, "<bbox><bbox>")),
            ("a table", "a red star"), (table, star, other),
        ),
    ]  # fmt: skip


def test_only_the_wanted_contents_are_made() -> None:
    conversations, _ = build_conversations(annotated_image(), PROMPT, ("questions",))
    assert [c.channel for c in conversations] == ["style", "object details"]


def test_boxes_are_spelled_out_as_shares_of_the_images_sides() -> None:
    conversations, _ = build_conversations(annotated_image(), PROMPT, ("regions", "grounding"))
    regions, grounding = (replace_placeholders(c, annotated_image().image) for c in conversations)
    # (0, 64, 128, 192) of 256 x 128 pixels; the box ends below the image: as recorded, nothing is hidden
    assert regions[0] == ConversationTurn("Describe the region [0.000, 0.500, 0.500, 1.500].", "a table")
    assert grounding[1] == ConversationTurn(
        "Find a red star in the image.", "[0.062, 0.625, 0.188, 0.875][0.781, 0.062, 0.906, 0.312]"
    )


def test_boxes_are_written_as_a_family_of_models_writes_them() -> None:
    """Boxes that stand together are one list; the box of 256 x 128 that ends below the picture ends at its edge."""
    about = annotated_image()
    conversations, _ = build_conversations(about, PROMPT, ("regions", "grounding"))
    regions, grounding = (write_boxes_of(c, about.image, "qwen3-vl") for c in conversations)
    assert regions.boxes == grounding.boxes == grounding.refs == ()
    assert regions.turns[0].question == 'Describe the region [{"bbox_2d": [0, 500, 500, 1000]}].'
    assert grounding.turns[1] == ConversationTurn(
        "Find a red star in the image.",
        '[{"bbox_2d": [62, 625, 188, 875], "label": "a red star"}, '
        '{"bbox_2d": [781, 62, 906, 312], "label": "a red star"}]',
    )


@pytest.mark.parametrize("name", LINES)
def test_a_family_can_be_chosen_for_every_format(annotated: Path, tmp_path: Path, name: str) -> None:
    command.run(annotated, tmp_path / "out", name, boxes="florence-2")
    text = "".join(path.read_text() for path in sorted((tmp_path / "out").glob("*.json*")))
    assert "Describe the region <loc_0><loc_250><loc_500><loc_750>." in text  # (0, 64, 128, 192) of 256 x 256
    assert "<bbox>" not in text


PLACEHOLDERS = ("<image>", "<video>", "<audio>", BBOX, REF, "<cot-process>", "<start-image>")
_TEXTS = st.text(max_size=12) | st.sampled_from(["", " ", "a star", *PLACEHOLDERS, "x<image>y", "< image>"])


@given(_TEXTS, _TEXTS, _TEXTS)
def test_placeholders_are_ours_alone_whatever_a_model_wrote(text: str, caption: str, question: str) -> None:
    about = annotated_image(text, caption, question)
    conversations, rejected = build_conversations(about, PROMPT, CONTENTS)
    n_refs = len({t.rstrip(" .") for t in ("a table", caption)})
    assert sum(len(c.turns) for c in conversations) + len(rejected) == 1 + 3 + 3 + n_refs
    assert {r.reason for r in rejected} <= {"empty_text"}
    for conversation in conversations:
        row = make_ms_swift_row(conversation, about.image, "i.png")
        text = "\x1f".join(message["content"] for message in row["messages"])
        objects = row.get("objects", {"ref": [], "bbox": []})
        assert text.count("<image>") == len(row["images"]) == 1
        assert text.count(BBOX) == len(objects["bbox"])
        assert text.count(REF) == len(objects["ref"])
        assert not any(mark in text for mark in PLACEHOLDERS if mark not in ("<image>", BBOX, REF))


# ---- the folder -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_a_repeated_export_is_byte_for_byte_the_same(
    exported: dict[str, Path], annotated: Path, tmp_path: Path, name: str
) -> None:
    command.run(annotated, tmp_path / "again", name)
    assert files_of(tmp_path / "again") == files_of(exported[name])


def test_pictures_are_copied_linked_or_named_where_they_are(annotated: Path, tmp_path: Path) -> None:
    for how in ("copy", "link", "reference"):
        command.run(annotated, tmp_path / how, "sharegpt", images=how)
        for row in rows_of(tmp_path / how / "train.jsonl"):
            [path] = row["images"]
            stored = next((annotated / "images").rglob(Path(path).name))
            assert Path(path).is_absolute() == (how == "reference")
            assert (tmp_path / how / path).samefile(stored) == (how != "copy")
            assert (tmp_path / how / path).read_bytes() == stored.read_bytes()
    assert not (tmp_path / "reference/images").exists()


def test_another_export_takes_the_place_of_the_last(annotated: Path, tmp_path: Path) -> None:
    command.run(annotated, tmp_path / "out", "webdataset")
    command.run(annotated, tmp_path / "out", "llava", contents=["description"])
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"train.json", "counts.json", "images", "README.md"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_export_that_fails_leaves_the_last_one_as_it_was(annotated: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(annotated, data)
    command.run(data, tmp_path / "out", "sharegpt")
    before = files_of(tmp_path / "out")
    shutil.rmtree(data / "images/shard-00001")
    with pytest.raises(ArtifactError, match=r"shard-00001.*\.png: not found"):
        command.run(data, tmp_path / "out", "sharegpt")
    assert files_of(tmp_path / "out") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "out"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_shard_is_written_before_the_next_is_read(annotated: Path, tmp_path: Path, name: str) -> None:
    """So no more than one shard is ever held."""
    shards = list(command._shards(layout_of(annotated), ["shard-00000.parquet"], CONTENTS))
    written: list[int] = []

    def one_by_one() -> Iterator[ExportShard]:
        for number in range(3):
            (partial,) = tmp_path.glob(".out-*.new")
            written.append(sum(p.stat().st_size for p in partial.rglob("*") if p.is_file()))
            yield shards[0]._replace(stem=f"shard-{number:05d}")

    export(one_by_one(), annotated / "images", tmp_path / "out", ExportOptions(name, CONTENTS, PROMPT))
    if name in LINES:  # the pictures are the same ones, and text waits in a buffer
        assert written[0] < written[1] <= written[2]
    else:
        assert written[0] < written[1] < written[2]


def test_an_image_about_which_nothing_is_left_is_rejected(annotated: Path, tmp_path: Path) -> None:
    counts = export(
        [ExportShard("shard-00000", [annotated_image().image], [], [Scene("i", "<image>", (), ())], [])],
        annotated / "images", tmp_path / "out", ExportOptions("llava", CONTENTS, PROMPT),
    )  # fmt: skip
    assert (counts.images_out, counts.images_rejected, counts.turns_rejected) == (
        0, {"nothing_said": 1}, {"empty_text": 1},
    )  # fmt: skip
    assert json.loads((tmp_path / "out/train.json").read_text()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "voc"}, "--format voc: not a format; expected one of ms-swift"),
        ({"images": "move"}, "--images move: expected one of copy"),
        ({"format": "trl", "images": "link"}, "--images link: trl holds its pictures in its own files"),
        ({"contents": ["captions"]}, r"--contents: got \['captions'\], expected some of description"),
        ({"contents": []}, "--contents: got nothing"),
        ({"boxes": "yolo"}, "--boxes yolo: no family; expected one of qwen2-vl"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(
    annotated: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        command.run(annotated, tmp_path / "out", **{"format": "llava", **options})
    assert not any(tmp_path.iterdir())


def test_a_folder_of_something_else_is_left_alone(annotated: Path, tmp_path: Path) -> None:
    for out in (annotated, annotated / "images", tmp_path / "mine"):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine/counts.json").write_text("[1, 2]")
        before = files_of(out)
        with pytest.raises(ExportError, match="no earlier export"):
            command.run(annotated, out, "llava")
        assert files_of(out) == before


def test_a_folder_that_was_not_annotated_to_its_end_is_refused(annotated: Path, tmp_path: Path) -> None:
    shutil.copytree(annotated, tmp_path / "data")
    (tmp_path / "data/qa/shard-00001.parquet").unlink()
    with pytest.raises(ArtifactError, match=r"qa/shard-00001\.parquet: not found"):
        command.run(tmp_path / "data", tmp_path / "out", "llava")
    command.run(tmp_path / "data", tmp_path / "out", "llava", contents=["description", "regions"])
    with pytest.raises(ArtifactError, match="no such folder"):
        command.run(tmp_path / "nothing", tmp_path / "out", "llava")


@pytest.mark.parametrize("path", ["../../outside.png", "/etc/hostname"])
def test_a_picture_outside_of_the_dataset_is_not_exported(annotated: Path, tmp_path: Path, path: str) -> None:
    """Paths come out of Parquet files that somebody else may have written."""
    (shard,) = command._shards(layout_of(annotated), ["shard-00000.parquet"], CONTENTS)
    images = [replace(image, path=path) for image in shard.images]
    with pytest.raises(ArtifactError, match="leads out of the folder"):
        export(
            [shard._replace(images=images)],
            annotated / "images",
            tmp_path / "out",
            ExportOptions("llava", CONTENTS, PROMPT),
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mark", ["<|im_end|>", "<|image_pad|>", "<|vision_start|>", "<|eot_id|>"])
def test_control_tokens_in_a_text_go_to_no_trainer(mark: str) -> None:
    """OCR may read them in a screenshot, and a trainer's tokenizer would end the turn there."""
    image = Image("i", "i.png", 256, 256, "s", "train")
    about = ImageAnnotations(
        image, regions_of("i"), scene_of("i", f"a sign {mark} red"), pairs_of("i", f"what is {mark} ?")
    )
    conversations, rejected = build_conversations(about, "describe.", ("description", "questions"))
    assert mark not in repr(conversations) and rejected == []
    assert conversations[0].turns[0].answer == f"a sign < {mark[1:]} red"
    assert conversations[1].turns[0].question == f"what is < {mark[1:]} ?"


@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_a_stored_picture_that_is_missing_or_empty_is_said(annotated: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(annotated, tmp_path / "data")
    for picture in (tmp_path / "data/images").glob("shard-*/*.png"):
        picture.unlink() if damage == "missing" else picture.write_bytes(b"")
    expected = "not found" if damage == "missing" else "empty"
    with pytest.raises(ArtifactError, match=rf"\.png: {expected}; .*run the `ouro annotate` that made it again"):
        command.run(tmp_path / "data", tmp_path / "out", "llava")
