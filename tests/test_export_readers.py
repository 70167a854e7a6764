"""`ouro export`: each format is read back by what it was written for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
from annotated_folder import (
    NASTY_EXPORTED,
    export_all,
    rows_of,
    write_annotated,
)
from PIL import Image as PILImage
from pydantic import BaseModel, ConfigDict, TypeAdapter

from cli import export as command
from ouro.export.conversations import (
    PROMPT,
)
from ouro.export.writers import FORMATS

NANO = Path(__file__).resolve().parent.parent / "models/nano"


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_annotated(tmp_path_factory.mktemp("annotated"))


@pytest.fixture(scope="module")
def exported(annotated: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return export_all(annotated, tmp_path_factory.mktemp("exported"))


def test_counts_add_up_and_are_the_same_in_every_format(
    exported: dict[str, Path], annotated: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    counts = {name: json.loads((path / "counts.json").read_text())["ouro_export"] for name, path in exported.items()}
    assert [c.pop("format") for c in counts.values()] == list(FORMATS)
    for count in counts.values():
        assert count == {
            "images_in": 5,
            "images_out": 3,
            "images_rejected": {"held_out": 1, "not_described": 1},
            "conversations": {"description": 3, "grounding": 3, "object details": 3, "regions": 3, "style": 3},
            "turns": {"description": 3, "grounding": 7, "object details": 3, "regions": 9, "style": 6},
            "turns_rejected": {},
            "corrections": {},
            "control_tokens": 4,  # two of NASTY, a region's <image>, a question's <bbox>
        }
    command.run(annotated, tmp_path / "out", "llava", contents=["description"])
    output = capfd.readouterr().out
    assert "export: 5 images in, 3 out, 2 rejected (held_out 1, not_described 1); 3 turns (description 3)" in output
    assert "--image_folder" in output


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
    rows = {name: rows_of(out / f"{name}.jsonl") for name in ("train", "grounding")}
    for name, dataset_rows in rows.items():
        for row in TypeAdapter(list[_Swift]).validate_python(dataset_rows):
            assert [m.role for m in row.messages] == ["user", "assistant"] * (len(row.messages) // 2)
            assert (row.objects is not None) == (name == "grounding")
            assert all((out / image).is_file() for image in row.images)
        loaded = load_dataset("json", data_files=str(out / f"{name}.jsonl"), cache_dir=str(tmp_path))["train"]
        assert list(loaded["channel"]) == [r["channel"] for r in dataset_rows]
    assert rows["train"][0]["messages"][1]["content"] == NASTY_EXPORTED
    weights = [m.get("loss_scale") for row in rows["train"] for m in row["messages"] if row["channel"] == "style"]
    assert weights == [None, 0.5, None, 1.0] * 3
    first = rows["grounding"][1]
    assert first["messages"][2:4] == [
        {"role": "user", "content": "Find <ref-object> in the image."},
        {"role": "assistant", "content": "<bbox>", "loss_scale": 1.0},
    ]
    assert first["objects"] == {
        "ref": ["a table", "a red star", "a screen with < image> on it"],
        "bbox": [[0, 64, 128, 192], [16, 80, 48, 112], [200, 8, 232, 40]],
    }


def _alternate(turns: list[dict[str, str]], picture: str) -> None:
    """human and gpt in turn, each with a `value` alone, the picture in front of the first question only."""
    assert [t["from"] for t in turns] == ["human", "gpt"] * (len(turns) // 2)
    assert all(set(t) == {"from", "value"} and t["value"] for t in turns)
    assert turns[0]["value"].startswith(picture)
    assert sum(t["value"].count("<image>") for t in turns) == 1


def test_llava_is_one_json_array_of_itsrows_of(exported: dict[str, Path]) -> None:
    out = exported["llava"]
    rows = json.loads((out / "train.json").read_bytes())
    assert len(rows) == len({row["id"] for row in rows}) == 15
    for row in rows:
        assert set(row) == {"id", "image", "conversations"}
        assert (out / row["image"]).is_file()
        _alternate(row["conversations"], "<image>\n")
    assert rows[0]["conversations"] == [
        {"from": "human", "value": f"<image>\n{PROMPT}"}, {"from": "gpt", "value": NASTY_EXPORTED},
    ]  # fmt: skip


def test_sharegpt_says_of_itself_how_to_be_read(exported: dict[str, Path]) -> None:
    out = exported["sharegpt"]
    [(name, info)] = json.loads((out / "dataset_info.json").read_text()).items()
    assert (name, info["formatting"]) == ("ouro", "sharegpt")
    rows = rows_of(out / info["file_name"])
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
    decoded = processor.tokenizer.decode(batch["input_ids"][0])
    for text in ("a table with a red star .", "how many stars are there ?"):  # as the tokenizer spaces words
        assert processor.tokenizer.decode(processor.tokenizer(text).input_ids) in decoded


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
    assert first["description"] == NASTY_EXPORTED
    assert [c["channel"] for c in first["conversations"]] == [
        "description", "style", "object details", "regions", "grounding",
    ]  # fmt: skip
    assert first["conversations"][1]["turns"] == [
        {"question": "what does < bbox> mean ?", "answer": "red", "weight": 0.5, "support": None, "confidence": 0.5},
        {"question": "is it dark ?", "answer": "no", "weight": 1.0, "support": None, "confidence": 1.0},
    ]
    assert (first["regions"][1]["box"], first["regions"][1]["description"]) == ([0, 64, 128, 192], "a table")
