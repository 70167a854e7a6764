"""`ouro export`: each format is read back by what it was written for; what a model wrote is text and nothing more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from pydantic import BaseModel, ConfigDict, TypeAdapter

from cli import export as command
from ouro.core.artifacts import ArtifactError, write_shard
from ouro.core.images import content_id, encode_png
from ouro.core.records import Image, QAPair, Region, Rejected, Scene
from ouro.export.conversations import (
    BBOX,
    CONTENTS,
    PROMPT,
    REF,
    RESERVED,
    Annotated,
    Conversation,
    Turn,
    conversations,
    spelled_out,
)
from ouro.export.folder import ExportError, Shard, Wanted, export
from ouro.export.rows import ms_swift_row
from ouro.export.writers import FORMATS
from ouro.nano.scenes import draw_scene, render

NANO = Path(__file__).resolve().parent.parent / "models/nano"
NASTY = 'a "sign"\u2028with \\n\n{{ 7 * 7 }} </s> <im_end|> \U0001f600 ,'
LINES = ("ms-swift", "llava", "sharegpt")


def _regions(own: str) -> list[Region]:
    return [
        Region(f"{own}/0", own, None, 0, (0.0, 0.0, 256.0, 256.0), 1.0, "image", "", "scene"),
        Region(f"{own}/0.0", own, f"{own}/0", 1, (0.0, 64.0, 128.0, 192.0), 0.9, "rpn"),
        Region(f"{own}/0.0.0", own, f"{own}/0.0", 2, (16.0, 80.0, 48.0, 112.0), 0.8, "rpn"),
        Region(f"{own}/0.1", own, f"{own}/0", 1, (200.0, 8.0, 232.0, 40.0), 0.8, "rpn"),
    ]


def _scene(own: str, text: str = "a table with a red star .") -> Scene:
    said = (
        (f"{own}/0", text),
        (f"{own}/0.0", "a table"),
        (f"{own}/0.0.0", "a red star ."),
        (f"{own}/0.1", "a red star ."),
    )
    return Scene(own, text, (), said)  # fmt: skip


def _pairs(own: str, question: str = "what color is the star ?") -> list[QAPair]:
    return [
        QAPair(f"{own}-0", own, "style", question, "red", 0.5),
        QAPair(f"{own}-1", own, "object details", "how many stars are there ?", "two"),
        QAPair(f"{own}-2", own, "style", "is it dark ?", "no", 1.0),
    ]


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five nano images in two shards: three are described, one was rejected by merge, one is held out.

    What is said of the first image holds quotes, line breaks and markup, and one region and one question hold a
    placeholder of the trainers.
    """
    root = tmp_path_factory.mktemp("annotated")
    rng = np.random.default_rng(0)
    for number, splits in enumerate((["train", "train", "test"], ["train", "train"])):
        name = f"shard-{number:05d}"
        images: list[Image] = []
        for split in splits:
            png = encode_png(PILImage.fromarray(render(draw_scene(rng))))
            own = content_id(png)
            (root / "images" / name).mkdir(parents=True, exist_ok=True)
            (root / "images" / name / f"{own}.png").write_bytes(png)
            images.append(Image(own, f"{name}/{own}.png", 256, 256, f"{own}.png", split, ("a photo",)))
        train = [image.image_id for image in images if image.split == "train"]
        described = train if number == 0 else train[:1]
        scenes = [_scene(own) for own in described]
        pairs = [pair for own in described for pair in _pairs(own)]
        if number == 0:
            own = described[0]
            texts = (*_scene(own).region_texts[:3], (f"{own}/0.1", "a screen with <image> on it"))
            scenes[0] = Scene(own, NASTY, (), texts)
            pairs[:3] = _pairs(own, "what does <bbox> mean ?")
        regions = [region for image in images for region in _regions(image.image_id)]
        lost = [Rejected("merge", own, "no_descriptions") for own in train[len(described) :]]
        write_shard(root / "images" / f"{name}.parquet", Image, images, n_in=len(images))
        write_shard(root / "regions" / f"{name}.parquet", Region, regions, n_in=len(regions))
        write_shard(root / "scenes" / f"{name}.parquet", Scene, scenes, n_in=len(train), rejected=lost)
        write_shard(root / "qa" / f"{name}.parquet", QAPair, pairs, n_in=len(pairs))
    return root


