"""Pictures that were encoded again are found; pictures that differ in one small thing are not taken for copies."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageDraw

from ouro.core.artifacts import read_all, read_shard, rejected_path
from ouro.core.images import encode_png
from ouro.core.params import Ingest
from ouro.core.records import Image, Rejected
from ouro.ingest.collection import ingest_files
from ouro.ingest.duplicates import PictureIndex, compute_signature, is_same_picture, signature_keys


def _photo(seed: int = 0, size: tuple[int, int] = (320, 240)) -> PILImage.Image:
    rng = np.random.default_rng(seed)
    coarse = PILImage.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    return coarse.resize(size, PILImage.Resampling.BICUBIC)


def _form(date: str) -> PILImage.Image:
    """A page that differs from another one only in a date."""
    page = PILImage.new("RGB", (600, 800), "white")
    draw = ImageDraw.Draw(page)
    for line in range(30):
        draw.text((40, 40 + 20 * line), "the quick brown fox jumps over the lazy dog", fill="black")
    draw.text((40, 700), date, fill="black")
    return page


def _compress(picture: PILImage.Image, quality: int) -> PILImage.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    with PILImage.open(buffer) as opened:
        return opened.convert("RGB")


def _near(first: PILImage.Image, second: PILImage.Image, folder: Path) -> str:
    (folder / "first.png").write_bytes(encode_png(first))
    with PictureIndex() as seen:
        seen.add("0" * 16, "first", "first.png", compute_signature(first))
        return seen.near(compute_signature(second), encode_png(second), folder)


@pytest.mark.parametrize("quality", [95, 75, 50])
@pytest.mark.parametrize("seed", range(4))
def test_a_photograph_saved_again_is_a_copy(tmp_path: Path, seed: int, quality: int) -> None:
    assert _near(_photo(seed), _compress(_photo(seed), quality), tmp_path) == "first"


def test_a_page_saved_again_is_a_copy_and_a_page_of_another_date_is_not(tmp_path: Path) -> None:
    page = _form("2026-01-02")
    assert _near(page, _compress(page, 80), tmp_path) == "first"
    assert _near(page, _form("2026-01-03"), tmp_path) == ""


def test_scenes_that_differ_in_the_colour_of_one_object_are_not_copies(tmp_path: Path) -> None:
    other = _photo()
    ImageDraw.Draw(other).rectangle((100, 100, 140, 140), fill="red")
    assert _near(_photo(), other, tmp_path) == ""


def test_a_picture_of_another_size_is_another_picture(tmp_path: Path) -> None:
    assert _near(_photo(), _photo(size=(160, 120)), tmp_path) == ""


def test_the_keys_of_a_look_hold_those_of_its_copies() -> None:
    for seed in range(20):
        assert next(signature_keys(compute_signature(_photo(seed)))) in set(
            signature_keys(compute_signature(_compress(_photo(seed), 60)))
        )


def test_one_changed_block_is_seen_at_full_size() -> None:
    """A block of 8 x 8 that changes by 30 levels is more than BLOCK; by 10 it is noise of the encoder."""
    page = np.full((64, 64, 3), 200, dtype=np.uint8)
    much, little = page.copy(), page.copy()
    much[8:16, 8:16] -= 30
    little[8:16, 8:16] -= 10
    stored = [encode_png(PILImage.fromarray(p)) for p in (page, much, little)]
    assert not is_same_picture(stored[0], stored[1])
    assert is_same_picture(stored[0], stored[2])


@pytest.mark.parametrize(("policy", "n_kept"), [("reject", 1), ("keep", 2)])
def test_ingest_rejects_copies_unless_told_to_keep_them(tmp_path: Path, policy: str, n_kept: int) -> None:
    folder, out = tmp_path / "photos", tmp_path / "images"
    folder.mkdir()
    _photo().save(folder / "a.png")
    _compress(_photo(), 70).save(folder / "b.png")
    paths = [folder / "a.png", folder / "b.png"]
    shards = ingest_files(paths, folder, out, Ingest.model_validate({"near_duplicates": policy}))
    assert [i.source for i in read_all(out, Image)] == ["a.png", "b.png"][:n_kept]
    dropped = [r for s in shards if rejected_path(s).is_file() for r in read_shard(rejected_path(s), Rejected)]
    assert [(r.record_id, r.reason) for r in dropped] == [("b.png", "near_duplicate")][: 2 - n_kept]
