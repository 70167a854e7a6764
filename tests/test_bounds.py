"""What others send is bounded before it is read: time and memory do not grow with what a small file claims."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from pictures import random_picture
from PIL import Image as PILImage

from ouro.core.images import ImageError, decode_image
from ouro.core.params import Ingest
from ouro.ingest.manifest import read_manifest
from ouro.ingest.source import source_fingerprint
from ouro.ingest.sources import count_items
from ouro.vision.adapter_patterns import pattern_problem

NAMES = [f"model.language_model.layers.{n}.self_attn.{m}_proj" for n in range(28) for m in "qkvo"]


def _progressive() -> bytes:
    buffer = io.BytesIO()
    picture = random_picture(1, (8, 6)).resize((64, 48), PILImage.Resampling.BICUBIC)
    picture.save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()


def test_a_jpeg_of_300_scans_is_refused_before_they_are_decoded() -> None:
    """The last scan again and again: about 300 bytes each, and each over the whole picture."""
    jpeg = _progressive()
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    assert decode_image(jpeg, 10_000).size == (64, 48)
    with pytest.raises(ImageError) as caught:
        decode_image(jpeg[:-2] + last * 300 + b"\xff\xd9", 10_000)
    assert caught.value.reason == "too_many_scans"


def test_a_thumbnail_in_the_metadata_is_no_scan() -> None:
    jpeg = _progressive()
    thumbnail = b"\xff\xe1\x04\x00Exif\0\0" + jpeg[:0x3F8]
    assert decode_image(jpeg[:2] + thumbnail + jpeg[2:], 10_000).size == (64, 48)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_one_path_on_many_lines_takes_time_in_proportion(tmp_path: Path, kind: str) -> None:
    """Quadratic, 40,000 captions of one picture took a minute."""
    n = 40_000
    path = tmp_path / f"m.{kind}"
    lines = (
        ["path,caption", *(f"a.png,caption {i}" for i in range(n))]
        if kind == "csv"
        else [f'{{"path": "a.png", "captions": ["caption {i}", "caption 0"]}}' for i in range(n)]
    )
    path.write_text("\n".join(lines))
    [entry] = read_manifest(path)
    assert (len(entry.captions), entry.captions[:2]) == (n, ("caption 0", "caption 1"))


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": r"(.+)+x"},
        {"target_modules": r"(\w+|\.|[a-z]+)*!"},
        {"exclude_modules": r"(.*_*)*!"},
        {"layers_pattern": r"(.+)+!"},
        {"layers_pattern": ["ok", r"((\w|\.)+)+!"]},
        {"rank_pattern": {r"(.+)+!": 8}},
        {"alpha_pattern": {r"(.+)+!": 8}},
    ],
)
def test_patterns_of_an_adapter_that_would_hang_are_refused(
    config: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ouro.vision.adapter_patterns.SECONDS", 1.0)
    assert "its patterns take more than 1 s" in pattern_problem(config, NAMES)


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": r"^(model\.language_model(?=\.).*\.(q_proj|v_proj))$", "rank_pattern": {}},
        {"target_modules": r"(?!.*visual).*(?:q|k|v|o)_proj.*", "alpha_pattern": None},
        {"target_modules": ["q_proj", "v_proj"], "rank_pattern": {"layers.0.self_attn.q_proj": 4}},
        {"target_modules": "all-linear", "layers_pattern": "layers"},
    ],
)
def test_patterns_of_other_trainers_are_taken(config: dict[str, object]) -> None:
    assert pattern_problem(config, NAMES) == ""


def test_a_pattern_that_is_none_is_a_sentence() -> None:
    assert "no regular expression" in pattern_problem({"target_modules": "(["}, NAMES)
    assert "at most 10,000" in pattern_problem({"target_modules": "a" * 20_000}, NAMES)


def test_progress_is_told_while_many_files_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ouro.ingest.source.STEP", 10)
    monkeypatch.setattr("ouro.ingest.sources.STEP", 10)
    for n in range(25):
        (tmp_path / f"{n:02d}.png").touch()
    looked: list[int] = []
    counted: list[int] = []
    assert source_fingerprint(str(tmp_path), looked.append) == source_fingerprint(str(tmp_path))
    assert count_items(Ingest(source=str(tmp_path)), counted.append) == 25
    assert looked == counted == [10, 10]