@pytest.fixture(scope="module")
def exported(annotated: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every format, written once."""
    root = tmp_path_factory.mktemp("exported")
    for name in FORMATS:
        command.run(annotated, root / name, name)
    return {name: root / name for name in FORMATS}


def _rows(path: Path) -> list[dict[str, Any]]:
    """JSON lines as a strict reader has them: a line ends with a line feed, nothing else."""
    return [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]]


def _tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---- conversations --------------------------------------------------------------------------------------


def _about(text: str = "a table .", said: str = "a red star .", question: str = "what ?") -> Annotated:
    image = Image("i", "shard-00000/i.png", 256, 128, "i.png")
    scene = Scene("i", text, (), (("i/0", text), ("i/0.0", "a table"), ("i/0.0.0", said), ("i/0.1", said)))
    return Annotated(image, _regions("i"), scene, _pairs("i", question))


def test_an_image_becomes_one_conversation_a_channel() -> None:
    made, rejected = conversations(_about(), "describe it", CONTENTS)
    assert rejected == []
    table, star, other = (r.box for r in _regions("i")[1:])
    ask, find = "Describe the region <bbox>.", "Find <ref-object> in the image."
    assert made == [
        Conversation("i/description", "description", (Turn("describe it", "a table ."),)),
        Conversation("i/style", "style", (Turn("what ?", "red", 0.5), Turn("is it dark ?", "no"))),
        Conversation("i/object details", "object details", (Turn("how many stars are there ?", "two"),)),
        Conversation(
            "i/regions", "regions", (Turn(ask, "a table"), Turn(ask, "a red star ."), Turn(ask, "a red star .")),
            (), (table, star, other),
        ),
        Conversation(
            "i/grounding", "grounding", (Turn(find, "<bbox>"), Turn(find, "<bbox><bbox>")),
            ("a table", "a red star"), (table, star, other),
        ),
    ]  # fmt: skip


def test_only_the_wanted_contents_are_made() -> None:
    made, _ = conversations(_about(), PROMPT, ("questions",))
    assert [c.channel for c in made] == ["style", "object details"]


def test_boxes_are_spelled_out_as_shares_of_the_images_sides() -> None:
    made, _ = conversations(_about(), PROMPT, ("regions", "grounding"))
    regions, grounding = (spelled_out(c, _about().image) for c in made)
    # (0, 64, 128, 192) of 256 x 128 pixels; the box ends below the image: as recorded, nothing is hidden
    assert regions[0] == Turn("Describe the region [0.000, 0.500, 0.500, 1.500].", "a table")
    assert grounding[1] == Turn(
        "Find a red star in the image.", "[0.062, 0.625, 0.188, 0.875][0.781, 0.062, 0.906, 0.312]"
    )


_TEXTS = st.text(max_size=12) | st.sampled_from(["", " ", "a star", *RESERVED, "x<image>y", "< image>"])


@given(_TEXTS, _TEXTS, _TEXTS)
def test_placeholders_are_ours_alone_whatever_a_model_wrote(text: str, said: str, question: str) -> None:
    about = _about(text, said, question)
    made, rejected = conversations(about, PROMPT, CONTENTS)
    n_refs = len({t.rstrip(" .") for t in ("a table", said)})
    assert sum(len(c.turns) for c in made) + len(rejected) == 1 + 3 + 3 + n_refs
    assert {r.reason for r in rejected} <= {"reserved_text", "empty_text"}
    for conversation in made:
        row = ms_swift_row(conversation, about.image, "i.png")
        text = "\x1f".join(message["content"] for message in row["messages"])
        objects = row.get("objects", {"ref": [], "bbox": []})
        assert text.count("<image>") == len(row["images"]) == 1
        assert text.count(BBOX) == len(objects["bbox"])
        assert text.count(REF) == len(objects["ref"])
        assert not any(mark in text for mark in RESERVED if mark not in ("<image>", BBOX, REF))


# ---- what comes out, by the reader of each format ---------------------------------------------------------


def test_counts_add_up_and_are_the_same_in_every_format(
    exported: dict[str, Path], annotated: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    counts = {name: json.loads((path / "counts.json").read_text())["ouro_export"] for name, path in exported.items()}
    assert [c.pop("format") for c in counts.values()] == list(FORMATS)
    for found in counts.values():
        assert found == {
            "images_in": 5,
            "images_out": 3,
            "images_rejected": {"held_out": 1, "not_described": 1},
            "conversations": {"description": 3, "grounding": 3, "object details": 3, "regions": 3, "style": 3},
            "turns": {"description": 3, "grounding": 6, "object details": 3, "regions": 8, "style": 5},
            "turns_rejected": {"reserved_text": 3},  # a region, its grounding, and a question
        }
    command.run(annotated, tmp_path / "out", "llava", contents=["description"])
    said = capfd.readouterr().out
    assert "export: 5 images in, 3 out, 2 rejected (held_out 1, not_described 1); 3 turns (description 3)" in said
    assert "--image_folder" in said


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _User(_Strict):
    role: Literal["user"]
    content: str


class _Assistant(_Strict):
    role: Literal["assistant"]
    content: str
    loss_scale: float


class _Objects(_Strict):
    ref: list[str]
    bbox: list[list[float]]


class _Swift(_Strict):
    """ms-swift's standard format: Customization/Custom-dataset in its documentation."""

    messages: list[_User | _Assistant]
    images: list[str]
    channel: str
    objects: _Objects | None = None


def test_ms_swift_rows_fit_its_schema_and_datasets_reads_them(exported: dict[str, Path], tmp_path: Path) -> None:
    from datasets import load_dataset

    out = exported["ms-swift"]
    rows = {name: _rows(out / f"{name}.jsonl") for name in ("train", "grounding")}
    for name, found in rows.items():
        for row in TypeAdapter(list[_Swift]).validate_python(found):
            assert [m.role for m in row.messages] == ["user", "assistant"] * (len(row.messages) // 2)
            assert (row.objects is not None) == (name == "grounding")
            assert all((out / image).is_file() for image in row.images)
        loaded = load_dataset("json", data_files=str(out / f"{name}.jsonl"), cache_dir=str(tmp_path))["train"]
        assert list(loaded["channel"]) == [r["channel"] for r in found]
    assert rows["train"][0]["messages"][1]["content"] == NASTY
    weights = [m.get("loss_scale") for row in rows["train"] for m in row["messages"] if row["channel"] == "style"]
    assert weights == [None, 1.0] + [None, 0.5, None, 1.0] * 2
    first = rows["grounding"][1]
    assert first["messages"][2:] == [
        {"role": "user", "content": "Find <ref-object> in the image."},
        {"role": "assistant", "content": "<bbox>", "loss_scale": 1.0},
    ]
    assert first["objects"] == {"ref": ["a table", "a red star"], "bbox": [[0, 64, 128, 192], [16, 80, 48, 112]]}


def _alternate(turns: list[dict[str, str]], picture: str) -> None:
    """human and gpt in turn, each with a `value` alone, the picture in front of the first question only."""
    assert [t["from"] for t in turns] == ["human", "gpt"] * (len(turns) // 2)
    assert all(set(t) == {"from", "value"} and t["value"] for t in turns)
    assert turns[0]["value"].startswith(picture)
    assert sum(t["value"].count("<image>") for t in turns) == 1


def test_llava_is_one_json_array_of_its_rows(exported: dict[str, Path]) -> None:
    out = exported["llava"]
    rows = json.loads((out / "train.json").read_bytes())
    assert len(rows) == len({row["id"] for row in rows}) == 15
    for row in rows:
        assert set(row) == {"id", "image", "conversations"}
        assert (out / row["image"]).is_file()
        _alternate(row["conversations"], "<image>\n")
    assert rows[0]["conversations"] == [
        {"from": "human", "value": f"<image>\n{PROMPT}"}, {"from": "gpt", "value": NASTY},
    ]  # fmt: skip


def test_sharegpt_says_of_itself_how_to_be_read(exported: dict[str, Path]) -> None:
    out = exported["sharegpt"]
    [(name, info)] = json.loads((out / "dataset_info.json").read_text()).items()
    assert (name, info["formatting"]) == ("ouro", "sharegpt")
    rows = _rows(out / info["file_name"])
    tags = info["tags"]
    assert len(rows) == 15
    for row in rows:
        turns = row[info["columns"]["messages"]]
        assert all((out / image).is_file() for image in row[info["columns"]["images"]])
        assert {turn[tags["role_tag"]] for turn in turns} == {tags["user_tag"], tags["assistant_tag"]}
        _alternate(turns, "<image>")


def _pixels(path: Path) -> np.ndarray[Any, Any]:
    return np.asarray(PILImage.open(path))


def test_trl_trains_on_what_datasets_reads(exported: dict[str, Path], annotated: Path, tmp_path: Path) -> None:
    from datasets import Dataset, load_dataset
    from transformers import AutoProcessor
    from trl.data_utils import is_conversational, prepare_multimodal_messages
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    loaded = load_dataset(str(exported["trl"]), split="train", cache_dir=str(tmp_path))
    assert isinstance(loaded, Dataset)
    rows = [loaded[n] for n in range(len(loaded))]
    assert len(rows) == 3
    for row in rows:
        assert is_conversational(row)
        [picture] = row["images"]
        stored = next((annotated / "images").rglob(f"{row['image_id']}.png"))
        assert (np.asarray(picture) == _pixels(stored)).all()
        prepared = prepare_multimodal_messages(row["messages"], row["images"])
        assert sum("image" in part for message in prepared for part in message["content"]) == 1
    processor = AutoProcessor.from_pretrained(NANO)
    batch = DataCollatorForVisionLanguageModeling(processor)([rows[1], rows[2]])
    assert batch["image_grid_thw"].tolist() == [[1, 16, 16]] * 2  # 128 x 128 pixels, in patches of 8
    said = processor.tokenizer.decode(batch["input_ids"][0])
    for text in ("a table with a red star .", "how many stars are there ?"):  # as the tokenizer spaces words
        assert processor.tokenizer.decode(processor.tokenizer(text).input_ids) in said


def test_webdataset_reads_the_tars(exported: dict[str, Path], annotated: Path) -> None:
    from webdataset.compat import WebDataset

    tars = sorted(str(p) for p in exported["webdataset"].glob("*.tar"))
    assert [Path(p).name for p in tars] == ["shard-00000.tar", "shard-00001.tar"]
    samples = list(cast(Any, WebDataset(tars, shardshuffle=False).decode("pil")))
    assert len(samples) == 3
    for sample in samples:
        stored = annotated / "images" / sample["json"]["image"]["path"]
        assert (np.asarray(sample["png"].convert("RGB")) == _pixels(stored)).all()
        assert sample["__key__"] == sample["json"]["image"]["image_id"]
    first = samples[0]["json"]
    assert first["description"] == NASTY
    assert [c["channel"] for c in first["conversations"]] == [
        "description", "object details", "style", "regions", "grounding",
    ]  # fmt: skip
    assert first["conversations"][2]["turns"] == [{"question": "is it dark ?", "answer": "no", "weight": 1.0}]
    assert (first["regions"][1]["box"], first["regions"][1]["description"]) == ([0, 64, 128, 192], "a table")


# ---- the folder -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_a_repeated_export_is_byte_for_byte_the_same(
    exported: dict[str, Path], annotated: Path, tmp_path: Path, name: str
) -> None:
    command.run(annotated, tmp_path / "again", name)
    assert _tree(tmp_path / "again") == _tree(exported[name])


def test_pictures_are_copied_linked_or_named_where_they_are(annotated: Path, tmp_path: Path) -> None:
    for how in ("copy", "link", "reference"):
        command.run(annotated, tmp_path / how, "sharegpt", images=how)
        for row in _rows(tmp_path / how / "train.jsonl"):
            [path] = row["images"]
            stored = next((annotated / "images").rglob(Path(path).name))
            assert Path(path).is_absolute() == (how == "reference")
            assert (tmp_path / how / path).samefile(stored) == (how != "copy")
            assert (tmp_path / how / path).read_bytes() == stored.read_bytes()
    assert not (tmp_path / "reference/images").exists()


def test_another_export_takes_the_place_of_the_last(annotated: Path, tmp_path: Path) -> None:
    command.run(annotated, tmp_path / "out", "webdataset")
    command.run(annotated, tmp_path / "out", "llava", contents=["description"])
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"train.json", "counts.json", "images"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_export_that_fails_leaves_the_last_one_as_it_was(annotated: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(annotated, data)
    command.run(data, tmp_path / "out", "sharegpt")
    before = _tree(tmp_path / "out")
    shutil.rmtree(data / "images/shard-00001")
    with pytest.raises(ArtifactError, match=r"shard-00001.*\.png: not found"):
        command.run(data, tmp_path / "out", "sharegpt")
    assert _tree(tmp_path / "out") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "out"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_shard_is_written_before_the_next_is_read(annotated: Path, tmp_path: Path, name: str) -> None:
    """So no more than one shard is ever held."""
    shards = list(command._shards(command.Layout(annotated, tmp_path), ["shard-00000.parquet"], CONTENTS))
    written: list[int] = []

    def one_by_one() -> Iterator[Shard]:
        for number in range(3):
            (partial,) = tmp_path.glob(".out-*.new")
            written.append(sum(p.stat().st_size for p in partial.rglob("*") if p.is_file()))
            yield shards[0]._replace(stem=f"shard-{number:05d}")

    export(one_by_one(), annotated / "images", tmp_path / "out", Wanted(name, CONTENTS, PROMPT))
    if name in LINES:  # the pictures are the same ones, and text waits in a buffer
        assert written[0] < written[1] <= written[2]
    else:
        assert written[0] < written[1] < written[2]


def test_an_image_about_which_nothing_is_left_is_rejected(annotated: Path, tmp_path: Path) -> None:
    counts = export(
        [Shard("shard-00000", [_about().image], [], [Scene("i", "<image>", (), ())], [])],
        annotated / "images", tmp_path / "out", Wanted("llava", CONTENTS, PROMPT),
    )  # fmt: skip
    assert (counts.images_out, counts.images_rejected, counts.turns_rejected) == (
        0, {"nothing_said": 1}, {"reserved_text": 1},
    )  # fmt: skip
    assert json.loads((tmp_path / "out/train.json").read_text()) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"format": "coco"}, "--format coco: not a format; expected one of ms-swift"),
        ({"images": "move"}, "--images move: expected one of copy"),
        ({"format": "trl", "images": "link"}, "--images link: trl holds its pictures in its own files"),
        ({"contents": ["captions"]}, r"--contents: got \['captions'\], expected some of description"),
        ({"contents": []}, "--contents: got nothing"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(
    annotated: Path, tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(ExportError, match=said):
        command.run(annotated, tmp_path / "out", **{"format": "llava", **asked})
    assert not any(tmp_path.iterdir())


def test_a_folder_of_something_else_is_left_alone(annotated: Path, tmp_path: Path) -> None:
    for out in (annotated, annotated / "images", tmp_path / "mine"):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine/counts.json").write_text("[1, 2]")
        before = _tree(out)
        with pytest.raises(ExportError, match="no earlier export"):
            command.run(annotated, out, "llava")
        assert _tree(out) == before


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
    (shard,) = command._shards(command.Layout(annotated, tmp_path), ["shard-00000.parquet"], CONTENTS)
    images = [replace(image, path=path) for image in shard.images]
    with pytest.raises(ExportError, match="out of the dataset's folder"):
        export(
            [shard._replace(images=images)], annotated / "images", tmp_path / "out", Wanted("llava", CONTENTS, PROMPT)
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mark", ["<|im_end|>", "<|image_pad|>", "<|vision_start|>", "<|eot_id|>"])
def test_control_tokens_in_a_text_go_to_no_trainer(mark: str) -> None:
    """OCR may read them in a screenshot, and a trainer's tokenizer would end the turn there."""
    image = Image("i", "i.png", 256, 256, "s", "train")
    about = Annotated(image, _regions("i"), _scene("i", f"a sign {mark} red"), _pairs("i", f"what is {mark} ?"))
    kept, rejected = conversations(about, "describe.", ("description", "questions"))
    assert mark not in repr(kept) and len(kept) == 2  # two aspects are left
    assert [r.reason for r in rejected] == ["reserved_text"] * 2
